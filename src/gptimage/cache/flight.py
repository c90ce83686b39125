"""The requests in flight in this process, which threads and tasks with the same request join."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeAlias

from gptimage._internal.locks import ForkSafeLock
from gptimage.cache.base import Cache, FlightResult
from gptimage.cache.outcomes import RETRY, Failure


if TYPE_CHECKING:
    import asyncio


Slot: TypeAlias = tuple[int, int, str, bool]

_lock: Final = ForkSafeLock()
_in_flight: Final[dict[Slot, Flight]] = {}
"""Keyed by process as well, so that a forked child starts with no requests in flight."""


class Flight:
    """One request: its leader sends it, its waiters share the result.

    Args:
        was_sent: Whether the request may have reached the service by now.
        loop: The event loop that runs it; None when a thread does.

    Attributes:
        thread: The thread that runs it.
        outcome: How it ended, once it has.
        abort: Gives up a request nobody wants any more; None when that cannot be done.
        close_abandoned: Ends the leader's coroutine after its event loop was closed.
    """

    def __init__(
        self, was_sent: Callable[[], bool], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.thread: int = threading.get_ident()
        self.outcome: Future[FlightResult | Failure] = Future()
        self.outcome.set_running_or_notify_cancel()  # a cancelled waiter leaves it alone
        self.abort: Callable[[], object] | None = None
        self.close_abandoned: Callable[[], object] | None = None
        self._was_sent = was_sent
        self._loop = loop
        self._slot: Slot | None = None
        self._resolved = False
        self._led = True
        self._waiters = 0

    def resolve(self, outcome: FlightResult | Failure) -> int:
        """Give the waiters the outcome, once; returns how many there are. None can join later."""
        with _lock:
            if self._slot is not None and _in_flight.get(self._slot) is self:
                del _in_flight[self._slot]
            first, self._resolved = not self._resolved, True
        if first:
            self.outcome.set_result(outcome)
        return self._waiters

    def cancel(self, *, leader: bool = False) -> None:
        """Leave it. On cancellation it keeps running if it was sent or another caller waits."""
        with _lock:
            if leader:
                self._led = False
            else:
                self._waiters -= 1
            unwanted = not self._led and not self._waiters
        if unwanted and self.abort is not None and not self._was_sent():
            self.abort()

    @classmethod
    def join(cls, flight: Flight, cache: Cache, key: str, *, refresh: bool) -> tuple[Flight, bool]:
        """Join the flight of the same request, or make this one the flight others join.

        Returns:
            The flight to wait for, and whether it is the one that was offered.
        """
        slot = (os.getpid(), id(cache), key, refresh)
        while True:
            with _lock:
                other = _in_flight.setdefault(slot, flight)
                if other is flight:
                    flight._slot = slot
                    return flight, True
                # A closed event loop never resumes its tasks: this one cannot end by itself.
                abandoned = other._loop is not None and other._loop.is_closed()
                if not abandoned:
                    other._waiters += 1
                    return other, False
            if other.close_abandoned is not None:
                other.close_abandoned()  # which releases its lease
            other.resolve(RETRY)
