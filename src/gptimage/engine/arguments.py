"""Checks of a client's settings by name and type, before anything can be sent or paid."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage._internal.data import data_text
from gptimage._internal.keywords import (
    clock,
    file_path,
    flag,
    is_async,
    missing,
    one_of,
    path,
    plain_int,
    refuse_unknown,
    refused,
    seconds,
    text,
)
from gptimage.cache.base import Cache
from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.image.download import Fetch
from gptimage.models.catalog import Models
from gptimage.transport.headers import check_header, is_header_name
from gptimage.transport.retry import Retry


if TYPE_CHECKING:
    from gptimage.store import Store


_CONNECTION: Final = ("api_key", "base_url", "timeout", "openai", "transport")
_HINTS: Final[Mapping[str, list[dict[str, Any]]]] = tomllib.loads(data_text(__name__, "hints.toml"))
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "transport": ("send", "stream", "close"),
    "async transport": ("send", "stream", "aclose"),
    "openai": ("post", "get", "close"),
    "store": ("get", "open", "save"),
    "templates": ("render",),
    "limits": ("acquire", "learn", "close"),
    "sandbox": ("respond",),
}  # fmt: skip


def check_settings(what: str, given: Mapping[str, Any]) -> None:
    """Refuse settings that nothing would come of, and those of the wrong kind.

    Args:
        what: ``ImageClient``, ``AsyncImageClient``, or the ``sandbox`` of one.
        given: What was given under a name of its own.

    Raises:
        ConfigurationError: One is unknown, or cannot do what is asked of it.
    """
    sandbox = what.endswith(".sandbox")
    own = ("store", "cache", *_CHECKS)
    refuse_unknown(what, given, own if sandbox else (*own, *_CONNECTION), _hints(what))
    for name, value in given.items():
        if value is not None and name in _CHECKS:
            _CHECKS[name](name, value)


def check_many(
    concurrency: object, checkpoint: object, *, retry_unknown: object, refresh: object
) -> None:
    """Refuse what a run of many could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    if isinstance(concurrency, bool) or not isinstance(plain_int(concurrency), int):
        raise refused("concurrency", concurrency, "a whole number, 1 or more")
    if checkpoint is not None:
        file_path("checkpoint", checkpoint)
    flag("retry_unknown", retry_unknown)
    flag("refresh", refresh)


def check_conversation(chat_model: object, image_model: object, *, stateless: object) -> None:
    """Refuse what a conversation could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    for name, value in (("chat_model", chat_model), ("image_model", image_model)):
        if value is not None:
            text(name, value)
    flag("stateless", stateless)


def check_timeout(timeout: object) -> None:
    """Refuse what is no time to wait.

    Raises:
        ConfigurationError: It is none.
    """
    seconds("timeout", timeout)


def check_sdk(openai: object, *, wants_async: bool) -> None:
    """Refuse what is no client of the official SDK, or one of the other kind.

    Raises:
        ConfigurationError: It is none: sending with it would lose what was paid for.
    """
    ours, theirs, twin = _kinds(wants_async=wants_async)
    given: Any = openai
    if missing(given, _METHODS["openai"]) or not hasattr(given, "base_url"):
        raise refused("openai", given, f"a client of the SDK, such as openai.{theirs}()")
    if not _takes(given.post, "cast_to"):
        raise refused("openai", given, f"a client of the SDK, such as openai.{theirs}(); a client "
                      f"of an HTTP library goes to openai.{theirs}(http_client=...)")  # fmt: skip
    if is_async(given.post) != wants_async:
        raise ConfigurationError(
            f"openai= is {_article(given)}, which {ours} cannot use: give it an openai.{theirs}, "
            f"or use {twin}"
        )


def check_transport(transport: object, *, wants_async: bool) -> None:
    """Refuse what is no transport, or one of the other kind.

    Raises:
        ConfigurationError: It is none: sending with it would lose what was paid for.
    """
    ours, _, twin = _kinds(wants_async=wants_async)
    wanted = "AsyncTransport" if wants_async else "Transport"
    given: Any = transport
    other = _METHODS["transport" if wants_async else "async transport"]
    if lacks := missing(given, _METHODS["async transport" if wants_async else "transport"]):
        meant = f"; for this one use {twin}" if not missing(given, other) else ""
        raise refused(
            "transport", given, f"a gptimage.transport.{wanted}, and has no {lacks[0]}(){meant}"
        )
    if is_async(given.send) != wants_async and _is_plain(given.send):
        how = "does not await" if wants_async else "would have to be awaited"
        raise ConfigurationError(
            f"transport= is {_article(given)}, whose send() {how}, and {ours} cannot use it: "
            f"give it a gptimage.transport.{wanted}, or use {twin}"
        )


def store_of(store: Store | str | os.PathLike[str] | None) -> Store | None:
    """Return the store that was given, or the one in the folder that was named.

    Raises:
        ConfigurationError: It is neither.
        StoreError: The folder cannot be made.
    """
    if isinstance(store, (str, os.PathLike)):
        from gptimage.store import Store

        path("store", store)
        return Store(store)
    if store is not None and missing(store, _METHODS["store"]):
        raise refused("store", store, "a path or a Store, such as Store('images')")
    return store


def cache_of(cache: Cache | str | os.PathLike[str] | None) -> Cache | None:
    """Return the cache that was given, or one in the folder that was named.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(cache, (str, os.PathLike)):
        path("cache", cache)
        return Cache.disk(cache)
    if cache is not None:
        wanted = "a path or a cache, such as Cache.disk(), or be left out"
        one_of("cache", cache, Cache, wanted)
        if is_async(cache.get):
            raise refused("cache", cache, wanted)
    return cache


