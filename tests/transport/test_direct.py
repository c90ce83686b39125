"""What is sent without the SDK is what the SDK sends, header for header and byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import openai
import pytest
from attrs import frozen

from gptimage import TransportError
from gptimage.providers import provider
from gptimage.sandbox import SandboxServer
from gptimage.transport.direct import AsyncHttpTransport, HttpTransport, http_client
from gptimage.transport.http import FilePart, HttpReply, HttpRequest
from gptimage.transport.openai_sdk import OpenAITransport


KEY = "sk-abcdefghijklmnop12345"


@frozen
class Seen:
    """One request as it arrived."""

    line: str
    pairs: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


class Echo:
    """A server that keeps what it is sent and answers with an empty object."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                pairs = [(name.lower(), value) for name, value in self.headers.items()]
                body = self.rfile.read(length)
                seen.append(Seen(self.requestline, sorted(pairs), dict(pairs), body))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST  # noqa: N815  # the name the base class looks for

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A running server."""
    found = Echo()
    yield found
    found.server.shutdown()
    found.server.server_close()


def headers() -> dict[str, str]:
    """The headers that OpenAI's provider sends with this key."""
    service = provider("openai").connected(api_key=KEY)
    return {**service.headers(), **service.key_headers()}


def direct(url: str, request: HttpRequest) -> HttpReply:
    """Send it over httpx2."""
    transport = HttpTransport(lambda: http_client(url, 60, headers(), is_async=False), owned=True)
    try:
        return transport.send(request)
    finally:
        transport.close()


def awaited(url: str, request: HttpRequest) -> HttpReply:
    """Send it over httpx2, awaited."""

    async def run() -> HttpReply:
        transport = AsyncHttpTransport(
            lambda: http_client(url, 60, headers(), is_async=True), owned=True
        )
        try:
            return await transport.send(request)
        finally:
            await transport.aclose()

    return asyncio.run(run())


def sdk(url: str, request: HttpRequest) -> HttpReply:
    """Send it over the SDK."""
    with openai.OpenAI(api_key=KEY, base_url=url) as client:
        return OpenAITransport(lambda: client, owned=False).send(request)


REQUESTS: Mapping[str, HttpRequest] = {
    "json": HttpRequest(
        method="POST",
        path="/images/generations",
        body={"prompt": "Ein Fuchs 🦊 — naïve", "n": 2, "stream": False, "svg": {"model": "a b"}},
    ),
    "form": HttpRequest(
        method="POST",
        path="/images/edits",
        body={
            "prompt": "naïve 🦊",
            "n": 2,
            "stream": True,
            "none": None,
            "tags": ["a", "b"],
            "svg": {"model": "x", "reasoning": {"effort": "low"}},
            "ratio": 0.5,
        },
        files=(
            FilePart(name="image[]", filename="a.png", content_type="image/png", data=b"\x89PNG"),
            FilePart(name="image[]", filename="ü.png", content_type="image/png", data=b"two"),
        ),
    ),
    "get": HttpRequest(method="GET", path="/files/file-1/content?after=file-0&limit=2"),
    "own headers": HttpRequest(
        method="POST", path="/x", body={}, headers={"x-own": "1", "user-agent": "mine"}
    ),
}


def parts(seen: Seen) -> object:
    """The body; of a form its parts, whose boundary is another one each time."""
    kind = seen.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return seen.body
    header = Message()
    header["content-type"] = kind
    boundary = str(header.get_param("boundary")).encode()
    return sorted(seen.body.replace(boundary, b"-").split(b"---"))


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("send", [direct, awaited])
def test_it_sends_what_the_sdk_sends(echo: Echo, name: str, send: Any) -> None:
    """The same line and body, and every header but those by which the SDK names itself."""
    send(echo.url, REQUESTS[name])
    sdk(echo.url, REQUESTS[name])
    ours, theirs = echo.seen

    assert theirs.line == ours.line
    assert parts(theirs) == parts(ours)
    own = {each for each in theirs.headers if each.startswith("x-stainless-")}
    assert {*theirs.headers} - own == {*ours.headers} | ({"content-type"} & {*theirs.headers})
    for header in {*ours.headers} - {"content-type", "content-length", "user-agent"}:
        assert theirs.headers[header] == ours.headers[header], header


