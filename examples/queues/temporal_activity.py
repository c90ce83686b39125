"""An activity for Temporal: however often it is tried, its job is paid for once.

The workflow stays deterministic, so the image is made in an activity. It is retried by Temporal
when its worker is gone; `run_job` finds the reply, or says that a person must decide.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from gptimage import ImageClient
from gptimage.workers import JobResult, JobStore, Previews, run_job


BEAT = 10.0
"""Seconds between two heartbeats: a third of `HEARTBEAT_TIMEOUT`."""

HEARTBEAT_TIMEOUT = timedelta(seconds=30)
TIMEOUT = timedelta(minutes=20)
"""Above the client's ten minutes: a timed out activity is tried again while it is being paid."""


class ImageActivities:
    """The activities of a worker, which has threads for them (``activity_executor=``).

    Args:
        client: Draws; all workers share its store.
        job_store: Where the jobs are; all workers share it.
    """

    def __init__(self, client: ImageClient, job_store: JobStore) -> None:
        self.client, self.job_store = client, job_store

    @activity.defn
    def draw_image(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Do a job.

        Raises:
            ApplicationError: It may be tried later; or it never will work, or may be billed, and
                then Temporal does not try again by itself.
        """
        with Heartbeats(activity.heartbeat):
            result = run_job(
                spec,
                client=self.client,
                job_store=self.job_store,
                previews=Previews(1, lambda _: activity.heartbeat("preview")),
            )
        if result.status == "done":
            return result.to_dict()
        raise refused(result)


def refused(result: JobResult) -> ApplicationError:
    """Return the error of a job without images, and whether Temporal may try again."""
    wait = None if result.retry_after is None else timedelta(seconds=result.retry_after)
    return ApplicationError(
        result.reason or result.status,
        result.to_dict(),
        type=result.status,
        non_retryable=not (result.retryable or result.status == "busy"),
        next_retry_delay=wait,
    )


class Heartbeats:
    """Heartbeats from a thread while a call is under way: a minute passes without any event."""

    def __init__(self, beat: Callable[[str], object]) -> None:
        self._beat, self._over = beat, threading.Event()

    def __enter__(self) -> None:
        # The activity's own context: heartbeats of another thread would not be its own.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._work,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _work(self) -> None:
        while not self._over.wait(BEAT):
            self._beat("drawing")


@workflow.defn
class DrawImage:
    """The workflow: one activity, tried again only where that is free."""

    @workflow.run
    async def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Draw."""
        return await workflow.execute_activity_method(
            ImageActivities.draw_image,
            spec,
            start_to_close_timeout=TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_attempts=10),
        )
