"""Serving over HTTP: both protocols of the protocol, and who is answered at all."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from starlette.requests import Request

import gptimage
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.service.http import Allowlist, HostOriginMiddleware, is_loopback
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.health import KEPT, HealthRoute
from gptimage_mcp.http.app import listen
from gptimage_mcp.http.middleware import check_exposure
from gptimage_mcp.server import build_server
from tests.mcp.harness import PROTOCOLS, ServerFixture, result_json, server_fixture
from tests.mcp.http_helpers import JSON, OTHER, TOKEN, Site, draw, run_command, serving, wait_for


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
BOTH = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def home(tmp_path: Path) -> ServerFixture:
    """A server on this machine, without authentication."""
    return server_fixture(tmp_path, **QUIET)


@pytest.fixture
def site(home: ServerFixture) -> Iterator[Site]:
    """The same, listening."""
    with serving(home.server, home.app.settings) as found:
        yield found


def settings(tmp_path: Path, **more: Any) -> Settings:
    """Settings of a server over HTTP."""
    told = {"store": tmp_path / "s", "ledger": tmp_path / "l.sqlite", "sandbox": True, **QUIET}
    return Settings(**{**told, **more})


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_eras_are_served(tmp_path: Path, protocol: str, stateless: bool) -> None:
    """A client of either protocol lists tools and reads resources, with sessions and without."""
    home = server_fixture(tmp_path, **QUIET, stateless=stateless)

    async def ask(url: str) -> tuple[int, str]:
        async with Client(url, mode=protocol) as client:
            tools = await client.list_tools()
            read = await client.read_resource("storage-stats://overview")
            return len(tools.tools), read.contents[0].uri

    with serving(home.server, home.app.settings) as site:
        tools, uri = asyncio.run(ask(f"{site.url}/mcp"))

    assert tools > 0
    assert uri == "storage-stats://overview"


def test_only_the_older_era_has_sessions_and_none_when_stateless(tmp_path: Path) -> None:
    """A handshake opens a session, and with ``stateless`` it does not."""
    found: list[bool] = []
    for stateless in (False, True):
        folder = tmp_path / str(stateless)
        folder.mkdir()
        home = server_fixture(folder, **QUIET, stateless=stateless)
        with serving(home.server, home.app.settings) as site:
            answer = site.post("/mcp", INITIALIZE, **BOTH)
            assert answer.status_code == 200
            found.append("mcp-session-id" in answer.headers)

    assert found == [True, False]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/images/x", "/stream", "/mcp", "/none"])
def test_foreign_hosts_are_refused_everywhere(site: Site, path: str) -> None:
    """A name that was made to point here (DNS rebinding) reaches no route at all."""
    for host in ("evil.example", f"evil.example:{site.port}", "127.0.0.1.evil.example", "", "::1"):
        answer = site.get(path, host=host)

        assert answer.status_code == 421, host
        assert answer.json()["error"] == "host_not_allowed"


@pytest.mark.parametrize("path", ["/health", "/metrics", "/images/x", "/stream", "/mcp", "/none"])
def test_foreign_pages_are_refused_everywhere(site: Site, path: str) -> None:
    """A page of another site, or of another port of this machine, reaches no route at all."""
    for origin in (
        "https://evil.example",
        "null",
        f"http://127.0.0.1:{site.port + 1}",
        "http://127.0.0.1",
        f"file://127.0.0.1:{site.port}",
        f"http://127.0.0.1:{site.port}.evil.example",
    ):
        answer = site.get(path, origin=origin)

        assert answer.status_code == 403, origin
        assert answer.json()["error"] == "origin_not_allowed"


def test_own_pages_are_answered(site: Site) -> None:
    """A page that this server itself sent may call it, and the protocol, too."""
    own = f"http://127.0.0.1:{site.port}"

    assert site.get("/health", origin=own).status_code == 200
    assert site.post("/mcp", INITIALIZE, origin=own, **BOTH).status_code == 200
    assert site.get("/health", host=f"LOCALHOST:{site.port}").status_code == 200
    assert site.get("/health", host="[::1]:1").status_code == 200


def test_two_hosts_in_one_request_are_refused(site: Site) -> None:
    """A request that names two hosts is answered by neither."""
    with site.connect() as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n")

        assert plain.recv(100).split()[1] in {b"400", b"421"}

    heads = [(b"host", b"localhost"), (b"host", b"evil.example")]
    statuses: list[int] = []

    async def listen_to(message: Any) -> None:
        statuses.append(message.get("status", 0))

    async def never(*_: Any) -> Any:
        raise AssertionError("it was passed on")

    guard = HostOriginMiddleware(never, allowlist=Allowlist(frozenset({"localhost"}), frozenset()))
    for headers in (heads, heads[::-1], []):  # a server that lets both through is no help
        asyncio.run(guard({"type": "http", "headers": headers}, never, listen_to))
    assert statuses == [421, 0] * 3


def test_listed_pages_may_call_and_read(tmp_path: Path) -> None:
    """A page on the list passes the preflight and may read what it needs, and no other page may."""
    page = "https://app.example.com"
    home = server_fixture(tmp_path, **QUIET, allowed_origins=(page,), tokens=(TOKEN,))
    asked = (
        "authorization, content-type, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name"
    )
    with serving(home.server, home.app.settings) as site, site.client() as client:
        before = {
            "access-control-request-method": "POST",
            "access-control-request-headers": asked,
            "origin": page,
        }
        allowed = client.options("/mcp", headers=before)
        refused = client.options("/mcp", headers={**before, "origin": "https://evil.example"})
        unproved = site.post("/stream", {}, origin=page)
        fine = site.get("/metrics", TOKEN, origin=page)

    assert (allowed.status_code, refused.status_code) == (200, 403)
    assert allowed.headers["access-control-allow-origin"] == page
    assert "access-control-allow-origin" not in refused.headers
    for answer in (unproved, fine):  # a page must be able to read a refusal, too
        assert answer.headers["access-control-allow-origin"] == page
        assert "mcp-session-id" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers
    assert (unproved.status_code, fine.status_code) == (401, 200)


def test_answers_are_taken_for_nothing_else(site: Site) -> None:
    """Every answer, a refusal too, forbids browsers to guess its type."""
    for answer in (site.get("/health"), site.get("/none"), site.get("/health", host="evil")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


def test_the_lists_hold_on_every_address(tmp_path: Path) -> None:
    """Listening on 0.0.0.0, where the SDK by itself stops checking, changes nothing."""
    listed = {"host": "0.0.0.0", "tokens": (TOKEN,), "allowed_hosts": ("pictures.example.com",)}
    home = server_fixture(tmp_path, **QUIET, **listed)
    with serving(home.server, home.app.settings, address="0.0.0.0") as site:
        codes = [
            site.post("/mcp", INITIALIZE, TOKEN, host=host, **BOTH).status_code
            for host in ("pictures.example.com", "pictures.example.com:8443", "evil.example")
        ]
        foreign = site.post("/mcp", INITIALIZE, TOKEN, origin="https://evil.example", **BOTH)
        unproved = site.post("/mcp", INITIALIZE, **BOTH)

        layer = home.server.session_manager.security_settings

    assert layer is not None  # the SDK's own check, should ours ever be left out
    assert layer.enable_dns_rebinding_protection
    assert "pictures.example.com:*" in layer.allowed_hosts
    assert codes == [200, 200, 421]
    assert foreign.status_code == 403
    assert unproved.status_code == 401


def test_it_refuses_to_listen_unprotected(tmp_path: Path) -> None:
    """Beyond this machine both authentication and the names it is called by must be set."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "pictures.example.com"):
        with pytest.raises(gptimage.ConfigurationError) as caught:
            check_exposure(settings(tmp_path, host=host))
        assert "GPTIMAGE_TOKENS" in str(caught.value)
        assert "GPTIMAGE_ALLOWED_HOSTS" in str(caught.value)
        assert f"GPTIMAGE_HOST={host}" in str(caught.value)
    only_tokens = settings(tmp_path, host="0.0.0.0", tokens=(TOKEN,))
    with pytest.raises(gptimage.ConfigurationError, match="Set GPTIMAGE_ALLOWED_HOSTS"):
        check_exposure(only_tokens)
    only_hosts = settings(tmp_path, host="0.0.0.0", allowed_hosts=("a.example",))
    with pytest.raises(gptimage.ConfigurationError, match="Set GPTIMAGE_TOKENS"):
        check_exposure(only_hosts)

    check_exposure(settings(tmp_path, host="0.0.0.0", tokens=(TOKEN,), allowed_hosts=("a.b",)))
    check_exposure(settings(tmp_path, host="::", tokens=(TOKEN,), public_url="https://a.example"))
    for host in ("127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"):
        check_exposure(settings(tmp_path, host=host))


