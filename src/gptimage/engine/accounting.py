"""The accounting of a client: each call enters its budget and ledger and emits its events here."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from attrs import evolve, frozen

from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.budget.budget import Budget, Reservation, Usd
from gptimage.budget.ledger import Ledger
from gptimage.engine.arrival import Arrival
from gptimage.engine.plan import Plan
from gptimage.errors import (
    ApiError,
    ConfigurationError,
    GptImageError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.models.pricing import FREE, Cost
from gptimage.observers.dispatch import ObserverDispatcher
from gptimage.observers.events import (
    CacheHit,
    Event,
    Failed,
    Finished,
    PartialArrived,
    Planned,
    Retried,
    Saved,
    Sent,
    Waiting,
)
from gptimage.observers.protocol import Observer
from gptimage.secrets import hide_prompt, scrub_error
from gptimage.transport.billing import Billing, may_be_billed
from gptimage.transport.http import HttpReply
from gptimage.types.request import Edit
from gptimage.types.result import PartialImage, Result


# `CallTracker`: how a client accounts for one call; this one only notes whether it was sent.
#
# It never waits. A ledger is a file, though, so an async client calls `reserve`, `finished`,
# `refused` and `cache_hit` in a thread when `CallTracker.blocks` says so.


class CallTracker:
    """One call as the accounting sees it. This one counts nothing, for a client that does not.

    Used as a context it takes note when an exception reaches the caller.
    """

    blocks: bool = False
    """Whether some methods write a file."""

    posted: bool = False
    """Whether it was sent and may be billed; False again while it waits to be sent once more."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.arrival: Arrival = Arrival()

    def reserve(self) -> None:
        """The request is about to be sent: reserve what it may cost.

        Raises:
            BudgetExceededError: It could cross the budget; nothing may be sent.
            ConfigurationError: The ledger cannot be used; nothing may be sent.
        """

    def waiting(self, reason: str, seconds: float) -> None:
        """Note that the call waits for a limit."""

    doubtful: int = 0
    """How many earlier tries may have been billed without an answer; see `Retry.unknown`."""

    def sent(self, attempt: int) -> None:
        """Note that the call is sent now: from here on it may be billed."""
        del attempt
        self.posted = True

    def retried(self, delay: float, outcome: HttpReply | TransportError) -> None:
        """Note that the try was not billed and the call will be sent again."""
        del delay, outcome
        self.posted = bool(self.doubtful)

    def repeated(self, delay: float, outcome: HttpReply | OutcomeUnknownError) -> None:
        """Note a retry of a try that may have been billed; it counts as a call of its own.

        Raises:
            BudgetExceededError: The budget does not allow another try.
            ConfigurationError: The ledger cannot be used.
        """
        del delay, outcome
        self.doubtful += 1

    def unbilled(self) -> None:
        """The last try was not billed, though an earlier one may have been."""

    def partial(self, preview: PartialImage) -> None:
        """A preview arrived."""

    def finished(self, result: Result, *, extra: Cost | None = FREE) -> Result:
        """Settle the cost of a call with a result; a failure to do so becomes its warning.

        Args:
            result: The answer.
            extra: What was paid on top of it, such as a conversation's chat model; None when
                that is not known, so that what the whole call cost is not known either.
        """
        del extra
        return result.with_warnings(*self._doubts())

    def refused(self, error: BaseException) -> None:
        """Release the reservation of a failed call, unless it may have been billed."""

    def cache_hit(self, result: Result) -> Result:
        """Note a result that was paid for before; a failure to do so becomes its warning."""
        return result

    def saved(self, result: Result) -> Result:
        """Return the result, after the store was asked to save it."""
        return result

    def _doubts(self) -> tuple[str, ...]:
        """Return what the caller should know of earlier tries."""
        if not self.doubtful:
            return ()
        tries = "one earlier try" if self.doubtful == 1 else f"{self.doubtful} earlier tries"
        return (f"{tries} of this call got no response and may have been billed as well",)

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Take note of what reached the caller, and take the prompt out of it."""
        # What is refused here says it to its own program, such as a recording that differs.
        if isinstance(error, Exception) and not isinstance(error, ConfigurationError):
            if not isinstance(error, GptImageError):  # of a transport of the caller's own
                scrub_error(error)
            hide_prompt(error, self._plan.request.prompt)


@frozen(kw_only=True)
class CallAccounting:
    """The budget, ledger and observers of a client.

    Attributes:
        budget: What may be spent, or None.
        ledger: Where every call is entered, or None.
        guard: Sends events to the observers.
        clock: Tells the time (UTC).
        limit: A second budget that its calls must fit, or None.
    """

    budget: Budget | None
    ledger: Ledger | None
    guard: ObserverDispatcher
    clock: Callable[[], datetime]
    limit: Budget | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any], clock: Callable[[], datetime]) -> CallAccounting:
        """Return the accounting for a client's settings ``budget``, ``ledger`` and ``observers``.

        Raises:
            ConfigurationError: Budget and client name different ledgers.
        """
        budget: Budget | None = settings.get("budget")
        ledger: Ledger | None = settings.get("ledger")
        if budget is not None and ledger is not None:
            # The caller's own object counts: its `remaining` is asked later.
            budget.use_ledger(ledger)
        for each in (budget, ledger):
            if each is not None:
                each.set_default_clock(clock)
        return cls(
            budget=budget,
            ledger=budget.ledger if ledger is None and budget is not None else ledger,
            guard=ObserverDispatcher(settings.get("observers") or ()),
            clock=clock,
        )

    def within(
        self, limit_usd: Usd | None = None, observer: Observer | None = None
    ) -> CallAccounting:
        """Return the same accounting for a group of calls.

        Args:
            limit_usd: What the calls together must also stay below, in USD.
            observer: What is told of them, besides the client's observers.

        Raises:
            ConfigurationError: The limit is no amount.
        """
        limit = self.limit if limit_usd is None else Budget(limit_usd, per="total")
        guard = self.guard if observer is None else self.guard.with_observer(observer)
        return evolve(self, limit=limit, guard=guard)

    def call(self, plan: Plan, *, operation: str | None = None) -> CallTracker:
        """Start a call, and emit its first event.

        Args:
            plan: What will be sent.
            operation: What it is called; ``generate`` or ``edit`` when left out.
        """
        # By identity: an empty ledger of a class with a length is false, and counts all the same.
        counts = any(each is not None for each in (self.budget, self.ledger, self.limit))
        if not counts and not self.guard:
            return CallTracker(plan)
        name = operation or ("edit" if isinstance(plan.request, Edit) else "generate")
        return _TrackedCall(self, plan, name)

    def emit(
        self, kind: Callable[..., Event], entry: CallRecord, call_id: str, **details: object
    ) -> None:
        """Tell the observers what became of the call that an entry of the ledger is about."""
        if self.guard:
            event = kind(
                call_id=call_id,
                at=self.clock(),
                operation=entry.operation,
                model=entry.model,
                **details,
            )
            self.guard.dispatch(event)


class _TrackedCall(CallTracker):
    def __init__(self, accounting: CallAccounting, plan: Plan, operation: str) -> None:
        super().__init__(plan)
        self.blocks = accounting.ledger is not None
        self._accounting = accounting
        self._started = time.monotonic()
        self._lock = threading.Lock()  # a cancelled call is given up while it is being reserved
        self._entry = CallRecord(
            call_id=secrets.token_hex(16),
            at=accounting.clock(),
            operation=operation,
            model=plan.request.model,
            estimate=None if plan.estimate is None else plan.estimate.usd,
            reserved=plan.max_cost or Decimal(0),
            prompt=plan.request.prompt,
        )
        self._call_id = self._entry.call_id  # observers see one call, however many rows it has
        self._reservation: _Reservations | None = None
        self._given_up = False
        self._in_flight = False
        self._over = False
        self._emit(
            Planned,
            estimate=self._entry.estimate,
            max_cost=plan.max_cost,
            images=plan.images,
        )

    def reserve(self) -> None:
        with self._lock:
            if self._given_up:
                raise RuntimeError("this call was given up before it was sent")
            self._reservation = self._reserved()

    def waiting(self, reason: str, seconds: float) -> None:
        self._emit(Waiting, reason=reason, seconds=seconds)

    def sent(self, attempt: int) -> None:
        super().sent(attempt)
        self._in_flight = True
        self._emit(Sent, attempt=attempt)

    def retried(self, delay: float, outcome: HttpReply | TransportError) -> None:
        super().retried(delay, outcome)
        self._in_flight = False
        self._emit(Retried, delay=delay, reason=reason(outcome))

    def repeated(self, delay: float, outcome: HttpReply | OutcomeUnknownError) -> None:
        # The row of the try before stays as it is, with what was reserved: it may be billed.
        # The next one is reserved anew, so that the budget counts both.
        ending = CallOutcome(
            billing=Billing.UNKNOWN,
            request_id=outcome.request_id,
            error=reason(outcome),
            seconds=self._seconds(),
        )
        super().repeated(delay, outcome)
        with self._lock:
            before, self._reservation = self._reservation, None
            if before is None:
                raise RuntimeError("this call was given up before it was sent again")
            before.end(ending)  # a ledger that fails here stops the call: nothing is sent
            self._entry = evolve(
                self._entry, call_id=secrets.token_hex(16), at=self._accounting.clock()
            )
            self._reservation = self._reserved()
            self._in_flight = False
        self._emit(Retried, delay=delay, reason=reason(outcome), possible_cost=self._plan.max_cost)

    def unbilled(self) -> None:
        self._in_flight = False

    def partial(self, preview: PartialImage) -> None:
        self._emit(PartialArrived, index=preview.index)

    def finished(self, result: Result, *, extra: Cost | None = FREE) -> Result:
        cost = None if result.cost is None or extra is None else result.cost + extra
        self._in_flight = False
        self._over = True
        ending = CallOutcome(
            billing=Billing.BILLED,
            cost=cost.usd if cost else None,
            usage=result.usage,
            images=len(result.images),
            request_id=result.request_id,
            seconds=self._seconds(),
        )
        notes = self._end(ending)
        self._emit(
            Finished,
            images=ending.images,
            seconds=ending.seconds,
            request_id=ending.request_id,
            usage=ending.usage,
            cost=cost,
        )
        return result.with_warnings(*self._doubts(), *notes)

    def refused(self, error: BaseException) -> None:
        billed = self._in_flight and may_be_billed(error)
        ending = CallOutcome(
            billing=Billing.UNKNOWN if billed else Billing.NOT_BILLED,
            request_id=getattr(error, "request_id", None),
            error=type(error).__name__,
            seconds=self._seconds(),
        )
        for note in self._end(ending):
            error.add_note(note)

    def cache_hit(self, result: Result) -> Result:
        self._over = True
        notes = _noted(partial(self._enter_hit, result))
        self._emit(CacheHit, images=len(result.images))
        return result.with_warnings(*notes) if notes else result

    def saved(self, result: Result) -> Result:
        if result.stored:
            self._emit(Saved, images=tuple(record.id for record in result.stored))
        return result

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        if error is None or (self._over and isinstance(error, GeneratorExit)):
            return
        self._over = True
        billed = self._in_flight and may_be_billed(error)
        self._emit(
            Failed,
            **failure_details(error),
            seconds=self._seconds(),
            possible_cost=_times(self._plan.max_cost, self.doubtful + billed),
        )

    def _reserved(self) -> _Reservations:
        """Return the reservations: in the limit of a group of calls, and in the client's own."""
        limit = self._accounting.limit
        if limit is None:
            return _Reservations([self._own_reservation()])
        first = limit.reserve(self._plan.max_cost, on=self._entry.at, note=self._entry)
        try:
            return _Reservations([self._own_reservation(), first])
        except BaseException:
            first.release()
            raise

    def _own_reservation(self) -> Reservation | None:
        """Return a reservation in the budget, or in the ledger alone."""
        accounting = self._accounting
        if accounting.budget is not None:
            return accounting.budget.reserve(
                self._plan.max_cost, on=self._entry.at, note=self._entry
            )
        if accounting.ledger is None:
            return None
        accounting.ledger.begin(self._entry)
        return Reservation(accounting.ledger, self._entry)

    def _end(self, ending: CallOutcome) -> list[str]:
        """End the reservation, if there is one; what went wrong is a sentence."""
        with self._lock:
            reservation, self._reservation = self._reservation, None
            if reservation is None:
                self._given_up = True
                return []
            return _noted(partial(reservation.end, ending))

    def _enter_hit(self, result: Result) -> None:
        if self._accounting.ledger is not None:
            hit = CallOutcome(billing=Billing.NOT_BILLED, images=len(result.images), cached=True)
            self._accounting.ledger.end(self._entry, hit)

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _emit(self, kind: Callable[..., Event], **details: object) -> None:
        provider = self._plan.provider.name
        self._accounting.emit(kind, self._entry, self._call_id, provider=provider, **details)


