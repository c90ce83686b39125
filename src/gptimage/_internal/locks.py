"""Locks between processes, and a lock between threads that a fork cannot break.

Locking a file is `filelock`'s (flock on Unix, LockFileEx on Windows), which leaves lock files in
place. On top of it stand two things it does not have: the owner's token inside the file, for
those who wait elsewhere, and descriptors a forked child closes, so that a child that lives on
does not keep the lock of its dead parent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from errno import EAGAIN
from pathlib import Path
from typing import IO, Final


_OPEN: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_TOKEN_AT: Final = 1
"""Windows locks the first byte, and a locked byte cannot be read by others."""

_MAX_TOKEN: Final = 256
_POLL_SECONDS: Final = 0.005
_mine: Final[set[int]] = set()
_claimed: Final = weakref.WeakSet[IO[bytes]]()
_of_parent: Final[list[object]] = []


def leave_to_parent(connection: object) -> None:
    """Keep a connection of the parent process in a forked child, which neither uses nor closes it.

    Two processes on one connection would read each other's responses; SQLite says the same of its
    files (https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_).
    """
    _of_parent.append(connection)


def claim(file: IO[bytes]) -> None:
    """Lock an open file at once; the lock lasts until `disclaim`, or this process ends.

    Raises:
        OSError: Another process or object has it, or the file system has no locks.
    """
    if not _lock(file.fileno()):
        raise BlockingIOError(EAGAIN, "it is locked by another process")
    _claimed.add(file)


def disclaim(file: IO[bytes]) -> None:
    """Free the lock of a file that is about to be closed; harmless in a forked child."""
    from filelock import unlock_descriptor

    if file in _claimed and not file.closed:
        _claimed.discard(file)
        unlock_descriptor(file.fileno())  # not by closing alone, see `FileLock.release`


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock on a small file; waits for the owner, a thread or a process.

    Args:
        path: The lock file; it is made, and never removed, because a lock on a file that
            was removed would no longer be seen by others.
    """
    from filelock import lock_descriptor

    descriptor = os.open(path, _OPEN, 0o666)
    lock = FileLock(descriptor)
    try:
        lock_descriptor(descriptor, poll_interval=_POLL_SECONDS)
        yield
    finally:
        lock.release()


class FileLock:
    """A lock this process holds; `take` makes one.

    Args:
        descriptor: The open file.
        path: The file, if it goes with the lock.
    """

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        self._descriptor = descriptor
        self._path = path
        self._process = os.getpid()
        _mine.add(descriptor)

    def release(self) -> None:
        """Free the lock; harmless when done twice, or in a process this one was copied to."""
        from filelock import unlock_descriptor

        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0 or self._process != os.getpid():
            return
        _mine.discard(descriptor)
        try:
            if self._path is not None:
                os.ftruncate(descriptor, 0)
                self._path.unlink(missing_ok=True)
        except OSError:
            pass  # Windows keeps a file that others have open; an empty one does no harm
        finally:
            # Not by closing alone: a child forked meanwhile may still share the open file, and
            # flock(2) frees a lock only when every copy of the descriptor is closed.
            unlock_descriptor(descriptor)
            os.close(descriptor)


def take(path: Path, token: str) -> FileLock | str:
    """Try once to take the lock; if another process has it, return the token it wrote.

    Raises:
        OSError: The file cannot be made or locked.
    """
    while True:
        descriptor = os.open(path, _OPEN, 0o600)
        try:
            if not _lock(descriptor):
                # The owner writes its token right after taking the lock. Whoever reads in
                # between sees none and looks again a millisecond later, which is before
                # anything that was sent can have failed.
                os.lseek(descriptor, _TOKEN_AT, os.SEEK_SET)
                owner = os.read(descriptor, _MAX_TOKEN).decode("utf-8", "replace")
                os.close(descriptor)
                return owner
            if _is_current(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, _TOKEN_AT, os.SEEK_SET)
                os.write(descriptor, token.encode()[:_MAX_TOKEN])
                return FileLock(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        # The lock file was unlinked after we opened it; our lock is on an orphaned inode. Retry.
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    from filelock import lock_descriptor  # here, because it takes 30 ms to import

    return lock_descriptor(descriptor, blocking=False)


def _is_current(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class ForkSafeLock:
    """A lock for short work; ``os.fork`` waits until no thread holds it.

    A fork copies locks as they are, and the thread that would free one is not copied. Locks of
    this kind are not nested, but for one that is taken first: who holds it may take another.

    Args:
        first: Whether others may be taken while it is held.
    """

    def __init__(self, *, first: bool = False) -> None:
        self.first = first
        self._lock = threading.Lock()
        _LOCKS[id(self)] = self

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_LOCKS: Final = weakref.WeakValueDictionary[int, ForkSafeLock]()
_FORKING: Final = threading.Lock()
_taken: Final[list[ForkSafeLock]] = []


def _before_fork() -> None:
    _FORKING.acquire()
    # A list of references, which no lock that another thread makes meanwhile can disturb.
    locks = [lock for each in _LOCKS.valuerefs() if (lock := each()) is not None]
    # Those before the others: who holds one must still get another, to come to its end.
    for lock in sorted(locks, key=lambda each: not each.first):
        lock.__enter__()
        _taken.append(lock)


def _after_fork() -> None:
    while _taken:
        _taken.pop().__exit__(None, None, None)
    _FORKING.release()


def _after_fork_in_child() -> None:
    _after_fork()
    # Closing these leaves the locks to the parent, and frees them when it dies.
    for descriptor in _mine:
        os.close(descriptor)
    _mine.clear()
    # The number of an open file must stay its own: its object closes it one day. So it leads
    # nowhere from now on, and what the child may still write does not reach the parent's file.
    files = [file for file in _claimed if not file.closed]
    _claimed.clear()
    if files:
        nothing = os.open(os.devnull, os.O_RDWR)
        for file in files:
            os.dup2(nothing, file.fileno(), inheritable=False)
        os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
