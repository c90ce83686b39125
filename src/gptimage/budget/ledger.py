"""`Ledger`: one row for each call, in an SQLite file that many processes share.

A row is written before its request is sent and counts with what the request may cost. When
the response is there, it counts with what it cost. A process that dies in between leaves its
row behind, which goes on counting: its request may have been billed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from attrs import field, frozen

from gptimage._internal.clock import Clock, utc_now
from gptimage._internal.json import prose
from gptimage._internal.keywords import clock as check_clock
from gptimage._internal.keywords import file_path, flag, one_of, strict_class
from gptimage.budget.accounts import (
    ALL_TIME,
    CallOutcome,
    CallRecord,
    HourRange,
    Limit,
    counted_amount,
    to_nanos,
    to_usd,
)
from gptimage.budget.ledger_db import (
    COLUMNS,
    HOST,
    TOKENS,
    check_whole,
    is_abandoned,
    open_ledger,
)
from gptimage.errors import InvalidRequestError
from gptimage.models.pricing import Usage
from gptimage.transport.billing import Billing


if TYPE_CHECKING:
    import sqlite3


T = TypeVar("T")


@frozen(kw_only=True)
class LedgerRow:
    """One call.

    Attributes:
        id: Random; the ``call_id`` of its events.
        at: When it began (UTC).
        operation: ``generate``, ``edit``, ``turn`` or ``question``.
        model: The model of the request.
        billing: Whether it was billed; ``sent`` until there is a response.
        cached: Whether the response came from the cache.
        images: How many images came.
        estimate: What it was expected to cost in USD, or None.
        reserved: What was reserved for it, in USD.
        cost: What it cost in USD; None when that is not known.
        counted: What it counts with against a budget, in USD.
        usage: Tokens as the service counted them, or None.
        request_id: The service's id of the request, or None.
        error: The name of the error class, or None.
        seconds: How long it took, or None.
        prompt: The prompt, if the ledger saves prompts.
    """

    id: str
    at: datetime
    operation: str
    model: str
    billing: Billing
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

    @property
    def outcome(self) -> str:
        """`billing` in the words of the file: ``open``, ``ok``, ``failed`` or ``unknown``."""
        return "ok" if self.cached else _WORDS[self.billing]


@frozen(kw_only=True)
class Spending:
    """The cost of a group of calls.

    Attributes:
        name: The group: a model, a day such as ``2026-11-20``, an operation, or ``total``.
        calls: How many calls there were, cached ones included.
        cached: How many of them came from the cache.
        waiting: How many have no response yet.
        failed: How many failed and cost nothing.
        unknown: How many may have been billed, though no usable response came.
        images: How many images came.
        cost: What the calls cost whose cost is known, in USD.
        reserved: What counts in USD for the others, and for those without a response yet.
        unpriced: How many calls got a response but have no known cost.
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
    reserved: Decimal
    unpriced: int
    input_tokens: int
    output_tokens: int


@frozen(kw_only=True)
class Summary:
    """A summary of calls in groups; iterate it for the groups.

    Attributes:
        by: What makes a group.
        groups: The groups, sorted by name.
        total: All of them together.
    """

    by: str
    groups: tuple[Spending, ...]
    total: Spending

    def __iter__(self) -> Iterator[Spending]:
        """Return the groups."""
        return iter(self.groups)


_OVERDUE: Final = timedelta(hours=1)
"""No call of the Images or Responses API gets its response later."""

_WRITE: Final = (
    f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608  # constants
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in ("id", "at"))
)
_WORDS: Final = {
    Billing.SENT: "open",  # written before it is sent: a process that dies is taken to have sent it
    Billing.BILLED: "ok",
    Billing.NOT_BILLED: "failed",
    Billing.UNKNOWN: "unknown",
}
"""The words of the file, as 0.1.0 wrote them; a response from the cache is ``ok`` there."""

_BILLING: Final = {word: billing for billing, word in _WORDS.items()}
_GROUPS: Final = {
    "model": "model",
    "operation": "operation",
    "day": "strftime('%Y-%m-%d', at, 'unixepoch')",
}
_SUMS: Final = """
    COUNT(*), COALESCE(SUM(cached), 0), COALESCE(SUM(outcome = 'open'), 0),
    COALESCE(SUM(outcome = 'failed'), 0), COALESCE(SUM(outcome = 'unknown'), 0),
    COALESCE(SUM(images), 0), COALESCE(SUM(cost_nanos), 0),
    COALESCE(SUM(CASE WHEN cost_nanos IS NULL THEN counted_nanos END), 0),
    COALESCE(SUM(outcome = 'ok' AND cost_nanos IS NULL), 0),
    COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0)
"""


