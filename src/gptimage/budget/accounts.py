"""The record of a call, the limits of a budget, and `MemoryLedger` for a budget without a ledger.

Accounts count in whole nanodollars by the hour (UTC), so that no limit has to add up a
million calls. A call counts with what is reserved for it until it is known what it cost.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

from attrs import field, frozen

from gptimage._internal.locks import ForkSafeLock
from gptimage.errors import BudgetExceededError
from gptimage.models.pricing import Usage, format_usd
from gptimage.transport.billing import Billing


Period: TypeAlias = Literal["call", "hour", "day", "month", "total"]
"""What a limit holds for: each call alone, an hour, day or month of the calendar (UTC), or all."""

HourRange: TypeAlias = tuple[int, int]
"""The first hour, and the first one after; hours are counted from 1970 (UTC)."""

ALL_TIME: Final[HourRange] = (0, 1 << 60)
_NANO: Final = Decimal(10**9)


@frozen(kw_only=True)
class CallRecord:
    """A call as it is recorded before it is sent.

    Attributes:
        call_id: Random; the row's id.
        at: When it began (UTC).
        operation: ``generate``, ``edit``, ``turn``...
        model: The model of the request.
        estimate: What it may cost, in USD, or None.
        reserved: What counts in USD until the cost is known.
        prompt: The prompt; saved only by a ledger that saves prompts.
        until: When a response is overdue (UTC); an hour after ``at`` when left out. With it, the
            call outlives the process that entered it.
    """

    call_id: str
    at: datetime
    operation: str
    model: str
    estimate: Decimal | None = None
    reserved: Decimal = Decimal(0)
    prompt: str | None = field(default=None, repr=False)
    until: datetime | None = None


@frozen(kw_only=True)
class CallOutcome:
    """The outcome of a call.

    Attributes:
        billing: See `Billing`; a response from the cache is ``not_billed``.
        cost: What it cost, in USD; None when that is not known.
        usage: Tokens as the service counted them, or None.
        images: How many images came.
        cached: Whether the response came from the cache.
        request_id: The service's id of the request, or None.
        error: The name of the error class, or None.
        seconds: How long it took, or None.
    """

    billing: Billing
    cost: Decimal | None = None
    usage: Usage | None = None
    images: int = 0
    cached: bool = False
    request_id: str | None = None
    error: str | None = None
    seconds: float | None = None


@frozen(kw_only=True)
class Limit:
    """The most that may be spent in one stretch of time.

    Attributes:
        usd: The amount.
        per: What it holds for.
        span: The hours it covers (see `span_of`).
    """

    usd: Decimal
    per: Period
    span: HourRange

    def check(self, reserved: Decimal, spent: int) -> None:
        """Refuse what could cross the limit.

        Args:
            reserved: What the next call may cost, in USD.
            spent: What is spent or reserved already, in nanodollars.

        Raises:
            BudgetExceededError: It could.
        """
        if spent + to_nanos(reserved) > int((self.usd * _NANO).to_integral_value(ROUND_FLOOR)):
            raise exceeded(self, reserved, spent)


class MemoryLedger:
    """Calls in memory: of the threads and tasks of this process, until it ends."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._hours: dict[int, int] = {}
        # Of each call what it counts with, for as long as its record lives.
        self._calls: WeakKeyDictionary[CallRecord, tuple[Billing, int]] = WeakKeyDictionary()

    def begin(self, entry: CallRecord, limits: Sequence[Limit] = ()) -> None:
        """Record a call, unless it could cross a limit; no other call comes in between.

        Raises:
            BudgetExceededError: It could; nothing was entered.
        """
        with self._lock:
            for limit in limits:
                limit.check(entry.reserved, self._sum(limit.span))
            self._count(entry, Billing.SENT, entry.reserved)

    def end(self, entry: CallRecord, ending: CallOutcome) -> None:
        """Record how a call ended; once more when it becomes known later."""
        with self._lock:
            self._count(entry, ending.billing, counted_amount(entry, ending))

    def spent(self, span: HourRange = ALL_TIME) -> Decimal:
        """Add up what is spent or reserved in some hours, in USD."""
        with self._lock:
            return to_usd(self._sum(span))

    def _sum(self, span: HourRange) -> int:
        first, end = span
        return sum(nanos for hour, nanos in self._hours.items() if first <= hour < end)

    def _count(self, entry: CallRecord, billing: Billing, usd: Decimal) -> None:
        before, counted = self._calls.get(entry, (Billing.NOT_SENT, 0))
        if entry in self._calls and not before.can_become(billing):
            return  # what is paid stays counted
        hour, nanos = hour_of(entry.at), to_nanos(usd)
        self._hours[hour] = self._hours.get(hour, 0) + nanos - counted
        self._calls[entry] = (billing, nanos)


def counted_amount(entry: CallRecord, ending: CallOutcome) -> Decimal:
    """Return what a call counts with, in USD: its cost, or its reservation if that is unknown."""
    if not ending.billing.may_be_billed:
        return Decimal(0)
    return entry.reserved if ending.cost is None else ending.cost


def span_of(per: Period, on: datetime) -> HourRange:
    """Return the hours of a period; none for a single call, which is looked at alone."""
    on = on.astimezone(UTC)
    hour = hour_of(on)
    match per:
        case "call":
            return hour, hour
        case "hour":
            return hour, hour + 1
        case "day":
            first = hour - on.hour
            return first, first + 24
        case "month":
            first = hour - on.hour - 24 * (on.day - 1)
            return first, first + 24 * monthrange(on.year, on.month)[1]
        case "total":  # pragma: no branch  # there is no other
            return ALL_TIME


def hour_of(moment: datetime) -> int:
    """Return the number of a time's hour, counted from 1970 (UTC)."""
    return int(moment.timestamp() // 3600)


def exceeded(limit: Limit, reserved: Decimal | None, spent: int) -> BudgetExceededError:
    """Make the refusal of a call.

    Args:
        limit: The limit it could cross.
        reserved: What it may cost, in USD; None when that cannot be known.
        spent: What is spent or reserved already, in nanodollars.
    """
    used = to_usd(spent)
    budget = f"{format_usd(limit.usd)} {_NAMES[limit.per]}"
    if reserved is None:
        problem = (
            "what this request may cost cannot be known, since its model, its format or a file "
            f"id has no published figures, and the budget is {budget}; set what an unknown price "
            'counts as: Budget(..., unknown="0.50")'
        )
    elif limit.per == "call":
        problem = (
            f"this request may cost up to {format_usd(reserved)}, and the budget is {budget}; "
            "name a size and a quality, or ask for fewer or smaller images, or a lower quality"
        )
    else:
        problem = (
            f"this request may cost up to {format_usd(reserved)}, and {format_usd(used)} of "
            f"{budget} are spent or reserved; name a size and a quality, wait, or raise the budget"
        )
    return BudgetExceededError(
        f"nothing was sent: {problem}", estimate=reserved, limit=limit.usd, spent=used
    )


_NAMES: Final[dict[Period, str]] = {
    "call": "for each call",
    "hour": "for this hour (UTC)",
    "day": "for this day (UTC)",
    "month": "for this month (UTC)",
    "total": "in all",
}


def to_nanos(usd: Decimal) -> int:
    """Convert USD to a whole number of billionths, rounded up."""
    return int((usd * _NANO).to_integral_value(ROUND_CEILING))


def to_usd(nanos: int) -> Decimal:
    """Convert billionths to USD."""
    return Decimal(nanos) / _NANO
