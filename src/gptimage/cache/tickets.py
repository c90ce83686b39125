"""The lease every cache hands out, and how long the outcome of a flight can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen


NOTE_SECONDS: Final = 60.0
"""Waiters look several times a second; a minute is plenty, and soon forgotten."""


@frozen
class Ticket:
    """A lease that ends by calling the cache that granted it."""

    _end: Callable[[str], None] = field(repr=False)

    def release(self, outcome: str) -> None:
        """Let go, leaving behind how it ended."""
        self._end(outcome)
