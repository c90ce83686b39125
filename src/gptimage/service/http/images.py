"""An image of a store over HTTP, byte for byte as it was saved, from its file.

The file is read piece by piece, no faster than the client takes it: a download holds one
piece in memory, however large the image is.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import anyio
from anyio.to_thread import run_sync
from attrs import frozen
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from gptimage.errors import ImageNotFoundError, StoreError
from gptimage.service.http.asgi import ASGIApp, JsonError, Receive, Scope, Send
from gptimage.store import Store
from gptimage.types.record import Record


# Which bytes of a file a request asks for, and whether it has them already (RFC 9110).

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class UnsatisfiableError(Exception):
    """The range lies beyond the end of the file."""


def span(headers: Headers, *, size: int, etag: str) -> tuple[int, int] | None:
    """Return the first byte requested and the one after the last; None for the whole file.

    Several ranges at once, other units and nonsense are answered with the whole file, which
    the RFC allows; so is a range of a file that is not the one the client began with.

    Raises:
        UnsatisfiableError: Nothing of the file lies in the range.
    """
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or headers.get("if-range", etag) != etag:
        return None
    first, last = found[1], found[2]
    if not first and not last:
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return start, stop


def has_already(headers: Headers, *, etag: str) -> bool:
    """Return whether the client's copy is the current one (``If-None-Match``)."""
    known = headers.get("if-none-match", "")
    return known.strip() == "*" or etag in {
        each.strip().removeprefix("W/") for each in known.split(",")
    }


_PIECE: Final = 64 * 1024
_SANDBOX: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_FOR_GOOD: Final = "private, max-age=31536000, immutable"
_FOR_A_WHILE: Final = "private, max-age=60"

_loading: Final = anyio.CapacityLimiter(4)
"""How many images of an object store are in memory at once, on their way to a file."""


@frozen(kw_only=True)
class ImageFile:
    """An image's file, open for reading.

    Attributes:
        file: The file; whoever gets this closes it.
        size: Its length in bytes.
        record: What is known of it.
    """

    file: IO[bytes]
    size: int
    record: Record

    @property
    def etag(self) -> str:
        """The SHA-256 of the bytes, as HTTP writes it."""
        return f'"{self.record.sha256}"'

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers with which a browser stores and shows it safely.

        An SVG can hold scripts: it is only ever an image, and never opened as a page.
        """
        shown = "attachment" if self.record.format == "svg" else "inline"
        return {
            "accept-ranges": "bytes",
            "cache-control": _FOR_GOOD,
            "content-disposition": f'{shown}; filename="{self._name}"',
            "content-security-policy": _SANDBOX,
            "content-type": self.record.mime_type,
            "etag": self.etag,
        }

    @property
    def _name(self) -> str:
        return f"{self.record.id}.{self.record.key.rpartition('.')[2]}"


async def image_response(scope: Scope, store: Store, *, linked: bool = False) -> ASGIApp:
    """Return the image whose id is in the path; any other id is a 404, whatever it looks like.

    Args:
        scope: The request; ``id`` is among the parameters of its path.
        store: Where the image is.
        linked: Whether a signed link opened it: then pages of other sites may show it.
    """
    try:
        original = await _open(store, scope["path_params"]["id"])
    except ImageNotFoundError:
        return JsonError(404, "not_found", "the store has no image of this id")
    except (StoreError, OSError):
        return JsonError(500, "unreadable", "the image cannot be read: `gptimage verify`")
    asked, headers = Headers(scope=scope), original.headers
    if linked:
        # Whoever was given a link may show the image on a page of theirs, while the link is good.
        headers |= {"cache-control": _FOR_A_WHILE, "cross-origin-resource-policy": "cross-origin"}
    if has_already(asked, etag=original.etag):
        original.file.close()
        return Response(status_code=304, headers=headers)
    try:
        part = span(asked, size=original.size, etag=original.etag)
    except UnsatisfiableError:
        original.file.close()
        beyond = {"content-range": f"bytes */{original.size}"}
        return JsonError(416, "beyond_the_end", "the image is shorter than that", headers=beyond)
    start, stop = part or (0, original.size)
    headers["content-length"] = str(stop - start)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{original.size}"
    return _Download(original.file, start, stop, status=206 if part else 200, headers=headers)


class _Download(StreamingResponse):
    """Part of a file; it is closed when the client has it, or has gone."""

    def __init__(
        self, file: IO[bytes], start: int, stop: int, *, status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(_pieces(file, start, stop), status, headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            if scope["method"] == "HEAD":
                await Response(status_code=self.status_code, headers=self.headers)(
                    scope, receive, send
                )
            else:
                await super().__call__(scope, receive, send)


async def _pieces(file: IO[bytes], start: int, stop: int) -> AsyncIterator[bytes]:
    await run_sync(file.seek, start)
    while start < stop:
        piece = await run_sync(file.read, min(_PIECE, stop - start))
        if not piece:
            raise OSError("the image's file became shorter while it was read")
        start += len(piece)
        yield piece


async def _open(store: Store, id: str) -> ImageFile:
    record = await run_sync(store.get, id)
    if record.path is None:
        return await run_sync(_loaded, store, record, limiter=_loading)
    return await run_sync(_opened, record, record.path)


def _opened(record: Record, path: Path) -> ImageFile:
    """The file of a store in a folder; links are not followed, wherever they lead."""
    if Path(os.path.realpath(path)) != path:
        raise OSError("a link inside the store is not followed")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb", buffering=0)
    size = os.fstat(handle).st_size
    if size != record.bytes:
        file.close()
        raise OSError("the file has another length than its record")
    return ImageFile(file=file, size=record.bytes, record=record)


def _loaded(store: Store, record: Record) -> ImageFile:
    """An image of an object store, put down in a nameless file so that it leaves memory."""
    data = store.open(record.id).data
    file = TemporaryFile(buffering=0)  # noqa: SIM115  # whoever sends it closes it
    file.write(data)
    return ImageFile(file=file, size=record.bytes, record=record)
