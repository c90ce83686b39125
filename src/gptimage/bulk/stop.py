"""`Stop`: ends a run of many early, from any thread or signal handler, and loses nothing."""

from __future__ import annotations


class Stop:
    """A way to end a run early: nothing new is sent, and what was sent still comes.

    Pass one to ``generate_many(stop=...)`` and call `set` when the run should end. The loop goes
    on until every request that was sent has its item. One that waits for a limit is not sent.
    """

    def __init__(self) -> None:
        self._set = False
        # Plain attributes and sets, not locks: a signal handler may come in the middle of `add`.
        self._sent: set[int] = set()

    def set(self) -> None:
        """Send nothing new from now on."""
        self._set = True

    def is_set(self) -> bool:
        """Tell whether the run is to end."""
        return self._set

    @property
    def in_flight(self) -> int:
        """The number of requests that were sent and have no response yet; these may be billed."""
        return len(self._sent)

    def add(self, request: object) -> None:
        """Note that a request is sent; the run does this."""
        self._sent.add(id(request))

    def discard(self, request: object) -> None:
        """Note that it has a response, or was not billed; the run does this."""
        self._sent.discard(id(request))
