"""Questions to the index: history, search, and who is related to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, cast, overload

from attrs import field, frozen

from gptimage._internal.keywords import as_int
from gptimage.errors import InvalidRequestError
from gptimage.models.pricing import Cost
from gptimage.store.index import HAS_ID, OWN, digest_bytes, near, query, same, storable, unpacked
from gptimage.store.names import id_in, is_id, row_at, row_of, time_of
from gptimage.types.record import Record


if TYPE_CHECKING:
    from sqlite3 import Connection

    from gptimage.store.database import Database


# Pages of records, and the filters that choose them.

Rank = Literal["newest", "relevance"]
"""The order of search results."""


class Filters(TypedDict, total=False):
    """Which images; what is left out, or None, does not matter.

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
        """Return how many records this page has."""
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...

    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        """Return one record by number, or some."""
        return self.records[index]

    def __iter__(self) -> Iterator[Record]:
        """Return the records."""
        return iter(self.records)

    def _repr_html_(self) -> str:
        """Return the images side by side with their facts, for notebooks."""
        shown = "".join(each._repr_html_() for each in self.records)  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol
        return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{shown}</div>'


# `Stats`: what is in a store, and what it cost.

_NANO: Final = 10**9


@frozen(kw_only=True)
class Stats:
    """The contents of a store in numbers.

    Attributes:
        images: How many.
        bytes: What they take, originals included, in bytes.
        inputs: How many input images of edits are stored.
        input_bytes: What those take, in bytes.
        cost: What the images cost, as far as it is known.
        unknown_cost: How many images' cost is not known.
        pinned: How many are pinned.
        unhashed: How many `Store.similar` and `Store.duplicates` have not compared yet; each call
            of theirs reads and hashes up to 250, and `Store.reindex` with ``hashes=True`` all.
        oldest: When the first was saved (UTC); None in an empty store.
        newest: When the last was saved (UTC).
        by_model: How many images each model made.
        by_operation: How many were generated, edited, recovered.
        by_format: How many files of each format there are.
    """

    images: int
    bytes: int
    inputs: int
    input_bytes: int
    cost: Cost
    unknown_cost: int
    pinned: int
    unhashed: int
    oldest: datetime | None
    newest: datetime | None
    by_model: Mapping[str, int]
    by_operation: Mapping[str, int]
    by_format: Mapping[str, int]


def measure(connection: Connection) -> Stats:
    """Read the totals."""
    totals = {
        (kind, name): row
        for kind, name, *row in connection.execute("SELECT * FROM totals WHERE count > 0")
    }
    count, size, nano, unknown, pinned = totals.get(("", ""), (0, 0, 0, 0, 0))
    inputs, input_bytes, *_ = totals.get(("input", ""), (0, 0))
    first, last = (
        connection.execute(f"SELECT {edge}(seq) FROM images").fetchone()[0]  # noqa: S608  # two words of ours
        for edge in ("MIN", "MAX")  # apart: SQLite looks both up, and scans for them together
    )
    return Stats(
        images=count,
        bytes=int(size),
        inputs=inputs,
        input_bytes=int(input_bytes),
        cost=Cost(usd=Decimal(int(nano)) / _NANO),
        unknown_cost=unknown,
        pinned=int(pinned),
        unhashed=totals.get(("unhashed", ""), (0,))[0],
        oldest=_when(connection, first),
        newest=_when(connection, last),
        by_model=_counts(totals, "model"),
        by_operation=_counts(totals, "operation"),
        by_format=_counts(totals, "format"),
    )


def _when(connection: Connection, row: int | None) -> datetime | None:
    found = connection.execute("SELECT key FROM images WHERE seq = ?", (row,)).fetchone()
    return time_of(id_in(found[0])) if found else None


def _counts(totals: Mapping[tuple[str, str], Sequence[int]], kind: str) -> Mapping[str, int]:
    found = {name: row[0] for (each, name), row in totals.items() if each == kind}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


RANKED: Final = 5000
"""Relevance is judged among this many newest hits: ranking every hit takes seconds."""

MAX_LIMIT: Final = 1000
_MAX_ROW: Final = 2**63 - 1
_FROM: Final = "images p"
_WHAT: Final = f"SELECT p.seq, p.key, s.body, {OWN} FROM "  # noqa: S608  # a text of ours
_BODY: Final = " CROSS JOIN sidecars s ON s.seq = p.seq"


class Found(NamedTuple):
    """A row as the index holds it."""

    row: int
    key: str
    body: bytes

    @property
    def id(self) -> str:
        """The image's id, or nothing in a damaged row."""
        return id_in(self.key)


