"""One SQLite file that may be deleted or damaged at any time, and heals itself.

The file only holds what can be read from sidecars, so whatever happens to it, a new one is
built. Opening, forking, locking and putting a damaged file aside are `SqliteFile`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from gptimage._internal.clock import unix_now
from gptimage._internal.locks import locked
from gptimage._internal.sqlite import SqliteFile, damage, transaction
from gptimage.errors import StoreError


if TYPE_CHECKING:
    from sqlite3 import Connection


# The index's tables, built by named steps that are only ever appended to.
#
# Each step runs once, in its own transaction. A step in a released version is never changed:
# indexes on people's disks were built with it.

COUNTED: Final = " UNION ALL ".join(
    (
        """SELECT '' AS kind, '' AS name, COUNT(*) AS count, TOTAL(bytes) AS bytes,
            TOTAL(nano_usd) AS nano_usd, COUNT(*) - COUNT(nano_usd) AS unknown,
            TOTAL(pinned) AS pinned FROM pictures""",
        *(
            f"SELECT '{column}', {column}, COUNT(*), 0, 0, 0, 0 FROM pictures GROUP BY {column}"  # noqa: S608  # names of ours
            for column in ("model", "operation", "format")
        ),
        """SELECT 'input', '', COUNT(*), TOTAL(bytes), 0, 0, 0
            FROM (SELECT bytes FROM sources GROUP BY sha256)""",
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


STEPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "2026-11-20 pictures": (
            # seq sorts by the time in the id, so newest first is the table backwards.
            """CREATE TABLE pictures (
                seq INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                key TEXT NOT NULL UNIQUE,
                stamp TEXT NOT NULL,
                model TEXT NOT NULL,
                operation TEXT NOT NULL,
                format TEXT NOT NULL,
                sha256 TEXT NOT NULL,
                bytes INTEGER NOT NULL,
                nano_usd INTEGER,
                pinned INTEGER NOT NULL,
                parent TEXT
            )""",
            "CREATE INDEX by_model ON pictures (model)",
            "CREATE INDEX by_operation ON pictures (operation)",
            "CREATE INDEX by_format ON pictures (format)",
            "CREATE INDEX by_sha256 ON pictures (sha256)",
            "CREATE INDEX by_parent ON pictures (parent) WHERE parent IS NOT NULL",
            "CREATE INDEX by_pinned ON pictures (pinned) WHERE pinned",
            # Apart from the rows above, so that scans of those stay small.
            """CREATE TABLE sidecars (
                seq INTEGER PRIMARY KEY,
                prompt TEXT NOT NULL,
                tags TEXT NOT NULL,
                body BLOB NOT NULL
            )""",
            # Short beginnings of words match thousands of them, so those have an index too.
            """CREATE VIRTUAL TABLE words USING fts5 (
                prompt, tags, content='sidecars', content_rowid='seq',
                prefix='2 3 4', tokenize='unicode61 remove_diacritics 2'
            )""",
            """CREATE TABLE tags (
                tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)
            ) WITHOUT ROWID""",
            "CREATE INDEX tags_of ON tags (seq)",
            """CREATE TABLE sources (
                sha256 TEXT NOT NULL, seq INTEGER NOT NULL, bytes INTEGER NOT NULL,
                PRIMARY KEY (sha256, seq)
            ) WITHOUT ROWID""",
            "CREATE INDEX sources_of ON sources (seq)",
            # Sidecars that are being written or removed: looked at again after a crash.
            "CREATE TABLE journal (key TEXT PRIMARY KEY, since REAL NOT NULL)",
            "CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        ),
        # Emoji are words now, and tags composed: everything is read again.
        "2026-11-28 emoji and composed tags": ("DELETE FROM state WHERE name = 'filled'",),
        # Kept up by triggers, so that `stats` reads a few rows instead of every one.
        "2026-11-28 totals": (
            """CREATE TABLE totals (
                kind TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL,
                bytes INTEGER NOT NULL, nano_usd INTEGER NOT NULL, unknown INTEGER NOT NULL,
                pinned INTEGER NOT NULL, PRIMARY KEY (kind, name)
            ) WITHOUT ROWID""",
            *RECOUNT,
            f"CREATE TRIGGER counted AFTER INSERT ON pictures BEGIN {_count('NEW', 1)} END",
            f"CREATE TRIGGER uncounted AFTER DELETE ON pictures BEGIN {_count('OLD', -1)} END",
            f"""CREATE TRIGGER recounted AFTER UPDATE ON pictures BEGIN
                {_count("OLD", -1)} {_count("NEW", 1)} END""",
            f"""CREATE TRIGGER input_counted AFTER INSERT ON sources BEGIN
                {_count_input("NEW", 1)} END""",
            f"""CREATE TRIGGER input_uncounted AFTER DELETE ON sources BEGIN
                {_count_input("OLD", -1)} END""",
            # Half the size, and as good: 64 bits of a hash tell any images of a store apart.
            "DROP INDEX by_sha256",
            "CREATE INDEX by_digest ON pictures (substr(sha256, 1, 16))",
        ),
        # Sidecars of earlier versions have no hash, so none is read again.
        "2026-11-28 perceptual hashes": (
            """CREATE TABLE hashes (
                hash TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (hash, seq)
            ) WITHOUT ROWID""",
            "CREATE INDEX hashes_of ON hashes (seq)",
        ),
    }
)


APPLICATION: Final = 0x67707469
"""Marks a database as an index of this library (``gpti``)."""


def migrate(connection: Connection) -> None:
    """Run every step this index has not seen; steps of a newer version are left alone."""
    done = _applied(connection)
    built = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pictures'").fetchone()
    if built and next(iter(STEPS)) not in done:
        raise damage("the list of steps is damaged")
    for name, statements in STEPS.items():
        if name not in done:
            _apply(connection, name, statements)


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
    if found and not found >= {"migrations", "pictures", "sidecars", "words"}:
        raise StoreError(
            "the index's file is a database of another program: it is left alone; "
            "name another file with Store(..., index=...)"
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _applied(connection: Connection) -> set[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL NOT NULL)"
    )
    return {name for (name,) in connection.execute("SELECT name FROM migrations")}


def _apply(connection: Connection, name: str, statements: tuple[str, ...]) -> None:
    try:
        with transaction(connection):
            if name not in _applied(connection):
                for statement in statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, unix_now()))
    except Exception as error:
        if "already exists" in str(error):  # the step is wrong, and would be in a new file, too
            raise StoreError(f"the index cannot be brought up to date: {error}") from error
        raise


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
    migrate(connection)


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
