"""`DiskCache`: replies in files of a folder that many processes share."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptimage._internal.clock import files_now, unix_now
from gptimage._internal.keywords import function, strict_class
from gptimage._internal.keywords import path as check_path
from gptimage._internal.locks import FileLock, take
from gptimage._internal.text import reason
from gptimage.cache import disk_index, entry_file
from gptimage.cache.base import (
    DISK_BYTES,
    OUTCOME_TTL,
    Cache,
    CacheEntry,
    CacheStats,
    CallbackLease,
    EntryLimits,
    Lease,
    LeaseHeld,
    age_of,
    dollars,
)
from gptimage.cache.disk_index import Index
from gptimage.cache.entry_file import DamagedError, EntryHeader
from gptimage.errors import CacheError


if TYPE_CHECKING:
    import sqlite3


_STALE_SECONDS: Final = 3600.0
"""A temporary file this old belongs to a process that died."""


@strict_class
class DiskCache(Cache):
    """A cache of files, one for each reply, beside an SQLite index.

    Several processes of one machine share the folder; leases are file locks, which the
    kernel frees when a process dies, so the folder must be on a local disk. Nothing is
    touched before the first use, and only the owner may read what is written.

    Args:
        path: The folder; ``~`` is the home folder. None is the user's cache folder.
        ttl: How long a reply lasts; None is for ever.
        max_bytes: How many bytes the bodies may have together; None is no bound.
        clock: Tells the time (Unix time in seconds).

    Raises:
        ConfigurationError: A limit is zero or less.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        ttl: timedelta | None = None,
        max_bytes: int | None = DISK_BYTES,
        clock: Callable[[], float] = unix_now,
    ) -> None:
        if path is not None:
            check_path("path", path)
        function("clock", clock, "a function that tells the time, such as time.time")
        self._root = default_folder() if path is None else Path(path).expanduser()
        self._limits = EntryLimits.of(ttl, max_bytes)
        self._clock = clock
        self._index = Index(self._root / "index.sqlite", self._headers)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._root

    def __repr__(self) -> str:
        return f"DiskCache({str(self._root)!r})"

    def get(self, key: str) -> CacheEntry | None:
        """Return the reply under this key, proved by its hash."""
        with self._errors("read"):
            try:
                head, body = entry_file.read(entry_file.entry_path(self._root, key), key)
            except FileNotFoundError:
                return None
            except DamagedError:
                self._remove(key)
                return None
        if head.expires is not None and head.expires <= self._clock():
            self._remove(key)
            return None
        return CacheEntry(body=body, usd=head.usd, created=head.created, expires=head.expires)

    def put(self, key: str, entry: CacheEntry) -> None:
        """Save a reply: written aside, then renamed, so that no half file is ever seen."""
        if not self._limits.admits(memoryview(entry.body).nbytes):
            self.delete(key)
            return
        entry = self._limits.dated(entry, self._clock())
        target = entry_file.entry_path(self._root, key)
        with self._errors("written"):
            for folder in (self._root / "tmp", target.parent):
                self._make(folder)
            path, head = entry_file.write(self._root / "tmp", entry, key=key)
            try:
                # The row first and the file second, each in its own transaction: a process
                # killed in between leaves a row without file, and never an uncounted file.
                self._index.write(partial(disk_index.insert, head=head))
                self._index.write(partial(self._publish, head=head, path=path, target=target))
            finally:
                path.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Remove a reply."""
        target = entry_file.entry_path(self._root, key)
        with self._errors("changed"):
            if self._root.exists():
                self._index.write(lambda connection: _unlink(connection, key, target))

    def record_use(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note that a key was used just now, and add to the statistics all processes share."""
        with self._errors("changed"):
            self._make(self._root)
            self._index.write(lambda connection: _count(connection, key, hits, misses))

    def stats(self) -> CacheStats:
        """Return what it holds now, and the counts since the index was made."""
        with self._errors("read"):
            if not self._root.exists():
                return CacheStats()
            found = self._index.write(self._swept)
        return CacheStats(
            entries=found["entries"],
            bytes=found["bytes"],
            hits=found["hits"],
            misses=found["misses"],
            evictions=found["evictions"],
            saved_usd=dollars(found["nanos"]),
        )

    def clear(self, older_than: timedelta | None = None) -> int:
        """Remove all replies, or those saved longer ago; returns how many. Counts stay."""
        age = age_of(older_than)
        with self._errors("cleared"):
            if not self._root.exists():
                return 0
            self._sweep_temp_files()
            return self._index.write(lambda connection: self._clear(connection, age))

    def lease(self, key: str, token: str) -> Lease | LeaseHeld:
        """Become the one that sends, among all processes that use this folder."""
        with self._errors("written"):
            folder = self._root / "leases"
            self._make(folder)
            found = take(folder / f"{entry_file.file_name(key)}.lock", token)
        return (
            LeaseHeld(found)
            if isinstance(found, str)
            else CallbackLease(partial(self._release, found, token))
        )

    def lease_outcome(self, token: str) -> str | None:
        """Return how the attempt of this token ended."""
        query = "SELECT text FROM outcomes WHERE token = ? AND expires > ?"
        with self._errors("read"):
            self._make(self._root)
            found = self._index.write(
                lambda connection: connection.execute(query, (token, self._clock())).fetchone()
            )
        return None if found is None else str(found[0])

    def close(self) -> None:
        """Close the index; using the cache again opens it again."""
        self._index.close()

    def _release(self, lock: FileLock, token: str, outcome: str) -> None:
        now = self._clock()
        try:
            with self._errors("written"):
                self._index.write(lambda connection: _note(connection, token, outcome, now))
        finally:
            lock.release()

    def _publish(
        self, connection: sqlite3.Connection, *, head: EntryHeader, path: Path, target: Path
    ) -> None:
        """Put the file in its place and make room for it."""
        disk_index.insert(connection, head)  # again: another process may have cleared in between
        if path.exists():  # else it is in its place, and this is the try with a new index
            path.replace(target)
        if self._is_over(connection):
            self._sweep_expired(connection)
        while self._is_over(connection) and (key := disk_index.least_used(connection)):
            _unlink(connection, key, entry_file.entry_path(self._root, key))
            disk_index.add(connection, "evictions", 1)

    def _is_over(self, connection: sqlite3.Connection) -> bool:
        return not self._limits.admits(disk_index.counts(connection)["bytes"])

    def _swept(self, connection: sqlite3.Connection) -> dict[str, int]:
        self._sweep_expired(connection)
        return disk_index.counts(connection)

    def _sweep_expired(self, connection: sqlite3.Connection) -> None:
        query = "SELECT key FROM entries WHERE expires <= ?"
        for (key,) in connection.execute(query, (self._clock(),)).fetchall():
            _unlink(connection, key, entry_file.entry_path(self._root, key))

    def _clear(self, connection: sqlite3.Connection, age: float) -> int:
        self._sweep_expired(connection)
        query = "SELECT key FROM entries WHERE created < ?"
        found = connection.execute(query, (self._clock() - age,)).fetchall()
        for (key,) in found:
            _unlink(connection, key, entry_file.entry_path(self._root, key))
        return len(found)

    def _remove(self, key: str) -> None:
        """Remove a reply that is damaged or expired; it is a miss whether or not that works."""
        with suppress(CacheError):
            self.delete(key)

    def _headers(self) -> Iterator[EntryHeader]:
        """Read the headers of all files; one that is damaged or not ours is left where it is."""
        for path in entry_file.files(self._root):
            with suppress(DamagedError, CacheError):
                head = entry_file.read_head(path)
                if entry_file.entry_path(self._root, head.key) == path:
                    yield head

    def _sweep_temp_files(self) -> None:
        """Remove the temporary files and locks of processes that died."""
        oldest = files_now(self._root) - _STALE_SECONDS
        for path in (self._root / "tmp").glob("*.tmp"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
        for path in (self._root / "leases").glob("*.lock"):
            lock = take(path, "sweeper")
            if isinstance(lock, FileLock):
                lock.release()

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def _errors(self, verb: str) -> Generator[None]:
        """Turn an operating system's error into a sentence."""
        try:
            yield
        except OSError as error:
            why = f"the cache in {self._root} cannot be {verb}: {reason(error)}"
            raise CacheError(why) from error


def default_folder() -> Path:
    """Return the user's cache folder for gptimage, as the operating system wants it."""
    from gptimage._internal.user_dirs import cache_folder

    return cache_folder()


def _unlink(connection: sqlite3.Connection, key: str, path: Path) -> None:
    """The file first: a process killed in between leaves a row without file."""
    path.unlink(missing_ok=True)
    disk_index.forget(connection, key)


def _count(connection: sqlite3.Connection, key: str, hits: int, misses: int) -> None:
    disk_index.touch(connection, key)
    query = "SELECT nanos FROM entries WHERE key = ?"
    (nanos,) = connection.execute(query, (key,)).fetchone() or (0,)
    for name, value in (("hits", hits), ("misses", misses), ("nanos", hits * nanos)):
        if value:
            disk_index.add(connection, name, value)


def _note(connection: sqlite3.Connection, token: str, outcome: str, now: float) -> None:
    connection.execute("DELETE FROM outcomes WHERE expires <= ?", (now,))
    connection.execute(
        "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)", (token, outcome, now + OUTCOME_TTL)
    )
