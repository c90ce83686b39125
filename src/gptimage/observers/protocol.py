"""The observer protocol: receives the events of each call."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gptimage.observers.events import Event


@runtime_checkable
class Observer(Protocol):
    """Is told what happens during every call of a client.

    It is called in the middle of the call, from whatever thread the call is in, so it
    should be quick, and safe to use from several threads. What it raises is logged once
    and does not reach the call. It may be told of events that do not exist yet: unknown
    ones are to be ignored.
    """

    def notify(self, event: Event) -> None:
        """Take note of an event; see `gptimage.observers.events`."""
        ...
