"""The client of these settings and what it works with, free of the protocol.

The server and its runner process make the same of the same settings.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, frozen

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.jobs.journal import folder_beside
from gptimage_mcp.jobs.shared import SharedFolder, SharedRedis, SharedState


if TYPE_CHECKING:
    from gptimage import Budget, Cache, Ledger
    from gptimage.limits import Limiter
    from gptimage_mcp.metrics import Metrics


C = TypeVar("C", gptimage.ImageClient, gptimage.AsyncImageClient)


@frozen(kw_only=True)
class Tenant:
    """Resources of one caller's calls, or of all where callers share everything.

    Attributes:
        name: The caller, or None.
        client: What draws; None when there is no key.
        store: Every image.
        cache: The cache of responses, or None.
        ledger: Where every call is entered.
    """

    name: str | None = None
    client: gptimage.AsyncImageClient | None = None
    store: gptimage.Store
    cache: Cache | None = None
    ledger: Ledger | None = None


def open_tenant(
    settings: Settings,
    name: str | None = None,
    *,
    metrics: Metrics | None = None,
    limiter: Limiter | None = None,
) -> Tenant:
    """Open what the calls of a caller work with.

    Args:
        settings: The server's settings.
        name: The caller; None for what all share.
        metrics: Counts the calls, or None.
        limiter: How fast all callers together may ask the service, or None.

    Raises:
        ConfigurationError: A setting makes no sense.
        StoreError: The folder of the store cannot be made.
    """
    if name is not None:
        settings = _of_caller(settings, name)
    store, cache = open_store(settings), open_cache(settings, name)
    ledger = open_ledger(settings)
    client = open_client(
        settings, store, cache, ledger, metrics, limiter, kind=gptimage.AsyncImageClient
    )
    return Tenant(name=name, client=client, store=store, cache=cache, ledger=ledger)


def _of_caller(settings: Settings, name: str) -> Settings:
    """Return the settings with places inside the server's own, so that one volume holds all."""
    # Of OAuth and of static tokens a name is letters, digits and hyphens; others are hashed.
    if not _NAME.fullmatch(name):
        name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    store, ledger = settings.store, settings.ledger
    inside = f"{store}/{TENANTS}/{name}" if isinstance(store, str) else store / TENANTS / name
    return evolve(
        settings,
        store=inside,
        cache=None if settings.cache is None else settings.cache / TENANTS / name,
        ledger=ledger.parent / TENANTS / name / ledger.name,
    )


TENANTS: Final = "tenants"
"""The folder, in those of store, cache and ledger, that holds a folder for each caller."""

_NAME: Final = re.compile(r"[\w-]{1,64}", re.ASCII)


def open_state(settings: Settings) -> SharedState:
    """Return where jobs and uploads are written down.

    Raises:
        ConfigurationError: The package for Redis is missing, or the URL is none.
    """
    if isinstance(settings.shared_state, str):
        return SharedRedis(settings.shared_state)
    return SharedFolder(settings.shared_state or folder_beside(settings.ledger))


def open_client(
    settings: Settings,
    store: gptimage.Store,
    cache: Cache | None,
    ledger: Ledger,
    metrics: Metrics | None = None,
    limiter: Limiter | None = None,
    *,
    kind: type[C],
) -> C | None:
    """Make what draws; None when there is no key."""
    own: dict[str, Any] = {
        "budget": open_budget(settings, ledger),
        "observers": None if metrics is None else [metrics.observer],
        "limits": limiter,
        "fallbacks": settings.fallbacks or None,
        **{name: getattr(settings, name) for name in ("model", "chat_model", "provider")},
    }
    parts: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    parts |= {"store": store, "cache": cache, "ledger": ledger}
    if settings.sandbox:
        return kind.sandbox(**parts)
    if not settings.has_key:
        return None
    return kind(
        api_key=settings.api_key, base_url=settings.base_url, timeout=settings.timeout, **parts
    )


def open_store(settings: Settings) -> gptimage.Store:
    """Open the folder or the bucket where images are saved.

    Raises:
        StoreError: The folder cannot be made.
        ConfigurationError: The package for buckets is missing, or the URL makes no sense.
    """
    if isinstance(settings.store, str):
        from gptimage.store.object_blobs import ObjectBlobs

        return gptimage.Store(ObjectBlobs.from_url(settings.store))
    return gptimage.Store(settings.store)


def open_cache(settings: Settings, name: str | None = None) -> Cache | None:
    """Open the cache the settings name, or return None."""
    limits: dict[str, Any] = {}
    if settings.cache_ttl is not None:
        limits["ttl"] = settings.cache_ttl
    if settings.cache_size is not None:
        limits["max_bytes"] = settings.cache_size
    if settings.redis_url is not None:
        if name is not None:  # whose cache nobody else may clear, or learn from
            limits["prefix"] = f"gptimage:{name}:"
        return gptimage.Cache.redis(settings.redis_url, **limits)
    return None if settings.cache is None else gptimage.Cache.disk(settings.cache, **limits)


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger; the sandbox has its own, so that test money uses up no budget."""
    path = settings.ledger
    return gptimage.Ledger(path.with_name(f"sandbox-{path.name}") if settings.sandbox else path)


def open_limiter(settings: Settings) -> Limiter | None:
    """Return how fast the service may be asked, by all callers together; None for any speed."""
    if settings.images_per_minute is None:
        return None
    return gptimage.Limits(images_per_minute=settings.images_per_minute).limiter()


def open_budget(settings: Settings, ledger: Ledger) -> Budget | None:
    """Return what may be spent, counted in this ledger, or None where nothing limits it."""
    limits: dict[Any, Any] = {**settings.limits}
    if not limits:
        return None
    unknown = "refuse" if settings.unknown_cost is None else settings.unknown_cost
    return gptimage.Budget(limits, ledger=ledger, unknown=unknown)
