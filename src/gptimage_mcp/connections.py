"""HTTP/1.1 connections with deadlines, for uvicorn.

uvicorn (0.54) waits without end for the first request of a connection, and for a reader that
stopped reading; each holds a connection, a file and a buffer. Here a request's head must come
within `HEAD` seconds, and a reader must take what is buffered for it (at most 64 KiB and one
piece) within `STALL` seconds, or the connection is cut. The work of a picture goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState


HEAD: Final = 20.0
"""Seconds for the head of a request."""

STALL: Final = 30.0
"""Seconds for a reader to take what is buffered."""


class Connection(H11Protocol):
    """One connection of a client."""

    head: float = HEAD
    stall: float = STALL

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._asking = _Deadline(self.loop, self.head, self._cut)
        self._reading = _Deadline(self.loop, self.stall, self._cut)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._asking.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._asking.stop()
        self._reading.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is no whole head yet does not put off the deadline."""
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is None or cycle.response_complete:
            self._asking.start()
        else:
            self._asking.stop()

    def pause_writing(self) -> None:
        """The reader is behind: give it a while."""
        super().pause_writing()
        self._reading.start()

    def resume_writing(self) -> None:
        """The reader caught up."""
        self._reading.stop()
        super().resume_writing()

    def _cut(self) -> None:
        """End it at once; closing would wait for a reader who does not read."""
        self.transport.abort()


class _Deadline:
    """Calls once when too much time passes between `start` and `stop`; starting twice is once."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, missed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._missed = missed
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._missed)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
