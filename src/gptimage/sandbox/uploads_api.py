"""Files that are uploaded in parts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

from attrs import define, field

from gptimage.sandbox.failures import ErrorReply, missing
from gptimage.sandbox.models_files_api import PURPOSES, Uploads, check_jsonl, expiry, only_file
from gptimage.sandbox.wire import Reader, excess
from gptimage.transport.http import FilePart, HttpRequest


_HOUR: Final = 3600
"""Seconds an upload may take, as far as its object says."""
_MOST_BYTES: Final = 8 * 1024**3
_MOST_PART_BYTES: Final = 64 * 1024**2
_OPEN: Final = 64
_OPEN_BYTES: Final = 1024**3


@define
class _Upload:
    about: dict[str, object]
    lifetime: int | None
    parts: dict[str, bytes] = field(factory=dict[str, bytes])


class PartUploads:
    """The last 64 uploads (1 GiB at most), which become files once complete. Thread-safe.

    Args:
        files: Takes what is complete.
        now: Tells the time, in whole seconds since 1970.
    """

    def __init__(self, files: Uploads, now: Callable[[], int]) -> None:
        self._files = files
        self._now = now
        self._stored: dict[str, _Upload] = {}
        self._lock = Lock()

    def handle(self, request: HttpRequest, path: Sequence[str]) -> dict[str, object] | None:
        """Reply to a request about uploads; None for any other.

        Raises:
            ErrorReply: A rule is broken, or there is no such upload.
        """
        with self._lock:
            match request.method, *path:
                case "POST", "uploads":
                    return self._create(Reader(request.body, form=False))
                case "POST", "uploads", str(id), "parts":
                    return self._add(self._pending(id), only_file(request, (), name="data"))
                case "POST", "uploads", str(id), "complete":
                    return self._complete(self._pending(id), Reader(request.body, form=False))
                case "POST", "uploads", str(id), "cancel":
                    upload = self._pending(id)
                    upload.parts.clear()
                    upload.about["status"] = "cancelled"
                    return upload.about
                case _:
                    return None

    def _create(self, read: Reader) -> dict[str, object]:
        read.only(("bytes", "expires_after", "filename", "mime_type", "purpose"))
        size = read.whole("bytes", 1, _MOST_BYTES)
        filename = read.text("filename", required=True)
        read.text("mime_type", required=True)
        purpose = read.choice("purpose", PURPOSES)
        for name, value in (("bytes", size), ("purpose", purpose)):
            if value is None:
                raise missing(name)
        now = self._now()
        about: dict[str, object] = {
            "id": f"upload_{uuid.uuid4().hex}",
            "object": "upload",
            "bytes": size,
            "created_at": now,
            "expires_at": now + _HOUR,
            "filename": filename,
            "purpose": purpose,
            "status": "pending",
            "file": None,
        }
        self._stored[str(about["id"])] = _Upload(about, expiry(read, "expires_after"))
        self._bound()
        return about

    def _add(self, upload: _Upload, part: FilePart) -> dict[str, object]:
        if len(part.data) > _MOST_PART_BYTES:
            raise ErrorReply("A part has 64 MB at most.", param="data", status=413)
        part_id = f"part_{uuid.uuid4().hex}"
        upload.parts[part_id] = part.data
        self._bound()
        return {
            "id": part_id,
            "object": "upload.part",
            "created_at": self._now(),
            "upload_id": upload.about["id"],
        }

    def _complete(self, upload: _Upload, read: Reader) -> dict[str, object]:
        read.only(("md5", "part_ids"))
        read.text("md5")
        if not read.given("part_ids"):
            raise missing("part_ids")
        names = [str(name) for name in read.array("part_ids")]
        for name in names:
            if name not in upload.parts:
                raise ErrorReply(f"No such part: {name[:100]}", param="part_ids")
        about = upload.about
        data = b"".join(upload.parts[name] for name in names)
        if len(data) != about["bytes"]:
            message = f"The parts have {len(data)} bytes, and the upload was to have {{}}."
            raise ErrorReply(message.format(about["bytes"]), param="part_ids")
        filename, purpose = str(about["filename"]), str(about["purpose"])
        if purpose == "batch":
            check_jsonl(filename, data)
        about["file"] = self._files.save(data, filename, purpose, upload.lifetime)
        about["status"] = "completed"
        upload.parts.clear()
        return about

    def _pending(self, upload_id: str) -> _Upload:
        upload = self._stored.get(upload_id)
        if upload is None:
            raise ErrorReply(f"No such Upload object: {upload_id[:100]}", param="id", status=404)
        if upload.about["status"] != "pending":
            raise ErrorReply(f"Upload is {upload.about['status']}, not pending.", param="id")
        return upload

    def _bound(self) -> None:
        for oldest in excess(self._stored, _nbytes, most=_OPEN, most_bytes=_OPEN_BYTES):
            del self._stored[oldest]


def _nbytes(upload: _Upload) -> int:
    return sum(map(len, upload.parts.values()))
