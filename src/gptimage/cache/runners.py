"""The steps of a shared request that differ between a thread and an event loop.

What happens is written once, as coroutines. The steps of `Runner` never suspend, so a thread runs
such a coroutine in one go; those of `AsyncRunner` are awaited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gptimage._internal.threads import to_thread_shielded
from gptimage.cache.base import FlightResult, NewReply
from gptimage.cache.flight import Flight
from gptimage.cache.outcomes import RETRY, Failure


if TYPE_CHECKING:
    import asyncio


T = TypeVar("T")


class Runner:
    """A thread that waits for everything it does.

    Args:
        call: Sends the request.
        sent: Whether the request may have reached the service by now; without it, it counts as
            sent as soon as ``call`` was begun.
    """

    def __init__(self, call: Callable[[], Any], sent: Callable[[], bool] | None) -> None:
        self._call = call
        self._sent = sent
        self.called: bool = False

    def was_sent(self) -> bool:
        """Return whether the request may have reached the service."""
        return self.called and (self._sent is None or self._sent())

    def would_deadlock(self, thread: int) -> bool:
        """Return whether that thread is this one: it would wait for a task of its own loop."""
        return thread == threading.get_ident()

    def flight(self) -> Flight:
        """Make a new flight."""
        return Flight(self.was_sent)

    async def do(self, work: Callable[[], T]) -> T:
        """Run quick work that may touch disks and sockets, to its end in any case."""
        return work()

    async def sleep(self, seconds: float) -> None:
        """Wait a moment."""
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop to keep waiting

    async def send(self) -> NewReply:
        """Send the request and wait for the response."""
        self.called = True
        reply: NewReply = self._call()
        return reply

    async def wait(self, flight: Flight) -> FlightResult | Failure:
        """Wait for the outcome of another caller's request."""
        try:
            return flight.outcome.result()
        except BaseException:
            flight.cancel()
            raise

    async def lead(
        self, flight: Flight, attempt: Coroutine[Any, Any, FlightResult]
    ) -> FlightResult:
        """Run an attempt as the leader of its flight."""
        del flight
        return await attempt


class AsyncRunner(Runner):
    """A task of an asyncio event loop.

    The attempt is a task of its own: when its leader is cancelled, a request that was sent goes
    on for the waiters and the cache, because it is paid for either way.
    """

    def would_deadlock(self, thread: int) -> bool:
        """Return False: a task that waits lets the others of its loop go on."""
        del thread
        return False

    def flight(self) -> Flight:
        """Make a new flight of the running loop."""
        import asyncio

        return Flight(self.was_sent, asyncio.get_running_loop())

    async def do(self, work: Callable[[], T]) -> T:
        """Run it in a thread for caches alone, which work that waits cannot fill.

        Cancelling has to wait for it: a lease must not be won with nobody to release it.
        """
        return await to_thread_shielded(work)

    async def sleep(self, seconds: float) -> None:
        """Let the loop do something else."""
        import asyncio

        await asyncio.sleep(seconds)

    async def send(self) -> NewReply:
        """Send the request and await the response."""
        self.called = True
        reply: NewReply = await self._call()
        return reply

    async def wait(self, flight: Flight) -> FlightResult | Failure:
        """Await the outcome of another caller's request."""
        import asyncio

        try:
            return await asyncio.wrap_future(flight.outcome)
        except BaseException:
            flight.cancel()
            raise

    async def lead(
        self, flight: Flight, attempt: Coroutine[Any, Any, FlightResult]
    ) -> FlightResult:
        """Run it as a task of its own, which outlives a leader that is cancelled."""
        import asyncio

        loop = asyncio.get_running_loop()
        task = loop.create_task(attempt)
        _running_tasks.add(task)
        task.add_done_callback(partial(_on_done, flight))
        flight.close_abandoned = attempt.close
        flight.abort = lambda: _call_in(loop, self._abort, task)
        try:
            await asyncio.wait((task,))
        except BaseException:
            flight.cancel(leader=True)
            raise
        return task.result()

    def _abort(self, task: asyncio.Task[FlightResult]) -> None:
        # Asked again here, because only the loop's own thread sees whether it was sent meanwhile.
        if not self.was_sent():
            task.cancel()


_running_tasks: Final[set[asyncio.Task[FlightResult]]] = set()
"""A loop holds its tasks only weakly
(https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task); these must not vanish
with their leaders."""


def _call_in(loop: asyncio.AbstractEventLoop, do: Callable[..., object], *args: object) -> None:
    with suppress(RuntimeError):  # it was closed, and its tasks with it
        loop.call_soon_threadsafe(do, *args)


def _on_done(flight: Flight, task: asyncio.Task[FlightResult]) -> None:
    _running_tasks.discard(task)
    flight.resolve(RETRY)  # it may have been cancelled before its first step
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not complain when the leader has left
