"""`build_server`: settings in, a whole MCP server out; nothing happens at import."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from decimal import Decimal
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcp.server import MCPServer
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.request_state import RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, SubscriptionBus

import gptimage
from gptimage_mcp.assets import icons, viewer
from gptimage_mcp.catalogue import saved_tools
from gptimage_mcp.config.settings import Settings, enabled_tools
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.tasks import Tasks


if TYPE_CHECKING:
    from gptimage_mcp.app import App


# What the server tells every client about itself, built from its real settings.


def instructions(settings: Settings, *, draws: bool, folder: Path | None) -> str:
    """Write a few sentences for the model that will call the tools.

    Args:
        settings: See `Settings`.
        draws: Whether there is a key, or the sandbox.
        folder: The folder of the store, if it is one.
    """
    return "\n".join((*_ways(settings, draws=draws), *_money(settings), *_files(settings, folder)))


def _ways(settings: Settings, *, draws: bool) -> Iterator[str]:
    if settings.sandbox:
        yield (
            "SANDBOX: images are drawn by an offline imitation. They are test images, cost "
            "nothing, and every result says so. Tell the person."
        )
    elif not draws:
        yield (
            f"NO API KEY: nothing can be drawn until the person sets {settings.key_variable} where "
            "this server is configured. Everything else works. Never ask for a key in the chat."
        )
    tools = enabled_tools(settings)
    uses = " ".join(words for name, words in _USES.items() if name in tools)
    yield (
        "Draws and edits images with OpenAI's image models, and keeps every one. "
        f"{uses}{' ' if uses else ''}Name images by id (img_...)."
    )
    if not uses:  # none draws
        return
    waiting = "pass it to view_image, which waits. Do not make the call again; it is paid once."
    if "view_image" not in tools:
        waiting = "the same call made again while it runs joins it, and is paid once."
    looking = [each for each in ("list_images", "get_server_status") if each in tools]
    after = f" After a timeout, {' and '.join(looking)} can tell what came of it."
    yield (
        f"A call that takes longer than {settings.wait:g} s answers with a handle (job_...), and "
        f"goes on: {waiting}{after if looking else ''}"
    )


_USES: Final = {
    "generate_image": "New image: generate_image.",
    "edit_image": "Change one: edit_image.",
    "refine_image": "Go on with one in words, turn by turn: refine_image.",
    "create_variations": "Other versions of one: create_variations.",
    "edit_each_image": "The same change to several: edit_each_image.",
}


def _money(settings: Settings) -> Iterator[str]:
    limits = [f"at most {settings.max_images} images per call"]
    for period, usd in settings.limits.items():
        limits.append(f"{_usd(usd)} {'in total' if period == 'total' else f'per {period}'}")
    note = " estimate_cost tells the cost of a call before it is made."
    note = note if "estimate_cost" in enabled_tools(settings) else ""
    yield f"Limits: {', '.join(limits)}.{note}"
    if settings.limits:
        yield (
            "Name size and quality in every call that draws: what they leave open counts at its "
            "dearest against the limit until the response is there."
        )
    if settings.confirm_above is not None:
        yield (
            f"Before a call that may cost more than {_usd(settings.confirm_above)} the person is "
            "asked, if the client can ask; if it cannot, the call goes on within the limits."
        )


def _files(settings: Settings, folder: Path | None) -> Iterator[str]:
    where = [*map(str, settings.input_folders), *([str(folder)] if folder else ())]
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
    from gptimage_mcp.app import create_app

    app = create_app(settings, client, fetch, detached=detached)
    return server_of(app, owned=client is None)


def server_of(app: App, *, owned: bool = False) -> DynamicServer:
    """A server over what was opened already.

    Args:
        app: What its tools work with.
        owned: Whether the client is closed when the server ends.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncGenerator[App]:
        async with _running(app, owned=owned):
            yield app

    draws, folder = app.client is not None, app.store.folder
    server = _bare_server(
        app.settings,
        instructions(app.settings, draws=draws, folder=folder),
        lifespan,
        app.subscriptions,
        Tasks(_always(app)),
    )
    _fill(server, app)
    from gptimage_mcp.http.routes import add_routes

    add_routes(server, app)
    return server


