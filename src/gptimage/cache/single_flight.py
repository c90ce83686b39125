"""Single flight: the same request in flight several times at once is one API call.

One caller leads. In this process the others join its flight; elsewhere they meet a lease of the
cache, look at it again a few times a second, and find the reply in the cache. If the leader
fails, they get its error, unless nothing can have been billed: then one of them leads. What fails
in the cache itself becomes a warning, and the call goes on.

On cancellation a request of an asyncio caller keeps running if it was already sent or another
caller waits for it, so that the paid reply reaches them and the cache; otherwise it is given up.
Where the request itself is broken off (Ctrl-C in a thread, an event loop that ends), the others
get OutcomeUnknownError, and nothing is paid a second time unasked.

A leader killed by the system frees its lease (at once on disk, after eight seconds in Redis), and
one that waited sends the request again. The killed one may have been billed; no process is left
to know.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from attrs import evolve

from gptimage._internal.coroutines import run_blocking
from gptimage.cache.base import Cache, CacheEntry, FlightResult, Lease, LeaseHeld, NewReply
from gptimage.cache.flight import Flight
from gptimage.cache.outcomes import COMPLETED, RETRY, Failure, failure_from, failure_of
from gptimage.cache.runners import AsyncRunner, Runner
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
    "go on while this call blocked it: it was sent, and paid, twice; use AsyncImageClient"
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
    """Get a reply from the cache, from the same request in flight, or by ``call``.

    Args:
        cache: Where replies are saved.
        key: The key of the request; equal keys are the same request.
        call: Sends the request; called at most once.
        refresh: Do not read what is saved: send again and replace it. A request that is in
            flight already is shared, because its reply is not the one that was saved.
        sent: Whether the request may have reached the service by now; without it, it
            counts as sent as soon as ``call`` was begun.

    Raises:
        GptImageError: What ``call`` raised, or a copy of what it raised for the one who led.
    """
    return run_blocking(_single_flight(Runner(call, sent), cache, key, refresh=refresh))


async def asingle_flight(
    cache: Cache,
    key: str,
    call: Callable[[], Awaitable[NewReply]],
    *,
    refresh: bool = False,
    sent: Callable[[], bool] | None = None,
) -> FlightResult:
    """Get a reply as `single_flight` does, from a task of an event loop.

    Waiting takes no thread, and the cache never blocks the loop. Arguments and errors are those
    of `single_flight`.
    """
    return await _single_flight(AsyncRunner(call, sent), cache, key, refresh=refresh)


async def _single_flight(runner: Runner, cache: Cache, key: str, *, refresh: bool) -> FlightResult:
    retries = _RETRIES
    while True:
        flight, leads = Flight.join(runner.flight(), cache, key, refresh=refresh)
        if leads:
            attempt = _Attempt(runner, cache, key, flight, refresh=refresh)
            return await runner.lead(flight, attempt.run())
        if runner.would_deadlock(flight.thread):
            flight.cancel()
            alone = _Attempt(runner, cache, key, runner.flight(), refresh=refresh)
            return await alone.run(alone=True)
        outcome = await runner.wait(flight)
        if not isinstance(outcome, Failure):
            return evolve(outcome, cached=True)
        retries = outcome.retries_left(retries)


class _Attempt:
    """One request of a leader, from the first look into the cache to its outcome."""

    def __init__(
        self, runner: Runner, cache: Cache, key: str, flight: Flight, *, refresh: bool
    ) -> None:
        self._runner = runner
        self._cache = cache
        self._key = key
        self._flight = flight
        self._refresh = refresh
        self._lease: Lease | None = None
        self._warnings: list[str] = []

    async def run(self, *, alone: bool = False) -> FlightResult:
        """Get the reply, share it, count it.

        Args:
            alone: Do not wait for any other request.
        """
        try:
            result = await self._reply(alone=alone)
        except BaseException as error:
            failure = failure_of(error, sent=self._runner.was_sent())
            # At once and in this thread: a caller that is cancelled or interrupted runs no more.
            # An error of another leader is not passed on: its own outcome has it.
            self._release(failure.text() if self._runner.called else RETRY.text())
            self._flight.resolve(failure)
            raise
        return evolve(result, warnings=tuple(self._warnings))

    async def _reply(self, *, alone: bool) -> FlightResult:
        if not self._refresh and (entry := await self._do(self._look)):
            return await self._found(entry)
        if alone:
            self._warn(_ITSELF)
        elif entry := await self._wait_for_lease():
            return await self._found(entry)
        new = await self._runner.send()
        result = FlightResult(body=new.body or b"", cached=False)
        waiters = self._flight.resolve(result if new.body else RETRY)
        # In one go that nothing can break off: the reply is paid for.
        await self._runner.do(partial(self._save, new, hits=waiters if new.body else 0))
        return result

    async def _found(self, entry: CacheEntry) -> FlightResult:
        result = FlightResult(body=entry.body, cached=True)
        hits = 1 + self._flight.resolve(result)
        self._release(COMPLETED)
        await self._do(partial(self._cache.record_use, self._key, hits=hits))
        return result

    def _save(self, new: NewReply, *, hits: int) -> None:
        if new.body:
            entry = CacheEntry(body=new.body, usd=new.usd)
            self._guarded(partial(self._cache.put, self._key, entry))
        # After the reply is in the cache, where the others look when the lease is free.
        self._release(COMPLETED if new.body else RETRY.text())
        self._guarded(partial(self._cache.record_use, self._key, hits=hits, misses=1))

    async def _wait_for_lease(self) -> CacheEntry | None:
        """Wait until this is the one to send; the reply, if another process got it.

        Raises:
            GptImageError: The other one failed, and its error is ours as well.
        """
        owner: LeaseHeld | None = None
        retries = _RETRIES
        for pause in _pauses():
            held = await self._do(self._acquire)
            outcome = await self._outcome_of(owner) if owner and held != owner else ""
            # Even with the lease in hand: the reply may have come while we were on the way.
            may_be_there = outcome == COMPLETED or (held is None and not self._refresh)
            if may_be_there and (entry := await self._do(self._look)):
                return entry
            if failure := failure_from(outcome):
                retries = failure.retries_left(retries)
            if held is None:
                return None
            if self._runner.would_deadlock(_thread_of(held.token)):
                self._warn(_ITSELF)
                return None
            owner = held
            await self._runner.sleep(pause)
        self._warn(
            "another process has been sending the same request for half an hour: "
            "it was sent, and paid, again"
        )
        return None

    async def _outcome_of(self, owner: LeaseHeld) -> str:
        return await self._do(lambda: self._cache.lease_outcome(owner.token)) or ""

    def _look(self) -> CacheEntry | None:
        return self._cache.get(self._key)

    def _acquire(self) -> LeaseHeld | None:
        """Return the owner of the lease; None if that is us now, or if the cache fails."""
        token = f"{_SEED}.{os.getpid()}.{self._flight.thread}.{secrets.token_hex(8)}"
        found = self._cache.lease(self._key, token)
        if isinstance(found, LeaseHeld):
            return found
        self._lease = found
        return None

    def _release(self, outcome: str) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._guarded(partial(lease.release, outcome))

    async def _do(self, work: Callable[[], T]) -> T | None:
        """Let the cache do something; None when it cannot."""
        return await self._runner.do(partial(self._guarded, work))

    def _guarded(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except CacheError as error:
            self._warn(f"{error}; the call went on without it")
        except Exception as error:  # noqa: BLE001  # no cache, not even a user's own, may cost an image
            kind = type(error).__name__
            self._warn(f"the cache failed ({kind}: {error}); the call went on without it")
        return None

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.append(sentence)


def _pauses() -> Iterator[float]:
    pause, waited = _FIRST_PAUSE, 0.0
    while waited < _LONGEST_WAIT:
        yield pause
        waited += pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def _thread_of(token: str) -> int:
    """Return the thread of this process that made a token; 0 when it was made elsewhere."""
    seed, process, thread, *_ = *token.split("."), "", "", ""
    return int(thread) if (seed, process) == (_SEED, str(os.getpid())) and thread.isdigit() else 0