@frozen
class _Where:
    """Conditions of a query, and the table that is walked first."""

    walked: str = _FROM
    order: str = "p.seq"
    conditions: list[str] = field(factory=list[str])
    values: list[object] = field(factory=list[object])

    def also(self, condition: str, value: object) -> None:
        self.conditions.append(condition)
        self.values.append(value)

    def sql(self, body: str = _BODY) -> str:
        text = f"{self.walked}{body}"
        return text + (f" WHERE {' AND '.join(self.conditions)}" if self.conditions else "")


def history(database: Database, limit: int, cursor: str | None, filters: Filters) -> list[Found]:
    """Return one more row than the limit, newest first, when there are so many."""
    where = _filtered(filters)
    if cursor is not None:
        where.also(f"{where.order} < ?", _after(database, cursor))
    return _newest(database, where, check_limit(limit) + 1)


def search(
    database: Database, text: str, rank: Rank, limit: int, cursor: str | None, filters: Filters
) -> list[Found]:
    """Return one more row than the limit, newest or best first, when there are so many."""
    words = query(text)
    limit = check_limit(limit)
    if rank not in {"newest", "relevance"}:
        allowed = ("newest", "relevance")
        raise InvalidRequestError(
            f"rank {rank!r} is not known: newest or relevance",
            field="rank",
            value=rank,
            allowed=allowed,
        )
    if words is None:
        return []
    where = _filtered(filters, searching=words)
    if rank == "relevance":
        return _best(database, where, limit + 1, _offset(cursor))
    if cursor is not None:
        where.also("w.rowid < ?", _after(database, cursor))
    return _newest(database, where, limit + 1)


def by_id(database: Database, id: str) -> Found | None:
    """Return the row of an id, or None."""
    if not is_id(id):
        return None
    found = _rows(database, f"{_WHAT}{_FROM}{_BODY} WHERE {HAS_ID} LIMIT 1", near(id))
    return found[0] if found else None


def by_rows(database: Database, rows: Sequence[int]) -> list[Found]:
    """Return these rows, in this order; those that are gone by now are left out."""
    found: dict[int, Found] = {}
    for at in range(0, len(rows), MAX_LIMIT):
        part = rows[at : at + MAX_LIMIT]
        marks = ", ".join("?" * len(part))
        sql = f"{_WHAT}{_FROM}{_BODY} WHERE p.seq IN ({marks})"
        found |= {each.row: each for each in _rows(database, sql, part)}
    return [found[row] for row in rows if row in found]


def by_key(database: Database, key: str) -> Found | None:
    """Return the row of a sidecar, or None."""
    found = _rows(database, f"{_WHAT}{_FROM}{_BODY} WHERE p.key = ?", [key])
    return found[0] if found else None


def by_digest(database: Database, sha256: str) -> list[Found]:
    """Return every image with exactly these bytes, oldest first."""
    # The plus keeps SQLite from putting the value into substr(), past the index.
    condition = "substr(p.sha256, 1, 8) = substr(?, 1, 8) AND +p.sha256 = ? ORDER BY p.seq"
    return _rows(database, f"{_WHAT}{_FROM}{_BODY} WHERE {condition}", [digest_bytes(sha256)] * 2)


def children(database: Database, id: str, sha256: str) -> list[Found]:
    """Images that refine this one, or were edited from its bytes, oldest first."""
    condition = "p.parent = ? OR p.seq IN (SELECT seq FROM sources WHERE sha256 = ?) ORDER BY p.seq"
    return _rows(database, f"{_WHAT}{_FROM}{_BODY} WHERE {condition}", [id, sha256])


def each(database: Database, filters: Filters) -> Iterator[Found]:
    """Yield every row, newest first, a page at a time so that nothing is locked meanwhile."""
    cursor: str | None = None
    while True:
        found = history(database, MAX_LIMIT, cursor, filters)
        yield from found[:MAX_LIMIT]
        if len(found) <= MAX_LIMIT:
            return
        cursor = found[MAX_LIMIT - 1].id


def check_limit(limit: int) -> int:
    """Return the limit itself, once it is proved to be one.

    Raises:
        InvalidRequestError: It is not between 1 and 1,000.
    """
    limit = as_int(limit)
    if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        allowed = f"1 to {MAX_LIMIT}"
        raise InvalidRequestError(
            f"limit {limit!r} must be {allowed}: ask page by page",
            field="limit",
            value=limit,
            allowed=allowed,
        )
    return limit


