"""`Gate`: somebody who must agree before a request leaves; see `ImageClient.gated`."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from attrs import frozen


class Gate(Protocol):
    """Is asked in the middle of a call, when everything else about it is settled.

    An observer is told the same and cannot break a call; a gate can, and that is its purpose:
    a request that must be noted somewhere first does not leave when that fails. With an async
    client it is called in a thread, so it may wait.
    """

    def sending(self, key: str, ceiling: Decimal | None) -> None:
        """A request is about to leave: once this returns, it may be billed.

        What this raises reaches the caller, and nothing is sent.

        Args:
            key: What is asked; equal keys are the same question, as in a cache.
            ceiling: The most it should cost in USD; None when that cannot be known.
        """
        ...

    def unsent(self) -> None:
        """What left was not billed; `sending` is asked again before the next try.

        This must not raise.
        """
        ...


@frozen
class Both:
    """Two gates: the second is asked once the first agrees.

    Attributes:
        first: Who is asked first.
        second: Who is asked then.
    """

    first: Gate
    second: Gate

    def sending(self, key: str, ceiling: Decimal | None) -> None:
        """Ask both; the first is told when the second does not agree."""
        self.first.sending(key, ceiling)
        try:
            self.second.sending(key, ceiling)
        except BaseException:
            self.first.unsent()
            raise

    def unsent(self) -> None:
        """Tell both."""
        self.second.unsent()
        self.first.unsent()


def behind(gate: Gate, before: Gate | None) -> Gate:
    """A gate, behind the one that is there already."""
    return gate if before is None else Both(before, gate)
