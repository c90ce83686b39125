"""What an outsider needs to write an observer or a limiter is public."""

from __future__ import annotations

import gptimage
from gptimage.limits import Limiter
from gptimage.observers import Event, Finished, Observer, Planned
from gptimage.transport.http import HttpReply


class Names:
    """An observer that notes the kinds of events."""

    def __init__(self) -> None:
        self.kinds: list[type[Event]] = []

    def notify(self, event: Event) -> None:
        """Note it."""
        self.kinds.append(type(event))


class Counting:
    """A limiter that allows everything and counts."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def acquire(self, n_images: int, tokens: int | None) -> float:
        """Allow it."""
        del tokens
        self.calls.append(n_images)
        return 0.0

    def learn(self, reply: HttpReply) -> None:
        """Count it."""
        self.calls.append(reply.status)

    def close(self) -> None:
        """Count it."""
        self.calls.append("closed")


def test_an_observer_and_a_limiter_of_your_own() -> None:
    """Both work in a client, written with public names alone."""
    observer, limiter = Names(), Counting()
    with gptimage.ImageClient.sandbox(observers=[observer], limits=limiter) as client:
        client.generate("A red fox", size="1024x1024", quality="low")

    assert isinstance(observer, Observer)
    assert isinstance(limiter, Limiter)
    assert (observer.kinds[0], observer.kinds[-1]) == (Planned, Finished)
    assert limiter.calls[:2] == [1, 200]
