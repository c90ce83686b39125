"""What a ledger tells: single calls, and sums over groups of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from attrs import field, frozen

from gptimage.models.pricing import Usage


@frozen(kw_only=True)
class LedgerRow:
    """One call.

    Attributes:
        id: Random; the ``call_id`` of its events.
        at: When it began (UTC).
        operation: ``generate``, ``edit`` or ``turn``.
        model: The model that was asked.
        outcome: ``open`` while it is not answered; ``ok``; ``failed``, which cost nothing; or
            ``unknown``: it may have been billed.
        cached: Whether the answer came from the cache.
        images: How many pictures came.
        estimate: What it was expected to cost in USD, or None.
        reserved: What was reserved for it, in USD.
        cost: What it cost in USD; None when that is not known.
        counted: What it counts with against a budget, in USD.
        usage: Tokens as the service counted them, or None.
        request_id: The service's id of the request, or None.
        error: The name of the error class, or None.
        seconds: How long it took, or None.
        prompt: What was asked, if the ledger keeps prompts.
    """

    id: str
    at: datetime
    operation: str
    model: str
    outcome: str
    cached: bool
    images: int
    estimate: Decimal | None
    reserved: Decimal
    cost: Decimal | None
    counted: Decimal
    usage: Usage | None
    request_id: str | None
    error: str | None
    seconds: float | None
    prompt: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Spending:
    """What a group of calls cost.

    Attributes:
        name: The group: a model, a day such as ``2026-11-20``, an operation, or ``total``.
        calls: How many calls there were, cached ones included.
        cached: How many of them the cache answered.
        waiting: How many are not answered yet.
        failed: How many failed and cost nothing.
        unknown: How many may have been billed, though no usable answer came.
        images: How many pictures came.
        cost: What the calls cost whose cost is known, in USD.
        held: What counts in USD for the others, and for those that are not answered yet.
        unpriced: How many calls were answered but have no known cost.
        input_tokens: Tokens that went in, where the service counted them.
        output_tokens: Tokens that came out, where the service counted them.
    """

    name: str
    calls: int
    cached: int
    waiting: int
    failed: int
    unknown: int
    images: int
    cost: Decimal
    held: Decimal
    unpriced: int
    input_tokens: int
    output_tokens: int


@frozen(kw_only=True)
class Summary:
    """What was spent, in groups; iterate it for the groups.

    Attributes:
        by: What makes a group.
        groups: The groups, sorted by name.
        total: All of them together.
    """

    by: str
    groups: tuple[Spending, ...]
    total: Spending

    def __iter__(self) -> Iterator[Spending]:
        """The groups."""
        return iter(self.groups)
