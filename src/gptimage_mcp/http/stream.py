"""``POST /stream``: draw for a web page, which hears how far it is as server-sent events.

The body is a JSON object with the parameters of ``generate_image``, or with ``images`` those of
``edit_image``. The events are ``progress``, ``partial`` (a preview), and at the end ``complete`` or
``error``. The work is a job like any other: a page that goes away loses nothing, and finds it
again under ``GET /stream/{handle}`` with the handle every event has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final, cast

import anyio
from anyio.to_thread import run_sync
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError, validate_call
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.auth import current_user
from gptimage_mcp.content import results
from gptimage_mcp.content.errors import to_tool_error, validation_error
from gptimage_mcp.content.results import CompletedCall
from gptimage_mcp.content.sanitize import clean_json
from gptimage_mcp.http.errors import json_error
from gptimage_mcp.jobs.job import Job, Progress
from gptimage_mcp.jobs.work import JobRequest
from gptimage_mcp.tools.generate import GenerateTools
from gptimage_mcp.tools.submit import JobSubmitter


# How far a job is, as server-sent events to one reader, who may be slow or leave at any time.
#
# A reader that is slow is told less, not later: what waits for it is the newest progress and the
# newest preview, and nothing else. Nobody else waits for it, least of all the work.

HEARTBEAT: Final = 10.0
"""Seconds without a word, at most."""

_PIECE: Final = 64 * 1024
_PREVIEW: Final = 256 * 1024
_HEADERS: Final = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",  # nginx would collect events before it passes them on
}
_at_once: Final = anyio.CapacityLimiter(2)
"""How many previews are made at a time: each holds a picture's pixels meanwhile."""

End = Callable[[Job], Awaitable[tuple[str, Mapping[str, Any]]]]
"""How the end of a job is told: the name of the event, and what it says."""


