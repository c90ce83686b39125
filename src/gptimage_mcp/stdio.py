"""Serving one client over standard input and output, until it hangs up or a signal says to end.

The client kills this process soon after it closed; what draws is another one, which it does not.

Standard output is the protocol. Whatever else is written to it while the server is made, while
it answers or when the process ends goes to standard error.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import gptimage
from gptimage_mcp.config.settings import Settings


_logger: Final = logging.getLogger(__name__)

_CHUNK: Final = 65536
_ALONE: Final = (
    "gptimage-mcp waits for an MCP client on standard input; Ctrl-C ends it, and "
    "`gptimage-mcp --help` says what else it can do\n"
)
_CLOSED: Final = (
    "standard input or output is closed: an MCP client starts this server and keeps both open; "
    "`gptimage-mcp --http` needs neither"
)
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")


def serve(settings: Settings) -> None:
    """Build the server and answer until standard input ends.

    Args:
        settings: See `Settings`.

    Raises:
        GptImageError: The server cannot be built of these settings, or nobody could talk to it.
    """
    if sys.stdin is None or sys.stdout is None:
        raise gptimage.ConfigurationError(_CLOSED)
    with _off_the_wire():
        from gptimage_mcp.server import build_server

        server = build_server(settings, detached=True)
    gc.freeze()  # what is there now stays
    gc.enable()
    if sys.stdin.isatty():
        sys.stderr.write(_ALONE)
    try:
        with _ended_by_signals():
            server.run("stdio")
    except* BrokenPipeError:  # what was sent is finished elsewhere all the same
        _logger.info("the client went away before it had its answer")
    os.dup2(2, 1)  # the client is gone: nothing printed from here on may reach it


@contextmanager
def _off_the_wire() -> Generator[None]:
    """Point standard output at standard error, until the SDK does so itself."""
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(wire, 1)
        os.close(wire)


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Let the first signal to end have the effect of the client hanging up.

    A thread of the SDK sits in a read of standard input, which no signal and no cancelling ends.
    So that thread gets a pipe, and a signal closes the pipe's other end. A second signal kills.
    """
    if sys.platform == "win32":  # where a client ends a process without asking it
        yield
        return
    source, (pipe, sink), (woken, wake) = os.dup(0), os.pipe(), os.pipe()
    os.dup2(pipe, 0)
    os.close(pipe)
    os.set_blocking(sink, False)
    before = {each: signal.getsignal(each) for each in _signals()}

    def end(number: int, _: object) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        os.write(wake, b"!")

    for each in before:
        signal.signal(each, end)
    pump = threading.Thread(target=_pump, args=(source, sink, woken), daemon=True)
    pump.start()
    try:
        yield
    finally:
        os.write(wake, b"!")
        pump.join()


def _signals() -> list[signal.Signals]:
    return [signal.Signals[name] for name in _SIGNALS if hasattr(signal, name)]


def _pump(source: int, sink: int, woken: int) -> None:
    """Carry bytes on until the source ends or somebody wakes us, then close the sink."""
    waiting = b""
    with suppress(OSError):  # the reader is gone
        while True:
            readable, writable, _ = select.select(
                [woken] if waiting else [woken, source], [sink] if waiting else [], []
            )
            if woken in readable:
                break
            if writable:
                waiting = waiting[os.write(sink, waiting) :]
            elif not (waiting := os.read(source, _CHUNK)):
                break
    os.close(sink)
