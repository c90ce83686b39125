"""Tools about the server, its models, its costs and its cache; none draws."""

from __future__ import annotations

import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from anyio.to_thread import run_sync
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field, WithJsonSchema

import gptimage
from gptimage.providers import names, provider
from gptimage_mcp.app import App
from gptimage_mcp.auth import current_user
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.content import records
from gptimage_mcp.content.errors import tool_errors, unknown_handle
from gptimage_mcp.content.records import parse_duration
from gptimage_mcp.content.results import structured
from gptimage_mcp.content.sanitize import redact
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.resources import images_changed
from gptimage_mcp.tools import parameters as p
from gptimage_mcp.tools import schemas
from gptimage_mcp.tools.generate import (
    GENERATE_TOOLS,
    GenerateTools,
    parameters_of,
    request_of,
)
from gptimage_mcp.tools.register import LOOKS, REMOVES, REPEATABLE, optional, register_tool
from gptimage_mcp.tools.requests import ImageRequest
from gptimage_mcp.tools.submit import JobSubmitter


if TYPE_CHECKING:
    from gptimage_mcp.jobs.job import Job


# How the server is: what works, what does not, and what to do about it; never a key.
#
# Everything is looked at on its own, so that one broken part does not hide how the others are.

_T = TypeVar("_T")

_NO_KEY: Final = (
    "there is no key, so nothing can be drawn: the person sets OPENAI_API_KEY for this server, or "
    "GPTIMAGE_SANDBOX=true to draw offline, and starts it again (never ask for a key in the chat)"
)
_STORE: Final = (
    "the store cannot be used: the person looks at its folder and disk, and runs `gptimage verify`"
)
_LEDGER: Final = (
    "what was spent cannot be read, so calls with a budget are refused: the person looks at the "
    "file GPTIMAGE_LEDGER names"
)
_CACHE: Final = "the cache cannot be used: images are drawn, and paid for, without it"
_SANDBOX: Final = "the sandbox draws test images offline: no key, no network, no cost"


_MOST_CALLS: Final = 20


def status(app: App, undecided: Sequence[Job] = ()) -> dict[str, Any]:
    """Look at everything; slow where a disk or a Redis is.

    Args:
        app: The server.
        undecided: The caller's own calls that left no image.
    """
    store, cache, spend = _store(app), cache_state(app), _spend(app)
    problems = [_NO_KEY] if app.client is None else []
    problems += [f"{_STORE} ({store['error']})"] if store["error"] else _disk(app)
    problems += [f"{_LEDGER} ({spend['error']})"] if spend["error"] else []
    warnings = [f"{_CACHE} ({cache['error']})"] if cache["error"] else []
    return {
        "ready": not problems,
        "problems": problems,
        "warnings": [*warnings, *_warnings(app)],
        "sandbox": app.settings.sandbox,
        "transport": app.settings.transport,
        "running": len(app.jobs.running),
        "undecided": [_undecided(job) for job in undecided[:_MOST_CALLS]],
        "versions": _versions(),
        "settings": _abilities(app),
        "store": store,
        "cache": cache,
        "spend": spend,
    }


def cache_state(app: App) -> dict[str, Any]:
    """Return the cache's state, or why that cannot be known."""
    cache, settings = app.cache, app.settings
    folder = None if settings.redis_url is not None else settings.cache
    found, error = (None, None) if cache is None else _tried(cache.stats)
    return {
        "kind": None if cache is None else type(cache).__name__,
        "path": str(folder) if folder else None,
        "stats": cache_counts(found) if found else None,
        "error": error,
    }


def cache_counts(stats: gptimage.CacheStats) -> dict[str, Any]:
    """The statistics of a cache."""
    names = ("entries", "bytes", "hits", "misses", "hit_rate", "evictions")
    counts = {name: getattr(stats, name) for name in names}
    return {**counts, "saved_usd": format(stats.saved_usd, "f")}


def model_of(app: App) -> str:
    """The model that draws when a call names none."""
    return app.settings.default_model