class JobEvents(Response):
    """An answer that tells one reader of one job until it is over.

    Args:
        job: The job; it goes on whatever happens here.
        end: Tells how it ended.
        pixels: Long edge of previews.
    """

    def __init__(self, job: Job, end: End, *, pixels: int) -> None:
        super().__init__(headers=_HEADERS, media_type="text/event-stream")
        del self.headers["content-length"]
        self._job = job
        self._end = end
        self._pixels = pixels
        self._progress: Progress | None = None
        self._changed = anyio.Event()

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Tell, until the job is over or the reader is gone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with anyio.create_task_group() as group:
            group.start_soon(_leave, receive, group.cancel_scope)
            group.start_soon(self._listen)
            await self._speak(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            group.cancel_scope.cancel()

    async def _listen(self) -> None:
        await self._job.wait(math.inf, self._hear)
        self._changed.set()

    async def _hear(self, progress: Progress) -> None:
        self._progress = progress
        self._changed.set()

    async def _speak(self, send: Send) -> None:
        said: Progress | None = None
        while self._job.state == "running":
            with anyio.move_on_after(HEARTBEAT):
                await self._changed.wait()
            self._changed = anyio.Event()
            now = self._progress
            if now is not None:
                await self._tell(send, now, said)
            said = now
        name, what = await self._end(self._job)
        await _write(send, event(name, {"handle": self._job.handle, **what}))

    async def _tell(self, send: Send, now: Progress, said: Progress | None) -> None:
        """What is new; if nothing is, a comment that keeps the connection open."""
        if said is None or now.message != said.message:
            told = {"seconds": round(now.seconds, 1), "message": now.message}
            await _write(send, event("progress", {"handle": self._job.handle, **told}))
        elif now.preview is said.preview:
            await _write(send, b": still drawing\n\n")
        if now.preview is not None and (said is None or now.preview is not said.preview):
            preview = await run_sync(_preview, now.preview, self._pixels, limiter=_at_once)
            if preview is not None:
                await _write(send, event("partial", {"handle": self._job.handle, **preview}))


def event(name: str, what: Mapping[str, Any]) -> bytes:
    """One event; JSON has no line breaks, so it is one line of data."""
    return f"event: {name}\ndata: {json.dumps(what, ensure_ascii=False)}\n\n".encode()


async def _leave(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _write(send: Send, data: bytes) -> None:
    """Send in pieces, so that no more than one waits in a buffer for a reader who does not read."""
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        await send({"type": "http.response.body", "body": piece, "more_body": True})


def _preview(image: gptimage.Image, pixels: int) -> dict[str, Any] | None:
    from gptimage.image import previews  # late: it needs Pillow

    small = previews([image], max_px=pixels, max_bytes=_PREVIEW)[0]
    if small is None:
        return None
    return {"width": small.width, "height": small.height, "image": small.data_url}


# What ``POST /stream`` asks for, checked and begun exactly as by the tools.
#
# A web page cannot be asked whether it agrees to pay, as a client of the protocol can: here only
# ``max_per_call`` and ``max_per_day`` bound what is spent.

_OF_EDITS: Final = frozenset({"images", "attached_image"})


class StreamRequests:
    """Begins jobs.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._tools = GenerateTools(JobSubmitter(app))

    async def begin(self, asked: Mapping[str, Any]) -> Job:
        """Begin to draw, or join whoever draws the same just now.

        Args:
            asked: The parameters of ``generate_image``; with pictures, those of ``edit_image``.

        Raises:
            ToolError: It cannot be begun; says why, and what to do next.
        """
        ask = self._edit if _OF_EDITS & asked.keys() else self._generate
        try:
            self._tools.submitter.check_key()  # before pictures are read for nothing
            job_request, owner = await ask(**asked), current_user()
            job = await self._tools.submitter.find_earlier(job_request, owner)
            if job is not None and job.state == "running":
                return job
            return self._tools.submitter.begin(job_request, owner)
        except ValidationError as error:
            raise validation_error(error) from error
        except gptimage.GptImageError as error:
            raise to_tool_error(error) from error

    # Made when first needed: the validators take a while to build.
    @cached_property
    def _generate(self) -> Callable[..., Awaitable[JobRequest]]:
        return validate_call(self._tools.generate_image)

    @cached_property
    def _edit(self) -> Callable[..., Awaitable[JobRequest]]:
        return validate_call(self._tools.edit_image)


_PREVIEW_PIXELS: Final = 1024


class StreamRoute:
    """Starts and follows jobs.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._requests = StreamRequests(app)

    async def draw(self, request: Request) -> Response:
        """Begin to draw, and tell how far it is."""
        if self._app.client is None:
            return json_error(
                503, "no_key", "nothing can be drawn: the server has no OPENAI_API_KEY"
            )
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what a page can send unasked is something else
            return json_error(
                415, "no_json", "send a JSON object, as content-type application/json"
            )
        try:
            asked: object = json.loads(await request.body())
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            return json_error(400, "no_json", "the body must be a JSON object of parameters")
        try:
            job = await self._requests.begin(cast("dict[str, Any]", asked))
        except ToolError as error:
            return json_error(400, "invalid_request", str(error))
        return self._events(job)

    async def follow(self, request: Request) -> Response:
        """Tell how far a job is that was begun before; only whoever began it is told."""
        job = await self._app.jobs.get(request.path_params["handle"], owner=current_user())
        if job is None:
            return json_error(
                404, "not_found", "there is no job of this handle, or it is not yours"
            )
        return self._events(job)

    def _events(self, job: Job) -> JobEvents:
        # Without previews for models there are some for pages: they asked with partial_images.
        pixels = min(self._app.settings.preview_pixels or _PREVIEW_PIXELS, _PREVIEW_PIXELS)
        return JobEvents(job, self._end, pixels=pixels)

    async def _end(self, job: Job) -> tuple[str, Mapping[str, Any]]:
        """The last event: the pictures, or why there are none and what to do."""
        if not job.records:
            error = job.error or gptimage.GptImageError("it ended without a picture")
            return "error", {"error": type(error).__name__, "message": str(to_tool_error(error))}
        if job.outcome is not None:
            summary = results.completed_summary(
                self._app, CompletedCall.of(job.outcome, copies=job.copies)
            )
        else:
            summary = results.restored_summary(self._app, job.handle, job.records, ())
        told: dict[str, Any] = {name: summary[name] for name in _TOLD if name in summary}
        told["images"] = [_image(record) for record in job.records]
        return "complete", clean_json(told)


_TOLD: Final = ("model", "cost_usd", "usage", "cached", "warnings", "revised_prompt", "sandbox")
"""What of a summary is no business of an assistant only."""


def _image(record: gptimage.Record) -> dict[str, object]:
    """A picture, and where a page gets it; where the file lies is the server's business."""
    facts = results.image_facts(record, record)
    del facts["path"]
    return {**facts, "mime_type": record.mime_type, "url": f"/images/{record.id}"}
