"""`Runner`: makes calls in a process of its own, which finishes what was sent when its owner dies.

The process is started with the first call. Each call is taken by it before it begins, so that a
process that was just leaving is known not to have begun, and another one is started.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from gptimage._internal.text import reason
from gptimage.errors import GptImageError
from gptimage.service.messages import packed, read
from gptimage.service.starting import start


if TYPE_CHECKING:
    from gptimage.service.work import Tell

MODULE: Final = "gptimage.service"
"""What is run in the process."""

IDLE: Final = 30.0
"""Seconds a process without calls waits for the next one, as a start costs time."""

_TRIES: Final = 3


class RunnerError(GptImageError):
    """The process cannot be started, or refused; nothing was begun."""


class RunnerLostError(GptImageError):
    """The process ended in the middle of a call; what came of the call is not known here."""


@define(eq=False)
class _Call:
    """A call that was handed over.

    Attributes:
        end: What comes of it.
        tell: Hears how far it is.
        taken: Whether the process has taken it.
    """

    end: asyncio.Future[Any]
    tell: Tell
    taken: bool = False


class Runner:
    """Makes calls in another process. Use it in one event loop.

    The process never outlives its calls once this one is gone: it finishes what was sent, sends
    nothing else, and ends. While this one lives, it ends after a while without calls.

    Args:
        work: The function that makes the `Work` in the process, as ``module:name``.
        setup: What the function is given; it must be picklable.
        idle: Seconds without calls after which the process ends; None waits for its owner.
    """

    def __init__(self, work: str, setup: object, *, idle: float | None = IDLE) -> None:
        self._opening = ("open", work, setup, idle)
        self._process: _Process | None = None
        self._starting = asyncio.Lock()

    async def run(self, id: str, call: object, tell: Tell) -> Any:
        """Make a call there.

        Args:
            id: An id that no other call has.
            call: The call; it must be picklable.
            tell: Hears, in this loop, how far it is.

        Returns:
            What came of it.

        Raises:
            RunnerError: It was not begun.
            RunnerLostError: It was begun, and its process was killed.
            Exception: What `Work.run` raised.
        """
        message = await asyncio.to_thread(packed, ("run", id, call))
        for _ in range(_TRIES):
            process = await self._running()
            try:
                return await process.run(id, message, tell)
            except _NotTakenError:
                continue  # it was leaving, so nothing of the call was begun
        raise RunnerError("the process that should draw ends again and again as it starts")

    def cancel(self, id: str) -> None:
        """Ask the process not to send a call that it has not sent."""
        if self._process is not None and self._process.alive:
            self._process.send_soon(packed(("cancel", id)))

    def close(self) -> None:
        """Leave the process alone with what it has sent; nothing is waited for."""
        if self._process is not None:
            self._process.hang_up()
            self._process = None

    async def _running(self) -> _Process:
        async with self._starting:
            if self._process is None or not self._process.alive:
                opening = await asyncio.to_thread(packed, self._opening)
                try:
                    popen = await asyncio.to_thread(start, MODULE)
                except OSError as error:
                    raise RunnerError(f"no process can be started: {reason(error)}") from error
                self._process = _Process(popen, asyncio.get_running_loop())
                await self._process.send(opening)
            return self._process


class _NotTakenError(Exception):
    """The process is gone, and had not taken the call."""


class _Process:
    """One process, and the calls it was handed.

    Attributes:
        alive: Whether it can be handed more.
    """

    def __init__(self, popen: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.alive: bool = True
        self._calls: dict[str, _Call] = {}
        self._popen = popen
        self._loop = loop
        self._refusal: str | None = None
        self._writing = threading.Lock()
        for target in (self._listen, self._repeat):
            threading.Thread(target=target, daemon=True).start()

    async def run(self, id: str, message: bytes, tell: Tell) -> Any:
        call = self._calls[id] = _Call(self._loop.create_future(), tell)
        try:
            await self.send(message)
            return await call.end
        finally:
            self._calls.pop(id, None)

    async def send(self, message: bytes) -> None:
        await asyncio.to_thread(self._write, message)

    def send_soon(self, message: bytes) -> None:
        threading.Thread(target=self._write, args=(message,), daemon=True).start()

    def hang_up(self) -> None:
        self.alive = False
        assert self._popen.stdin  # noqa: S101  # a pipe, see `start`
        with suppress(OSError):  # it is gone already
            self._popen.stdin.close()

    def _write(self, message: bytes) -> None:
        assert self._popen.stdin  # noqa: S101  # a pipe, see `start`
        with self._writing, suppress(OSError, ValueError):  # that it is gone `_listen` sees
            self._popen.stdin.write(message)
            self._popen.stdin.flush()

    def _listen(self) -> None:
        """Hand on what the process says, until it is gone; in a thread."""
        assert self._popen.stdout  # noqa: S101  # a pipe, see `start`
        with suppress(OSError, ValueError), self._popen.stdout:
            while (message := read(self._popen.stdout)) is not None:
                if message[0] == "detached":
                    self._popen.wait()  # what was started has ended, and left the work to another
                    continue
                self._in_loop(self._hear, message)
        self._in_loop(self._gone)
        self._popen.wait()

    def _repeat(self) -> None:
        """Log what the process logs; in a thread.

        It does not get our standard error itself: a client that waits for its end would wait for
        the process, too.
        """
        assert self._popen.stderr  # noqa: S101  # a pipe, see `start`
        with suppress(OSError, ValueError), self._popen.stderr:
            for line in self._popen.stderr:
                os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line)

    def _in_loop(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *args)

    def _hear(self, message: tuple[Any, ...]) -> None:
        kind, *rest = message
        if kind == "refused":
            self._refusal = rest[0]
            return
        call = self._calls.get(rest[0])
        if call is None or call.end.done():
            return
        if kind == "taken":
            call.taken = True
        elif kind == "progress":
            call.tell(rest[1])
        elif kind == "ended":
            call.end.set_result(rest[1])
        else:
            call.end.set_exception(rest[1])

    def _gone(self) -> None:
        self.hang_up()
        for call in self._calls.values():
            if not call.end.done():
                call.end.set_exception(self._reason(call))

    def _reason(self, call: _Call) -> Exception:
        if call.taken:
            return RunnerLostError("the process that drew it was killed")
        return RunnerError(self._refusal) if self._refusal else _NotTakenError()
