"""The server's settings: one frozen value, checked as a whole when it is made.

Settings that the library has, too, are read as `gptimage.config` reads them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, cast

from attrs import field, fields, frozen

import gptimage
from gptimage.config import (
    OFF,
    SETTINGS,
    BadValueError,
    Setting,
    limits_of,
    read_amount,
    read_budget,
    read_duration,
    read_flag,
    read_name,
    read_per_minute,
    read_url,
    variable,
)
from gptimage.providers import Provider, from_environment, provider
from gptimage.secrets import scrub


Transport = Literal["stdio", "http"]
"""How clients reach the server."""

_ROUTES: Final = ("/health", "/metrics", "/images", "/stream", "/studio")
_BUCKET: Final = re.compile(r"(?:s3|gs|az)://[\w.-]+(?:/[\w./=-]*)?")
_SECRET: Final = re.compile(r"[!#-&(-~]+", re.ASCII)
_HOST: Final = re.compile(r"\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+|[0-9a-fA-F:.]+", re.ASCII)
_HOST_PORT: Final = re.compile(rf"(?:{_HOST.pattern})(?::(?:\d+|\*))?", re.ASCII)
_ORIGIN: Final = re.compile(rf"https?://(?:{_HOST_PORT.pattern})", re.ASCII)
_LIST: Final = r"[,\s]+"
_LIMITS: Final = ("budget", "max_per_call", "max_per_day")

CORE: Final = (
    "generate_image",
    "edit_image",
    "refine_image",
    "view_image",
    "list_images",
    "list_models",
)
"""The tools without which little can be done."""

STANDARD: Final = (
    *CORE,
    "create_variations",
    "get_image_info",
    "estimate_cost",
    "get_server_status",
    "cancel_call",
    "manage_cache",
    "delete_image",
)
"""The usual tools; ``delete_image`` only where it is allowed."""

TOOLS: Final = (
    *STANDARD,
    "edit_each_image",
    "inspect_image",
    "manage_conversations",
    "set_alt_text",
)
"""All tools: with those which few need and every model would read."""


def _choice(*words: str) -> Callable[[str], str]:
    """Return what reads one of a few words; capitals do not matter."""

    def read(text: str) -> str:
        for word in words:
            if word.lower() == text.lower():
                return word
        raise BadValueError(f"is not one of {', '.join(words)}")

    return read


def _matching(noun: str, shape: re.Pattern[str], example: str) -> Callable[[str], str]:
    """Return what reads a text of one shape."""

    def read(text: str) -> str:
        if not shape.fullmatch(text):
            raise BadValueError(f"is no {noun}; write it like {example}")
        return text

    return read


def _network(text: str) -> str:
    """Read an address, or a network such as ``10.0.0.0/8``."""
    import ipaddress

    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadValueError("is no address or network; write it like 10.0.0.0/8") from None
    return text


def _shared_state(text: str) -> str:
    """Read a folder, or the address of a Redis."""
    return str(SETTINGS["redis_url" if "://" in text else "templates"].read(text))


def _provider(text: str) -> str:
    """Read the name of a service that draws."""
    try:
        return provider(text).name
    except gptimage.ConfigurationError as error:
        raise BadValueError(f"is no service that draws: {error}") from None


def _fallback(text: str) -> str:
    """Read a model, after the name of its service where that is another one."""
    name, slash, model = read_name(text).partition("/")
    return f"{_provider(name)}/{model}" if slash else name


_SECRET_OF_32: Final = re.compile(r"[!#-&(-~]{32,}", re.ASCII)
_PATH: Final = re.compile(r"/[\w./~-]*", re.ASCII)
_AT_RANDOM: Final = "one that was drawn at random"
_URL: Final = read_url("https", "http", example="https://login.example.com")


def _own(
    default: Any,
    read: Callable[[str], Any],
    kind: Literal["text", "flag", "number", "place"] = "text",
    **row: Any,
) -> Any:
    """Return the field of a setting that only the server has, with how it is read and checked."""
    setting = Setting(read=read, kind=kind, **row)
    return field(default=default, repr=not setting.secret, metadata={_ROW: setting})


def _number(
    default: float | None,
    noun: str,
    example: str,
    least: float,
    most: float,
    *,
    make: Callable[[str], float] = int,
    off: bool = False,
) -> Any:
    """Return the field of a number between two bounds, or ``off`` for 0."""

    def read(text: str) -> float:
        if off and text.lower() in {OFF, "false", "no", "0"}:
            return make("0")
        try:
            value = make(text)
        except ValueError:
            raise BadValueError(f"is no {noun}; write it like {example}") from None
        if not least <= value <= most:  # also false for NaN
            upper = "" if most == math.inf else f" to {most:g}"
            raise BadValueError(f"is no {noun} from {least}{upper}{', or off' if off else ''}")
        return value

    return _own(default, read, "place" if off else "number")


def _several(read: Callable[[str], Any], **row: Any) -> Any:
    return _own((), read, separator=_LIST, **row)


def _folders() -> Any:
    separator = re.escape(os.pathsep)
    return _own((), SETTINGS["templates"].read, separator=separator, is_path=True)


def _flag(*, default: bool) -> Any:
    return _own(default, read_flag, "flag")


_ROW: Final = "row"


class SettingsError(gptimage.ConfigurationError):
    """Settings make no sense; nothing was started.

    Attributes:
        problems: Every one, a line each, beginning with the variable at fault.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(map(scrub, problems))  # a URL may hold a password
        super().__init__("\n".join(self.problems))


