"""Work of several kinds for a runner's process to do."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from gptimage.errors import InvalidRequestError
from gptimage.service import Tell


class OddError(Exception):
    """An error that no other process can be handed."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.function = lambda: None


class UnreadableError(Exception):
    """An error that is packed, and cannot be made again of what was packed."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class Tasks:
    """Does what a call names.

    Args:
        folder: Where it leaves files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._go = asyncio.Event()
        self._cancelled: list[str] = []

    async def run(self, id: str, call: Any, tell: Tell) -> Any:
        """Do it."""
        if call == "pid":
            return os.getpid()
        if call == "count":
            for number in range(3):
                tell(number)
            return "counted"
        if call == "fail":
            raise InvalidRequestError("n: too many", field="n", value=11)
        if call == "odd":
            raise OddError
        if call == "unreadable":
            raise UnreadableError("odd", code=1)
        if call == "print":
            print("not a message")  # noqa: T201  # what it is about
            return "printed"
        if call == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if call == "cancelled":
            return self._cancelled
        tell("begun")
        await self._go.wait()
        (self._folder / id).write_text("done")
        return "done"

    def cancel(self, id: str) -> None:
        """Remember it."""
        self._cancelled.append(id)

    def leave(self) -> None:
        """The owner is gone: go on."""
        (self._folder / "left").write_text("left")
        self._go.set()

    async def aclose(self) -> None:
        """Leave a sign."""
        (self._folder / "closed").write_text(str(os.getpid()))


def open_tasks(folder: Path) -> Tasks:
    """See `Tasks`."""
    return Tasks(folder)


def open_nothing(folder: Path) -> Tasks:
    """Refuse."""
    raise InvalidRequestError(f"not in {folder.name}", field="folder")
