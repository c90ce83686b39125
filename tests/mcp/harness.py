"""A whole server in memory, over the sandbox, and clients of both protocols for it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen
from mcp import Client
from mcp_types import CallToolResult, TextContent

import gptimage
from gptimage.cache.base import Cache
from gptimage.sandbox import SANDBOX_URL, AsyncSandboxTransport, Sandbox
from gptimage.sandbox.service import SandboxReply
from gptimage.sandbox.transport import AsyncSandboxStream
from gptimage_mcp.app import App, create_app
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.server import server_of


PROTOCOLS = ("auto", "legacy")
"""How a client may connect: the protocol of 2026-07-28, or with a handshake."""

JOBS = "spend.sqlite.jobs"
"""The folder, beside the ledger, where work is written down."""

_T = TypeVar("_T")


class Held(AsyncSandboxTransport):
    """The sandbox, which draws nothing before it is let go; tests decide when, not clocks.

    Attributes:
        arrived: Set once a request is there.
        go: Set it, and all requests are answered.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()

    async def stream(self, request: Any) -> AsyncSandboxStream:
        """SandboxReply, some day."""
        self.arrived.set()
        await self.go.wait()
        return await super().stream(request)


class Slow(Sandbox):
    """A service that answers nothing before it is let go, for servers in other threads.

    Attributes:
        here: Set once a request is there.
        go: Set it, and all requests are answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.Event()
        self.go = threading.Event()

    def handle(self, request: Any) -> SandboxReply:
        """A request is there."""
        self.here.set()
        assert self.go.wait(120)
        return super().handle(request)


@frozen(kw_only=True)
class Connected:
    """A server, and clients of it.

    Attributes:
        server: The server.
        app: What its tools work with.
    """

    server: DynamicServer
    app: App

    def ask(
        self, question: Callable[[Client], Awaitable[_T]], protocol: str = "auto", **options: Any
    ) -> _T:
        """Connect, ask, and disconnect."""

        async def connected() -> _T:
            async with Client(self.server, mode=protocol, **options) as client:
                return await question(client)

        return asyncio.run(connected())

    def call(self, tool: str, protocol: str = "auto", /, **arguments: Any) -> CallToolResult:
        """Call one tool."""
        return self.ask(lambda client: client.call_tool(tool, arguments), protocol)


@frozen(kw_only=True)
class ServerFixture(Connected):
    """A server, and what stands behind it.

    Attributes:
        sandbox: The service it draws with; `Sandbox.requests` has what it was asked.
        store: Where its pictures are.
        folder: Where all its files are; ``in`` may be read from, ``out`` written to.
        held: The transport that holds calls; free unless `house` was told to hold them.
    """

    sandbox: Sandbox
    store: gptimage.Store
    folder: Path
    held: Held

    def put(self, name: str, data: bytes | None = None, **options: Any) -> Path:
        """A file in the folder pictures may be read from."""
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(**options) if data is None else data)
        return path


def server_fixture(
    folder: Path,
    service: Sandbox | None = None,
    *,
    cache: bool = True,
    budget: gptimage.Budget | None = None,
    hold: bool = False,
    fetch: gptimage.Fetch | None = None,
    share: ServerFixture | None = None,
    clock: Callable[[], datetime] | None = None,
    **settings: Any,
) -> ServerFixture:
    """A server whose files are in this folder and whose pictures the sandbox draws.

    Args:
        folder: Where all its files are.
        service: Another sandbox than a new one.
        cache: Whether the client has a cache.
        budget: The budget of the client.
        hold: Whether calls wait until ``held.go`` is set.
        fetch: How URLs are downloaded.
        share: Another server, whose cache this one uses.
        clock: Tells client, server and a new sandbox the time; this machine's when left out.
        **settings: Settings besides those of the folders.
    """
    for name in ("in", "out"):
        (folder / name).mkdir(exist_ok=True)
    told: dict[str, Any] = {
        "store": folder / "store",
        "ledger": folder / "spend.sqlite",
        "input_folders": (folder / "in",),
        "output_folders": (folder / "out",),
        "sandbox": True,
        **settings,
    }
    service = service or Sandbox(clock=clock)
    store = gptimage.Store(told["store"], fsync=False)
    parts: dict[str, Any] = {} if budget is None else {"budget": budget}
    if clock is not None:
        parts["clock"] = clock
    held = Held(service)
    kept: Cache | None = gptimage.Cache.memory() if cache else None
    if share is not None:
        kept = share.app.cache
    if not hold:
        held.go.set()
    client = gptimage.AsyncImageClient(
        transport=held,
        base_url=SANDBOX_URL,
        store=store,
        cache=kept,
        ledger=gptimage.Ledger(told["ledger"]),
        **parts,
    )
    app = create_app(Settings(**told), client, fetch)
    return ServerFixture(
        server=server_of(app),
        sandbox=service,
        store=store,
        folder=folder,
        app=app,
        held=held,
    )


def text(result: CallToolResult) -> str:
    """The first text of a result."""
    return next(block.text for block in result.content if isinstance(block, TextContent))


def result_json(result: CallToolResult) -> Any:
    """The JSON at the head of a result that is no error."""
    assert not result.is_error, text(result)
    return json.loads(text(result))


def picture(
    width: int = 64, height: int = 48, form: str = "png", color: str = "teal", mode: str = "RGB"
) -> bytes:
    """The bytes of a plain picture."""
    from PIL import Image as Pil

    file = io.BytesIO()
    Pil.new(mode, (width, height), color).save(file, form)
    return file.getvalue()
