"""Base64 as people and services write it."""

from __future__ import annotations

import re
from typing import Final


_SPACE: Final = re.compile(rb"[\s\0]+")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def decode(text: bytes) -> bytes:
    """Decode base64, also URL-safe, with line breaks, a ``data:`` prefix or missing padding.

    Raises:
        ValueError: It is not base64.
    """
    from urllib.parse import unquote_to_bytes

    import pybase64

    if text[:5].lower() == b"data:":
        head, _, text = text.partition(b",")
        if not head.lower().rstrip().endswith(b";base64"):
            return unquote_to_bytes(text)  # the file itself, such as an svg
    text = unquote_to_bytes(text) if b"%" in text else text
    plain = _SPACE.sub(b"", text).rstrip(b"=").translate(_STANDARD)
    return pybase64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
