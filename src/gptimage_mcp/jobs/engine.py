"""What draws: the client of these settings and what it works with, free of the protocol.

The server and its runner process make the same of the same settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gptimage
from gptimage_mcp.config.settings import Settings


if TYPE_CHECKING:
    from gptimage import Budget, Ledger
    from gptimage.cache import CachePort
    from gptimage_mcp.metrics import Metrics


def open_client(
    settings: Settings,
    store: gptimage.Store,
    cache: CachePort | None,
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


def open_cache(settings: Settings) -> CachePort | None:
    """Where answers are kept, or None."""
    if settings.redis_url is not None:
        from gptimage.cache.redis import RedisCache

        return RedisCache(settings.redis_url)
    return None if settings.cache is None else gptimage.Cache.disk(settings.cache)


def open_ledger(settings: Settings) -> Ledger:
    """The sandbox keeps an account of its own: play money must not use up the day's budget."""
    path = settings.ledger
    return gptimage.Ledger(path.with_name(f"sandbox-{path.name}") if settings.sandbox else path)


def _budget(settings: Settings, ledger: Ledger) -> Budget | None:
    limits: dict[Any, Any] = {}
    if settings.max_per_call is not None:
        limits["call"] = settings.max_per_call
    if settings.max_per_day is not None:
        limits["day"] = settings.max_per_day
    if not limits:
        return None
    unknown = "refuse" if settings.unknown_cost is None else settings.unknown_cost
    return gptimage.Budget(limits, ledger=ledger, unknown=unknown)
