"""Finds a file whose name looks like the requested one.

macOS puts a narrow no-break space before "PM" and stores letters decomposed; people and models
type plain spaces and composed letters, and see no difference.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Final


_SPACES: Final = re.compile(r"\s")


def lookalike(path: Path) -> Path:
    """Return the one path that is there and looks the same, or the path itself.

    Only normal form and kind of space may differ. Two that look the same are left to people.
    """
    found = Path(path.anchor) if path.anchor else Path()
    for part in path.parts[1:] if path.anchor else path.parts:
        if os.path.lexists(found / part) or part == "..":
            found /= part
            continue
        try:
            names = [name for name in os.listdir(found) if _shape(name) == _shape(part)]  # noqa: PTH208  # names alone
        except OSError:
            return path
        if len(names) != 1:
            return path
        found /= names[0]
    return found


def _shape(name: str) -> str:
    return _SPACES.sub(" ", unicodedata.normalize("NFC", name))
