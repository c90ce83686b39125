"""What the server is told: one frozen value, checked as a whole when it is made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from attrs import field, fields, frozen

import gptimage
from gptimage.secrets import scrub
from gptimage_mcp.config.kinds import (
    FOLDER,
    REDIS,
    Choice,
    Flag,
    Kind,
    Network,
    Number,
    Place,
    Several,
    Shared,
    Text,
    Unfit,
    Url,
)


Transport = Literal["stdio", "http"]
"""How clients reach the server."""

_OTHER_NAMES: Final = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL"}
_ROUTES: Final = ("/health", "/metrics", "/images", "/stream")
_USD: Final = Number(noun="amount in USD", make=Decimal, most=10**9, example="2.50")
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

TOOLS: Final = (*STANDARD, "edit_each_image", "manage_conversations")
"""All tools: with those of older servers, which few need and every model would read."""

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
    "redis_url": REDIS,
    "ledger": Place(example="~/spend.sqlite"),
    "templates": FOLDER,
    "input_folders": Several(FOLDER, re.escape(os.pathsep)),
    "output_folders": Several(FOLDER, re.escape(os.pathsep)),
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
    "tools": Several(Choice(("core", "standard", "full", *TOOLS))),
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
    "trusted_proxies": Several(Network()),
    "calls_per_minute": _PER_MINUTE,
    "sessions_per_caller": Number(noun="number", make=int, least=1, most=1000, example="100"),
    "max_upload": Number(
        noun="number of bytes", make=int, least=1024, most=2**26, example="20971520"
    ),
    "link_minutes": Number(
        noun="number of minutes", make=float, most=1440, above=True, example="10"
    ),
    "shared_secret": Several(
        Text(
            noun="secret of at least 32 characters",
            shape=re.compile(r"[!#-&(-~]{32,}", re.ASCII),
            example="one that was drawn at random",
            secret=True,
        )
    ),
    "shared_state": Shared(),
    "tenants": Flag(),
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
        tools: Which tools there are: ``standard``, ``core`` (draw, edit, refine, view, list,
            models), ``full`` (with those of older servers) or names.
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
    tools: tuple[str, ...] = ("standard",)
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
    trusted_proxies: tuple[str, ...] = ()
    calls_per_minute: int = 120
    sessions_per_caller: int = 100
    max_upload: int = 20 * 1024 * 1024
    link_minutes: float | None = None
    shared_secret: tuple[str, ...] = field(default=(), repr=False)
    shared_state: Path | str | None = field(default=None, repr=False)
    tenants: bool = False
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
    sets = {"core": CORE, "standard": STANDARD, "full": TOOLS}
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
    if settings.tenants and not _any(settings, ("tokens", "auth_issuer")):
        yield f"GPTIMAGE_TENANTS: has no effect without {_or(('tokens', 'auth_issuer'))}"
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
