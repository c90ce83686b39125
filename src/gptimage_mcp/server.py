"""`build_server`: settings in, a whole MCP server out; nothing happens at import."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib.metadata import PackageNotFoundError
from typing import Final

from mcp.server import MCPServer
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.request_state import RequestStateSecurity

import gptimage
from gptimage.config import variable
from gptimage_mcp.app import App, create_app
from gptimage_mcp.assets import icons, viewer
from gptimage_mcp.config.settings import Settings, enabled_tools, requires_known_cost
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.http.routes import add_routes
from gptimage_mcp.prompts import add_prompts
from gptimage_mcp.resources import add_resources
from gptimage_mcp.retention import Pruning
from gptimage_mcp.tasks import Tasks
from gptimage_mcp.tools import add_tools


# What the server tells every client about itself, built from its real settings.


def instructions(app: App) -> str:
    """A few sentences for the model that will call the tools."""
    return "\n".join((*_ways(app), *_money(app.settings), *_files(app)))


def _ways(app: App) -> Iterator[str]:
    settings = app.settings
    if settings.sandbox:
        yield (
            "SANDBOX: images are drawn by an offline imitation. They are test images, cost "
            "nothing, and every result says so. Tell the person."
        )
    elif app.client is None:
        yield (
            f"NO API KEY: nothing can be drawn until the person sets {variable('api_key')} where "
            "this server is configured. Everything else works. Never ask for a key in the chat."
        )
    yield (
        "Draws and edits images with OpenAI's image models, and keeps every one. New image: "
        "generate_image. Change one: edit_image, or refine_image to go on in words, turn by turn. "
        "Other versions of one: create_variations. Name images by id (img_...)."
    )
    yield (
        f"A call that takes longer than {settings.wait:g} s answers with a handle (job_...), and "
        "goes on: pass it to view_image, which waits. Do not make the call again; it is paid once."
        f"{_afterwards(enabled_tools(settings))}"
    )


def _afterwards(tools: frozenset[str]) -> str:
    """Name the tools that show what came of a call, among those there are."""
    looking = [each for each in ("list_images", "get_server_status") if each in tools]
    if not looking:
        return ""
    return f" After a timeout, {' and '.join(looking)} can tell what came of it."


def _money(settings: Settings) -> Iterator[str]:
    limits = [f"at most {settings.max_images} images per call"]
    for period, usd in settings.limits.items():
        limits.append(f"{_usd(usd)} {'in total' if period == 'total' else f'per {period}'}")
    note = " estimate_cost tells the cost of a call before it is made."
    note = note if "estimate_cost" in enabled_tools(settings) else ""
    yield f"Limits: {', '.join(limits)}.{note}"
    if requires_known_cost(settings):
        yield (
            "Name size and quality in every call that draws: where there is a limit, a call whose "
            "cost cannot be foreseen is refused before it is sent."
        )
    if settings.confirm_above is not None:
        yield (
            f"Before a call that may cost more than {_usd(settings.confirm_above)} the person is "
            "asked, if the client can ask; if it cannot, the call goes on within the limits."
        )


def _files(app: App) -> Iterator[str]:
    settings = app.settings
    where = [
        *map(str, settings.input_folders),
        *([str(app.store.folder)] if app.store.folder else ()),
    ]
    named = f"in {', '.join(where)}" if where else "nowhere"
    urls = "also by https URL" if settings.fetch_urls else "not by URL"
    yield f"Images may be read from files {named}; {urls}."
    if settings.output_folders:
        yield f"save_to may write copies in {', '.join(map(str, settings.output_folders))}."


def _usd(amount: Decimal) -> str:
    return f"${amount:f}"


def build_server(
    settings: Settings,
    *,
    client: gptimage.AsyncImageClient | None = None,
    fetch: gptimage.Fetch | None = None,
    detached: bool = False,
) -> DynamicServer:
    """A server with every tool, resource and prompt.

    Args:
        settings: See `Settings`.
        client: Draws with this one, which stays yours to close; made from the settings when
            left out. It must have a store; if it is one of the sandbox, say so in the settings.
        fetch: Downloads images named by URL; one with short limits when left out.
        detached: Draw in another process, which finishes what was sent when this one is ended. For
            servers that a client starts, and ends when it closes; not with ``client``.

    Raises:
        ConfigurationError: A setting makes no sense, or the client has no store.
        StoreError: The folder of the store cannot be made.
        TemplateError: The folder of templates holds one that is wrong.
    """
    if detached and client is not None:
        raise gptimage.ConfigurationError("detached=True draws with a client of its own")
    app = create_app(settings, client, fetch, detached=detached)
    return server_of(app, owned=client is None)


def server_of(app: App, *, owned: bool = False) -> DynamicServer:
    """A server over what was opened already.

    Args:
        app: What its tools work with.
        owned: Whether the client is closed when the server ends.
    """
    pruning = Pruning(app.stores, app.settings.retention)

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncGenerator[App]:
        async with app.jobs, pruning.running():
            yield app
        if app.runner is not None and not app.jobs.in_use:
            app.runner.close()
        if owned and app.client is not None and not app.jobs.in_use:
            await app.client.aclose()
        if not app.jobs.in_use:
            await app.aclose()

    server = DynamicServer(
        "gptimage",
        title="gptimage",
        description="Draws and edits images with OpenAI's image models, and keeps them.",
        instructions=instructions(app),
        icons=icons("server"),
        version=_version(),
        lifespan=lifespan,
        request_state_security=_security(app.settings),
        cache_hints=_HINTS,
        subscriptions=app.subscriptions,
        extensions=[viewer(), Tasks(app)],
        log_level=app.settings.log_level,
    )
    add_tools(server, app)
    add_resources(server, app)
    add_prompts(server, app)
    add_routes(server, app)
    return server


def _security(settings: Settings) -> RequestStateSecurity | None:
    """Seal questions to the person with the shared secret, so that any replica reads the answer."""
    return RequestStateSecurity(keys=settings.shared_secret) if settings.shared_secret else None


def _version() -> str:
    try:
        return gptimage.__version__
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"


_HINTS: Final[Mapping[CacheableMethod, CacheHint]] = {
    "tools/list": CacheHint(ttl_ms=3_600_000, scope="public"),
}