def test_the_command_refuses_before_it_opens_anything(tmp_path: Path) -> None:
    """``gptimage-mcp --http`` on 0.0.0.0 ends at once and names all that is wrong."""
    wrong = {"GPTIMAGE_TEMPLATES": str(tmp_path / "absent"), "GPTIMAGE_TOKENS": "hunter2"}
    process, _ = run_command(tmp_path, GPTIMAGE_HOST="0.0.0.0", **wrong)
    written = process.communicate(timeout=60)[1].decode()

    expected = [
        "GPTIMAGE_TEMPLATES: ",
        "GPTIMAGE_HOST=0.0.0.0 ",
        "GPTIMAGE_TOKENS has a token of 7 ",
    ]
    assert [each for each in expected if each in written] == expected, written
    assert process.returncode == 2
    assert not [*tmp_path.glob("**/*.sqlite")]


@pytest.mark.parametrize("name", ["allowed_hosts", "allowed_origins"])
def test_patterns_are_refused(tmp_path: Path, name: str) -> None:
    """A star in a list would allow more than somebody thought of."""
    entry = "https://*.example.com" if name == "allowed_origins" else "*.example.com"
    with pytest.raises(gptimage.ConfigurationError, match=f"GPTIMAGE_{name.upper()}"):
        check_exposure(settings(tmp_path, **{name: (entry,)}))


