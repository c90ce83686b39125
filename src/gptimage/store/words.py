"""Words: text as full-text search holds it, and what people type turned into a safe query."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from gptimage.errors import InvalidRequestError


_NO_SPACES: Final = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])"
)
"""Characters of scripts that put no spaces between words: each becomes a word of its own."""

_EMOJI: Final = re.compile(
    "[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff\U000e0020-\U000e007f]"
)
"""Arrows, symbols, pictographs and flags: no letters to full-text search, but people type them."""

_PIECES: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')

MAX_QUERY: Final = 2000
"""Longest search text, in characters."""


def indexed(text: str) -> str:
    """The text as it goes into the index."""
    return _EMOJI.sub(_spelt, _NO_SPACES.sub(r" \1 ", _printable(text)))


def query(text: str) -> str | None:
    """An FTS5 query for what somebody typed; None when it holds no words.

    All words must be there. ``"red fox"`` in quotes is a phrase; ``light*`` finds words that
    begin so. Nothing else has a meaning, so no text is a syntax error.

    Raises:
        InvalidRequestError: It is no text, or has more than 2,000 characters.
    """
    if not isinstance(text, str) or len(text) > MAX_QUERY:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        allowed = f"text of at most {MAX_QUERY:,} characters"
        raise InvalidRequestError(
            f"cannot search for that: use {allowed}", field="text", value=text, allowed=allowed
        )
    pieces = [_piece(phrase or word) for phrase, word in _PIECES.findall(_printable(text))]
    return " ".join(piece for piece in dict.fromkeys(pieces) if piece) or None


def _piece(text: str) -> str:
    word = indexed(text.rstrip("*"))
    if not any(char.isalnum() for char in word):
        return ""
    return f'"{word}"' + " *" * text.endswith("*")


def same(text: str) -> str:
    """Text as it is compared: composed, because two spellings of a letter look the same."""
    return unicodedata.normalize("NFC", storable(text))


def _spelt(match: re.Match[str]) -> str:
    """A symbol as a word of its own that full-text search keeps."""
    return f" emoji{ord(match[0]):x} "


def storable(text: str) -> str:
    """Text SQLite can hold: half a surrogate pair has no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _printable(text: str) -> str:
    return storable(text).replace("\0", " ")
