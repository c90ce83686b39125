"""Times and lengths of time as tools take them: ``2026-11-20``, ``2026-11-20T08:00Z`` or ``7d``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import gptimage
from gptimage_mcp.content.sanitize import told


_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)


Clock: TypeAlias = Callable[[], datetime]
"""Tells the time (UTC)."""


def utc_now() -> datetime:
    """The time of this machine, in UTC; asked where no clock was given."""
    return datetime.now(UTC)


def age(text: str, field: str) -> timedelta:
    """A length of time such as ``90s``, ``30m``, ``12h``, ``7d`` or ``2w``.

    Raises:
        InvalidRequestError: It is written otherwise; names the field.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise _refused(text, field, "a length of time such as 90s, 30m, 12h, 7d or 2w")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise _refused(text, field, "a length of time below 2,000 years") from None


def moment(text: str | None, field: str, clock: Clock = utc_now) -> datetime | None:
    """A date, a time, or as long ago as an age says; without a zone it is the server's time.

    Raises:
        InvalidRequestError: It is none of these; names the field.
    """
    if text is None or not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return clock() - age(text, field)
    except (gptimage.InvalidRequestError, OverflowError):
        raise _refused(text, field, "2026-11-20, 2026-11-20T08:00Z, or an age: 7d") from None


def _refused(text: str, field: str, allowed: str) -> gptimage.InvalidRequestError:
    return gptimage.InvalidRequestError(
        f"{field} {told(text, 60)!r} is not understood", field=field, value=text, allowed=allowed
    )
