"""`Job`: work that outlives the request that started it, and how to wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeAlias

from attrs import evolve, field, frozen

import gptimage
from gptimage_mcp.jobs.journal import Entry, Journal, State


HEARTBEAT: Final = 10.0
"""Seconds between two signs of life, at most."""

CANCELLED: Final = "it was cancelled"
"""Error text of a job that was cancelled."""

_STARTING: Final = 40.0
"""Seconds another process has to start; clients give up a call after 60."""

_LOOK: Final = 1.0
"""Seconds between two looks at work that another server does."""

Outcome: TypeAlias = "gptimage.Result | gptimage.Turn"
"""Quoted, because naming `gptimage.Turn` imports all of conversations."""


@frozen(kw_only=True)
class Progress:
    """Progress of a job.

    Attributes:
        seconds: Since it began.
        message: What happens now, one short line.
        preview: The newest partial image, or None.
    """

    seconds: float
    message: str
    preview: gptimage.Image | None = field(default=None, repr=False)


@frozen(kw_only=True)
class JobSnapshot:
    """State of a job as the process that draws reports it.

    Attributes:
        sent: See `Job`.
        most: See `Job`.
        message: What happens now.
        preview: The newest partial image, or None.
    """

    sent: bool
    most: Decimal | None
    message: str
    preview: gptimage.Image | None = field(default=None, repr=False)


@frozen(kw_only=True)
class RunnerOutcome:
    """Outcome of a job in the process that drew it; see `Job`."""

    outcome: Outcome | None = None
    error: Exception | None = None
    copies: tuple[Path, ...] = ()
    tags: tuple[str, ...] = ()


class NotSentError(gptimage.GptImageError):
    """Cancelled before it was sent, so nothing was billed."""


ProgressCallback: TypeAlias = Callable[[Progress], Awaitable[None]]
"""Callback for the progress of a job."""


class Job:
    """A piece of work, running or over, here or in a server that was stopped.

    It is a send hook: draw with ``client.with_send_hook(job)``, and that the request
    left, and what it may cost, is written down before it leaves.

    Attributes:
        state: ``running``, ``done``, ``failed``; ``unknown`` when it was sent, its outcome is not
            known, and it may have been billed.
        outcome: What came of it, when it was done in this process; otherwise see `records`.
        error: Why it ended without images, or why they could not be saved.
        records: What it left in the store; see `shown`.
        copies: Where ``save_to`` wrote copies.
        tags: With which its images are saved.
    """

    def __init__(
        self,
        entry: Entry,
        journal: Journal | None = None,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        settling: float = 0.0,
        age: float = 0.0,
    ) -> None:
        self.state: State = "running"
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.records: tuple[gptimage.Record, ...] = ()
        self.copies: tuple[Path, ...] = ()
        self.tags: tuple[str, ...] = ()
        self._begun = time.monotonic() - max(0.0, age)
        self._entry = entry
        self._journal = journal
        self._message = "begun"
        self._preview: gptimage.Image | None = None
        self._changed = asyncio.Event()
        self._loop = loop
        self._settling = settling
        self._followed: float | None = None
        self._stopping: str | None = None
        self._leaving = threading.Lock()

    @property
    def entry(self) -> Entry:
        """Return its entry in the journal."""
        return self._entry

    @property
    def changed(self) -> asyncio.Event:
        """Set when something happens next; take it before looking."""
        return self._changed

    @property
    def snapshot(self) -> JobSnapshot:
        """Return its present state, for another process."""
        return JobSnapshot(
            sent=self.sent, most=self.most, message=self._message, preview=self._preview
        )

    @property
    def handle(self) -> str:
        """``job_`` and 128 random bits; it gives access to the outcome."""
        return self._entry.handle

    @property
    def operation(self) -> str:
        """``generate``, ``edit``, ``refine`` or ``variations``."""
        return self._entry.operation

    @property
    def owner(self) -> str | None:
        """Return its caller, where callers are known; no other caller may see it."""
        return self._entry.owner

    @property
    def started(self) -> datetime:
        """When it began (UTC)."""
        return self._entry.started

    @property
    def is_running(self) -> bool:
        """Return whether it is not over yet."""
        return self.state == "running"

    @property
    def sent(self) -> bool:
        """Return whether a request was sent, so that it may be billed."""
        return self._entry.sent

    @property
    def most(self) -> Decimal | None:
        """The most it should cost, in USD, once it is sent; None when that is not known."""
        return self._entry.most

    @property
    def shown(self) -> tuple[gptimage.Record, ...]:
        """The records of the images that answer it: all, or the first ones of more it has drawn."""
        return self.records[: self._entry.shown]

    @property
    def nbytes(self) -> int:
        """Return how much memory its images take."""
        outcome = self.outcome
        return 0 if outcome is None else sum(image.nbytes for image in outcome.images)

    @property
    def is_in_memory_only(self) -> bool:
        """Return whether its images are paid, and neither saved nor copied anywhere."""
        error = self.error
        unsaved = isinstance(error, gptimage.StoreError) and not error.recovery_copies
        return unsaved and self.outcome is not None

    @property
    def progress(self) -> Progress:
        """Return its present progress."""
        # With the handle, so that a client that gives up now can ask for it later.
        message = f"{self._message} ({self.handle})"
        seconds = time.monotonic() - self._begun
        return Progress(seconds=seconds, message=message, preview=self._preview)

    async def wait(self, seconds: float, on_progress: ProgressCallback | None = None) -> None:
        """Wait until it is over, or for so many seconds; never raises because it failed.

        Args:
            seconds: How long at most.
            on_progress: Receives its progress: at once, at each partial image, and every 10 s.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        while self.state == "running":
            changed = self._changed  # before telling: what happens meanwhile is not missed
            # Who has the handle may leave, and then only what was sent is finished. So nobody is
            # informed of it while another process is only just about to send.
            if (unsettled := self._unsettled()) > 0:
                await self._until(changed, unsettled)
                continue
            if on_progress is not None:
                await on_progress(self.progress)
            left = deadline - clock()
            if left <= 0:
                return
            await self._until(changed, min(left, HEARTBEAT))

    def _unsettled(self) -> float:
        """Return the seconds within which the process that draws should still send.

        They count from its first words, because on a busy machine it takes long to start.
        """
        if self.sent or not self._settling:
            return 0.0
        now = time.monotonic()
        if self._followed is None:
            return self._begun + _STARTING - now
        return self._followed + self._settling - now

    def report(self, message: str, preview: gptimage.Image | None = None) -> None:
        """Say what happens now; the work calls it."""
        self._message, self._preview = message, preview or self._preview
        self._tell_all()

    def follow(self, reported: JobSnapshot) -> None:
        """Be as the process that draws it says."""
        if self._followed is None:
            self._followed = time.monotonic()
        self._entry = evolve(self._entry, sent=reported.sent, most=reported.most)
        self.report(reported.message, reported.preview)

    def know(self, entry: Entry) -> None:
        """Be as it was written down."""
        self._entry = entry

    def write_down(self, journal: Journal) -> None:
        """From now on this process does it, and writes down how it is."""
        self._journal, self._settling = journal, 0.0

    def stop(self, why: str) -> bool:
        """Let nothing be sent for it from now on; whether nothing was, so that it can end at once.

        Args:
            why: Why, as in "its client left".
        """
        with self._leaving:  # it is sent, and we know, or it will not be
            self._stopping = why
            return not self.sent

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        """A request is about to leave; the client calls it, in a thread.

        Raises:
            NotSentError: Nobody wants it any more; it does not leave.
        """
        del key
        with self._leaving:
            if self._journal is not None and self._journal.is_cancelled(self.handle):
                self._stopping = self._stopping or CANCELLED
            if self._stopping is not None:
                raise NotSentError(self.stopped())
            self._note(evolve(self._entry, sent=True, most=max_cost))
        self._message = "the service is drawing"
        self._wake()

    def not_billed(self) -> None:
        """Note that the request was not billed and is sent again; called from a thread."""
        with self._leaving:
            self._note(evolve(self._entry, sent=False))
        self._message = "the service is busy: asking again soon"
        self._wake()

    def stopped(self) -> str:
        """Return the message for a job that ends before it was sent."""
        begun = f"{self.operation} begun at {self.started:%Y-%m-%d %H:%M:%S} UTC"
        why = self._stopping or "the server stopped"
        return f"{begun}: {why} before the request was sent; nothing was billed, so ask again"

    def end(
        self,
        state: State,
        *,
        outcome: Outcome | None = None,
        error: Exception | None = None,
        records: tuple[gptimage.Record, ...] = (),
    ) -> None:
        """Record how it ended; called by what runs it."""
        reason = str(error) if isinstance(error, gptimage.GptImageError) else type(error).__name__
        if outcome is not None and len(outcome.images) < len(records):
            self._entry = evolve(self._entry, shown=len(outcome.images))
        images = tuple(record.id for record in records)
        self._note(
            evolve(
                self._entry,
                state=state,
                images=images,
                error=reason if error else None,
                stopped=state == "failed" and self._stopping is not None and not self.sent,
            )
        )
        self.state, self.outcome, self.error, self.records = state, outcome, error, records
        self._preview = None
        self._tell_all()

    def _note(self, entry: Entry) -> None:
        self._entry = entry
        if self._journal is not None:
            self._journal.put(entry)

    def _wake(self) -> None:
        """Wake the callers that wait, from a thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it is over, and nobody waits
                self._loop.call_soon_threadsafe(self._tell_all)

    def _tell_all(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, changed: asyncio.Event, seconds: float) -> None:
        """Until something happens, or for so many seconds."""
        # Not `wait_for`: on Python 3.11 it forgets that it was cancelled when both come at once.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()


class EarlierUnknownError(gptimage.OutcomeUnknownError):
    """Refusal of a call that was made before and may have been paid; nothing was sent now.

    Attributes:
        handle: The handle of the earlier call.
    """

    def __init__(self, job: Job) -> None:
        self.handle: str = job.handle
        super().__init__(
            f"the same call was begun at {job.started:%Y-%m-%d %H:%M:%S} UTC ({job.handle}), and "
            "what became of it is not known",
            possible_cost=job.most,
        )


class RemoteJob(Job):
    """A job that another server of this machine does, or did.

    Args:
        entry: What that server wrote down.
        look: Looks again; ends the job here if it ended there.
        age: Seconds since it began.
    """

    def __init__(self, entry: Entry, look: Callable[[Job], Awaitable[None]], *, age: float) -> None:
        super().__init__(entry, age=age)
        self._look = look
        self._message = "another process of this server draws it"

    async def _until(self, changed: asyncio.Event, seconds: float) -> None:
        del changed  # nothing that happens elsewhere sets it
        await asyncio.sleep(min(seconds, _LOOK))
        await self._look(self)
