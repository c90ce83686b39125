"""What the server is told: one frozen value, checked as a whole when it is made."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import urlsplit

from attrs import field, fields, frozen

import gptimage
from gptimage.secrets import scrub


# What a setting may be: how it is read from text, and which values make sense.

OFF: Final = "off"
"""What is written to do without something that has a default."""

_ON: Final = frozenset({"1", "true", "yes", "on"})
_NOT_ON: Final = frozenset({"0", "false", "no", "off"})


class Unfit(ValueError):  # noqa: N818  # never leaves the settings: a SettingsError does
    """A value makes no sense; the message goes on where "its value" ended."""


class Kind(Protocol):
    """What a setting may be."""

    @property
    def secret(self) -> bool:
        """Whether its values are never shown."""
        ...

    def read(self, text: str) -> object:
        """The value some text stands for.

        Raises:
            Unfit: It stands for none.
        """
        ...

    def check(self, value: object) -> None:
        """Look at a value, however it was made.

        Raises:
            Unfit: It makes no sense.
        """
        ...


@frozen(kw_only=True)
class Number:
    """A number between two bounds.

    Attributes:
        noun: What it counts.
        make: Makes it of text.
        least: The smallest one.
        most: The largest one.
        above: Whether the smallest one itself is too small.
        example: How one may be written.
        may_be_off: Whether ``off`` may be written for 0.
        secret: Whether it is never shown.
    """

    noun: str
    make: Callable[[str], float | Decimal]
    least: int = 0
    most: float = math.inf
    above: bool = False
    example: str
    may_be_off: bool = False
    secret: bool = False

    def read(self, text: str) -> float | Decimal:
        """See `Kind`."""
        if self.may_be_off and text.lower() in _NOT_ON:
            return self.make("0")
        try:
            return self.make(text)
        except (ValueError, DecimalException):
            raise Unfit(f"is no {self.noun}; write it like {self.example}") from None

    def check(self, value: object) -> None:
        """See `Kind`."""
        wanted = (int,) if self.make is int else (int, float, Decimal)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise Unfit(f"is no {self.noun}; it is like {self.example}")
        if not self._fits(value):
            raise Unfit(f"is no {self.noun} {self._range}")

    def _fits(self, value: float | Decimal) -> bool:
        try:
            if not math.isfinite(value):
                return False
        except (OverflowError, ValueError):  # too long for a float; a signalling Decimal
            return False
        if self.may_be_off and value == 0:
            return True
        enough = value > self.least if self.above else value >= self.least
        return enough and value <= self.most

    @property
    def _range(self) -> str:
        if self.above:
            return f"above {self.least}"
        upper = "" if self.most == math.inf else f" to {self.most:g}"
        return f"from {self.least}{upper}" + (f", or {OFF}" if self.may_be_off else "")


@frozen(kw_only=True)
class Flag:
    """Yes or no."""

    secret: bool = False

    def read(self, text: str) -> bool:
        """See `Kind`."""
        if text.lower() in _ON | _NOT_ON:
            return text.lower() in _ON
        raise Unfit("is neither yes nor no; write true or false")

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, bool):
            raise Unfit("is neither true nor false")


@frozen
class Choice:
    """One of a few words; capitals do not matter in text."""

    words: tuple[str, ...]
    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return next((word for word in self.words if word.lower() == text.lower()), text)

    def check(self, value: object) -> None:
        """See `Kind`."""
        if value not in self.words:
            raise Unfit(f"is not one of {', '.join(self.words)}")


@frozen(kw_only=True)
class Text:
    """A word without spaces.

    Attributes:
        noun: What it is.
        shape: What all of it must look like.
        example: How one may be written.
        secret: Whether it is never shown.
    """

    noun: str
    shape: re.Pattern[str]
    example: str
    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return text

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, str) or not self.shape.fullmatch(value):
            raise Unfit(f"is no {self.noun}; write it like {self.example}")


@frozen(kw_only=True)
class Url:
    """An absolute URL.

    Attributes:
        schemes: What it may begin with.
        example: How one may be written.
        secret: Whether it is never shown; it may hold a password.
    """

    schemes: tuple[str, ...] = ("https", "http")
    example: str
    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return text

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, str) or not self._is_one(value):
            raise Unfit(
                f"is no URL that begins with {' or '.join(f'{each}://' for each in self.schemes)}; "
                f"write it like {self.example}"
            )

    def _is_one(self, text: str) -> bool:
        try:
            parts = urlsplit(text)
            whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # a bracket or a port that is none
            return False
        local = parts.scheme == "unix" and bool(parts.path)
        printable = text.isprintable() and " " not in text
        return parts.scheme in self.schemes and (whole or local) and printable


@frozen(kw_only=True)
class Place:
    """A file or folder, by its whole path; ``~`` is the user's home.

    Attributes:
        example: How one may be written.
        may_be_off: Whether ``off`` stands for none.
        schemes: URLs that may stand for a folder, by what they begin with; those stay text.
        secret: Whether it is never shown.
    """

    example: str
    may_be_off: bool = False
    schemes: tuple[str, ...] = ()
    secret: bool = False

    def read(self, text: str) -> Path | str | None:
        """See `Kind`."""
        if self.may_be_off and text.lower() in _NOT_ON:
            return None
        if self._is_url(text):
            return text.rstrip("/")
        if "://" in text:
            raise Unfit(f"is a URL, not a folder of this machine; write it like {self.example}")
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise Unfit("begins with a home folder that this account does not have") from None
        if not path.is_absolute():
            raise Unfit(
                "is no whole path, and clients start servers in folders of their own; "
                f"write it like {self.example}"
            )
        return path

    def check(self, value: object) -> None:
        """See `Kind`."""
        if isinstance(value, str) and self._is_url(value):
            return
        if not isinstance(value, Path) or "\0" in str(value):
            raise Unfit("is no path")

    def _is_url(self, text: str) -> bool:
        scheme, _, place = text.partition("://")
        return scheme in self.schemes and re.fullmatch(r"[\w.-]+(/[\w./=-]*)?", place) is not None


@frozen
class Several:
    """Any number of values of one kind, in text with a separator between them.

    Attributes:
        each: The kind.
        separator: A regular expression for what stands between two.
    """

    each: Kind
    separator: str = r"[,\s]+"

    @property
    def secret(self) -> bool:
        """See `Kind`."""
        return self.each.secret

    def read(self, text: str) -> tuple[object, ...]:
        """See `Kind`."""
        return tuple(self.each.read(part) for part in re.split(self.separator, text) if part)

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, tuple):
            raise Unfit("is no tuple of values")
        for part in cast("tuple[object, ...]", value):
            self.each.check(part)


Transport = Literal["stdio", "http"]
"""How clients reach the server."""

_OTHER_NAMES: Final = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL"}
_ROUTES: Final = ("/health", "/metrics", "/images", "/stream")
_USD: Final = Number(noun="amount in USD", make=Decimal, most=10**9, example="2.50")
_FOLDER: Final = Place(example="~/pictures")
_PER_MINUTE: Final = Number(noun="number", make=int, least=1, example="60")
_NAME: Final = Text(noun="name", shape=re.compile(r"\S+"), example="gpt-image-2.5-flare")
_SECRET: Final = re.compile(r"[!#-&(-~]+", re.ASCII)
_HOST: Final = re.compile(r"\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+|[0-9a-fA-F:.]+", re.ASCII)
_HOST_PORT: Final = re.compile(rf"(?:{_HOST.pattern})(?::(?:\d+|\*))?", re.ASCII)
_ORIGIN: Final = re.compile(rf"https?://(?:{_HOST_PORT.pattern})", re.ASCII)

CORE: Final = (
    "generate_image",
    "edit_image",
    "refine_image",
    "view_image",
    "list_images",
    "list_models",
)
"""The tools without which little can be done."""

TOOLS: Final = (
    *CORE,
    "create_variations",
    "get_image_info",
    "estimate_cost",
    "get_server_status",
    "cancel_call",
    "manage_cache",
    "delete_image",
)
"""All tools; ``delete_image`` only where it is allowed."""

KINDS: Final[Mapping[str, Kind]] = {
    "api_key": Text(noun="key", shape=_SECRET, example="sk-...", secret=True),
    "base_url": Url(example="https://api.openai.com/v1"),
    "sandbox": Flag(),
    "model": _NAME,
    "chat_model": _NAME,
    "timeout": Number(noun="number of seconds", make=float, above=True, example="600"),
    "store": Place(example="~/pictures or s3://bucket/prefix", schemes=("s3", "gs", "az")),
    "retention_days": Number(noun="number of days", make=float, above=True, example="30"),
    "cache": Place(example="~/cache", may_be_off=True),
    "cache_hours": Number(noun="number of hours", make=float, above=True, example="24"),
    "cache_megabytes": Number(noun="number of megabytes", make=int, least=1, example="500"),
    "redis_url": Url(
        schemes=("redis", "rediss", "unix"), example="redis://localhost:6379/0", secret=True
    ),
    "ledger": Place(example="~/spend.sqlite"),
    "templates": _FOLDER,
    "input_folders": Several(_FOLDER, re.escape(os.pathsep)),
    "output_folders": Several(_FOLDER, re.escape(os.pathsep)),
    "fetch_urls": Flag(),
    "max_per_call": _USD,
    "max_per_day": _USD,
    "unknown_cost": _USD,
    "confirm_above": _USD,
    "max_images": Number(noun="number", make=int, least=1, most=10, example="4"),
    "images_per_minute": _PER_MINUTE,
    "wait": Number(noun="number of seconds", make=float, most=3600, example="50"),
    "preview_pixels": Number(
        noun="number of pixels", make=int, least=64, most=2048, example="768", may_be_off=True
    ),
    "links": Flag(),
    "allow_delete": Flag(),
    "tools": Several(Choice(("core", "full", *TOOLS))),
    "transport": Choice(("stdio", "http")),
    "host": Text(noun="host name or address", shape=_HOST, example="127.0.0.1"),
    "port": Number(noun="port", make=int, most=65535, example="8000"),
    "path": Text(noun="path", shape=re.compile(r"/[\w./~-]*", re.ASCII), example="/mcp"),
    "stateless": Flag(),
    "public_url": Url(example="https://pictures.example.com"),
    "tokens": Several(
        Text(noun="token", shape=_SECRET, example="one that was drawn at random", secret=True)
    ),
    "auth_issuer": Url(example="https://login.example.com"),
    "auth_audience": Text(noun="audience", shape=re.compile(r"\S+"), example="https://example.com"),
    "auth_jwks_url": Url(example="https://login.example.com/.well-known/jwks.json"),
    "auth_scopes": Several(Text(noun="scope", shape=_SECRET, example="pictures")),
    "allowed_hosts": Several(Text(noun="host", shape=_HOST_PORT, example="pictures.example.com")),
    "allowed_origins": Several(Text(noun="origin", shape=_ORIGIN, example="https://example.com")),
    "calls_per_minute": _PER_MINUTE,
    "max_body": Number(noun="number of bytes", make=int, least=1024, example="4194304"),
    "log_level": Choice(("DEBUG", "INFO", "WARNING", "ERROR")),
}
"""What each setting may be; None besides, where that is its default."""


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
    """Every setting. Each is the environment variable ``GPTIMAGE_<NAME>`` unless said otherwise.

    `gptimage_mcp.config.loading.load` makes one of the environment and a TOML file.

    Attributes:
        api_key: The key of the service (``OPENAI_API_KEY``); without one the server starts and
            says what to do.
        base_url: Another service that speaks OpenAI's API (``OPENAI_BASE_URL``).
        sandbox: Draw offline: no key, no network, no cost.
        model: The model that draws when a call names none.
        chat_model: The model that reads the words of ``refine_image``; it is billed apart.
        timeout: Seconds to wait for the service.
        store: The folder where every image is saved, or ``s3://bucket/prefix``, ``az://...`` or
            ``gs://...`` (untried), which need ``gptimage[s3]``.
        retention_days: Delete images older than this, once a day; pinned ones stay, and None
            deletes nothing.
        cache: The folder where answers are kept, so that the same request is paid for once;
            None (``off``) keeps none.
        cache_hours: How long an answer is kept; None keeps it until there is no room.
        cache_megabytes: The most the cache may take, in MB; None is the library's own limit.
        redis_url: A Redis whose cache many machines share, used instead of the folder.
        ledger: The file where every call is entered.
        templates: A folder with more prompt templates.
        input_folders: Where pictures may be read from, besides the store.
        output_folders: Where ``save_to`` may write copies; none may when it is empty.
        fetch_urls: Whether pictures may be named by ``https`` URL.
        max_per_call: The most a call may cost, in USD.
        max_per_day: The most the calls of a day (UTC) may cost together, in USD.
        unknown_cost: What a call counts whose price is unknown, in USD; None refuses it where
            there is a limit.
        confirm_above: Ask the person before a call that may cost more, in USD, where the
            client can ask.
        max_images: The most pictures one call may ask for.
        images_per_minute: How fast to ask the service; None is as fast as it lets us.
        wait: Seconds a call waits for its pictures before it answers with a handle.
        preview_pixels: Long edge of the pictures shown to the model, in pixels; 0 (``off``) shows
            none, for frameworks that hand a model the base64 text.
        links: Whether results also hold a ``resource_link`` for each picture; several frameworks
            fail on one.
        allow_delete: Whether there is a ``delete_image`` tool.
        tools: Which tools there are: ``full``, names, or ``core`` (draw, edit, refine, view, list,
            models).
        transport: ``stdio`` or ``http`` (Streamable HTTP).
        host: The address to listen on.
        port: The port to listen on.
        path: Where the protocol is, on HTTP.
        stateless: Keep no sessions, so that any replica can answer.
        public_url: How clients reach the server, where that is not ``http://host:port``.
        tokens: Bearer tokens that may call.
        auth_issuer: Who issues OAuth access tokens (JWT), as a URL.
        auth_audience: Whom such a token must be meant for; the server's own URL when left out.
        auth_jwks_url: Where the issuer's keys are; its ``/.well-known/jwks.json`` when left out.
        auth_scopes: Scopes a token must have.
        allowed_hosts: ``Host`` headers that are answered, besides the loopback names.
        allowed_origins: ``Origin`` headers (web pages) that may call.
        calls_per_minute: How many requests one client may make in a minute.
        max_body: The largest request body, in bytes.
        log_level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    sandbox: bool = False
    model: str | None = None
    chat_model: str | None = None
    timeout: float = 600.0
    store: Path | str
    retention_days: float | None = None
    cache: Path | None = None
    cache_hours: float | None = None
    cache_megabytes: int | None = None
    redis_url: str | None = field(default=None, repr=False)
    ledger: Path
    templates: Path | None = None
    input_folders: tuple[Path, ...] = ()
    output_folders: tuple[Path, ...] = ()
    fetch_urls: bool = True
    max_per_call: Decimal | None = None
    max_per_day: Decimal | None = None
    unknown_cost: Decimal | None = None
    confirm_above: Decimal | None = None
    max_images: int = 10
    images_per_minute: int | None = None
    wait: float = 50.0
    preview_pixels: int = 1568
    links: bool = False
    allow_delete: bool = False
    tools: tuple[str, ...] = ("full",)
    transport: Transport = "stdio"
    host: str = "127.0.0.1"
    port: int = 8000
    path: str = "/mcp"
    stateless: bool = False
    public_url: str | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    auth_issuer: str | None = None
    auth_audience: str | None = None
    auth_jwks_url: str | None = None
    auth_scopes: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    calls_per_minute: int = 120
    max_body: int = 4 * 1024 * 1024
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def __attrs_post_init__(self) -> None:
        """See that it makes sense, every value and all of them together.

        Raises:
            SettingsError: It does not; names every variable at fault.
        """
        problems = [*_misfits(self)] or [*_contradictions(self)]
        if problems:
            raise SettingsError(problems)


