"""The endpoints that draw nothing: models, uploaded files, provenance checks."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from gptimage.image.image import Image
from gptimage.models.catalog import Models, ModelSpec
from gptimage.sandbox.failures import ErrorReply, duplicate, missing, refusal, unknown, wrong_type
from gptimage.sandbox.wire import Reader, excess, is_multipart, nested, page
from gptimage.transport.http import FilePart, HttpRequest


PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_READABLE: Final = ("batch", "batch_output", "fine-tune")
_MONTH: Final = 2_592_000
"""Seconds after which files for batches expire, and their longest life."""

_MOST_FILES: Final = 256
_MOST_BYTES: Final = 1024 * 1024 * 1024
_AUDIO: Final = (
    (0, b"ID3"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (8, b"WAVE"),
    (0, b"\xff\xfb"),
    (4, b"ftyp"),
)


def model_list(models: Models, today: date) -> dict[str, object]:
    """``GET /models``: every image model that is not shut down."""
    alive = [spec for spec in models if spec.state(today) != "shut_down"]
    return {"object": "list", "data": [_model(spec) for spec in alive]}


def one_model(name: str, models: Models, today: date) -> dict[str, object]:
    """``GET /models/{id}``.

    Raises:
        ErrorReply: There is no such model, or no longer.
    """
    spec = models.get(name)
    if spec is None or spec.state(today) == "shut_down":
        message = f"The model '{name[:100]}' does not exist"
        raise ErrorReply(message, code="model_not_found", param="model", status=404)
    return _model(spec)


def _model(spec: ModelSpec) -> dict[str, object]:
    born = spec.released or date(2025, 4, 23)
    return {
        "id": spec.id,
        "object": "model",
        "created": int(datetime(born.year, born.month, born.day, tzinfo=UTC).timestamp()),
        "owned_by": "system",
        "shutdown_date": spec.shutdown.isoformat() if spec.shutdown else None,
    }


class Uploads(Mapping[str, bytes]):
    """Uploaded files: their bytes by id. Past 256 files, or 1 GiB, the oldest are forgotten.

    Args:
        now: Tells the time, in whole seconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._bytes: dict[str, bytes] = {}
        self._about: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, file_id: str) -> bytes:
        """Return the bytes of a file; KeyError when there is none."""
        return self._bytes[file_id]

    def __iter__(self) -> Iterator[str]:
        """Return ids, oldest first."""
        return iter(tuple(self._bytes))

    def __len__(self) -> int:
        """Return how many files are stored."""
        return len(self._bytes)

    def add(self, request: HttpRequest) -> dict[str, object]:
        """``POST /files``: store the file and return its object."""
        part = only_file(request, ("purpose", "expires_after"))
        read = Reader(nested(request.body), form=True)
        purpose = read.choice("purpose", PURPOSES)
        if purpose is None:
            raise missing("purpose")
        lifetime = expiry(read, "expires_after")
        if purpose == "batch":
            check_jsonl(part.filename, part.data)
            lifetime = lifetime or _MONTH
        return self.save(part.data, part.filename, purpose, lifetime)

    def save(
        self, data: bytes, filename: str, purpose: str, lifetime: int | None = None
    ) -> dict[str, object]:
        """Store a file, for so many seconds as far as its object says, and return its object."""
        now = self._now()
        file_id = f"file-{uuid.uuid4().hex[:24]}"
        about: dict[str, object] = {
            "id": file_id,
            "object": "file",
            "bytes": len(data),
            "created_at": now,
            "expires_at": None if lifetime is None else now + lifetime,
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
            "status_details": None,
        }
        with self._lock:
            self._bytes[file_id], self._about[file_id] = data, about
            for oldest in excess(self._bytes, len, most=_MOST_FILES, most_bytes=_MOST_BYTES):
                del self._bytes[oldest], self._about[oldest]
        return about

    def listed(self, query: Mapping[str, object]) -> dict[str, object]:
        """``GET /files``, newest first by default."""
        read = Reader(query, form=True)
        read.only(("after", "limit", "order", "purpose"))
        purpose, order = read.text("purpose"), read.choice("order", ("asc", "desc"))
        with self._lock:
            found = [each for each in self._about.values() if purpose in {None, each["purpose"]}]
        ordered = found if order == "asc" else found[::-1]
        return page(read, ordered, most=10_000, default=10_000)

    def delete(self, file_id: str) -> dict[str, object]:
        """``DELETE /files/{id}``.

        Raises:
            ErrorReply: There is no such file.
        """
        self.about(file_id)
        with self._lock:
            self._bytes.pop(file_id, None)
            self._about.pop(file_id, None)
        return {"id": file_id, "object": "file", "deleted": True}

    def content(self, file_id: str) -> bytes:
        """``GET /files/{id}/content``.

        Raises:
            ErrorReply: There is no such file, or its purpose forbids reading it.
        """
        purpose = self.about(file_id)["purpose"]
        if purpose not in _READABLE:
            raise ErrorReply(f"Not allowed to download files of purpose: {purpose}")
        return self._bytes[file_id]

    def about(self, file_id: str) -> dict[str, object]:
        """``GET /files/{id}``.

        Raises:
            ErrorReply: There is no such file.
        """
        try:
            return self._about[file_id]
        except KeyError:
            message = f"No such File object: {file_id[:100]}"
            raise ErrorReply(message, param="id", status=404) from None