def test_a_large_file_is_read_as_it_is_sent(echo: Echo, tmp_path: Path) -> None:
    """Its bytes come from the disk, not from memory."""
    file = tmp_path / "requests.jsonl"
    file.write_bytes(b"line\n" * 1000)
    part = FilePart(
        name="file", filename="requests.jsonl", content_type="application/jsonl", path=file
    )

    direct(
        echo.url,
        HttpRequest(method="POST", path="/files", body={"purpose": "batch"}, files=(part,)),
    )

    assert b"line\n" * 1000 in echo.seen[0].body


def test_the_environments_headers_are_sent(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Organization, project and custom headers, as the SDK reads them; the key stays the key."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS", "X-Team: art\nAuthorization: Bearer other\nnonsense"
    )
    direct(echo.url, REQUESTS["json"])
    headers = echo.seen[0].headers

    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")
    assert (headers["x-team"], headers["authorization"]) == ("art", f"Bearer {KEY}")


def test_a_custom_header_replaces_the_librarys_own(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is written, a name is sent once, with the last value."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "User-agent: mine\nX-Team: art\nx-team: law")
    direct(echo.url, REQUESTS["json"])
    sdk(echo.url, REQUESTS["json"])

    for seen in echo.seen:
        found = [pair for pair in seen.pairs if pair[0] in ("user-agent", "x-team")]
        assert found == [("user-agent", "mine"), ("x-team", "law")]


@pytest.mark.parametrize("send", [direct, awaited, sdk])
def test_a_refusal_is_a_reply(send: Any) -> None:
    """Status, headers and body, whatever sent it."""
    with SandboxServer() as server:
        body = {"model": "gpt-image-2.5-flare", "prompt": ""}
        reply = send(
            server.base_url, HttpRequest(method="POST", path="/images/generations", body=body)
        )

    assert reply.status == 400
    assert b"prompt" in reply.body


def test_a_closed_port_means_that_nothing_was_sent() -> None:
    """It is a `TransportError`, so the budget is free again."""
    with pytest.raises(TransportError):
        direct("http://127.0.0.1:9/v1", REQUESTS["json"])


def test_an_unreachable_service_says_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network, the address, and a proxy when there is one."""
    with pytest.raises(TransportError, match="check the network and base_url"):
        direct("http://127.0.0.1:9/v1", REQUESTS["json"])
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(TransportError, match="and the proxy in HTTP_PROXY"):
        direct("http://service.invalid/v1", REQUESTS["json"])


def test_a_host_that_cannot_be_looked_up_means_that_nothing_was_sent() -> None:
    """The encoder of host names raises its own error, also under the SDK's client."""
    for send in (direct, sdk):
        with pytest.raises(TransportError, match="nothing was sent"):
            send("http://a..b/v1", REQUESTS["json"])


def test_a_client_does_not_import_the_sdk() -> None:
    """Half a second of CPU time for nothing."""
    import subprocess
    import sys

    code = """
import sys
from gptimage import ImageClient
from gptimage.sandbox import SandboxServer
with SandboxServer() as server:
    ImageClient(api_key="sk-sandbox-key", base_url=server.base_url).generate("A fox", quality="low")
print(sorted(name for name in sys.modules if name == "openai" or name == "pydantic"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_redirect_to_another_server_takes_no_key_along(echo: Echo, is_async: bool) -> None:
    """A download may be sent on to a storage of files, which is not the one the key is for."""

    class Moved(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", f"{echo.url}/there")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    keys = {"api-key": KEY, "x-goog-api-key": KEY, "authorization": f"Bearer {KEY}"}
    request = HttpRequest(method="GET", path="/files/1/content", headers={"x-gateway": KEY})
    with ThreadingHTTPServer(("127.0.0.1", 0), Moved) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        if is_async:

            async def run() -> None:
                transport = AsyncHttpTransport(
                    lambda: http_client(url, 60, keys, is_async=True), owned=True
                )
                await transport.send(request)
                await transport.aclose()

            asyncio.run(run())
        else:
            transport = HttpTransport(
                lambda: http_client(url, 60, keys, is_async=False), owned=True
            )
            transport.send(request)
            transport.close()
        server.shutdown()

    assert KEY not in str(echo.seen[-1])
