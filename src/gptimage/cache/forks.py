"""A lock that a fork can neither leave held for ever nor catch with work half done.

Locks of this kind are never nested: whoever holds one takes no other.
"""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType
from typing import Final


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
