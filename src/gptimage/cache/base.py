"""`Cache`: the base class of all caches, and the values that go into them and come out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from attrs import evolve, field, frozen

from gptimage._internal.keywords import as_int, duration, strict, whole


if TYPE_CHECKING:
    from gptimage.cache.disk import DiskCache
    from gptimage.cache.memory import MemoryCache
    from gptimage.cache.redis import RedisCache
    from gptimage.cache.tiered import TieredCache

MEMORY_BYTES: Final = 256 * 2**20
DISK_BYTES: Final = 2_000_000_000
REDIS_TTL: Final = timedelta(days=7)


_NANO: Final = Decimal(10**9)


def nanodollars(usd: Decimal | None) -> int:
    """Convert USD to a whole number of billionths; 0 for what is unknown.

    The cheapest token costs hundreds of nanodollars, so real costs are exact.
    """
    return 0 if usd is None else int((usd * _NANO).to_integral_value())


def dollars(nanos: int) -> Decimal:
    """Convert billionths to USD."""
    return Decimal(nanos) / _NANO


def age_of(older_than: timedelta | None) -> float:
    """Return the age in seconds from which `Cache.clear` removes; less than any for None.

    Raises:
        ConfigurationError: It is no length of time.
    """
    if older_than is None:
        return float("-inf")
    duration("older_than", older_than, "; None is every reply", zero=True)
    return older_than.total_seconds()


Body: TypeAlias = bytes | bytearray | memoryview
"""The bytes of a reply; they are not changed any more."""


@frozen(kw_only=True)
class CacheEntry:
    """A reply in a cache.

    Attributes:
        body: The body of the reply; a cache does not look into it.
        usd: What the reply cost, in USD, so that a hit counts as saved; None when unknown.
        created: When it was first saved (Unix time in seconds); a cache fills it in.
        expires: When it is no longer used (Unix time in seconds); None is never.
    """

    body: Body = field(repr=False)
    usd: Decimal | None = None
    created: float | None = None
    expires: float | None = None


@frozen(kw_only=True)
class CacheStats:
    """The contents of a cache, and what it has saved.

    Attributes:
        entries: How many replies it holds.
        bytes: How many bytes their bodies have.
        hits: Calls that cost nothing: found in the cache, or shared while in flight.
        misses: Calls sent to the service that got a response.
        evictions: Replies thrown out because the cache was full.
        saved_usd: What the hits would have cost, in USD, as far as it is known.
        tiers: The statistics of each tier, fastest first; empty for a plain cache.
    """

    entries: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    saved_usd: Decimal = Decimal(0)
    tiers: tuple[CacheStats, ...] = ()

    @property
    def hit_rate(self) -> float | None:
        """The share of hits, from 0 to 1; None before the first call."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else None


@frozen
class LeaseHeld:
    """The result of `Cache.lease` while another process sends the same request.

    Attributes:
        token: Names its attempt; `Cache.lease_outcome` returns how that ended.
    """

    token: str


@frozen(kw_only=True)
class NewReply:
    """The reply to a request that was sent.

    Attributes:
        body: The body of a good reply; None when it must neither be saved nor shared.
        usd: What it cost, in USD; None when unknown.
    """

    body: Body | None = field(repr=False)
    usd: Decimal | None = None


@frozen(kw_only=True)
class FlightResult:
    """A reply, to our own request or to a shared one.

    Attributes:
        body: The body of the reply; empty when it must not be shared.
        cached: Whether it came without a request of our own, so that it costs nothing.
        warnings: What went wrong with the cache, one sentence each.
    """

    body: Body = field(repr=False)
    cached: bool
    warnings: tuple[str, ...] = ()


OUTCOME_TTL: Final = 60.0
"""Waiters look several times a second, so a minute is plenty."""


@frozen
class CallbackLease:
    """A lease that ends by calling the cache that granted it; implements `Lease`."""

    _end: Callable[[str], None] = field(repr=False)

    def release(self, outcome: str) -> None:
        """Release it; ``outcome`` is what `Cache.lease_outcome` returns."""
        self._end(outcome)


@frozen(kw_only=True)
class EntryLimits:
    """A time to live and a size.

    Attributes:
        seconds: How long a reply lasts; None is for ever.
        max_bytes: How many bytes all bodies may have together; None is no bound.
    """

    seconds: float | None
    max_bytes: int | None

    @classmethod
    def of(cls, ttl: timedelta | None, max_bytes: int | None) -> EntryLimits:
        """Check the arguments of a constructor.

        Raises:
            ConfigurationError: A limit is zero or less.
        """
        if ttl is not None:
            duration("ttl", ttl, "; None is for ever")
        if max_bytes is not None:
            max_bytes = as_int(max_bytes)
            whole("max_bytes", max_bytes, 1, "; None is no bound")
        return cls(seconds=None if ttl is None else ttl.total_seconds(), max_bytes=max_bytes)

    def dated(self, entry: CacheEntry, now: float) -> CacheEntry:
        """Return the entry with its dates: it expires by its own or by ours, the first of both."""
        own = None if self.seconds is None else now + self.seconds
        dates = [each for each in (own, entry.expires) if each is not None]
        created = now if entry.created is None else entry.created
        return evolve(entry, created=created, expires=min(dates, default=None))

    def admits(self, size: int) -> bool:
        """Return whether a body of this many bytes fits at all."""
        return self.max_bytes is None or size <= self.max_bytes


