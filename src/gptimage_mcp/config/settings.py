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
from gptimage_mcp.kinds import Choice, Flag, Kind, Number, Place, Several, Text, Unfit, Url


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

KINDS: Final[Mapping[str, Kind]] = {
    "api_key": Text(noun="key", shape=_SECRET, example="sk-...", secret=True),
    "base_url": Url(example="https://api.openai.com/v1"),
    "sandbox": Flag(),
    "model": _NAME,
    "chat_model": _NAME,
    "timeout": Number(noun="number of seconds", make=float, above=True, example="600"),
    "store": _FOLDER,
    "cache": Place(example="~/cache", may_be_off=True),
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
    "preview_pixels": Number(noun="number of pixels", make=int, least=64, most=2048, example="768"),
    "allow_delete": Flag(),
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
        self.problems: tuple[str, ...] = tuple(problems)
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
        store: The folder where every picture is saved.
        cache: The folder where answers are kept, so that the same request is paid for once;
            None (``off``) keeps none.
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
        preview_pixels: Long edge of the pictures shown to the model, in pixels.
        allow_delete: Whether there is a ``delete_image`` tool.
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
    store: Path
    cache: Path | None = None
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
    allow_delete: bool = False
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
    for name in ("auth_audience", "auth_jwks_url"):
        if _any(settings, (name,)) and settings.auth_issuer is None:
            yield f"{variable(name)}: has no effect without GPTIMAGE_AUTH_ISSUER"
    if settings.auth_scopes and not _any(settings, ("tokens", "auth_issuer")):
        yield f"GPTIMAGE_AUTH_SCOPES: has no effect without {_or(('tokens', 'auth_issuer'))}"
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