def late_server(settings: Settings) -> DynamicServer:
    """Build a server for one client over stdio, which opens what it works with when that is needed.

    A client starts its servers with itself and waits for the list of their tools; most sessions
    call none of ours. What is heavy is imported and opened with the first request for something
    else. Everything the client sees is the same.

    Args:
        settings: See `Settings`.

    Raises:
        GptImageError: A setting makes no sense: what `build_server` raises.
    """
    if not _can_wait(settings):
        return build_server(settings, detached=True)
    draws = settings.sandbox or settings.has_key
    if draws and not settings.sandbox:
        from gptimage.transport import check_environment, check_key

        # What the client of the library would refuse when it is made.
        if settings.api_key is not None:
            check_key("api_key", settings.api_key)
        check_environment(whole=False)
    subscriptions = InMemorySubscriptionBus()
    contexts = AsyncExitStack()
    opened: list[App] = []

    async def opener() -> None:
        # Nothing in it waits, so that two requests at a time cannot both open it.
        gc.disable()  # nothing made here is garbage, see `__main__`
        try:
            from gptimage_mcp.app import create_app

            app = create_app(settings, detached=True, subscriptions=subscriptions)
            _fill(server, app)
        finally:
            gc.freeze()
            gc.enable()
        await contexts.enter_async_context(_running(app, owned=True))
        opened.append(app)

    async def find() -> App:
        await server.open()
        return opened[0]

    @asynccontextmanager
    async def lifespan(_: MCPServer[Any]) -> AsyncGenerator[None]:
        async with contexts:
            yield

    assert isinstance(settings.store, Path)  # noqa: S101  # see `_can_wait`
    text = instructions(settings, draws=draws, folder=settings.store.resolve())
    server = _bare_server(settings, text, lifespan, subscriptions, Tasks(find))
    server.outline = saved_tools(settings)
    server.opener = opener
    return server


def _can_wait(settings: Settings) -> bool:
    """Return whether opening what these settings name finds no mistake that belongs to the start.

    The folders were looked at before. Of what is listed here only the package or the file says
    whether it can be used; pruning begins with the server.
    """
    elsewhere = (settings.templates, settings.redis_url, settings.base_url, settings.retention)
    texts = (settings.store, settings.shared_state)
    return not (any(elsewhere) or any(isinstance(each, str) for each in texts))


@asynccontextmanager
async def _running(app: App, *, owned: bool) -> AsyncGenerator[None]:
    """Run the jobs and the pruning of a server, and close at the end what is not in use."""
    async with app.jobs, app.pruning.running():
        yield
    if app.runner is not None and not app.jobs.in_use:
        app.runner.close()
    if owned and app.client is not None and not app.jobs.in_use:
        await app.client.aclose()
    if not app.jobs.in_use:
        await app.aclose()


def _always(app: App) -> Callable[[], Awaitable[App]]:
    async def find() -> App:
        return app

    return find


def _bare_server(
    settings: Settings,
    text: str,
    lifespan: Callable[[MCPServer[Any]], AbstractAsyncContextManager[Any]],
    subscriptions: SubscriptionBus,
    tasks: Tasks,
) -> DynamicServer:
    """Return a server that says of itself what ours says, and has no tool yet."""
    return DynamicServer(
        "gptimage",
        title="gptimage",
        description="Draws and edits images with OpenAI's image models, and keeps them.",
        instructions=text,
        icons=icons("server"),
        version=_version(),
        lifespan=lifespan,
        request_state_security=_security(settings),
        cache_hints=_HINTS,
        subscriptions=subscriptions,
        extensions=[viewer(), tasks],
        log_level=settings.log_level,
    )


def _fill(server: DynamicServer, app: App) -> None:
    """Register every tool, resource and prompt."""
    from gptimage_mcp.prompts import Completions, Prompts
    from gptimage_mcp.resources import Resources
    from gptimage_mcp.tools import add_tools

    add_tools(server, app)
    server.resources = Resources(app)
    server.prompts = Prompts(app.templates)
    server.completions = Completions(app.store, app.templates, app.settings.catalogue)


def _security(settings: Settings) -> RequestStateSecurity | None:
    """Seal questions with the shared secret, so that any replica can read the response."""
    return RequestStateSecurity(keys=settings.shared_secret) if settings.shared_secret else None


def _version() -> str:
    try:
        return gptimage.__version__
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"


_HINTS: Final[Mapping[CacheableMethod, CacheHint]] = {
    "tools/list": CacheHint(ttl_ms=3_600_000, scope="public"),
}
