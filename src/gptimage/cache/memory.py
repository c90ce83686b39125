"""`MemoryCache`: replies in the memory of one process; the least recently used go first."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial

from attrs import evolve

from gptimage._internal.clock import unix_now
from gptimage._internal.keywords import function, strict_class
from gptimage._internal.locks import ForkSafeLock
from gptimage.cache.base import (
    MEMORY_BYTES,
    OUTCOME_TTL,
    Cache,
    CacheEntry,
    CacheStats,
    CallbackLease,
    EntryLimits,
    Lease,
    LeaseHeld,
    age_of,
)


@strict_class
class MemoryCache(Cache):
    """A cache in the memory of this process, gone when it ends.

    After a fork each process goes on with its own copy.

    Args:
        ttl: How long a reply lasts; None is for ever.
        max_bytes: How many bytes the bodies may have together.
        clock: Tells the time (Unix time in seconds).

    Raises:
        ConfigurationError: A limit is zero or less.
    """

    def __init__(
        self,
        *,
        ttl: timedelta | None = None,
        max_bytes: int | None = MEMORY_BYTES,
        clock: Callable[[], float] = unix_now,
    ) -> None:
        function("clock", clock, "a function that tells the time, such as time.time")
        self._limits = EntryLimits.of(ttl, max_bytes)
        self._clock = clock
        self._lock = ForkSafeLock()
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._bytes = 0
        self._counts = CacheStats()
        self._process = os.getpid()
        self._held: dict[str, str] = {}
        self._outcomes: dict[str, tuple[str, float]] = {}

    def get(self, key: str) -> CacheEntry | None:
        """Return the reply under this key; its body is not hashed again, as in other caches."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and _expired(entry, self._clock()):
                self._drop(key)
                return None
            return entry

    def put(self, key: str, entry: CacheEntry) -> None:
        """Save a reply; a body that could still be changed is copied."""
        body = bytes(entry.body)  # no copy when it is `bytes` already
        now = self._clock()
        with self._lock:
            self._drop(key)
            if self._limits.admits(len(body)):
                self._entries[key] = self._limits.dated(evolve(entry, body=body), now)
                self._bytes += len(body)
                self._make_room(now)

    def delete(self, key: str) -> None:
        """Remove a reply."""
        with self._lock:
            self._drop(key)

    def record_use(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note that a key was used just now, and add to the statistics."""
        with self._lock:
            entry = self._entries.get(key)
            price = (entry.usd if entry else None) or Decimal(0)
            if entry is not None:
                self._entries.move_to_end(key)
            counts = self._counts
            self._counts = evolve(
                counts,
                hits=counts.hits + hits,
                misses=counts.misses + misses,
                saved_usd=counts.saved_usd + hits * price,
            )

    def stats(self) -> CacheStats:
        """Return what it holds now, and the counts since it was made."""
        with self._lock:
            self._drop_expired(self._clock())
            return evolve(self._counts, entries=len(self._entries), bytes=self._bytes)

    def clear(self, older_than: timedelta | None = None) -> int:
        """Remove all replies, or those saved longer ago; returns how many."""
        with self._lock:
            now = self._clock()
            self._drop_expired(now)
            age = age_of(older_than)
            found = [key for key, each in self._entries.items() if (each.created or 0) < now - age]
            for key in found:
                self._drop(key)
            return len(found)

    def lease(self, key: str, token: str) -> Lease | LeaseHeld:
        """Become the one that sends, among all that use this very object."""
        with self._lock:
            if self._process != os.getpid():  # leases of the process we were copied from
                self._process = os.getpid()
                self._held.clear()
            if key in self._held:
                return LeaseHeld(self._held[key])
            self._held[key] = token
            return CallbackLease(partial(self._release, key, token))

    def lease_outcome(self, token: str) -> str | None:
        """Return how the attempt of this token ended."""
        with self._lock:
            text, expires = self._outcomes.get(token, (None, 0.0))
            return text if expires > self._clock() else None

    def close(self) -> None:
        """Do nothing: there is nothing open, and the replies stay."""

    def _release(self, key: str, token: str, outcome: str) -> None:
        with self._lock:
            if self._held.get(key) != token:
                return
            now = self._clock()
            self._outcomes = {name: each for name, each in self._outcomes.items() if each[1] > now}
            self._outcomes[token] = (outcome, now + OUTCOME_TTL)
            del self._held[key]

    def _make_room(self, now: float) -> None:
        limit = self._limits.max_bytes
        if limit is None or self._bytes <= limit:
            return
        self._drop_expired(now)
        evicted = 0
        while self._bytes > limit:
            self._drop(next(iter(self._entries)))
            evicted += 1
        self._counts = evolve(self._counts, evictions=self._counts.evictions + evicted)

    def _drop_expired(self, now: float) -> None:
        for key in [key for key, entry in self._entries.items() if _expired(entry, now)]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.body)


def _expired(entry: CacheEntry, now: float) -> bool:
    return entry.expires is not None and entry.expires <= now