def wants_sandbox(*named: object) -> bool:
    """Return whether ``GPTIMAGE_SANDBOX`` is on, and say so to the logger.

    Args:
        named: An explicit key, address, client and transport; any of them wins.

    Raises:
        ConfigurationError: The variable is neither yes nor no.
    """
    text = os.environ.get("GPTIMAGE_SANDBOX", "").strip()
    if not text or any(each is not None for each in named):
        return False
    from gptimage.config.settings import BadValueError, read_flag

    try:
        on = read_flag(text)
    except BadValueError as error:
        raise ConfigurationError(f"GPTIMAGE_SANDBOX: {text!r:.40} {error}") from None
    if on:
        logging.getLogger("gptimage").warning(
            "GPTIMAGE_SANDBOX is set: images come from the offline sandbox and cost nothing"
        )
    return on


def check_sandbox(sandbox: object) -> None:
    """Refuse what answers no request.

    Raises:
        ConfigurationError: It does not.
    """
    if sandbox is not None and missing(sandbox, _METHODS["sandbox"]):
        raise refused("sandbox", sandbox, "a gptimage.sandbox.Sandbox")


def check_headers(headers: object) -> dict[str, str]:
    """Return the headers with lower-case names; refuse what cannot be sent or is not theirs.

    Raises:
        ConfigurationError: A name or value is none, or the library or the SDK sets that header.
    """
    if not isinstance(headers, Mapping):
        raise refused("extra_headers", headers, "a dict of header names and texts")
    found: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not is_header_name(name):
            raise refused("extra_headers", name, "a dict whose keys are header names")
        found[name.lower()] = check_header("extra_headers", name, value)
    return found


@contextmanager
def refuse_in_call(field: str, value: object) -> Generator[None]:
    """Refuse a value of a call as `InvalidRequestError`, in the words for a setting."""
    try:
        yield
    except ConfigurationError as error:
        raise InvalidRequestError(str(error), field=field, value=value) from None


def check_retry(retry: object) -> Retry:
    """Return when to send again.

    Raises:
        ConfigurationError: It is neither a `Retry` nor 0.
    """
    _retry("retry", retry)
    return retry_of(cast("Retry | int", retry))


def retry_of(retry: Retry | int | None) -> Retry:
    """Return how often to send again; 0 is never."""
    if retry is None:
        return Retry()
    return retry if isinstance(retry, Retry) else Retry(attempts=1)


def _retry(name: str, value: object) -> None:
    """Only 0 is clear: other numbers are tries for some, and further tries for others."""
    if isinstance(value, Retry) or (value == 0 and type(value) is int):
        return
    number = type(value) is int and value > 0
    meant = f"; Retry(attempts={value}) tries {value} times in all" if number else ""
    raise refused(name, value, f"a Retry, or 0 to never send again{meant}")


