"""The events of a batch job for observers: its batches as they are made, its requests as they end.

All events of a batch have the id of its row in the ledger, so that the costs of its requests
add up to the cost in that row.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from typing import Final

from attrs import frozen

from gptimage.batch.state import State
from gptimage.batch.steps import RetryCallback
from gptimage.budget.accounts import CallRecord
from gptimage.engine.accounting import CallAccounting, failure_details, reason
from gptimage.errors import ApiError, GptImageError, OutcomeUnknownError, TransportError
from gptimage.observers.events import Event, Failed, Finished, Retried, Saved, Sent, Submitted
from gptimage.providers import named_by
from gptimage.transport.billing import may_be_billed
from gptimage.transport.http import HttpReply
from gptimage.types.record import Record
from gptimage.types.result import Result


OPERATION: Final = "batch"
"""What a batch is called in events and in a ledger."""


@frozen
class BatchEvents:
    """Tells a client's observers.

    Attributes:
        accounting: The client's accounting.
        state: The job.
    """

    accounting: CallAccounting
    state: State

    def sent(self, number: int, attempt: int) -> None:
        """Emit the event of a batch that is about to be made."""
        self._emit(Sent, number, attempt=attempt)

    def retrying(self, number: int) -> RetryCallback:
        """Return who is to be called before something about a part is sent again."""

        def notify_retry(delay: float, outcome: HttpReply | TransportError) -> None:
            self._emit(Retried, number, delay=delay, reason=reason(outcome))

        return notify_retry

    def submitted(self, number: int, batch_id: str) -> None:
        """The service has taken a batch."""
        part = self.state.parts[number]
        self._emit(
            Submitted,
            number,
            batch_id=batch_id,
            requests=part.lines,
            images=part.images,
            estimate=part.estimate,
            max_cost=part.reserved,
        )

    def not_submitted(self, number: int, error: GptImageError) -> None:
        """Emit the event of a batch that was not made, or may have been."""
        max_cost = self.state.parts[number].reserved
        unknown = isinstance(error, OutcomeUnknownError)
        self._failed(number, None, error, max_cost if unknown else Decimal(0))

    def finished(self, number: int, item: int, result: Result) -> None:
        """A request got its images."""
        self._emit(
            Finished,
            number,
            item=item,
            images=len(result.images),
            seconds=self._seconds(),
            request_id=result.request_id,
            usage=result.usage,
            cost=result.cost,
        )

    def saved(self, number: int, item: int, records: tuple[Record, ...]) -> None:
        """Its images are in the store."""
        if records:
            self._emit(Saved, number, item=item, images=tuple(record.id for record in records))

    def failed(self, number: int, item: int, error: GptImageError, *, replied: bool) -> None:
        """A request has no images, or they could not be saved."""
        # What a line that cannot be read may have cost is not known, nor what a failure in the
        # middle of the work did. Where there is no response, the batch did not come to it.
        unknown = isinstance(error, OutcomeUnknownError)
        unknown |= replied and isinstance(error, ApiError) and may_be_billed(error)
        self._failed(number, item, error, None if unknown else Decimal(0))

    def _failed(
        self, number: int, item: int | None, error: GptImageError, cost: Decimal | None
    ) -> None:
        self._emit(
            Failed,
            number,
            item=item,
            **failure_details(error),
            seconds=self._seconds(),
            possible_cost=cost,
        )

    def _seconds(self) -> float:
        """Since the job was begun, which may be in another process."""
        return (self.accounting.clock() - self.state.created).total_seconds()

    def _emit(self, kind: Callable[..., Event], number: int, **details: object) -> None:
        entry = entry_of(self.state, number)
        provider = named_by(entry.model)
        self.accounting.emit(kind, entry, entry.call_id, provider=provider, **details)


def entry_of(state: State, number: int) -> CallRecord:
    """Return a part as it is entered in a ledger; the same row in every process."""
    from datetime import timedelta

    part = state.parts[number]
    return CallRecord(
        call_id=sha256(f"{state.name}-{number}".encode()).hexdigest()[:32],
        at=state.created,
        operation=OPERATION,
        model=part.model,
        estimate=part.estimate,
        reserved=part.reserved or Decimal(0),
        until=state.created + timedelta(days=2),
    )
