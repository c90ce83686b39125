"""The place where a cassette takes part in the requests of every client of this process.

A client asks at each request, not when it is made: one that a module made at its import takes
part as well. The list is the process's, not a thread's, because clients send from pools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, Protocol

from gptimage._internal.coroutines import run_blocking
from gptimage.transport.blocking import AwaitedStream, BlockingStream
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.protocols import (
    AsyncDownload,
    AsyncEventStream,
    AsyncSupportsDownload,
    AsyncTransport,
    Download,
    EventStream,
    SupportsDownload,
    Transport,
)


class Interceptor(Protocol):
    """Replies to a request itself, or sends it."""

    async def send(
        self, request: HttpRequest, send: Callable[[HttpRequest], Awaitable[HttpReply]]
    ) -> HttpReply:
        """Reply to a request that is answered whole; never waits by itself."""
        ...

    async def stream(
        self, request: HttpRequest, stream: Callable[[HttpRequest], Awaitable[AsyncEventStream]]
    ) -> AsyncEventStream:
        """Reply to a request that is answered as events; never waits by itself."""
        ...


_ACTIVE: Final[list[Interceptor]] = []


def active() -> Interceptor | None:
    """Return the interceptor that takes part now, the last one to begin."""
    return _ACTIVE[-1] if _ACTIVE else None


@contextmanager
def intercepting(interceptor: Interceptor) -> Generator[None]:
    """Let an interceptor take part in every request inside the block."""
    _ACTIVE.append(interceptor)
    try:
        yield
    finally:
        # Blocks of different threads may end in any order.
        del _ACTIVE[len(_ACTIVE) - 1 - _ACTIVE[::-1].index(interceptor)]


class _Intercepted:
    """A `Transport` whose requests an interceptor may answer."""

    download: Callable[[HttpRequest], Download]

    def __init__(self, transport: Transport) -> None:
        self._inner = transport
        if isinstance(transport, SupportsDownload):
            self.download = transport.download

    def send(self, request: HttpRequest) -> HttpReply:
        found = active()
        if found is None:
            return self._inner.send(request)

        async def send(request: HttpRequest) -> HttpReply:
            return self._inner.send(request)

        return run_blocking(found.send(request, send))

    def stream(self, request: HttpRequest) -> EventStream:
        found = active()
        if found is None:
            return self._inner.stream(request)

        async def stream(request: HttpRequest) -> AsyncEventStream:
            return AwaitedStream(self._inner.stream(request))

        return BlockingStream(run_blocking(found.stream(request, stream)))

    def close(self) -> None:
        self._inner.close()


class _AsyncIntercepted:
    """`_Intercepted`, awaited."""

    download: Callable[[HttpRequest], Awaitable[AsyncDownload]]

    def __init__(self, transport: AsyncTransport) -> None:
        self._inner = transport
        if isinstance(transport, AsyncSupportsDownload):
            self.download = transport.download

    async def send(self, request: HttpRequest) -> HttpReply:
        found = active()
        send = self._inner.send
        return await (send(request) if found is None else found.send(request, send))

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        found = active()
        stream = self._inner.stream
        return await (stream(request) if found is None else found.stream(request, stream))

    async def aclose(self) -> None:
        await self._inner.aclose()


def intercepted(transport: Transport) -> Transport:
    """Return a transport whose requests an interceptor may answer."""
    return _Intercepted(transport)


def aintercepted(transport: AsyncTransport) -> AsyncTransport:
    """`intercepted` for an async transport."""
    return _AsyncIntercepted(transport)
