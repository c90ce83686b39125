"""The place where a cassette takes part in the requests of every client of this process.

A client asks at each request, not when it is made: one that a module made at its import takes
part as well. The list is the process's, not a thread's, because clients send from pools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, Protocol

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

    def send(self, request: HttpRequest, send: Callable[[HttpRequest], HttpReply]) -> HttpReply:
        """Reply to a request that is answered whole."""
        ...

    def stream(
        self, request: HttpRequest, stream: Callable[[HttpRequest], EventStream]
    ) -> EventStream:
        """Reply to a request that is answered as events."""
        ...

    async def asend(
        self, request: HttpRequest, send: Callable[[HttpRequest], Awaitable[HttpReply]]
    ) -> HttpReply:
        """`send`, awaited."""
        ...

    async def astream(
        self, request: HttpRequest, stream: Callable[[HttpRequest], Awaitable[AsyncEventStream]]
    ) -> AsyncEventStream:
        """`stream`, awaited."""
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

    def __init__(self, transport: Transport) -> None:
        self._inner = transport

    def send(self, request: HttpRequest) -> HttpReply:
        found = active()
        return self._inner.send(request) if found is None else found.send(request, self._inner.send)

    def stream(self, request: HttpRequest) -> EventStream:
        found = active()
        if found is None:
            return self._inner.stream(request)
        return found.stream(request, self._inner.stream)

    def close(self) -> None:
        self._inner.close()


class _InterceptedWithDownload(_Intercepted):
    def __init__(self, transport: Transport, download: Callable[[HttpRequest], Download]) -> None:
        super().__init__(transport)
        self.download: Callable[[HttpRequest], Download] = download


class _AsyncIntercepted:
    """`_Intercepted`, awaited."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._inner = transport

    async def send(self, request: HttpRequest) -> HttpReply:
        found = active()
        if found is None:
            return await self._inner.send(request)
        return await found.asend(request, self._inner.send)

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        found = active()
        if found is None:
            return await self._inner.stream(request)
        return await found.astream(request, self._inner.stream)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _AsyncInterceptedWithDownload(_AsyncIntercepted):
    def __init__(
        self,
        transport: AsyncTransport,
        download: Callable[[HttpRequest], Awaitable[AsyncDownload]],
    ) -> None:
        super().__init__(transport)
        self.download: Callable[[HttpRequest], Awaitable[AsyncDownload]] = download


def intercepted(transport: Transport) -> Transport:
    """Return a transport whose requests an interceptor may answer."""
    if isinstance(transport, SupportsDownload):
        return _InterceptedWithDownload(transport, transport.download)
    return _Intercepted(transport)


def aintercepted(transport: AsyncTransport) -> AsyncTransport:
    """`intercepted` for an async transport."""
    if isinstance(transport, AsyncSupportsDownload):
        return _AsyncInterceptedWithDownload(transport, transport.download)
    return _AsyncIntercepted(transport)