def enabled_tools(settings: Settings) -> frozenset[str]:
    """The names of the tools there are."""
    sets = {"core": CORE, "full": TOOLS}
    named = {tool for name in settings.tools for tool in sets.get(name, (name,))}
    return frozenset(named - (set() if settings.allow_delete else {"delete_image"}))


def requires_known_cost(settings: Settings) -> bool:
    """Return whether a call is refused if its cost cannot be estimated."""
    limited = settings.max_per_call is not None or settings.max_per_day is not None
    return limited and settings.unknown_cost is None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _OTHER_NAMES.get(name, f"GPTIMAGE_{name.upper()}")


def shown(name: str, value: object) -> str:
    """A value as it may be told: no secret, no long text."""
    if KINDS[name].secret:
        return "what was given"
    text = repr(str(value) if isinstance(value, (Path, Decimal)) else value)
    return text if len(text) <= 80 else text[:79] + "…"


def _misfits(settings: Settings) -> Iterator[str]:
    defaults = {each.name: each.default for each in fields(Settings)}
    for name, kind in KINDS.items():
        value: object = getattr(settings, name)
        if value is None and defaults[name] is None:
            continue
        try:
            kind.check(value)
        except Unfit as reason:
            yield f"{variable(name)}: {shown(name, value)} {reason}"


