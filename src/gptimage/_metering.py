"""Which meter a client gets: one that counts, or one that costs nothing, not even its import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from gptimage._call import Call
from gptimage.engine.plan import Plan


if TYPE_CHECKING:
    from gptimage.engine.accounting import Meter


class Silent:
    """A `Meter` without budget, ledger or observers."""

    budget: None = None
    ledger: None = None
    guard: tuple[()] = ()

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock: Callable[[], datetime] = clock

    def call(self, plan: Plan, *, operation: str | None = None) -> Call:
        """A call nobody listens to."""
        del plan, operation
        return Call()


def meter_of(settings: Mapping[str, Any], clock: Callable[[], datetime]) -> Meter:
    """The meter for a client's settings ``budget``, ``ledger`` and ``observers``.

    Raises:
        ConfigurationError: Budget and client name different ledgers.
    """
    given = (settings.get("budget"), settings.get("ledger"), settings.get("observers") or None)
    if given == (None, None, None):
        return cast("Meter", Silent(clock))
    from gptimage.engine.accounting import Meter

    return Meter.of(settings, clock)
