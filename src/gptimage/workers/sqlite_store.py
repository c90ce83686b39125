"""`SqliteJobStore`: a job store in a file, for the processes of one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptimage._internal.clock import unix_now
from gptimage.errors import ConfigurationError
from gptimage.workers.job import JobRecord
from gptimage.workers.job_store import JobStoreError


if TYPE_CHECKING:
    import sqlite3

_TIMEOUT: Final = 30.0
"""Seconds to wait for other processes; one of them takes a few milliseconds."""

_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, revision INTEGER NOT NULL, at REAL NOT NULL,
        settled INTEGER NOT NULL, entry TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX by_time ON jobs (settled, at)",
)
_INSERT: Final = (
    "INSERT INTO jobs (revision, at, settled, entry, id) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO NOTHING"
)
_UPDATE: Final = (
    "UPDATE jobs SET revision = ?, at = ?, settled = ?, entry = ? WHERE id = ? AND revision = ?"
)
_FOREIGN: Final = (
    "it is no job store, or one of a newer gptimage, and was left as it is: name another"
)


class SqliteJobStore:
    """A job store that the processes of one machine share. The file must be on a local disk.

    The file is opened for each call and closed again, so nothing stays open across a fork.
    What was written is on the disk: it survives a power cut. Requests are in it, prompts
    and all; it is readable to you alone.

    Args:
        path: The SQLite file; it is created when it is missing.
        keep: How long jobs that are done, failed or discarded are remembered; None is for ever.
            One that is delivered again after that is a new job.
        clock: Returns the Unix time in seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep: timedelta | None = timedelta(days=30),
        clock: Callable[[], float] = unix_now,
    ) -> None:
        self.path: Path = Path(path).expanduser()
        self._keep = keep
        self._clock = clock

    def __repr__(self) -> str:
        """Return where it is."""
        return f"SqliteJobStore({str(self.path)!r})"

    def now(self) -> float:
        """Return the time on this machine."""
        return self._clock()

    def read(self, id: str) -> JobRecord | None:
        """Return the record of a job, or None."""
        with self._connection() as connection:
            text = _text_of(connection, id)
        return None if text is None else self._record(text)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write a record unless another one was written meanwhile."""
        text = after.to_text()
        values = (after.revision, after.at, after.settled, text, after.id)
        with self._connection() as connection:
            if before is None:
                self._delete_old(connection)
                done = connection.execute(_INSERT, values).rowcount
            else:
                done = connection.execute(_UPDATE, (*values, before.revision)).rowcount
            return bool(done) or _text_of(connection, after.id) == text

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """Return the records, those changed longest ago first; settled ones at the end."""
        query = "SELECT entry FROM jobs WHERE settled <= ? ORDER BY settled, at, id"
        with self._connection() as connection:
            rows = connection.execute(query, (settled,)).fetchall()
        return (self._record(text) for (text,) in rows)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _delete_old(self, connection: sqlite3.Connection) -> None:
        """Delete jobs that were settled long ago."""
        if self._keep is not None:
            before = self.now() - self._keep.total_seconds()
            connection.execute("DELETE FROM jobs WHERE settled = 1 AND at < ?", (before,))

    def _record(self, text: str) -> JobRecord:
        try:
            return JobRecord.from_text(text)
        except ValueError as error:
            raise JobStoreError(
                f"the job store {self.path} has a damaged record: {error}"
            ) from error

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """Open the file; every statement is a transaction of its own.

        Raises:
            JobStoreError: The file cannot be used.
        """
        try:
            import sqlite3
        except ImportError as error:
            raise ConfigurationError("this Python was built without SQLite") from error
        try:
            with closing(self._open()) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise JobStoreError(f"the job store {self.path} cannot be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite would make it readable to everybody; its journal copies these rights.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, timeout=_TIMEOUT, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = EXTRA")  # also the end of a transaction lasts
            if connection.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _text_of(connection: sqlite3.Connection, id: str) -> str | None:
    row = connection.execute("SELECT entry FROM jobs WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def _prepare(connection: sqlite3.Connection) -> None:
    """Create the tables of a new file; refuse one that is no job store."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if version != _VERSION and (version or tables):
            raise OSError(_FOREIGN)
        if not version:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled back already
            connection.execute("ROLLBACK")
        raise