def _store(app: App) -> dict[str, Any]:
    found, error = _tried(lambda: records.stats(app.store.location, app.store.stats()))
    names = ("images", "bytes", "cost_usd", "unknown_cost", "newest")
    return {
        "store": app.store.location,
        **{name: found and found[name] for name in names},
        "error": error,
    }


def _disk(app: App) -> list[str]:
    """Return whether the store, which can be read, can also be written."""
    from gptimage_mcp.health import of_store  # late: it is of HTTP

    reasons, error = _tried(lambda: of_store(app.store))
    found = [error] if reasons is None else reasons
    return [f"{_STORE} ({reason})" for reason in found]


def _spend(app: App) -> dict[str, Any]:
    limits = app.settings.limits
    state: dict[str, Any] = {
        **dict.fromkeys(("cost_usd", "reserved_usd", "calls", "images")),
        "max_per_call_usd": _usd(limits.get("call")),
        "max_per_day_usd": _usd(limits.get("day")),
        "left_usd": _usd(limits.get("day")),
        "error": None,
    }
    ledger = app.ledger
    if ledger is None:
        return state
    today = app.clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found, state["error"] = _tried(lambda: ledger.summary("day", since=today))
    if found is None:
        return state
    total = found.total
    state["cost_usd"], state["reserved_usd"] = _usd(total.cost), _usd(total.reserved)
    state["calls"], state["images"] = total.calls, total.images
    if "day" in limits:
        left = limits["day"] - total.cost - total.reserved
        state["left_usd"] = _usd(max(Decimal(0), left))
    return state


def _undecided(job: Job) -> dict[str, Any]:
    return {
        "handle": job.handle,
        "operation": job.operation,
        "started": job.started.isoformat(timespec="seconds"),
        "state": "unknown" if job.state == "unknown" else "not_sent",
        "most_usd": _usd(job.most),
    }


_ABILITIES: Final = (
    *("chat_model", "max_images", "images_per_minute", "wait", "preview_pixels"),
    *("links", "fetch_urls", "allow_delete"),
)


def _abilities(app: App) -> dict[str, Any]:
    settings = app.settings
    return {
        "model": model_of(app),
        **{name: getattr(settings, name) for name in _ABILITIES},
        "input_folders": [str(folder) for folder in settings.input_folders],
        "output_folders": [str(folder) for folder in settings.output_folders],
    }


def _warnings(app: App) -> list[str]:
    """List what should be known although everything works."""
    found = [_SANDBOX] if app.settings.sandbox else []
    if app.templates.problem is not None:
        found.append(f"the prompt templates are out of date: {redact(app.templates.problem, 500)}")
    spec = app.settings.catalogue.get(model_of(app))
    if spec is not None and spec.state(app.clock().date()) != "live":
        use = ", ".join(spec.replacements) or "another model"
        gone = spec.state(app.clock().date()) == "shut_down"
        when = "was shut down on" if gone else "shuts down on"
        found.append(f"{spec.id} {when} {spec.shutdown}: the person sets GPTIMAGE_MODEL to {use}")
    return found


