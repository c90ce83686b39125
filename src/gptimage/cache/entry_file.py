"""One reply in one file: a header of fixed size that describes and proves the body, then the body.

The header is a line of JSON padded with spaces, so ``head -c 512 FILE`` shows it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from gptimage._internal import atomic
from gptimage.cache.base import CacheEntry
from gptimage.errors import CacheError


SUFFIX: Final = ".body"
_MAGIC: Final = b"gptimage-cache 1 "
_HEAD_BYTES: Final = 512
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9:_-]{3,127}", re.ASCII)


class DamagedError(Exception):
    """A file that is not what was written: cut short, changed, or another program's."""


@frozen(kw_only=True)
class EntryHeader:
    """The header of a file: what it says about its body.

    Attributes:
        key: The key of the request.
        size: Bytes of the body.
        sha256: Their hash, in hexadecimal.
        created: When it was saved (Unix time in seconds).
        expires: When it is no longer used; None is never.
        usd: What it cost, in USD; None when unknown.
    """

    key: str
    size: int
    sha256: str
    created: float
    expires: float | None
    usd: Decimal | None


def entry_path(root: Path, key: str) -> Path:
    """Return the path of the reply under a key.

    Raises:
        CacheError: The key could name a file outside the cache.
    """
    name = file_name(key)
    return root / name[-2:] / f"{name}{SUFFIX}"


def file_name(key: str) -> str:
    """Return a key as part of a file name; the header tells apart two keys that look alike in it.

    Raises:
        CacheError: The key holds something no file name should.
    """
    if not _KEY.fullmatch(key):
        raise CacheError(f"a cache key is 4 to 128 of a-z, 0-9, ':', '_' and '-', not {key[:40]!r}")
    return key.replace(":", "-")


def files(root: Path) -> Iterator[Path]:
    """List every file of a reply below the root."""
    return root.glob(f"??/*{SUFFIX}")


def write(folder: Path, entry: CacheEntry, *, key: str) -> tuple[Path, EntryHeader]:
    """Write a new temporary file; the caller renames it into place.

    It is not synced to the disk: after a power cut the hash shows it, and the request is
    sent again.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    body = memoryview(entry.body).cast("B")
    head = EntryHeader(
        key=key,
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        created=entry.created or 0.0,
        expires=entry.expires,
        usd=entry.usd,
    )
    path = folder / f"{secrets.token_hex(8)}.tmp"
    atomic.create(path, _head_bytes(head), body)
    return path, head


def read(path: Path, key: str) -> tuple[EntryHeader, bytes]:
    """Read a file and prove its body.

    Raises:
        DamagedError: It is not what was written.
        OSError: It is missing or cannot be read.
    """
    with atomic.open_file(path) as file:
        head = _head(file.read(_HEAD_BYTES) or b"")
        if head.key != key or os.fstat(file.fileno()).st_size != _HEAD_BYTES + head.size:
            raise DamagedError(path.name)
        body = file.read()
    if hashlib.sha256(body).hexdigest() != head.sha256:
        raise DamagedError(path.name)
    return head, body


def read_head(path: Path) -> EntryHeader:
    """Read only the header.

    Raises:
        DamagedError: There is no such head.
        OSError: It is missing or cannot be read.
    """
    with atomic.open_file(path) as file:
        return _head(file.read(_HEAD_BYTES) or b"")


def _head_bytes(head: EntryHeader) -> bytes:
    found = {
        "key": head.key,
        "bytes": head.size,
        "sha256": head.sha256,
        "created": head.created,
        "expires": head.expires,
        "usd": None if head.usd is None else str(head.usd),
    }
    line = _MAGIC + json.dumps({**found, "crc": _crc(found)}).encode("ascii")
    return line.ljust(_HEAD_BYTES - 1) + b"\n"


def _head(line: bytes) -> EntryHeader:
    if not line.startswith(_MAGIC) or len(line) != _HEAD_BYTES:
        raise DamagedError("no head")
    try:
        found: dict[str, Any] = json.loads(line[len(_MAGIC) :])
        # What 0.1.0 wrote has no checksum of its head.
        if "crc" in found and found.pop("crc") != _crc(found):
            raise DamagedError("a changed head")
        expires, usd = found["expires"], found["usd"]
        return EntryHeader(
            key=str(found["key"]),
            size=int(found["bytes"]),
            sha256=str(found["sha256"]),
            created=float(found["created"]),
            expires=None if expires is None else float(expires),
            usd=None if usd is None else Decimal(usd),
        )
    except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError) as error:
        raise DamagedError("an unreadable head") from error


def _crc(found: Mapping[str, object]) -> int:
    return zlib.crc32(json.dumps(found).encode())