@frozen(kw_only=True)
class Settings:
    """Every setting. Each is the environment variable ``GPTIMAGE_<NAME>`` unless stated otherwise.

    `gptimage_mcp.config.loading.load` makes one of the environment and a TOML file.

    Attributes:
        provider: The service that draws; OpenAI when left out.
        fallbacks: Models that are tried in turn, such as ``azure/gpt-image-2``, after a failure
            that cannot have been billed.
        api_key: The key of the service (``OPENAI_API_KEY``); without one the server starts and
            says what to do.
        base_url: Another service that speaks OpenAI's API (``OPENAI_BASE_URL``).
        sandbox: Draw offline: no key, no network, no cost.
        model: The model that draws when a call names none.
        chat_model: The model that reads the words of ``refine_image`` and answers questions about
            images; it is billed apart.
        timeout: Seconds to wait for the service.
        store: The folder where every image is saved, or ``s3://bucket/prefix``,
            ``az://container/prefix`` or (untried) ``gs://bucket/prefix``, which need
            ``gptimage[s3]``.
        retention: Delete images older than this (``30d``), once a day; pinned ones stay, and None
            deletes nothing.
        cache: The folder where responses are saved, so that the same request is paid for once;
            None (``off``) keeps none.
        cache_ttl: How long a response is saved (``24h``); None saves it until there is no room.
        cache_size: How much the cache may save, with its unit (``500MB``, ``2GB``); None is the
            library's own limit.
        redis_url: A Redis whose cache many machines share, used instead of the folder.
        ledger: The file where every call is entered.
        templates: A folder with more prompt templates.
        input_folders: Where images may be read from, besides the store.
        output_folders: Where ``save_to`` may write copies; none may when it is empty.
        fetch_urls: Whether images may be named by ``https`` URL.
        budget: The most to spend per period, such as ``0.25/call, 5/day``.
        max_per_call: The most one request to the service may cost, in USD (``0.25``), whatever
            tool makes it; each attempt of ``until`` is a request.
        max_per_day: The most all requests of a day (UTC) may cost together, in USD.
        unknown_cost: What a call counts whose price is unknown, in USD; None refuses it where
            there is a limit.
        confirm_above: Ask the person before a call that may cost more, in USD, where the
            client can ask.
        max_images: The most images one call may ask for, all attempts of ``until`` included.
        images_per_minute: How fast to send to the service; None is as fast as it lets us.
        wait: Seconds a tool call waits for its images before it answers with a handle; what it
            draws goes on.
        preview_pixels: Long edge of the images shown to the model, in pixels; 0 (``off``) shows
            none, for frameworks that hand a model the base64 text.
        links: Whether results also hold a ``resource_link`` for each image; several frameworks
            fail on one.
        allow_delete: Whether there is a ``delete_image`` tool.
        tools: Which tools there are: ``standard``, ``core`` (draw, edit, refine, view, list,
            models), ``full`` (with those of older servers) or names.
        transport: ``stdio`` or ``http`` (Streamable HTTP).
        host: The address to listen on.
        port: The port to listen on.
        path: The path in the server's address under which the protocol is, over HTTP; no folder.
        stateless: Keep no sessions, so that any replica can answer.
        public_url: How clients reach the server, where that is not ``http://host:port``.
        tokens: Secrets (bearer tokens) with which clients may call over HTTP, each for a client
            of its own; no tokens of a model.
        auth_issuer: Who issues OAuth access tokens (JWT), as a URL.
        auth_audience: Whom such a token must be meant for; the server's own URL when left out.
        auth_jwks_url: Where the issuer's keys are; its ``/.well-known/jwks.json`` when left out.
        auth_scopes: Scopes a token must have.
        allowed_hosts: ``Host`` headers that are answered, besides the loopback names.
        allowed_origins: ``Origin`` headers (web pages) that may call.
        trusted_proxies: Addresses and networks of proxies whose ``X-Forwarded-For``, ``-Proto``
            and ``-Prefix`` are believed.
        calls_per_minute: How many requests one client may make in a minute.
        sessions_per_caller: How many sessions of the older protocol versions a caller may have.
        max_upload: The largest image that ``POST /images`` takes, in bytes.
        link_minutes: How long a signed link to an image is good for; None makes none.
        shared_secret: What replicas sign links and questions with; the first one signs and all
            are accepted. One of this process only when left out.
        shared_state: The folder or the Redis where jobs and uploads are written down, so that each
            replica finds them; a folder beside the ledger when left out.
        tenants: Give each caller a store, a cache, a budget and jobs of their own.
        studio: Serve the studio, a page for people, under ``/studio``, over HTTP.
        max_body: The largest body of a client's request over HTTP, in bytes; an image that is
            uploaded has ``max_upload``.
        log_level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """

    provider: str | None = _own(None, _provider)
    fallbacks: tuple[str, ...] = _several(_fallback)
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    sandbox: bool = False
    model: str | None = None
    chat_model: str | None = None
    timeout: float = 600.0
    store: Path | str
    retention: timedelta | None = _own(None, read_duration)
    cache: Path | None = None
    cache_ttl: timedelta | None = None
    cache_size: int | None = None
    redis_url: str | None = field(default=None, repr=False)
    ledger: Path
    templates: Path | None = None
    input_folders: tuple[Path, ...] = _folders()
    output_folders: tuple[Path, ...] = _folders()
    fetch_urls: bool = _flag(default=True)
    budget: Mapping[str, Decimal] | None = None
    max_per_call: Decimal | None = None
    max_per_day: Decimal | None = None
    unknown_cost: Decimal | None = None
    confirm_above: Decimal | None = _own(None, read_amount, "number")
    max_images: int = _number(10, "number", "4", 1, 10)
    images_per_minute: int | None = None
    wait: float = _number(50.0, "number of seconds", "50", 0, 3600, make=float)
    preview_pixels: int = _number(1568, "number of pixels", "768", 64, 2048, off=True)
    links: bool = _flag(default=False)
    allow_delete: bool = _flag(default=False)
    tools: tuple[str, ...] = _own(
        ("standard",), _choice("core", "standard", "full", *TOOLS), separator=_LIST
    )
    transport: Transport = _own("stdio", _choice("stdio", "http"))
    host: str = _own("127.0.0.1", _matching("host name or address", _HOST, "127.0.0.1"))
    port: int = _number(8000, "port", "8000", 0, 65535)
    path: str = _own("/mcp", _matching("path of an address", _PATH, "/mcp"))
    stateless: bool = _flag(default=False)
    public_url: str | None = _own(
        None, read_url("https", "http", example="https://images.example.com")
    )
    tokens: tuple[str, ...] = _several(_matching("token", _SECRET, _AT_RANDOM), secret=True)
    auth_issuer: str | None = _own(None, _URL)
    auth_audience: str | None = _own(None, read_name)
    auth_jwks_url: str | None = _own(
        None,
        read_url("https", "http", example="https://login.example.com/.well-known/jwks.json"),
    )
    auth_scopes: tuple[str, ...] = _several(_matching("scope", _SECRET, "images"))
    allowed_hosts: tuple[str, ...] = _several(_matching("host", _HOST_PORT, "images.example.com"))
    allowed_origins: tuple[str, ...] = _several(_matching("origin", _ORIGIN, "https://example.com"))
    trusted_proxies: tuple[str, ...] = _several(_network)
    calls_per_minute: int = _own(120, read_per_minute, "number")
    sessions_per_caller: int = _number(100, "number", "100", 1, 1000)
    max_upload: int = _number(20 * 1024**2, "number of bytes", "20971520", 1024, 2**26)
    link_minutes: float | None = _number(None, "number of minutes", "10", 0.1, 1440, make=float)
    shared_secret: tuple[str, ...] = _several(
        _matching("secret of at least 32 characters", _SECRET_OF_32, _AT_RANDOM), secret=True
    )
    shared_state: Path | str | None = _own(None, _shared_state, is_path=True, secret=True)
    tenants: bool = _flag(default=False)
    studio: bool = _flag(default=False)
    max_body: int = _number(4 * 1024**2, "number of bytes", "4194304", 1024, math.inf)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _own(
        "INFO", _choice("DEBUG", "INFO", "WARNING", "ERROR")
    )

    def __attrs_post_init__(self) -> None:
        """See that it makes sense, every value and all of them together.

        Raises:
            SettingsError: It does not; names every variable at fault.
        """
        problems = [*_wrong_values(self)] or [*_contradictions(self)]
        if problems:
            raise SettingsError(problems)

    @property
    def service(self) -> Provider:
        """The service that draws, with its address and key as far as there are some."""
        found = from_environment(self.provider or "openai")
        return found.connected(base_url=self.base_url, api_key=self.api_key, needs_key=False)

    @property
    def has_key(self) -> bool:
        """Whether the service has the key it needs."""
        return self.api_key is not None if self.provider is None else self.service.has_key

    @property
    def key_variable(self) -> str:
        """The environment variable of the service's key."""
        names = from_environment(self.provider or "openai").key_variables
        return names[0] if names else variable("api_key")

    @property
    def catalogue(self) -> gptimage.Models:
        """What is known of the service's models."""
        return gptimage.Models.load().for_provider(from_environment(self.provider or "openai").rows)

    @property
    def default_model(self) -> str:
        """The model that draws when a call names none; empty where the service has none."""
        own = from_environment(self.provider or "openai").default_model
        return self.model or own or self.catalogue.default

    @property
    def limits(self) -> dict[str, Decimal]:
        """The most to spend in USD, by period (``call``, ``day``, ...)."""
        made = {name: getattr(self, name) for name in _LIMITS}
        return limits_of({name: value for name, value in made.items() if value is not None})


