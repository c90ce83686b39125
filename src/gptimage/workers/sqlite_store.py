"""`SqliteJobStore`: a job store in a file, for the processes of one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptimage._internal.clock import unix_now
from gptimage._internal.keywords import duration, function, strict_class
from gptimage._internal.keywords import path as check_path
from gptimage._internal.sqlite import NotADatabaseError, SqliteFile, create_tables
from gptimage.workers.job import JobRecord
from gptimage.workers.job_store import JobStoreError, read_record


if TYPE_CHECKING:
    import sqlite3

_BUSY_SECONDS: Final = 30.0
"""How long to wait for other processes; one of them takes a few milliseconds."""

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, revision INTEGER NOT NULL, at REAL NOT NULL,
    settled INTEGER NOT NULL, entry TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_time ON jobs (settled, at);
"""
_INSERT: Final = (
    "INSERT INTO jobs (revision, at, settled, entry, id) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO NOTHING"
)
_UPDATE: Final = (
    "UPDATE jobs SET revision = ?, at = ?, settled = ?, entry = ? WHERE id = ? AND revision = ?"
)


@strict_class
class SqliteJobStore:
    """A job store that the processes of one machine share. The file must be on a local disk.

    What was written is on the disk: it survives a power cut. Requests are in it, prompts
    and all; it is readable to you alone.

    Args:
        path: The SQLite file; it is created when it is missing.
        keep: How long jobs that are done, failed or discarded are remembered; None is for ever.
            One that is delivered again after that is a new job.
        clock: Returns the Unix time in seconds.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep: timedelta | None = timedelta(days=30),
        clock: Callable[[], float] = unix_now,
    ) -> None:
        check_path("path", path)
        if keep is not None:
            duration("keep", keep)
        function("clock", clock, "a function that gives the Unix time in seconds: time.time")
        self.path: Path = Path(path).expanduser()
        self._keep = keep
        self._clock = clock
        self._file = SqliteFile(
            self.path,
            prepare=_prepare,
            failed=self._error,
            busy_seconds=_BUSY_SECONDS,
            durable=True,  # a job is on the disk before its request is sent
        )

    def __repr__(self) -> str:
        """Return where it is."""
        return f"SqliteJobStore({str(self.path)!r})"

    def now(self) -> float:
        """Return the time on this machine."""
        return self._clock()

    def read(self, id: str) -> JobRecord | None:
        """Return the record of a job, or None."""
        text = self._file.read(lambda connection: _text_of(connection, id))
        return None if text is None else self._record(text)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write a record unless another one was written meanwhile."""
        text = after.to_text()
        values = (after.revision, after.at, after.settled, text, after.id)

        def work(connection: sqlite3.Connection) -> bool:
            if before is None:
                self._delete_old(connection)
                done = connection.execute(_INSERT, values).rowcount
            else:
                done = connection.execute(_UPDATE, (*values, before.revision)).rowcount
            return bool(done) or _text_of(connection, after.id) == text

        return self._file.write(work)

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """Return the records, those changed longest ago first; settled ones at the end."""
        query = "SELECT entry FROM jobs WHERE settled <= ? ORDER BY settled, at, id"
        rows = self._file.read(lambda c: c.execute(query, (settled,)).fetchall())
        return (self._record(text) for (text,) in rows)

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        self._file.close()

    def _delete_old(self, connection: sqlite3.Connection) -> None:
        """Delete jobs that were settled long ago."""
        if self._keep is not None:
            before = self.now() - self._keep.total_seconds()
            connection.execute("DELETE FROM jobs WHERE settled = 1 AND at < ?", (before,))

    def _record(self, text: str) -> JobRecord:
        return read_record(text, f"the job store {self.path}")

    def _error(self, error: Exception) -> JobStoreError:
        if isinstance(error, NotADatabaseError):
            return JobStoreError(
                f"{self.path} is no job store, and is left as it is: {error}; name another file"
            )
        return JobStoreError(f"the job store {self.path} cannot be used: {error}")


def _prepare(connection: sqlite3.Connection) -> None:
    """Create the tables of a new file; refuse one that is no job store."""
    if not create_tables(connection, _VERSION, _SCHEMA):
        raise NotADatabaseError("it is another database, or of a newer version of gptimage")


def _text_of(connection: sqlite3.Connection, id: str) -> str | None:
    row = connection.execute("SELECT entry FROM jobs WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])
