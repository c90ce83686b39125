"""`Work`: what a runner process does; whoever starts one names a function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias


Tell: TypeAlias = Callable[[Any], None]
"""Tells the process that asked how far a call is; what is told must be picklable."""


class Work(Protocol):
    """Calls of one kind, each known by the id that whoever asks gave it."""

    async def run(self, id: str, call: Any, tell: Tell) -> Any:
        """Make a call, to its end.

        Args:
            id: Its id.
            call: What is asked.
            tell: Hears how far it is.

        Returns:
            What came of it; it must be picklable.
        """
        ...

    def cancel(self, id: str) -> None:
        """Somebody does not want this call any more: what was not sent is not sent."""
        ...

    def leave(self) -> None:
        """The process that asked is gone: finish what was sent, and send nothing else."""
        ...

    async def aclose(self) -> None:
        """Let go of everything; no call runs any more."""
        ...
