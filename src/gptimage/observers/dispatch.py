"""The guard between a call and its observers: what they raise is logged once, and stops here."""

from __future__ import annotations

from collections.abc import Iterable

from gptimage.observers.events import Event
from gptimage.observers.protocol import Observer


class ObserverDispatcher:
    """Tells several observers of events; none of them can break a call.

    Args:
        observers: What is called, in this order.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._broken: set[int] = set()

    def __bool__(self) -> bool:
        """Return whether there is an observer."""
        return bool(self._observers)

    def with_observer(self, observer: Observer) -> ObserverDispatcher:
        """Return a dispatcher that calls one more, after these."""
        return ObserverDispatcher((*self._observers, observer))

    def dispatch(self, event: Event) -> None:
        """Call every observer; one that fails is called for later events all the same."""
        for number, observer in enumerate(self._observers):
            try:
                observer.notify(event)
            except Exception as error:  # noqa: BLE001  # whatever it is, the call goes on
                if number not in self._broken:
                    self._broken.add(number)
                    _log(observer, event, error)


def _log(observer: Observer, event: Event, error: Exception) -> None:
    import logging

    logging.getLogger("gptimage").warning(
        "the observer %s failed at the event %r; the call goes on, and this is logged once",
        type(observer).__name__,
        event.name,
        exc_info=error,
    )