ROWS: Final[Mapping[str, Setting]] = {
    **SETTINGS,
    **{each.name: each.metadata[_ROW] for each in fields(Settings) if _ROW in each.metadata},
}
"""How each setting is read and checked; None besides, where that is its default."""


def enabled_tools(settings: Settings) -> frozenset[str]:
    """The names of the tools there are."""
    sets = {"core": CORE, "standard": STANDARD, "full": TOOLS}
    named = {tool for name in settings.tools for tool in sets.get(name, (name,))}
    return frozenset(named - (set() if settings.allow_delete else {"delete_image"}))


def _wrong_values(settings: Settings) -> Iterator[str]:
    for each in fields(Settings):
        value: object = getattr(settings, each.name)
        row = ROWS[each.name]
        if value is None and each.default is None:
            continue
        try:
            if not row.separator:
                _check(row, value)
            elif isinstance(value, tuple):
                for part in cast("tuple[object, ...]", value):
                    _check(row, part)
            else:
                raise BadValueError("is no tuple of values")
        except BadValueError as error:
            text = f"{str(value)!r}" if isinstance(value, Path | Decimal) else f"{value!r}"
            shown = "the value" if row.secret else text if len(text) <= 80 else f"{text[:79]}…"
            yield f"{variable(each.name)}: {shown} {error}"


