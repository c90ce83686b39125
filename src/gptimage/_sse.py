"""Splits a byte stream into server-sent events, of any size, in linear time.

It does no I/O, so both transports share it. Events stay bytes: a picture of 30 MB is
never turned into text. Unlike a browser's parser it also hands over an event that the
stream ended in, because that event may be a picture that was paid for; whoever
parses it finds out whether it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gptimage.transport.http import ServerEvent


_BOM: Final = b"\xef\xbb\xbf"
"""A byte order mark, with which a stream may begin."""


class EventDecoder:
    """Feed it chunks, take events; call `finish` at the end of the stream."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._name: str = ""
        self._data: list[bytes] = []
        self._after_cr: bool = False
        self._inside_json: bool = False

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events this chunk completes."""
        if not chunk:
            return
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines(keepends=True)
        for line in lines:
            text = line.rstrip(b"\r\n")
            self._line.append(text)
            if len(text) != len(line):
                yield from self._take_line()

    def finish(self) -> Iterator[ServerEvent]:
        """The event the stream ended in, if any."""
        yield from self._take_line()
        yield from self._dispatch()

    def _take_line(self) -> Iterator[ServerEvent]:
        line = b"".join(self._line).removeprefix(_BOM)
        self._line.clear()
        if self._inside_json:
            self._data.append(line)
            return
        if not line:
            yield from self._dispatch()
            return
        if line.startswith((b"{", b"[")):
            # Plain JSON under the wrong content type; it may be paid for. What closes on its own
            # line is one of JSON Lines, else one document over several lines.
            yield from self._dispatch()
            self._data.append(line)
            self._inside_json = not line.rstrip().endswith((b"}", b"]"))
            if not self._inside_json:
                yield from self._dispatch()
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append(value)

    def _dispatch(self) -> Iterator[ServerEvent]:
        if any(self._data):
            yield ServerEvent(name=self._name, data=b"\n".join(self._data))
        self._name, self._data = "", []