def _versions() -> Mapping[str, str | None]:
    found = {name: _version(name) for name in ("gptimage", "mcp", "openai")}
    return {**found, "python": platform.python_version()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _tried(look: Callable[[], _T]) -> tuple[_T | None, str | None]:
    """Return the value of a call, or why it failed."""
    try:
        return look(), None
    except Exception as error:  # noqa: BLE001  # whatever is broken, the rest is still reported
        return None, redact(str(error), 300) or type(error).__name__


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


Tool = Annotated[
    Literal["generate_image", "edit_image", "refine_image", "create_variations"] | p.Nothing,
    optional("generate_image, or with images edit_image, by default"),
]
_TEXT: Final = {"type": "string"}
_PRICED: Final = {
    **dict.fromkeys(("prompt", "model", "size", "quality", "image"), _TEXT),
    "images": {"type": "array", "items": _TEXT},
    "n": {"type": "integer"},
}
"""What a cost depends on, by name: strict converters close an object, and empty one without any."""

Arguments = Annotated[
    Annotated[dict[str, Any], WithJsonSchema({"type": "object", "properties": _PRICED})]
    | p.Nothing,
    optional("Its arguments"),
]
ModelId = Annotated[str | p.Nothing, optional("Only this one")]
Every = Annotated[bool, Field(description="Also those shut down")]
Action = Annotated[Literal["stats", "clear"], Field(description="stats by default")]
OlderThan = Annotated[str | p.Nothing, optional("clear only what is older, such as 7d")]
Handle = Annotated[str, Field(description="Its handle (job_...)", min_length=1, max_length=60)]
ImageId = Annotated[
    str,
    Field(description="The image (img_...), as list_images gives it", min_length=1, max_length=200),
]


def add_admin_tools(server: DynamicServer, app: App) -> None:
    """Offer the tools that tell; `delete_image` only where the settings allow it."""
    tools = AdminTools(app)
    names = {name for tool in GENERATE_TOOLS for name in parameters_of(tool)}
    server.advanced["estimate_cost"] = ("arguments", frozenset(names | {"advanced"}))
    offered: list[tuple[Callable[..., Awaitable[CallToolResult]], str, ToolAnnotations]] = [
        (tools.estimate_cost, "Estimate cost", LOOKS),
        (tools.list_models, "List models", LOOKS),
        (tools.get_server_status, "Server status", LOOKS),
        (tools.cancel_call, "Cancel call", REPEATABLE),
        (tools.manage_cache, "Manage cache", REMOVES),
    ]
    if app.settings.allow_delete:
        offered.append((tools.delete_image, "Delete image", REMOVES))
    for tool, title, hints in offered:
        register_tool(server, tool, title=title, hints=hints, structured=True)


_STOPPING: Final = 2.0
"""Seconds a job has to end that need not be sent."""

_SENT: Final = "It was sent, so it is paid: view_image with this handle waits for its images."
_NOT_SENT: Final = "It will not be sent, and nothing was billed."


class AdminTools:
    """Tools that cost nothing.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def estimate_cost(
        self, tool: Tool = None, arguments: Arguments = None
    ) -> Annotated[CallToolResult, schemas.Estimated]:
        """Tell what a call of a tool that draws may cost. Nothing is sent or billed.

        usd is the likely amount, max_cost_usd the most; for usd, name size and quality.
        """
        given = arguments or {}
        with tool_errors():
            tools = GenerateTools(JobSubmitter(self._app))
            request = (await request_of(tools, given, tool)).request
            return structured(await self._estimated(request, given.get("model")))

    async def list_models(
        self, model: ModelId = None, all: Every = False
    ) -> Annotated[CallToolResult, schemas.Catalogue]:
        """List the image models, their limits, prices and ends, and the advanced parameters.

        Prices are in USD per million tokens.
        """
        with tool_errors():
            today, default = self._app.clock().date(), model_of(self._app)
            catalogue, first, model = _catalogue(self._app.settings, model)
            specs = [spec for spec in catalogue if all or spec.state(today) != "shut_down"]
            if model is not None:
                specs = [_known(catalogue, model)]
            return structured(
                {
                    "default": default,
                    "checked": catalogue.checked.isoformat(),
                    "advanced": p.help_of(getattr(GenerateTools, name) for name in GENERATE_TOOLS),
                    "models": [
                        {
                            **records.model(each, catalogue, today),
                            "id": first + each.id,
                            "default": first + each.id == default,
                        }
                        for each in specs
                    ],
                }
            )

    async def get_server_status(self) -> Annotated[CallToolResult, schemas.Status]:
        """Tell whether the server can draw and, if not, what to do; limits, spending and store.

        undecided lists calls that may have been billed without an image.
        """
        undecided = await self._app.jobs.undecided(owner=current_user())
        return structured(await run_sync(status, self._app, undecided))

    async def cancel_call(self, id: Handle) -> Annotated[CallToolResult, schemas.Cancelled]:
        """Keep a call that waits from being sent. What was sent is paid, finished and kept."""
        with tool_errors():
            job = await self._app.jobs.get(id.strip(), owner=current_user())
            if job is None:
                raise unknown_handle(id)
            await JobSubmitter(self._app).cancel(job)
            await job.wait(_STOPPING)
            document: schemas.Cancelled = {
                "handle": job.handle,
                "sent": job.sent,
                "status": job.state,
                "next": _SENT if job.sent else _NOT_SENT,
            }
            return structured(document)

    async def manage_cache(
        self, action: Action = "stats", older_than: OlderThan = None
    ) -> Annotated[CallToolResult, schemas.Cache]:
        """Tell what the cache of answers holds, or clear it.

        Clearing deletes no image, but the same call is then paid again.
        """
        with tool_errors():
            cache = self._app.cache
            if action == "stats" and older_than is not None:
                raise gptimage.InvalidRequestError(
                    "older_than belongs to action=clear", field="older_than", value=older_than
                )
            longer = None if older_than is None else parse_duration(older_than, "older_than")
            cleared = None
            if cache is not None and action == "clear":
                cleared = await run_sync(cache.clear, longer)
            state = await run_sync(cache_state, self._app)
            found = None if cache is None else cache_counts(await run_sync(cache.stats))
            document: schemas.Cache = {
                "kind": state["kind"],
                "path": state["path"],
                "cleared": cleared,
                "stats": found,
            }
            return structured(document)

    async def delete_image(self, id: ImageId) -> Annotated[CallToolResult, schemas.Deleted]:
        """Delete a saved image for good. It cannot be undone: ask the person first.

        A pinned image is not deleted.
        """
        with tool_errors():
            image_id = id.strip().removeprefix("generated-images://")
            await run_sync(self._app.store.delete, image_id)
            await images_changed(self._app.subscriptions, image_id)
            document: schemas.Deleted = {"deleted": image_id}
            return structured(document)

    async def _estimated(self, request: ImageRequest, model: str | None) -> schemas.Estimated:
        async with self._judge() as client:
            prompt, images, options = request.priced
            found = await client.estimate(prompt, images, **options)
            max_cost = await request.max_cost(client)
        notes = (
            list(found.notes) if found else ["usd is null: name size and quality, or another model"]
        )
        if request.operation == "refine":
            notes.append("the chat model, which reads the words, comes on top")
        if self._app.settings.sandbox:
            notes.append("the sandbox costs nothing; this is what the service would charge")
        return {
            "estimate": True,
            "model": model or model_of(self._app),
            "usd": None if found is None else f"{found.usd:f}",
            "max_cost_usd": None if max_cost is None else f"{max_cost:f}",
            "input_tokens": None if found is None else found.input_tokens,
            "output_tokens": None if found is None else found.output_tokens,
            "notes": notes,
        }

    @asynccontextmanager
    async def _judge(self) -> AsyncGenerator[gptimage.AsyncImageClient]:
        """Yield the client that checks a request; without a key, a sandbox with the same prices."""
        if self._app.client is not None:
            yield self._app.client
            return
        async with gptimage.AsyncImageClient.sandbox(
            store=self._app.store,
            provider=self._app.settings.provider or "openai",
            model=model_of(self._app),
            chat_model=self._app.settings.chat_model,
            clock=self._app.clock,
        ) as client:
            yield client


def _catalogue(settings: Settings, model: str | None) -> tuple[gptimage.Models, str, str | None]:
    """Return whose models a name is of, what a call's model begins with there, and the rest.

    A name may be that of a service alone, such as ``gemini``.
    """
    own = settings.provider or "openai"
    name, _, rest = (model or "").strip().partition("/")
    if name == own:
        return settings.catalogue, "", rest or None
    if name not in names() or provider(own).slashes:
        return settings.catalogue, "", model
    return gptimage.Models.load().for_provider(provider(name).rows), f"{name}/", rest or None


def _known(catalogue: gptimage.Models, model: str) -> gptimage.ModelSpec:
    spec = catalogue.get(model.strip())
    if spec is None:
        raise gptimage.InvalidRequestError(
            f"model: {redact(model, 60)!r} is not in the catalogue; it may still be drawn with, "
            "unchecked",
            field="model",
            value=model,
            allowed=tuple(spec.id for spec in catalogue),
        )
    return spec
