"""OpenAI's Batch API: requests to lines of a file, a batch's state, and lines of output to replies.

Pure: no I/O, no clock. Inputs of edits are named by the ids of uploaded files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from attrs import evolve, field, frozen

from gptimage._internal.json import MAX_LABEL, count, label, prose, table
from gptimage._internal.lenient_base64 import decode
from gptimage.errors import ApiError, InvalidRequestError
from gptimage.image.image import Image
from gptimage.models.sizes import Size
from gptimage.providers.openai.images import EDIT_PATH, GENERATE_PATH
from gptimage.transport.base64_body import parse
from gptimage.transport.http import FilePart, HttpReply, HttpRequest
from gptimage.types.parameters import WIRE_NAMES
from gptimage.types.request import Edit, FileRef, Generate


MAX_LINES: Final = 50_000
MAX_BYTES: Final = 200_000_000
"""Limits of one input file (the SDK's ``batch_create_params``)."""

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which nothing more will happen."""

_LONGEST: Final = 600

_OK: Final = 200
_STOPPED_WAITING: Final = 408
_TIMEOUT: Final = "request_timeout"
"""Of a line's error: the batch stopped waiting for the model, which may have drawn. The other codes
of the service, ``batch_expired`` and ``batch_cancelled``, are of requests it did not come to."""

"""Characters of an error's message that are shown."""

_SLOTS: Final = ("mask", "markup")
_OURS: Final = {wire: ours for ours, wire in WIRE_NAMES.items()}
_SPECIAL: Final = frozenset({"model", "prompt", "size", "images", "stream", *_SLOTS})


@frozen(kw_only=True)
class BatchPart:
    """One batch as the service knows it; a large job is several.

    Attributes:
        id: Its id, ``batch_...``.
        status: ``validating``, ``in_progress``, ``finalizing``, ``completed``, ``failed``,
            ``expired``, ``cancelling`` or ``cancelled``.
        total: Requests in it; 0 while its file is being checked.
        completed: Requests answered with images.
        failed: Requests that failed.
        output_file_id: The file of answers, or None.
        error_file_id: The file of failures, or None.
        input_file_id: The file of requests.
        problems: Why the service refused the file, one sentence each.
    """

    id: str
    status: str
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    input_file_id: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED


@frozen(kw_only=True)
class OutputLine:
    """One line of an output or error file.

    Attributes:
        custom_id: Which request it answers.
        reply: The answer as the endpoint gave it, or None.
        error: Why there is none, or None.
    """

    custom_id: str
    reply: HttpReply | None = field(default=None, repr=False)
    error: ApiError | None = None


def upload(part: FilePart, purpose: str) -> HttpRequest:
    """``POST /files``."""
    file = evolve(part, name="file")
    return HttpRequest(method="POST", path="/files", body={"purpose": purpose}, files=(file,))


def create(file_id: str, endpoint: str, metadata: Mapping[str, str]) -> HttpRequest:
    """``POST /batches``."""
    body = {
        "input_file_id": file_id,
        "endpoint": f"/v1{endpoint}",
        "completion_window": "24h",
        "metadata": dict(metadata),
    }
    return HttpRequest(method="POST", path="/batches", body=body)


def images(wire: HttpRequest) -> Iterator[FilePart]:
    """Yield the images of a request, in order, that are to be uploaded before it can be a line."""
    yield from wire.files
    for reference in _references(wire.body):
        if (url := reference.get("image_url")) is not None:
            # A data URL the library made itself, for an edit that has to go as JSON.
            image = Image.from_bytes(decode(url.partition(",")[2].encode()))
            yield FilePart(
                name="images",
                filename=f"image.{image.extension}",
                content_type=image.mime_type,
                data=image.data,
            )


def body_of(wire: HttpRequest, uploaded: list[str]) -> dict[str, object]:
    """Return the JSON body of a line, with the ids of its `images` in their places."""
    body, ids = dict(wire.body), iter(uploaded)
    for part in wire.files:
        reference = {"file_id": next(ids)}
        if part.name in _SLOTS:
            body[part.name] = reference
        else:
            body["images"] = [*cast("list[object]", body.get("images") or []), reference]
    if not wire.files and "images" in body:
        body["images"] = [_named(each, ids) for each in cast("list[object]", body["images"])]
        body |= {slot: _named(body[slot], ids) for slot in _SLOTS if slot in body}
    return body


def line(custom_id: str, path: str, body: Mapping[str, object]) -> bytes:
    """Return a line of the input file, with its newline."""
    return compact({"custom_id": custom_id, "method": "POST", "url": f"/v1{path}", "body": body})


def compact(value: object) -> bytes:
    """Return a JSON value on a line of its own, with its newline."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, only an escape
        text = json.dumps(value, separators=(",", ":")).encode()
    return text + b"\n"


def request_of(path: str, body: Mapping[str, Any], size: str | None = None) -> Generate:
    """Return the request a line asks for; ``size`` is the exact one, where a larger one is drawn.

    Raises:
        InvalidRequestError: It is no request for images.
    """
    try:
        values: dict[str, Any] = {
            "model": str(body["model"]),
            "prompt": str(body["prompt"]),
            "size": _size(size or body.get("size")),
        }
        values |= {_OURS[name]: value for name, value in body.items() if name in _OURS}
        extra = {k: v for k, v in body.items() if k not in _OURS and k not in _SPECIAL}
        values["extra_body"] = extra or None
        if path == GENERATE_PATH:
            return Generate(**values)
        images = tuple(_file(each) for each in body["images"])
        values |= {slot: _file(body[slot]) for slot in _SLOTS if slot in body}
        return Edit(**values, images=images)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"a line of the batch is no request for images ({error!r})",
            field="batch",
            allowed=(GENERATE_PATH, EDIT_PATH),
        ) from error


def part_of(value: object) -> BatchPart | None:
    """Return a batch object of the service, or None when it is none."""
    batch = table(value)
    counts = table(batch.get("request_counts"))
    id, status = label(batch.get("id")), label(batch.get("status"))
    if id is None or status is None:
        return None
    data = table(batch.get("errors")).get("data")
    problems = cast("list[object]", data if isinstance(data, list) else [])
    return BatchPart(
        id=id,
        status=status,
        total=count(counts.get("total")) or 0,
        completed=count(counts.get("completed")) or 0,
        failed=count(counts.get("failed")) or 0,
        # Azure writes "" where there is no file, and so does OpenAI now and then.
        output_file_id=label(batch.get("output_file_id")),
        error_file_id=label(batch.get("error_file_id")),
        input_file_id=label(batch.get("input_file_id")),
        problems=tuple(_problem(table(each)) for each in problems),
    )


def read_line(rest: bytes, images: tuple[bytes, ...] = ()) -> OutputLine:
    """Read one line of an output or error file.

    Args:
        rest: The line, or what is left of it when its images were taken out.
        images: The images taken out.

    Raises:
        ValueError: It is no such line.
    """
    document = parse(rest, images)
    value = table(document.value)
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str):
        raise ValueError("a line of the output names no request")
    response = table(value.get("response"))
    status = count(response.get("status_code"))
    error, body = table(value.get("error")), response.get("body")
    if body is None and error.get("code") == _TIMEOUT:
        status, body = _STOPPED_WAITING, {"error": error}
    if not error and status is None:
        status = _OK  # nothing says that it was not executed
    if status is not None and (body is not None or not error):
        reply = HttpReply(
            status=status, headers=_headers(response), body=_body(body), images=document.images
        )
        return OutputLine(custom_id=custom_id[:MAX_LABEL], reply=reply)
    message = _told(error.get("message")) or "the batch gives no reason"
    code = label(error.get("code"))
    return OutputLine(
        custom_id=custom_id[:MAX_LABEL],
        error=ApiError(message, status=200, code=code, body=error, request_id=_id(response)),
    )


def _body(value: object) -> bytes:
    try:
        return json.dumps(value).encode()
    except RecursionError as error:
        raise ValueError("the response is nested too deeply") from error


def _told(value: object) -> str | None:
    """Return what an error says, short enough for a message."""
    return (prose(value) or "")[:_LONGEST] or None


def _headers(response: Mapping[str, Any]) -> dict[str, str]:
    request_id = _id(response)
    named = {"x-request-id": request_id} if request_id else {}
    return {"content-type": "application/json", **named}


def _id(response: Mapping[str, Any]) -> str | None:
    return label(response.get("request_id"))


def _references(body: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    images = body.get("images")
    for each in cast("list[object]", images if isinstance(images, list) else []):
        yield table(each)
    for slot in _SLOTS:
        yield table(body.get(slot))


def _named(reference: object, ids: Iterator[str]) -> object:
    return {"file_id": next(ids)} if "image_url" in table(reference) else reference


def _file(reference: object) -> FileRef:
    known = table(reference)
    return FileRef(str(known.get("file_id") or "an address"))


def _size(text: object) -> Size | None:
    return None if text is None else Size.parse(str(text))


def _problem(error: Mapping[str, Any]) -> str:
    number = error.get("line")
    where = f"line {number}: " if count(number) else ""
    why = _told(error.get("message")) or label(error.get("code")) or "no reason is given"
    return where + why
