"""Sends requests over the official openai SDK, which is imported at the first call.

Only its low-level ``post`` and ``get`` are used: it brings authentication, Azure, proxies and base
URLs. Its retries are off, because it repeats calls that may have been billed, and its
parsing is not used, because it copies every picture several times.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, runtime_checkable
from urllib.parse import parse_qsl

from gptimage._internal.threads import to_thread
from gptimage.errors import ConfigurationError, GptImageError, OutcomeUnknownError, TransportError
from gptimage.secrets import guard_logs, scrub_error
from gptimage.transport.base64_body import Base64Extractor
from gptimage.transport.environment import certificate_advice, settings_of
from gptimage.transport.http import EventDecoder, FilePart, HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import AsyncDownload, AsyncEventStream, Download, EventStream
from gptimage.transport.redirects import Hops


if TYPE_CHECKING:
    import httpx2


# Answers of the SDK as they arrive: whole, as events or in pieces, and what breaks them off.

_EVENT_TYPES: Final = ("text/event-stream", "application/x-ndjson", "application/jsonl")
"""Content types of answers that come in pieces: events, or one JSON object a line."""

_FIELDS: Final = (b"event:", b"data:", b"id:", b"retry:", b":")
_LONGEST_FIELD: Final = 6
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
"""What may precede the first field: a byte order mark and empty lines."""

_NEVER_SENT: Final = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
_STAYS_WRONG: Final = {
    "CERTIFICATE_VERIFY_FAILED": (
        "the service's certificate is not trusted: behind a company's proxy, set SSL_CERT_FILE to "
        "a file with its certificate; otherwise check the clock and base_url"
    ),
    "WRONG_VERSION_NUMBER": (
        "the address speaks no TLS: base_url (or the proxy) is http://, not https://"
    ),
    "TLSV1_ALERT_UNKNOWN_CA": "the service does not trust this machine's certificate",
    "CERTIFICATE_REQUIRED": "the service wants a certificate of this machine",
    "ProxyError: 407": (
        "the proxy wants a user name and password: put them into HTTPS_PROXY "
        "(http://user:password@host:port), or name the service's host in NO_PROXY"
    ),
    "ProxyError: 403": (
        "the proxy refuses to connect to this host: allow it there, or name it in NO_PROXY"
    ),
}
"""Signs in the failure of a connection, and what to do; the text is that of OpenSSL or a proxy."""

_WRONG_ADDRESS: Final = {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError"}


class ArrivingStream:
    """`EventStream` over an open response, or over a whole reply that is no stream."""

    def __init__(
        self,
        response: httpx2.Response | None,
        reply: HttpReply,
        chunks: Iterator[bytes] | None = None,
    ) -> None:
        self._response = response
        self._chunks = chunks
        self.reply: HttpReply = reply

    def __iter__(self) -> Iterator[ServerEvent]:
        """Yield events as they arrive."""
        if self._response is None:
            return
        decoder = EventDecoder()
        try:
            for chunk in self._chunks or self._response.iter_bytes():
                yield from decoder.feed(chunk)
        except network_errors() as error:
            raise failure(error) from error
        yield from decoder.finish()

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        if self._response is not None:
            self._response.close()


class AsyncArrivingStream:
    """`AsyncEventStream` over an open response, or over a whole reply that is no stream."""

    def __init__(
        self,
        response: httpx2.Response | None,
        reply: HttpReply,
        chunks: AsyncIterator[bytes] | None = None,
    ) -> None:
        self._response = response
        self._chunks = chunks
        self.reply: HttpReply = reply

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Yield events as they arrive."""
        if self._response is None:
            return
        decoder = EventDecoder()
        try:
            async for chunk in self._chunks or self._response.aiter_bytes():
                for event in decoder.feed(chunk):
                    yield event
        except network_errors() as error:
            raise failure(error) from error
        for event in decoder.finish():
            yield event

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        if self._response is not None:
            await self._response.aclose()


class ArrivingDownload:
    """`Download` over an open response, or over a whole reply that is an error."""

    def __init__(self, response: httpx2.Response | None, reply: HttpReply) -> None:
        self._response = response
        self.reply: HttpReply = reply

    def __iter__(self) -> Iterator[bytes]:
        """Yield pieces as they arrive."""
        if self._response is None:
            return
        try:
            yield from self._response.iter_bytes()
        except network_errors() as error:
            raise failure(error) from error

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        if self._response is not None:
            self._response.close()


class AsyncArrivingDownload:
    """`AsyncDownload` over an open response, or over a whole reply that is an error."""

    def __init__(self, response: httpx2.Response | None, reply: HttpReply) -> None:
        self._response = response
        self.reply: HttpReply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield pieces as they arrive."""
        if self._response is None:
            return
        try:
            async for piece in self._response.aiter_bytes():
                yield piece
        except network_errors() as error:
            raise failure(error) from error

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        if self._response is not None:
            await self._response.aclose()


def open_stream(response: httpx2.Response, picture_key: str) -> ArrivingStream:
    """The events of an answer to a streamed request, or the whole of it where it has none.

    The content type alone does not tell: gateways send events as JSON, text or bytes. So
    another one is judged by how its body begins.
    """
    if _says_events(response):
        return ArrivingStream(response, reply_of(response))
    chunks, start = iter(response.iter_bytes()), b""
    try:
        while response.status_code == 200 and _is_undecided(start) and (more := next(chunks, b"")):
            start += more
    except network_errors() as error:
        response.close()
        raise failure(error) from error
    rest = chain([start], chunks)
    if _begins_events(start):
        return ArrivingStream(response, reply_of(response), rest)
    return ArrivingStream(None, read_all(response, picture_key, rest))


async def aopen_stream(response: httpx2.Response, picture_key: str) -> AsyncArrivingStream:
    """See `open_stream`."""
    if _says_events(response):
        return AsyncArrivingStream(response, reply_of(response))
    chunks, start = aiter(response.aiter_bytes()), b""
    try:
        while (
            response.status_code == 200
            and _is_undecided(start)
            and (more := await anext(chunks, b""))
        ):
            start += more
    except network_errors() as error:
        await response.aclose()
        raise failure(error) from error
    rest = _achain(start, chunks)
    if _begins_events(start):
        return AsyncArrivingStream(response, reply_of(response), rest)
    return AsyncArrivingStream(None, await aread_all(response, picture_key, rest))


async def _achain(start: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in chunks:
        yield chunk


def _says_events(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.lower().startswith(_EVENT_TYPES)


def _is_undecided(start: bytes) -> bool:
    return len(start.lstrip(_BLANK)) < _LONGEST_FIELD


def _begins_events(start: bytes) -> bool:
    """Whether a body begins with a field or a comment of server-sent events."""
    return start.lstrip(_BLANK).startswith(_FIELDS)


def reply_of(
    response: httpx2.Response, body: bytes = b"", pictures: tuple[bytes, ...] = ()
) -> HttpReply:
    """Build the reply of a response, with this body."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpReply(status=response.status_code, headers=headers, body=body, pictures=pictures)