class Lease(Protocol):
    """The right to send a request, while all others with the same request wait.

    It stays valid however long the call takes, and frees itself when its process dies.
    """

    def release(self, outcome: str) -> None:
        """Release it; harmless if done twice. `Cache.lease_outcome` then returns ``outcome``."""
        ...


class Cache(ABC):
    """Replies by key, for as many threads and processes as it reaches.

    `Cache.memory`, `Cache.disk`, `Cache.redis` and `Cache.tiered` make the common kinds. A cache
    of your own is a subclass that has `get`, `put`, `delete`, `stats` and `clear`.

    Every method may raise CacheError, and nothing else; calls then go on without the cache. No
    method blocks for more than a few seconds. An object may be used after a fork, in both
    processes.
    """

    @staticmethod
    @strict("Cache.memory")
    def memory(
        *, ttl: timedelta | None = None, max_bytes: int | None = MEMORY_BYTES
    ) -> MemoryCache:
        """Make a cache of this process, gone when it ends.

        Args:
            ttl: How long a reply lasts; None is for ever.
            max_bytes: How many bytes the replies may have together; None is no bound.

        Raises:
            ConfigurationError: A limit is zero or less.
        """
        from gptimage.cache.memory import MemoryCache

        return MemoryCache(ttl=ttl, max_bytes=max_bytes)

    @staticmethod
    @strict("Cache.disk")
    def disk(
        path: str | os.PathLike[str] | None = None,
        *,
        ttl: timedelta | None = None,
        max_bytes: int | None = DISK_BYTES,
    ) -> DiskCache:
        """Make a cache in a folder of a local disk, for all processes of this machine.

        Args:
            path: The folder; None is the user's cache folder.
            ttl: How long a reply lasts; None is for ever.
            max_bytes: How many bytes the replies may have together; None is no bound.

        Raises:
            ConfigurationError: A limit is zero or less.
        """
        from gptimage.cache.disk import DiskCache

        return DiskCache(path, ttl=ttl, max_bytes=max_bytes)

    @staticmethod
    @strict("Cache.redis")
    def redis(
        url: str,
        *,
        ttl: timedelta | None = REDIS_TTL,
        max_bytes: int | None = None,
        prefix: str = "gptimage:",
        timeout: timedelta = timedelta(seconds=1),
    ) -> RedisCache:
        """Make a cache in a Redis server, for all machines that reach it (extra ``redis``).

        Args:
            url: Such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
            ttl: How long a reply lasts; None is for ever.
            max_bytes: How many bytes the replies may have together; None leaves that to Redis.
            prefix: Put before every key; caches with different ones know nothing of each other.
            timeout: How long to wait for a connection, and for each response.

        Raises:
            ConfigurationError: The package ``redis`` is missing, the URL is none, or a limit is
                zero or less.
        """
        from gptimage.cache.redis import RedisCache

        return RedisCache(url, ttl=ttl, max_bytes=max_bytes, prefix=prefix, timeout=timeout)

    @staticmethod
    @strict("Cache.tiered")
    def tiered(*tiers: Cache) -> TieredCache:
        """Put fast caches in front of slow ones, such as memory, then disk or Redis.

        Args:
            *tiers: Two or more caches, fastest first; the last one leads.

        Raises:
            ConfigurationError: There are fewer than two.
        """
        from gptimage.cache.tiered import TieredCache

        return TieredCache(*tiers)

    @abstractmethod
    def get(self, key: str) -> CacheEntry | None:
        """Return the reply under this key, or None. Reading counts nothing: `record_use` does.

        Replies are checked: one that is damaged or has expired is removed and counts as absent.
        """

    @abstractmethod
    def put(self, key: str, entry: CacheEntry) -> None:
        """Save a reply, replacing an older one, and evict what was used least recently.

        It expires when the entry says or after the cache's own time to live, whichever
        is first. A reply larger than the whole cache is not saved.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a reply; harmless when there is none."""

    @abstractmethod
    def stats(self) -> CacheStats:
        """Return what it holds now, and the counts so far."""

    @abstractmethod
    def clear(self, older_than: timedelta | None = None) -> int:
        """Remove all replies, or those saved longer ago; returns how many. Counts stay."""

    def record_use(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note that a key was used just now, and add to the statistics; does nothing here."""
        del key, hits, misses

    def lease(self, key: str, token: str) -> Lease | LeaseHeld:
        """Try once, without waiting, to become the one that sends a request.

        Granted to everybody here: threads and tasks of one process that use the same object
        share a request anyway, processes do not.

        Args:
            key: The key of the request.
            token: A name for this attempt that no other has.
        """
        del key, token
        return CallbackLease(lambda _: None)

    def lease_outcome(self, token: str) -> str | None:
        """Return how the attempt of this token ended; None if it did not, or a minute ago."""
        del token
        return None

    def close(self) -> None:  # noqa: B027  # most caches have nothing to close
        """Release files and connections; harmless when done twice."""

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        """Take every class with these methods for a cache, as `collections.abc` does."""
        if cls is Cache and all(callable(getattr(other, name, None)) for name in _METHODS):
            return True
        return NotImplemented


_METHODS: Final = (
    "get",
    "put",
    "delete",
    "stats",
    "clear",
    "record_use",
    "lease",
    "lease_outcome",
    "close",
)