@given(st.text(st.characters(codec="latin-1"), max_size=40))
def test_only_listed_names_are_hosts(name: str) -> None:
    """Whatever a ``Host`` header holds, it passes only as a listed name with or without a port."""
    listed = Allowlist(frozenset({"localhost", "[::1]", "a.example:8000"}), frozenset())
    bare, _, port = name.lower().rpartition(":")

    expected = name.lower() in listed.hosts or (bare in {"localhost", "[::1]"} and port.isdigit())

    assert listed.has_host(name) == expected


def test_addresses_beyond_this_machine_are_told_apart() -> None:
    """Only loopback addresses and localhost count as this machine."""
    assert all(map(is_loopback, ["127.0.0.1", "127.255.0.1", "::1", "[::1]", "LocalHost"]))
    assert not any(
        map(is_loopback, ["0.0.0.0", "::", "", "10.0.0.1", "localhost.evil", "1.0.0.127"])
    )


def test_bodies_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    """413 on every route, whether the length is declared or the body comes in chunks."""
    home = server_fixture(tmp_path, **QUIET, max_body=2048)

    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 1024

    with serving(home.server, home.app.settings) as site, site.client() as client:
        for path in ("/stream", "/mcp"):
            whole = client.post(path, content=b" " * 4096, headers=JSON)
            chunked = client.post(path, content=chunks(), headers=JSON)
            assert (whole.status_code, chunked.status_code) == (413, 413), path
            assert "GPTIMAGE_MAX_BODY" in whole.json()["error_description"]


