"""Keys: the names of files in a store, safe on every system and unable to leave its root.

The same keys name files in a folder and objects in a bucket::

    images/2026/11/20/<name>.png             the picture, byte for byte
    images/2026/11/20/<name>.json            its sidecar
    images/2026/11/20/<name>.original.png    the untouched picture, when it was cropped
    inputs/9f/<sha256>.png                   an input picture of edits, once
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final


IMAGES: Final = "images/"
INPUTS: Final = "inputs/"
SIDECAR: Final = ".json"

_FORBIDDEN: Final = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|\ud800-\udfff]')
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\.|$)", re.IGNORECASE
)
_INPUT: Final = re.compile(r"inputs/([0-9a-f]{2})/(\1[0-9a-f]{62})\.([a-z0-9]{1,8})", re.ASCII)
_MAX_PART: Final = 240
_MAX_KEY: Final = 1000


def check_key(key: str) -> str:
    """The key itself, once it is proved to name a file below the root on every system.

    Raises:
        ValueError: It could leave the root, or some system cannot hold it.
    """
    if not is_key(key):
        raise ValueError(f"{key[:100]!r} is no safe name for a file in a store")
    return key


def is_key(key: str) -> bool:
    """Whether the key is safe: relative, plain, short enough, not reserved anywhere."""
    return all(is_part(part) for part in key.split("/")) and len(key.encode()) <= _MAX_KEY


def is_part(part: str) -> bool:
    """Whether this may be the name of one file or folder."""
    return (
        bool(part)
        and not part.startswith(".")
        and not part.endswith((".", " "))
        and not _FORBIDDEN.search(part)
        and not _RESERVED.match(part)
        and len(part.encode()) <= _MAX_PART
    )


def day_prefix(moment: datetime) -> str:
    """Where pictures saved at this time (UTC) lie: ``images/2026/11/20/``."""
    return f"{IMAGES}{moment:%Y/%m/%d}/"


def input_key(sha256: str, extension: str) -> str:
    """Where an input picture is kept, once."""
    return f"{INPUTS}{sha256[:2]}/{sha256}.{extension}"


def input_digest(key: str) -> str | None:
    """The SHA-256 an input's key names, or None when the store did not write it."""
    match = _INPUT.fullmatch(key)
    return match[2] if match else None


def stem(key: str) -> str:
    """What a picture, its sidecar and its original have in common, with the folder.

    Names the store makes hold no dot, so this is all up to the first one.
    """
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.partition(".")[0]


def is_sidecar(key: str) -> bool:
    """Whether this is where a sidecar lies."""
    return key.startswith(IMAGES) and key == stem(key) + SIDECAR
