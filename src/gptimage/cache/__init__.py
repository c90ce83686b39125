"""Replies by key, so that nothing is paid for twice: in memory, on disk, in tiers, in Redis."""

from __future__ import annotations

from gptimage.cache.base import Cache as Cache
from gptimage.cache.base import CacheEntry as CacheEntry
from gptimage.cache.base import CacheStats as CacheStats
from gptimage.cache.base import Lease as Lease
from gptimage.cache.base import LeaseHeld as LeaseHeld
from gptimage.cache.disk import DiskCache as DiskCache
from gptimage.cache.memory import MemoryCache as MemoryCache
from gptimage.cache.tiered import TieredCache as TieredCache
