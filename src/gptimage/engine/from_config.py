"""The arguments of a client that a configuration describes."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gptimage._internal.user_dirs import make_private
from gptimage.config import Config
from gptimage.errors import ConfigurationError


if TYPE_CHECKING:
    from gptimage.budget.accounts import Period
    from gptimage.budget.budget import Budget, Usd
    from gptimage.budget.ledger import Ledger
    from gptimage.cache.base import Cache
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates


def estimator_arguments(config: Config) -> dict[str, Any]:
    """Make the arguments of an `ImageClient.sandbox` that only checks requests and their prices.

    The sandbox shares both with the service that the configuration chooses, and needs no key.
    """
    named = {"provider": config.provider, "model": config.text("model")}
    return {name: value for name, value in named.items() if value}


def client_arguments(
    config: Config, settings: Mapping[str, Any], *, without: Container[str] = ()
) -> dict[str, Any]:
    """Make the keyword arguments of `ImageClient`, or of its ``sandbox``.

    Args:
        config: The configuration.
        settings: Keyword arguments that beat it.
        without: ``store`` or ``ledger``, where that is not to be opened.

    Raises:
        ConfigurationError: A part cannot be made.
    """
    from gptimage.providers import DEFAULT  # late: looking into a store needs no provider

    chosen = settings.get("provider")
    # Its key and address are those of the provider it names, and must not go to another.
    foreign = chosen is not None and chosen != (config.provider or DEFAULT)
    found: dict[str, Any] = {} if config.sandbox else _connection(config, foreign=foreign)
    if config.provider is not None:
        found["provider"] = config.provider
    for name in ("model", "chat_model", "fallbacks"):
        if name in config.values:
            found[name] = config.values[name]
    if speed := config.values.get("images_per_minute"):
        from gptimage.limits import Limits

        found["limits"] = Limits(images_per_minute=cast("int", speed))
    found["store"] = None if "store" in without else open_store(config)
    found["cache"] = open_cache(config)
    if config.text("templates"):
        found["templates"] = open_templates(config)
    ledger = settings.get("ledger") or (None if "ledger" in without else open_ledger(config))
    if budget := None if "budget" in settings else budget_of(config):
        found["budget"] = budget
    if ledger is not None and not (settings.get("budget") and settings["budget"].ledger):
        found["ledger"] = ledger
    return {**found, **settings}


def open_store(config: Config) -> Store | None:
    """Open the store of a configuration, which is made where it is not there yet."""
    where = config.place("store")
    if where is None:
        return None
    from gptimage.store import Store

    if "://" not in where:
        return Store(where)
    from gptimage.store.object_blobs import ObjectBlobs

    return Store(ObjectBlobs.from_url(where))


def open_cache(config: Config) -> Cache | None:
    """Open the cache of a configuration: a folder, a Redis server, or None."""
    url = config.text("redis_url")
    if url is None and config.is_off("cache"):
        return None
    from gptimage.cache import Cache

    limits: dict[str, Any] = {}
    if "cache_ttl" in config.values:
        limits["ttl"] = config.values["cache_ttl"]
    if "cache_size" in config.values:
        limits["max_bytes"] = config.values["cache_size"]
    if url is not None:
        return Cache.redis(url, **limits)
    return Cache.disk(config.place("cache"), **limits)


def open_ledger(config: Config) -> Ledger | None:
    """Open the ledger of a configuration."""
    where = config.place("ledger")
    if where is None:
        return None
    from gptimage.budget.ledger import Ledger

    if config.origin("ledger") == "default":
        make_private(Path(where).parent)
    return Ledger(where)


def budget_of(config: Config) -> Budget | None:
    """Return the limits of a configuration, or None; the client counts them in its ledger."""
    if not config.limits:
        return None
    from gptimage.budget.budget import Budget

    limits: dict[Period, Usd] = {
        cast("Period", per): usd for per, (usd, _) in config.limits.items()
    }
    unknown: Any = config.values.get("unknown_cost", "refuse")
    return Budget(limits, unknown=unknown)


def open_templates(config: Config) -> PromptTemplates:
    """Load the templates of a configuration over the built-in ones, in their brand.

    Raises:
        TemplateError: A file of the folder is wrong.
    """
    from gptimage.templates import PromptTemplates

    builtin = PromptTemplates.builtin()
    if (folder := config.text("templates")) is None:
        return builtin
    own = PromptTemplates.load(folder)
    return (builtin.with_brand(own.brand) if own.brand else builtin) | own


def _connection(config: Config, *, foreign: bool) -> dict[str, Any]:
    key = None if foreign else config.text("api_key")
    if config.lacks_key and not foreign:
        raise ConfigurationError(
            "no API key: set OPENAI_API_KEY, or OPENAI_API_KEY_FILE to the path of a file that "
            "holds it, or GPTIMAGE_SANDBOX=1 to try everything without one; nothing was sent"
        )
    found: dict[str, Any] = {} if key is None else {"api_key": key}
    for name in ("timeout",) if foreign else ("base_url", "timeout"):
        if name in config.values:
            found[name] = config.values[name]
    return found