def _budget(name: str, value: object) -> None:
    from gptimage.budget.budget import Budget

    one_of(name, value, Budget, "a Budget, such as Budget(5, per='day')")


def _ledger(name: str, value: object) -> None:
    from gptimage.budget.ledger import Ledger

    one_of(name, value, Ledger, "a Ledger, such as Ledger('spend.sqlite')")


def _models(name: str, value: object) -> None:
    one_of(name, value, Models, "a catalogue, such as Models.load(); model= names one model")


def _fetch(name: str, value: object) -> None:
    one_of(name, value, Fetch, "a Fetch, such as Fetch(max_bytes=10_000_000)")


def _provider(name: str, value: object) -> None:
    """Refuse what names no provider; a misspelt one is refused where it is looked up."""
    from gptimage.providers import Provider

    if not isinstance(value, str):
        one_of(name, value, Provider, "the name of one, such as 'azure', or a Provider")


def _providers(name: str, value: object) -> None:
    from gptimage.providers import Provider

    wanted = "a list of Provider(...) values"
    if not isinstance(value, (list, tuple)):
        raise refused(name, value, wanted)
    for each in cast("list[object]", value):
        one_of(name, each, Provider, wanted)


def _fallbacks(name: str, value: object) -> None:
    wanted = "a list of models, such as ['azure/gpt-image-2']"
    if not isinstance(value, (list, tuple)):
        raise refused(name, value, wanted)
    for each in cast("list[object]", value):
        text(name, each)


def _observers(name: str, value: object) -> None:
    """Refuse an observer whose `notify` must be awaited: it would receive nothing."""
    wanted = "a list of observers, each with a method notify(event)"
    if not isinstance(value, (list, tuple)):
        raise refused(name, value, f"{wanted}: put one alone in brackets, observers=[...]")
    for each in cast("list[Any]", value):
        if missing(each, ("notify",)) or is_async(each.notify):
            raise refused(name, each, f"{wanted} that need not be awaited")


def _limits(name: str, value: object) -> None:
    from gptimage.limits import Limits

    if not isinstance(value, Limits) and missing(value, _METHODS["limits"]):
        raise refused(name, value, "Limits, such as Limits(images_per_minute=50), or a limiter")


def _templates(name: str, value: object) -> None:
    if missing(value, _METHODS["templates"]):
        raise refused(name, value, "templates, such as PromptTemplates.load('folder')")


_CHECKS: Final = {
    "templates": _templates,
    "provider": _provider,
    "providers": _providers,
    "fallbacks": _fallbacks,
    "fallback_moderated": flag,
    "model": text,
    "chat_model": text,
    "retry": _retry,
    "models": _models,
    "fetch": _fetch,
    "clock": clock,
    "budget": _budget,
    "ledger": _ledger,
    "observers": _observers,
    "limits": _limits,
}


def _hints(what: str) -> dict[str, str]:
    """Return what to do instead, for names that people know from the SDK and from calls."""
    client, _, sandbox = what.partition(".")
    sdk = "AsyncOpenAI" if client.startswith("Async") else "OpenAI"
    words = {"sdk": sdk, "azure": sdk.replace("OpenAI", "AzureOpenAI")}
    return {
        name: row["hint"].format(name=name, client=client, what=what, **words)
        for row in (*_HINTS["clients"], *(_HINTS["sandbox"] if sandbox else ()))
        for name in row["names"]
    }


def _kinds(*, wants_async: bool) -> tuple[str, str, str]:
    """This client, the SDK's client it takes, and the other client."""
    names = ("AsyncImageClient", "AsyncOpenAI", "ImageClient")
    return names if wants_async else ("ImageClient", "OpenAI", "AsyncImageClient")


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _is_plain(method: object) -> bool:
    """Return whether it is written with ``def``, so that what it gives is known."""
    import inspect

    return inspect.isfunction(method) or inspect.ismethod(method)


def _takes(method: object, name: str) -> bool:
    import inspect

    try:
        found = inspect.signature(cast("Any", method)).parameters
    except (TypeError, ValueError):
        return True  # written in C, or made up: it is for the call to find out
    return name in found or any(each.kind is each.VAR_KEYWORD for each in found.values())
