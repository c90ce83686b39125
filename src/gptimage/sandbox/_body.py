"""Reads the body of an HTTP/1.1 request: counted or chunked, up to a limit, in large pieces."""

from __future__ import annotations

from collections.abc import Mapping
from io import BufferedIOBase
from typing import Final


_LARGEST: Final = 1_000_000_000
"""Sixteen inputs of 50 MB, a mask and a markup fit; bytes."""
_LINE: Final = 4096


class BadBodyError(Exception):
    """The body cannot be read; the connection is of no further use.

    Attributes:
        status: The HTTP status to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status: int = status


def read_body(stream: BufferedIOBase, headers: Mapping[str, str]) -> bytearray:
    """The whole body a request announces.

    Args:
        stream: The connection, after the headers.
        headers: Header values under lower-case names.

    Raises:
        BadBodyError: Its length is unclear or too large, or it ends early.
    """
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.strip().lower() != "chunked" or length is not None:
            raise BadBodyError(400, "only one of Content-Length and Transfer-Encoding: chunked")
        return _chunked(stream)
    if length is None:
        return bytearray()
    if not (length.isascii() and length.isdecimal() and len(length) < 16):
        raise BadBodyError(400, "Content-Length is not a number")
    return _counted(stream, int(length), bytearray())


def _counted(stream: BufferedIOBase, length: int, body: bytearray) -> bytearray:
    """Append exactly this many bytes."""
    start = len(body)
    if start + length > _LARGEST:
        raise BadBodyError(413, "the request is too large")
    body.extend(bytes(length))
    with memoryview(body) as view:
        while start < len(body):
            if not (count := stream.readinto(view[start:])):
                raise BadBodyError(400, "the request ended early")
            start += count
    return body


def _chunked(stream: BufferedIOBase) -> bytearray:
    body = bytearray()
    while True:
        size = stream.readline(_LINE).partition(b";")[0].strip()
        try:
            count = int(size, 16) if size[:1].isalnum() else -1
        except ValueError:
            count = -1
        if not 0 <= count <= _LARGEST:
            raise BadBodyError(400, "a chunk has no size")
        if count == 0:
            break
        _counted(stream, count, body)
        if stream.readline(_LINE) != b"\r\n":
            raise BadBodyError(400, "a chunk does not end where it said")
    while stream.readline(_LINE) not in {b"\r\n", b"\n", b""}:
        pass  # trailers
    return body
