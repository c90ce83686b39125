"""One SQLite file that the threads and processes of a machine share.

Ledger, cache index, store index and job store differ in their tables, in what their errors are
called, and in whether a damaged file may be replaced; everything else is here.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import frozen

from gptimage._internal.locks import ForkSafeLock, leave_to_parent, take
from gptimage.errors import ConfigurationError, GptImageError


if TYPE_CHECKING:
    from sqlite3 import Connection, DatabaseError


T = TypeVar("T")

_SMALLEST: Final = 512
"""Bytes of the smallest page, and so of the smallest database."""

_FOLLOWERS: Final = ("-wal", "-shm", "-journal")
_POLL_SECONDS: Final = 0.005
_CHECKED_BYTES: Final = 32_000_000
"""A larger file is not looked through each time it is opened: that would take seconds."""

_SOUND: Final = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_INTERRUPT", "SQLITE_MISUSE"),
    *("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_NOLFS", "SQLITE_TOOBIG"),
    *("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
)
"""How SQLite says that something else is wrong than what the file holds."""

_SHORT: Final = ("SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS")


@frozen
class _Handle:
    connection: Connection
    identity: tuple[int, ...]


class SqliteFile:
    """Connections to one file: each serves one thread at a time, and none crosses a fork.

    The file is opened when first needed, readable to its owner alone, with a write-ahead log. A
    file that was removed or replaced meanwhile is opened anew.

    Args:
        path: The file; its folder is made when it is not there.
        prepare: Makes or checks the tables on a new connection, while no other process opens the
            file.
        failed: Makes the exception for an error of SQLite or of the file.
        busy_seconds: How long to wait for the writes of other processes.
        durable: Each write is on the disk before it returns, so that a power cut forgets none.
        replaceable: A damaged file is put aside (``.damaged``) and made anew, because all it
            holds is found elsewhere. If not, it is refused and left as it is.
        damaged: Is called after a damaged file was put aside.
        mode: The rights of a new file.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[Connection], object],
        failed: Callable[[Exception], Exception],
        busy_seconds: float,
        durable: bool = False,
        replaceable: bool = False,
        damaged: Callable[[], None] = lambda: None,
        mode: int = 0o600,
    ) -> None:
        self.path = path
        self.busy_seconds = busy_seconds
        self._prepare = prepare
        self._failed = failed
        self._durable = durable
        self._replaceable = replaceable
        self._damaged = damaged
        self._mode = mode
        # One writer of this process at a time: SQLite lets waiting writers poll, ours queue here.
        self._writing = ForkSafeLock()
        self._idle: deque[_Handle] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` with a connection, which it must not keep.

        Raises:
            Exception: What ``failed`` made of an error of SQLite or of a file.
        """
        sqlite3 = import_sqlite()
        for last_try in (False, True):
            handle = None
            try:
                handle = self._borrow()
                result = work(handle.connection)
            except GptImageError:  # the work's own; some are an OSError, too
                if handle is not None:
                    self._give_back(handle)
                raise
            except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
                mendable = self._replaceable and is_damage(error, self.path)
                if handle is not None:
                    _close(handle)  # the next one looks at the file anew
                    if mendable:
                        self._replace(handle.identity)
                if last_try or not mendable:
                    raise self._failed(error) from error
            except BaseException:
                if handle is not None:
                    self._give_back(handle)
                raise
            else:
                self._give_back(handle)
                return result
        raise AssertionError("the second try returns or raises")

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction that no other can come between, in whole or not at all.

        Raises:
            Exception: What ``failed`` made of an error of SQLite or of a file.
        """

        def whole(connection: Connection) -> T:
            with transaction(connection):
                return work(connection)

        with self._writing:
            return self.read(whole)

    def close(self) -> None:
        """Close idle connections; the next read or write opens one again."""
        _close_all(self._idle)

    def _borrow(self) -> _Handle:
        """Return an idle connection to the file that is there now, or a new one."""
        while True:
            try:
                handle = self._idle.pop()
            except IndexError:
                return self._open()
            if handle.identity == self._identity():
                return handle
            _close(handle)

    def _give_back(self, handle: _Handle) -> None:
        if handle.connection.in_transaction:
            handle.connection.rollback()
        self._idle.append(handle)

    def _open(self) -> _Handle:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._exclusive():
            if not self.path.exists():
                # A write-ahead log without its database would be played into the new one.
                self._remove_followers()
                self._create()
            elif not self._replaceable:
                _check_size(self.path)
            try:
                return _Handle(self._connect(self.path), self._identity())
            except BaseException as error:
                if self._replaceable and is_damage(error, self.path):
                    self._put_aside()
                elif getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
                    raise NotADatabaseError("it is no SQLite database") from error
                raise

    def _create(self) -> None:
        """Make the file under another name first.

        A process that is killed meanwhile leaves no empty file, which would be taken for one that
        lost all it held.
        """
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        # SQLite would make it readable to everybody; its other files copy these rights.
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, self._mode))
        try:
            # Nobody goes on with a half-made one, so there is nothing to roll back from a file.
            self._connect(new, "MEMORY").close()  # which writes the log back into the file
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)

    def _connect(self, path: Path, journal: str | None = None) -> Connection:
        import sqlite3

        connection = sqlite3.connect(
            path, timeout=self.busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            if journal:
                connection.execute(f"PRAGMA journal_mode = {journal}")
            self._prepare(connection)
            # After `prepare`, because it changes the file, which may be another program's.
            connection.execute("PRAGMA journal_mode = WAL")
            # A damaged page can hide rows without an error. What is found nowhere else is proved.
            if not self._replaceable and path.stat().st_size <= _CHECKED_BYTES:
                (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
                if found != "ok":
                    raise damage(found)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace(self, identity: tuple[int, ...]) -> None:
        """Put a damaged file aside, unless another thread or process has already done so."""
        with self._exclusive():
            if self._identity() == identity:
                self._put_aside()

    def _put_aside(self) -> None:
        """Move a damaged file to another name: perhaps it is not what we think it is."""
        with suppress(FileNotFoundError):
            self.path.replace(f"{self.path}.damaged")
        self._remove_followers()
        self._damaged()

    def _remove_followers(self) -> None:
        for suffix in _FOLLOWERS:
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def _exclusive(self) -> Generator[None]:
        """Keep other processes from opening or replacing the file meanwhile."""
        deadline = time.monotonic() + 2 * self.busy_seconds
        lock_path = self.path.with_name(f"{self.path.name}.lock")
        while isinstance(lock := take(lock_path, str(os.getpid())), str):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{lock_path} stays locked by process {lock.strip(chr(0))}")
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def _identity(self) -> tuple[int, ...]:
        """Return which file lies there now, as this process sees it."""
        try:
            found = self.path.stat()
        except OSError:
            return (os.getpid(),)
        return (os.getpid(), found.st_dev, found.st_ino)


class NotADatabaseError(OSError):
    """The file is empty, or is something else."""


def _check_size(path: Path) -> None:
    """Refuse what SQLite would take for a new database: an empty or a very short file.

    By its length alone. To open the file here and close it would free the locks that SQLite holds
    on it in this process, which are the process's; another process that ends would then count as
    the last one, and delete the write-ahead log that ours goes on writing to
    (https://sqlite.org/howtocorrupt.html, 2.2.1).

    Raises:
        NotADatabaseError: It is none.
    """
    size = path.stat().st_size
    if size < _SMALLEST:
        raise NotADatabaseError("it is no SQLite database" if size else "it is empty")


def import_sqlite() -> ModuleType:
    """Import `sqlite3`.

    Raises:
        ConfigurationError: This Python has none.
    """
    try:
        import sqlite3
    except ImportError as error:
        raise ConfigurationError("this Python was built without SQLite") from error
    return sqlite3


def damage(problem: str) -> DatabaseError:
    """Make what SQLite raises for a broken file, for what only we can see."""
    from sqlite3 import DatabaseError

    error = DatabaseError(problem)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def is_damage(error: BaseException, path: Path) -> bool:
    """Tell whether the file is broken, rather than busy, full or out of reach; in doubt it is.

    A damaged file fails in almost any way: a table that is gone, a column that is no text, an id
    that is there twice.
    """
    import sqlite3

    if isinstance(error, UnicodeDecodeError):  # SQLite's message is not UTF-8
        return True
    if not isinstance(error, sqlite3.DatabaseError) or "no such module: fts5" in str(error):
        return False
    code = getattr(error, "sqlite_errorname", "")
    if code in _SHORT:
        return True
    if code.startswith("SQLITE_READONLY"):  # a version number in its head that no SQLite writes
        return os.access(path, os.W_OK) or not path.exists()
    # Without a code it is Python that could not read a column, or was used in a wrong way.
    wrong_use = not code and isinstance(error, sqlite3.ProgrammingError)
    return not wrong_use and not code.startswith(_SOUND)


def create_tables(connection: Connection, version: int, schema: str) -> bool:
    """Make the tables of an empty file, all or none; give False for a file that is not ours.

    Args:
        connection: The file.
        version: Its ``user_version`` with these tables.
        schema: The statements that make them.
    """
    with transaction(connection):
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == version:
            return True
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if found or tables:
            return False
        run_script(connection, schema)
        connection.execute(f"PRAGMA user_version = {version}")
        return True


def run_script(connection: Connection, script: str) -> None:
    """Run statements one by one, because ``executescript`` would end the transaction."""
    import sqlite3

    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if statement.strip() and sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


@contextmanager
def transaction(connection: Connection) -> Generator[Connection]:
    """Make all writes of the block, or none."""
    connection.execute("BEGIN IMMEDIATE")  # of two writers one waits here, not at its COMMIT
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled back already
            connection.execute("ROLLBACK")
        raise


def _close(handle: _Handle) -> None:
    if handle.identity[0] == os.getpid():
        handle.connection.close()
    else:
        leave_to_parent(handle)


def _close_all(idle: deque[_Handle]) -> None:
    with suppress(IndexError):
        while True:
            _close(idle.pop())
