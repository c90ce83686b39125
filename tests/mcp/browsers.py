"""The viewer in a real Chromium, inside a host that passes its questions on to a real server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from attrs import field, frozen
from mcp import Client
from mcp_types import CallToolResult

from gptimage_mcp.assets import html
from gptimage_mcp.dynamic_server import DynamicServer


if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Frame, Page

HOSTS: Final = Path(__file__).parent / "apphost"

CAN: Final[Mapping[str, object]] = {
    "serverTools": {},
    "serverResources": {},
    "updateModelContext": {"text": {}},
    "message": {"text": {}},
    "downloadFile": {},
}
"""A host that can do everything the viewer may ask for."""

STRICT: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' data:; object-src 'none'; connect-src 'none'; "
    "require-trusted-types-for 'script'"
)
"""What hosts put on an app that asks for nothing; and no text may become HTML."""

_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


_AT_REST: Final = """() => new Promise((done) => {
  let before = "", still = 0;
  const look = () => {
    const { top, height } = document.querySelector("main").getBoundingClientRect();
    const complete = [...document.images].every((each) => each.complete);
    const now = `${top} ${height} ${innerWidth} ${innerHeight}`;
    still = complete && now === before ? still + 1 : 0;
    before = now;
    if (still > 5) done(); else requestAnimationFrame(look);
  };
  look();
})"""
"""Waits until all images are loaded and neither page nor frame has changed for six frames."""

_PATIENCE: Final = 60_000.0
"""Milliseconds after which what has not appeared will not appear."""


@frozen
class Site:
    """Files over HTTP on this machine, and what was asked for.

    Attributes:
        port: Where it listens.
        asked: The paths of all requests.
    """

    port: int
    asked: list[str] = field(factory=list[str])

    def url(self, path: str = "/") -> str:
        """The address of a file."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def site(files: Mapping[str, str], policy: str | None = None) -> Iterator[Site]:
    """Serve these pages; whatever is not among them is noted, and not there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/favicon.ico":  # what every browser asks every site for
                here.asked.append(self.path)
            body = files.get(self.path)
            self.send_response(204 if self.path == "/favicon.ico" else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            if self.path.endswith(".js"):
                self.send_header("Content-Type", "text/javascript; charset=utf-8")
            if policy is not None:
                self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, format: str, *args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        here = Site(served.server_port)
        thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield here
        finally:
            served.shutdown()
            thread.join()


@frozen(kw_only=True)
class Viewer:
    """The viewer on a page of a host.

    Attributes:
        page: The host's page.
        frame: The viewer.
        site: Where the viewer was loaded from.
        client: The client of the real server.
        wrong: What the browser complained about.
    """

    page: Page
    frame: Frame
    site: Site
    client: Client
    wrong: list[str]

    async def asked(self, method: str) -> list[dict[str, Any]]:
        """The parameters of everything the viewer has sent with this method."""
        sent = await self.page.evaluate("asked")
        return [each["params"] for each in sent if each.get("method") == method]

    async def waited(self, method: str) -> dict[str, Any]:
        """The parameters of the newest message with this method, once there is one."""
        await self.page.wait_for_function(
            "(method) => asked.some((each) => each.method === method)", arg=method
        )
        return (await self.asked(method))[-1]

    async def resolve_inputs(self, method: str, params: Mapping[str, object]) -> None:
        """Send it a notification."""
        await self.page.evaluate("([m, p]) => notify(m, p)", [method, params])

    async def give(self, result: CallToolResult | Mapping[str, object]) -> None:
        """Send it the result of a tool."""
        plain = wire(result) if isinstance(result, CallToolResult) else result
        await self.resolve_inputs("ui/notifications/tool-result", plain)

    async def call(self, tool: str, **arguments: object) -> CallToolResult:
        """Call a tool of the server as the model does, and show the viewer what it gave."""
        await self.resolve_inputs("ui/notifications/tool-input", {"arguments": arguments})
        result = await self.client.call_tool(tool, arguments)
        await self.give(result)
        return result

    async def drawn(self, count: int) -> None:
        """Wait until so many pictures are really drawn."""
        await self.frame.wait_for_function(
            "(count) => [...document.images].filter((i) => i.naturalWidth > 0).length === count",
            arg=count,
        )

    async def holds(self, condition: str) -> None:
        """Wait until this is true in the viewer."""
        await self.frame.wait_for_function(f"() => {condition}")  # a function: it may not eval

    async def sees(self, role: str, name: str) -> None:
        """Wait until there is something on show with this role and name."""
        roles: Any = role  # the driver lists them one by one
        await self.frame.get_by_role(roles, name=name).first.wait_for()

    async def status(self, words: str) -> None:
        """Wait until the status line has these words."""
        await self.frame.get_by_role("status").filter(has_text=words).wait_for()

    async def press(self, name: str) -> None:
        """Click a button once nothing moves any more: images that load late move what is below."""
        await self.frame.evaluate(_AT_REST)
        await self.button(name).click()

    def button(self, name: str) -> Any:
        """A button by what screen readers call it."""
        return self.frame.get_by_role("button", name=name, exact=True)


Story = Callable[[Viewer], Awaitable[None]]


class Chromium:
    """One profile of a browser for many tests: a new one takes longer than most of them.

    Each gets a page from an address of its own, and the viewer keeps nothing.
    """

    def __init__(self, runner: asyncio.Runner, profile: BrowserContext) -> None:
        self._runner, self._profile = runner, profile

    def tell(
        self,
        story: Story,
        server: DynamicServer,
        *,
        capabilities: Mapping[str, object] = CAN,
        context: Mapping[str, object] | None = None,
        policy: str | None = STRICT,
        width: int = 760,
        host: Mapping[str, str] | None = None,
        app: str | None = None,
    ) -> None:
        """Open the viewer in a host, and see how the story goes.

        Args:
            story: What happens.
            server: What answers the viewer's questions.
            capabilities: What the host can do.
            context: What the host tells about itself.
            policy: The policy the host puts on the viewer.
            width: Of the host's window, in pixels.
            host: The host's files, if not the plain one.
            app: The page of the viewer as the host changed it.
        """
        files = host or {"/": (HOSTS / "plain.html").read_text("utf-8")}
        with site(files) as host_site, site({"/viewer": app or html()}, policy) as inner:
            told = {"capabilities": dict(capabilities), "context": dict(context or {})}
            self._runner.run(self._told(story, server, host_site, inner, told, width))

    async def _told(
        self,
        story: Story,
        server: DynamicServer,
        host_site: Site,
        inner: Site,
        told: Mapping[str, object],
        width: int,
    ) -> None:
        page, wrong = await self._profile.new_page(), list[str]()
        await page.set_viewport_size({"width": width, "height": 1000})
        page.on("console", partial(_complain, wrong))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        async with Client(server) as client:
            await page.expose_function("server", _answering(client))
            await page.goto(host_site.url())
            await page.evaluate("([url, told]) => show(url, told)", [inner.url("/viewer"), told])
            await page.wait_for_function(
                "asked.some((each) => each.method === 'ui/notifications/initialized')"
            )
            viewer = Viewer(
                page=page, frame=page.frames[-1], site=inner, client=client, wrong=wrong
            )
            failed = await _ended(story(viewer), viewer)
        await page.close()
        if failed is not None:  # not inside the client, which would wrap it in groups
            raise failed


def _complain(wrong: list[str], message: Any) -> None:
    if message.type in {"error", "warning"}:
        wrong.append(message.text)


async def _ended(story: Awaitable[None], viewer: Viewer) -> Exception | None:
    """Why a story went wrong, with what was to be seen then; None when it did not."""
    try:
        await story
    except Exception as error:  # noqa: BLE001  # raised again by who asked
        seen = await viewer.frame.locator("main").aria_snapshot()
        error.add_note(f"seen:\n{seen}\nthe browser says: {viewer.wrong}")
        return error
    return None


def _answering(client: Client) -> Callable[[str, str], Awaitable[str]]:
    """What the host does with a request of the viewer: the server's own are passed on to it."""

    async def answer(method: str, params: str) -> str:
        asked = json.loads(params)
        if method == "tools/call":
            return json.dumps(wire(await client.call_tool(asked["name"], asked["arguments"])))
        if method == "resources/read":
            return json.dumps(wire(await client.read_resource(asked["uri"])))
        return "{}"

    return answer


