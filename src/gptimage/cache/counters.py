"""Money in counters that several processes add to: whole nanodollars, so that nothing rounds."""

from __future__ import annotations

from decimal import Decimal
from typing import Final


_NANO: Final = Decimal(10**9)


def nanodollars(usd: Decimal | None) -> int:
    """USD as a whole number of billionths; 0 for what is unknown.

    The cheapest token costs hundreds of nanodollars, so real costs are exact.
    """
    return 0 if usd is None else int((usd * _NANO).to_integral_value())


def dollars(nanos: int) -> Decimal:
    """The amount in USD."""
    return Decimal(nanos) / _NANO
