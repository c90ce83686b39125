"""From settings to an `App`: the client, and all it works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.subscriptions import InMemorySubscriptionBus

import gptimage
from gptimage_mcp.app import FETCH, App
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.moments import utc_now
from gptimage_mcp.templates import Templates


if TYPE_CHECKING:
    from gptimage.budget.budget import Budget
    from gptimage.budget.ledger import Ledger
    from gptimage.transport.protocols import CachePort
    from gptimage_mcp.metrics import Metrics


def open_app(
    settings: Settings,
    client: gptimage.AsyncImageClient | None = None,
    fetch: gptimage.Fetch | None = None,
) -> App:
    """Everything a server works with.

    Args:
        settings: What the server was told.
        client: Draws with this one and its store, cache and ledger; made when left out.
        fetch: Downloads pictures named by URL; one with short limits when left out.

    Raises:
        ConfigurationError: A setting makes no sense, or the client has no store.
        StoreError: The folder of the store cannot be made.
        TemplateError: The folder of templates holds one that is wrong.
    """
    templates, metrics = _templates(settings), _metrics(settings)
    if client is not None:
        store, cache, ledger = client.store, client.cache, client.ledger
        if store is None:
            raise gptimage.ConfigurationError("the client of an MCP server needs a store=")
    else:
        store, cache, ledger = gptimage.Store(settings.store), _cache(settings), _ledger(settings)
        client = _client(settings, store, cache, ledger, metrics)
    news = InMemorySubscriptionBus()
    return App(
        settings=settings,
        client=client,
        store=store,
        cache=cache,
        ledger=ledger,
        templates=Templates(templates, news),
        news=news,
        fetch=fetch or FETCH,
        clock=utc_now if client is None else client.clock,
        metrics=metrics,
    )


def _client(
    settings: Settings,
    store: gptimage.Store,
    cache: CachePort | None,
    ledger: Ledger,
    metrics: Metrics | None,
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


def _metrics(settings: Settings) -> Metrics | None:
    """Where calls are counted for ``/metrics``; over stdio nobody could read them."""
    if settings.transport != "http":
        return None
    from gptimage_mcp.metrics import Metrics

    return Metrics.make()


def _cache(settings: Settings) -> CachePort | None:
    if settings.redis_url is not None:
        from gptimage.cache.redis import RedisCache

        return RedisCache(settings.redis_url)
    return None if settings.cache is None else gptimage.Cache.disk(settings.cache)


def _ledger(settings: Settings) -> Ledger:
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


def _templates(settings: Settings) -> gptimage.PromptTemplates:
    builtin = gptimage.PromptTemplates.builtin()
    if settings.templates is None:
        return builtin
    return builtin | gptimage.PromptTemplates.load(settings.templates)