def expiry(read: Reader, name: str) -> int | None:
    """Return the seconds of an expiry policy; None when there is none.

    Raises:
        ErrorReply: It is wrong.
    """
    inner = read.object(name)
    if inner is None:
        return None
    inner.only(("anchor", "seconds"))
    if inner.choice("anchor", ("created_at",)) is None:
        raise missing(f"{name}.anchor")
    seconds = inner.whole("seconds", 3600, _MONTH)
    if seconds is None:
        raise missing(f"{name}.seconds")
    return seconds


def provenance(request: HttpRequest, now: int) -> dict[str, object]:
    """``POST /content_provenance_checks``: is there a C2PA manifest that names OpenAI?

    The sandbox finds the manifest but cannot verify its signature, so it never says
    ``trusted``; it has no detector for the SynthID watermark and never claims to see one.
    """
    data = only_file(request, ()).data
    results: list[dict[str, object]] = []
    try:
        found = Image.from_bytes(data).has_provenance
    except ValueError as error:
        if not any(data[at:].startswith(magic) for at, magic in _AUDIO):
            raise refusal("no_image_or_audio", "file") from error
    else:
        openai = found and b"OpenAI" in data
        results.append(
            {
                "type": "c2pa",
                "outcome": "detected" if openai else "not_detected",
                "validation_state": "valid" if found else "not_present",
                "issuer": "OpenAI" if openai else None,
                "model": None,
                "generated_at": None,
            }
        )
    results.append(
        {"type": "synthid", "outcome": "not_detected", "model": None, "generated_at": None}
    )
    return {
        "object": "content_provenance_check",
        "created_at": now,
        "results": results,
    }


def check_jsonl(filename: str, data: bytes) -> None:
    """Check the name and the first line, as the service does; the rest is left to the batch.

    Raises:
        ErrorReply: The file is no JSON lines.
    """
    first = data.lstrip().partition(b"\n")[0]
    try:
        is_jsonl = filename.endswith(".jsonl") and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        is_jsonl = False
    if not is_jsonl:
        raise ErrorReply("Invalid file format for Batch API. Must be .jsonl")


def only_file(request: HttpRequest, fields: Iterable[str], *, name: str = "file") -> FilePart:
    """Return the one file of a form, which has these fields besides.

    Raises:
        ErrorReply: There is no such file, or something else.
    """
    if not is_multipart(request):
        if name in request.body:
            raise wrong_type(name, "a file", request.body[name])
        raise missing(name)
    Reader(nested(request.body), form=True).only(fields)
    for part in request.files:
        if part.name != name:
            raise unknown(part.name[:200])
    match request.files:
        case ():
            raise missing(name)
        case (part,):
            return part
        case _:
            raise duplicate(name)
