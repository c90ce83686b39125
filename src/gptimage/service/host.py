"""The process of a `gptimage.service.Runner`: takes calls, and finishes them without its owner."""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import queue
import signal
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from gptimage.errors import GptImageError
from gptimage.service.messages import packed, read
from gptimage.service.starting import leave_parent


if TYPE_CHECKING:
    from gptimage.service.work import Work

_FLUSHING: Final = 10.0
"""Seconds the last messages have to reach an owner that does not read."""


def main() -> int:
    """Run until the owner is gone, or has nothing to ask for a while, and no call runs."""
    with os.fdopen(os.dup(0), "rb") as source, os.fdopen(os.dup(1), "wb") as sink:
        _let_go_of_streams()
        detached = leave_parent()
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal is not ours
        out = _Out(sink)
        if detached:
            out.put(("detached",))
        opening = read(source)
        if opening is None:
            return 0
        _, name, setup, idle = opening
        try:
            work = _made(name, setup)
        except Exception as error:  # noqa: BLE001  # the caller gets it, and goes on without us
            out.put(("refused", str(error) or type(error).__name__))
        else:
            asyncio.run(_serve(work, source, out, idle))
        out.end()
    return 0


def _let_go_of_streams() -> None:
    """Nothing but messages may reach the pipes: what is printed is logged."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)


def _made(name: str, setup: Any) -> Work:
    module, _, function = name.partition(":")
    work: Work = getattr(importlib.import_module(module), function)(setup)
    return work


class _Out:
    """Messages on their way out; they do not wait for a reader that is slow or gone."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[bool]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, message: tuple[Any, ...]) -> Future[bool]:
        """Send a message; the future says whether it was written."""
        return self.put_packed(packed(message))

    def put_packed(self, message: bytes) -> Future[bool]:
        written: Future[bool] = Future()
        if self._thread is None:  # only now: no thread may run while the process forks
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._waiting.put((message, written))
        return written

    def end(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(_FLUSHING)

    def _run(self) -> None:
        gone = False
        while (each := self._waiting.get()) is not None:
            message, written = each
            try:
                if not gone:
                    self._sink.write(message)
                    self._sink.flush()
            except (OSError, ValueError):  # the owner is gone, and needs to hear no more
                gone = True
            written.set_result(not gone)


async def _serve(work: Work, source: BinaryIO, out: _Out, idle: float | None) -> None:
    """Take calls until the owner is gone, or silent for so long, and none runs."""
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def listen() -> None:
        with suppress(Exception):  # a message cut short is the end of its sender
            while (message := read(source)) is not None:
                loop.call_soon_threadsafe(inbox.put_nowait, message)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(inbox.put_nowait, ("gone",))

    threading.Thread(target=listen, daemon=True).start()
    if sys.platform != "win32":  # where nobody asks a process to end
        # A machine that shuts down: as if the owner were gone.
        loop.add_signal_handler(signal.SIGTERM, inbox.put_nowait, ("gone",))
    tasks: set[asyncio.Task[None]] = set()
    cancelled: set[str] = set()
    leaving = asyncio.Event()
    owned = True
    while owned or tasks:
        # Nobody tells us that time has passed while there is nothing to do.
        patience = idle if owned and not tasks else None
        try:
            kind, *rest = await asyncio.wait_for(inbox.get(), patience)
        except TimeoutError:
            break  # a call that arrives now is not taken, so its owner starts another process
        if kind == "run":
            id, call = rest
            task = loop.create_task(_run(work, id, call, out, cancelled, leaving))
            tasks.add(task)
            task.add_done_callback(lambda done: inbox.put_nowait(("done", done)))
        elif kind == "done":
            tasks.discard(rest[0])
        elif kind == "cancel":
            cancelled.add(rest[0])
            work.cancel(rest[0])
        elif kind == "gone" and owned:
            owned = False
            leaving.set()
            _fall_silent()
            work.leave()
    await work.aclose()


async def _run(
    work: Work, id: str, call: Any, out: _Out, cancelled: set[str], leaving: asyncio.Event
) -> None:
    # Only once the owner can know it: killed between sending a request and that message, this
    # process would have its owner begin the call again, and pay for it twice.
    written = await asyncio.wrap_future(out.put(("taken", id)))
    if leaving.is_set() or not written:
        return  # it is gone: what was not sent by then never is
    if id in cancelled:  # before it began, when there was nothing to cancel yet
        asyncio.get_running_loop().call_soon(work.cancel, id)

    def tell(progress: Any) -> None:
        out.put(("progress", id, progress))

    try:
        ended = await work.run(id, call, tell)
        message = await asyncio.to_thread(packed, ("ended", id, ended))
    except Exception as error:  # noqa: BLE001  # it belongs to whoever asked
        try:
            message = packed(("failed", id, error))
            # One that is packed is not always one that can be read: the owner would hear nothing
            # more, and wait for every call for ever.
            read(io.BytesIO(message))
        except Exception:  # noqa: BLE001  # of somebody else's class
            failure = GptImageError(f"{type(error).__name__}: {error}")
            message = packed(("failed", id, failure))
    out.put_packed(message)


def _fall_silent() -> None:
    """Nobody reads what is logged any more; a full pipe would have us wait for ever."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
