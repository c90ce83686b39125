"""A studio that listens on this machine, a sandbox that a test can hold up, and a browser."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest
import uvicorn
from attrs import define, evolve, field, frozen

from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.sandbox.service import SandboxReply
from gptimage.studio import AddressToken, Studio, StudioOptions, create_app, open_studio
from gptimage.studio.serve import listen
from gptimage.transport.http import HttpRequest, ServerEvent


if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page


PATIENCE = 120.0
"""Seconds after which what has not happened will not happen."""

SMALL: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


@define(eq=False)
class Hold:
    """Holds requests up until they are let go.

    Attributes:
        previews: Let previews pass, and hold up what comes after them.
        arrived: Set when a request has come.
        go: Requests wait for it.
    """

    previews: bool = False
    arrived: threading.Event = field(factory=threading.Event)
    go: threading.Event = field(factory=threading.Event)


@define(eq=False)
class Service:
    """The service that the studio's requests reach.

    Attributes:
        server: It, over HTTP.
        sandbox: What answers.
        hold: What holds its replies up, or None.
        calls: The requests that wanted images.
    """

    server: SandboxServer
    sandbox: Sandbox
    hold: Hold | None = None
    calls: list[HttpRequest] = field(factory=list[HttpRequest])


@contextmanager
def service_running() -> Iterator[Service]:
    """Serve a sandbox of plain images."""
    sandbox = Sandbox(draw="plain", previews=True, drift={"repaint": 12})
    service = Service(SandboxServer(sandbox=sandbox), sandbox)
    handle = sandbox.handle

    def held(request: HttpRequest) -> SandboxReply:
        if "/images/" in request.path:
            service.calls.append(request)
            if (hold := service.hold) is not None:
                hold.arrived.set()
                if hold.previews:
                    found = handle(request)
                    return evolve(found, events=after_previews(found.events or iter(()), hold))
                assert hold.go.wait(PATIENCE)
        return handle(request)

    sandbox.handle = held  # type: ignore[method-assign]  # what a slow service is like
    with service.server:
        yield service


def after_previews(events: Iterator[ServerEvent], hold: Hold) -> Iterator[ServerEvent]:
    """The events of a stream, of which the last one waits."""
    for event in events:
        if "partial" not in event.name:
            assert hold.go.wait(PATIENCE)
        yield event


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
    token: str | None
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
            lambda: self.get(f"/api/jobs/{id}"), lambda job: job["state"] in states or job["reason"]
        )
        assert found["state"] in states, found
        return found

    def make(self, id: str, prompt: str = "A red fox", **more: object) -> dict[str, Any]:
        """A job that is over."""
        self.post("/api/jobs", {"id": id, "prompt": prompt, **SMALL, **more})
        return self.job(id, "done", "failed", "needs_review")


_numbers = itertools.count(1)


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


@pytest.fixture(autouse=True, scope="session")
def servers(servers_end_at_once: None) -> None:
    """End servers of this folder's tests at once."""


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


def miss(reason: str) -> None:
    """Skip, or fail where everything must be tested."""
    (pytest.fail if os.environ.get("TESTS_REQUIRE_CHROMIUM") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for this module alone: its driver holds the thread's event loop."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        miss("the studio was NOT tested, Chromium is missing: apt-get install -y chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        miss("the studio was NOT tested, its driver is missing: pip install playwright")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = playwright.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


@define(eq=False)
class Tab:
    """A tab of the studio.

    Attributes:
        page: The page.
        site: The studio.
        wrong: What the browser complained about.
        name: A word that no other tab has, for the prompts of one test.
    """

    page: Page
    site: Site
    wrong: list[str] = field(factory=list[str])
    name: str = field(factory=lambda: f"zz{next(_numbers)}")

    def find(self, selector: str) -> Locator:
        """What matches."""
        return self.page.locator(selector)

    def there(self, selector: str, count: int = 1) -> Locator:
        """What matches, once there are so many."""
        from playwright.sync_api import expect

        found = self.find(selector)
        expect(found).to_have_count(count, timeout=PATIENCE * 1000)
        return found

    def go(self, name: str) -> None:
        """Open one of the pages."""
        self.find(f"a[data-page={name}]").click()
        self.there(f"section.{name}:not([hidden])")

    def make(self, prompt: str) -> str:
        """Make an image on the page; returns its id."""
        self.go("make")
        self.find(".make textarea[name=prompt]").fill(prompt)
        self.find(".make button.primary").click()
        card = self.there(".make .card:first-child[data-state=done]")
        self.there(f".make .card:first-child .words:text-is({quoted(prompt)})")
        return str(self.site.get(f"/api/jobs/{card.get_attribute('data-job')}")["images"][0])


def quoted(text: str) -> str:
    """Text in a selector."""
    return '"' + text.replace('"', '\\"') + '"'


def opened(browser: Browser, site: Site, **options: Any) -> Tab:
    """A tab of its own browser profile; its session is the one the studio knows."""
    return opened_in(profile(browser, **options), site)


def profile(browser: Browser, **options: Any) -> BrowserContext:
    """A browser profile."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    context.set_default_timeout(PATIENCE * 1000)
    return context


def opened_in(context: BrowserContext, site: Site) -> Tab:
    """A tab of this profile."""
    cookies = [
        {"name": name, "value": value, "url": site.url}
        for name, value in site.client.cookies.items()
    ]
    context.add_cookies(cast("Any", cookies))
    tab = Tab(context.new_page(), site)
    tab.page.on("pageerror", lambda error: tab.wrong.append(str(error)))
    tab.page.on(
        "console", lambda line: tab.wrong.append(line.text) if line.type == "error" else None
    )
    tab.page.goto(site.url)
    tab.there("main[data-ready]")
    return tab


LOOKS = [
    pytest.param((1440, "light"), id="wide-light"),
    pytest.param((390, "light"), id="phone-light", marks=pytest.mark.slow),
    pytest.param((1440, "dark"), id="wide-dark", marks=pytest.mark.slow),
    pytest.param((390, "dark"), id="phone-dark", marks=pytest.mark.slow),
]
"""Widths in pixels and themes; CI looks at the first one, and ``nox -s studio`` at all."""


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a browser's window."""
    width, scheme = request.param
    return {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}


@pytest.fixture(scope="module")
def profiles(browser: Browser) -> dict[str, BrowserContext]:
    """The profiles of this module's tabs: a new one takes a browser longer than most tests."""
    return {}


@pytest.fixture
def tab(
    browser: Browser, profiles: dict[str, BrowserContext], site: Site, look: dict[str, Any]
) -> Iterator[Tab]:
    """A tab, in which nothing went wrong in the end; nothing of an earlier one is left in it."""
    if (name := repr(look)) not in profiles:
        profiles[name] = profile(browser, **look)
        profiles[name].new_page()  # stays open, and with it the process that shows pages
    context = profiles[name]
    empty, *_ = context.pages
    found = opened_in(context, site)
    yield found
    wrong = list(found.wrong)
    for page in context.pages[1:]:
        page.close()
    context.clear_permissions()
    storage = {"origin": site.url, "storageTypes": "all"}
    context.new_cdp_session(empty).send("Storage.clearDataForOrigin", storage)
    context.clear_cookies()
    assert wrong == []
