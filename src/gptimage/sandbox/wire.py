"""One shape for a request, whichever door it came through.

In process a request holds Python values; over HTTP it holds JSON, or form fields that
are all text. `as_sent` turns the first into what the second would have been, so that
the rules see, and the log keeps, the same thing.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import BufferedIOBase
from typing import Any, Final, TypeVar, cast

from attrs import evolve, frozen

from gptimage._internal.data import data_text
from gptimage.sandbox import failures
from gptimage.transport.http import FilePart, HttpRequest


T = TypeVar("T")


# Reads the body of an HTTP/1.1 request: counted or chunked, up to a limit, in large pieces.

_LARGEST: Final = 1_000_000_000
"""Sixteen inputs of 50 MB, a mask and a markup fit; bytes."""
_LINE: Final = 4096


class BadBodyError(Exception):
    """The body cannot be read; the connection is of no further use.

    Attributes:
        status: The HTTP status of the reply.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status: int = status


def read_body(stream: BufferedIOBase, headers: Mapping[str, str]) -> bytearray:
    """Return the whole body a request announces.

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
            raise BadBodyError(400, "a chunk is longer than its stated size")
    while stream.readline(_LINE) not in {b"\r\n", b"\n", b""}:
        pass  # trailers
    return body


# Splits a multipart form body (RFC 7578) strictly, in one pass.

_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME: Final = re.compile(rb'[;\s]name="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)
_FILENAME: Final = re.compile(rb'[;\s]filename="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)
_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n;]+)", re.IGNORECASE | re.MULTILINE)
_HEADER_LIMIT: Final = 8192
_PART_LIMIT: Final = 1000


def split(body: bytes | bytearray, content_type: str) -> tuple[dict[str, object], list[FilePart]]:
    """Return the text fields and the files of a form.

    A field given several times becomes a list.

    Raises:
        ValueError: The body is not a whole, well-formed form.
    """
    fields: dict[str, object] = {}
    files: list[FilePart] = []
    for head, data in _parts(body, content_type):
        if not (name := _NAME.search(head)):
            raise ValueError("a part has no name")
        key = _unquoted(name[1])
        if filename := _FILENAME.search(head):
            kind = _TYPE.search(head)
            mime = kind[1].strip().lower().decode("latin-1") if kind else "text/plain"
            files.append(
                FilePart(name=key, filename=_unquoted(filename[1]), content_type=mime, data=data)
            )
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"the part '{key[:100]}' is no text, and has no filename") from error
        if key in fields:
            earlier = fields[key]
            fields[key] = [*earlier, text] if isinstance(earlier, list) else [earlier, text]
        else:
            fields[key] = text
    return fields, files


def _parts(body: bytes | bytearray, content_type: str) -> Iterator[tuple[bytes, bytes]]:
    """Headers and content of each part; every byte of the body is looked at once."""
    if not (found := _BOUNDARY.search(content_type)):
        raise ValueError("no boundary")
    mark = b"--" + (found[1] or found[2]).encode("latin-1")
    if not body.startswith(mark):
        raise ValueError("the body does not begin with its boundary")
    at = len(mark)
    for _ in range(_PART_LIMIT):
        if body[at : at + 2] == b"--":
            return
        head_end = body.find(b"\r\n\r\n", at, at + _HEADER_LIMIT)
        if body[at : at + 2] != b"\r\n" or head_end < 0:
            raise ValueError("a part has no headers")
        end = body.find(b"\r\n" + mark, head_end + 2)
        if end < 0:
            raise ValueError("the form is cut short")
        yield bytes(body[at + 2 : head_end]), bytes(memoryview(body)[head_end + 4 : end])
        at = end + 2 + len(mark)
    raise ValueError("too many parts")


def _unquoted(text: bytes) -> str:
    plain = re.sub(rb"\\(.)", rb"\1", text).decode("utf-8", "replace")
    return plain.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


# What the endpoints take, from ``accepted.toml``.


@cache
def _endpoints() -> dict[str, dict[str, Any]]:
    return tomllib.loads(data_text(__name__, "accepted.toml"))


def accepted(endpoint: str, what: str) -> tuple[str, ...]:
    """Return names that an endpoint takes."""
    return tuple(_endpoints()[endpoint][what])


def usual_headers() -> dict[str, str]:
    """Return the headers of every reply, but for those that differ from one to the next."""
    return dict(_endpoints()["headers"])


# Reads parameters strictly: JSON types from JSON, text from forms.

_WHOLE: Final = re.compile(r"-?\d{1,18}")


@frozen
class Reader:
    """The parameters of one request, or of an object inside it.

    Attributes:
        body: The values as they were sent.
        form: Whether they came from a multipart form, where everything is text.
        prefix: The path of the object, such as ``svg.``.
    """

    body: Mapping[str, object]
    form: bool
    prefix: str = ""

    def only(self, known: Iterable[str]) -> None:
        """Refuse parameters that are not known, and those given twice."""
        allowed = frozenset(known)
        for name, value in self.body.items():
            if name not in allowed:
                raise failures.unknown(f"{self.prefix}{name}"[:200])
            if self.form and isinstance(value, list):
                raise failures.duplicate(f"{self.prefix}{name}")

    def given(self, name: str) -> bool:
        """Return whether a parameter was sent with a value other than null."""
        return self.body.get(name) is not None

    def text(self, name: str, *, limit: int | None = None, required: bool = False) -> str | None:
        """Return a string; None when left out."""
        param = self.prefix + name
        if required and name not in self.body:
            raise failures.missing(param)
        value: str | None = self._typed(name, "a string", str, required=required)
        if required and not value:
            raise failures.empty(param)
        if value and limit is not None and len(value) > limit:
            raise failures.refusal("too_long", param, length=len(value), limit=limit)
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        """Return a string from a list; None when left out."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise failures.not_one_of(self.prefix + name, value, allowed)
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return an integer within limits; None when left out."""
        value: int | None = self._typed(name, "an integer", int)
        return value if value is None else int(self._within(name, value, low, high))

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a number within limits; None when left out."""
        value: float | None = self._typed(name, "a decimal number", int, float)
        return value if value is None else self._within(name, value, low, high)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value: bool | None = self._typed(name, "a boolean", bool)
        return default if value is None else value

    def array(self, name: str) -> list[object]:
        """Return an array; empty when left out."""
        return list(self._typed(name, "an array", list) or ())

    def object(self, name: str) -> Reader | None:
        """Return a nested object; None when left out."""
        return self._nested(self.prefix + name, self.body[name]) if self.given(name) else None

    def objects(self, name: str) -> list[Reader]:
        """Return the objects of an array; empty when left out."""
        path = self.prefix + name
        return [self._nested(f"{path}[{at}]", each) for at, each in enumerate(self.array(name))]

    def image_source(self, limit: int | None = None) -> tuple[str | None, str | None]:
        """Return ``image_url`` and ``file_id``, of which an object has exactly one."""
        url, file_id = self.text("image_url", limit=limit), self.text("file_id")
        if (url is None) == (file_id is None):
            param = self.prefix[:-1]
            message = f"Invalid '{param}': provide exactly one of 'image_url' or 'file_id'."
            raise failures.ErrorReply(message, code="invalid_value", param=param)
        return url, file_id

    def metadata(self) -> dict[str, Any]:
        """Return ``metadata``: at most 16 pairs of short texts; empty when left out."""
        read = self.object("metadata")
        pairs = dict(read.body) if read else {}
        for name, value in pairs.items():
            param = f"metadata.{name[:64]}"
            if not isinstance(value, str):
                raise failures.wrong_type(param, "a string", value)
            if len(name) > 64 or len(value) > 512:
                raise failures.ErrorReply(f"Invalid '{param}': too long.", param="metadata")
        if len(pairs) > 16:
            message = "Invalid 'metadata': too many properties."
            raise failures.ErrorReply(message, param="metadata")
        return pairs

    def _typed(self, name: str, expected: str, *kinds: type, required: bool = False) -> Any:
        """Return a value of one of these types; None when left out."""
        value = self.body.get(name)
        if self.form and isinstance(value, str):
            if kinds == (bool,):
                value = {"true": True, "false": False}.get(value, value)
            elif kinds == (int,) and _WHOLE.fullmatch(value):
                value = int(value)
        if value is None and not required:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,)):
            raise failures.wrong_type(self.prefix + name, expected, value)
        return value

    def _within(self, name: str, value: float, low: float, high: float) -> float:
        if not low <= value <= high:
            raise failures.out_of_range(self.prefix + name, value, low, high)
        return value

    def _nested(self, path: str, value: Any) -> Reader:
        if not isinstance(value, dict):
            raise failures.wrong_type(path, "an object", value)
        return Reader(cast("dict[str, object]", value), self.form, f"{path}.")