def read_all(
    response: httpx2.Response, picture_key: str, chunks: Iterator[bytes] | None = None
) -> HttpReply:
    """Read a response to its end; a broken one counts if an image arrived whole."""
    splitter = Base64Extractor(picture_key)
    try:
        for chunk in chunks or response.iter_bytes():
            splitter.feed(chunk)
    except network_errors() as error:
        if not splitter.has_picture:  # else those that arrived whole are worth having
            raise failure(error) from error
    finally:
        response.close()
    return reply_of(response, *splitter.close())


async def aread_all(
    response: httpx2.Response, picture_key: str, chunks: AsyncIterator[bytes] | None = None
) -> HttpReply:
    """Do the same as `read_all`, awaited."""
    splitter = Base64Extractor(picture_key)
    try:
        async for chunk in chunks or response.aiter_bytes():
            splitter.feed(chunk)
    except network_errors() as error:
        if not splitter.has_picture:  # else those that arrived whole are worth having
            raise failure(error) from error
    finally:
        await response.aclose()
    return reply_of(response, *splitter.close())


def network_errors() -> tuple[type[Exception], ...]:
    """What an exchange can raise; an SDK client over the older httpx raises that family's."""
    import sys

    import httpx2
    import openai

    older = sys.modules.get("httpx")
    known = (openai.OpenAIError, httpx2.HTTPError)
    return (*known, older.HTTPError) if older else known


def failure(error: Exception) -> GptImageError:
    """What a failed exchange means: never sent, or sent with an unknown outcome."""
    import openai

    scrub_error(error)
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    names = {kind.__name__ for kind in type(cause).__mro__}
    told = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    if names & _NEVER_SENT and "CERTIFICATE_VERIFY_FAILED" in told:
        advice = certificate_advice()
        return TransportError(
            f"the service's certificate is not trusted, nothing was sent; {advice} ({told})",
            retryable=False,
        )
    if names & _NEVER_SENT:
        # What stays wrong is not tried again: waiting mends no certificate and no password.
        causes = told + _causes(cause)
        for sign, remedy in _STAYS_WRONG.items():
            if sign in causes:
                return TransportError(f"{remedy}; nothing was sent ({told})", retryable=False)
        return TransportError(f"the service could not be reached, nothing was sent ({told})")
    if names & _WRONG_ADDRESS:
        return TransportError(f"the address is wrong, nothing was sent ({told})", retryable=False)
    if isinstance(error, openai.OpenAIError) and not isinstance(error, openai.APIConnectionError):
        return ConfigurationError(str(error))
    return OutcomeUnknownError(f"the request was sent but its answer did not arrive ({told})")


def _causes(error: BaseException | None) -> str:
    """What is behind an exception, as text: asyncio's connections say nothing themselves."""
    found: list[str] = []
    while error is not None and len(found) < 8:
        found.append(f" {error}")
        error = error.__cause__ or error.__context__
    return "".join(found)


CONNECT_TIMEOUT: Final = 10.0
"""Seconds; a host that takes no connection by then is down, and nothing was sent to it yet."""

_RAW: Final = {"X-Stainless-Raw-Response": "stream"}
"""Asks the SDK for the response before its body is read; it sends the header itself, too."""


@runtime_checkable
class SDK(Protocol):
    """An ``openai.OpenAI`` or ``openai.AzureOpenAI`` client, configured as you like."""

    @property
    def base_url(self) -> object:
        """Where it sends."""
        ...

    def close(self) -> None:
        """Release its connections."""
        ...


@runtime_checkable
class AsyncSDK(Protocol):
    """An ``openai.AsyncOpenAI`` or ``openai.AsyncAzureOpenAI`` client."""

    @property
    def base_url(self) -> object:
        """Where it sends."""
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
        """The client if there is one, which from now on is the caller's to close."""
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
            response if isinstance(response, HttpReply) else read_all(response, request.picture_key)
        )

    def stream(self, request: HttpRequest) -> EventStream:
        """Send and return as soon as the answer's head is there."""
        response = self._open(request)
        if isinstance(response, HttpReply):
            return ArrivingStream(None, response)
        return open_stream(response, request.picture_key)

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
            else await aread_all(response, request.picture_key)
        )

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the answer's head is there."""
        response = await self._open(request)
        if isinstance(response, HttpReply):
            return AsyncArrivingStream(None, response)
        return await aopen_stream(response, request.picture_key)

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
    """The SDK's ``post`` or ``get``; to be awaited when the client is async."""
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