def wire(result: Any) -> dict[str, Any]:
    """A result as it travels."""
    plain: dict[str, Any] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return plain


@contextmanager
def chromium_running() -> Iterator[Chromium]:
    """A browser, for as long as it is needed."""
    from playwright.async_api import async_playwright

    async def started() -> tuple[Any, Browser, BrowserContext]:
        playwright = await async_playwright().start()
        browser = await playwright.chromium.launch(executable_path=_program(), args=[*_ARGUMENTS])
        profile = await browser.new_context()
        profile.set_default_timeout(_PATIENCE)
        await profile.new_page()  # stays open, and with it the process that shows pages
        return playwright, browser, profile

    with asyncio.Runner() as runner:
        playwright, browser, profile = runner.run(started())
        try:
            yield Chromium(runner, profile)
        finally:
            runner.run(browser.close())
            runner.run(playwright.stop())


def require_chromium() -> None:
    """The viewer is tested in a real browser or not at all; `.ci/run` must have one."""
    if not _program():
        miss("the viewer was NOT tested, Chromium is missing: apt-get install -y chromium")
    try:
        import playwright  # noqa: F401  # whether it is there
    except ImportError:
        miss("the viewer was NOT tested, its driver is missing: pip install playwright")


def miss(reason: str) -> None:
    """Skip, or fail where everything must be tested."""
    say = pytest.fail if os.environ.get("TESTS_REQUIRE_CHROMIUM") else pytest.skip
    say(reason)


def official_host(folder: Path) -> Mapping[str, str]:
    """The files of a host built from the protocol's own SDK, installed by npm into this folder."""
    npm = shutil.which("npm")
    if npm is None or not os.environ.get("TESTS_REQUIRE_CHROMIUM"):
        miss("the official host was NOT tested: with npm, set TESTS_REQUIRE_CHROMIUM=1 for it")
    for name in ("package.json", "package-lock.json", "official.js"):
        shutil.copy(HOSTS / name, folder)
    _run(folder, [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    esbuild = folder / "node_modules" / ".bin" / "esbuild"
    _run(folder, [str(esbuild), "official.js", "--bundle", "--format=iife", "--outfile=host.js"])
    page = '<!doctype html><meta charset="utf-8"><body><script src="/host.js"></script></body>'
    return {"/": page, "/host.js": (folder / "host.js").read_text("utf-8")}


def _run(folder: Path, command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


def _program() -> str | None:
    names: Sequence[str] = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)
