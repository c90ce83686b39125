"""`Jobs`: all work of a server, which a client's timeout, its leaving and a restart do not lose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self

import anyio

import gptimage
from gptimage.service import RunnerLostError
from gptimage_mcp.content.records import Clock, utc_now
from gptimage_mcp.jobs.job import CANCELLED, Job, NotSentError, Outcome, RemoteJob
from gptimage_mcp.jobs.journal import Entry, Journal, new_handle
from gptimage_mcp.jobs.shared import SharedState


GRACE: Final = 60.0
"""Seconds that running work has to end when the server stops."""

_SETTLING: Final = 10.0
"""Seconds within which another process should have sent; what waits longer waits for its turn."""

_LOOKS: Final = 30
"""Seconds between two looks into the journal for a process that is gone."""

_REMEMBERED: Final = 8
"""Outcomes held in memory with all their pixels; of older ones the store has the images."""

_MEMORY: Final = 64 * 1024 * 1024
"""Bytes those outcomes may have together; the newest stays in any case."""

_logger: Final = logging.getLogger(__name__)


class Jobs:
    """All work of a server. Enter it for as long as the server runs; several may at a time.

    Args:
        store: Returns where the work of the current caller leaves its images.
        state: Where it is written down, for replicas and for servers started later.
        ended: Called after each job; what it raises is only logged.
        tenants: Whether each caller has a store, which only a request of theirs can find.
        grace: Seconds that running work has to end when the last one leaves.
        clock: Tells the time (UTC).
    """

    def __init__(
        self,
        *,
        store: Callable[[], gptimage.Store],
        state: SharedState,
        ended: Callable[[Job], Awaitable[None]] | None = None,
        tenants: bool = False,
        grace: float = GRACE,
        clock: Clock = utc_now,
    ) -> None:
        self._store = store
        self._journal = Journal(state)
        self._ended = ended
        self._tenants = tenants
        self._grace = grace
        self._clock = clock
        self._here: dict[str, Job] = {}
        self._by_dedup_key: dict[tuple[str, str | None], Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._detached: set[asyncio.Task[None]] = set()
        self._users = 0
        self._saving = asyncio.Lock()

    def start(
        self,
        operation: str,
        work: Callable[[Job], Awaitable[Outcome]],
        *,
        owner: str | None = None,
        handle: str | None = None,
        digest: str | None = None,
        dedup_key: str | None = None,
        detached: bool = False,
    ) -> Job:
        """Start a job; cancelling the request that started it does not end it.

        Args:
            operation: What is done: ``generate``, ``edit``, ``refine`` or ``variations``.
            work: Does it, with ``client.with_send_hook(job)``. Its images must carry the handle as
                a tag: so they are found even if the process is killed right after saving them.
            owner: Who sent the request; see `gptimage_mcp.auth.caller`.
            handle: Its handle, if another process gave it one.
            digest: Of the request to the service: `find_earlier` finds it, also after a restart.
            dedup_key: Of the whole call: while one runs, `find_duplicate` finds it.
            detached: Whether ``work`` has another process do it, which writes it down; this one
                does not wait for it when it ends.
        """
        entry = Entry(
            handle=handle or new_handle(),
            operation=operation,
            owner=owner,
            started=self._clock(),
            digest=digest,
            dedup_key=dedup_key,
        )
        if not detached:
            entry = self._journal.begin(entry)
        job = self._here[entry.handle] = Job(
            entry,
            None if detached else self._journal,
            loop=asyncio.get_running_loop(),
            settling=_SETTLING if detached else 0.0,
        )
        if dedup_key is not None:
            self._by_dedup_key[dedup_key, owner] = job
        # A task of the loop, not of the request's task group: no cancel scope reaches it.
        task = asyncio.get_running_loop().create_task(self._run(job, work))
        self._tasks[entry.handle] = task
        task.add_done_callback(partial(self._over, job))
        if detached:
            self._detached.add(task)
            task.add_done_callback(self._detached.discard)
        return job

    def write_down(self, job: Job) -> None:
        """Do a job here after all, which was begun to be done elsewhere."""
        self._detached.discard(self._tasks[job.handle])
        job.write_down(self._journal)
        self._journal.put(self._journal.taken(job.entry))

    def stop(self, job: Job, why: str) -> bool:
        """Send nothing for a job; whether nothing was sent, so that it ends now.

        Args:
            job: One of this process.
            why: Why, as in "its client left".
        """
        unsent = job.stop(why)
        if unsent and (task := self._tasks.get(job.handle)) is not None:
            task.cancel()
        return unsent

    async def cancel(self, job: Job) -> None:
        """Cancel a job that was not sent yet, in whichever process it waits."""
        await asyncio.to_thread(self._journal.cancel, job.handle)
        if job.handle in self._here and job.handle in self._tasks:
            task = self._tasks[job.handle]
            if task not in self._detached:
                self.stop(job, CANCELLED)

    def find_duplicate(self, dedup_key: str, *, owner: str | None = None) -> Job | None:
        """Return a running job with the same request: a client that gave up repeats its call."""
        job = self._by_dedup_key.get((dedup_key, owner))
        return job if job is not None and job.state == "running" else None

    async def find_earlier(
        self, digest: str, dedup_key: str | None, *, owner: str | None = None
    ) -> Job | None:
        """Return the same call, made before by this or another server.

        Args:
            digest: Of the request to the service.
            dedup_key: Of the whole call; None joins no other.
            owner: Who sent the request.

        Returns:
            One that runs and can be joined; or else one whose outcome is not known; or None.
        """
        if (
            dedup_key is not None
            and (job := self.find_duplicate(dedup_key, owner=owner)) is not None
        ):
            return job
        unknown: Job | None = None
        for entry in await asyncio.to_thread(self._journal.still_open, digest):
            job = await self.get(entry.handle, owner=owner)
            if job is None:
                continue
            if job.state == "running" and dedup_key is not None and entry.dedup_key == dedup_key:
                return job
            if job.state == "unknown":
                unknown = unknown or job
        return unknown

    async def undecided(self, *, owner: str | None = None) -> list[Job]:
        """Calls that may have been paid without an image, or were never sent; newest first."""
        entries = await asyncio.to_thread(self._journal.still_open)
        found = [await self.get(entry.handle, owner=owner) for entry in entries]
        return [job for job in found if job is not None and job.state in ("unknown", "failed")]

    async def get(self, handle: str, *, owner: str | None = None) -> Job | None:
        """Return the job of this handle; None if there is none of this owner's.

        Images that are in memory only, as no disk had room for them, are saved if one has now.
        """
        job = self._here.get(handle)
        if job is None and (entry := await asyncio.to_thread(self._journal.find, handle)):
            age = (self._clock() - entry.started).total_seconds()
            job = RemoteJob(entry, self._look, age=age)
            await self._look(job)
        if job is None or job.owner != owner:
            return None
        if job.is_in_memory_only:
            async with self._saving:  # of two who ask at the same time one saves
                if job.is_in_memory_only:
                    await self._save_again(job)
        return job

    @property
    def in_use(self) -> bool:
        """Return whether the context was entered and not left."""
        return self._users > 0

    @property
    def running(self) -> tuple[Job, ...]:
        """Return the jobs that are not over, oldest first."""
        return tuple(job for job in self._here.values() if job.state == "running")

    async def __aenter__(self) -> Self:
        """Count one more user."""
        self._users += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        """When the last one leaves, give running work its time to end, whatever happens."""
        self._users -= 1
        if self._users:
            return
        closing = asyncio.ensure_future(self._close())
        with anyio.CancelScope(shield=True):  # without it, a cancelled scope would have us spin
            while not closing.done():
                try:
                    await asyncio.shield(closing)
                except asyncio.CancelledError:  # paid work ends before we do
                    if closing.cancelled():
                        raise

    async def aclose(self) -> None:
        """Let running work end, and others see that this process does none any more."""
        await self._close()

    async def _close(self) -> None:
        for task in self._detached:  # which goes on without us
            task.cancel()
        if self._tasks:
            tasks = tuple(self._tasks.values())
            _logger.info("waiting up to %g s for %d calls", self._grace, len(tasks))
            _, late = await asyncio.wait(tasks, timeout=self._grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=5)
        for job in [*self._here.values()]:
            if job.is_in_memory_only and not (self._tenants and job.owner):
                await self._save_again(job)
        await asyncio.to_thread(self._journal.close)

    async def _run(self, job: Job, work: Callable[[Job], Awaitable[Outcome]]) -> None:
        try:
            outcome = await work(job)
        except gptimage.StoreError as error:
            if isinstance(error.result, (gptimage.Result, gptimage.Turn)):
                # Paid and at hand, perhaps nowhere else.
                job.end("done", outcome=error.result, error=error)
            else:
                job.end("failed", error=error)
        except gptimage.OutcomeUnknownError as error:
            job.end("unknown", error=error)
        except RunnerLostError:
            await self._lost(job)
        except asyncio.CancelledError:
            _stop(job)
        except Exception as error:  # noqa: BLE001  # it reaches the client as the job's error
            job.end("failed", error=error)
        else:
            result = outcome if isinstance(outcome, gptimage.Result) else outcome.result
            job.end("done", outcome=outcome, records=result.stored)
        self._forget()
        try:
            if self._ended is not None:
                await self._ended(job)
        except Exception:  # the job itself is over, and its waiters know
            _logger.exception("the end of a job could not be reported")

    def _over(self, job: Job, _: asyncio.Task[None]) -> None:
        self._tasks.pop(job.handle, None)
        if job.state == "running":  # cancelled before its first step
            _stop(job)

    async def _lost(self, job: Job) -> None:
        """End a job whose process was killed, as that process wrote down."""
        for _ in range(_LOOKS):  # its lock may be freed a moment after its pipes
            await self._look(job)
            if job.state != "running":
                return
            await asyncio.sleep(0.1)
        _stop(job)

    async def _save_again(self, job: Job) -> None:
        """Save images of a job that are in memory only."""
        try:
            job.end("done", records=await asyncio.to_thread(self._saved_again, job))
        except gptimage.StoreError as error:  # still no room, but now there may be copies
            job.error = error

    def _saved_again(self, job: Job) -> tuple[gptimage.Record, ...]:
        lineage: dict[str, Any] = {}
        outcome = job.outcome
        assert outcome is not None  # noqa: S101  # see `Job.is_in_memory_only`
        if isinstance(outcome, gptimage.Turn):
            call_id = outcome.call_ids[0] if outcome.call_ids else None
            lineage = {"response_id": outcome.response_id, "call_id": call_id}
        result = outcome if isinstance(outcome, gptimage.Result) else outcome.result
        store = self._store()
        there = tuple(reversed(store.history(100, tag=job.handle).records))
        if len(there) == len(result.images):  # the runner did so as it ended
            return there
        records = store.save(result, tags=job.tags, warn=_logger.warning, **lineage)
        for each in there:  # some of the same call, saved when there was no room for all
            with suppress(gptimage.StoreError):
                store.delete(each.id)
        return records

    def _forget(self) -> None:
        held = 0
        over = [job for job in self._here.values() if job.state != "running"]
        for place, job in enumerate(reversed(over)):
            held += job.nbytes
            if job.is_in_memory_only:
                continue
            if place >= _REMEMBERED or (place and held > _MEMORY):
                del self._here[job.handle]
        self._by_dedup_key = {
            key: job for key, job in self._by_dedup_key.items() if job.state == "running"
        }

    async def _look(self, job: Job) -> None:
        """End a job of another server here, if it ended there or its server did."""
        found = await asyncio.to_thread(self._found, job.handle)
        if found is None:
            return
        entry, records = found
        job.know(entry)
        if records or entry.state == "done":
            # Without images and with an error it is paid, and was never saved.
            unsaved = gptimage.StoreError(entry.error) if entry.error and not records else None
            job.end("done", error=unsaved, records=records)
        elif entry.state == "failed":
            job.end("failed", error=gptimage.GptImageError(entry.error or "it failed"))
        elif entry.error is not None:
            job.end("unknown", error=gptimage.OutcomeUnknownError(entry.error))
        else:
            _stop(job)

    def _found(self, handle: str) -> tuple[Entry, tuple[gptimage.Record, ...]] | None:
        """Return how a job of another server ended, and what it left; None while it runs."""
        entry = self._journal.find(handle)
        if entry is None or (entry.state == "running" and self._journal.is_alive(entry)):
            return None
        entry = self._journal.find(handle) or entry  # its last word may have come in between
        if entry.state == "failed":
            return entry, ()
        if not entry.images:
            return entry, tuple(reversed(self._store().history(100, tag=handle).records))
        return entry, tuple(self._saved(entry.images))

    def _saved(self, images: tuple[str, ...]) -> Iterator[gptimage.Record]:
        """Return those of the images that are still there."""
        for image in images:
            with suppress(gptimage.ImageNotFoundError):
                yield self._store().get(image)


def _stop(job: Job) -> None:
    """Say of a job whose server was stopped what is known: whether it may have been billed."""
    if not job.sent:
        job.end("failed", error=NotSentError(job.stopped()))
        return
    begun = f"{job.operation} begun at {job.started:%Y-%m-%d %H:%M:%S} UTC: the server stopped"
    cost = "how much is not known" if job.most is None else f"up to ${job.most.normalize():f}"
    message = (
        f"{begun} meanwhile, and no image of it is in the store. It may have been billed, "
        f"{cost}: look at the usage page of the account before asking again. (`gptimage recover` "
        "saves a response that had arrived but was not saved yet.)"
    )
    job.end("unknown", error=gptimage.OutcomeUnknownError(message, possible_cost=job.most))