def _contradictions(settings: Settings) -> Iterator[str]:
    """Settings that would be ignored, or that cannot hold together."""
    limits = ("max_per_call", "max_per_day", "confirm_above")
    if settings.unknown_cost is not None and not _any(settings, limits):
        yield f"GPTIMAGE_UNKNOWN_COST: has no effect without {_or(limits)}"
    for name in ("cache_hours", "cache_megabytes"):
        if _any(settings, (name,)) and settings.cache is None and settings.redis_url is None:
            yield f"{variable(name)}: has no effect without {variable('cache')}"
    for name in ("auth_audience", "auth_jwks_url"):
        if _any(settings, (name,)) and settings.auth_issuer is None:
            yield f"{variable(name)}: has no effect without GPTIMAGE_AUTH_ISSUER"
    if settings.auth_scopes and not _any(settings, ("tokens", "auth_issuer")):
        yield f"GPTIMAGE_AUTH_SCOPES: has no effect without {_or(('tokens', 'auth_issuer'))}"
    if "delete_image" in settings.tools and not settings.allow_delete:
        yield "GPTIMAGE_TOOLS: delete_image is not there without GPTIMAGE_ALLOW_DELETE=true"
    if not settings.tools:
        yield "GPTIMAGE_TOOLS: names no tool; write full, core or names of tools"
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