def test_health_says_that_all_is_well(site: Site) -> None:
    """A server that can draw and save answers 200, and asks nobody who charges for it."""
    answer = site.get("/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "reasons": [], "warnings": []}


def test_health_is_open_while_all_else_is_not(tmp_path: Path) -> None:
    """Whoever watches the server needs no token, and learns no path."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN,))
    with serving(home.server, home.app.settings) as site:
        health = site.get("/health")
        others = [site.get(path) for path in ("/metrics", "/images/x", "/none", "/mcp", "/health/")]

    assert health.status_code == 200
    assert str(tmp_path) not in health.text
    assert [answer.status_code for answer in others] == [401] * 5


def test_health_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key nothing can be drawn, and without a writable store nothing saved: 503."""
    told = settings(tmp_path, sandbox=False)
    server = build_server(told)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with serving(server, told) as site:
        answer = site.get("/health")

    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert "OPENAI_API_KEY" in answer.json()["reasons"][0]
    assert answer.json()["reasons"][1] == "the store cannot be written"


def test_health_is_looked_at_now_and_then(
    home: ServerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking often costs nothing: an answer is kept for a moment, and then things are seen anew."""
    now = [0.0]
    route = HealthRoute(home.app, clock=lambda: now[0])

    async def ask() -> list[int]:
        request = Request({"type": "http", "query_string": b""})
        codes = [(await route.respond(request)).status_code]
        monkeypatch.setattr(os, "access", lambda *_: False)
        codes.append((await route.respond(request)).status_code)
        now[0] += KEPT + 0.1
        return [*codes, (await route.respond(request)).status_code]

    assert asyncio.run(ask()) == [200, 200, 503]


def test_health_is_not_asked_for_too_often(tmp_path: Path) -> None:
    """Whoever watches the server does not use up the rate limit."""
    home = server_fixture(tmp_path, **QUIET, calls_per_minute=1)
    with serving(home.server, home.app.settings) as site:
        codes = {site.get("/health").status_code for _ in range(5)}
        first, second = site.get("/metrics"), site.get("/metrics")

    assert codes == {200}
    assert (first.status_code, second.status_code) == (200, 429)


def test_metrics_count_calls_and_pictures(tmp_path: Path) -> None:
    """Prometheus reads what the calls cost, and what is kept."""
    told = settings(tmp_path, max_per_day=None)
    with serving(build_server(told), told) as site:
        site.post("/stream", {"prompt": "a fox", "size": "1024x1024"})
        answer = site.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    figures = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")
    )
    drawn = '{model="gpt-image-2.5-flare",operation="generate"}'
    assert float(figures[f"gptimage_images_total{drawn}"]) == 1
    assert float(figures[f"gptimage_cost_usd_total{drawn}"]) > 0
    assert float(figures["gptimage_store_images"]) == 1
    assert float(figures["gptimage_jobs_running"]) == 0


def test_metrics_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package there are no metrics, and the answer says which one it is."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    told = settings(tmp_path)
    server = build_server(told)
    monkeypatch.undo()
    with serving(server, told) as site:
        answer = site.get("/metrics")

    assert answer.status_code == 501
    assert "gptimage[prometheus]" in answer.json()["error_description"]


def test_each_client_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """Whoever asks too often is told when to come back, and nobody else is kept waiting."""
    home = server_fixture(tmp_path, **QUIET, calls_per_minute=3, tokens=(TOKEN, OTHER))
    with serving(home.server, home.app.settings) as site:
        codes = [site.get("/none", TOKEN).status_code for _ in range(4)]
        late = site.get("/none", TOKEN)
        other = site.get("/none", OTHER)
        guesses = [site.get("/none", "a-guess-of-a-token").status_code for _ in range(4)]

    assert codes == [404, 404, 404, 429]
    assert 1 <= int(late.headers["retry-after"]) <= 20
    assert "GPTIMAGE_CALLS_PER_MINUTE" in late.json()["error_description"]
    assert other.status_code == 404
    assert guesses == [401, 401, 401, 429]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_in_flight_do_not_get_in_each_others_way(tmp_path: Path, protocol: str) -> None:
    """Fifty calls at once over one connection are all answered, each with its own answer."""
    home = server_fixture(tmp_path, **QUIET)
    draw(home.store)
    uris = [f"image-history://recent?limit={number}" for number in range(1, 51)]

    async def ask(url: str) -> list[str]:
        async with Client(url, mode=protocol) as client:
            answers = await asyncio.gather(*(client.read_resource(uri) for uri in uris))
            return [answer.contents[0].uri for answer in answers]

    with serving(home.server, home.app.settings) as site:
        assert asyncio.run(ask(f"{site.url}/mcp")) == uris


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fifty_drawings_at_once(tmp_path: Path, protocol: str) -> None:
    """Fifty calls that draw, at once over HTTP, all bring a picture, and one of them is paid."""
    home = server_fixture(tmp_path, Sandbox(latency=0.2), **QUIET)
    fox = {"prompt": "a fox", "size": "1024x1024", "quality": "low"}

    async def ask(url: str) -> list[Any]:
        async with Client(url, mode=protocol) as client:
            calls = (
                client.call_tool("generate_image", {**fox, "tags": [f"zoo {number % 10}"]})
                for number in range(50)
            )
            return [result_json(answer) for answer in await asyncio.gather(*calls)]

    with serving(home.server, home.app.settings) as site:
        answers = asyncio.run(ask(f"{site.url}/mcp"))

    assert [answer["status"] for answer in answers] == ["done"] * 50
    assert all(home.store.get(answer["images"][0]["id"]) for answer in answers)
    assert len(home.sandbox.requests) == 1


def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    """Somebody else listens there: the error names host and port, and the process goes on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1, port {port}"):
            listen("127.0.0.1", port)


def test_a_name_may_stand_for_several_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses of a name are listened on, and one this machine does not have is no error."""
    listed = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: listed)
    found = listen("pictures.example.com", 0)
    names = [each.getsockname()[0] for each in found]
    for each in found:
        with socket.socket() as client:  # as soon as that is logged
            client.connect(each.getsockname())
        each.close()

    assert names == ["127.0.0.1", "127.0.0.2"]
    del listed[1:]
    with pytest.raises(OSError, match=r"cannot listen on pictures\.example\.com, port 0"):
        listen("pictures.example.com", 0)


@pytest.mark.parametrize("stays", [True, False])
def test_running_work_ends_before_the_server_does(tmp_path: Path, stays: bool) -> None:
    """A server told to stop while it draws saves the picture first, whoever still listens."""
    with SandboxServer(sandbox=Sandbox(latency=1.0)) as service:
        process, url = run_command(
            tmp_path,
            GPTIMAGE_SANDBOX="false",
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=service.base_url,
        )
        with httpx2.Client(base_url=url, timeout=60) as client:
            wait_for(client, process)
            with client.stream("POST", "/stream", json={"prompt": "a fox"}) as answer:
                lines = answer.iter_lines()
                told = [next(lines)]
                process.send_signal(signal.SIGTERM)
                if stays:
                    told += lines
        output, errors = (each.decode() for each in process.communicate(timeout=60))

    assert told[0] == "event: progress"
    assert ("event: complete" in told) == stays, errors
    assert len(gptimage.Store(tmp_path / "store").history(10)) == 1
    assert process.returncode in {0, -signal.SIGTERM}
    assert "Traceback" not in errors
    assert output == ""
