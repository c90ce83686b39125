"""What every cache promises, on every kind there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from gptimage.cache import Cache, CacheEntry, CacheStats
from gptimage.cache.base import LeaseHeld
from gptimage.errors import ConfigurationError
from tests.cache.single_flight_helpers import Maker


KEY = "g1:" + "0" * 63 + "1"
OTHER = "g1:" + "0" * 63 + "2"
THIRD = "g1:" + "0" * 63 + "3"


def entry(body: bytes = b"a reply", usd: str | None = None) -> CacheEntry:
    """A reply to keep."""
    return CacheEntry(body=body, usd=None if usd is None else Decimal(usd))


def bodies(cache: Cache, *keys: str) -> list[bytes | None]:
    """What a cache has under these keys."""
    found = [cache.get(key) for key in keys]
    return [None if each is None else bytes(each.body) for each in found]


def test_is_a_cache(cache: Cache) -> None:
    """It has every method the Protocol asks for."""
    assert isinstance(cache, Cache)


def test_keeps_what_it_is_given(cache: Cache) -> None:
    """Body and price come back as they were put, with the date they were kept."""
    before = time.time()
    cache.put(KEY, entry(b"\0\xff" * 1000, "0.043"))
    found = cache.get(KEY)

    assert found is not None
    assert (found.body, found.usd) == (b"\0\xff" * 1000, Decimal("0.043"))
    assert found.created is not None
    assert before - 1 <= found.created <= time.time() + 1


def test_knows_nothing_of_other_keys(cache: Cache) -> None:
    """What was never put is absent."""
    cache.put(KEY, entry())

    assert cache.get(OTHER) is None


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 1_000_000], ids=len)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_takes_any_bytes(cache: Cache, body: bytes, kind: Callable[[bytes], bytes]) -> None:
    """Bytes, bytearray and memoryview of any length are kept alike."""
    cache.put(KEY, entry(kind(body)))

    assert [body] == bodies(cache, KEY)


def test_a_body_changed_later_is_kept_as_it_was(cache: Cache) -> None:
    """A buffer that is used again does not change what was kept."""
    buffer = bytearray(b"first")
    cache.put(KEY, CacheEntry(body=buffer))
    buffer[:] = b"other"

    assert bodies(cache, KEY) == [b"first"]


def test_replaces(cache: Cache) -> None:
    """The second reply under a key takes the place of the first."""
    cache.put(KEY, entry(b"old one"))
    cache.put(KEY, entry(b"new", "1.5"))
    found = cache.stats()

    assert bodies(cache, KEY) == [b"new"]
    assert (found.entries, found.bytes) == (1, 3)


def test_forgets(cache: Cache) -> None:
    """What was deleted is absent; deleting again does no harm."""
    cache.put(KEY, entry())
    cache.delete(KEY)
    cache.delete(KEY)

    assert bodies(cache, KEY) == [None]
    assert (cache.stats().entries, cache.stats().bytes) == (0, 0)


def test_counts_hits_misses_and_savings(cache: Cache) -> None:
    """Every hit saves what the reply cost; unknown prices save nothing that is known."""
    cache.record_use(KEY, misses=1)
    cache.put(KEY, entry(usd="0.0000125"))
    cache.put(OTHER, entry())
    cache.record_use(KEY, hits=399)
    cache.record_use(OTHER, hits=1)
    found = cache.stats()

    assert (400, 1, Decimal("0.0049875")) == (found.hits, found.misses, found.saved_usd)
    assert found.hit_rate == pytest.approx(400 / 401)


def test_nothing_is_counted_by_reading(cache: Cache) -> None:
    """Reading is not using: a second look must not count twice."""
    cache.put(KEY, entry())
    bodies(cache, KEY, OTHER)
    found = cache.stats()

    assert (found.hits, found.misses, found.hit_rate) == (0, 0, None)


def test_expires_after_its_time_to_live(make: Maker) -> None:
    """A reply older than the time to live is absent, and not counted as held."""
    cache, begun = make(ttl=timedelta(milliseconds=60)), time.monotonic()
    cache.put(KEY, entry())
    assert bodies(cache, KEY) == [b"a reply"] or time.monotonic() - begun > 0.06

    time.sleep(0.1)

    assert bodies(cache, KEY) == [None]
    assert (cache.stats().entries, cache.stats().bytes) == (0, 0)


def test_keeps_the_earlier_of_two_dates(make: Maker) -> None:
    """An entry that expires before the cache's own time to live does so."""
    cache = make(ttl=timedelta(hours=1))
    cache.put(KEY, evolve(entry(), expires=time.time() - 1))
    cache.put(OTHER, evolve(entry(), expires=time.time() + 7200))
    found = cache.get(OTHER)

    assert bodies(cache, KEY) == [None]
    assert found is not None
    assert found.expires == pytest.approx(time.time() + 3600, abs=60)


def test_evicts_what_was_used_least_recently(make: Maker) -> None:
    """A full cache throws out what was used longest ago, and says how many."""
    cache = make(max_bytes=25)
    for key in (KEY, OTHER):
        cache.put(key, entry(b"x" * 10))
    cache.record_use(KEY, hits=1)
    cache.put(THIRD, entry(b"x" * 10))
    found = cache.stats()

    assert bodies(cache, KEY, OTHER, THIRD) == [b"x" * 10, None, b"x" * 10]
    assert (found.entries, found.bytes, found.evictions) == (2, 20, 1)


