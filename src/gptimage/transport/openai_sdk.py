"""Sends requests over the official openai SDK, which is imported at the first call.

Only its low-level ``post`` and ``get`` are used: it brings authentication, Azure, proxies and base
URLs. Its retries are off, because it repeats calls that may have been billed, and its
parsing is not used, because it copies every image several times.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, runtime_checkable
from urllib.parse import parse_qsl

from gptimage._internal.threads import to_thread
from gptimage.errors import ConfigurationError, GptImageError
from gptimage.secrets import guard_logs, scrub_error
from gptimage.transport.environment import settings_of
from gptimage.transport.http import FilePart, HttpReply, HttpRequest
from gptimage.transport.protocols import AsyncDownload, AsyncEventStream, Download, EventStream
from gptimage.transport.redirects import Hops
from gptimage.transport.response_stream import (
    ArrivingDownload,
    ArrivingStream,
    AsyncArrivingDownload,
    AsyncArrivingStream,
    aopen_stream,
    aread_all,
    failure,
    network_errors,
    open_stream,
    read_all,
    reply_of,
)


if TYPE_CHECKING:
    import httpx2


CONNECT_TIMEOUT: Final = 10.0
"""Seconds; a host that takes no connection by then is down, and nothing was sent to it yet."""

_RAW: Final = {"X-Stainless-Raw-Response": "stream"}
"""Asks the SDK for the response before its body is read; it sends the header itself, too."""


@runtime_checkable
class SDK(Protocol):
    """An ``openai.OpenAI`` or ``openai.AzureOpenAI`` client, configured as you like."""

    @property
    def base_url(self) -> object:
        """The address it sends to."""
        ...

    def close(self) -> None:
        """Release its connections."""
        ...


@runtime_checkable
class AsyncSDK(Protocol):
    """An ``openai.AsyncOpenAI`` or ``openai.AsyncAzureOpenAI`` client."""

    @property
    def base_url(self) -> object:
        """The address it sends to."""
        ...

    async def close(self) -> None:
        """Release its connections."""
        ...


class _Lazy:
    """An SDK client made at the first call, since importing openai takes half a second."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Any = None

    def get(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _configured(self._make)
            return self._client

    def taken(self) -> Any:
        """Return the client if there is one, which from now on is the caller's to close."""
        with self._lock:
            client, self._client = self._client, None
            return client


class _LazyOfLoop:
    """An async SDK client for each event loop, since its connections live in the loop of their own.

    A script that calls ``asyncio.run`` once for each request has a new loop every time.

    Args:
        make: Makes a client.
        owned: Whether more than one may be made: the caller's own client serves one loop.
    """

    def __init__(self, make: Callable[[], object], *, owned: bool) -> None:
        self._make = make
        self._owned = owned
        self._lock = threading.Lock()  # loops of several threads may come at once
        self._clients: dict[Any, Any] = {}
        self._served: Any = None

    async def get(self) -> Any:
        """Return the running loop's client; importing and making it leaves the loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        # Half a second for the first: the loop has other things to do.
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


class OpenAITransport:
    """`Transport` over an ``openai.OpenAI`` client.

    Args:
        make: Makes the client; called once, at the first request.
        owned: Whether `close` also closes the client.
    """

    def __init__(self, make: Callable[[], SDK], *, owned: bool) -> None:
        self._sdk = _Lazy(make)
        self._owned = owned

    def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        response = self._open(request)
        return (
            response if isinstance(response, HttpReply) else read_all(response, request.image_key)
        )

    def stream(self, request: HttpRequest) -> EventStream:
        """Send and return as soon as the answer's head is there."""
        response = self._open(request)
        if isinstance(response, HttpReply):
            return ArrivingStream(None, response)
        return open_stream(response, request.image_key)

    def download(self, request: HttpRequest) -> Download:
        """Send and return as soon as the answer's head is there."""
        response = self._open(request)
        if isinstance(response, HttpReply):
            return ArrivingDownload(None, response)
        return ArrivingDownload(response, reply_of(response))

    def close(self) -> None:
        """Release connections; harmless when done twice."""
        if self._owned and (client := self._sdk.taken()) is not None:
            client.close()

    def _open(self, request: HttpRequest) -> httpx2.Response | HttpReply:
        import httpx2
        import openai

        client = self._sdk.get()
        hops = Hops(request)
        while True:
            try:
                with ExitStack() as opened:
                    response: httpx2.Response = _call(
                        client, hops.request, httpx2.Response, opened, owned=self._owned
                    )
            except openai.APIStatusError as error:
                reply = reply_of(error.response, error.response.content)
                if not hops.follow(reply, str(error.response.url)):
                    return hops.end
            except network_errors() as error:
                raise hops.failed(failure(error)) from error
            else:
                return response


class AsyncOpenAITransport:
    """`AsyncTransport` over an ``openai.AsyncOpenAI`` client; see `OpenAITransport`."""

    def __init__(self, make: Callable[[], AsyncSDK], *, owned: bool) -> None:
        self._sdk = _LazyOfLoop(make, owned=owned)
        self._owned = owned

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        response = await self._open(request)
        return (
            response
            if isinstance(response, HttpReply)
            else await aread_all(response, request.image_key)
        )

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the answer's head is there."""
        response = await self._open(request)
        if isinstance(response, HttpReply):
            return AsyncArrivingStream(None, response)
        return await aopen_stream(response, request.image_key)

    async def download(self, request: HttpRequest) -> AsyncDownload:
        """Send and return as soon as the answer's head is there."""
        response = await self._open(request)
        if isinstance(response, HttpReply):
            return AsyncArrivingDownload(None, response)
        return AsyncArrivingDownload(response, reply_of(response))

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        for client in self._sdk.taken() if self._owned else ():
            await client.close()

    async def _open(self, request: HttpRequest) -> httpx2.Response | HttpReply:
        client = await self._sdk.get()
        import httpx2
        import openai

        hops = Hops(request)
        while True:
            try:
                with ExitStack() as opened:
                    response: httpx2.Response = await _call(
                        client, hops.request, httpx2.Response, opened, owned=self._owned
                    )
            except openai.APIStatusError as error:
                reply = reply_of(error.response, error.response.content)
                if not hops.follow(reply, str(error.response.url)):
                    return hops.end
            except network_errors() as error:
                raise hops.failed(failure(error)) from error
            else:
                return response


def _configured(make: Callable[[], object]) -> object:
    import openai

    guard_logs()
    try:
        return make()
    except GptImageError:
        raise
    except openai.OpenAIError as error:
        scrub_error(error)
        raise ConfigurationError(str(error)) from error
    except Exception as error:  # whatever an HTTP library says of proxies and certificates
        scrub_error(error)
        raise ConfigurationError(
            f"no connection can be made ({type(error).__name__}: {error}); nothing was sent: look "
            f"at the variables that shape connections ({settings_of()})"
        ) from error


def _call(
    client: Any, request: HttpRequest, cast_to: type[Any], opened: ExitStack, *, owned: bool
) -> Any:
    """Return the SDK's ``post`` or ``get``; to be awaited when the client is async."""
    options = _options(request, owned=owned)
    if request.method != "GET":
        parts = _parts(request, opened, options)
        return client.post(request.path, cast_to=cast_to, **parts)
    path, _, query = request.path.partition("?")
    options["params"] = dict(parse_qsl(query))
    return client.get(path, cast_to=cast_to, options=options)


def _options(request: HttpRequest, *, owned: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "headers": {**request.headers, **_RAW},
        "max_retries": 0,
        "security": {"bearer_auth": True},
    }
    if request.timeout is not None:
        # A client of the caller's may be built on the older httpx, which has a class of its own.
        options["timeout"] = time_limits(request.timeout) if owned else request.timeout
    return options


def time_limits(seconds: float) -> Any:
    """Time limits of the HTTP client: a response takes minutes, a host that is up connects soon."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))


def _parts(request: HttpRequest, opened: ExitStack, options: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of the SDK's ``post``; large files are opened, to be read as they go."""
    if request.files:
        options["headers"]["Content-Type"] = "multipart/form-data"
    files = [
        (part.name, (part.filename, _content(part, opened), part.content_type))
        for part in request.files
    ]
    # The HTTP client would follow every redirect, also to another host; see `Hops`.
    options["follow_redirects"] = False
    return {"body": dict(request.body), "files": files or None, "options": options}


def _content(part: FilePart, opened: ExitStack) -> bytes | BinaryIO:
    return part.data if part.path is None else opened.enter_context(part.path.open("rb"))
