"""`Claim`: a job in the hands of a live worker, and the gate its request has to pass."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import Final, Self

from gptimage.workers import state_machine
from gptimage.workers.entry import Answer, Entry
from gptimage.workers.job import Job
from gptimage.workers.job_store import Desk, DeskError, change
from gptimage.workers.state_machine import Worker


LEASE: Final = timedelta(seconds=30)
"""A worker that gave no sign of life for so long counts as dead."""

_SIGNS: Final = 3
"""Signs of life in one lease: all but one of them may be lost."""


class ClaimLostError(DeskError):
    """The job is somebody else's now, or finished. Nothing was sent."""


class Claim:
    """A job that this worker has, from `__enter__` to `__exit__` with signs of life.

    It is the `gptimage.gate.Gate` of the job's request: that it leaves is on the desk first.

    Args:
        desk: The desk.
        entry: The job, with this worker's name on it.
        lease: Seconds until this worker counts as dead.

    Attributes:
        entry: The job as it was when this worker got it.
        sent: Whether a request left, or was about to, that may be billed.
        key: The cache key of what left, or was about to; None when nothing did.
    """

    def __init__(self, desk: Desk, entry: Entry, lease: float) -> None:
        self.entry: Entry = entry
        self.sent: bool = entry.state == "sending"
        self.key: str | None = entry.key
        self._desk = desk
        self._lease = lease
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._live, name="gptimage-job", daemon=True)

    @classmethod
    def of(cls, desk: Desk, job: Job, lease: timedelta) -> Claim | Entry:
        """The job, if this worker may have it, or else what the desk knows of it.

        Raises:
            InvalidRequestError: The id belongs to another request.
            DeskError: The desk cannot be used.
        """
        name = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(8)}"
        seconds = lease.total_seconds()
        worker = Worker(name=name, now=desk.now(), lease=seconds)
        entry = change(desk, job.id, lambda entry: state_machine.claim(entry, job, worker))
        assert entry is not None  # noqa: S101  # the rule always gives one
        return cls(desk, entry, seconds) if entry.holder == name else entry

    def __enter__(self) -> Self:
        """Begin to give signs of life."""
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them."""
        self._over.set()

    def sending(self, key: str, ceiling: Decimal | None) -> None:
        """Note that the request is about to leave; it does not when that fails.

        Raises:
            ClaimLostError: Somebody else has the job.
            DeskError: The desk cannot be written.
        """
        if (
            self._change(lambda entry, worker: state_machine.sending(entry, worker, key, ceiling))
            is None
        ):
            raise ClaimLostError(
                f"the job {self.entry.id} is not this worker's any more: somebody else finished "
                f"it, or has it because there was no sign of life for {self._lease:.0f} s; "
                "nothing was sent"
            )
        self.sent, self.key = True, key

    def unsent(self) -> None:
        """Note that what left was not billed; if that fails, it stays noted as sent."""
        with suppress(DeskError):
            self._change(state_machine.unsent)
            self.sent = False

    def done(self, answer: Answer) -> Entry | None:
        """The pictures are in the store."""
        now = self._desk.now()
        return change(
            self._desk, self.entry.id, lambda entry: state_machine.done(entry, answer, now)
        )

    def failed(self, reason: str, *, retryable: bool) -> Entry | None:
        """Nothing was billed."""
        return self._change(
            lambda entry, worker: state_machine.failed(entry, worker, reason, retryable=retryable)
        )

    def parked(self, reason: str) -> Entry | None:
        """It may have been billed, and there is no picture."""
        return self._change(lambda entry, worker: state_machine.parked(entry, worker, reason))

    def released(self, reason: str) -> Entry | None:
        """Whoever gets it next looks again for what left, if anything did."""
        return self._change(lambda entry, worker: state_machine.released(entry, worker, reason))

    def known(self) -> Entry | None:
        """What the desk knows of the job."""
        return self._desk.read(self.entry.id)

    def _change(self, rule: Callable[[Entry | None, Worker], Entry | None]) -> Entry | None:
        worker = Worker(name=self.entry.holder, now=self._desk.now(), lease=self._lease)
        return change(self._desk, self.entry.id, lambda entry: rule(entry, worker))

    def _live(self) -> None:
        """Give signs of life until the end, or until the job is somebody else's."""
        while not self._over.wait(self._lease / _SIGNS):
            try:
                if self._change(state_machine.beat) is None:
                    return
            except Exception:  # noqa: BLE001, S112  # whatever it is, the next sign may get through
                continue
