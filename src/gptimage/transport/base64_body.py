"""Reads JSON replies of tens of megabytes, decoding images as their bytes arrive.

A reply is mostly base64. Collecting it, parsing it as one JSON document and decoding the
strings would hold every image three or four times, and block an event loop for as long.
A `Base64Extractor` decodes each piece as it comes, so a reply never takes more memory than its
images; only the small rest is parsed as JSON.

Finding the images needs no JSON parser: inside a JSON string every quote is preceded by a
backslash, so the bytes ``"b64_json":"`` without one can only be a real key (``"result":"`` in
the Responses API). Base64 that is not plain (escaped letters, line breaks, a data URL) is left
in the rest and read from there.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from gptimage._internal.lenient_base64 import decode
from gptimage.transport.wrapped_body import from_events, is_bare_image, items, normal


Body = bytes | bytearray | memoryview

_IMAGE: Final = "b64_json"
"""The key of the Images API."""
_PADDING: Final = ord("=")
_LARGEST: Final = 512_000_000
"""Bytes to which a packed reply may unpack."""

_OVERLAP: Final = 64
"""Bytes searched again with the next piece, as a key may lie across the border."""
_APART: Final = 33 << 20
"""Bytes of memory that no other allocation is beside; the system gives each page when it is used.

A BytesIO grows by an eighth at a time, and is copied each time when something else lies behind it.
With several replies at once the last of those copies of a 12 MB image held up an event loop for
7 ms, with the memory of two images. The C library takes whatever is above 32 MiB from the system
(mallopt(3), M_MMAP_THRESHOLD), which makes it larger and smaller without a copy.
"""

_STEP: Final = 65_536
"""Bytes searched at once: those behind a key are copied and cut off again."""
_MAX_DIGITS: Final = 40
"""From the URL-safe alphabet of base64 to the usual one."""


@frozen
class ParsedBody:
    """A parsed reply.

    Attributes:
        value: The JSON value. A ``b64_json`` in it is an index into ``images``, or still
            text where it was not plain base64.
        images: The decoded bytes, in order.
        cut_short: Whether the body was no JSON and these images are all that could be saved.
    """

    value: Any
    images: tuple[bytes, ...] = field(default=(), repr=False)
    cut_short: bool = field(default=False, kw_only=True)


class Base64Extractor:
    """Feed it pieces of a JSON body; it keeps the images decoded and the rest as text.

    Args:
        key: The name the images have in it.
        interleaved: Whether this thread may read other bodies between two pieces.
    """

    def __init__(self, key: str = _IMAGE, *, interleaved: bool = False) -> None:
        self._key = re.compile(_named(key) + rb'"')
        self._rest = bytearray()
        self._searched = 0
        self._settled = 0
        self._images: list[bytes] = []
        self._inside_image = False
        self._decoded = io.BytesIO()
        self._interleaved = interleaved
        self._tail = b""

    def feed(self, piece: Body) -> None:
        """Take the next piece."""
        data = piece if isinstance(piece, (bytes, bytearray)) else bytes(piece)
        at = 0
        while at < len(data):
            at = self._inside(data, at) if self._inside_image else self._outside(data, at)

    @property
    def has_image(self) -> bool:
        """Whether at least one image has arrived whole."""
        return bool(self._images)

    def close(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the rest, with an index for each image, and the images."""
        if self._inside_image:
            self._give_up(b"")
        return bytes(self._rest), tuple(self._images)

    def _outside(self, data: bytes | bytearray, at: int) -> int:
        """Collect text up to the next image; returns where to go on."""
        before = len(self._rest)
        self._rest += memoryview(data)[at : at + _STEP]
        match = self._key.search(self._rest, max(self._settled, self._searched - _OVERLAP))
        if match is None:
            self._searched = len(self._rest)
            return at + self._searched - before
        start = match.end()
        del match  # it holds the buffer, which could not be cut below
        del self._rest[start - 1 :]
        self._inside_image, self._decoded = True, io.BytesIO()
        return at + start - before

    def _inside(self, data: bytes | bytearray, at: int) -> int:
        """Decode up to the end of the image or of the data; returns where to go on."""
        end = data.find(b'"', at)
        stop = len(data) if end < 0 else end
        view = memoryview(data)[at:stop]
        # Those that wait are made four, so that the many behind them need not be copied.
        missing = -len(self._tail) % 4
        waiting, rest, self._tail = self._tail + view[:missing], view[missing:], b""
        if end < 0 and not rest:
            self._tail = waiting
            return stop
        if end < 0 and self._interleaved and not self._decoded.tell():
            self._decoded = _set_apart()
        # The last four letters wait for what follows them: only at the end may padding be.
        whole = len(rest) if end >= 0 else (len(rest) - 1) // 4 * 4
        try:
            self._decode(waiting, last=not rest)
            waiting = b""
            self._decode(rest[:whole], last=end >= 0)
        except ValueError:
            self._give_up(waiting + rest)
            return stop
        self._tail = bytes(rest[whole:])
        if end < 0:
            return stop
        self._finish()
        return end + 1

    def _decode(self, text: Body, *, last: bool) -> None:
        import pybase64

        if text and text[-1] == _PADDING and not last:
            raise ValueError("padding in the middle")
        decoded = pybase64.b64decode(text, validate=True)
        if last and not self._decoded.tell():  # the whole image, which is not copied
            self._decoded = io.BytesIO(decoded)
            self._decoded.seek(0, io.SEEK_END)
        else:
            self._decoded.write(decoded)

    def _finish(self) -> None:
        """Put an index in the image's place."""
        self._rest += b"%d" % len(self._images)
        self._settled = self._searched = len(self._rest)
        self._images.append(self._taken())
        self._inside_image, self._decoded = False, io.BytesIO()

    def _taken(self) -> bytes:
        """Return what is decoded; a BytesIO hands over its buffer without a copy."""
        self._decoded.truncate()
        return self._decoded.getvalue()

    def _give_up(self, text: Body) -> None:
        """Leave what is no plain base64 as the text it was."""
        import pybase64

        self._rest += b'"' + pybase64.b64encode(self._taken()) + self._tail + text
        self._settled = self._searched = len(self._rest)
        self._inside_image, self._decoded, self._tail = False, io.BytesIO(), b""


