"""JSON: canonical bytes that can be hashed, and looking into values of unknown shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, cast


MAX_COUNT: Final = 10**9
"""No call uses more tokens. Sums of millions of such numbers still fit into 64 bits."""

MAX_TEXT: Final = 1_000_000
"""Characters of the longest text a reply may say; a prompt has at most 32,000."""

_YEAR_2100: Final = 4_102_444_800
MAX_LABEL: Final = 200
"""Characters of the longest id or name in a reply."""


def canonical(value: object) -> bytes:
    """Sorted keys, no spaces, UTF-8; refuses NaN and anything that is not JSON.

    Raises:
        TypeError: The value holds something JSON cannot say.
        ValueError: The value holds NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", "surrogatepass")


def table(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one when the value is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def array(value: object) -> list[object]:
    """Return a JSON array, or an empty one when the value is something else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def count(value: object) -> int | None:
    """Return a number of tokens or images; None when it is none, or more than a call can have."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def label(value: object) -> str | None:
    """Return an id or a name: short, printable, in one piece; None when it is something else."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL:
        return None
    return value if value.isprintable() else None


def moment(stamp: object) -> datetime | None:
    """Return a time in Unix seconds that a reply names; None when it is none of these centuries."""
    if not isinstance(stamp, (int, float)) or isinstance(stamp, bool):
        return None
    return datetime.fromtimestamp(stamp, UTC) if 0 <= stamp < _YEAR_2100 else None


def prose(value: object) -> str | None:
    """Text of a reply that can be written anywhere, cut at a million characters; None if empty.

    Half a surrogate pair has no UTF-8, and a NUL ends a text for SQLite and C.
    """
    if not isinstance(value, str) or not value:
        return None
    return value[:MAX_TEXT].replace("\0", "").encode("utf-8", "replace").decode() or None