@strict_class
class Ledger:
    """Every call and what it cost. Safe for many threads and processes of one machine.

    Nothing is opened before it is needed. The file must be on a local disk. Prompts are not
    saved unless ``prompts`` says so; keys and images never are.

    Args:
        path: The SQLite file; it is made when it is not there, readable to you alone.
        prompts: Save the prompts, too.
        clock: Tells the time (UTC); when left out, the clock of the first client that uses it,
            and this machine's until a client does.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        prompts: bool = False,
        clock: Clock | None = None,
    ) -> None:
        file_path("ledger", path)
        flag("prompts", prompts)
        self.path: Path = Path(path)
        self.prompts: bool = prompts
        if clock is not None:
            check_clock("clock", clock)
        self._clock: Clock | None = clock
        self._file = open_ledger(self.path)
        self._proved: list[tuple[int, int]] | None = None

    def set_default_clock(self, clock: Clock) -> None:
        """Take over the clock of the first client that uses it, unless it was given its own.

        Rows are dated by the client. Whether a call is overdue must be judged by the same
        clock, or a row of yesterday's test would be overdue today. A later client with another
        clock changes nothing here: its rows have its own dates, and what they count with does
        not depend on any clock.
        """
        self._clock = self._clock or clock

    def begin(self, entry: CallRecord, limits: Sequence[Limit] = ()) -> None:
        """Record a call, unless it could cross a limit; no other process comes in between.

        Raises:
            BudgetExceededError: It could; nothing was entered.
            ConfigurationError: The file cannot be used; nothing may be sent.
        """
        row = self._row(
            entry, CallOutcome(billing=Billing.SENT), pid=None if entry.until else os.getpid()
        )

        def work(connection: sqlite3.Connection) -> None:
            for limit in limits:
                limit.check(entry.reserved, _spent(connection, limit.span))
            connection.execute(_WRITE, row)

        self._file.write(work)

    def end(self, entry: CallRecord, ending: CallOutcome) -> None:
        """Record how a call ended; once more when it becomes known later.

        Raises:
            ConfigurationError: The file cannot be used; what was reserved stays counted.
        """
        row = self._row(entry, ending, pid=os.getpid())

        def work(connection: sqlite3.Connection) -> None:
            query = "SELECT outcome FROM calls WHERE id = ? AND NOT cached"
            before = connection.execute(query, (entry.call_id,)).fetchone()
            if before is None or _BILLING[before[0]].can_become(ending.billing):
                connection.execute(_WRITE, row)  # else what is paid stays counted

        self._file.write(work)

    def set_cost(self, call_id: str, usd: Decimal) -> None:
        """Set what a call of unknown outcome cost, after a look at your usage page.

        Args:
            call_id: The id of its row.
            usd: What it cost; 0 when it was not billed.

        Raises:
            InvalidRequestError: No call of that id is unknown.
            ConfigurationError: The file cannot be used.
        """
        nanos = to_nanos(usd)
        billing = Billing.BILLED if nanos else Billing.NOT_BILLED
        values = (_WORDS[billing], nanos, nanos, call_id)

        def work(connection: sqlite3.Connection) -> int:
            self._mark_abandoned(connection)
            return connection.execute(
                "UPDATE calls SET outcome = ?, cost_nanos = ?, counted_nanos = ? "
                "WHERE id = ? AND outcome = 'unknown'",
                values,
            ).rowcount

        if not self._file.write(work):
            raise InvalidRequestError(
                f"no call {call_id!r} of unknown outcome is in the ledger {self.path}",
                field="call_id",
                value=call_id,
                allowed='the id of a row whose billing is "unknown"',
            )

    def spent(self, span: HourRange = ALL_TIME) -> Decimal:
        """Add up what is spent or reserved in USD, in all or in some hours.

        Args:
            span: The first hour, and the first one after; counted from 1970 (UTC).

        Raises:
            ConfigurationError: The file cannot be used.
        """
        return to_usd(self._file.write(lambda connection: _spent(connection, span)))

    def summary(
        self,
        by: Literal["model", "day", "operation"] = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Summary:
        """Return what was spent, in groups.

        Args:
            by: What makes a group: the model, the day (UTC) or the operation.
            since: Only calls that began then or later.
            until: Only calls that began before.

        Raises:
            ConfigurationError: The file cannot be used.
        """
        if by not in _GROUPS:
            raise InvalidRequestError(
                f"by={by!r} is no way to group calls",
                field="by",
                value=by,
                allowed=tuple(_GROUPS),
            )
        span = _span(since, until)

        def work(connection: sqlite3.Connection) -> Summary:
            groups = connection.execute(
                f"SELECT {_GROUPS[by]}, {_SUMS} FROM calls "  # noqa: S608  # constants
                "WHERE at >= ? AND at < ? GROUP BY 1 ORDER BY 1",
                span,
            ).fetchall()
            total = connection.execute(
                f"SELECT 'total', {_SUMS} FROM calls WHERE at >= ? AND at < ?",  # noqa: S608  # constants
                span,
            ).fetchone()
            return Summary(by=by, groups=tuple(map(_spending, groups)), total=_spending(total))

        return self._read(work)

    def rows(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[LedgerRow, ...]:
        """Return the calls themselves, oldest first.

        Args:
            since: Only calls that began then or later.
            until: Only calls that began before.

        Raises:
            ConfigurationError: The file cannot be used.
        """
        span = _span(since, until)

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT {', '.join(COLUMNS)} FROM calls "  # noqa: S608  # constants
                "WHERE at >= ? AND at < ? ORDER BY at, id",
                span,
            ).fetchall()

        return tuple(map(_ledger_row, self._read(work)))

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        self._file.close()

    def __repr__(self) -> str:
        """Return where it is."""
        return f"Ledger({str(self.path)!r})"

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read what is proved to be whole; calls that begin or end meanwhile do not wait for it."""
        self._file.write(self._mark_abandoned)

        def snapshot(connection: sqlite3.Connection) -> T:
            written = self._written()
            connection.execute("BEGIN")
            if written != self._proved:  # proving a million calls takes seconds
                check_whole(connection)
                self._proved = written
            return work(connection)

        return self._file.read(snapshot)

    def _written(self) -> list[tuple[int, int]]:
        """Return when the file and its write-ahead log were last written, and their sizes."""
        found: list[tuple[int, int]] = []
        for path in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            with suppress(FileNotFoundError):  # the log, where nothing was written since it ended
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size))
        return found

    def _mark_abandoned(self, connection: sqlite3.Connection) -> None:
        """Mark open calls whose process no longer exists as unknown; their reservation stays."""
        now = (self._clock or utc_now)().timestamp()
        query = "SELECT id, host, pid, until FROM calls WHERE outcome = 'open'"
        found = connection.execute(query).fetchall()
        over = [(call,) for call, host, pid, until in found if is_abandoned(host, pid, until, now)]
        connection.executemany("UPDATE calls SET outcome = 'unknown' WHERE id = ?", over)

    def _row(
        self, entry: CallRecord, ending: CallOutcome, *, pid: int | None
    ) -> tuple[object, ...]:
        usage = ending.usage
        cost = Decimal(0) if ending.billing is Billing.NOT_BILLED else ending.cost
        return (
            entry.call_id,
            entry.at.timestamp(),
            entry.operation,
            entry.model,
            "ok" if ending.cached else _WORDS[ending.billing],
            ending.cached,
            ending.images,
            None if entry.estimate is None else to_nanos(entry.estimate),
            to_nanos(entry.reserved),
            None if cost is None else to_nanos(cost),
            to_nanos(counted_amount(entry, ending)),
            *(None if usage is None else getattr(usage, name) for name in TOKENS),
            ending.request_id,
            ending.error,
            ending.seconds,
            prose(entry.prompt) if self.prompts else None,
            HOST,
            pid,
            (entry.until or entry.at + _OVERDUE).timestamp(),
        )