def excess(
    values: Mapping[str, T], size: Callable[[T], int], *, most: int, most_bytes: int
) -> Iterator[str]:
    """Yield the ids of the oldest values to delete, until the others are few and small enough."""
    while len(values) > 1 and (len(values) > most or sum(map(size, values.values())) > most_bytes):
        yield next(iter(values))


def page(
    read: Reader, values: Sequence[Mapping[str, object]], *, most: int, default: int = 20
) -> dict[str, object]:
    """Return one page of a list, as the query's ``limit`` and ``after`` ask for it."""
    limit, after = read.whole("limit", 1, most) or default, read.text("after")
    if after is not None:
        ids = [value["id"] for value in values]
        values = values[ids.index(after) + 1 :] if after in ids else []
    shown = [dict(value) for value in values[:limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(values) > limit,
    }


MULTIPART: Final = "multipart/form-data"


def is_multipart(request: HttpRequest) -> bool:
    """Return whether the request is a form: it has files, or says it is one."""
    return bool(request.files) or request.headers.get("content-type", "").startswith(MULTIPART)


def as_sent(request: HttpRequest) -> HttpRequest:
    """Return the request as it arrives at the service.

    Raises:
        TypeError: A value has no JSON form.
        ValueError: A number has no JSON form (NaN, infinity), or a value contains itself.
    """
    if is_multipart(request):
        files = tuple(evolve(part, data=part.read(), path=None) for part in request.files)
        return evolve(request, body=dict(_form_fields(request.body)), files=files)
    return evolve(request, body=json.loads(json.dumps(dict(request.body), allow_nan=False)))


def _form_fields(body: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested values as ``svg[model]`` fields, written the way OpenAI's SDK writes them."""
    for name, value in body.items():
        key = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            yield from _form_fields(cast("Mapping[str, object]", value), key)
        elif isinstance(value, list):  # a field sent several times
            yield key, [_field(item) for item in cast("list[object]", value)]
        elif (text := _field(value)) != "":
            yield key, text


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def nested(body: Mapping[str, object]) -> dict[str, object]:
    """``svg[model]`` fields as nested objects again."""
    tree: dict[str, Any] = {}
    for key, value in body.items():
        names = key.replace("]", "").split("[") if key.endswith("]") else [key]
        if names[-1] == "":  # an array of text, which no parameter is
            names = [key]
        node = tree
        for name in names[:-1]:
            if not isinstance(node.setdefault(name, {}), dict):
                node[name] = {}  # ``svg=a&svg[model]=b``: the object wins
            node = node[name]
        node[names[-1]] = value
    return tree
