"""Text from outside, made harmless: what others wrote is shown to a model, and never obeyed.

Prompts, revised prompts, file names, tags and the service's messages may hold anything. Here they
lose what cannot be seen, what looks like a key, and what is too long. JSON then keeps them apart
from our own words.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, cast

from gptimage.secrets import scrub


_SEEN: Final = frozenset("\n\t\u200c\u200d")
"""Kept although their category is invisible: two of them join letters of scripts and emoji."""

_UNSEEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
_DEEPEST: Final = 12
_MOST: Final = 1000
"""Members of one list or object."""

LONGEST: Final = 32_768
"""Characters of one text: no prompt may be longer."""


def strip_invisible(text: str, longest: int = LONGEST) -> str:
    """Without control characters, invisible ones and half characters, and not longer than this."""
    cut = text[: longest + 1]
    shown = "".join(map(_shown, cut)) if not (cut.isascii() and cut.isprintable()) else cut
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def redact(text: str, longest: int) -> str:
    """Return text of others on one line, without anything that looks like a key."""
    line = " ".join(strip_invisible(text, 4 * longest).split())
    safe = scrub(line)
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def quote(text: str, longest: int) -> str:
    """Return text of others as JSON of at most so many characters, with its quotation marks."""
    short = redact(text, longest)
    encoded = json.dumps(short, ensure_ascii=False)
    while len(encoded) > longest and short:
        short = short[: longest - len(encoded) - 1]  # what escaping adds is cut off, and a bit more
        encoded = json.dumps(f"{short}…", ensure_ascii=False)
    return encoded


def clean_json(value: object, depth: int = 0) -> Any:
    """Any JSON value with every text made visible; what is too deep or too much is left out."""
    if isinstance(value, str):
        return strip_invisible(value)
    if isinstance(value, Mapping):
        members = islice(cast("Mapping[object, object]", value).items(), _MOST)
        if depth >= _DEEPEST:
            return {}
        return {
            strip_invisible(str(name), 200): clean_json(each, depth + 1) for name, each in members
        }
    if isinstance(value, (list, tuple)):
        several = islice(cast("Iterable[object]", value), _MOST)
        return [] if depth >= _DEEPEST else [clean_json(each, depth + 1) for each in several]
    return value


def _shown(char: str) -> str:
    if char in _SEEN:
        return char
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"  # half a character: nothing could send it
    return " " if category in _UNSEEN else char
