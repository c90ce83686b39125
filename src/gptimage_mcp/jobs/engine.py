"""What draws: the client of these settings and what it works with, free of the protocol.

The server and its runner process make the same of the same settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gptimage
from gptimage_mcp.config.settings import Settings


if TYPE_CHECKING:
    from gptimage import Budget, Cache, Ledger
    from gptimage_mcp.metrics import Metrics


def open_client(
    settings: Settings,
    store: gptimage.Store,
    cache: Cache | None,
    ledger: Ledger,
    metrics: Metrics | None = None,
) -> gptimage.AsyncImageClient | None:
    """What draws; None when there is no key."""
    parts: dict[str, Any] = {"store": store, "cache": cache, "ledger": ledger}
    if settings.model is not None:
        parts["model"] = settings.model
    if (budget := _budget(settings, ledger)) is not None:
        parts["budget"] = budget
    if metrics is not None:
        parts["observers"] = [metrics.observer]
    if settings.images_per_minute is not None:
        parts["limits"] = gptimage.Limits(images_per_minute=settings.images_per_minute)
    if settings.sandbox:
        return gptimage.AsyncImageClient.sandbox(**parts)
    if settings.api_key is None:
        return None
    return gptimage.AsyncImageClient(
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


def open_cache(settings: Settings) -> Cache | None:
    """Open the cache the settings name, or return None."""
    limits: dict[str, Any] = {}
    if settings.cache_ttl is not None:
        limits["ttl"] = settings.cache_ttl
    if settings.cache_size is not None:
        limits["max_bytes"] = settings.cache_size
    if settings.redis_url is not None:
        return gptimage.Cache.redis(settings.redis_url, **limits)
    return None if settings.cache is None else gptimage.Cache.disk(settings.cache, **limits)


def open_ledger(settings: Settings) -> Ledger:
    """The sandbox keeps an account of its own: play money must not use up the day's budget."""
    path = settings.ledger
    return gptimage.Ledger(path.with_name(f"sandbox-{path.name}") if settings.sandbox else path)


def _budget(settings: Settings, ledger: Ledger) -> Budget | None:
    limits: dict[Any, Any] = {**settings.limits}
    if not limits:
        return None
    unknown = "refuse" if settings.unknown_cost is None else settings.unknown_cost
    return gptimage.Budget(limits, ledger=ledger, unknown=unknown)
