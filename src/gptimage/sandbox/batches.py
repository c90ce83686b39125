"""The Batch API, offline: ``/batches`` over uploaded JSONL files, as strict as the service's.

A batch moves on each time somebody looks at it, never by itself: the first look checks its
file, each later one works on some of its lines. So tests see every state, and in order.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from attrs import define, field

from gptimage._http import HttpReply, HttpRequest
from gptimage.sandbox._lookups import Uploads
from gptimage.sandbox._reader import Reader
from gptimage.sandbox._refusal import Refusal, missing, wrong_type


ENDPOINTS: Final = ("/v1/images/generations", "/v1/images/edits")
MAX_LINES: Final = 50_000
MAX_BYTES: Final = 200 * 1024 * 1024
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
    lines: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    done: int = 0
    output: bytearray = field(factory=bytearray)
    errors: bytearray = field(factory=bytearray)
    lock: threading.Lock = field(factory=threading.Lock)


class Batches:
    """Every batch of a sandbox.

    Args:
        uploads: The uploaded files; outputs go there, too.
        work: Answers one request of a batch as its endpoint would.

    Attributes:
        lines_per_look: How many requests are answered each time somebody looks; None for all.
    """

    def __init__(self, uploads: Uploads, work: Callable[[HttpRequest], HttpReply]) -> None:
        self._uploads = uploads
        self._work = work
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.Lock()
        self.lines_per_look: int | None = None

    def answer(self, request: HttpRequest, path: Sequence[str]) -> dict[str, Any] | None:
        """The answer to a request about batches; None for any other.

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

        Raises:
            Refusal: A parameter is wrong, or the file is no input for a batch.
        """
        read = Reader(request.body, form=False)
        read.only(_FIELDS)
        file_id = read.text("input_file_id", required=True) or ""
        for name, allowed in (("endpoint", ENDPOINTS), ("completion_window", ("24h",))):
            if read.choice(name, allowed) is None:
                raise missing(name)
        _check_expiry(read)
        if self._uploads.about(file_id)["purpose"] != "batch":
            message = f"Invalid file '{file_id}': its purpose must be 'batch'."
            raise Refusal(message, param="input_file_id", code="invalid_purpose")
        now = int(time.time())
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
            "metadata": _metadata(request.body.get("metadata")),
        }
        with self._lock:
            self._batches[about["id"]] = _Batch(about=about)
        return dict(about)

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        """``GET /batches``, newest first.

        Raises:
            Refusal: The limit or the cursor is wrong.
        """
        read = Reader(dict(query), form=True)
        read.only(("limit", "after"))
        limit = read.whole("limit", 1, 100) or 20
        with self._lock:
            found = [batch.about for batch in reversed(self._batches.values())]
        if after := query.get("after"):
            ids = [about["id"] for about in found]
            found = found[ids.index(after) + 1 :] if after in ids else []
        page = [dict(about) for about in found[:limit]]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(found) > limit,
        }

    def look(self, batch_id: str) -> dict[str, Any]:
        """``GET /batches/{id}``; the batch gets on with its work before it answers.

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

        Raises:
            Refusal: There is no such batch, or it has ended.
        """
        batch = self._find(batch_id)
        with batch.lock:
            status = batch.about["status"]
            if status not in (*_WORKING, "cancelling"):
                message = f"Cannot cancel a batch with status '{status}'."
                raise Refusal(message, status=409)
            batch.about |= {"status": "cancelling", "cancelling_at": int(time.time())}
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
            raise Refusal(message, status=404) from None

    def _advance(self, batch: _Batch) -> None:
        if batch.about["status"] == "validating":
            problems = self._read(batch)
            if problems:
                errors = {"object": "list", "data": problems}
                batch.about |= {
                    "status": "failed", "errors": errors, "failed_at": int(time.time())
                }  # fmt: skip
                return
            batch.about |= {"status": "in_progress", "in_progress_at": int(time.time())}
            return
        end = len(batch.lines)
        if self.lines_per_look is not None:
            end = min(end, batch.done + self.lines_per_look)
        for line in batch.lines[batch.done : end]:
            self._do(batch, line)
        batch.done = end
        if end == len(batch.lines):
            self._close(batch, "completed")

    def _do(self, batch: _Batch, line: dict[str, Any]) -> None:
        path = batch.about["endpoint"].removeprefix("/v1")
        reply = self._work(HttpRequest(method="POST", path=path, body=line["body"]))
        good = reply.status == 200
        answer = {
            "status_code": reply.status,
            "request_id": uuid.uuid4().hex,
            "body": json.loads(bytes(reply.body)),
        }
        _write(batch.output if good else batch.errors, line["custom_id"], answer, None)
        counts = batch.about["request_counts"]
        counts["completed" if good else "failed"] += 1

    def _close(self, batch: _Batch, status: str) -> None:
        for name, data in (("output", batch.output), ("error", batch.errors)):
            if data:
                filename = f"{batch.about['id']}_{name}.jsonl"
                kept = self._uploads.keep(bytes(data), filename, "batch_output")
                batch.about[f"{name}_file_id"] = kept["id"]
        batch.about |= {"status": status, f"{status}_at": int(time.time())}

    def _read(self, batch: _Batch) -> list[dict[str, Any]]:
        """Take in the input file; what is wrong with it, if anything is."""
        data = self._uploads[batch.about["input_file_id"]]
        texts = data.splitlines()
        if not texts or len(data) > MAX_BYTES or len(texts) > MAX_LINES:
            return [_problem("invalid_file", "The batch input file is empty or too large.", None)]
        problems: list[dict[str, Any]] = []
        seen: set[str] = set()
        models: set[object] = set()
        for number, text in enumerate(texts, 1):
            line, told = _line(text, batch.about["endpoint"])
            if not told and line["custom_id"] in seen:
                told = ("duplicate_custom_id", "The custom_id has already been used.")
            if not told:
                seen.add(line["custom_id"])
                models.add(line["body"].get("model"))
                batch.lines.append(line)
                if len(models) > 1:
                    told = ("mismatched_model", "All requests of a batch must name one model.")
            if told:
                problems.append(_problem(*told, number))
        batch.about["request_counts"] = {"total": len(texts), "completed": 0, "failed": 0}
        return problems


def _line(text: bytes, endpoint: str) -> tuple[dict[str, Any], tuple[str, str] | None]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}, ("invalid_json_line", "This line is not parseable as valid JSON.")
    if not isinstance(value, dict):
        return {}, ("invalid_json_line", "This line is not a JSON object.")
    line = cast("dict[str, Any]", value)
    if not isinstance(line.get("custom_id"), str) or not line["custom_id"]:
        return line, ("missing_required_parameter", "Missing required parameter: 'custom_id'.")
    if line.get("method") != "POST":
        return line, ("invalid_method", "The method must be 'POST'.")
    if line.get("url") != endpoint:
        return line, ("mismatched_endpoint", f"The url must be the batch's endpoint, {endpoint}.")
    if not isinstance(line.get("body"), dict):
        return line, ("missing_required_parameter", "Missing required parameter: 'body'.")
    return line, None


def _problem(code: str, message: str, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": None}


def _write(file: bytearray, custom_id: str, response: object, error: object) -> None:
    line = {
        "id": f"batch_req_{uuid.uuid4().hex[:24]}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    file += json.dumps(line).encode() + b"\n"


def _metadata(value: object) -> dict[str, str] | None:
    """Up to 16 pairs of short texts."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise wrong_type("metadata", "an object", value)
    pairs = cast("dict[str, object]", value)
    for name, text in pairs.items():
        if not isinstance(text, str):
            raise wrong_type(f"metadata.{name}"[:200], "a string", text)
        if len(name) > 64 or len(text) > 512:
            raise Refusal(f"Invalid 'metadata.{name[:64]}': too long.", param="metadata")
    if len(pairs) > 16:
        raise Refusal("Invalid 'metadata': too many properties.", param="metadata")
    return cast("dict[str, str]", pairs)


def _check_expiry(read: Reader) -> None:
    inner = read.object("output_expires_after")
    if inner is None:
        return
    inner.only(("anchor", "seconds"))
    if inner.choice("anchor", ("created_at",)) is None:
        raise missing("output_expires_after.anchor")
    if inner.whole("seconds", 3600, 2_592_000) is None:
        raise missing("output_expires_after.seconds")
