"""Pages of records, and the filters that choose them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, TypedDict, overload

from attrs import field, frozen

from gptimage.types.record import Record


Rank = Literal["newest", "relevance"]
"""The order of search results."""


class Filters(TypedDict, total=False):
    """Which pictures; what is left out, or None, does not matter.

    Attributes:
        since: Saved at this time or later; a time without a zone is local time.
        until: Saved before this time.
        model: Made by exactly this model.
        tag: With this tag.
        operation: ``generate`` or ``edit``.
        format: With this file format, such as ``png``.
        pinned: Pinned, or not.
    """

    since: datetime | None
    until: datetime | None
    model: str | None
    tag: str | None
    operation: str | None
    format: str | None
    pinned: bool | None


@frozen
class Page(Sequence[Record]):
    """Some records in order, and how to get the next ones.

    Attributes:
        records: The records.
        next: Give this as ``cursor`` for the next page; None when this is the last one.
    """

    records: tuple[Record, ...] = field(factory=tuple)
    next: str | None = None

    def __len__(self) -> int:
        """How many records this page has."""
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...

    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        """One record by number, or some."""
        return self.records[index]

    def __iter__(self) -> Iterator[Record]:
        """The records."""
        return iter(self.records)
