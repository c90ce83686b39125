"""A studio that listens on this machine, before a sandbox that a test can hold up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from attrs import define, field, frozen

from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.sandbox.service import SandboxReply
from gptimage.studio import AddressToken, Studio, StudioOptions, create_app, open_studio
from gptimage.studio.serve import listen
from gptimage.transport.http import HttpRequest


PATIENCE = 120.0
"""Seconds after which what has not happened will not happen."""

SMALL = {"size": "1024x1024", "quality": "low"}


@define(eq=False)
class Hold:
    """Holds requests up until they are let go.

    Attributes:
        arrived: Set when a request has come.
        go: Requests wait for it.
    """

    arrived: threading.Event = field(factory=threading.Event)
    go: threading.Event = field(factory=threading.Event)


@define(eq=False)
class Service:
    """The service that the studio's requests reach.

    Attributes:
        server: It, over HTTP.
        hold: What holds its replies up, or None.
        calls: The requests that wanted images.
    """

    server: SandboxServer
    hold: Hold | None = None
    calls: list[HttpRequest] = field(factory=list[HttpRequest])


@contextmanager
def service_running() -> Iterator[Service]:
    """Serve a sandbox of plain images."""
    sandbox = Sandbox(draw="plain", previews=True, drift={"repaint": 12})
    service = Service(SandboxServer(sandbox=sandbox))
    handle = sandbox.handle

    def held(request: HttpRequest) -> SandboxReply:
        if "/images/" in request.path:
            service.calls.append(request)
            if (hold := service.hold) is not None:
                hold.arrived.set()
                assert hold.go.wait(PATIENCE)
        return handle(request)

    sandbox.handle = held  # type: ignore[method-assign]  # what a slow service is like
    with service.server:
        yield service


@frozen
class Site:
    """A studio that listens.

    Attributes:
        url: Where.
        token: The one-time token of its address.
        studio: What it works with.
        client: A client that has the session.
        service: The service behind it.
    """

    url: str
    token: str
    studio: Studio
    client: httpx2.Client
    service: Service

    def get(self, path: str) -> Any:
        """The JSON of a page."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: object) -> Any:
        """The JSON that answers a body."""
        response = self.client.post(path, json=body)
        assert response.status_code in (200, 204), response.text
        return response.json() if response.status_code == 200 else None

    def job(self, id: str, *states: str) -> dict[str, Any]:
        """A job, once it is in one of these states."""
        found: dict[str, Any] = until(
            lambda: self.get(f"/api/jobs/{id}"), lambda job: job["state"] in states
        )
        return found

    def make(self, id: str, prompt: str = "A red fox", **more: object) -> dict[str, Any]:
        """A job that is over."""
        self.post("/api/jobs", {"id": id, "prompt": prompt, **SMALL, **more})
        return self.job(id, "done", "failed", "needs_review")


def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Look until what is seen is good."""
    end = time.monotonic() + PATIENCE
    while not good(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.02)
    return seen


@contextmanager
def environment(folder: Path, base_url: str | None) -> Iterator[None]:
    """A home with a configuration of its own; no variable of the library is needed."""
    config = folder / "config" / "gptimage" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    where = "" if base_url is None else f"base_url = {json.dumps(base_url)}\n"
    config.write_text(f'api_key = "sk-test"\ncache = "on"\nbudget = "5/day"\n{where}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        for name in ("CONFIG", "STATE", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        patch.chdir(folder)
        yield


@contextmanager
def serving(folder: Path, service: Service) -> Iterator[Site]:
    """Serve a studio of this folder in a thread, on a free port."""
    address = AddressToken()
    token = address.token
    studio = open_studio(StudioOptions(store=str(folder / "store")))
    with listen(0) as listening:
        port = listening.getsockname()[1]
        app = create_app(studio, address, cookie=f"gptimage_studio_{port}")
        config = uvicorn.Config(
            app, log_level="error", access_log=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx2.Client(base_url=url, timeout=PATIENCE) as client:
                yield Site(url, token, studio, client, service)
        finally:
            server.should_exit = True
            thread.join()
            studio.close()


def enter(site: Site) -> Site:
    """Open the printed address."""
    assert site.client.get("/", params={"token": site.token}).status_code == 200
    return site


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The service of a module's tests."""
    with service_running() as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Path]:
    """The home folder of a module's tests."""
    folder = tmp_path_factory.mktemp("home")
    with environment(folder, service.server.base_url):
        yield folder


@pytest.fixture(scope="module")
def site(home: Path, service: Service) -> Iterator[Site]:
    """A studio with a session, which the tests of a module share."""
    with serving(home, service) as found:
        yield enter(found)


@pytest.fixture
def hold(service: Service) -> Iterator[Hold]:
    """Holds requests up for one test."""
    service.hold = found = Hold()
    yield found
    service.hold = None
    found.go.set()
