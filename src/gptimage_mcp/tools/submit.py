"""`JobSubmitter`: checks the request of a tool call and starts its job."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from attrs import frozen

import gptimage
from gptimage.config import variable
from gptimage.service import RunnerError
from gptimage_mcp.app import App
from gptimage_mcp.jobs.job import EarlierUnknownError, Job, Outcome, RunnerOutcome
from gptimage_mcp.jobs.work import ImageWorker, JobRequest
from gptimage_mcp.tools.inputs import writable
from gptimage_mcp.tools.requests import ImageRequest


_logger: Final = logging.getLogger(__name__)


@frozen
class JobSubmitter:
    """Checks of a request, and the start of its job.

    Attributes:
        app: The server.
    """

    app: App

    def check_ready(self) -> gptimage.AsyncImageClient:
        """Return what draws, once there is a key for it and a store that can be written to.

        Raises:
            ConfigurationError: There is no key.
            StoreError: No image could be saved.
        """
        if self.app.client is None:
            raise gptimage.ConfigurationError(
                f"this server has no API key: set {self.app.settings.key_variable} where the "
                f"server is configured and restart it, or {variable('sandbox')}=true to draw "
                "offline"
            )
        self.app.store.check_writable()
        return self.app.client

    async def prepare(
        self,
        request: ImageRequest,
        tags: Sequence[str],
        save_to: str | None,
        max_px: int | None = None,
    ) -> JobRequest:
        """Check a request against the settings; nothing is sent or billed yet.

        Args:
            request: What is to be drawn.
            tags: Words for the store.
            save_to: Where copies go, or None.
            max_px: Long edge of previews, or None.

        Raises:
            InvalidRequestError: It asks for too many images, or for a copy elsewhere.
        """
        if request.count > self.app.settings.max_images:
            raise _too_many(request, self.app.settings.max_images)
        if save_to is not None:
            writable(self.app, "save_to").target(save_to, field="save_to")
        # In a thread: it may have to hash many megabytes.
        digest = await asyncio.to_thread(lambda: request.digest)
        words = json.dumps([digest, sorted(tags), save_to]).encode()
        dedup_key = None if request.refresh else hashlib.sha256(words).hexdigest()
        return JobRequest(
            request=request,
            tags=tuple(tags),
            save_to=save_to,
            max_px=max_px,
            digest=digest,
            dedup_key=dedup_key,
        )

    async def find_earlier(self, job_request: JobRequest, owner: str | None) -> Job | None:
        """Return an earlier call with the same request: one to join, or of unknown outcome.

        A client that gave up waiting, or that was started again, repeats its call.

        Raises:
            EarlierUnknownError: It may have been paid, and the request does not say ``refresh``.
        """
        if job_request.digest is None:
            return None
        job = await self.app.jobs.find_earlier(
            job_request.digest, job_request.dedup_key, owner=owner
        )
        if job is not None and job.state == "unknown" and not job_request.request.refresh:
            raise EarlierUnknownError(job)
        return job

    def begin(self, job_request: JobRequest, owner: str | None) -> Job:
        """Start to draw, or join a job of this server with the same request."""
        if job_request.dedup_key and (
            job := self.app.jobs.find_duplicate(job_request.dedup_key, owner=owner)
        ):
            return job
        detached = self.app.runner is not None
        draw = partial(self._hand_over, job_request, owner) if detached else None
        return self.app.jobs.start(
            job_request.request.operation,
            draw or partial(self._worker.draw, job_request),
            owner=owner,
            digest=job_request.digest,
            dedup_key=job_request.dedup_key,
            detached=detached,
        )

    async def cancel(self, job: Job) -> None:
        """Send nothing for a job, if nothing was sent."""
        await self.app.jobs.cancel(job)
        if self.app.runner is not None:
            self.app.runner.cancel(job.handle)

    async def _hand_over(self, job_request: JobRequest, owner: str | None, job: Job) -> Outcome:
        """Have the runner draw; this process draws where none can be started.

        Raises:
            RunnerLostError: The runner was killed meanwhile.
            Exception: What went wrong there.
        """
        runner = self.app.runner
        assert runner is not None  # noqa: S101  # see `begin`
        try:
            ended: RunnerOutcome = await runner.run(job.handle, (job_request, owner), job.follow)
        except RunnerError as error:  # nothing was begun; when the client closes, it may be lost
            _logger.warning("this process draws by itself: %s", error)
            self.app.jobs.write_down(job)
            return await self._worker.draw(job_request, job)
        job.copies, job.tags = ended.copies, ended.tags
        if ended.outcome is None:
            raise ended.error or gptimage.GptImageError("it ended without an image")
        if ended.error is not None:  # paid, and not in the store
            raise ended.error
        return ended.outcome

    @property
    def _worker(self) -> ImageWorker:
        return ImageWorker(self.check_ready(), self.app.store, self.app.settings)


def _too_many(request: ImageRequest, most: int) -> gptimage.InvalidRequestError:
    """Return the error about more images than the server draws; it names what has to change."""
    calls, count = request.calls, request.count
    limit = f"this server draws at most {most} images per call ({variable('max_images')})"
    field = "max_images" if request.operation == "refine" else "n"
    allowed = f"1 to {most}"
    if calls > 1 and count <= calls * most:
        field, allowed = "until", "left out"
        if fitting := most // calls:
            allowed += f", or with n at most {fitting}"
        limit = f"it draws up to {calls} times, {count} images in all, and {limit}"
    return gptimage.InvalidRequestError(
        f"{field}: {limit}", field=field, value=count, allowed=allowed
    )
