"""The SQLite file of a ledger: opened once per process, and never healed by throwing it away.

What it holds is found nowhere else. A file that is damaged or comes from a newer version is
refused, and stays as it is.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gptimage._internal.locks import ForkSafeLock, take
from gptimage.errors import ConfigurationError


if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

_PATIENCE: Final = 30.0
"""Seconds to wait for other processes; one of them takes a few milliseconds."""

_CHECKED_BYTES: Final = 32_000_000
"""A larger ledger is not looked through each time it is opened: that would take seconds."""

_MAGIC: Final = b"SQLite format 3\0"
_FOREIGN: Final = (
    "it is no ledger, or one of a newer version of gptimage, and is left as it is; "
    "name another file"
)
_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE calls (
        id TEXT PRIMARY KEY, at REAL NOT NULL, operation TEXT NOT NULL, model TEXT NOT NULL,
        outcome TEXT NOT NULL, cached INTEGER NOT NULL, images INTEGER NOT NULL,
        estimate_nanos INTEGER, reserved_nanos INTEGER NOT NULL, cost_nanos INTEGER,
        counted_nanos INTEGER NOT NULL,
        input_tokens INTEGER, output_tokens INTEGER, total_tokens INTEGER, text_tokens INTEGER,
        image_tokens INTEGER, output_text_tokens INTEGER, svg_tokens INTEGER,
        request_id TEXT, error TEXT, seconds REAL, prompt TEXT,
        host TEXT NOT NULL, pid INTEGER, until REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX by_time ON calls (at)",
    "CREATE INDEX unanswered ON calls (outcome) WHERE outcome = 'open'",
    "CREATE TABLE hours (hour INTEGER PRIMARY KEY, nanos INTEGER NOT NULL)",
    """CREATE TRIGGER entered AFTER INSERT ON calls BEGIN
        INSERT INTO hours VALUES (CAST(NEW.at / 3600 AS INTEGER), NEW.counted_nanos)
            ON CONFLICT (hour) DO UPDATE SET nanos = nanos + excluded.nanos;
    END""",
    """CREATE TRIGGER corrected AFTER UPDATE OF counted_nanos ON calls BEGIN
        UPDATE hours SET nanos = nanos + NEW.counted_nanos - OLD.counted_nanos
            WHERE hour = CAST(OLD.at / 3600 AS INTEGER);
    END""",
    """CREATE TRIGGER removed AFTER DELETE ON calls BEGIN
        UPDATE hours SET nanos = nanos - OLD.counted_nanos
            WHERE hour = CAST(OLD.at / 3600 AS INTEGER);
    END""",
)
"""Triggers keep the sums, so that no limit has to add up a million calls."""

HOST: Final = platform.node()

_abandoned: Final[list[object]] = []
"""Connections of the process we were forked from: closing them here could harm it."""


class LedgerFile:
    """One connection, shared by the threads of a process and made anew after a fork.

    Args:
        path: The file; it and its folder are made when first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._lock = ForkSafeLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] = ()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in one transaction that nobody else's can come between.

        Raises:
            ConfigurationError: The file cannot be used.
        """
        try:
            import sqlite3
        except ImportError as error:
            raise ConfigurationError("this Python was built without SQLite") from error
        with self._lock:
            try:
                with _transaction(self._current()) as connection:
                    return work(connection)
            except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
                self._drop()
                raise ConfigurationError(_told(self.path, error)) from error

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._lock:
            self._drop()

    def _current(self) -> sqlite3.Connection:
        """The connection, if it is this process's and its file is still the one on disk."""
        if self._connection is not None and self._identity == self._on_disk():
            return self._connection
        self._drop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self.path.exists():  # a log left behind would be played into the new file
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._connection = self._open()
            self._identity = self._on_disk()
        return self._connection

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep other processes from opening it meanwhile."""
        deadline = time.monotonic() + _PATIENCE
        door = self.path.with_name(self.path.name + ".lock")
        while isinstance(lock := take(door, str(os.getpid())), str):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{door} stays locked")
            time.sleep(0.005)
        try:
            yield
        finally:
            lock.release()

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        # SQLite would make it readable to everybody; its other files copy these rights.
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600)
        try:
            if os.read(handle, len(_MAGIC)) not in (b"", _MAGIC):
                raise OSError(_FOREIGN)  # SQLite itself would take a very short file for empty
        finally:
            os.close(handle)
        connection = sqlite3.connect(
            self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Each reservation is on the disk before its request is sent: a power cut forgets none.
            connection.execute("PRAGMA synchronous = FULL")
            with _transaction(connection):
                _prepare(connection)
            # A damaged page can hide rows without any error, and a budget would not see them.
            if self.path.stat().st_size <= _CHECKED_BYTES:
                (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
                if told != "ok":
                    raise OSError(f"it is damaged, and left as it is ({told})")
        except BaseException:
            connection.close()
            raise
        return connection

    def _on_disk(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        return (os.getpid(), found.st_dev, found.st_ino)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._identity and self._identity[0] != os.getpid():
            _abandoned.append(connection)
        else:
            connection.close()


def is_abandoned(host: str, pid: int | None, until: float, now: float) -> bool:
    """Whether nobody can be waiting any more for the answer to an open call.

    A process is looked for only on its own machine. Numbers of processes are used again, so
    a call that is overdue is over in any case.
    """
    if now > until:
        return True
    if pid is None or host != HOST or os.name != "posix" or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it belongs to somebody else
    return False


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file; refuse a file that is not ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    if version or tables:
        raise OSError(_FOREIGN)
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def check_sums(connection: sqlite3.Connection) -> None:
    """See that the sums kept beside the calls are theirs, since SQLite has no checksums.

    Raises:
        OSError: They are not: the file was damaged or changed.
    """
    (calls,) = connection.execute("SELECT COALESCE(SUM(counted_nanos), 0) FROM calls").fetchone()
    (hours,) = connection.execute("SELECT COALESCE(SUM(nanos), 0) FROM hours").fetchone()
    # A time that is none would hide its call from every question.
    odd = "SELECT 1 FROM calls WHERE typeof(at) <> 'real' OR at NOT BETWEEN 0 AND 1e11 LIMIT 1"
    if calls != hours or connection.execute(odd).fetchone():
        raise OSError("it is damaged, and left as it is: calls disagree with sums, or have no time")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled back already
            connection.execute("ROLLBACK")
        raise


def _told(path: Path, error: Exception) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return (
            f"the ledger {path} is damaged and left as it is ({error}): "
            "name another file, and add what this one had spent to the plan"
        )
    return f"the ledger {path} cannot be used: {error}"