def _filtered(filters: Filters, *, searching: str | None = None) -> _Where:
    given = {name: value for name, value in filters.items() if value is not None}
    for name, value in given.items():
        if name not in _CONDITIONS:
            raise _no_filter(name, value)
        if not isinstance(value, kind := _CONDITIONS[name][1]):
            raise _misfit(name, value, kind)
    where = _walk(given, searching)
    for name, value in given.items():
        condition, _, convert = _CONDITIONS[name]
        where.also(condition.format(row=where.order), convert(value))
        if value != _UNINDEXED.get(name, value):
            where.conditions.append(f"p.{name} <> '{_UNINDEXED[name]}'")  # lets SQLite use it
    return where


def _walk(given: dict[str, object], searching: str | None) -> _Where:
    """Start where the fewest rows are: words, then tags, then the images themselves."""
    if searching is not None:
        where = _Where("words w CROSS JOIN images p ON p.seq = w.rowid", "w.rowid")
        where.also("words MATCH ?", searching)
        return where
    if "tag" in given:
        where = _Where("tags t CROSS JOIN images p ON p.seq = t.seq", "t.seq")
        where.also("t.tag = ?", same(cast("str", given.pop("tag"))))
        return where
    return _Where()


def _row(moment: datetime) -> int:
    try:
        row = row_at(moment.astimezone(UTC))
    except (OverflowError, ValueError):  # within hours of the first or the last day there is
        row = row_at(moment.replace(tzinfo=UTC))
    return max(-_MAX_ROW, min(row, _MAX_ROW))


_CONDITIONS: Final[dict[str, tuple[str, type, Callable[[Any], object]]]] = {
    "since": ("{row} >= ?", datetime, _row),
    "until": ("{row} < ?", datetime, _row),
    "model": ("p.model = ?", str, storable),
    "tag": ("{row} IN (SELECT seq FROM tags WHERE tag = ?)", str, same),
    "operation": ("p.operation = ?", str, storable),
    "format": ("p.format = ?", str, storable),
    "pinned": ("p.pinned = ?", bool, int),
}


_UNINDEXED: Final[Mapping[str, object]] = {"operation": "generate", "format": "png"}
"""The value that the index of a column leaves out."""


def _newest(database: Database, where: _Where, limit: int) -> list[Found]:
    sql = f"{_WHAT}{where.sql()} ORDER BY {where.order} DESC LIMIT ?"
    return _rows(database, sql, [*where.values, limit])


def _best(database: Database, where: _Where, limit: int, offset: int) -> list[Found]:
    # Nothing of the caller is in the text: every value is bound.
    hits = (
        f"SELECT p.seq AS seq, bm25(words) AS score FROM {where.sql(body='')} "  # noqa: S608  # see above
        f"ORDER BY {where.order} DESC LIMIT {RANKED}"
    )
    sql = (
        f"{_WHAT}({hits}) h CROSS JOIN images p ON p.seq = h.seq{_BODY} "
        "ORDER BY h.score, p.seq DESC LIMIT ? OFFSET ?"
    )
    return _rows(database, sql, [*where.values, limit, offset])


def _rows(database: Database, sql: str, values: Sequence[object]) -> list[Found]:
    def work(connection: Connection) -> list[Found]:
        rows = connection.execute(sql, values)  # pyright: ignore[reportArgumentType]  # values SQLite can bind
        return [Found(row, key, unpacked(body, own)) for row, key, body, own in rows]

    return database.read(work)


def _after(database: Database, cursor: str) -> int:
    """Return the row a page ended with; its place is known even when the image is gone."""
    if not is_id(cursor):
        raise _no_cursor(cursor)
    found = by_id(database, cursor)
    return found.row if found else row_of(cursor)


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal() or int(cursor) > RANKED:
        raise _no_cursor(cursor)
    return int(cursor)


def _no_filter(name: str, value: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} is no filter: there are {', '.join(_CONDITIONS)}",
        field=name,
        value=value,
        allowed=tuple(_CONDITIONS),
    )


_ALLOWED: Final = {str: "a text", bool: "True or False", datetime: "a datetime"}


def _misfit(name: str, value: object, kind: type) -> InvalidRequestError:
    allowed = _ALLOWED[kind]
    return InvalidRequestError(
        f"{name} is {allowed}, not {type(value).__name__}", field=name, value=value, allowed=allowed
    )


def _no_cursor(cursor: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"cursor {cursor!r:.80} is not one this search gave: use .next of the page before",
        field="cursor",
        value=cursor,
        allowed=".next of a page",
    )
