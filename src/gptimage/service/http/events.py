"""How far a job is, as server-sent events to one reader, who may be slow or leave at any time."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import anyio
from anyio.to_thread import run_sync
from sse_starlette import EventSourceResponse, ServerSentEvent

from gptimage.image import Image


HEARTBEAT: Final = 10
"""Seconds between two comments that keep a connection open."""

_PREVIEW: Final = 256 * 1024
_GOODBYE: Final = 9.0
"""Seconds a stream may go on once the server stops; servers wait 10."""

_at_once: Final = anyio.CapacityLimiter(2)
"""How many previews are made at a time: each holds an image's pixels meanwhile."""


class JobProgress(Protocol):
    """How far a job is."""

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        ...

    @property
    def message(self) -> str:
        """What happens now, one short line."""
        ...

    @property
    def preview(self) -> Image | None:
        """The newest partial image, or None."""
        ...


class FollowedJob(Protocol):
    """A job whose progress can be followed; it goes on without a reader, too."""

    @property
    def handle(self) -> str:
        """The handle under which it is found again."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether it is not over yet."""
        ...

    async def wait(
        self, seconds: float, on_progress: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        """Wait until it is over, and call ``tell`` with a `JobProgress` whenever that changes."""
        ...


JobEnd: TypeAlias = Callable[[], Awaitable[tuple[str, Mapping[str, Any]]]]
"""Returns the last event, once the job is over: its name, and what it says."""


class JobEvents(EventSourceResponse):
    """A response that follows one job until it is over: ``progress``, ``partial``, and its end.

    Each event is JSON and has the job's handle. A slow reader gets fewer events, not later ones:
    only the newest progress and the newest preview wait for it. The job waits for nobody.

    Args:
        job: The job.
        end: Makes the last event.
        pixels: The long edge of previews; they have at most 256 KiB.
    """

    def __init__(self, job: FollowedJob, end: JobEnd, *, pixels: int) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # it takes any dictionary
            _events(job, end, pixels),
            headers={"cache-control": "no-store, no-transform"},
            ping=HEARTBEAT,
            ping_message_factory=lambda: ServerSentEvent(comment="still drawing", sep="\n"),
            sep="\n",
            shutdown_grace_period=_GOODBYE,
        )


async def _events(job: FollowedJob, end: JobEnd, pixels: int) -> AsyncIterator[ServerSentEvent]:
    changed = asyncio.Event()
    newest: list[JobProgress] = []

    async def on_progress(progress: JobProgress) -> None:
        newest[:] = [progress]
        changed.set()

    # The job is followed in a task of its own: what a reader has not taken is replaced by what is
    # newer, and nothing queues up for one that does not read.
    following = asyncio.create_task(job.wait(math.inf, on_progress))
    following.add_done_callback(lambda _: changed.set())
    message: str | None = None
    preview: Image | None = None
    try:
        while job.is_running:
            await changed.wait()
            changed.clear()
            if not newest:
                continue
            now = newest[0]
            if now.message != message:
                message = now.message
                yield _event(
                    "progress", job, {"seconds": round(now.seconds, 1), "message": message}
                )
            if now.preview is not None and now.preview is not preview:
                preview = now.preview
                small = await run_sync(_small, preview, pixels, limiter=_at_once)
                if small is not None:
                    yield _event("partial", job, small)
        name, what = await end()
        yield _event(name, job, what)
    finally:
        following.cancel()


def _event(name: str, job: FollowedJob, what: Mapping[str, Any]) -> ServerSentEvent:
    # JSON has no line breaks, so an event is one line of data.
    data = json.dumps({"handle": job.handle, **what}, ensure_ascii=False)
    return ServerSentEvent(data=data, event=name, sep="\n")


def _small(image: Image, pixels: int) -> dict[str, Any] | None:
    from gptimage.image import previews  # late: it needs Pillow

    small = previews([image], max_px=pixels, max_bytes=_PREVIEW)[0]
    if small is None:
        return None
    return {"width": small.width, "height": small.height, "image": small.data_url}
