"""The two runtimes of a client: one technique for blocking and async code.

What a call does is written once, as coroutines that wait only through a `Runtime`. The async
client awaits them. The blocking client gives them a `BlockingRuntime`, whose methods finish
before they return, and runs them with `run_blocking`. Generators that yield steps to a driver
would do the same, with results that no checker knows the types of; the cache shares requests in
flight in this way, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from gptimage._internal.coroutines import run_blocking
from gptimage._internal.threads import to_thread, to_thread_shielded
from gptimage.cache.base import Cache, FlightResult, NewReply
from gptimage.transport.blocking import AwaitedStream
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.protocols import AsyncEventStream, AsyncTransport, Transport


T = TypeVar("T")


class Runtime(Protocol):
    """The ways a client sends, sleeps and runs blocking work."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole response."""
        ...

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the head of the response is there."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...

    async def work(self, do: Callable[[], T]) -> T:
        """Do what may take a while: read files, download, decode. Cancelling leaves it behind."""
        ...

    async def finish(self, do: Callable[[], T]) -> T:
        """Do what writes a file or asks a server, quickly; it is never left half done."""
        ...

    async def share(
        self,
        cache: Cache,
        key: str,
        call: Callable[[], Coroutine[Any, Any, NewReply]],
        *,
        refresh: bool,
        sent: Callable[[], bool],
    ) -> FlightResult:
        """Take a reply from the cache, from a request like this one in flight, or by ``call``."""
        ...


class AsyncRuntime:
    """The runtime of an `AsyncImageClient`: what may block leaves the event loop.

    Args:
        transport_to: Returns the transport to a provider, by name; the client's own has none.
    """

    def __init__(self, transport_to: Callable[[str], AsyncTransport]) -> None:
        self._transport_to = transport_to

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole response."""
        return await self._transport_to(request.provider).send(request)

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the head of the response is there."""
        return await self._transport_to(request.provider).stream(request)

    async def sleep(self, seconds: float) -> None:
        """Let the event loop do something else for that long."""
        import asyncio

        await asyncio.sleep(seconds)

    async def work(self, do: Callable[[], T]) -> T:
        """Do it in a thread for what takes a while."""
        return await to_thread(do)

    async def finish(self, do: Callable[[], T]) -> T:
        """Do it in a thread for quick work; cancellation waits until it is done.

        Half a reservation would be one that nobody gives back.
        """
        return await to_thread_shielded(do)

    async def share(
        self,
        cache: Cache,
        key: str,
        call: Callable[[], Coroutine[Any, Any, NewReply]],
        *,
        refresh: bool,
        sent: Callable[[], bool],
    ) -> FlightResult:
        """Share the request among the tasks and threads that make it at the same time."""
        from gptimage.cache.single_flight import asingle_flight

        return await asingle_flight(cache, key, call, refresh=refresh, sent=sent)


class BlockingRuntime:
    """The runtime of an `ImageClient`: every method is done when it returns.

    Args:
        transport_to: Returns the transport to a provider, by name; the client's own has none.
    """

    def __init__(self, transport_to: Callable[[str], Transport]) -> None:
        self._transport_to = transport_to

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole response."""
        return self._transport_to(request.provider).send(request)

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the head of the response is there."""
        return AwaitedStream(self._transport_to(request.provider).stream(request))

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop to keep waiting

    async def work(self, do: Callable[[], T]) -> T:
        """Do it here."""
        return do()

    async def finish(self, do: Callable[[], T]) -> T:
        """Do it here."""
        return do()

    async def share(
        self,
        cache: Cache,
        key: str,
        call: Callable[[], Coroutine[Any, Any, NewReply]],
        *,
        refresh: bool,
        sent: Callable[[], bool],
    ) -> FlightResult:
        """Share the request among the threads and tasks that make it at the same time."""
        from gptimage.cache.single_flight import single_flight

        return single_flight(cache, key, lambda: run_blocking(call()), refresh=refresh, sent=sent)
