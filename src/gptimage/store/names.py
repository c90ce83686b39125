"""Naming: a template for the file names of images, for people who want their own.

Whatever a prompt holds, the rendered name stays inside the dated folder, is short enough
and legal on Linux, macOS, Windows and object stores.
"""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from gptimage._internal.clock import FIRST_YEAR, LAST_YEAR
from gptimage.errors import ConfigurationError, ImageNotFoundError, StoreError, truncated_repr
from gptimage.types.record import Record


# Image ids: a UTC time that sorts, and 128 random bits; judged by one pattern before any use.
#
# An id such as ``img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad015`` holds only
# characters that are safe in a file name, an object key and a URL.

PATTERN: Final = re.compile(r"img_([0-9]{8}T[0-9]{12})_([0-9a-f]{32})", re.ASCII)
"""What an id looks like; use `fullmatch`, or `search` to find one in a file name."""

_TIME: Final = "%Y%m%dT%H%M%S%f"
_SLICES: Final = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15), (15, 21))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
ROWS: Final = 2**20
"""Rows, its own included, among which an id's is: ids of one microsecond follow each other."""


class IdMaker:
    """Makes ids that sort in the order they were made in, within one thread.

    Args:
        clock: Returns the time now, in UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._last = _EPOCH

    def __call__(self) -> str:
        """Return a new id."""
        # No lock: two threads in one microsecond have ids that differ in their random part.
        now, last = self._clock().astimezone(UTC), self._last
        if now <= last < now + timedelta(seconds=1):
            now = last + _MICROSECOND
        self._last = now
        return f"img_{now.strftime(_TIME)}_{os.urandom(16).hex()}"


def check_id(id: str | Record) -> str:
    """Return the id itself, or that of a record, once it is proved to be one.

    Raises:
        ImageNotFoundError: Nothing can be stored under this name.
    """
    id = id.id if isinstance(id, Record) else id
    if not is_id(id):
        raise ImageNotFoundError(
            f"{truncated_repr(id)} is no image of a store: ids look like "
            "img_20261120T114205123456_ and 32 more characters; history() lists them"
        )
    return id


def is_id(id: object) -> bool:
    """Return whether this is an id, with a time that exists."""
    match = PATTERN.fullmatch(id) if isinstance(id, str) else None
    return match is not None and _parse_time(match[1]) is not None


def find_id(name: str) -> str | None:
    """Return the one id in a file name, or None when there is none, or more than one."""
    found = list({match[0] for match in PATTERN.finditer(name)})  # a naming may repeat its own
    return found[0] if len(found) == 1 and is_id(found[0]) else None


def id_in(key: str) -> str:
    """Return the id in the key of an image or sidecar, or nothing when it holds none."""
    # A naming such as {date}/{id}/{index} has it in the name of a folder.
    return next(filter(None, map(find_id, reversed(key.split("/")))), "")


def time_of(id: str) -> datetime:
    """Return when the image was saved (UTC)."""
    match = PATTERN.fullmatch(id)
    moment = _parse_time(match[1]) if match else None
    if moment is None:
        raise StoreError(f"{truncated_repr(id)} is no id")
    return moment


def row_of(id: str) -> int:
    """Return a row number that sorts like the id; ids of one microsecond share it."""
    return row_at(time_of(id))


def row_at(moment: datetime) -> int:
    """Return the lowest row number of this moment: microseconds since 1970.

    No finer: of each word, full-text search holds the distances from row to row.
    """
    return (moment - _EPOCH) // _MICROSECOND


def _parse_time(text: str) -> datetime | None:
    # Slicing is ten times faster than strptime, and every row that is read comes through here.
    parts = [int(text[start:end]) for start, end in _SLICES]
    try:
        moment = datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]  # seven numbers
    except ValueError:
        return None
    return moment if FIRST_YEAR <= moment.year <= LAST_YEAR else None


# Keys: the names of files in a store, safe on every system and unable to leave its root.
#
# The same keys name files in a folder and objects in a bucket::
#
#     images/2026/11/20/<name>.png             the image, byte for byte
#     images/2026/11/20/<name>.json            its sidecar
#     images/2026/11/20/<name>.original.png    the untouched image, when it was cropped
#     inputs/9f/<sha256>.png                   an input image of edits, once

INDEX: Final = "index.sqlite"
"""The index's file in a local store."""

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
    """Return the key itself, once it is proved to name a file below the root on every system.

    Raises:
        ValueError: It could leave the root, or some system cannot hold it.
    """
    if not is_key(key):
        raise ValueError(f"{key[:100]!r} is no safe name for a file in a store")
    return key


def is_key(key: str) -> bool:
    """Return whether the key is safe: relative, plain, short enough, not reserved anywhere."""
    return all(is_part(part) for part in key.split("/")) and len(key.encode()) <= _MAX_KEY


def is_part(part: str) -> bool:
    """Return whether this may be the name of one file or folder."""
    return (
        bool(part)
        and not part.startswith(".")
        and not part.endswith((".", " "))
        and not _FORBIDDEN.search(part)
        and not _RESERVED.match(part)
        and len(part.encode()) <= _MAX_PART
    )


def day_prefix(moment: datetime) -> str:
    """Return where images saved at this time (UTC) lie: ``images/2026/11/20/``."""
    return f"{IMAGES}{moment:%Y/%m/%d}/"


