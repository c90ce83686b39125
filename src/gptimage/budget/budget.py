"""`Budget`: a hard limit. What a call may cost is reserved before it is sent, or it is not sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, DecimalException
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from attrs import evolve

from gptimage._internal.clock import Clock, check_time, utc_now
from gptimage._internal.keywords import clock as check_clock
from gptimage._internal.keywords import one_of, plain_int, refused, strict_class
from gptimage.budget.accounts import (
    CallOutcome,
    CallRecord,
    Limit,
    MemoryLedger,
    Period,
    exceeded,
    span_of,
    to_nanos,
)
from gptimage.budget.ledger import Ledger
from gptimage.errors import ConfigurationError, truncated_repr
from gptimage.transport.billing import Billing


Accounts: TypeAlias = Ledger | MemoryLedger
"""A place where calls are recorded."""

Usd: TypeAlias = int | float | str | Decimal
"""An amount in USD; a float means the decimal number it is written as."""

_PERIODS: Final[tuple[Period, ...]] = get_args(Period)
_MOST: Final = Decimal(10**9)


class Reservation:
    """An amount reserved for one call; end it in one of three ways.

    Args:
        accounts: Where it is entered.
        entry: What was entered.
    """

    def __init__(self, accounts: Accounts, entry: CallRecord) -> None:
        self.entry: CallRecord = entry
        self._accounts = accounts

    def settle(self, cost: Decimal | None) -> None:
        """Count the cost of a call that got its response, or what was reserved if it is not known.

        Args:
            cost: What it cost, in USD; None when that cannot be known.

        Raises:
            ConfigurationError: The ledger cannot be used; what was reserved stays counted.
        """
        self.end(CallOutcome(billing=Billing.BILLED, cost=cost))

    def release(self) -> None:
        """Count nothing: the call was never sent, or was refused.

        Raises:
            ConfigurationError: The ledger cannot be used; what was reserved stays counted.
        """
        self.end(CallOutcome(billing=Billing.NOT_BILLED))

    def unknown(self) -> None:
        """Keep what was reserved counted: it was sent, and no usable response came.

        Raises:
            ConfigurationError: The ledger cannot be used; what was reserved stays counted.
        """
        self.end(CallOutcome(billing=Billing.UNKNOWN))

    def end(self, ending: CallOutcome) -> None:
        """End it in any of these ways, with all that is known of the call.

        Raises:
            ConfigurationError: The ledger cannot be used; what was reserved stays counted.
        """
        self._accounts.end(self.entry, ending)


@strict_class
class Budget:
    """A limit on what may be spent. Safe for threads, and with a ledger for processes.

    Before a request is sent, the most it should cost is reserved; if that and everything
    spent or reserved so far could cross the limit, BudgetExceededError is raised and nothing
    is sent. When the response is there, what it really cost counts instead. A request that
    may have been billed goes on counting with what was reserved.

    Args:
        limit_usd: The limit in USD; or several at once, such as ``{"call": 0.25, "day": 5}``.
        per: What a single limit holds for: ``call``, ``hour``, ``day``, ``month`` (of the
            calendar, in UTC) or ``total``.
        ledger: Where it is counted. All budgets with the same ledger count all its calls.
            Without one, only this object counts, until the process ends.
        unknown: What a call counts with whose price is not known, in USD; ``refuse`` does
            not send it.
        clock: Tells the time (UTC) for `remaining`; when left out, the clock of the first client
            that uses it, and this machine's until a client does.

    Raises:
        ConfigurationError: A limit makes no sense.
    """

    def __init__(
        self,
        limit_usd: Usd | Mapping[Period, Usd],
        *,
        per: Period | None = None,
        ledger: Ledger | None = None,
        unknown: Usd | Literal["refuse"] = "refuse",
        clock: Clock | None = None,
    ) -> None:
        if ledger is not None:
            one_of("ledger", ledger, Ledger, "a Ledger, such as Ledger('spend.sqlite')")
        if clock is not None:
            check_clock("clock", clock)
        self.limits: Mapping[Period, Decimal] = MappingProxyType(_limits(limit_usd, per))
        self.ledger: Ledger | None = ledger
        self.unknown: Decimal | None = None if unknown == "refuse" else _usd(unknown, "unknown")
        self._clock: Clock | None = clock
        self._accounts: Accounts = MemoryLedger() if ledger is None else ledger

    def set_default_clock(self, clock: Clock) -> None:
        """Take over the clock of the first client that uses it, unless it was given its own.

        Calls count for the day the client's clock shows; what is left of that day is a
        question to the same clock.
        """
        self._clock = self._clock or clock
        if self.ledger is not None:
            self.ledger.set_default_clock(clock)

    def use_ledger(self, ledger: Ledger) -> None:
        """Count in this ledger from now on, with all calls that are in it.

        Raises:
            ConfigurationError: It is counted in another ledger, or has counted calls without one.
        """
        if self.ledger is ledger:
            return
        if self.ledger is not None and self.ledger.path != ledger.path:
            raise ConfigurationError(
                f"the budget is counted in {self.ledger.path} and the client in {ledger.path}: "
                "give both the same ledger, or only one of them any"
            )
        # What was counted in memory would be forgotten, and could be spent again.
        if self.ledger is None and self._accounts.spent():
            raise ConfigurationError(
                f"the budget has counted calls without a ledger already, and would forget them in "
                f"{ledger.path}: name the ledger where it is made, Budget(..., ledger=...)"
            )
        self.ledger = self._accounts = ledger

    def reserve(self, amount: Decimal | None, *, on: datetime, note: CallRecord) -> Reservation:
        """Reserve what a call may cost.

        Args:
            amount: The most it should cost, in USD; None when that is not known.
            on: The time (UTC); decides which hour, day and month it counts for.
            note: The call, as it is entered.

        Raises:
            BudgetExceededError: A limit could be crossed, or the amount is not known and
                unknown ones are refused.
            ConfigurationError: The ledger cannot be used.
        """
        amount = self.unknown if amount is None else amount
        limits = [
            Limit(usd=usd, per=per, span=span_of(per, on)) for per, usd in self.limits.items()
        ]
        if amount is None:
            first = limits[0]
            raise exceeded(first, None, to_nanos(self._accounts.spent(first.span)))
        entry = evolve(note, at=on, reserved=amount)
        self._accounts.begin(entry, limits)
        return Reservation(self._accounts, entry)

    def remaining(self, on: datetime | None = None) -> Decimal:
        """Return what the next call may cost at most, in USD; never below 0.

        Args:
            on: The time (UTC); now, by its clock, when left out.

        Raises:
            ConfigurationError: The ledger cannot be used.
        """
        moment = check_time(on or (self._clock or utc_now)())
        left = [
            usd - self._accounts.spent(span_of(per, moment)) for per, usd in self.limits.items()
        ]
        return max(Decimal(0), min(left))

    def __repr__(self) -> str:
        """Return the limits."""
        limits = ", ".join(f"${usd} per {per}" for per, usd in self.limits.items())
        return f"Budget({limits})"


def _limits(limit: Usd | Mapping[Period, Usd], per: Period | None) -> dict[Period, Decimal]:
    several: Mapping[Period, Usd]
    if isinstance(limit, Mapping):
        several = limit
        if not several or per is not None:
            raise ConfigurationError('several limits are named like {"call": 0.25, "day": 5}')
    elif per is None:
        raise ConfigurationError(f"what is the budget for? per= takes one of {_PERIODS}")
    elif not isinstance(per, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise refused("per", per, f"one of {_PERIODS}")
    else:
        several = {per: limit}
    for name in several:
        if name not in _PERIODS:
            raise ConfigurationError(
                f"no budget is per {truncated_repr(name)}; take one of {_PERIODS}"
            )
    return {name: _usd(usd, f"the limit per {name}") for name, usd in several.items()}


def _usd(value: object, what: str) -> Decimal:
    value = plain_int(value)
    try:
        if not isinstance(value, (int, float, str, Decimal)):
            raise ValueError(value)
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except (ValueError, DecimalException):
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= _MOST):
        raise ConfigurationError(
            f"{what} is an amount in USD, such as 2.50, not {truncated_repr(value)}"
        )
    return amount
