"""What clients are made with: checked by name and kind, before anything is sent or paid."""

from __future__ import annotations

import asyncio
import base64
import gc
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import trustme

import gptimage
from gptimage import Budget, Cache, ConfigurationError, Retry
from gptimage.sandbox import Sandbox, SandboxServer
from tests.client.harness import AsyncFakeTransport, FakeTransport, Harness, answer, picture


KEY = "sk-abcdefghijklmnop12345"
CONNECTIONS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"),
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine shapes a connection."""
    for name in CONNECTIONS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def service() -> Iterator[SandboxServer]:
    """A service that listens."""
    with SandboxServer() as server:
        yield server


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("buget", "did you mean budget="),
        ("modle", "did you mean model="),
        ("base_ulr", "did you mean base_url="),
        ("observer", "did you mean observers="),
        ("max_retries", "Retry(attempts=...)"),
        ("organization", "OPENAI_ORG_ID"),
        ("default_headers", "OpenAI(default_headers=...)"),
        ("http_client", "OpenAI(http_client=...)"),
        ("azure_endpoint", "AzureOpenAI(azure_endpoint=...)"),
        ("quality", "belongs to a call"),
        ("xyz", "it takes "),
    ],
)
def test_an_unknown_setting_is_refused(harness: Harness, name: str, hint: str) -> None:
    """The message names it, and what to do instead, whether the client is real or offline."""
    for make in (partial(harness.client, api_key=KEY), harness.sandbox):
        with pytest.raises(ConfigurationError, match=f"takes no {name}=") as caught:
            make(**{name: object()})
        if make != harness.sandbox:
            assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "base_url", "timeout", "openai", "transport"])
def test_the_sandbox_takes_no_connection(harness: Harness, name: str) -> None:
    """What would be ignored offline is refused, and the message says who takes it."""
    with pytest.raises(ConfigurationError, match=f"sandbox takes no {name}="):
        harness.sandbox(**{name: "x"})


WRONG: tuple[tuple[str, Any], ...] = (
    ("cache", True),
    ("cache", ""),
    ("cache", Cache),
    ("cache", Cache.disk),
    ("store", ""),
    ("store", 5),
    ("store", gptimage.Store),
    ("templates", "folder"),
    ("retry", 3),
    ("retry", False),
    ("retry", Retry),
    ("fetch", True),
    ("fetch", bytes),
    ("model", ""),
    ("model", 5),
    ("models", "gpt-image-2"),
    ("clock", datetime(2026, 11, 20, tzinfo=UTC)),
    ("budget", 5),
    ("ledger", "spend.sqlite"),
    ("observers", print),
    ("observers", [print]),
    ("limits", 5),
)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_setting_of_the_wrong_kind_is_refused(harness: Harness, name: str, value: object) -> None:
    """The message names the setting, and nothing was sent."""
    for make in (partial(harness.client, api_key=KEY), harness.sandbox):
        with pytest.raises(ConfigurationError, match=name):
            make(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("timeout", 0), ("timeout", "60"), ("timeout", None), ("api_key", "")]
)
def test_a_falsy_connection_is_refused(harness: Harness, name: str, value: object) -> None:
    """No empty value becomes a default."""
    with pytest.raises(ConfigurationError, match=name):
        harness.client(**{"api_key": KEY, name: value})


def test_an_observer_that_would_hear_nothing_is_refused(harness: Harness) -> None:
    """A coroutine function is called and never awaited."""

    class Deaf:
        async def notify(self, event: object) -> None:
            del event

    with pytest.raises(ConfigurationError, match="observers"):
        harness.sandbox(observers=[Deaf()])


def test_none_is_not_given(harness: Harness) -> None:
    """None stands for a setting that was left out."""
    names = (
        "retry",
        "fetch",
        "models",
        "clock",
        "budget",
        "ledger",
        "observers",
        "limits",
        "model",
    )
    client = harness.sandbox(**dict.fromkeys(names), store=None, cache=None, templates=None)

    assert len(client.generate("A fox").images) == 1


def test_store_and_cache_take_a_path(harness: Harness, tmp_path: Path) -> None:
    """A folder stands for the store or the cache in it."""
    client = harness.sandbox(store=tmp_path / "store", cache=str(tmp_path / "cache"))
    first, second = client.generate("A fox"), client.generate("A fox")

    assert (len(first.stored), second.cached) == (1, True)


@pytest.mark.parametrize("retry", [0, Retry(attempts=1)])
def test_no_retry_is_no_retry(harness: Harness, retry: object) -> None:
    """0 and one attempt send once."""
    client, fake = harness.fake(gptimage.TransportError("away"), retry=retry)
    with pytest.raises(gptimage.TransportError):
        client.generate("A fox")

    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 20),  # without a zone
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),  # in UTC it is no date
        datetime(2255, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_clock_that_dates_nothing_is_refused_before_sending(
    harness: Harness, now: datetime
) -> None:
    """A time that cannot be counted from would fail after the answer was paid for."""
    client, fake = harness.fake(answer(picture()), clock=lambda: now)
    with pytest.raises(ConfigurationError, match="clock"):
        client.generate("A fox")

    assert fake.requests == []


def test_clients_of_the_other_kind_are_refused(harness: Harness) -> None:
    """A sync SDK client in the async class would lose what was paid, and the reverse."""
    fake = FakeTransport([answer(picture())])
    wrong: tuple[dict[str, Any], ...] = (
        {"transport": AsyncFakeTransport(fake)},
        {"openai": openai.AsyncOpenAI(api_key=KEY)},
        {"openai": openai.OpenAI},
        {"openai": object()},
        {"transport": object()},
        {"transport": FakeTransport},
    )
    if harness.kind == "async":
        wrong = ({"transport": fake}, {"openai": openai.OpenAI(api_key=KEY)}, *wrong[2:])
    for given in wrong:
        with pytest.raises(ConfigurationError, match=f"{next(iter(given))}="):
            harness.client(**given)

    assert fake.requests == []


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "empty"),
        (KEY + "\n", "white space"),
        (" " + KEY, "white space"),
        (KEY[:9] + " " + KEY[9:], "white space"),
        (f'"{KEY}"', "quotation marks"),
        (KEY.replace("a", "а"), "CYRILLIC"),  # what is tested
        ("Bearer " + KEY, "Bearer"),
        (KEY + "\u200b", "control character"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused(
    harness: Harness, key: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is wrong and where it comes from, and never shows the key."""
    with pytest.raises(ConfigurationError, match=r"^api_key") as given:
        harness.client(api_key=key)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigurationError, match=r"^OPENAI_API_KEY") as found:
        harness.client()

    for error in (given.value, found.value):
        told = "".join(traceback.format_exception(error))
        assert why in told
        assert not key or key.strip()[-12:] not in told


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", "pip install socksio"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:1", "socks5://127.0.0.1:1"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:1", "unset it"),
        ("HTTPS_PROXY", "http://", "unset it"),
        ("https_proxy", "http://proxy:port", "unset it"),
        ("HTTP_PROXY", "'http://proxy:3128'", "unset it"),
        ("SSL_CERT_FILE", "nowhere.pem", "unset it"),
        ("SSL_CERT_FILE", ".", "SSL_CERT_DIR"),
        ("SSL_CERT_DIR", "nowhere", "unset it"),
        ("OPENAI_BASE_URL", "", "leave it out"),
        ("OPENAI_BASE_URL", "api.openai.com/v1", "https://api.openai.com/v1"),
        ("OPENAI_ORG_ID", "", "leave it out"),
        ("OPENAI_ORG_ID", "org-1\n", "take it out"),
        ("OPENAI_PROJECT_ID", '"proj_1"', "take them out"),
        ("HTTPS_PROXY", "http://proxy..example:3128", "unset it"),
        ("OPENAI_BASE_URL", "http://a..b/v1", "https://api.openai.com/v1"),
        ("OPENAI_BASE_URL", "http://\u2603.example/v1", "https://api.openai.com/v1"),
        ("OPENAI_BASE_URL", f"http://{'a' * 64}.example/v1", "https://api.openai.com/v1"),
        ("GPTIMAGE_MAX_DECODED_MB", "512MB", "write megabytes"),
        ("OPENAI_CUSTOM_HEADERS", "X-Team: ä", "X-Team must be one line"),
        ("OPENAI_CUSTOM_HEADERS", "X-Team: art\nX Y: 1", "line 2 does not begin"),
        ("OPENAI_CUSTOM_HEADERS", "Content-Length: 3", "belongs to the request"),
        ("OPENAI_CUSTOM_HEADERS", "Accept-Encoding: br", "cannot be unpacked"),
    ],
)
def test_the_environment_is_checked_before_anything_is_sent(
    harness: Harness, name: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable and the remedy."""
    if value.startswith("socks5") and find_spec("socksio") is not None:
        pytest.skip("socksio is installed, so a SOCKS proxy can be used")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        harness.client(api_key=KEY)

    assert remedy in str(caught.value)


def test_a_file_without_certificates_is_refused(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is there and holds something else is named, too."""
    file = tmp_path / "cacert.pem"
    file.write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE.*no certificates"):
        harness.client(api_key=KEY)


def test_a_file_with_a_broken_certificate_is_refused_before_sending(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client is made where there are certificates; they are read before a call."""
    first = trustme.CA().cert_pem.bytes().decode()
    file = tmp_path / "cacert.pem"
    file.write_text(f"{first}\n-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    client = harness.client(api_key=KEY)

    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE.*no certificates"):
        client.generate("A fox")


def test_a_proxys_password_is_not_shown(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it when the address of the proxy is wrong."""
    monkeypatch.setenv("HTTPS_PROXY", "socks4://bob:p4ssw0rd@127.0.0.1:1")
    with pytest.raises(ConfigurationError) as caught:
        harness.client(api_key=KEY)

    assert "p4ssw0rd" not in str(caught.value)


def test_an_environment_that_is_not_used_is_not_checked(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox needs no proxy, no certificate and no key."""
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    monkeypatch.setenv("OPENAI_API_KEY", "")

    assert len(harness.sandbox().generate("A fox").images) == 1


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The headers of every request that leaves."""
    found: list[dict[str, str]] = []

    def watched(kind: type[Any]) -> None:
        real = kind.send

        def send(self: Any, request: httpx2.Request, **options: Any) -> Any:
            found.append(dict(request.headers))
            return real(self, request, **options)

        monkeypatch.setattr(kind, "send", send)

    watched(httpx2.Client)
    watched(httpx2.AsyncClient)
    return found


def test_user_and_password_of_the_address_are_sent_and_never_shown(
    harness: Harness,
    service: SandboxServer,
    sent: list[dict[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They go into a header; no repr, error or log of another library has them."""
    caplog.set_level("DEBUG")
    url = service.base_url.replace("://", "://bob:p%40ssw0rd@")
    client = harness.client(api_key=KEY, base_url=url)
    with pytest.raises(gptimage.AuthenticationError) as caught:  # the sandbox wants a key
        client.generate("A fox", size="1024x1024", quality="low")
    told = repr(client) + caplog.text + "".join(traceback.format_exception(caught.value))
    client.close()

    basic = base64.b64encode(b"bob:p@ssw0rd").decode()
    assert [each["authorization"] for each in sent] == [f"Basic {basic}"]
    assert "HTTP Request: POST" in told
    assert [word for word in ("bob", "p%40ss", "p@ss", basic, KEY) if word in told] == []


def test_organisation_and_project_of_the_environment_are_sent(
    harness: Harness,
    service: SandboxServer,
    sent: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OPENAI_ORG_ID and OPENAI_PROJECT_ID reach the service as the SDK's headers."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
    client = harness.client(api_key=KEY, base_url=service.base_url)
    client.generate("A fox", size="1024x1024", quality="low")
    client.close()

    names = ("openai-organization", "openai-project")
    assert [[each[name] for name in names] for each in sent] == [["org-1", "proj_1"]]


ENDED = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""Connections that a loop has left open when it ended are closed by nobody."""


@ENDED
def test_one_async_client_serves_several_loops(service: SandboxServer) -> None:
    """A script may call asyncio.run for each request."""
    client = gptimage.AsyncImageClient(api_key=KEY, base_url=service.base_url)

    async def draw(*, close: bool) -> int:
        result = await client.generate("A fox", size="1024x1024", quality="low")
        if close:
            await client.aclose()
        return len(result.images)

    found = [asyncio.run(draw(close=last)) for last in (False, False, True)]
    gc.collect()

    assert found == [1, 1, 1]


def test_an_sdk_client_of_an_ended_loop_is_refused(service: SandboxServer) -> None:
    """Its connections ended with its loop; the message says so before anything is sent."""
    http = httpx2.AsyncClient(limits=httpx2.Limits(max_keepalive_connections=0))
    sdk = openai.AsyncOpenAI(api_key=KEY, base_url=service.base_url, http_client=http)
    client = gptimage.AsyncImageClient(openai=sdk)

    async def draw() -> None:
        await client.generate("A fox", size="1024x1024", quality="low")

    asyncio.run(draw())
    before = len(service.sandbox.requests)
    with pytest.raises(ConfigurationError, match="event loop"):
        asyncio.run(draw())

    assert len(service.sandbox.requests) == before


def test_misspelt_keywords_of_jobs_are_refused(harness: Harness) -> None:
    """Many, conversations and batches name what they do not take."""
    client = harness.sandbox()
    calls: tuple[tuple[str, Callable[[], object]], ...] = (
        ("concurency", lambda: client.generate_many(["A fox"], concurency=2)),
        ("state_less", lambda: client.conversation(state_less=True)),
        ("imagemodel", lambda: client.conversation(imagemodel="gpt-image-2")),
        ("check", lambda: client.check(b"", check=[])),
    )
    for name, call in calls:
        with pytest.raises(ConfigurationError, match=f"takes no {name}=: did you mean"):
            call()


def test_a_budget_is_kept_whatever_it_is_called(harness: Harness) -> None:
    """A misspelt budget is no missing budget."""
    with pytest.raises(ConfigurationError, match="did you mean budget="):
        harness.sandbox(Sandbox(), buget=Budget(1, per="day"))
