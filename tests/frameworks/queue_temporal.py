"""``examples/queues/temporal_activity.py`` in Temporal's own environment for activities."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import case, check, run
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from gptimage import ImageClient
from gptimage.sandbox import Sandbox
from gptimage.workers import SqliteJobStore


sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "queues"))
import temporal_activity


SPEC = {"id": "order-17", "prompt": "A red fox", "size": "1024x1024", "quality": "low"}


@contextmanager
def activities() -> Iterator[tuple[Any, Sandbox]]:
    """Yield the activities of a worker, and the sandbox that draws."""
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(draw="plain", previews=True)
        client = ImageClient.sandbox(sandbox, store=f"{folder}/images", retry=0)
        with client:
            store = SqliteJobStore(f"{folder}/jobs.sqlite")
            yield temporal_activity.ImageActivities(client, store), sandbox
            store.close()


async def tried(found: Any, spec: dict[str, Any], beats: list[Any] | None = None) -> Any:
    """Run the activity as a worker with threads does; its result or its error."""
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: (beats if beats is not None else []).append(details)
    try:
        return await asyncio.to_thread(environment.run, found.draw_image, spec)
    except ApplicationError as error:
        return error


@case("a job is drawn once, also when the activity is tried again")
async def _() -> None:
    with activities() as (found, sandbox):
        beats: list[Any] = []
        first, again = await tried(found, SPEC, beats), await tried(found, SPEC)
        check(first["status"] == "done" and first == again, first)
        check(len(sandbox.requests) == 1, len(sandbox.requests))
        check(("preview",) in beats, beats)


@case("an unknown outcome is not retried")
async def _() -> None:
    with activities() as (found, sandbox):
        spec = {**SPEC, "prompt": "A hen [sandbox:cut]"}
        for _ in range(2):
            error = await tried(found, spec)
            check(error.type == "needs_review" and error.non_retryable, repr(error))
        check(len(sandbox.requests) == 1, len(sandbox.requests))


@case("what nobody billed is retried when that helps, and not when it never will")
async def _() -> None:
    with activities() as (found, _):
        later = await tried(found, {**SPEC, "prompt": "A hen [sandbox:rate_limit]"})
        check(not later.non_retryable and later.next_retry_delay is not None, repr(later))
        never = await tried(found, {**SPEC, "id": "o", "prompt": "A hen [sandbox:moderation]"})
        check(never.type == "failed" and never.non_retryable, repr(never))


@case("heartbeats go on while the model draws")
async def _() -> None:
    temporal_activity.BEAT = 0.02
    with activities() as (found, sandbox):
        beats: list[Any] = []
        handle = sandbox.handle

        def slow(request: Any) -> Any:
            while ("drawing",) not in beats:
                pass
            return handle(request)

        sandbox.handle = slow  # type: ignore[method-assign]  # what a slow service is like
        done = await tried(found, SPEC, beats)
        check(done["status"] == "done", done)


run("temporalio")
