"""What goes into a cache and what comes out: plain values."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from attrs import field, frozen


Body: TypeAlias = bytes | bytearray | memoryview
"""The bytes of a reply; whoever holds them does not change them any more."""


@frozen(kw_only=True)
class CacheEntry:
    """A reply as a cache keeps it.

    Attributes:
        body: The body of the reply; its meaning is no business of the cache.
        usd: What the reply cost, in USD, so that a hit counts as saved; None when unknown.
        created: When it was first kept (Unix time in seconds); a cache fills it in.
        expires: When it stops being an answer (Unix time in seconds); None is never.
    """

    body: Body = field(repr=False)
    usd: Decimal | None = None
    created: float | None = None
    expires: float | None = None


@frozen(kw_only=True)
class CacheStats:
    """What a cache holds, and what it has been good for.

    Attributes:
        entries: How many replies it holds.
        bytes: How many bytes their bodies have.
        hits: Calls answered without asking the service, be it by sharing a call in flight.
        misses: Calls the service was asked for and answered.
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
        """The share of calls answered without asking, from 0 to 1; None before the first."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else None


@frozen
class Held:
    """Somebody else is asking the same thing right now.

    Attributes:
        token: Names that flight; `CachePort.outcome` tells how it ended.
    """

    token: str


@frozen(kw_only=True)
class Fresh:
    """What the one who asked came back with.

    Attributes:
        body: The body of a good reply; None when it must neither be kept nor shared.
        usd: What it cost, in USD; None when unknown.
    """

    body: Body | None = field(repr=False)
    usd: Decimal | None = None


@frozen(kw_only=True)
class Landed:
    """An answer, asked for by us or by somebody else.

    Attributes:
        body: The body of the reply; empty when the one who asked had none to share.
        cached: Whether it came without a request of our own, so that it costs nothing.
        warnings: What went wrong with the cache, one sentence each.
    """

    body: Body = field(repr=False)
    cached: bool
    warnings: tuple[str, ...] = ()
