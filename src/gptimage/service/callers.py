"""Who sent the current request, and what belongs to whom."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Generic, TypeVar


T = TypeVar("T")

_IDLE: Final = 64

_caller: ContextVar[str | None] = ContextVar("gptimage_caller", default=None)


def current_caller() -> str | None:
    """Return the name of the caller of the current request, or None where callers have no names.

    Tasks and threads that a request starts have the caller of that request.
    """
    return _caller.get()


@contextmanager
def as_caller(name: str | None) -> Generator[None]:
    """Do what follows in the name of a caller, who has proved who they are."""
    known = _caller.set(name)
    try:
        yield
    finally:
        _caller.reset(known)


class Tenants(Generic[T]):
    """What each caller has of their own, such as a store and a budget; opened when first needed.

    Everything a server does for a request takes it from here, so that a page mounted in another
    server obeys as well: ``tenants.of(caller).store`` with `current_caller`.

    Args:
        open: Opens what a caller has.
        is_idle: Whether nothing of it is in use, so that it may be closed and opened again later.
        close: Closes it.
        idle: How many that nobody uses stay open.
    """

    def __init__(
        self,
        open: Callable[[str], T],
        *,
        is_idle: Callable[[T], bool],
        close: Callable[[T], None],
        idle: int = _IDLE,
    ) -> None:
        self._open = open
        self._is_idle = is_idle
        self._close = close
        self._idle = idle
        # Requests ask in the event loop and in threads; two must not open the same twice.
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, T] = OrderedDict()

    @property
    def opened(self) -> tuple[T, ...]:
        """All that are open."""
        with self._lock:
            return tuple(self._opened.values())

    def of(self, name: str) -> T:
        """Return what a caller has.

        Raises:
            GptImageError: It cannot be opened.
        """
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._open(name)
                self._close_idle(keep=name)
            self._opened.move_to_end(name)
            return self._opened[name]

    def _close_idle(self, keep: str) -> None:
        over = len(self._opened) - self._idle
        for name, each in [*self._opened.items()]:
            if over <= 0:
                break
            if name != keep and self._is_idle(each):
                self._close(self._opened.pop(name))
                over -= 1
