"""How far a job is, as server-sent events to one reader, who may be slow or leave at any time.

A reader that is slow is told less, not later: what waits for it is the newest progress and the
newest preview, and nothing else. Nobody else waits for it, least of all the work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import gptimage
from gptimage_mcp.job import Job, Progress


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
        self._news = anyio.Event()

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
        self._news.set()

    async def _hear(self, progress: Progress) -> None:
        self._progress = progress
        self._news.set()

    async def _speak(self, send: Send) -> None:
        said: Progress | None = None
        while self._job.state == "running":
            with anyio.move_on_after(HEARTBEAT):
                await self._news.wait()
            self._news = anyio.Event()
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
    from gptimage.previews import previews  # late: it needs Pillow

    small = previews([image], max_px=pixels, max_bytes=_PREVIEW)[0]
    if small is None:
        return None
    return {"width": small.width, "height": small.height, "image": small.data_url}
