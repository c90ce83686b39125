"""What every transport over HTTP has in common: a client made at the first call, and one exchange.

Importing and making an HTTP client takes a while, so it waits for the first call; an async one
is made in a thread, and again for each event loop.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

from gptimage._internal.locks import ForkSafeLock, leave_to_parent
from gptimage._internal.threads import to_thread
from gptimage.errors import ConfigurationError, GptImageError
from gptimage.secrets import guard_logs, scrub_error
from gptimage.transport.blocking import settled
from gptimage.transport.environment import settings_of
from gptimage.transport.http import FilePart, HttpReply, HttpRequest
from gptimage.transport.redirects import Hops
from gptimage.transport.response_stream import (
    ArrivingDownload,
    ArrivingStream,
    failure,
    network_errors,
    open_stream,
    read_all,
    reply_of,
)


if TYPE_CHECKING:
    import httpx2


Exchange: TypeAlias = "tuple[httpx2.Response, HttpReply | None]"
"""An open response of the 200s and None, or a closed one and all of its body instead."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds; a host that takes no connection by then is down, and nothing was sent to it yet."""


def time_limits(seconds: float) -> httpx2.Timeout:
    """Time limits of the HTTP client: a response takes minutes, a host that is up connects soon."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))


def content(part: FilePart, opened: ExitStack) -> bytes | BinaryIO:
    """Return what a file part sends; a large one is opened, to be read as it goes."""
    return part.data if part.path is None else opened.enter_context(part.path.open("rb"))


class AwaitedTransport:
    """`AsyncTransport` over a client that `_exchange` sends with; a blocking one never waits.

    Args:
        make: Makes the client; called at the first request, and anew for each event loop.
        owned: Whether `aclose` also closes the client.
        is_async: Whether the client is an async one.
    """

    def __init__(self, make: Callable[[], Any], *, owned: bool, is_async: bool = True) -> None:
        self._client = _LazyOfLoop(make, owned=owned) if is_async else _Lazy(make, owned=owned)
        self._owned = owned

    async def _exchange(self, client: Any, request: HttpRequest, opened: ExitStack) -> Exchange:
        """Send once, and return when the head of the response is there."""
        raise NotImplementedError

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        response = await self._open(request)
        if isinstance(response, HttpReply):
            return response
        return await read_all(response, request.image_key)

    async def stream(self, request: HttpRequest) -> ArrivingStream:
        """Send and return as soon as the answer's head is there."""
        response = await self._open(request)
        if isinstance(response, HttpReply):
            return ArrivingStream(None, response)
        return await open_stream(response, request.image_key)

    async def download(self, request: HttpRequest) -> ArrivingDownload:
        """Send and return as soon as the answer's head is there."""
        response = await self._open(request)
        if isinstance(response, HttpReply):
            return ArrivingDownload(None, response)
        return ArrivingDownload(response, reply_of(response))

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        for client in self._client.taken() if self._owned else ():
            close = client.aclose if hasattr(client, "aclose") else client.close
            await settled(close())

    async def _open(self, request: HttpRequest) -> httpx2.Response | HttpReply:
        client = await self._client.get()
        hops = Hops(request)
        while True:
            try:
                with ExitStack() as opened:
                    response, refused = await self._exchange(client, hops.request, opened)
            except network_errors() as error:
                raise hops.failed(failure(error)) from error
            if refused is None:
                return response
            if not hops.follow(refused, str(response.url)):
                return hops.end


class _Lazy:
    """A client made at the first call, and again in a forked child.

    Args:
        make: Makes a client.
        owned: Whether more than one may be made: the caller's own serves one process.
    """

    def __init__(self, make: Callable[[], object], *, owned: bool) -> None:
        self._make = make
        self._owned = owned
        # A fork waits for a client that is being made: the child could neither take this lock
        # nor finish the imports of that thread.
        self._lock = ForkSafeLock(first=True)
        self._client: Any = None
        self._process = 0

    async def get(self) -> Any:
        with self._lock:
            if self._client is not None and self._process != os.getpid():
                # Its open connections are the parent's as well. Two processes that write to one
                # would read each other's responses, or half of them: paid images would be lost.
                if not self._owned:
                    raise ConfigurationError(
                        "the client given as openai= was used before this process was forked, and "
                        "its connections still belong to the parent: make it in each process, or "
                        "use api_key= instead; nothing was sent"
                    )
                leave_to_parent(self._client)
                self._client = None
            if self._client is None:
                self._client = _configured(self._make)
                self._process = os.getpid()
            return self._client

    def taken(self) -> list[Any]:
        """Return this process's client, if there is one; it is the caller's to close."""
        with self._lock:
            if self._process != os.getpid():
                return []
            client, self._client = self._client, None
            return [] if client is None else [client]


class _LazyOfLoop:
    """A client for each event loop, since its connections live in the loop of their own.

    A script that calls ``asyncio.run`` once for each request has a new loop every time.

    Args:
        make: Makes a client.
        owned: Whether more than one may be made: the caller's own client serves one loop.
    """

    def __init__(self, make: Callable[[], object], *, owned: bool) -> None:
        self._make = make
        self._owned = owned
        self._lock = ForkSafeLock(first=True)  # loops of several threads may come at once
        self._clients: dict[Any, Any] = {}
        self._served: Any = None

    async def get(self) -> Any:
        """Return the running loop's client; importing and making it leaves the loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        # A tenth of a second and more for the first: the loop has other things to do.
        return await to_thread(self._get, loop) if client is None else client

    def _get(self, loop: Any) -> Any:
        # What the HTTP client imports at its first request, in the loop; a private name of anyio,
        # so that one without it only costs that gap.
        with suppress(ImportError):
            importlib.import_module("anyio._backends._asyncio")
        with self._lock:
            for ended in [each for each in self._clients if each.is_closed()]:
                del self._clients[ended]  # its connections ended with it; nothing could close them
            if loop not in self._clients:
                if not self._owned and self._served is not None and self._served.is_closed():
                    # Its idle connections belong to a loop that is gone: the first one that is
                    # taken up again fails in the middle of a request.
                    raise ConfigurationError(
                        "the client given as openai= was used in an event loop that has ended, "
                        "and cannot serve another: make all calls in one asyncio.run(), give "
                        "each a client of its own, or use api_key= instead; nothing was sent"
                    )
                self._clients[loop] = _configured(self._make)
                self._served = None if self._owned else loop
            return self._clients[loop]

    def taken(self) -> list[Any]:
        """The clients that can still be closed from here, which are the caller's from now on."""
        import asyncio

        loop = asyncio.get_running_loop()
        with self._lock:
            found = [client for each, client in self._clients.items() if each is loop]
            self._clients.clear()  # the connections of other loops ended with them
            return found


def _configured(make: Callable[[], object]) -> object:
    guard_logs()
    sdk = sys.modules.get("openai")
    try:
        return make()
    except GptImageError:
        raise
    except Exception as error:  # whatever an HTTP library says of proxies and certificates
        scrub_error(error)
        if sdk is not None and isinstance(error, sdk.OpenAIError):
            raise ConfigurationError(str(error)) from error
        raise ConfigurationError(
            f"no connection can be made ({type(error).__name__}: {error}); nothing was sent: look "
            f"at the variables that shape connections ({settings_of()})"
        ) from error