def test_evicts_expired_replies_first(make: Maker) -> None:
    """What is no answer any more makes room before what still is one."""
    cache = make(max_bytes=25)
    cache.put(KEY, entry(b"x" * 10))
    cache.put(OTHER, evolve(entry(b"x" * 10), expires=time.time() + 0.05))
    time.sleep(0.1)
    cache.put(THIRD, entry(b"x" * 10))

    assert bodies(cache, KEY, OTHER, THIRD) == [b"x" * 10, None, b"x" * 10]
    assert cache.stats().evictions == 0


def test_does_not_keep_what_is_larger_than_itself(make: Maker) -> None:
    """A reply that would fill more than the whole cache leaves the others alone."""
    cache = make(max_bytes=25)
    cache.put(KEY, entry(b"small"))
    cache.put(OTHER, entry(b"x" * 26))

    assert bodies(cache, KEY, OTHER) == [b"small", None]


def test_a_larger_reply_takes_the_old_one_away(make: Maker) -> None:
    """When the new reply cannot be kept, the old one is no answer either."""
    cache = make(max_bytes=25)
    cache.put(KEY, entry(b"small"))
    cache.put(KEY, entry(b"x" * 26))

    assert bodies(cache, KEY) == [None]


def test_clears_everything(cache: Cache) -> None:
    """After clearing nothing is held, and what was counted still is."""
    cache.put(KEY, entry())
    cache.put(OTHER, entry())
    cache.record_use(KEY, hits=1)

    assert cache.clear() == 2
    assert bodies(cache, KEY, OTHER) == [None, None]
    assert CacheStats(hits=1) == evolve(cache.stats(), tiers=())
    assert cache.clear() == 0


def test_clears_by_age(cache: Cache) -> None:
    """Only what was kept longer ago goes, whatever it was used since."""
    cache.put(KEY, evolve(entry(), created=time.time() - 7200))
    cache.put(OTHER, entry())
    cache.record_use(KEY, hits=1)

    assert cache.clear(timedelta(hours=1)) == 1
    assert bodies(cache, KEY, OTHER) == [None, b"a reply"]


def test_an_age_of_another_kind_clears_nothing(cache: Cache) -> None:
    """It is refused by its name before a reply is removed."""
    cache.put(KEY, entry())
    wrong: Any = 3600
    for age in (wrong, timedelta(-1)):
        with pytest.raises(ConfigurationError, match=r"^older_than="):
            cache.clear(age)

    assert bodies(cache, KEY) == [b"a reply"]


def test_grants_one_lease_at_a_time(cache: Cache) -> None:
    """While somebody asks, others are told who; afterwards one of them may."""
    first = cache.lease(KEY, "first")
    assert LeaseHeld("first") == cache.lease(KEY, "second")
    assert not isinstance(cache.lease(OTHER, "other"), LeaseHeld)
    assert not isinstance(first, LeaseHeld)

    first.release("fine")
    second = cache.lease(KEY, "second")

    assert not isinstance(second, LeaseHeld)
    second.release("fine")


def test_tells_how_a_flight_ended(cache: Cache) -> None:
    """The outcome is known once the lease was released, and only then."""
    lease = cache.lease(KEY, "first")
    assert not isinstance(lease, LeaseHeld)
    assert cache.lease_outcome("first") is None

    lease.release("it – ended")

    assert cache.lease_outcome("first") == "it – ended"
    assert cache.lease_outcome("second") is None


def test_releasing_twice_frees_only_once(cache: Cache) -> None:
    """The second release does not take away somebody else's lease."""
    first = cache.lease(KEY, "first")
    assert not isinstance(first, LeaseHeld)
    first.release("over")
    second = cache.lease(KEY, "second")
    first.release("over again")

    assert LeaseHeld("second") == cache.lease(KEY, "third")
    assert not isinstance(second, LeaseHeld)
    second.release("over")


def test_many_threads_win_one_lease(cache: Cache) -> None:
    """Of many threads that try at once exactly one leads."""
    won: list[object] = []
    barrier = threading.Barrier(12)

    def attempt(number: int) -> None:
        barrier.wait()
        found = cache.lease(KEY, f"token-{number}")
        if not isinstance(found, LeaseHeld):
            won.append(found)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1


def test_works_again_after_closing(cache: Cache) -> None:
    """Closing gives back files and connections; the next use takes new ones."""
    cache.put(KEY, entry())
    cache.close()
    cache.close()
    cache.put(OTHER, entry())

    assert bodies(cache, OTHER) == [b"a reply"]


def test_threads_may_share_it(cache: Cache) -> None:
    """Threads that put, read, count and delete at once find every body whole."""
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(12):
            key = f"g1:{(number + turn) % 3:064x}"
            body = f"{key}{number}{turn}".encode() * 200
            cache.put(key, CacheEntry(body=body))
            found = cache.get(key)
            if found is not None and not bytes(found.body).startswith(key.encode()):
                wrong.append(bytes(found.body))
            cache.record_use(key, hits=1)
            cache.delete(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert cache.stats().hits == 72


@pytest.mark.parametrize("limits", [{"ttl": timedelta(0)}, {"max_bytes": 0}, {"max_bytes": -1}])
def test_limits_are_checked(make: Maker, limits: dict[str, object]) -> None:
    """A limit of nothing is a mistake, and says so."""
    with pytest.raises(ConfigurationError, match="None is"):
        make(**limits)
