"""One SQLite file that may be deleted or damaged at any time, and heals itself.

The file only holds what can be read from sidecars, so whatever happens to it, a new one is
built. Opening, forking, locking and putting a damaged file aside are `SqliteFile`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gptimage._internal.clock import unix_now
from gptimage._internal.data import data_text
from gptimage._internal.locks import locked
from gptimage._internal.sqlite import SqliteFile, damage, import_sqlite, transaction
from gptimage.errors import StoreError


if TYPE_CHECKING:
    from sqlite3 import Connection


# The index's tables. There are no steps from one layout to the next: the sidecars know all that
# an index of another layout holds.

LAYOUT: Final = "2026-11-29 hashes of two parts"
"""The tables of this version; a new name has every index built anew."""

EARLIER: Final = (
    "2026-11-20 pictures",  # of 0.1.0
    "2026-11-28 emoji and composed tags",
    "2026-11-28 totals",
    "2026-11-28 perceptual hashes",
)
"""The steps by which earlier versions made their tables."""

UNHASHED: Final = "-"
"""In the place of a perceptual hash that nobody has made yet. It sorts before every hash."""

COUNTED: Final = " UNION ALL ".join(
    (
        """SELECT '' AS kind, '' AS name, COUNT(*) AS count, TOTAL(bytes) AS bytes,
            TOTAL(nano_usd) AS nano_usd, COUNT(*) - COUNT(nano_usd) AS unknown,
            TOTAL(pinned) AS pinned FROM images""",
        *(
            f"SELECT '{column}', {column}, COUNT(*), 0, 0, 0, 0 FROM images GROUP BY {column}"  # noqa: S608  # names of ours
            for column in ("model", "operation", "format")
        ),
        """SELECT 'input', '', COUNT(*), TOTAL(bytes), 0, 0, 0
            FROM (SELECT bytes FROM sources GROUP BY sha256)""",
        f"""SELECT 'unhashed', '', COUNT(*), 0, 0, 0, 0
            FROM hashes WHERE hash = '{UNHASHED}'""",  # noqa: S608  # a text of ours
    )
)
"""What `totals` must hold, counted anew."""

RECOUNT: Final = ("DELETE FROM totals", f"INSERT INTO totals {COUNTED}")  # see above


def _count(row: str, sign: int) -> str:
    """Return the statement of a trigger that adds a row of ``images`` to the totals."""
    return f"""
        INSERT INTO totals VALUES
            ('', '', {sign}, {sign} * {row}.bytes, {sign} * IFNULL({row}.nano_usd, 0),
                {sign} * ({row}.nano_usd IS NULL), {sign} * {row}.pinned),
            ('model', {row}.model, {sign}, 0, 0, 0, 0),
            ('operation', {row}.operation, {sign}, 0, 0, 0, 0),
            ('format', {row}.format, {sign}, 0, 0, 0, 0)
        ON CONFLICT (kind, name) DO UPDATE SET count = count + excluded.count,
            bytes = bytes + excluded.bytes, nano_usd = nano_usd + excluded.nano_usd,
            unknown = unknown + excluded.unknown, pinned = pinned + excluded.pinned;"""  # noqa: S608  # names of ours


def _count_input(row: str, sign: int) -> str:
    """Return the statement of a trigger that counts an input when no other row names it."""
    return f"""
        INSERT INTO totals SELECT 'input', '', {sign}, {sign} * {row}.bytes, 0, 0, 0
            WHERE NOT EXISTS (
                SELECT 1 FROM sources WHERE sha256 = {row}.sha256 AND seq <> {row}.seq
            )
        ON CONFLICT (kind, name) DO UPDATE SET
            count = count + excluded.count, bytes = bytes + excluded.bytes;"""  # noqa: S608  # names of ours


def _count_unhashed(row: str, sign: int) -> str:
    """Return the statement of a trigger that counts an image without a perceptual hash."""
    return f"""
        INSERT INTO totals SELECT 'unhashed', '', {sign}, 0, 0, 0, 0
            WHERE {row}.hash = '{UNHASHED}'
        ON CONFLICT (kind, name) DO UPDATE SET count = count + excluded.count;"""  # names of ours


TABLES: Final = (
    *data_text(__name__, "index.sql").rstrip(";\n").split(";\n"),
    f"CREATE TRIGGER counted AFTER INSERT ON images BEGIN {_count('NEW', 1)} END",
    f"CREATE TRIGGER uncounted AFTER DELETE ON images BEGIN {_count('OLD', -1)} END",
    f"""CREATE TRIGGER recounted AFTER UPDATE ON images BEGIN
        {_count("OLD", -1)} {_count("NEW", 1)} END""",
    f"CREATE TRIGGER input_counted AFTER INSERT ON sources BEGIN {_count_input('NEW', 1)} END",
    f"CREATE TRIGGER input_uncounted AFTER DELETE ON sources BEGIN {_count_input('OLD', -1)} END",
    f"CREATE TRIGGER unhashed AFTER INSERT ON hashes BEGIN {_count_unhashed('NEW', 1)} END",
    f"CREATE TRIGGER unhashed_gone AFTER DELETE ON hashes BEGIN {_count_unhashed('OLD', -1)} END",
    f"""CREATE TRIGGER hashed AFTER UPDATE ON hashes BEGIN
        {_count_unhashed("OLD", -1)} {_count_unhashed("NEW", 1)} END""",
)

_BUILT_ANEW: Final = (
    *("words", "sidecars", "tags", "sources", "hashes", "totals", "images"),
    "pictures",  # of 0.1.0
)


APPLICATION: Final = 0x67707469
"""Marks a database as an index of this library (``gpti``)."""


def make_tables(connection: Connection) -> None:
    """Make the tables, in place of those of another layout; additions of a newer one stay."""
    if LAYOUT in _layouts(connection):
        return
    with transaction(connection):
        if LAYOUT in _layouts(connection):
            return
        for table in _BUILT_ANEW:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("DELETE FROM state WHERE name = 'filled'")
        # An earlier version that misses one of its steps makes it beside our tables, and fails.
        # With all of them, it sees an index that lost its tables, and builds it anew, as ours does.
        for name in (*EARLIER, LAYOUT):
            connection.execute("INSERT OR IGNORE INTO migrations VALUES (?, ?)", (name, unix_now()))
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    if unused:
        # What the tables of the other layout took. Where another process reads, it is used later.
        with suppress(import_sqlite().OperationalError):
            connection.execute("VACUUM")


def claim(connection: Connection) -> None:
    """Mark an empty database as ours; nothing of another program's is changed.

    Raises:
        StoreError: It is a database of another program.
    """
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION:
        return
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    # With our tables in it, only the mark was damaged.
    if found and not found >= {"migrations", "sidecars", "words"}:
        raise StoreError(
            "the index's file is a database of another program: it is left alone; "
            "name another file with Store(..., index=...)"
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _layouts(connection: Connection) -> set[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL NOT NULL)"
    )
    return {name for (name,) in connection.execute("SELECT name FROM migrations")}


T = TypeVar("T")

_REBUILDS: Final = 5
"""How often a read has a lost index rebuilt before it gives up."""

BUSY_SECONDS: Final = 5.0
"""How long a write waits for another process before it gives up."""


class Database:
    """The reads and writes of an index that may be deleted at any time.

    Args:
        path: The file; its folder must exist.
        fill: Writes everything the index should know into a new one; how much that was.
        report: Is given one sentence when an index was lost and has been rebuilt.
        private: Only this machine uses it, so building one is nothing to report.

    Raises:
        StoreError: The file cannot be opened or made.
    """

    def __init__(
        self,
        path: Path,
        *,
        fill: Callable[[], int],
        report: Callable[[str], None],
        private: bool,
    ) -> None:
        self.path = path
        self._private = private
        self._fill = fill
        self._report = report
        self._damaged = False
        self._file = SqliteFile(
            path,
            prepare=_prepare,
            failed=self._error,
            busy_seconds=BUSY_SECONDS,
            replaceable=True,  # the sidecars know all that is in it
            damaged=self._mark_damaged,
            mode=0o666,  # whoever may read the store may read its index
        )

    def read(self, work: Callable[[Connection], T], *, filled: bool = True) -> T:
        """Run a read; a missing or damaged index is rebuilt first.

        Args:
            work: Gets a connection and must not keep it.
            filled: Wait until the index knows every sidecar.

        Raises:
            StoreError: The index cannot be read now.
        """
        if not filled:
            return self._file.read(work)
        for _ in range(_REBUILDS):
            for result in self._file.read(lambda c: [work(c)] if _is_filled(c) else []):
                return result
            with locked(self._fill_lock()):
                self._fill_if_needed()
        # A read that no sound index can do looks like damage, too, and would rebuild without end.
        raise self._error(damage("it is lost or damaged each time it has been rebuilt"))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that is written whole or not at all.

        It does not wait for a rebuild, so that saving never does.

        Raises:
            StoreError: The index cannot be written now.
        """
        return self._file.write(work)

    def refill(self) -> int:
        """Fill the index anew, whatever it holds; how much that was.

        Raises:
            StoreError: The store cannot be read, or the index not be written.
        """
        with locked(self._fill_lock()):
            # Taken away first: after a crash in the middle, the next one starts over.
            self.write(lambda c: c.execute("DELETE FROM state WHERE name = 'filled'"))
            return self._fill_now()

    def close(self) -> None:
        """Close idle connections; harmless when done twice."""
        self._file.close()

    def _mark_damaged(self) -> None:
        self._damaged = True

    def _fill_if_needed(self) -> None:
        """Fill it, unless the holder of the lock before us has done so."""
        if self.read(_is_filled, filled=False):
            return
        found = self._fill_now()
        if found and (self._damaged or not self._private):
            what = "damaged" if self._damaged else "missing or of an older version"
            self._report(f"the index {self.path} was {what}; rebuilt from {found} sidecars")
        self._damaged = False

    def _fill_now(self) -> int:
        """Fill the index; once more if it was deleted meanwhile."""
        while True:
            token = os.urandom(8).hex()
            self.write(partial(_set_state, name="filling", value=token))
            found = self._fill()
            if self.write(partial(_finish_filling, token=token)):
                return found

    def _fill_lock(self) -> Path:
        return self.path.with_name(f".{self.path.name}.fill")

    def _error(self, error: Exception) -> StoreError:
        if "no such module: fts5" in str(error):
            return StoreError(
                "this Python's SQLite has no full-text search (FTS5): use a Python that has it"
            )
        if "is full" in str(error):
            return StoreError(
                f"the disk of the index {self.path} is full: make room there, or put the index on "
                "another local disk with Store(..., index=...)"
            )
        return StoreError(
            f"the index {self.path} cannot be used: {error}; it may be deleted at any time, "
            "or put on a local disk with Store(..., index=...)"
        )


def _prepare(connection: Connection) -> None:
    claim(connection)
    make_tables(connection)


def _is_filled(connection: Connection) -> bool:
    found = connection.execute("SELECT 1 FROM state WHERE name = 'filled'").fetchone()
    return found is not None


def _set_state(connection: Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))


def _finish_filling(connection: Connection, token: str) -> bool:
    query = "SELECT 1 FROM state WHERE name = 'filling' AND value = ?"
    if connection.execute(query, (token,)).fetchone() is None:
        return False
    _set_state(connection, "filled", token)
    return True
