"""Single flight: requests that are alike and in flight at the same time are one API call.

One of those who ask leads. In this process the others join its flight; elsewhere they
meet a lease of the cache, look at it again a few times a second, and find the reply in
the cache. If the leader fails, they get its error, unless nothing can have been billed:
then one of them leads. What fails in the cache itself becomes a warning, and the call
goes on.

Cancelling and Ctrl-C: an asyncio caller that is cancelled leaves its flight in the air
if the request was sent or somebody else waits for it, so the paid reply reaches them and
the cache; a request that was not sent and that nobody wants is given up. Where the
request itself is broken off (Ctrl-C in a thread, an event loop that ends), the others
get OutcomeUnknownError, and nobody pays a second time unasked.

A leader killed by the system frees its lease (at once on disk, after eight seconds in
Redis) and somebody who waited asks again. The killed request may have been billed;
nobody is left to know.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from attrs import evolve

from gptimage.cache.base import Cache, CacheEntry, FlightResult, Lease, LeaseHeld, NewReply
from gptimage.cache.flight import Flight
from gptimage.cache.outcomes import COMPLETED, RETRY, Failure, failure_from, failure_of
from gptimage.cache.runners import AsyncRunner, Runner, ThreadRunner
from gptimage.errors import CacheError


T = TypeVar("T")

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.25
_LONGEST_WAIT: Final = 1800.0
"""Seconds; no call takes so long, but a suspended process can hold a lease for days."""

_RETRIES: Final = 1
"""How many failures that were never billed a waiter bears before one is its own."""

_ITSELF: Final = (
    "the same request was being sent by a task of this thread's event loop, which could not "
    "go on while this call blocked it: it was asked, and paid, twice; use AsyncImageClient"
)

_SEED: Final = secrets.token_hex(8)


def single_flight(
    cache: Cache,
    key: str,
    call: Callable[[], NewReply],
    *,
    refresh: bool = False,
    sent: Callable[[], bool] | None = None,
) -> FlightResult:
    """Answer from the cache, or from a request like this one in flight, or by ``call``.

    Args:
        cache: Where replies are kept.
        key: What is asked; equal keys are the same question.
        call: Sends the request; called at most once.
        refresh: Do not read what is kept: ask again and replace it. A request that is in
            flight already is shared, because its reply is not the one that was kept.
        sent: Whether the request may have reached the service by now; without it, it
            counts as sent as soon as ``call`` was begun.

    Raises:
        GptImageError: What ``call`` raised, or a copy of what it raised for the one who led.
    """
    return _run_without_suspending(
        _single_flight(ThreadRunner(call, sent), cache, key, refresh=refresh)
    )


async def asingle_flight(
    cache: Cache,
    key: str,
    call: Callable[[], Awaitable[NewReply]],
    *,
    refresh: bool = False,
    sent: Callable[[], bool] | None = None,
) -> FlightResult:
    """`fly` for asyncio: waiting takes no thread, and the cache never blocks the loop.

    Args:
        cache: Where replies are kept.
        key: What is asked; equal keys are the same question.
        call: Sends the request; called at most once.
        refresh: Do not read what is kept: ask again and replace it.
        sent: Whether the request may have reached the service by now; without it, it
            counts as sent as soon as ``call`` was begun.

    Raises:
        GptImageError: What ``call`` raised, or a copy of what it raised for the one who led.
    """
    return await _single_flight(AsyncRunner(call, sent), cache, key, refresh=refresh)


async def _single_flight(crew: Runner, cache: Cache, key: str, *, refresh: bool) -> FlightResult:
    patience = _RETRIES
    while True:
        flight, leads = Flight.join(crew.flight(), cache, key, refresh=refresh)
        if leads:
            journey = _Attempt(crew, cache, key, flight, refresh=refresh)
            return await crew.lead(flight, journey.run())
        if crew.would_deadlock(flight.thread):
            flight.cancel()
            return await _Attempt(crew, cache, key, crew.flight(), refresh=refresh).run(alone=True)
        outcome = await crew.wait(flight)
        if isinstance(outcome, Failure):
            patience = outcome.retries_left(patience)
        elif outcome.body:
            return evolve(outcome, cached=True)


class _Attempt:
    """One flight from the first look into the cache to the landing."""

    def __init__(
        self, crew: Runner, cache: Cache, key: str, flight: Flight, *, refresh: bool
    ) -> None:
        self._crew = crew
        self._cache = cache
        self._key = key
        self._flight = flight
        self._refresh = refresh
        self._lease: Lease | None = None
        self._warnings: list[str] = []

    async def run(self, *, alone: bool = False) -> FlightResult:
        """Get the answer, tell everybody, count it.

        Args:
            alone: Do not wait for anybody else.
        """
        try:
            landed = await self._arrive(alone=alone)
        except BaseException as error:
            failure = failure_of(error, sent=self._crew.was_sent())
            # At once, in this thread: whoever is cancelled or interrupted has no more turns.
            # Somebody else's error is not passed on: it is told by its own outcome.
            self._let_go(failure.text() if self._crew.has_asked() else RETRY.text())
            self._flight.resolve(failure)
            raise
        return evolve(landed, warnings=tuple(self._warnings))

    async def _arrive(self, *, alone: bool) -> FlightResult:
        if not self._refresh and (entry := await self._do(self._look)):
            return await self._found(entry)
        if alone:
            self._warn(_ITSELF)
        elif entry := await self._turn():
            return await self._found(entry)
        fresh = await self._crew.ask()
        landed = FlightResult(body=fresh.body or b"", cached=False)
        others = self._flight.resolve(landed)
        await self._crew.do(partial(self._keep, fresh, hits=others if fresh.body else 0))
        return landed

    async def _found(self, entry: CacheEntry) -> FlightResult:
        landed = FlightResult(body=entry.body, cached=True)
        hits = 1 + self._flight.resolve(landed)
        self._let_go(COMPLETED)
        await self._do(partial(self._cache.count, self._key, hits=hits))
        return landed

    def _keep(self, fresh: NewReply, *, hits: int) -> None:
        """All that is left to do after an answer, in one go that nothing can break off."""
        if fresh.body:
            entry = CacheEntry(body=fresh.body, usd=fresh.usd)
            self._guarded(partial(self._cache.put, self._key, entry))
        self._let_go(COMPLETED if fresh.body else RETRY.text())
        self._guarded(partial(self._cache.count, self._key, hits=hits, misses=1))

    async def _turn(self) -> CacheEntry | None:
        """Wait until it is our turn to ask; the reply, when somebody else brought it.

        Raises:
            GptImageError: Whoever led failed, and it is our failure as well.
        """
        behind: LeaseHeld | None = None
        patience = _RETRIES
        for pause in _pauses():
            held = await self._do(self._take)
            news = await self._news(behind) if behind and held != behind else ""
            # Even with the lease in hand: the reply may have come while we were on the way.
            may_be_there = news == COMPLETED or (held is None and not self._refresh)
            if may_be_there and (entry := await self._do(self._look)):
                return entry
            if failure := failure_from(news):
                patience = failure.retries_left(patience)
            if held is None:
                return None
            if self._crew.would_deadlock(_thread_of(held.token)):
                self._warn(_ITSELF)
                return None
            behind = held
            await self._crew.sleep(pause)
        self._warn(
            "somebody has been sending the same request for half an hour: it was asked again"
        )
        return None

    async def _news(self, behind: LeaseHeld) -> str:
        """How the flight we waited for ended; empty when nobody knows."""
        return await self._do(lambda: self._cache.outcome(behind.token)) or ""

    def _look(self) -> CacheEntry | None:
        return self._cache.get(self._key)

    def _take(self) -> LeaseHeld | None:
        """Whoever is in front of us; None when we are in front, or nobody can tell."""
        token = f"{_SEED}.{os.getpid()}.{self._flight.thread}.{secrets.token_hex(8)}"
        found = self._cache.lease(self._key, token)
        if isinstance(found, LeaseHeld):
            return found
        self._lease = found
        return None

    def _let_go(self, outcome: str) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._guarded(partial(lease.release, outcome))

    async def _do(self, work: Callable[[], T]) -> T | None:
        """Let the cache do something; None when it cannot."""
        return await self._crew.do(partial(self._guarded, work))

    def _guarded(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except CacheError as error:
            self._warn(f"{error}; the call went on without it")
        except Exception as error:  # noqa: BLE001  # no cache, not even a user's own, may cost a picture
            kind = type(error).__name__
            self._warn(f"the cache failed ({kind}: {error}); the call went on without it")
        return None

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.append(sentence)


def _run_without_suspending(flight: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        flight.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    raise AssertionError("a thread's crew never suspends")


def _pauses() -> Iterator[float]:
    pause, waited = _FIRST_PAUSE, 0.0
    while waited < _LONGEST_WAIT:
        yield pause
        waited += pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def _thread_of(token: str) -> int:
    """The thread of this process that made a token; 0 when it was made elsewhere."""
    seed, process, thread, *_ = *token.split("."), "", "", ""
    return int(thread) if (seed, process) == (_SEED, str(os.getpid())) and thread.isdigit() else 0
