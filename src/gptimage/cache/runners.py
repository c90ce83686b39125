"""The steps of a flight that differ between a thread that waits and an event loop.

What a flight does is written once, as coroutines. The steps of `ThreadRunner` never
suspend, so a thread runs such a coroutine in one go; those of `AsyncRunner` are awaited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from gptimage._internal.threads import to_thread_shielded
from gptimage.cache.base import FlightResult, NewReply
from gptimage.cache.flight import Flight
from gptimage.cache.outcomes import RETRY, Failure


if TYPE_CHECKING:
    import asyncio


T = TypeVar("T")


class Runner(Protocol):
    """Takes the steps of one flight."""

    def was_sent(self) -> bool:
        """Whether the request may have reached the service by now."""
        ...

    def has_asked(self) -> bool:
        """Whether the call was begun."""
        ...

    def would_deadlock(self, thread: int) -> bool:
        """Whether waiting here would keep that thread from ever landing its flight."""
        ...

    def flight(self) -> Flight:
        """A new flight of this crew."""
        ...

    async def do(self, work: Callable[[], T]) -> T:
        """Run quick work that may touch disks and sockets, to its end in any case."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait a moment."""
        ...

    async def ask(self) -> NewReply:
        """Send the request."""
        ...

    async def wait(self, flight: Flight) -> FlightResult | Failure:
        """Wait as a passenger."""
        ...

    async def lead(
        self, flight: Flight, journey: Coroutine[Any, Any, FlightResult]
    ) -> FlightResult:
        """Run a flight as its captain."""
        ...


class ThreadRunner:
    """A thread that waits for everything it does.

    Args:
        call: Sends the request.
        sent: Whether the request may have reached the service by now.
    """

    def __init__(self, call: Callable[[], NewReply], sent: Callable[[], bool] | None) -> None:
        self._call = call
        self._sent = sent
        self._asked = False

    def has_asked(self) -> bool:
        """Whether the call was begun."""
        return self._asked

    def was_sent(self) -> bool:
        """Whether the request may have reached the service; yes, when nobody can tell."""
        return self._asked and (self._sent is None or self._sent())

    def would_deadlock(self, thread: int) -> bool:
        """Whether this very thread has to land that flight: a task of its event loop leads it."""
        return thread == threading.get_ident()

    def flight(self) -> Flight:
        """A new flight of this thread."""
        return Flight(self.was_sent)

    async def do(self, work: Callable[[], T]) -> T:
        """Run it here."""
        return work()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop to keep waiting

    async def ask(self) -> NewReply:
        """Send the request and wait for the answer."""
        self._asked = True
        return self._call()

    async def wait(self, flight: Flight) -> FlightResult | Failure:
        """Wait for somebody else's landing."""
        try:
            return flight.landing.result()
        except BaseException:
            flight.cancel()
            raise

    async def lead(
        self, flight: Flight, journey: Coroutine[Any, Any, FlightResult]
    ) -> FlightResult:
        """Fly it here; there is nobody to hand it to."""
        del flight
        return await journey


class AsyncRunner:
    """A task of an asyncio event loop.

    The flight is a task of its own: when its captain is cancelled, a request that was
    sent goes on for the passengers and the cache, because it is paid for either way.

    Args:
        call: Sends the request.
        sent: Whether the request may have reached the service by now.
    """

    def __init__(
        self, call: Callable[[], Awaitable[NewReply]], sent: Callable[[], bool] | None
    ) -> None:
        self._call = call
        self._sent = sent
        self._asked = False

    def has_asked(self) -> bool:
        """Whether the call was begun."""
        return self._asked

    def was_sent(self) -> bool:
        """Whether the request may have reached the service; yes, when nobody can tell."""
        return self._asked and (self._sent is None or self._sent())

    def would_deadlock(self, thread: int) -> bool:
        """Never: a task that waits lets the others of its loop go on."""
        del thread
        return False

    def flight(self) -> Flight:
        """A new flight of the running loop."""
        import asyncio

        return Flight(self.was_sent, asyncio.get_running_loop())

    async def do(self, work: Callable[[], T]) -> T:
        """Run it in a thread kept for caches, which nobody fills with work that waits.

        Cancelling has to wait for it: a lease must not be won with nobody to release it.
        """
        return await to_thread_shielded(work)

    async def sleep(self, seconds: float) -> None:
        """Let the loop do something else."""
        import asyncio

        await asyncio.sleep(seconds)

    async def ask(self) -> NewReply:
        """Send the request and await the answer."""
        self._asked = True
        return await self._call()

    async def wait(self, flight: Flight) -> FlightResult | Failure:
        """Await somebody else's landing."""
        import asyncio

        try:
            return await asyncio.wrap_future(flight.landing)
        except BaseException:
            flight.cancel()
            raise

    async def lead(
        self, flight: Flight, journey: Coroutine[Any, Any, FlightResult]
    ) -> FlightResult:
        """Fly it as a task of its own, which outlives a captain who is cancelled."""
        import asyncio

        loop = asyncio.get_running_loop()
        task = loop.create_task(journey)
        _running_tasks.add(task)
        task.add_done_callback(partial(_on_done, flight))
        flight.close_abandoned = journey.close
        flight.abort = lambda: _tell(loop, self._give_up, task)
        try:
            await asyncio.wait((task,))
        except BaseException:
            flight.cancel(captain=True)
            raise
        return task.result()

    def _give_up(self, task: asyncio.Task[FlightResult]) -> None:
        """End a flight nobody wants, unless it was sent meanwhile; only the loop's thread knows."""
        if not self.was_sent():
            task.cancel()


_running_tasks: Final[set[asyncio.Task[FlightResult]]] = set()
"""A loop holds its tasks only weakly; these must not vanish with their captains."""


def _tell(loop: asyncio.AbstractEventLoop, do: Callable[..., object], *args: object) -> None:
    """Let an event loop do something, if it still runs."""
    with suppress(RuntimeError):  # it was closed, and its tasks with it
        loop.call_soon_threadsafe(do, *args)


def _on_done(flight: Flight, task: asyncio.Task[FlightResult]) -> None:
    """The flight is over, even if it was cancelled before its first step."""
    _running_tasks.discard(task)
    flight.resolve(RETRY)
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain when the captain has left
