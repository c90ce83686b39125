"""`Work`: what a runner process does, made by a function that its starter names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias


Tell: TypeAlias = Callable[[Any], None]
"""Reports the progress of a call to the process that sent it; the report must be picklable."""


class Work(Protocol):
    """Calls of one kind, each known by the id its sender gave it."""

    async def run(self, id: str, call: Any, tell: Tell) -> Any:
        """Make a call, to its end.

        Args:
            id: Its id.
            call: The call.
            tell: Hears how far it is.

        Returns:
            What came of it; it must be picklable.
        """
        ...

    def cancel(self, id: str) -> None:
        """Somebody does not want this call any more: what was not sent is not sent."""
        ...

    def leave(self) -> None:
        """Finish what was sent, and send nothing else: the process that called is gone."""
        ...

    async def aclose(self) -> None:
        """Let go of everything; no call runs any more."""
        ...
