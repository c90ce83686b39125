"""Text of messages, and ages and sizes as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final


SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""The units of lengths of time."""

BYTES: Final = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
"""The units of sizes."""

_MEASURE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)


def measured(text: str, units: Mapping[str, int]) -> float | None:
    """Return what a number with a unit is, such as ``30d`` or ``500 MB``; None where it is none.

    Args:
        text: What was written; capitals do not matter, but for ``6M``: who writes that means
            months, and what is older than six minutes would be removed.
        units: How much each unit is: `SECONDS` or `BYTES`.
    """
    match = _MEASURE.fullmatch(text.strip())
    if match is None:
        return None
    unit = match[2] if match[2] == "M" else match[2].lower()
    return float(match[1]) * units[unit] if unit in units else None


def shorten(text: str, limit: int) -> str:
    """Return the text, cut to so many characters with a mark at its end."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def reason(error: BaseException) -> str:
    """Return why something failed, in the words of the system where it has some."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that looks most like this one, or None when none does.

    Args:
        name: What was written, in whatever case.
        known: The names there are.
        cutoff: How alike they must be, from 0 to 1.
    """
    import difflib

    plain = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def one_line(text: str) -> str:
    """Return text on one line, without what cannot be printed."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
