"""The settings every program shares: their names, variables and accepted values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal, DecimalException
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from attrs import frozen

from gptimage._internal.keywords import LONGEST
from gptimage._internal.text import BYTES, SECONDS, measured
from gptimage._internal.user_dirs import cache_folder, default_folder, state_folder


Value: TypeAlias = (
    str | bool | int | float | Decimal | timedelta | tuple[str, ...] | Mapping[str, Decimal]
)
"""What a setting may hold."""

OFF: Final = "off"
ON: Final = "on"
PERIODS: Final = ("call", "hour", "day", "month", "total")
"""What an amount of ``budget`` may hold for."""

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})
_AMOUNT: Final = re.compile(r"\$?(\d{1,9}(?:\.\d{1,9})?)\s*(?:/|per\s)\s*([a-z]+)", re.IGNORECASE)


class BadValueError(ValueError):
    """A value of a setting makes no sense; the message follows the value, as in ``is no URL``."""


@frozen(kw_only=True)
class Setting:
    """One setting.

    Attributes:
        read: Makes its value of text; raises `BadValueError`.
        help: What it does, in one line.
        variable: The environment variable; ``GPTIMAGE_<NAME>`` when left out.
        kind: Which type of TOML value it takes besides text.
        separator: For a list of values, what stands between two in text, as a regular expression;
            `read` makes one of them.
        secret: Whether its value is never shown.
        is_path: Whether a relative value starts from the folder of its file.
        in_project: Whether a file inside a project may set it.
    """

    read: Callable[[str], Value]
    help: str = ""
    variable: str = ""
    separator: str = ""
    kind: Literal["text", "number", "flag", "place"] = "text"
    secret: bool = False
    is_path: bool = False
    in_project: bool = False


def read_flag(text: str) -> bool:
    """``true`` or ``false``, as variables write it.

    Raises:
        BadValueError: It is neither.
    """
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise BadValueError("is neither yes nor no; write true or false")


def read_budget(text: str) -> Mapping[str, Decimal]:
    """``1.00/day``, or several limits with commas: ``0.25/call, 5/day``.

    Raises:
        BadValueError: It is written otherwise, or names a period twice.
    """
    found: dict[str, Decimal] = {}
    for part in text.split(","):
        match = _AMOUNT.fullmatch(part.strip())
        if match is None or match[2].lower() not in PERIODS:
            raise BadValueError(
                f"is no budget; write AMOUNT/PERIOD like 1.00/day, where PERIOD is one of "
                f"{', '.join(PERIODS)}"
            )
        if match[2].lower() in found:
            raise BadValueError(f"names {match[2]} twice")
        found[match[2].lower()] = Decimal(match[1])
    return found


def read_name(text: str) -> str:
    """Return a word without spaces.

    Raises:
        BadValueError: It has some.
    """
    if re.search(r"\s", text) or not text:
        raise BadValueError("is no name; write it like gpt-image-2.5-flare")
    return text


def read_url(*schemes: str, example: str) -> Callable[[str], str]:
    """Return what reads an absolute URL of one of these schemes.

    Args:
        *schemes: What it may begin with.
        example: How one may be written.
    """

    def read(text: str) -> str:
        try:
            parts = urlsplit(text)
            whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
            whole = whole or (parts.scheme == "unix" and bool(parts.path))
        except ValueError:  # a bracket that is not closed, a port that is none
            whole = False
        printable = text.isprintable() and " " not in text
        if not (whole and printable and urlsplit(text).scheme in schemes):
            raise BadValueError(f"is no address; write it like {example}")
        return text

    return read


def read_amount(text: str) -> Decimal:
    """Return an amount in USD.

    Raises:
        BadValueError: It is none.
    """
    try:
        usd = Decimal(text)
    except DecimalException:
        usd = Decimal("NaN")
    if not (usd.is_finite() and 0 <= usd <= 10**9):
        raise BadValueError("is no amount in USD; write it like 2.50")
    return usd


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST:
        raise BadValueError("is no number of seconds above 0; write it like 600")
    return seconds


def read_per_minute(text: str) -> int:
    """Return a whole number above 0.

    Raises:
        BadValueError: It is none.
    """
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise BadValueError("is no whole number above 0; write it like 60")
    return int(text)


def read_duration(text: str) -> timedelta:
    """Return a number with a unit, such as ``30d``.

    Raises:
        BadValueError: It is written otherwise, or is nothing.
    """
    try:
        found = timedelta(seconds=measured(text, SECONDS) or 0)
    except OverflowError:
        found = timedelta()
    if not found:
        raise BadValueError("is no length of time; write it like 24h or 30d (s, m, h, d, w)")
    return found


def read_bytes(text: str) -> int:
    """Return a number of bytes with a unit, such as ``500MB``.

    Raises:
        BadValueError: It is written otherwise, or is nothing.
    """
    found = measured(text, BYTES) or 0
    if not 1 <= found < 2**63:
        raise BadValueError("is no size; write it like 500MB or 2GB")
    return int(found)


def _place(*schemes: str, may_be_off: bool = True) -> Callable[[str], str]:
    """A path; ``off`` for none, ``on`` for the usual one, and a bucket where one can be read."""

    def read(text: str) -> str:
        if "\0" in text:
            raise BadValueError("is no path")
        if text.lower() in _YES | _NO:
            if not may_be_off:
                raise BadValueError("is no folder; leave it out to have none")
            return ON if text.lower() in _YES else OFF
        if "://" in text and text.partition("://")[0] not in schemes:
            raise BadValueError("is an address, where a path is needed")
        return text

    return read


SETTINGS: Final[Mapping[str, Setting]] = {
    "api_key": Setting(
        read=str,
        variable="OPENAI_API_KEY",
        secret=True,
        help="the key of the service; OPENAI_API_KEY_FILE names a file that holds it",
    ),
    "base_url": Setting(
        read=read_url("https", "http", example="https://api.openai.com/v1"),
        variable="OPENAI_BASE_URL",
        help="another service that speaks OpenAI's API",
    ),
    "provider": Setting(
        read=read_name, help="the service that draws, such as azure; openai when left out"
    ),
    "fallbacks": Setting(
        read=read_name,
        separator=r"[,\s]+",
        help="models to ask after a failure that cannot have been billed: azure/gpt-image-2, ...",
    ),
    "sandbox": Setting(
        read=read_flag, kind="flag", in_project=True, help="draw offline: no key, no cost"
    ),
    "model": Setting(read=read_name, in_project=True, help="the image model"),
    "chat_model": Setting(
        read=read_name, in_project=True, help="the model that reads the words of a conversation"
    ),
    "timeout": Setting(read=_seconds, kind="number", help="seconds to wait for a response"),
    "store": Setting(
        read=_place("s3", "gs", "az", "memory"),
        kind="place",
        is_path=True,
        in_project=True,
        help="where every image is saved: a folder, s3://bucket/prefix, or off",
    ),
    "cache": Setting(
        read=_place(),
        kind="place",
        is_path=True,
        in_project=True,
        help="where responses are saved, so that a request is paid once: a folder, on or off",
    ),
    "cache_ttl": Setting(
        read=read_duration, help="how long a response is saved, such as 24h; until there is no room"
    ),
    "cache_size": Setting(
        read=read_bytes, help="the most the cache may save, with its unit, such as 500MB"
    ),
    "redis_url": Setting(
        read=read_url("redis", "rediss", "unix", example="redis://localhost:6379/0"),
        secret=True,
        help="a Redis server whose cache many machines share, instead of the folder",
    ),
    "ledger": Setting(
        read=_place(),
        kind="place",
        is_path=True,
        help="the file in which every call and its cost is entered, or off",
    ),
    "templates": Setting(
        read=_place(may_be_off=False),
        is_path=True,
        in_project=True,
        help="a folder with more prompt templates",
    ),
    "budget": Setting(
        read=read_budget, in_project=True, help="the most to spend: 1.00/day, or 0.25/call, 5/day"
    ),
    "max_per_call": Setting(
        read=read_amount,
        kind="number",
        in_project=True,
        help="the most one request to the service may cost, in USD",
    ),
    "max_per_day": Setting(
        read=read_amount,
        kind="number",
        in_project=True,
        help="the most all requests of a day (UTC) may cost, in USD",
    ),
    "unknown_cost": Setting(
        read=read_amount,
        kind="number",
        help="what a call counts whose price is unknown; without it such calls are refused",
    ),
    "images_per_minute": Setting(
        read=read_per_minute, kind="number", help="the most images to request in a minute"
    ),
}
"""The settings by name: the key in a file, and ``GPTIMAGE_<NAME>`` in the environment."""

SERVER_SETTINGS: Final = frozenset(
    (
        "allow_delete",
        "allowed_hosts",
        "allowed_origins",
        "auth_audience",
        "auth_issuer",
        "auth_jwks_url",
        "auth_scopes",
        "calls_per_minute",
        "confirm_above",
        "fetch_urls",
        "host",
        "input_folders",
        "link_minutes",
        "links",
        "log_level",
        "max_body",
        "max_images",
        "max_upload",
        "output_folders",
        "path",
        "port",
        "preview_pixels",
        "public_url",
        "retention",
        "sessions_per_caller",
        "shared_secret",
        "shared_state",
        "stateless",
        "studio",
        "tenants",
        "tokens",
        "tools",
        "transport",
        "trusted_proxies",
        "wait",
    )
)
"""Names of the same file and environment that only the MCP server reads, and checks."""

OTHER_VARIABLES: Final = frozenset(
    f"GPTIMAGE_{name}" for name in ("CONFIG", "JOBS", "JOB_STORE", "MAX_DECODED_MB", "TRACEBACK")
)
"""Variables that are no settings of a client."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    setting = SETTINGS.get(name)
    return (setting and setting.variable) or f"GPTIMAGE_{name.upper()}"


def usual_place(name: str) -> str:
    """Return where a store or ledger is when no setting says otherwise; the cache is off."""
    if name == "store":
        return str(default_folder())
    return str(state_folder() / "ledger.sqlite") if name == "ledger" else OFF


def usual_cache() -> str:
    """Return where responses are saved by a cache that is on, in no folder that was named."""
    return str(cache_folder())


def limits_of(values: Mapping[str, Value]) -> dict[str, Decimal]:
    """Return the limits of ``budget``, ``max_per_call`` and ``max_per_day``, by period.

    Raises:
        BadValueError: Two of them name the same period.
    """
    found = dict(cast("Mapping[str, Decimal]", values.get("budget", {})))
    for name, period in (("max_per_call", "call"), ("max_per_day", "day")):
        usd = values.get(name)
        if isinstance(usd, Decimal):
            if period in found:
                raise BadValueError(f"has an amount per {period}, as {name} has; keep one")
            found[period] = usd
    return found


LIMITS: Final = ("budget", "max_per_call", "max_per_day")
"""The settings that `limits_of` reads."""
