"""The SQLite index of a disk cache: sizes, order of use, counts, and how flights ended.

It can be deleted at any time: entries are found again from the files, counts start anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gptimage._internal.locks import ForkSafeLock, take
from gptimage.cache.entry_file import EntryHeader
from gptimage.cache.protocol import nanodollars
from gptimage.errors import CacheError


if TYPE_CHECKING:
    import sqlite3


T = TypeVar("T")

_BUSY_SECONDS: Final = 1.0
"""How long to wait for another process's write; one takes well under a millisecond."""

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY, bytes INTEGER NOT NULL, nanos INTEGER NOT NULL,
    created REAL NOT NULL, expires REAL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_use ON entries (used);
CREATE INDEX by_expiry ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counts VALUES
    ('bytes', 0), ('entries', 0), ('hits', 0), ('misses', 0), ('evictions', 0), ('nanos', 0);
CREATE TRIGGER added AFTER INSERT ON entries BEGIN
    UPDATE counts SET value = value + NEW.bytes WHERE name = 'bytes';
    UPDATE counts SET value = value + 1 WHERE name = 'entries';
END;
CREATE TRIGGER removed AFTER DELETE ON entries BEGIN
    UPDATE counts SET value = value - OLD.bytes WHERE name = 'bytes';
    UPDATE counts SET value = value - 1 WHERE name = 'entries';
END;
CREATE TABLE outcomes (token TEXT PRIMARY KEY, text TEXT NOT NULL, expires REAL NOT NULL)
    WITHOUT ROWID;
"""
"""Triggers keep the sums, so that no put has to add up a hundred thousand rows."""

_SOUND: Final = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_INTERRUPT", "SQLITE_MISUSE"),
    *("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_NOLFS", "SQLITE_TOOBIG"),
    *("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
)
_SHORT: Final = ("SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS")

_COUNTS: Final = {"bytes", "entries", "hits", "misses", "evictions", "nanos"}

_NEXT_USE: Final = "(SELECT COALESCE(MAX(used), 0) + 1 FROM entries)"
"""Order of use is counted, not timed: clocks of processes may differ."""

_abandoned: Final[list[object]] = []
"""Connections of the process we were forked from: closing them here could harm it."""


class Index:
    """One connection, shared by the threads of a process and made anew after a fork.

    Args:
        path: The database file; its folder exists when the first transaction starts.
        find: Reads the heads of all files, for an index that is new.
    """

    def __init__(self, path: Path, find: Callable[[], Iterable[EntryHeader]]) -> None:
        self._path = path
        self._find = find
        self._lock = ForkSafeLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] = ()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in one transaction that nobody else's can come between.

        Raises:
            CacheError: The index is locked, or cannot be written.
            OSError: The work itself failed on a file.
        """
        import sqlite3

        with self._lock:
            try:
                return self._attempt(work)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if not _is_damage(error, self._path):
                    self._drop()
                    raise self._failed(error) from error
            try:
                self._replace()  # the files know all that matters
                return self._attempt(work)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self._drop()
                raise self._failed(error) from error

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._lock:
            self._drop()

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _transaction(self._current()) as connection:
            return work(connection)

    def _current(self) -> sqlite3.Connection:
        """The connection, if it is this process's and its file is still the one on disk."""
        if self._connection is not None and self._identity == self._on_disk():
            return self._connection
        self._drop()
        with self._alone():
            self._connection = self._open()
            self._identity = self._on_disk()
        return self._connection

    def _replace(self) -> None:
        """Remove a damaged index, unless somebody else was faster."""
        identity = self._identity or self._on_disk()
        self._drop()
        with self._alone():
            if identity == self._on_disk():
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep other processes from opening the index meanwhile."""
        deadline = time.monotonic() + 2 * _BUSY_SECONDS
        while isinstance(lock := take(self._path.with_suffix(".lock"), str(os.getpid())), str):
            if time.monotonic() > deadline:
                raise CacheError(f"the index of the cache in {self._path.parent} stays locked")
            time.sleep(0.005)
        try:
            yield
        finally:
            lock.release()

    def _on_disk(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (os.getpid(), found.st_dev, found.st_ino)

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        # SQLite would make it readable to everybody; its other files copy these rights.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with _transaction(connection):
                if connection.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                    self._build(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _build(self, connection: sqlite3.Connection) -> None:
        kinds = {"table": "TABLE", "trigger": "TRIGGER"}
        found = connection.execute("SELECT type, name FROM sqlite_schema").fetchall()
        for kind, name in found:  # of another version, or half made
            if kind in kinds and not name.startswith("sqlite_"):
                connection.execute(f'DROP {kinds[kind]} IF EXISTS "{name}"')
        for statement in _statements(_SCHEMA):
            connection.execute(statement)
        for head in sorted(self._find(), key=lambda head: head.created):
            insert(connection, head)
        connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._identity and self._identity[0] != os.getpid():
            _abandoned.append(connection)
        else:
            connection.close()

    def _failed(self, error: Exception) -> CacheError:
        return CacheError(f"the index of the cache in {self._path.parent} cannot be used: {error}")


def insert(connection: sqlite3.Connection, head: EntryHeader) -> None:
    """Enter a reply as the one used last, in place of an older one."""
    forget(connection, head.key)
    connection.execute(
        f"INSERT INTO entries VALUES (?, ?, ?, ?, ?, {_NEXT_USE})",  # noqa: S608  # a constant
        (head.key, head.size, nanodollars(head.usd), head.created, head.expires),
    )


def touch(connection: sqlite3.Connection, key: str) -> None:
    """Note that a reply was used just now."""
    connection.execute(
        f"UPDATE entries SET used = {_NEXT_USE} WHERE key = ?",  # noqa: S608  # a constant
        (key,),
    )


def forget(connection: sqlite3.Connection, key: str) -> None:
    """Take out a reply."""
    connection.execute("DELETE FROM entries WHERE key = ?", (key,))


def least_used(connection: sqlite3.Connection) -> str | None:
    """The key whose last use is longest ago; None when there are no entries."""
    found = connection.execute("SELECT key FROM entries ORDER BY used LIMIT 1").fetchone()
    return None if found is None else str(found[0])


def add(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Add to one of the counts."""
    connection.execute("UPDATE counts SET value = value + ? WHERE name = ?", (value, name))


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """All counts by name."""
    found: dict[str, Any] = dict(connection.execute("SELECT name, value FROM counts"))
    if found.keys() != _COUNTS or not all(isinstance(each, int) for each in found.values()):
        import sqlite3

        error = sqlite3.DatabaseError("the counts are damaged")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error
    return found


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_damage(error: Exception, path: Path) -> bool:
    """Whether the file is broken, rather than busy, full or out of reach; in doubt it is."""
    import sqlite3

    if isinstance(error, UnicodeDecodeError):  # Python could not even read what SQLite told
        return True
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_READONLY"):  # a version number in its head that no SQLite writes
        return os.access(path, os.W_OK)
    wrong_use = not code and isinstance(error, sqlite3.ProgrammingError)
    return code in _SHORT or not (wrong_use or code.startswith(_SOUND))


def _statements(script: str) -> Iterator[str]:
    """Single statements, because ``executescript`` would end the transaction."""
    import sqlite3

    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if statement.strip() and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
