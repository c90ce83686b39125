"""`gptimage.Cache`: the base class users name, derive from, and make caches with."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import gptimage
from gptimage import Cache, CacheStats, ConfigurationError
from gptimage.cache import CacheEntry, DiskCache, MemoryCache, TieredCache
from gptimage.cache.redis import RedisCache


PLAIN = {"size": "1024x1024", "quality": "low"}


class DictCache(Cache):
    """A cache with the five methods a subclass must have."""

    def __init__(self) -> None:
        self.entries: dict[str, CacheEntry] = {}

    def get(self, key: str) -> CacheEntry | None:
        """The entry."""
        return self.entries.get(key)

    def put(self, key: str, entry: CacheEntry) -> None:
        """Save it."""
        self.entries[key] = entry

    def delete(self, key: str) -> None:
        """Remove it."""
        self.entries.pop(key, None)

    def stats(self) -> CacheStats:
        """How many there are."""
        return CacheStats(entries=len(self.entries))

    def clear(self, older_than: timedelta | None = None) -> int:
        """Remove all."""
        del older_than
        count = len(self.entries)
        self.entries.clear()
        return count


class Ducky:
    """The same methods without the base class."""

    get, put, delete = DictCache.get, DictCache.put, DictCache.delete
    stats, clear, record_use = DictCache.stats, DictCache.clear, DictCache.record_use
    lease, lease_outcome, close = DictCache.lease, DictCache.lease_outcome, DictCache.close


def test_every_kind_is_a_cache(tmp_path: Path) -> None:
    """What the constructors make is an instance of the class that has them."""
    made = [
        Cache.memory(),
        Cache.disk(tmp_path),
        Cache.tiered(Cache.memory(), Cache.disk(tmp_path)),
        Cache.redis("redis://127.0.0.1:1"),
    ]

    assert [type(each) for each in made] == [MemoryCache, DiskCache, TieredCache, RedisCache]
    assert all(isinstance(each, gptimage.Cache) for each in made)


def test_what_has_all_methods_is_one() -> None:
    """A class that does not derive from it is taken for one if nothing is missing."""
    assert isinstance(Ducky(), Cache)
    assert not isinstance({}, Cache)


def test_a_cache_of_your_own() -> None:
    """Five methods are enough for hits, and for one request of many threads."""
    cache = DictCache()
    with gptimage.ImageClient.sandbox(cache=cache) as client:
        first = client.generate("A red fox", **PLAIN)
        again = client.generate("A red fox", **PLAIN)

    assert (first.cached, again.cached, again.cost and again.cost.usd) == (False, True, 0)
    assert (again.warnings, cache.stats().entries) == ((), 1)


def test_a_subclass_that_lacks_a_method_is_refused() -> None:
    """What is missing is said when the cache is made, not after a call was paid."""

    class Half(Cache):
        def get(self, key: str) -> CacheEntry | None:
            """Nothing."""

    with pytest.raises(TypeError, match="clear"):
        Half()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # what is tested


@pytest.mark.parametrize("wrong", [{}, 7, Cache, MemoryCache, object()])
def test_what_is_no_cache_is_refused(wrong: object) -> None:
    """Anything else is refused by name, also a class in place of an object."""
    with pytest.raises(ConfigurationError, match="cache"):
        gptimage.ImageClient.sandbox(cache=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested


def test_redis_without_its_package(tmp_path: Path) -> None:
    """The error names the extra to install."""
    (tmp_path / "redis.py").write_text("raise ImportError('no redis')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from gptimage import *\n"
        "try: Cache.redis('redis://localhost')\n"
        "except ConfigurationError as error: sys.stdout.write(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )

    assert done.stdout == "Cache.redis needs the package redis: pip install 'gptimage[redis]'"


def test_a_misspelt_setting_is_refused() -> None:
    """Each constructor suggests the keyword that was meant."""
    with pytest.raises(ConfigurationError, match="max_bytes"):
        Cache.redis("redis://localhost", max_byte=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # what is tested