@frozen
class _Reservations:
    """What was reserved for one call."""

    each: Sequence[Reservation | None]

    def end(self, ending: CallOutcome) -> None:
        for reservation in self.each:
            if reservation is not None:
                reservation.end(ending)


def failure_details(error: BaseException) -> dict[str, object]:
    """Return what the event of a failure says of its error."""
    return {
        "error": type(error).__name__,
        "request_id": getattr(error, "request_id", None),
        "status": error.status if isinstance(error, ApiError) else None,
        "code": error.code if isinstance(error, ApiError) else None,
    }


def reason(outcome: HttpReply | TransportError | OutcomeUnknownError) -> str:
    """Return why something is sent again, such as ``HTTP 503``."""
    if isinstance(outcome, HttpReply):
        return f"HTTP {outcome.status}"
    return type(outcome).__name__


def _times(usd: Decimal | None, tries: int) -> Decimal | None:
    """Return what so many tries may cost; nothing when there is none, whatever the price."""
    return Decimal(0) if not tries else None if usd is None else usd * tries


def _noted(work: Callable[[], object]) -> list[str]:
    """Do something with the ledger; what went wrong is a sentence, not an error."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  # no account, not even a user's own, may cost an image
        problem = str(error) or type(error).__name__
        return [f"{problem}; the call went on, and counts with what was reserved for it"]
    return []
