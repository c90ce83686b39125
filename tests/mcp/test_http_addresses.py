"""Addresses behind proxies, signed links, and sessions, on a real server with real clients."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gptimage_mcp.http.sessions import REPLACEABLE, SessionLimitMiddleware
from tests.mcp.harness import ServerFixture, server_fixture, text
from tests.mcp.http_helpers import OTHER, TOKEN, Site, bearer, draw, events, serving
from tests.mcp.test_http import BOTH, INITIALIZE


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR", "calls_per_minute": 1000}
FOX: dict[str, Any] = {"prompt": "a fox", "size": "1024x1024", "quality": "low"}


@contextmanager
def proxy(port: int, prefix: str, *, strips: bool) -> Iterator[str]:
    """A proxy that serves a prefix, and takes it off or leaves it."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.removeprefix(prefix) if strips else self.path
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in {"connection", "content-length", "x-forwarded-prefix"}
            }
            if strips:
                headers["x-forwarded-prefix"] = prefix
            url = f"http://127.0.0.1:{port}{path}"
            found = httpx2.request(self.command, url, content=body, headers=headers, timeout=60)
            self.send_response(found.status_code)
            for name, value in found.headers.items():
                if name not in {"transfer-encoding", "content-length", "connection"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(found.content)))
            self.end_headers()
            self.wfile.write(found.content)

        do_GET = do_POST = do_DELETE = forward  # noqa: N815  # the names the standard library calls

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> ServerFixture:
    """A server with two callers that makes links."""
    return server_fixture(tmp_path, **QUIET, tokens=(TOKEN, OTHER), link_minutes=5)


@pytest.fixture
def site(home: ServerFixture) -> Iterator[Site]:
    """The same, listening."""
    with serving(home.server, home.app.settings) as found:
        yield found


@pytest.mark.parametrize("strips", [True, False])
def test_a_page_behind_a_proxy_fetches_what_it_drew(tmp_path: Path, strips: bool) -> None:
    """The address of an image leads through the proxy, whatever that does with its prefix."""
    options: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",)} if strips else {}
    if not strips:
        options = {"public_url": "http://127.0.0.1:1/img"}
    home = server_fixture(tmp_path, **QUIET, **options)
    with (
        serving(home.server, home.app.settings) as site,
        proxy(site.port, "/img", strips=strips) as base,
        httpx2.Client(timeout=60) as client,
    ):
        name, last = events(client.post(f"{base}/stream", json=FOX).text)[-1]
        assert name == "complete", last
        url = urlsplit(last["images"][0]["url"])
        found = client.get(base.removesuffix("/img") + url.path)
        again = client.get(f"{base}/stream/{last['handle']}")

    assert url.path.startswith("/img/images/img_")
    assert url.netloc == ("" if strips else "127.0.0.1:1")
    assert found.content == home.store.open(last["images"][0]["id"]).data
    assert events(again.text)[-1][1]["images"][0]["url"] == url.geturl()


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/img/mcp", "/img/mcp/"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_endpoint_is_found_under_each_of_its_paths(
    tmp_path: Path, path: str, mode: str
) -> None:
    """A slash at the end or the prefix in front leads a client of any version to the protocol."""
    home = server_fixture(tmp_path, **QUIET, public_url="https://example.com/img")

    async def ask(url: str) -> int:
        async with Client(url, mode=mode) as client:
            return len((await client.list_tools()).tools)

    with serving(home.server, home.app.settings) as site:
        assert asyncio.run(ask(site.url + path)) > 0


def test_a_link_shows_one_image_without_a_token(home: ServerFixture, site: Site) -> None:
    """Whoever has a link fetches that image with GET for some minutes, and nothing else."""
    last = events(site.post("/stream", FOX, TOKEN).text)[-1][1]["images"][0]
    other = draw(home.store, "another fox")
    link = last["link"].removeprefix(site.url)
    query = link.partition("?")[2]

    found = site.get(link)
    assert found.content == home.store.open(last["id"]).data
    assert found.headers["cross-origin-resource-policy"] == "cross-origin"
    assert found.headers["cache-control"] == "private, max-age=60"
    assert site.get(last["url"]).status_code == 401
    assert site.get(f"/images/{other.id}?{query}").status_code == 403
    assert site.get(f"/images/{last['id']}?{query[:-2]}").json()["error"] == "link_refused"
    assert site.get(f"/stream/{last['id']}?{query}").status_code == 401
    assert site.get(f"/metrics?{query}").status_code == 401
    with site.client() as client:
        assert client.head(link).status_code == 403
        assert client.post(link).status_code == 403
    assert site.get(f"{last['url']}?{query}", TOKEN).status_code == 200


