"""Which bytes of a file a request asks for, and whether it has them already (RFC 9110)."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers


_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class UnsatisfiableError(Exception):
    """The range lies beyond the end of the file."""


def span(headers: Headers, *, size: int, etag: str) -> tuple[int, int] | None:
    """The first byte asked for and the one after the last; None for the whole file.

    Several ranges at once, other units and nonsense are answered with the whole file, which
    the RFC allows; so is a range of a file that is not the one the client began with.

    Raises:
        UnsatisfiableError: Nothing of the file lies in the range.
    """
    asked = _RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or headers.get("if-range", etag) != etag:
        return None
    first, last = asked[1], asked[2]
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
    """Whether the client's copy is the current one (``If-None-Match``)."""
    known = headers.get("if-none-match", "")
    return known.strip() == "*" or etag in {
        each.strip().removeprefix("W/") for each in known.split(",")
    }
