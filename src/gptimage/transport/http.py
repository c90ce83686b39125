"""Plain values for what crosses the wire: a request, a reply, a server-sent event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from gptimage._internal.json import label
from gptimage.secrets import scrub


# No mapping proxy: a turn that holds its request is pickled on the way from the process that draws.
NO_HEADERS: Final[Mapping[str, str]] = {}


class ExchangeError(Exception):
    """What no HTTP library wraps broke an exchange off; the cause says what it was."""


@frozen(kw_only=True)
class FilePart:
    """One file of a multipart body.

    Attributes:
        name: The form field, such as ``image[]`` or ``mask``.
        filename: The name sent along; its extension fits the bytes.
        content_type: The true MIME type, such as ``image/png``.
        data: The bytes; empty when they are in a file.
        path: The file of bytes that are too many to hold, or None; see `read`.
    """

    name: str
    filename: str
    content_type: str
    data: bytes = field(default=b"", repr=False)
    path: Path | None = None

    def read(self) -> bytes:
        """Return the bytes, wherever they are."""
        return self.data if self.path is None else self.path.read_bytes()


@frozen(kw_only=True)
class HttpRequest:
    """A request before it is encoded; multipart when it has files, JSON otherwise.

    Attributes:
        method: ``GET`` or ``POST``.
        path: Below the base URL, such as ``/images/generations``.
        body: JSON values; in a multipart request, the form fields.
        files: The files of a multipart request, in order.
        headers: Extra headers with lower-case names, never the key.
        timeout: Seconds to wait for this response; None leaves it to the transport.
        image_key: Under which name the answer's JSON has its images, in base64.
        provider: The provider it goes to, where that is not the client's own.
    """

    method: str
    path: str
    body: Mapping[str, object] = field(factory=dict[str, object], repr=False)
    files: tuple[FilePart, ...] = ()
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False)
    timeout: float | None = None
    image_key: str = "b64_json"
    provider: str = ""

    @property
    def stream(self) -> bool:
        """Whether the response is requested as server-sent events."""
        return self.body.get("stream") is True


@frozen(kw_only=True)
class HttpReply:
    """A whole reply, whatever its status.

    Attributes:
        status: The HTTP status code.
        headers: Header values under lower-case names.
        body: The bytes as they arrived; where ``images`` were taken out of them while they
            arrived, each one's base64 is replaced by its number (see ``_reply.Splitter``).
        images: The images taken out, decoded.
    """

    status: int
    headers: Mapping[str, str] = NO_HEADERS
    body: bytes | bytearray = field(default=b"", repr=False)
    images: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def is_success(self) -> bool:
        """Whether its status is one of success: 200 to 299."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str | None:
        """The service's id of the request (``x-request-id``), when it is one."""
        return label(scrub(self.headers.get("x-request-id", "")))

    @property
    def content_type(self) -> str:
        """The MIME type without its parameters, lower case, or an empty string."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@frozen(kw_only=True)
class ServerEvent:
    """One server-sent event.

    Attributes:
        name: The ``event:`` field, or an empty string.
        data: The ``data:`` lines joined by a newline, as bytes of JSON.
    """

    name: str = ""
    data: bytes | bytearray = field(default=b"", repr=False)


# Splits a byte stream into server-sent events, of any size, in linear time.
#
# It does no I/O, so both transports share it. Events stay bytes: an image of 30 MB is
# never turned into text. Unlike a browser's parser it also hands over an event that the
# stream ended in, because that event may be an image that was paid for; whoever
# parses it finds out whether it is whole.

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
        """Yield the events this chunk completes."""
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
        """Yield the event the stream ended in, if any."""
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