def test_without_the_setting_there_are_no_links(tmp_path: Path) -> None:
    """Links are off by default: none is told, and a signature opens nothing."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN,))
    with serving(home.server, home.app.settings) as site:
        image = events(site.post("/stream", FOX, TOKEN).text)[-1][1]["images"][0]
        refused = site.get(f"{image['url']}?expires=9999999999&signature=x")

    assert "link" not in image
    assert refused.status_code == 401


def test_a_tool_s_result_has_the_link(home: ServerFixture, site: Site) -> None:
    """A model gets an address it can fetch without the token of its client."""

    async def ask() -> str:
        async with httpx2.AsyncClient(headers=bearer(TOKEN), timeout=60) as http:
            transport = streamable_http_client(f"{site.url}/mcp", http_client=http)
            async with Client(transport) as client:
                return text(await client.call_tool("generate_image", FOX))

    image = json.loads(asyncio.run(ask()))["images"][0]
    assert site.get(image["link"].removeprefix(site.url)).status_code == 200


def opened(site: Site, token: str | None = TOKEN, *, times: int = 1) -> list[httpx2.Response]:
    """Open sessions, all at the same moment."""

    def open_one(_: int) -> httpx2.Response:
        return site.post("/mcp", INITIALIZE, token, **BOTH)

    with ThreadPoolExecutor(times) as threads:
        return [*threads.map(open_one, range(times))]


def test_one_caller_cannot_take_all_sessions(tmp_path: Path) -> None:
    """Beyond a caller's share it is 429 with the time to wait; everybody else gets a session."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN, OTHER), sessions_per_caller=3)
    with serving(home.server, home.app.settings) as site:
        found = opened(site, times=6)
        (other,) = opened(site, OTHER)
        sessions = [each.headers["mcp-session-id"] for each in found if each.status_code == 200]
        with site.client(TOKEN) as client:
            ended = client.delete("/mcp", headers={"mcp-session-id": sessions[0]})
        (again,) = opened(site)

    assert sorted(each.status_code for each in found) == [200] * 3 + [429] * 3
    refused = next(each for each in found if each.status_code == 429)
    assert refused.json()["error"] == "too_many_sessions"
    assert 0 < int(refused.headers["retry-after"]) <= REPLACEABLE
    assert other.status_code == 200
    assert ended.status_code == 200
    assert again.status_code == 200


def test_somebody_else_s_session_cannot_be_ended_or_counted(tmp_path: Path) -> None:
    """A session of another caller answers 404 and stays counted for its own."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN, OTHER), sessions_per_caller=1)
    with serving(home.server, home.app.settings) as site:
        (first,) = opened(site)
        session = {"mcp-session-id": first.headers["mcp-session-id"]}
        with site.client(OTHER) as client:
            stolen = client.delete("/mcp", headers=session)
        (again,) = opened(site)

    assert stolen.status_code == 404
    assert again.status_code == 429


def test_a_session_nobody_uses_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that never end their sessions are not shut out: the one unused longest is ended."""
    now = [0.0]
    monkeypatch.setattr(
        SessionLimitMiddleware.__init__, "__kwdefaults__",
        {"in_all": 2, "clock": lambda: now[0]},
    )  # fmt: skip
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN, OTHER), sessions_per_caller=1)
    with serving(home.server, home.app.settings) as site:
        (first,) = opened(site)
        (early,) = opened(site)
        now[0] += REPLACEABLE
        (second,) = opened(site)
        old = site.post(
            "/mcp",
            {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
            TOKEN,
            mcp_session_id=first.headers["mcp-session-id"],
            **BOTH,
        )
        (other,) = opened(site, OTHER)
        (full,) = opened(site, OTHER)

    assert [first.status_code, early.status_code, second.status_code] == [200, 429, 200]
    assert old.status_code == 404
    assert other.status_code == 200
    assert full.status_code == 429


def test_newer_versions_and_stateless_servers_have_no_sessions_to_count(tmp_path: Path) -> None:
    """Where no session is opened, any number of clients may connect."""
    for stateless in (False, True):
        folder = tmp_path / str(stateless)
        folder.mkdir()
        home = server_fixture(folder, **QUIET, sessions_per_caller=1, stateless=stateless)

        async def ask(url: str, mode: str) -> list[int]:
            async def once() -> int:
                async with Client(url, mode=mode) as client:
                    return len((await client.list_tools()).tools)

            return [*await asyncio.gather(*(once() for _ in range(4)))]

        with serving(home.server, home.app.settings) as site:
            found = asyncio.run(ask(f"{site.url}/mcp", "legacy" if stateless else "auto"))

        assert len(found) == 4
