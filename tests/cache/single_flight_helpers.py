"""A slow service that counts, and ways to ask it the same from many sides at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from gptimage.cache import Cache
from gptimage.cache import flight as flights
from gptimage.cache.base import FlightResult, Lease, LeaseHeld, NewReply
from gptimage.cache.single_flight import asingle_flight, single_flight
from gptimage.errors import GptImageError


KEY = "g1:" + "a" * 64
OTHER = "g1:" + "b" * 64
COST = Decimal("0.04")


class Service:
    """Answers, slowly, and counts; or fails as told, once for each failure it is given.

    A machine under load may start threads late. Where it matters who waits, ``crowd`` is
    how many ask in all, and an answer comes only when all who are left have joined.
    """

    def __init__(self, *failures: BaseException, delay: float = 0.1) -> None:
        self.failures = list(failures)
        self.delay = delay
        self.asked = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.crowd = 0

    def __call__(self) -> NewReply:
        """Answer a thread."""
        number = self._begin()
        self.go.wait()
        wait_until(lambda: waiting() >= self.crowd - number)
        time.sleep(self.delay)
        return self._end(number)

    async def awaited(self) -> NewReply:
        """Answer a task."""
        number = self._begin()
        while not self.go.is_set():  # noqa: ASYNC110  # threads clear and set it, too
            await asyncio.sleep(0.001)
        await until_waiting(self.crowd - number)
        await asyncio.sleep(self.delay)
        return self._end(number)

    def _begin(self) -> int:
        self.asked += 1
        self.begun.set()
        return self.asked

    def _end(self, number: int) -> NewReply:
        if self.failures:
            raise self.failures.pop(0)
        return NewReply(body=f"reply {number}".encode(), usd=COST)


def waiting() -> int:
    """How many in this process wait for somebody else's flight."""
    return sum(flight._waiters for flight in list(flights._in_flight.values()))


def turned_away(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set once this cache has found a lease to be somebody else's."""
    met, lease = threading.Event(), cache.lease

    def looked(key: str, token: str) -> Lease | LeaseHeld:
        found = lease(key, token)
        if isinstance(found, LeaseHeld):
            met.set()
        return found

    monkeypatch.setattr(cache, "lease", looked)
    return met


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, but not for ever: what the test asserts then fails instead."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


async def until_waiting(count: int) -> None:
    """Wait, as a task, until so many wait for somebody else's request."""
    end = time.monotonic() + 60
    while waiting() < count and time.monotonic() < end:  # noqa: ASYNC110  # nothing tells who joins
        await asyncio.sleep(0.001)


def in_threads(count: int, work: Callable[[], FlightResult]) -> list[FlightResult | BaseException]:
    """What each of some threads that start together gets."""
    barrier = threading.Barrier(count)

    def run() -> FlightResult | BaseException:
        barrier.wait()
        try:
            return work()
        except GptImageError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return [job.result() for job in [pool.submit(run) for _ in range(count)]]


def in_tasks(
    count: int, work: Callable[[], Awaitable[FlightResult]]
) -> list[FlightResult | BaseException]:
    """What each of some tasks that start together gets."""

    async def main() -> list[FlightResult | BaseException]:
        return await asyncio.gather(*(work() for _ in range(count)), return_exceptions=True)

    return asyncio.run(main())


Maker = Callable[..., Cache]
Together = Callable[[int, Cache, Service], list[FlightResult | BaseException]]


def threads(count: int, cache: Cache, service: Service) -> list[FlightResult | BaseException]:
    """Ask the same in threads."""
    service.crowd = count
    return in_threads(count, lambda: single_flight(cache, KEY, service))


def tasks(count: int, cache: Cache, service: Service) -> list[FlightResult | BaseException]:
    """Ask the same in tasks."""
    service.crowd = count
    return in_tasks(count, lambda: asingle_flight(cache, KEY, service.awaited))


def body(shared: FlightResult | BaseException) -> bytes:
    """The body of an answer that is one."""
    assert isinstance(shared, FlightResult), shared
    return bytes(shared.body)


def errors(found: list[FlightResult | BaseException]) -> list[BaseException]:
    """Those that failed."""
    return [each for each in found if isinstance(each, BaseException)]