def _spent(connection: sqlite3.Connection, span: HourRange) -> int:
    query = "SELECT COALESCE(SUM(nanos), 0) FROM hours WHERE hour >= ? AND hour < ?"
    return int(connection.execute(query, span).fetchone()[0])


def _span(since: datetime | None, until: datetime | None) -> tuple[float, float]:
    for name, moment in (("since", since), ("until", until)):
        if moment is not None:
            one_of(name, moment, datetime, "a datetime")
    first = since.timestamp() if since else float("-inf")
    return first, until.timestamp() if until else float("inf")


def _spending(row: tuple[Any, ...]) -> Spending:
    (
        name,
        calls,
        cached,
        waiting,
        failed,
        unknown,
        images,
        cost,
        reserved,
        unpriced,
        tokens_in,
        tokens_out,
    ) = row
    return Spending(
        name=name,
        calls=calls,
        cached=cached,
        waiting=waiting,
        failed=failed,
        unknown=unknown,
        images=images,
        cost=to_usd(cost),
        reserved=to_usd(reserved),
        unpriced=unpriced,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
    )


def _ledger_row(values: tuple[Any, ...]) -> LedgerRow:
    row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    for name in ("estimate", "reserved", "cost", "counted"):
        nanos = row.pop(f"{name}_nanos")
        row[name] = None if nanos is None else to_usd(nanos)
    tokens = {name: row.pop(name) for name in TOKENS}
    row["usage"] = None if tokens["total_tokens"] is None else Usage(**tokens)
    row["at"] = datetime.fromtimestamp(row["at"], UTC)
    row["cached"] = bool(row["cached"])
    row["billing"] = Billing.NOT_BILLED if row["cached"] else _BILLING[row["outcome"]]
    for name in ("outcome", "host", "pid", "until"):
        del row[name]
    return LedgerRow(**row)
