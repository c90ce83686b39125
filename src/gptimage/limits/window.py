"""Counting what was sent within the last minute, as pure arithmetic: the time is an argument.

A window never lets more through in any 60 seconds than its limit. That is safe with every way
a service may count: in whole minutes, over the last minute, or with a bucket that refills.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Final

from attrs import define, field


SPAN: Final = 61.0
"""Seconds a request counts: a minute, and one more because requests overtake each other."""

_MEMORY: Final = SPAN
"""Seconds for which what no longer counts is remembered, to understand late replies."""

_STEPS: Final = 20
"""In how many parts the use of others is freed again."""

_AGAIN: Final = 1.0
"""Seconds to wait where nothing that counts says how long."""

_TRUST: Final = 600.0
"""Seconds a learned limit holds: limits are raised, and who else shares them changes."""


@define
class Window:
    """The use of a limit in the last minute.

    Attributes:
        own: The limit the user set, or None.
    """

    own: int | None = None
    _learned: int | None = None
    _learned_until: float = 0.0
    _counted: list[tuple[float, int]] = field(factory=list[tuple[float, int]])
    _past: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]])
    _sum: int = 0

    def limit(self, now: float) -> int | None:
        """Return the limit that holds: the user's or the learned one, whichever is lower."""
        known = [each for each in (self.own, self._learned_now(now)) if each is not None]
        return min(known) if known else None

    def used(self, now: float) -> int:
        """Return how much counts at this time."""
        self._forget(now)
        return self._sum

    def wait(self, weight: int, now: float, ahead: Iterable[int] = ()) -> float:
        """Return seconds until that much more fits; 0 when it fits now.

        More than the whole limit fits when nothing else counts: then the service decides.

        Args:
            weight: How much is needed.
            now: The time.
            ahead: What those need that came before, and go first.
        """
        limit = self.limit(now)
        if limit is None:
            return 0.0
        first = sum(min(each, limit) for each in ahead)
        missing = self.used(now) + first + min(weight, limit) - limit
        if missing <= 0:
            return 0.0
        for until, freed in sorted(self._counted):
            missing -= freed
            if missing <= 0:
                return until - now
        # Those ahead fill the limit by themselves: once they have gone, more is known.
        return max((until - now for until, _ in self._counted), default=_AGAIN)

    def take(self, weight: int, now: float) -> None:
        """Count something that is sent now."""
        self._add(weight, now + SPAN, now)

    def learn(self, limit: int, now: float) -> None:
        """Believe for a while what the service says its limit is."""
        self._learned, self._learned_until = max(1, limit), now + _TRUST

    def others(self, used: int, reset: float, as_of: float, now: float) -> None:
        """Count what the service says was used, as far as it was not sent from here.

        Args:
            used: How much counted on the side of the service.
            reset: Seconds until none of it counts; it is freed little by little.
            as_of: When that was so, which may be long before the reply is here.
            now: The time.
        """
        if now - as_of > _MEMORY:
            return
        foreign = used - max(self.used(now), self._used_at(as_of))
        steps = min(max(0, foreign), _STEPS)
        reset = min(reset, SPAN)
        for step in range(steps):
            weight = foreign // steps + (step < foreign % steps)
            self._add(weight, as_of + reset * (step + 1) / steps, now)

    def _add(self, weight: int, until: float, now: float) -> None:
        if weight > 0 and until > now:
            heapq.heappush(self._counted, (until, weight))
            self._sum += weight

    def _forget(self, now: float) -> None:
        while self._counted and self._counted[0][0] <= now:
            until, weight = heapq.heappop(self._counted)
            self._sum -= weight
            self._past.append((until, weight))
        while self._past and self._past[0][0] <= now - _MEMORY:
            self._past.popleft()

    def _used_at(self, when: float) -> int:
        """Return how much counted at an earlier time."""
        known = (*self._past, *self._counted)
        return sum(weight for until, weight in known if when < until <= when + SPAN)

    def _learned_now(self, now: float) -> int | None:
        return self._learned if now < self._learned_until else None
