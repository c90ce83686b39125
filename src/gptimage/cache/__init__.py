"""Replies kept by key, so that nothing is paid for twice: in memory, on disk, in tiers, in Redis.

`Cache` makes the common kinds. Redis is an extra and has its own module:
``from gptimage.cache.redis import RedisCache``.
"""

from __future__ import annotations

import os
from datetime import timedelta

from gptimage._internal.keywords import strict
from gptimage.cache.disk import DISK_BYTES, DiskCache
from gptimage.cache.memory import MEMORY_BYTES, MemoryCache
from gptimage.cache.protocol import CacheEntry, CachePort, CacheStats
from gptimage.cache.tiered import TieredCache


__all__ = ["Cache", "CacheEntry", "CachePort", "CacheStats"]


class Cache:
    """Makes caches. Each is a `CachePort`, and so may be one of your own."""

    @staticmethod
    @strict("Cache.memory")
    def memory(
        *, ttl: timedelta | None = None, max_bytes: int | None = MEMORY_BYTES
    ) -> MemoryCache:
        """A cache of this process, gone when it ends.

        Args:
            ttl: How long a reply lasts; None is for ever.
            max_bytes: How many bytes the replies may have together; None is no bound.

        Raises:
            ConfigurationError: A limit is zero or less.
        """
        return MemoryCache(ttl=ttl, max_bytes=max_bytes)

    @staticmethod
    @strict("Cache.disk")
    def disk(
        path: str | os.PathLike[str] | None = None,
        *,
        ttl: timedelta | None = None,
        max_bytes: int | None = DISK_BYTES,
    ) -> DiskCache:
        """A folder on a local disk that all processes of this machine may share.

        Args:
            path: The folder; None is the user's cache folder.
            ttl: How long a reply lasts; None is for ever.
            max_bytes: How many bytes the replies may have together; None is no bound.

        Raises:
            ConfigurationError: A limit is zero or less.
        """
        return DiskCache(path, ttl=ttl, max_bytes=max_bytes)

    @staticmethod
    @strict("Cache.tiered")
    def tiered(*tiers: CachePort) -> TieredCache:
        """Fast caches in front of slow ones, such as memory, then disk or Redis.

        Args:
            *tiers: Two or more caches, fastest first; the last one leads.

        Raises:
            ConfigurationError: There are fewer than two.
        """
        return TieredCache(*tiers)
