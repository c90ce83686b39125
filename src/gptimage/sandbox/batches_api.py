"""The Batch API, offline: ``/batches`` over uploaded JSONL files, as strict as the service's.

A batch moves on each time somebody looks at it, never by itself: the first look checks its
file, each later one works on some of its lines. So tests see every state, and in order.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from gptimage._internal.json import table
from gptimage.sandbox.failures import ErrorReply, missing
from gptimage.sandbox.models_files_api import Uploads, expiry
from gptimage.sandbox.wire import Reader, accepted, page
from gptimage.transport.http import HttpReply, HttpRequest


# Checks a batch's file of requests, line by line, and says what is wrong as the service does.
#
# The words of most problems were recorded from the service by others; those of a wrong method, of
# too many lines and of a line that is no object were not, and are ours.

MAX_LINES: Final = 50_000
MAX_BYTES: Final = 200 * 1024 * 1024
_NEEDED: Final = ("custom_id", "method", "url", "body")
_KINDS: Final = {"custom_id": str, "method": str, "url": str, "body": dict}


@frozen
class Problem:
    """One entry of a failed batch's ``errors``.

    Attributes:
        code: The machine-readable code.
        message: The sentence.
        param: What is wrong, such as ``body.model``, or None.
        line: The line of the file, from 1, or None.
    """

    code: str
    message: str
    param: str | None = field(default=None, kw_only=True)
    line: int | None = field(default=None, kw_only=True)

    def value(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return {
            "code": self.code, "message": self.message, "line": self.line, "param": self.param
        }  # fmt: skip


@define
class Input:
    """A file of requests that was read.

    Attributes:
        total: How many lines it has.
        lines: Those that are in order.
        problems: What is wrong with the others.
    """

    total: int = 0
    lines: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    problems: list[Problem] = field(factory=list[Problem])


def read_input(data: bytes, endpoint: str, serves: Callable[[str], bool]) -> Input:
    """Check every line.

    Args:
        data: The file.
        endpoint: The batch's endpoint.
        serves: Whether batches of a model are drawn.
    """
    texts = data.splitlines()
    found = Input(total=len(texts))
    if len(data) > MAX_BYTES or len(texts) > MAX_LINES:
        message = f"The batch input file is larger than {MAX_LINES} requests or {MAX_BYTES} bytes."
        found.problems.append(Problem("too_many_tasks", message))
        return found
    check = _Checker(endpoint, serves)
    for number, text in enumerate(texts, 1):
        line, problem = check.line(text)
        if problem is None:
            found.lines.append(line)
        else:
            code, message, param = problem
            found.problems.append(Problem(code, message, param=param, line=number))
    return found


class _Checker:
    """Remembers names and the model from line to line."""

    def __init__(self, endpoint: str, serves: Callable[[str], bool]) -> None:
        self._endpoint = endpoint
        self._serves = serves
        self._seen: set[str] = set()
        self._model: str | None = None

    def line(self, text: bytes) -> tuple[dict[str, Any], tuple[str, str, str | None] | None]:
        try:
            line = table(json.loads(text))
        except (ValueError, RecursionError):
            return {}, ("invalid_json_line", "This line is not parseable as valid JSON.", None)
        return line, self._form(line) or self._body(line["body"]) or self._name(line["custom_id"])

    def _form(self, line: dict[str, Any]) -> tuple[str, str, str] | None:
        for name in _NEEDED:
            if not line.get(name) or not isinstance(line[name], _KINDS[name]):
                message = f"Missing required parameter: '{name}'."
                return "missing_required_parameter", message, name
        if line["method"] != "POST":
            message = f"Invalid value: '{line['method'][:40]}'. Supported values are: 'POST'."
            return "invalid_value", message, "method"
        if line["url"] != self._endpoint:
            message = "The URL provided for this request does not match the batch endpoint."
            return "invalid_url", message, "url"
        return None

    def _body(self, body: dict[str, Any]) -> tuple[str, str, str] | None:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            return "invalid_request", "Model parameter is required.", "body.model"
        if not self._serves(model):
            message = f"The provided model '{model[:100]}' is not supported by the Batch API."
            return "model_not_found", message, "body.model"
        if body.get("stream"):
            message = "Streaming is not supported in the Batch API."
            return "streaming_unsupported", message, "body.stream"
        if self._model not in (None, model):
            message = (
                f"The model '{model}' for this request does not match the rest of the batch. "
                "Each batch must contain requests for a single model."
            )
            return "mismatched_model", message, "body.model"
        self._model = model
        return None

    def _name(self, name: str) -> tuple[str, str, str] | None:
        if name in self._seen:
            message = (
                f"The custom_id '{name[:100]}' for this request is a duplicate of another request."
                " The custom_id parameter must be unique for each request in a batch."
            )
            return "duplicate_custom_id", message, "custom_id"
        self._seen.add(name)
        return None


ENDPOINTS: Final = accepted("batches", "endpoints")
"""What the service takes batches for."""

WINDOW: Final = 24 * 3600
"""Seconds after which a batch expires."""

_FIELDS: Final = (
    "input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"
)  # fmt: skip
_WORKING: Final = ("validating", "in_progress", "finalizing")
_EXPIRED: Final = "This request could not be executed before the completion window expired."


@define(kw_only=True)
class _Batch:
    """One batch and its lines."""

    about: dict[str, Any]
    lifetime: int | None = None
    lines: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    done: int = 0
    output: bytearray = field(factory=bytearray)
    errors: bytearray = field(factory=bytearray)
    lock: threading.Lock = field(factory=threading.Lock)


class Batches:
    """Every batch of a sandbox.

    Args:
        uploads: The uploaded files; outputs go there, too.
        work: Replies to one request of a batch as its endpoint would.
        serves: Whether batches of a model are drawn.
        now: Tells the time, in whole seconds since 1970.

    Attributes:
        lines_per_look: How many requests are drawn at each look; None for all.
    """

    def __init__(
        self,
        uploads: Uploads,
        work: Callable[[HttpRequest], HttpReply],
        serves: Callable[[str], bool],
        *,
        now: Callable[[], int],
    ) -> None:
        self._uploads = uploads
        self._work = work
        self._serves = serves
        self._now = now
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.Lock()
        self.lines_per_look: int | None = None

    def handle(self, request: HttpRequest, path: Sequence[str]) -> dict[str, Any] | None:
        """Return the response to a request about batches; None for any other.

        Raises:
            Refusal: It is wrong.
        """
        match request.method, *path:
            case "POST", "batches":
                return self.create(request)
            case "GET", "batches":
                return self.listed({name: str(value) for name, value in request.body.items()})
            case "GET", "batches", str(batch_id):
                return self.look(batch_id)
            case "POST", "batches", str(batch_id), "cancel":
                return self.cancel(batch_id)
            case _:
                return None

    def create(self, request: HttpRequest) -> dict[str, Any]:
        """``POST /batches``.

        What is wrong with the file itself is found later, when it is checked.

        Raises:
            Refusal: A parameter is wrong.
        """
        read = Reader(request.body, form=False)
        read.only(_FIELDS)
        file_id = read.text("input_file_id", required=True) or ""
        for name, allowed in (("endpoint", ENDPOINTS), ("completion_window", ("24h",))):
            if read.choice(name, allowed) is None:
                raise missing(name)
        if not str(request.body["endpoint"]).startswith("/v1/images/"):
            raise ErrorReply("The sandbox takes batches of images only.", param="endpoint")
        lifetime = expiry(read, "output_expires_after")
        now = self._now()
        about: dict[str, Any] = {
            "id": f"batch_{uuid.uuid4().hex[:24]}",
            "object": "batch",
            "endpoint": request.body["endpoint"],
            "errors": None,
            "input_file_id": file_id,
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "expires_at": now + WINDOW,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": read.metadata() if read.given("metadata") else None,
        }
        with self._lock:
            self._batches[about["id"]] = _Batch(about=about, lifetime=lifetime)
        return dict(about)

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        """``GET /batches``, newest first.

        Raises:
            Refusal: The limit or the cursor is wrong.
        """
        read = Reader(dict(query), form=True)
        read.only(("limit", "after"))
        with self._lock:
            found = [batch.about for batch in reversed(self._batches.values())]
        return page(read, found, most=100)

    def look(self, batch_id: str) -> dict[str, Any]:
        """``GET /batches/{id}``; the batch gets on with its work first.

        Raises:
            Refusal: There is no such batch.
        """
        batch = self._find(batch_id)
        with batch.lock:
            if batch.about["status"] == "cancelling":
                self._close(batch, "cancelled")
            elif batch.about["status"] in _WORKING:
                self._advance(batch)
            return dict(batch.about)

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """``POST /batches/{id}/cancel``.

        One that is cancelled already may be cancelled again, which changes nothing.

        Raises:
            Refusal: There is no such batch, or it has ended otherwise.
        """
        batch = self._find(batch_id)
        with batch.lock:
            status = batch.about["status"]
            if status == "cancelled":
                return dict(batch.about)
            if status not in (*_WORKING, "cancelling"):
                message = f"Cannot cancel a batch with status '{status}'."
                raise ErrorReply(message, status=409)
            batch.about |= {"status": "cancelling", "cancelling_at": self._now()}
            return dict(batch.about)

    def expire(self) -> None:
        """End the window of every batch that is not done."""
        for batch in tuple(self._batches.values()):
            with batch.lock:
                if batch.about["status"] in _WORKING:
                    for line in batch.lines[batch.done :]:
                        error = {"code": "batch_expired", "message": _EXPIRED}
                        _write(batch.errors, line["custom_id"], None, error)
                    self._close(batch, "expired")

    def _find(self, batch_id: str) -> _Batch:
        try:
            return self._batches[batch_id]
        except KeyError:
            message = f"No batch found with id '{batch_id[:100]}'."
            raise ErrorReply(message, status=404) from None

    def _advance(self, batch: _Batch) -> None:
        if batch.about["status"] == "validating":
            problems = self._check(batch)
            if problems:
                errors = {"object": "list", "data": [problem.value() for problem in problems]}
                batch.about |= {
                    "status": "failed", "errors": errors, "failed_at": self._now()
                }  # fmt: skip
                return
            batch.about |= {"status": "in_progress", "in_progress_at": self._now()}
            return
        end = len(batch.lines)
        if self.lines_per_look is not None:
            end = min(end, batch.done + self.lines_per_look)
        for line in batch.lines[batch.done : end]:
            self._do(batch, line)
        batch.done = end
        if end == len(batch.lines):
            self._close(batch, "completed")

    def _check(self, batch: _Batch) -> list[Problem]:
        """Take in the input file; what is wrong with it, if anything is."""
        file_id = batch.about["input_file_id"]
        data = self._uploads.get(file_id)
        if data is None or self._uploads.about(file_id)["purpose"] != "batch":
            problem = (
                f"Cannot find file {file_id}, or organization org-sandbox does not have access"
            )
            return [Problem("invalid_request", f"{problem} to it.", param="file_id")]
        found = read_input(data, batch.about["endpoint"], self._serves)
        batch.about["request_counts"] = {"total": found.total, "completed": 0, "failed": 0}
        batch.lines = found.lines
        return found.problems

    def _do(self, batch: _Batch, line: dict[str, Any]) -> None:
        path = batch.about["endpoint"].removeprefix("/v1")
        reply = self._work(HttpRequest(method="POST", path=path, body=line["body"]))
        good = reply.status == 200
        response = {
            "status_code": reply.status,
            "request_id": uuid.uuid4().hex,
            "body": json.loads(bytes(reply.body)),
        }
        _write(batch.output if good else batch.errors, line["custom_id"], response, None)
        counts = batch.about["request_counts"]
        counts["completed" if good else "failed"] += 1

    def _close(self, batch: _Batch, status: str) -> None:
        for name, data in (("output", batch.output), ("error", batch.errors)):
            if data:
                filename = f"{batch.about['id']}_{name}.jsonl"
                saved = self._uploads.save(bytes(data), filename, "batch_output", batch.lifetime)
                batch.about[f"{name}_file_id"] = saved["id"]
                data.clear()
        if status == "completed" and batch.about["error_file_id"] is None:
            batch.about["error_file_id"] = ""  # seen at the service: not null when all went well
        batch.about |= {"status": status, f"{status}_at": self._now()}


def _write(file: bytearray, custom_id: str, response: object, error: object) -> None:
    line = {
        "id": f"batch_req_{uuid.uuid4().hex[:24]}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    file += json.dumps(line).encode() + b"\n"
