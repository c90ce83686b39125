"""Cuts a file of results into lines as it arrives, and takes the pictures out of them.

A line holds whole pictures as base64. They are decoded piece by piece, so a line never takes
more memory than its pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from attrs import field, frozen

from gptimage.transport.base64_body import Splitter, join


_NAME: Final = re.compile(rb'(?<!\\)"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')
_REQUEST_ID: Final = re.compile(rb'(?<!\\)"request_id"\s*:\s*"([\w-]{1,100})"')


@frozen
class Line:
    """One line of a file of results.

    Attributes:
        rest: The line, with a number in place of each picture.
        pictures: The pictures, decoded.
    """

    rest: bytes = field(repr=False)
    pictures: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def raw(self) -> bytes:
        """The line as it arrived."""
        return join(self.rest, self.pictures)

    @property
    def name(self) -> str | None:
        """Whose it is, also when the line is damaged behind it."""
        found = _NAME.search(self.rest)
        try:
            return None if found is None else str(json.loads(found[1]))
        except ValueError:
            return None

    @property
    def request_id(self) -> str | None:
        """The service's id of the request, also when the line is damaged behind it."""
        found = _REQUEST_ID.search(self.rest)
        return None if found is None else found[1].decode("ascii", "replace")


class Lines:
    """Feed it pieces of a file; it gives the lines that are whole."""

    def __init__(self) -> None:
        self._current = Splitter()

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that are whole now, empty ones left out."""
        start = 0
        # JSON has no bare newline inside of a value, so each one ends a line.
        while (end := piece.find(b"\n", start)) >= 0:
            self._take(piece, start, end)
            yield from self.close()
            start = end + 1
        self._take(piece, start, len(piece))

    def close(self) -> Iterator[Line]:
        """A last line that has no newline."""
        rest, pictures = self._current.close()
        self._current = Splitter()
        if rest.strip():
            yield Line(rest, pictures)

    def _take(self, piece: bytes, start: int, end: int) -> None:
        if end > start:
            self._current.feed(memoryview(piece)[start:end])
