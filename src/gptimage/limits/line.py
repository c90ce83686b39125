"""Who waits for a turn, in the order of asking, so that many small requests starve no large one.

A request that waits keeps its place: what it needs is set aside, and whoever asked later goes
only if there is room for both. The time is an argument, as in a `Window`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define, field

from gptimage.limits.headers import Kind


_PATIENCE: Final = 5.0
"""Seconds a place is kept for somebody who was to ask again, and may have given up."""

_EARLY: Final = 0.001
"""Seconds; clocks are not exact, and whoever is that much too early is in time."""


@define(eq=False)
class Place:
    """One place in the line.

    Attributes:
        needs: What the request needs, by kind.
        due: When it was told to ask again.
    """

    needs: Mapping[Kind, int]
    due: float


@define
class Line:
    """The places of those who wait, oldest first."""

    _places: list[Place] = field(factory=list[Place])

    def find(self, needs: Mapping[Kind, int], now: float) -> tuple[Place | None, list[Place]]:
        """The place of a request, and those before it; all of them when it is new.

        Nobody says who asks, so a place belongs to whoever comes when it is due and needs the
        same: requests that are alike may change places, and none of them is worse off.
        """
        self._places = [each for each in self._places if each.due + _PATIENCE > now]
        for number, place in enumerate(self._places):
            if place.due <= now + _EARLY and place.needs == needs:
                return place, self._places[:number]
        return None, self._places

    def keep(self, place: Place | None, needs: Mapping[Kind, int], due: float) -> None:
        """Keep a place, or give a new one at the end, until it is due."""
        if place is None:
            self._places.append(Place(needs, due))
        else:
            place.due = due

    def leave(self, place: Place | None) -> None:
        """It has got its turn."""
        if place is not None:
            self._places.remove(place)
