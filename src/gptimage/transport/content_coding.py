"""Packed bodies as they arrive, also those that gateways pack in other ways than they say.

The HTTP library drops the whole body of a response that says gzip and is plain, which is what is
left when a gateway unpacks and keeps the header, and stops after the first part of one that was
packed in parts (RFC 1952, 2.2). Both hold images that were paid for.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from gptimage.transport.http import ExchangeError


if TYPE_CHECKING:
    import httpx2


_GZIP: Final = frozenset({"gzip", "x-gzip"})
_MAGIC: Final = b"\x1f\x8b"
_WITH_HEADER: Final = zlib.MAX_WBITS | 16
"""What tells zlib that a gzip header comes first."""


async def pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Yield the body of an open response, unpacked, as it arrives.

    Raises:
        ExchangeError: It is damaged.
    """
    unpacker = _Unpacker() if _is_gzip(response) else None
    async for piece in _arriving(response, packed=unpacker is not None):
        if unpacker is None:
            yield piece
        elif found := unpacker.feed(piece):  # readers take an empty piece for the end
            yield found
    if unpacker is not None:
        yield unpacker.finish()


async def _arriving(response: httpx2.Response, *, packed: bool) -> AsyncIterator[bytes]:
    if hasattr(response.stream, "__aiter__"):
        async for piece in response.aiter_raw() if packed else response.aiter_bytes():
            yield piece
    else:  # of a blocking client
        for piece in response.iter_raw() if packed else response.iter_bytes():
            yield piece


def _is_gzip(response: httpx2.Response) -> bool:
    """Return whether it says gzip once; the HTTP library unpacks what is packed otherwise."""
    coding: str = response.headers.get("content-encoding", "")
    return coding.strip().lower() in _GZIP and not response.is_stream_consumed


class _Unpacker:
    """Unpacks gzip in one part or several, and passes on what is not packed at all."""

    def __init__(self) -> None:
        self._held = b""
        self._packed: bool | None = None  # not known before two bytes are there
        self._part = zlib.decompressobj(_WITH_HEADER)

    def feed(self, piece: bytes) -> bytes:
        """Return what these bytes hold, which may be nothing yet."""
        data = self._held + piece
        if self._packed is None:
            if len(data) < len(_MAGIC):
                self._held = data
                return b""
            self._packed = data.startswith(_MAGIC)
        self._held = b""
        return self._unpack(data) if self._packed else data

    def finish(self) -> bytes:
        """Return what was held back; of a body cut short, that is all there is."""
        if self._packed is None:
            return self._held
        return self._part.flush() if self._packed else b""

    def _unpack(self, data: bytes) -> bytes:
        found: list[bytes] = []
        while data:
            if self._part.eof:
                if not data.startswith(_MAGIC[: len(data)]):
                    break  # what follows the end, such as zeros, is no part of the body
                if len(data) < len(_MAGIC):
                    self._held = data
                    break
                self._part = zlib.decompressobj(_WITH_HEADER)
            try:
                found.append(self._part.decompress(data))
            except zlib.error as error:
                raise ExchangeError from error
            data = self._part.unused_data
        return b"".join(found)
