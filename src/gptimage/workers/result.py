"""`JobResult`: what a worker says about a job, as a frozen value and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, Self, cast

from attrs import field, frozen

from gptimage._internal.json import array, table
from gptimage.workers.entry import Entry


Status = Literal["done", "parked", "failed", "busy", "dropped"]
"""How a job stands.

``done``: its pictures are in the store. ``parked``: it may have been billed, and there is no
picture; it is not asked again until a person says so. ``failed``: nothing was billed.
``busy``: a worker has it right now, or nobody can tell yet; deliver it again later.
``dropped``: a person gave it up.
"""

_STATUSES: Final = frozenset(("done", "parked", "failed", "busy", "dropped"))


@frozen(kw_only=True)
class JobResult:
    """How a job stands after it was delivered.

    Attributes:
        id: The job's id.
        status: See `Status`.
        images: Ids of its pictures in the store.
        cost: What it cost, in USD; None when that is not known, or nothing came of it.
        possible_cost: What it may have cost at most although there is no picture, in USD; 0 when
            nothing was billed, None when that cannot be known.
        attempt: How often a worker began with it.
        reason: Why it is parked, failed or busy.
        retryable: Whether it is tried again when it is delivered again.
        retry_after: Seconds after which that makes sense; None when waiting alone does not help.
        warnings: What is to be known about its pictures, one sentence each.
    """

    id: str
    status: Status
    images: tuple[str, ...] = ()
    cost: Decimal | None = None
    possible_cost: Decimal | None = Decimal(0)
    attempt: int = 1
    reason: str | None = field(default=None, repr=False)
    retryable: bool = False
    retry_after: float | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: Entry, *, now: float, retry_after: float | None = None) -> Self:
        """What a desk knows, as seen from outside.

        Args:
            entry: The entry.
            now: The time, by the desk's clock.
            retry_after: Seconds after which to try again, where that is not just the lease's end.
        """
        busy = entry.held or entry.state == "open"
        reason = entry.reason
        if busy:
            retry_after = retry_after or max(0.0, entry.until - now) + 1.0
            reason = reason or f"{entry.holder or 'nobody'} has it"
        return cls(
            id=entry.id,
            status="busy" if busy else cast("Status", entry.state),
            images=entry.images,
            cost=entry.cost,
            possible_cost=entry.possible_cost,
            attempt=entry.attempt,
            reason=reason,
            retryable=busy or (entry.state == "failed" and entry.retryable),
            retry_after=retry_after,
            warnings=entry.warnings,
        )

    def to_json(self) -> dict[str, Any]:
        """The result as JSON; amounts of money are text, which loses nothing."""
        return {
            "id": self.id,
            "status": self.status,
            "images": list(self.images),
            "cost_usd": None if self.cost is None else str(self.cost),
            "possible_cost_usd": None if self.possible_cost is None else str(self.possible_cost),
            "attempt": self.attempt,
            "reason": self.reason,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A result from what `to_json` gave.

        Raises:
            ValueError: It is none.
        """
        found = table(values)
        if found.get("status") not in _STATUSES or not isinstance(found.get("id"), str):
            raise ValueError("no result of a job")
        cost, possible = found.get("cost_usd"), found.get("possible_cost_usd")
        return cls(
            id=found["id"],
            status=found["status"],
            images=tuple(map(str, array(found.get("images")))),
            cost=None if cost is None else Decimal(cost),
            possible_cost=None if possible is None else Decimal(possible),
            attempt=int(found.get("attempt", 1)),
            reason=found.get("reason"),
            retryable=bool(found.get("retryable")),
            retry_after=found.get("retry_after"),
            warnings=tuple(map(str, array(found.get("warnings")))),
        )
