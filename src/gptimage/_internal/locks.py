"""A lock on a file that the kernel frees when its process dies, with the holder's token in it."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final


# An exclusive claim on an open file, which the kernel frees when the process ends.


def claim(handle: int) -> None:
    """Claim it at once, without waiting.

    Args:
        handle: The descriptor of a file; the claim lasts until it is closed.

    Raises:
        OSError: Somebody else has it.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_OPEN: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MAX_TOKEN: Final = 256
_mine: Final[set[int]] = set()


class FileLock:
    """A lock this process holds; made by `take`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._process = os.getpid()

    def release(self) -> None:
        """Let go; harmless when done twice, or in a process this one was copied to."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0 or self._process != os.getpid():
            return
        _mine.discard(descriptor)
        try:
            os.ftruncate(descriptor, 0)
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # Windows keeps a file that others have open; an empty one does no harm
        finally:
            _unlock(descriptor)
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
                # The holder writes its token right after taking the lock. A glance in
                # between sees none and looks again a millisecond later, which is
                # before anything that was sent can have failed.
                holder = os.read(descriptor, _MAX_TOKEN).decode("utf-8", "replace")
                os.close(descriptor)
                return holder
            if _is_current(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, token.encode()[:_MAX_TOKEN])
                _mine.add(descriptor)
                return FileLock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        # Released and removed between opening and locking: what we hold is nobody's door.
        os.close(descriptor)


def _is_current(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    _FAR: Final = 1 << 30  # a byte nobody reads, because locked ones cannot be read

    def _lock(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _forget_mine() -> None:
    """A copied process shares its parent's locks; closing them here leaves them to the parent."""
    for descriptor in _mine:
        os.close(descriptor)
    _mine.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_mine)


# A lock that a fork can neither leave held for ever nor catch with work half done.
#
# Locks of this kind are never nested: whoever holds one takes no other.


class ForkSafeLock:
    """A lock for short work; ``os.fork`` waits until nobody holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


_LOCKS: Final = weakref.WeakSet[ForkSafeLock]()
_FORKING: Final = threading.Lock()
_taken: Final[list[ForkSafeLock]] = []


def _before_fork() -> None:
    _FORKING.acquire()
    for lock in list(_LOCKS):
        lock.__enter__()
        _taken.append(lock)


def _after_fork() -> None:
    while _taken:
        _taken.pop().__exit__(None, None, None)
    _FORKING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


# A lock between processes of one machine, held while a block runs; the kernel frees it.


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock on a small file; waits for whoever holds it, thread or process.

    Args:
        path: The lock file; it is made, and never removed, because a lock on a file that
            was removed would no longer be seen by others.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        _acquire(handle)
        yield
    finally:
        os.close(handle)


if sys.platform == "win32":

    def _acquire(handle: int) -> None:
        import msvcrt
        import time

        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                time.sleep(0.01)

else:

    def _acquire(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
