"""The two limits every cache has: how long a reply lasts, and how many bytes there may be."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve, frozen

from gptimage._internal.keywords import one_of, whole
from gptimage.cached import CacheEntry
from gptimage.errors import ConfigurationError


@frozen(kw_only=True)
class Limits:
    """A time to live and a size.

    Attributes:
        seconds: How long a reply lasts; None is for ever.
        max_bytes: How many bytes all bodies may have together; None is no bound.
    """

    seconds: float | None
    max_bytes: int | None

    @classmethod
    def of(cls, ttl: timedelta | None, max_bytes: int | None) -> Limits:
        """Check what a user wrote.

        Raises:
            ConfigurationError: A limit is zero or less.
        """
        if ttl is not None:
            one_of("ttl", ttl, timedelta, "a datetime.timedelta, such as timedelta(days=30)")
        if ttl is not None and ttl <= timedelta(0):
            raise ConfigurationError(
                f"ttl must be longer than nothing, not {ttl}; None is for ever"
            )
        if max_bytes is not None:
            whole("max_bytes", max_bytes, 1)
        return cls(seconds=None if ttl is None else ttl.total_seconds(), max_bytes=max_bytes)

    def dated(self, entry: CacheEntry, now: float) -> CacheEntry:
        """The entry with its dates: it expires by its own or by ours, whichever is first."""
        own = None if self.seconds is None else now + self.seconds
        dates = [each for each in (own, entry.expires) if each is not None]
        created = now if entry.created is None else entry.created
        return evolve(entry, created=created, expires=min(dates, default=None))

    def admits(self, size: int) -> bool:
        """Whether a body of this many bytes fits at all."""
        return self.max_bytes is None or size <= self.max_bytes
