"""The requests this process has in the air, so that threads and tasks that ask alike can join."""

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
"""Keyed by process as well, so that a forked child starts with nothing in the air."""


class Flight:
    """One request: its captain asks, its passengers wait.

    Args:
        was_sent: Whether the request may have reached the service by now.
        loop: The event loop that runs it; None when a thread does.

    Attributes:
        thread: The thread that runs it.
        landing: How it ended, once it has.
        abort: Gives up a flight nobody wants any more; None when that cannot be done.
        bury: Ends a flight whose event loop was closed under it; None without a loop.
    """

    def __init__(
        self, was_sent: Callable[[], bool], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.thread: int = threading.get_ident()
        self.landing: Future[FlightResult | Failure] = Future()
        self.landing.set_running_or_notify_cancel()  # a waiter that is cancelled leaves it alone
        self.abort: Callable[[], object] | None = None
        self.close_abandoned: Callable[[], object] | None = None
        self._was_sent = was_sent
        self._loop = loop
        self._slot: Slot | None = None
        self._landed = False
        self._captain = True
        self._passengers = 0

    def resolve(self, outcome: FlightResult | Failure) -> int:
        """Tell the passengers, once; gives how many there are. Nobody can join any more."""
        with _lock:
            if self._slot is not None and _in_flight.get(self._slot) is self:
                del _in_flight[self._slot]
            first, self._landed = not self._landed, True
        if first:
            self.landing.set_result(outcome)
        return self._passengers

    def cancel(self, *, captain: bool = False) -> None:
        """Somebody does not want it any more; if nobody does, and it was not sent, it ends."""
        with _lock:
            if captain:
                self._captain = False
            else:
                self._passengers -= 1
            deserted = not self._captain and not self._passengers
        if deserted and self.abort is not None and not self._was_sent():
            self.abort()

    @classmethod
    def join(cls, flight: Flight, cache: Cache, key: str, *, refresh: bool) -> tuple[Flight, bool]:
        """Join the flight that asks the same, or make this one the flight others join.

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
                if not other._is_abandoned():
                    other._passengers += 1
                    return other, False
            other._end()

    def _is_abandoned(self) -> bool:
        """Whether its event loop was closed under it, so that it cannot land by itself."""
        return self._loop is not None and self._loop.is_closed()

    def _end(self) -> None:
        """Let a stranded flight give back what it holds, and tell its passengers."""
        if self.close_abandoned is not None:
            self.close_abandoned()
        self.resolve(RETRY)