def input_key(sha256: str, extension: str) -> str:
    """Return where an input image is stored, once."""
    return f"{INPUTS}{sha256[:2]}/{sha256}.{extension}"


def input_digest(key: str) -> str | None:
    """Return the SHA-256 an input's key names, or None when the store did not write it."""
    match = _INPUT.fullmatch(key)
    return match[2] if match else None


def stem(key: str) -> str:
    """Return what an image, its sidecar and its original have in common, with the folder.

    Names the store makes hold no dot, so this is all up to the first one.
    """
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.partition(".")[0]


def is_sidecar(key: str) -> bool:
    """Return whether this is where a sidecar lies."""
    return key.startswith(IMAGES) and key == stem(key) + SIDECAR


DEFAULT: Final = "{date}/{id}"
"""The name of an image's files below ``images/``."""

EXPORT: Final = "{date:flat}-{prompt:slug}-{id}"
"""The name of an exported image."""

_VALUES: Final[Mapping[str, Callable[[Record], str]]] = {
    "date": lambda record: f"{record.created:%Y/%m/%d}",
    "date:flat": lambda record: f"{record.created:%Y-%m-%d}",
    "time": lambda record: f"{record.created:%H%M%S}",
    "id": lambda record: record.id,
    "operation": lambda record: slug(record.operation, 20),
    "index": lambda record: str(record.index),
    "width": lambda record: str(record.width or 0),
    "height": lambda record: str(record.height or 0),
    "prompt:slug": lambda record: slug(record.prompt, 60),
    "model:slug": lambda record: slug(record.model, 40),
    "template:slug": lambda record: slug(record.template or "", 30),
}

_LONGEST: Final[Mapping[str, int]] = {
    "date": 1,  # ends in a folder of its own
    "date:flat": 10,
    "time": 6,
    "id": 58,
    "operation": 20,
    "index": 3,
    "width": 6,
    "height": 6,
    "prompt:slug": 60,
    "model:slug": 40,
    "template:slug": 30,
}
_MAX_TEMPLATE: Final = 200
_MAX_NAME: Final = 220
"""Bytes of a name; every file system takes these, with ``.original.jpeg`` behind them."""


class Naming:
    """A checked naming template.

    Args:
        template: Text with fields: ``{date}`` (2026/11/20, as folders), ``{date:flat}``
            (2026-11-20), ``{time}``, ``{id}``, ``{operation}``, ``{index}``, ``{width}``,
            ``{height}``, ``{prompt:slug}``, ``{model:slug}``, ``{template:slug}``. It must
            contain ``{id}``, so that no two images ever want the same name.
        dated: Whether it must start with ``{date}/``, as it must in a store: folders stay
            small, and machines that share a store find what is new by listing few of them.

    Raises:
        ConfigurationError: The template breaks a rule.
    """

    def __init__(self, template: str, *, dated: bool = True) -> None:
        self.template = template
        self._parts = _parse(template)
        fields = [name for _, name in self._parts if name]
        if "id" not in fields:
            raise _wrong(template, "it must contain {id}")
        if dated and not template.startswith("{date}/"):
            raise _wrong(template, "it must start with {date}/")
        if "." in "".join(text for text, _ in self._parts):
            raise _wrong(template, "it must not contain a dot: the extension follows the bytes")
        longest = "".join(text + "x" * _LONGEST.get(name, 0) for text, name in self._parts)
        if any(len(part.encode()) > _MAX_NAME for part in longest.split("/")):
            raise _wrong(template, f"a name could be longer than {_MAX_NAME} bytes")
        if not is_key("".join(text + ("x" if name else "") for text, name in self._parts)):
            raise _wrong(template, "it holds characters or names some systems do not allow")

    def stem(self, record: Record) -> str:
        """Return the name of the record's files, without an extension."""
        rendered = "".join(
            text + (_VALUES[name](record) if name else "") for text, name in self._parts
        )
        return "/".join(_legal(part) for part in rendered.split("/"))


def slug(text: str, max_bytes: int) -> str:
    """Letters, digits and hyphens of any script, lower case, at most so many UTF-8 bytes."""
    plain = unicodedata.normalize("NFC", text[:1000].lower())
    letters = "".join(char if unicodedata.category(char)[0] in "LMN" else "-" for char in plain)
    short = re.sub("-+", "-", letters).encode()[:max_bytes].decode(errors="ignore")
    return short.strip("-") or "untitled"


def _legal(part: str) -> str:
    """Return the name, changed if it is one Windows reserves, such as ``con``."""
    return part if is_key(part) else f"{part}_"


def _parse(template: str) -> list[tuple[str, str]]:
    if len(template) > _MAX_TEMPLATE:
        raise _wrong(template, f"it may have {_MAX_TEMPLATE} characters")
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise _wrong(template, str(error)) from error
    return [(text, _field(template, name, spec, mark)) for text, name, spec, mark in parsed]


def _field(template: str, name: str | None, spec: str | None, conversion: str | None) -> str:
    if name is None:
        return ""
    full = f"{name}:{spec}" if spec else name
    if conversion or full not in _VALUES:
        allowed = ", ".join(f"{{{each}}}" for each in _VALUES)
        raise _wrong(template, f"{{{full}}} is no field; there are {allowed}")
    return full


def _wrong(template: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"naming {template[:80]!r} cannot be used: {problem}")