def _check(row: Setting, value: object) -> None:
    """Check a value that a program made: it is what its text would be read as.

    Raises:
        BadValueError: It makes no sense.
    """
    if row.is_path:
        if row.read is _shared_state and isinstance(value, str):
            SETTINGS["redis_url"].read(value)
        else:
            _check_path(value, bucket=row is ROWS["store"])
    elif isinstance(value, timedelta):
        if value <= timedelta():
            raise BadValueError("is no length of time above 0")
    elif isinstance(value, Mapping):
        limits = cast("Mapping[str, object]", value)
        read_budget(", ".join(f"{usd}/{period}" for period, usd in limits.items()))
    elif row.read is SETTINGS["cache_size"].read:
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise BadValueError("is no number of bytes above 0")
    else:
        found = row.read(value if isinstance(value, str) else str(value))
        kinds = (str, bool)
        if any(isinstance(found, kind) != isinstance(value, kind) for kind in kinds):
            raise BadValueError("has the wrong type")


def _check_path(value: object, *, bucket: bool) -> None:
    if isinstance(value, Path) and "\0" not in str(value):
        if not value.is_absolute():
            raise BadValueError(
                "is no whole path, and clients start servers in folders of their own; "
                "write it like ~/images"
            )
    elif not (bucket and isinstance(value, str) and _BUCKET.fullmatch(value)):
        also = (
            " or bucket, which the server needs; write it like s3://name/prefix" if bucket else ""
        )
        raise BadValueError(f"is no path{also}")


