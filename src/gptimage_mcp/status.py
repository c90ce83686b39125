"""How the server is: what works, what does not, and what to do about it; never a key.

Everything is looked at on its own, so that one broken part does not hide how the others are.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import UTC
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, TypeVar

import gptimage
from gptimage_mcp.content.sanitize import told
from gptimage_mcp.tools import schemas


if TYPE_CHECKING:
    from gptimage_mcp.app import App

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
_CACHE: Final = "the cache cannot be used: pictures are drawn, and paid for, without it"
_SANDBOX: Final = "the sandbox draws test pictures offline: no key, no network, no cost"


def status(app: App) -> dict[str, Any]:
    """Look at everything; slow where a disk or a Redis is."""
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
        "versions": _versions(),
        "settings": _abilities(app),
        "store": store,
        "cache": cache,
        "spend": spend,
    }


def cache_state(app: App) -> schemas.CacheState:
    """What the cache is and holds, or why that cannot be known."""
    settings = app.settings
    folder = None if settings.redis_url is not None else settings.cache
    state: schemas.CacheState = {
        "kind": None if app.cache is None else type(app.cache).__name__,
        "path": str(folder) if folder else None,
        "stats": None,
        "error": None,
    }
    cache = app.cache
    if cache is not None:
        found, state["error"] = _tried(cache.stats)
        state["stats"] = cache_counts(found) if found else None
    return state


def cache_counts(stats: gptimage.CacheStats) -> schemas.CacheCounts:
    """The statistics of a cache."""
    return {
        "entries": stats.entries,
        "bytes": stats.bytes,
        "hits": stats.hits,
        "misses": stats.misses,
        "hit_rate": stats.hit_rate,
        "evictions": stats.evictions,
        "saved_usd": format(stats.saved_usd, "f"),
    }


def model_of(app: App) -> str:
    """The model that draws when a call names none."""
    return app.settings.model or gptimage.Models.load().default


def _store(app: App) -> schemas.StoreState:
    found, error = _tried(app.store.stats)
    return {
        "store": app.store.name,
        "pictures": found.pictures if found else None,
        "bytes": found.bytes if found else None,
        "cost_usd": format(found.cost.usd, "f") if found else None,
        "unknown_cost": found.unknown_cost if found else None,
        "newest": found.newest.isoformat() if found and found.newest else None,
        "error": error,
    }


def _disk(app: App) -> list[str]:
    """Whether the store, which can be read, can also be written."""
    from gptimage_mcp.health import of_store  # late: it is of HTTP

    reasons, error = _tried(lambda: of_store(app.store))
    found = [error] if reasons is None else reasons
    return [f"{_STORE} ({reason})" for reason in found]


def _spend(app: App) -> schemas.Spend:
    settings = app.settings
    state: schemas.Spend = {
        "cost_usd": None,
        "held_usd": None,
        "calls": None,
        "images": None,
        "max_per_call_usd": _usd(settings.max_per_call),
        "max_per_day_usd": _usd(settings.max_per_day),
        "left_usd": _usd(settings.max_per_day),
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
    state["cost_usd"], state["held_usd"] = _usd(total.cost), _usd(total.held)
    state["calls"], state["images"] = total.calls, total.images
    if settings.max_per_day is not None:
        left = settings.max_per_day - total.cost - total.held
        state["left_usd"] = _usd(max(Decimal(0), left))
    return state


def _abilities(app: App) -> schemas.Abilities:
    settings = app.settings
    return {
        "model": model_of(app),
        "chat_model": settings.chat_model,
        "max_images": settings.max_images,
        "images_per_minute": settings.images_per_minute,
        "wait": settings.wait,
        "preview_pixels": settings.preview_pixels,
        "fetch_urls": settings.fetch_urls,
        "input_folders": [str(folder) for folder in settings.input_folders],
        "output_folders": [str(folder) for folder in settings.output_folders],
        "allow_delete": settings.allow_delete,
    }


def _warnings(app: App) -> list[str]:
    """What should be known although everything works."""
    found = [_SANDBOX] if app.settings.sandbox else []
    if app.templates.problem is not None:
        found.append(f"the prompt templates are out of date: {told(app.templates.problem, 500)}")
    spec = gptimage.Models.load().get(model_of(app))
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
    """What somebody says of himself, or why he cannot."""
    try:
        return look(), None
    except Exception as error:  # noqa: BLE001  # whatever is broken, the rest is still told
        return None, told(str(error), 300) or type(error).__name__


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")
