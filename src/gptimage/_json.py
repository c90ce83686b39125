"""JSON: canonical bytes that can be hashed, and looking into values of unknown shape."""

from __future__ import annotations

import json
from typing import Any, cast


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
    """A JSON object, or an empty one when the value is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def array(value: object) -> list[object]:
    """A JSON array, or an empty one when the value is something else."""
    return cast("list[object]", value) if isinstance(value, list) else []
