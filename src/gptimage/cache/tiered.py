"""`TieredCache`: a small fast cache in front of a larger, slower or shared one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from attrs import evolve

from gptimage._internal.keywords import one_of, strict_class
from gptimage.cache.base import Cache, CacheEntry, CacheStats, Lease, LeaseHeld
from gptimage.errors import CacheError, ConfigurationError


T = TypeVar("T")


@strict_class
class TieredCache(Cache):
    """A cache of tiers, looked through from fast to slow; what is found is copied upwards.

    The slowest tier leads: it grants leases, and it has the statistics, so that they
    cover all who share it and no call is counted twice.

    Args:
        *tiers: Two or more caches, fastest first.

    Raises:
        ConfigurationError: There are fewer than two.
    """

    def __init__(self, *tiers: Cache) -> None:
        if len(tiers) < 2:
            raise ConfigurationError("a tiered cache needs two or more caches, fastest first")
        for tier in tiers:
            one_of("tiers", tier, Cache, "caches, such as Cache.memory() and Cache.disk()")
        self._tiers = tiers

    def __repr__(self) -> str:
        return f"TieredCache({', '.join(map(repr, self._tiers))})"

    def get(self, key: str) -> CacheEntry | None:
        """Return the first reply a tier has; a broken tier is passed over for another."""
        failures: list[CacheError] = []
        for depth, tier in enumerate(self._tiers):
            try:
                entry = tier.get(key)
            except CacheError as error:
                failures.append(error)
                continue
            if entry is not None:
                _copy(key, entry, self._tiers[:depth])
                return entry
        if failures:
            raise failures[0]
        return None

    def put(self, key: str, entry: CacheEntry) -> None:
        """Save a reply in every tier."""
        self._each(lambda tier: tier.put(key, entry))

    def delete(self, key: str) -> None:
        """Remove a reply from every tier."""
        self._each(lambda tier: tier.delete(key))

    def record_use(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note the use in every tier, so that none evicts what is wanted; the slowest counts."""
        leads = self._tiers[-1]
        self._each(
            lambda tier: (
                tier.record_use(key, hits=hits, misses=misses)
                if tier is leads
                else tier.record_use(key)
            )
        )

    def stats(self) -> CacheStats:
        """Return the statistics of the slowest tier, with those of each tier in ``tiers``."""
        found = tuple(self._each(lambda tier: tier.stats()))
        return evolve(found[-1], tiers=found)

    def clear(self, older_than: timedelta | None = None) -> int:
        """Clear every tier; returns how many replies the slowest had."""
        return self._each(lambda tier: tier.clear(older_than))[-1]

    def lease(self, key: str, token: str) -> Lease | LeaseHeld:
        """Become the one that sends, among all that share the slowest tier."""
        return self._tiers[-1].lease(key, token)

    def lease_outcome(self, token: str) -> str | None:
        """Return how the attempt of this token ended."""
        return self._tiers[-1].lease_outcome(token)

    def close(self) -> None:
        """Close every tier."""
        self._each(lambda tier: tier.close())

    def _each(self, work: Callable[[Cache], T]) -> list[T]:
        """Do something with every tier, even when an earlier one fails.

        Raises:
            CacheError: Some tier failed; the message names each that did.
        """
        found: list[T] = []
        failures: list[CacheError] = []
        for tier in self._tiers:
            try:
                found.append(work(tier))
            except CacheError as error:
                failures.append(error)
        if failures:
            raise CacheError("; ".join(map(str, failures))) from failures[0]
        return found


def _copy(key: str, entry: CacheEntry, tiers: Iterable[Cache]) -> None:
    """Fill faster tiers; a broken one is reported when the use is counted."""
    for tier in tiers:
        with suppress(CacheError):
            tier.put(key, entry)