def _set_apart() -> io.BytesIO:
    try:
        return io.BytesIO(bytes(_APART))
    except MemoryError:  # the process has a limit (RLIMIT_AS): it grows as it must
        return io.BytesIO()


def split(body: Body) -> tuple[bytes, tuple[bytes, ...]]:
    """Split a whole body into its text and its images."""
    splitter = Base64Extractor()
    splitter.feed(body)
    return splitter.close()


def reassemble(rest: Body, images: tuple[bytes, ...], key: str = _IMAGE) -> bytes:
    """Return the body as it arrived: what `split` took apart, put together again."""
    import pybase64

    def text(match: re.Match[bytes]) -> bytes:
        index = int(match[2])
        known = index < len(images)
        return b'%b"%b"' % (match[1], pybase64.b64encode(images[index])) if known else match[0]

    if not images:
        return bytes(rest)
    return re.sub(b"(" + _named(key) + rb")(\d+)", text, bytes(rest))


def parse(rest: Body, images: tuple[bytes, ...] = ()) -> ParsedBody:
    """Parse a body that was split, or one that is still whole.

    Raises:
        ValueError: It is not JSON.
    """
    if not images:
        rest, images = split(rest)
    return ParsedBody(loads(bytes(rest)), images)


def read(rest: Body, images: tuple[bytes, ...] = ()) -> ParsedBody:
    """Parse a whole reply in whatever wrapping it came: see ``_wrapped``.

    Raises:
        ValueError: It is none that can be read.
    """
    if not images:
        rest = _unpacked(rest)
        if is_bare_image(head := bytes(rest[:16])) and head:
            return ParsedBody({"data": [{"b64_json": 0}]}, (bytes(rest),))
        rest, images = split(_as_utf8(rest))
    try:
        document = ParsedBody(loads(bytes(rest)), images)
    except ValueError:
        value = from_events(bytes(rest), images)
        if value is None:
            raise
        document = ParsedBody(value, images)
    inner = document.value
    if isinstance(inner, str) and inner.lstrip().startswith(("{", "[")):
        # A gateway encoded the JSON once more, as a string; what is inside begins as no string.
        return read(inner.encode("utf-8", "replace"))
    return evolve(document, value=normal(document.value))


def extract_complete_images(rest: Body, images: tuple[bytes, ...] = ()) -> ParsedBody:
    """Return the whole images of a body that is cut short or otherwise no JSON."""
    found = images or split(rest)[1]
    data = [{"b64_json": index} for index in range(len(found))]
    return ParsedBody({"data": data}, found, cut_short=True)


def image_of(item: Mapping[str, Any], document: ParsedBody) -> bytes | None:
    """Return the bytes of a reply's entry or of an event, or None when it has none.

    Raises:
        ValueError: They are not base64.
    """
    found = item.get("b64_json")
    if isinstance(found, int) and not isinstance(found, bool):
        return (0 <= found < len(document.images) and document.images[found]) or None
    return decode(found.encode("utf-8", "replace")) if isinstance(found, str) and found else None


def decoded_images(body: Body) -> list[bytes]:
    """Return the bytes of every image that can be read from a raw reply, for recovery."""
    try:
        document = read(body)
    except ValueError:
        document = extract_complete_images(body)
    found: list[bytes] = []
    for item in items(document.value):
        try:
            found.append(image_of(item, document) or b"")
        except ValueError:
            continue
    return [data for data in found if data]


def _unpacked(body: Body) -> Body:
    """Return a body that is still packed with gzip because its header did not say so.

    Raises:
        ValueError: It is broken, or unpacks to more than any reply has.
    """
    if bytes(body[:2]) != b"\x1f\x8b":
        return body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, _LARGEST)
    except zlib.error as error:
        raise ValueError("the reply is packed with gzip, and broken") from error
    if unpacker.unconsumed_tail:
        raise ValueError(f"the reply unpacks to more than {_LARGEST:,} bytes")
    return plain


def _as_utf8(body: Body) -> Body:
    """Return a body in UTF-16 or UTF-32, which some gateways send, in the encoding of JSON."""
    encoding = json.detect_encoding(bytes(body[:4]))
    if encoding.startswith("utf-8"):
        return body
    return bytes(body).decode(encoding, "replace").encode("utf-8", "replace")


def _named(key: str) -> bytes:
    """Return the pattern of a real key and its colon."""
    return rb'(?<!\\)"' + re.escape(key.encode()) + rb'"\s*:\s*'


def loads(text: bytes) -> Any:
    """Return the JSON of a reply: no image is lost because of a broken letter or a NaN beside it.

    What is no number a program can use (NaN, thousands of digits) stays as text, so that
    whoever wants a number sees that there was none.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(
            text.decode("utf-8-sig", "replace"), strict=False, parse_constant=str, parse_int=_whole
        )
    except RecursionError as error:
        raise ValueError("the reply is nested too deeply") from error


def _whole(digits: str) -> int | str:
    """Return a whole number; Python refuses to read one of thousands of digits."""
    return int(digits) if len(digits) <= _MAX_DIGITS else digits[:_MAX_DIGITS]
