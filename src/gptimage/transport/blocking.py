"""Blocking transports and streams as async ones, and the other way round.

What a transport does is written once, as coroutines. Over a blocking client they never suspend,
so that `BlockingTransport` runs them without an event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from inspect import isawaitable
from typing import Any, Generic, TypeVar, cast

from gptimage._internal.coroutines import iterate_blocking, run_blocking
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import AsyncReplyParts, AsyncTransport, ReplyParts


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class BlockingStream(Generic[T]):
    """`EventStream` or `Download` over an async one that never waits for an event loop."""

    def __init__(self, source: AsyncReplyParts[T]) -> None:
        self._source = source

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the body of a response that has no parts."""
        return self._source.reply

    def __iter__(self) -> Iterator[T]:
        """Yield the parts as they arrive."""
        return iterate_blocking(cast("AsyncGenerator[T]", aiter(self._source)))

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        run_blocking(self._source.aclose())


class AwaitedStream(Generic[T_co]):
    """`AsyncEventStream` or `AsyncDownload` over a blocking one."""

    def __init__(self, source: ReplyParts[T_co]) -> None:
        self._source = source

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the body of a response that has no parts."""
        return self._source.reply

    async def __aiter__(self) -> AsyncIterator[T_co]:
        """Yield the parts as they arrive."""
        for part in self._source:
            yield part

    async def aclose(self) -> None:
        """Release the connection."""
        self._source.close()


class BlockingTransport:
    """`Transport` over an async one that never waits for an event loop.

    Args:
        inner: An `AsyncTransport` that can download, over a blocking client.
    """

    def __init__(self, inner: AsyncTransport) -> None:
        self._inner: Any = inner

    def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole response."""
        reply: HttpReply = run_blocking(self._inner.send(request))
        return reply

    def stream(self, request: HttpRequest) -> BlockingStream[ServerEvent]:
        """Send and return as soon as the response's head is there."""
        return BlockingStream(run_blocking(self._inner.stream(request)))

    def download(self, request: HttpRequest) -> BlockingStream[bytes]:
        """Send and return as soon as the response's head is there."""
        return BlockingStream(run_blocking(self._inner.download(request)))

    def close(self) -> None:
        """Release connections; harmless when done twice."""
        run_blocking(self._inner.aclose())


async def settled(value: Any) -> Any:
    """Return what a client gave, awaited first where it is an async one's."""
    return await value if isawaitable(value) else value
