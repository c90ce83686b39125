"""`LocalRunner`: makes calls as a `Runner` does, in the process of its owner."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from gptimage.service.work import Tell, Work


class LocalRunner:
    """Makes calls in this process, for a server that waits for what was sent before it ends.

    Args:
        work: What makes the calls; it may report from threads of its own.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    async def run(self, id: str, call: object, tell: Tell) -> Any:
        """Make a call; see `Runner.run`.

        Raises:
            Exception: What `Work.run` raised.
        """
        loop = asyncio.get_running_loop()

        def report(news: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell, news)

        return await self._work.run(id, call, report)

    def cancel(self, id: str) -> None:
        """Do not send a call that was not sent."""
        self._work.cancel(id)

    def close(self) -> None:
        """Send nothing else; what was sent is finished."""
        self._work.leave()
