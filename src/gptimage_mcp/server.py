"""`build_server`: settings in, a whole MCP server out; nothing happens at import."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError
from typing import Final

from mcp.server import MCPServer
from mcp.server.caching import CacheableMethod, CacheHint

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.assets import viewer
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.dynamic_server import LiveServer
from gptimage_mcp.http.routes import add_routes
from gptimage_mcp.icons import icons
from gptimage_mcp.instructions import instructions
from gptimage_mcp.opening import open_app
from gptimage_mcp.prompts import add_prompts
from gptimage_mcp.resources import add_resources
from gptimage_mcp.tools import add_tools


def build_server(
    settings: Settings,
    *,
    client: gptimage.AsyncImageClient | None = None,
    fetch: gptimage.Fetch | None = None,
) -> LiveServer:
    """A server with every tool, resource and prompt.

    Args:
        settings: See `Settings`.
        client: Draws with this one, which stays yours to close; made from the settings when
            left out. It must have a store; if it is one of the sandbox, say so in the settings.
        fetch: Downloads pictures named by URL; one with short limits when left out.

    Raises:
        ConfigurationError: A setting makes no sense, or the client has no store.
        StoreError: The folder of the store cannot be made.
        TemplateError: The folder of templates holds one that is wrong.
    """
    return server_of(open_app(settings, client, fetch), owned=client is None)


def server_of(app: App, *, owned: bool = False) -> LiveServer:
    """A server over what was opened already.

    Args:
        app: What its tools work with.
        owned: Whether the client is closed when the server ends.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncGenerator[App]:
        async with app.jobs:
            yield app
        if owned and app.client is not None and not app.jobs.in_use:
            await app.client.aclose()

    server = LiveServer(
        "gptimage",
        title="gptimage",
        description="Draws and edits pictures with OpenAI's image models, and keeps them.",
        instructions=instructions(app),
        icons=icons("server"),
        version=_version(),
        lifespan=lifespan,
        cache_hints=_HINTS,
        subscriptions=app.news,
        extensions=[viewer()],
        log_level=app.settings.log_level,
    )
    add_tools(server, app)
    add_resources(server, app)
    add_prompts(server, app)
    add_routes(server, app)
    return server


def _version() -> str:
    try:
        return gptimage.__version__
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"


_HINTS: Final[Mapping[CacheableMethod, CacheHint]] = {
    "tools/list": CacheHint(ttl_ms=3_600_000, scope="public"),
}
