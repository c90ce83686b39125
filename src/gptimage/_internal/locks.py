"""A lock on a file that the kernel frees when its process dies, with the holder's token in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from gptimage.cached import Held


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


def take(path: Path, token: str) -> FileLock | Held:
    """Try once to take the lock; if somebody else has it, tell whose it is.

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
                held = Held(os.read(descriptor, _MAX_TOKEN).decode("utf-8", "replace"))
                os.close(descriptor)
                return held
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
