"""Requests that are alike and in flight together are one call, in threads and in tasks."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from gptimage.cache import Cache, CacheEntry, CacheStats
from gptimage.cache import single_flight as single_flight_module
from gptimage.cache.base import FlightResult, Lease, LeaseHeld, NewReply
from gptimage.cache.memory import MemoryCache
from gptimage.cache.single_flight import asingle_flight, single_flight
from gptimage.errors import (
    CacheError,
)
from tests.cache.single_flight_helpers import (
    COST,
    KEY,
    OTHER,
    Maker,
    Service,
    Together,
    body,
    in_tasks,
    in_threads,
    turned_away,
)


@pytest.mark.parametrize("count", [1, 20])
def test_alike_is_one_call(cache: Cache, together: Together, count: int) -> None:
    """All get the same reply, one paid for it, and the others are counted as hits."""
    service = Service()
    found = together(count, cache, service)

    assert {body(each) for each in found} == {b"reply 1"}
    assert service.asked == 1
    assert [each.cached for each in found if isinstance(each, FlightResult)].count(False) == 1
    stats = cache.stats()
    assert (stats.misses, stats.hits, stats.saved_usd) == (1, count - 1, (count - 1) * COST)


def test_two_hundred_tasks_share_one_call() -> None:
    """Many waiting tasks take no threads from the pool, so nothing can get stuck."""
    cache, service = Cache.memory(), Service()
    found = in_tasks(200, lambda: asingle_flight(cache, KEY, service.awaited))

    assert {body(each) for each in found} == {b"reply 1"}
    assert (service.asked, cache.stats().hits) == (1, 199)


def test_two_hundred_tasks_behind_another_process_take_no_threads(cache: Cache) -> None:
    """Tasks that wait for a lease held elsewhere let other requests pass."""

    async def main() -> tuple[list[FlightResult], FlightResult]:
        lease = cache.lease(f"{KEY}", "somebody else")
        assert not isinstance(lease, LeaseHeld)
        waiting = [
            asyncio.ensure_future(asingle_flight(cache, KEY, Service().awaited)) for _ in range(200)
        ]
        other = await asingle_flight(cache, OTHER, Service().awaited)
        assert not any(task.done() for task in waiting)
        cache.put(KEY, CacheEntry(body=b"theirs"))
        lease.release("shared")
        return await asyncio.gather(*waiting), other

    found, other = asyncio.run(main())

    assert {bytes(each.body) for each in found} == {b"theirs"}
    assert bytes(other.body) == b"reply 1"


def test_different_requests_do_not_wait_for_each_other(cache: Cache) -> None:
    """Another key is another flight."""
    first, second = Service(delay=0), Service(delay=0)
    first.go.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(single_flight, cache, KEY, first)
        first.begun.wait()
        quick = single_flight(cache, OTHER, second)

        assert not slow.done()
        first.go.set()
        assert (body(quick), body(slow.result())) == (b"reply 1", b"reply 1")


def test_a_kept_reply_is_found(cache: Cache) -> None:
    """The second call asks nobody and costs nothing."""
    service = Service(delay=0)
    first, second = single_flight(cache, KEY, service), single_flight(cache, KEY, service)

    assert (first.cached, second.cached, service.asked) == (False, True, 1)
    assert (body(first), body(second)) == (b"reply 1", b"reply 1")
    assert (first.warnings, second.warnings) == ((), ())


def test_a_reply_that_lands_while_we_take_the_lease_is_found() -> None:
    """Having the lease is not enough to ask: somebody may just have been there."""

    class Overtaken(MemoryCache):
        def lease(self, key: str, token: str) -> Lease | LeaseHeld:
            self.put(key, CacheEntry(body=b"theirs"))
            return super().lease(key, token)

    service = Service(delay=0)

    assert body(single_flight(Overtaken(), KEY, service)) == b"theirs"
    assert service.asked == 0


def test_refresh_asks_again_and_replaces(cache: Cache) -> None:
    """A refresh is never answered by what is kept, and afterwards the new reply is."""
    service = Service(delay=0)
    single_flight(cache, KEY, service)
    again = single_flight(cache, KEY, service, refresh=True)
    after = single_flight(cache, KEY, service)

    assert (body(again), again.cached) == (b"reply 2", False)
    assert (body(after), after.cached) == (b"reply 2", True)


def test_refreshes_together_are_one_call(cache: Cache) -> None:
    """Refreshes in flight together share: none of them wanted what was kept, and none gets it."""
    service = Service()
    service.crowd = 8
    cache.put(KEY, CacheEntry(body=b"old"))
    found = in_threads(8, lambda: single_flight(cache, KEY, service, refresh=True))

    assert {body(each) for each in found} == {b"reply 1"}
    assert service.asked == 1


def test_a_refresh_joins_a_request_in_flight(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that is being drawn right now is as new as a refresh could wish."""
    service = Service(delay=0)
    service.go = turned_away(cache, monkeypatch)  # the refresh waits for the other's lease
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(single_flight, cache, KEY, service)
        service.begun.wait()
        refreshed = single_flight(cache, KEY, service, refresh=True)

        assert {body(refreshed), body(first.result())} == {b"reply 1"}
    assert service.asked == 1