def _contradictions(settings: Settings) -> Iterator[str]:
    """Settings that would be ignored, or that cannot hold together."""
    try:
        _ = settings.limits
    except BadValueError as error:
        yield f"{variable('budget')}: {error}"
    limits = (*_LIMITS, "confirm_above")
    if settings.unknown_cost is not None and not _any(settings, limits):
        yield f"GPTIMAGE_UNKNOWN_COST: has no effect without {_or(limits)}"
    for name in ("cache_ttl", "cache_size"):
        if _any(settings, (name,)) and settings.cache is None and settings.redis_url is None:
            yield f"{variable(name)}: has no effect without {variable('cache')}"
    for name in ("auth_audience", "auth_jwks_url"):
        if _any(settings, (name,)) and settings.auth_issuer is None:
            yield f"{variable(name)}: has no effect without GPTIMAGE_AUTH_ISSUER"
    if settings.auth_scopes and not _any(settings, ("tokens", "auth_issuer")):
        yield f"GPTIMAGE_AUTH_SCOPES: has no effect without {_or(('tokens', 'auth_issuer'))}"
    if settings.tenants and not _any(settings, ("tokens", "auth_issuer")):
        yield f"GPTIMAGE_TENANTS: has no effect without {_or(('tokens', 'auth_issuer'))}"
    if settings.studio and settings.stateless:
        yield (
            "GPTIMAGE_STUDIO: its jobs and sign-ins are in the memory of one process, which "
            "GPTIMAGE_STATELESS rules out; serve it from a server of its own"
        )
    if "delete_image" in settings.tools and not settings.allow_delete:
        yield "GPTIMAGE_TOOLS: delete_image is not there without GPTIMAGE_ALLOW_DELETE=true"
    if not settings.tools:
        yield "GPTIMAGE_TOOLS: names no tool; write standard, core, full or names of tools"
    first = "/" + settings.path.strip("/").partition("/")[0]
    if first in _ROUTES:
        yield f"GPTIMAGE_PATH: {settings.path!r} is one of the server's own routes; write /mcp"
    unnamed = settings.host in {"0.0.0.0", "::", "[::]"}  # noqa: S104  # compared, not listened on
    if settings.auth_issuer and unnamed and not _any(settings, ("auth_audience", "public_url")):
        yield (
            "GPTIMAGE_AUTH_ISSUER: whom its tokens must be meant for is not known while the "
            f"server listens on {settings.host}; set {_or(('public_url', 'auth_audience'))}"
        )


def _any(settings: Settings, names: Iterable[str]) -> bool:
    values: Iterator[Any] = (getattr(settings, name) for name in names)
    return any(value not in (None, ()) for value in values)


def _or(names: Iterable[str]) -> str:
    return " or ".join(variable(name) for name in names)
