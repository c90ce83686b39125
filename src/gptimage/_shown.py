"""What a caller passed, cut short and made plain, so that errors stay readable and picklable."""

from __future__ import annotations

from typing import Final, cast

from gptimage.secrets import scrub


_READ: Final = 4096
"""Characters looked at for secrets before a text is cut: half a secret no longer looks like one."""


def shown(value: object, limit: int = 80) -> str:
    """The repr of whatever a caller passed, cut short, for a message; it never fails."""
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    try:
        text = scrub(repr(value[:_READ] if isinstance(value, str) else value))
    except Exception:  # noqa: BLE001  # endless integers, circles, objects with a broken repr
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(value: object, limit: int = 200) -> object:
    """Plain values and cut text are kept; anything else becomes text, so that it can be pickled."""
    if isinstance(value, str):
        text = scrub(value[:_READ])
        return text if len(text) <= limit else text[: limit - 1] + "…"
    if isinstance(value, (tuple, list)):
        several = cast("list[object]", value)
        return several if all(map(_is_plain, several)) else shown(several, limit)
    return value if _is_plain(value) else shown(value, limit)


def _is_plain(value: object) -> bool:
    """Safe to keep, to pickle and to print; Python refuses to print endless integers."""
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, (str, float))
