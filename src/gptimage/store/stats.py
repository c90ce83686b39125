"""`Stats`: what is in a store, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage.models.pricing import Cost
from gptimage.store.ids import time_of


if TYPE_CHECKING:
    from sqlite3 import Connection

_NANO: Final = 10**9


@frozen(kw_only=True)
class Stats:
    """What is in a store.

    Attributes:
        pictures: How many.
        bytes: What they take, originals included, in bytes.
        inputs: How many input pictures of edits are kept.
        input_bytes: What those take, in bytes.
        cost: What the pictures cost, as far as it is known.
        unknown_cost: How many pictures' cost is not known.
        pinned: How many are pinned.
        oldest: When the first was saved (UTC); None in an empty store.
        newest: When the last was saved (UTC).
        by_model: How many pictures each model made.
        by_operation: How many were generated, edited, recovered.
        by_format: How many files of each format there are.
    """

    pictures: int
    bytes: int
    inputs: int
    input_bytes: int
    cost: Cost
    unknown_cost: int
    pinned: int
    oldest: datetime | None
    newest: datetime | None
    by_model: Mapping[str, int]
    by_operation: Mapping[str, int]
    by_format: Mapping[str, int]


def measure(connection: Connection) -> Stats:
    """Count and add up every row."""
    count, size, nano, unknown, pinned = connection.execute(
        "SELECT COUNT(*), TOTAL(bytes), SUM(nano_usd), COUNT(*) - COUNT(nano_usd), TOTAL(pinned) "
        "FROM pictures"
    ).fetchone()
    inputs, input_bytes = connection.execute(
        "SELECT COUNT(*), TOTAL(bytes) FROM (SELECT bytes FROM sources GROUP BY sha256)"
    ).fetchone()
    first, last = connection.execute("SELECT MIN(seq), MAX(seq) FROM pictures").fetchone()
    return Stats(
        pictures=count,
        bytes=int(size),
        inputs=inputs,
        input_bytes=int(input_bytes),
        cost=Cost(usd=Decimal(nano or 0) / _NANO),
        unknown_cost=unknown,
        pinned=int(pinned),
        oldest=_when(connection, first),
        newest=_when(connection, last),
        by_model=_counts(connection, "model"),
        by_operation=_counts(connection, "operation"),
        by_format=_counts(connection, "format"),
    )


def _when(connection: Connection, row: int | None) -> datetime | None:
    found = connection.execute("SELECT id FROM pictures WHERE seq = ?", (row,)).fetchone()
    return time_of(found[0]) if found else None


def _counts(connection: Connection, column: str) -> Mapping[str, int]:
    query = f"SELECT {column}, COUNT(*) FROM pictures GROUP BY {column} ORDER BY 2 DESC, 1"  # noqa: S608  # a name of ours
    return dict(connection.execute(query).fetchall())
