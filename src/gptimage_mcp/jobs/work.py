"""Generate the images of a job request, in the server or in its runner; free of the protocol.

`open_work` is what a `gptimage.service.Runner` makes in its process: a second start of the
protocol's SDK would cost more than all the rest of it.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

import gptimage
from gptimage.image.allowed_folders import Folders
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.jobs.engine import open_limiter, open_state, open_tenant
from gptimage_mcp.jobs.job import CANCELLED, Job, Outcome, RunnerOutcome
from gptimage_mcp.jobs.jobs import Jobs


if TYPE_CHECKING:
    from gptimage.service import Tell
    from gptimage_mcp.tools.requests import ImageRequest

_LEFT: Final = "its client left"


@frozen(kw_only=True)
class JobRequest:
    """A request, and what is to be done with its images.

    Attributes:
        request: What is to be drawn.
        tags: Words for the store.
        save_to: Where copies go, or None.
        max_px: Long edge of the previews that are shown, or None.
        digest: Equal for job requests that send the same to the service.
        dedup_key: Equal for job requests that share one result; None for one that needs its own.
    """

    request: ImageRequest
    tags: tuple[str, ...] = ()
    save_to: str | None = None
    max_px: int | None = None
    digest: str | None = None
    dedup_key: str | None = None


@frozen
class ImageWorker:
    """The calls of the service for one job request at a time.

    Attributes:
        client: What draws.
        store: Where images are saved.
        settings: The server's settings.
    """

    client: gptimage.AsyncImageClient
    store: gptimage.Store
    settings: Settings

    async def draw(self, job_request: JobRequest, job: Job) -> Outcome:
        """Ask for it, pay, save it, and write the copies.

        Raises:
            GptImageError: See the client.
        """
        own = (job.handle, *(("sandbox",) if self.settings.sandbox else ()))
        job.tags = (*job_request.tags, *own)
        try:
            outcome = await job_request.request.draw(
                self.client.with_send_hook(job), job, tags=job.tags
            )
        except gptimage.StoreError as error:
            if isinstance(error.result, (gptimage.Result, gptimage.Turn)):
                # A copy may be all that is left of it.
                error.result = await asyncio.to_thread(
                    self._finished, job_request, job, error.result
                )
            raise
        return await asyncio.to_thread(self._finished, job_request, job, outcome)

    def _finished(self, job_request: JobRequest, job: Job, outcome: Outcome) -> Outcome:
        if isinstance(outcome, gptimage.Result):
            return self._copied(job_request, job, self._handed_back(job, outcome))
        return evolve(outcome, result=self._copied(job_request, job, outcome.result))

    def _copied(
        self, job_request: JobRequest, job: Job, result: gptimage.Result
    ) -> gptimage.Result:
        """Write the copies; one that fails is a warning, because the images are paid."""
        if job_request.save_to is None:
            return result
        copies: list[Path] = []
        try:
            folders = Folders(*self.settings.output_folders)
            copies.extend(
                folders.save(image, job_request.save_to, field="save_to") for image in result.images
            )
        except (gptimage.GptImageError, OSError) as error:
            result = result.with_warnings(f"a copy could not be written: {error}")
        job.copies = tuple(copies)
        return result

    def _handed_back(self, job: Job, result: gptimage.Result) -> gptimage.Result:
        """Remove the handle from cached images, which would collect those of every call."""
        if not result.cached:
            return result
        try:
            untagged = [self.store.untag(each.id, job.handle) for each in result.stored]
        except gptimage.StoreError:  # one tag too many harms nobody
            return result
        return evolve(result, stored=tuple(untagged))


class ImageWork:
    """The calls of one server, in its runner; see `gptimage.service.Work`.

    Args:
        drawer: Draws.
        jobs: Writes down what is done.
    """

    def __init__(self, worker: ImageWorker, jobs: Jobs) -> None:
        self._worker = worker
        self._jobs = jobs
        self._left = False

    async def run(self, id: str, call: tuple[JobRequest, str | None], tell: Tell) -> RunnerOutcome:
        """Draw, and report every step."""
        job_request, owner = call
        job = self._jobs.start(
            job_request.request.operation,
            partial(self._worker.draw, job_request),
            owner=owner,
            handle=id,
            digest=job_request.digest,
            dedup_key=job_request.dedup_key,
        )
        if self._left:  # it came with the last message of a client that is gone
            self._jobs.stop(job, _LEFT)
        while job.state == "running":
            changed = job.changed
            tell(job.snapshot)
            await changed.wait()
        return RunnerOutcome(outcome=job.outcome, error=job.error, copies=job.copies, tags=job.tags)

    def cancel(self, id: str) -> None:
        """Send nothing for this call, if nothing was sent."""
        for job in self._jobs.running:
            if job.handle == id:
                self._jobs.stop(job, CANCELLED)

    def leave(self) -> None:
        """Send nothing more; what was sent is paid, and goes on."""
        self._left = True
        for job in self._jobs.running:
            self._jobs.stop(job, _LEFT)

    async def aclose(self) -> None:
        """Let others see that nothing runs here any more."""
        await self._jobs.aclose()
        await self._worker.client.aclose()


def open_work(settings: Settings) -> ImageWork:
    """Return what draws for a server with these settings.

    Raises:
        ConfigurationError: There is no key, or another setting makes no sense.
        StoreError: The folder of the store cannot be made.
    """
    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("gptimage", "gptimage_mcp"):
        logging.getLogger(name).setLevel(level)
    tenant = open_tenant(settings, limiter=open_limiter(settings))
    if tenant.client is None:
        raise gptimage.ConfigurationError("there is no key")
    jobs = Jobs(store=lambda: tenant.store, state=open_state(settings))
    return ImageWork(ImageWorker(tenant.client, tenant.store, settings), jobs)