def test_a_refresh_elsewhere_is_shared(elsewhere: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh that waited for somebody's flight takes its reply, not the one kept before."""
    first, second, service = elsewhere(), elsewhere(), Service(delay=0)
    service.go = turned_away(second, monkeypatch)
    first.put(KEY, CacheEntry(body=b"old"))
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(single_flight, first, KEY, service, refresh=True)
        service.begun.wait()
        found = single_flight(second, KEY, service, refresh=True)

        assert (body(found), found.cached) == (b"reply 1", True)
        assert body(leader.result()) == b"reply 1"
    assert service.asked == 1


def test_what_must_not_be_kept_is_not_shared(together: Together) -> None:
    """Without a body to share, everybody asks for themselves."""

    class Partial(Service):
        def _end(self, number: int) -> NewReply:
            del number
            return NewReply(body=None)

    cache, service = Cache.memory(), Partial(delay=0.01)
    found = together(3, cache, service)

    assert service.asked == 3
    assert {(body(each), isinstance(each, FlightResult) and each.cached) for each in found} == {
        (b"", False)
    }
    assert cache.stats() == CacheStats(misses=3)


@pytest.mark.parametrize("same", [True, False], ids=["same cache", "same folder"])
def test_a_call_that_would_wait_for_itself_goes_alone(tmp_path: Path, same: bool) -> None:
    """A blocking call in a loop's thread cannot wait for a task of that loop; it says so."""
    service = Service(delay=0)
    service.go.clear()
    cache = Cache.disk(tmp_path)
    other = cache if same else Cache.disk(tmp_path)

    async def main() -> tuple[FlightResult, FlightResult]:
        task = asyncio.ensure_future(asingle_flight(cache, KEY, service.awaited))
        await asyncio.to_thread(service.begun.wait)
        blocking = single_flight(other, KEY, Service(delay=0))
        service.go.set()
        return blocking, await task

    blocking, awaited = asyncio.run(main())

    assert (blocking.cached, awaited.cached) == (False, False)
    assert "paid, twice; use AsyncImageClient" in blocking.warnings[0]
    assert awaited.warnings == ()


def test_a_process_that_sleeps_on_a_lease_is_not_waited_for_for_ever(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who holds a lease longer than any call takes is passed, and that is said."""
    monkeypatch.setattr(single_flight_module, "_LONGEST_WAIT", 0.1)
    lease = cache.lease(KEY, "somebody stopped with Ctrl-Z")
    shared = single_flight(cache, KEY, Service(delay=0))

    assert not isinstance(lease, LeaseHeld)
    assert (body(shared), shared.cached) == (b"reply 1", False)
    assert "half an hour" in shared.warnings[0]


class Broken(MemoryCache):
    """A cache of a user's own, in which everything named is broken."""

    def __init__(self, *broken: str, error: Exception) -> None:
        super().__init__()

        def fail(*_: object, **__: object) -> NoReturn:
            raise error

        for name in broken:
            setattr(self, name, fail)


STEPS = ("get", "put", "record_use", "lease")


@pytest.mark.parametrize("error", [CacheError("the cache is ill"), ValueError("a bug")])
@pytest.mark.parametrize("broken", [*((step,) for step in STEPS), STEPS], ids="+".join)
def test_no_failure_of_a_cache_costs_a_picture(
    together: Together, broken: tuple[str, ...], error: Exception
) -> None:
    """Whatever breaks becomes a warning, once, and even then this process asks only once."""
    service = Service()
    found = together(4, Broken(*broken, error=error), service)

    assert service.asked == 1
    assert {body(each) for each in found} == {b"reply 1"}
    (leader,) = [each for each in found if isinstance(each, FlightResult) and not each.cached]
    assert [str(error) in text for text in leader.warnings] == [True]
    assert leader.warnings[0].endswith("; the call went on without it")
