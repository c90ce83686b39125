"""Retention: which pictures are kept, by age, number and size; `prune` carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from attrs import field, frozen

from gptimage.errors import InvalidRequestError
from gptimage.store.ids import time_of


@frozen(kw_only=True)
class Retention:
    """What `Store.prune` keeps; limits left out do not apply, and pins are always kept.

    Attributes:
        max_age: Pictures saved longer ago are removed.
        max_bytes: The newest pictures that fit are kept; inputs of edits and pinned pictures
            count too.
        max_count: So many of the newest pictures are kept; pinned pictures count too.

    Raises:
        InvalidRequestError: No limit is given, or one is negative.
    """

    max_age: timedelta | None = None
    max_bytes: int | None = None
    max_count: int | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be meant."""
        limits = {name: getattr(self, name) for name in ("max_age", "max_bytes", "max_count")}
        if all(value is None for value in limits.values()):
            raise _refused("Retention() needs a limit", "max_age", None)
        for name, value in limits.items():
            if value is not None and not _is_limit(name, value):
                raise _refused(f"{name}={value!r:.60} is no limit", name, value)


@frozen(kw_only=True)
class PruneReport:
    """What `Store.prune` removed, or would remove.

    Attributes:
        removed: Ids of the pictures, newest first.
        bytes: What that frees, in bytes, inputs of edits included.
        inputs: How many input pictures nobody needs any more.
        kept: How many pictures are left.
        skipped: Ids of pictures that could not be removed, each with the reason.
        dry_run: Whether nothing was really removed.
    """

    removed: tuple[str, ...] = ()
    bytes: int = 0
    inputs: int = 0
    kept: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False


class Row(NamedTuple):
    """What decides whether a picture is kept.

    ``bytes`` is what it takes; ``inputs`` what its input pictures take that no newer one needs.
    """

    id: str
    key: str
    bytes: int
    inputs: int
    pinned: bool


@frozen
class Choice:
    """What a retention keeps and removes.

    Attributes:
        remove: The rows to remove, newest first.
        kept: How many are kept.
    """

    remove: tuple[Row, ...] = field(factory=tuple)
    kept: int = 0


def choose(rows: Iterable[Row], retention: Retention, now: datetime) -> Choice:
    """Decide for every row, newest first; once a limit is reached, all that is older goes.

    Args:
        rows: Every picture, newest first.
        retention: The limits.
        now: The time (UTC).
    """
    rows = list(rows)
    pinned = [row for row in rows if row.pinned]
    count, size = len(pinned), sum(row.bytes + row.inputs for row in pinned)
    remove: list[Row] = []
    full = False
    for row in rows:
        if row.pinned:
            continue
        count, size = count + 1, size + row.bytes + row.inputs
        full = full or _over(retention, now, row, count, size)
        if full:
            remove.append(row)
    return Choice(tuple(remove), len(rows) - len(remove))


def _is_limit(name: str, value: object) -> bool:
    if name == "max_age":
        return isinstance(value, timedelta) and value >= timedelta(0)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _over(retention: Retention, now: datetime, row: Row, count: int, size: int) -> bool:
    """Whether keeping this row and all newer ones crosses a limit."""
    if retention.max_count is not None and count > retention.max_count:
        return True
    if retention.max_bytes is not None and size > retention.max_bytes:
        return True
    return retention.max_age is not None and now - time_of(row.id) > retention.max_age


def _refused(problem: str, name: str, value: object) -> InvalidRequestError:
    allowed = "max_age as a timedelta, max_bytes and max_count as whole numbers, none negative"
    return InvalidRequestError(
        f"{problem}: give {allowed}", field=name, value=value, allowed=allowed
    )
