"""Tiers: fast caches in front of slow ones."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gptimage.cache import Cache, CacheEntry
from gptimage.cache.base import NewReply
from gptimage.cache.memory import MemoryCache
from gptimage.cache.single_flight import single_flight
from gptimage.errors import CacheError, ConfigurationError


KEY = "g1:" + "a" * 64
ENTRY = CacheEntry(body=b"a reply", usd=Decimal("0.04"))


class Dead(MemoryCache):
    """A cache that cannot be reached."""

    def get(self, *_: object, **__: object) -> Any:
        """Fail."""
        raise CacheError("the server is gone")

    put = delete = record_use = stats = clear = lease = lease_outcome = get


def test_fills_the_faster_tiers() -> None:
    """What only the slowest has is in all of them after the first look."""
    tiers = [MemoryCache(), MemoryCache(), MemoryCache()]
    tiers[2].put(KEY, ENTRY)

    assert Cache.tiered(*tiers).get(KEY) is not None
    assert [tier.get(KEY) is not None for tier in tiers] == [True, True, True]


def test_a_copy_keeps_its_dates() -> None:
    """A copy in a faster tier lives no longer than the reply it was copied from."""
    fast, slow = MemoryCache(), MemoryCache(ttl=timedelta(seconds=0.1))
    cache = Cache.tiered(fast, slow)
    slow.put(KEY, ENTRY)
    cache.get(KEY)
    time.sleep(0.15)

    assert fast.get(KEY) is None
    assert cache.get(KEY) is None


def test_a_copy_is_as_old_as_the_reply() -> None:
    """Clearing by age counts from when the reply was first kept."""
    fast, slow = MemoryCache(), MemoryCache()
    slow.put(KEY, CacheEntry(body=b"old", created=time.time() - 7200))
    cache = Cache.tiered(fast, slow)
    cache.get(KEY)

    assert cache.clear(timedelta(hours=1)) == 1
    assert cache.get(KEY) is None


def test_statistics_are_those_of_the_slowest() -> None:
    """Each call is counted once, whichever tier answers it, and each tier shows what it holds."""
    cache = Cache.tiered(MemoryCache(max_bytes=5), MemoryCache())
    for _ in range(3):
        single_flight(cache, KEY, lambda: NewReply(body=b"a reply", usd=Decimal("0.04")))
    found = cache.stats()

    assert (found.misses, found.hits, found.saved_usd) == (1, 2, Decimal("0.08"))
    assert [tier.entries for tier in found.tiers] == [0, 1]
    assert [tier.hits for tier in found.tiers] == [0, 2]


def test_what_memory_answers_is_not_evicted_below() -> None:
    """A reply that only the fast tier serves counts as used in the slow one, too."""
    slow = MemoryCache(max_bytes=20)
    cache = Cache.tiered(MemoryCache(), slow)
    cache.put(KEY, ENTRY)
    cache.put("g1:other", ENTRY)
    cache.record_use(KEY, hits=1)
    slow.put("g1:third", ENTRY)

    assert slow.get(KEY) is not None
    assert slow.get("g1:other") is None


@pytest.mark.parametrize("broken", ["fast", "slow"])
def test_one_dead_tier_leaves_the_other(broken: str) -> None:
    """A call is answered by the tier that lives, and warned about the one that does not."""
    alive = MemoryCache()
    alive.put(KEY, ENTRY)
    cache = Cache.tiered(Dead(), alive) if broken == "fast" else Cache.tiered(alive, Dead())
    hit = single_flight(cache, KEY, lambda: NewReply(body=b"asked"))
    miss = single_flight(cache, "g1:other", lambda: NewReply(body=b"asked"))

    assert (hit.body, hit.cached) == (b"a reply", True)
    assert (miss.body, miss.cached) == (b"asked", False)
    for shared in (hit, miss):
        assert shared.warnings == ("the server is gone; the call went on without it",)
    assert alive.get("g1:other") is not None


def test_direct_use_of_a_dead_tier_says_so() -> None:
    """Statistics and clearing raise, after the living tiers were done."""
    alive = MemoryCache()
    alive.put(KEY, ENTRY)
    cache = Cache.tiered(alive, Dead())

    with pytest.raises(CacheError, match="the server is gone"):
        cache.stats()
    with pytest.raises(CacheError, match="the server is gone"):
        cache.clear()
    assert alive.get(KEY) is None


def test_one_tier_is_no_tiers() -> None:
    """Fewer than two caches are a mistake."""
    with pytest.raises(ConfigurationError, match="two or more"):
        Cache.tiered(MemoryCache())
