"""`Job`: a piece of work that outlives the request that asked for it, and how to wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeAlias

from attrs import evolve, field, frozen

import gptimage
from gptimage_mcp.jobs.journal import Entry, Journal, State


HEARTBEAT: Final = 10.0
"""Seconds between two signs of life, at most."""

_LOOK: Final = 1.0
"""Seconds between two looks at work that another server does."""

Outcome: TypeAlias = "gptimage.Result | gptimage.Turn"
"""Quoted, because naming `gptimage.Turn` imports all of conversations."""


@frozen(kw_only=True)
class Progress:
    """How far a job is.

    Attributes:
        seconds: Since it began.
        message: What happens now, one short line.
        preview: The newest partial image, or None.
    """

    seconds: float
    message: str
    preview: gptimage.Image | None = field(default=None, repr=False)


Tell: TypeAlias = Callable[[Progress], Awaitable[None]]
"""How somebody who waits hears how far it is."""


class Job:
    """A piece of work, running or over, here or in a server that was stopped.

    It is a `gptimage.gate.Gate`: draw with ``client.gated(job)``, and it is written down that
    the request left, and what it may cost, before it leaves.

    Attributes:
        state: ``running``, ``done``, ``failed``; ``unknown`` when it was sent, its outcome is not
            known, and it may have been billed.
        outcome: What came of it, when it was done in this process; otherwise see `records`.
        error: Why it ended without pictures, or why they could not be saved.
        records: What it left in the store.
        copies: Where ``save_to`` wrote copies.
    """

    def __init__(self, entry: Entry, journal: Journal | None = None, *, age: float = 0.0) -> None:
        self.state: State = "running"
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.records: tuple[gptimage.Record, ...] = ()
        self.copies: tuple[Path, ...] = ()
        self._begun = time.monotonic() - max(0.0, age)
        self._entry = entry
        self._journal = journal
        self._message = "begun"
        self._preview: gptimage.Image | None = None
        self._changed = asyncio.Event()

    @property
    def handle(self) -> str:
        """``job_`` and 128 random bits; whoever has it may ask for the outcome."""
        return self._entry.handle

    @property
    def operation(self) -> str:
        """``generate``, ``edit``, ``refine`` or ``variations``."""
        return self._entry.operation

    @property
    def owner(self) -> str | None:
        """Who asked, where callers are known; nobody else is told about it."""
        return self._entry.owner

    @property
    def started(self) -> datetime:
        """When it began (UTC)."""
        return self._entry.started

    @property
    def sent(self) -> bool:
        """Whether a request has left, so that it may be billed."""
        return self._entry.sent

    @property
    def most(self) -> Decimal | None:
        """The most it should cost, in USD, once it is sent; None when that is not known."""
        return self._entry.most

    @property
    def nbytes(self) -> int:
        """How much memory its pictures take."""
        outcome = self.outcome
        return 0 if outcome is None else sum(image.nbytes for image in outcome.images)

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        # With the handle, so that a client that gives up now can ask for it later.
        message = f"{self._message} ({self.handle})"
        seconds = time.monotonic() - self._begun
        return Progress(seconds=seconds, message=message, preview=self._preview)

    async def wait(self, seconds: float, tell: Tell | None = None) -> None:
        """Wait until it is over, or for so many seconds; never raises because it failed.

        Args:
            seconds: How long at most.
            tell: Hears how far it is: at once, at each partial image, and every 10 s.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        while self.state == "running":
            changed = self._changed  # before telling: what happens meanwhile is not missed
            if tell is not None:
                await tell(self.progress)
            left = deadline - clock()
            if left <= 0:
                return
            await self._until(changed, min(left, HEARTBEAT))

    def report(self, message: str, preview: gptimage.Image | None = None) -> None:
        """Say what happens now; the work calls it."""
        self._message, self._preview = message, preview or self._preview
        self._tell_all()

    def sending(self, key: str, ceiling: Decimal | None) -> None:
        """A request is about to leave; the client calls it, in a thread."""
        del key
        self._note(evolve(self._entry, sent=True, most=ceiling))
        self._message = "the service is drawing"

    def unsent(self) -> None:
        """What left was not billed, and will be sent again; the client calls it, in a thread."""
        self._note(evolve(self._entry, sent=False))
        self._message = "the service is busy: asking again soon"

    def end(
        self,
        state: State,
        *,
        outcome: Outcome | None = None,
        error: Exception | None = None,
        records: tuple[gptimage.Record, ...] = (),
    ) -> None:
        """Say how it ended; whoever runs it calls it."""
        told = str(error) if isinstance(error, gptimage.GptImageError) else type(error).__name__
        images = tuple(record.id for record in records)
        self._note(evolve(self._entry, state=state, images=images, error=told if error else None))
        self.state, self.outcome, self.error, self.records = state, outcome, error, records
        self._preview = None
        self._tell_all()

    def _note(self, entry: Entry) -> None:
        self._entry = entry
        if self._journal is not None:
            self._journal.put(entry)

    def _tell_all(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, changed: asyncio.Event, seconds: float) -> None:
        """Until something happens, or for so many seconds."""
        try:
            await asyncio.wait_for(changed.wait(), seconds)
        except TimeoutError:
            return


class Elsewhere(Job):
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
