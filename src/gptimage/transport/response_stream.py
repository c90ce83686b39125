"""Responses as they arrive: whole, as events or in pieces, and what breaks them off."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from gptimage.errors import ConfigurationError, GptImageError, OutcomeUnknownError, TransportError
from gptimage.secrets import scrub_error
from gptimage.transport.base64_body import Base64Extractor
from gptimage.transport.content_coding import pieces
from gptimage.transport.environment import certificate_advice, reach_advice
from gptimage.transport.http import EventDecoder, ExchangeError, HttpReply, ServerEvent


if TYPE_CHECKING:
    import httpx2


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

_WRONG_ADDRESS: Final = {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError", "UnicodeError"}


class _Arriving:
    """An open response, or a whole reply that has no parts.

    Args:
        response: The response; None for a whole reply.
        reply: Its status and headers, or the whole reply.
        chunks: Its body, where a part of that was read already.
    """

    def __init__(
        self,
        response: httpx2.Response | None,
        reply: HttpReply,
        chunks: AsyncIterator[bytes] | None = None,
    ) -> None:
        self._response = response
        self._chunks = chunks
        self.reply: HttpReply = reply

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        if self._response is not None:
            await _close(self._response)

    async def _pieces(self) -> AsyncIterator[bytes]:
        if self._response is None:
            return
        try:
            async for piece in self._chunks or pieces(self._response):
                yield piece
        except network_errors() as error:
            raise failure(error) from error


class ArrivingStream(_Arriving):
    """`AsyncEventStream` over an open response, or over a whole reply that is no stream."""

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Yield events as they arrive."""
        decoder = EventDecoder()
        async for piece in self._pieces():
            for event in decoder.feed(piece):
                yield event
        for event in decoder.finish():
            yield event


class ArrivingDownload(_Arriving):
    """`AsyncDownload` over an open response, or over a whole reply that is an error."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield pieces as they arrive."""
        return self._pieces()


async def open_stream(response: httpx2.Response, image_key: str) -> ArrivingStream:
    """Return the events of an answer to a streamed request, or the whole of it where it has none.

    The content type alone does not tell: gateways send events as JSON, text or bytes. So
    another one is judged by how its body begins.
    """
    if _says_events(response):
        return ArrivingStream(response, reply_of(response))
    chunks, start = pieces(response), b""
    try:
        while response.is_success and _is_undecided(start) and (more := await anext(chunks, b"")):
            start += more
    except network_errors() as error:
        await _close(response)
        raise failure(error) from error
    rest = _chain(start, chunks)
    if _begins_events(start):
        return ArrivingStream(response, reply_of(response), rest)
    return ArrivingStream(None, await read_all(response, image_key, rest))


async def _chain(start: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in chunks:
        yield chunk


async def _close(response: httpx2.Response) -> None:
    if hasattr(response.stream, "__aiter__"):
        await response.aclose()
    else:  # of a blocking client
        response.close()


def _says_events(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.lower().startswith(_EVENT_TYPES)


def _is_undecided(start: bytes) -> bool:
    return len(start.lstrip(_BLANK)) < _LONGEST_FIELD


def _begins_events(start: bytes) -> bool:
    """Return whether a body begins with a field or a comment of server-sent events."""
    return start.lstrip(_BLANK).startswith(_FIELDS)


def reply_of(
    response: httpx2.Response, body: bytes = b"", images: tuple[bytes, ...] = ()
) -> HttpReply:
    """Build the reply of a response, with this body."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpReply(status=response.status_code, headers=headers, body=body, images=images)


async def read_all(
    response: httpx2.Response, image_key: str, chunks: AsyncIterator[bytes] | None = None
) -> HttpReply:
    """Read a response to its end; a broken one counts if an image arrived whole."""
    splitter = Base64Extractor(image_key, interleaved=hasattr(response.stream, "__aiter__"))
    try:
        async for chunk in chunks or pieces(response):
            splitter.feed(chunk)
    except network_errors() as error:
        if not splitter.has_image:  # else those that arrived whole are worth having
            raise failure(error) from error
    finally:
        await _close(response)
    return reply_of(response, *splitter.close())


async def read_refused(response: httpx2.Response) -> HttpReply:
    """Read a response that is no success to its end."""
    try:
        return reply_of(response, b"".join([piece async for piece in pieces(response)]))
    finally:
        await _close(response)


def network_errors() -> tuple[type[Exception], ...]:
    """What an exchange can raise; an SDK client over the older httpx raises that family's."""
    import httpx2

    sdk, older = sys.modules.get("openai"), sys.modules.get("httpx")
    found: list[type[Exception]] = [httpx2.HTTPError, httpx2.InvalidURL, ExchangeError]
    found += [UnicodeError]  # of a host's name that cannot be written in a request
    found += [sdk.OpenAIError] if sdk else []
    found += [older.HTTPError] if older else []
    return tuple(found)


def _is_wrapped(error: Exception) -> bool:
    """Return whether it is the cause that says what happened."""
    sdk = sys.modules.get("openai")
    return isinstance(error, ExchangeError) or (
        sdk is not None and isinstance(error, sdk.APIConnectionError)
    )


def failure(error: Exception) -> GptImageError:
    """Return what a failed exchange means: never sent, or sent with an unknown outcome."""
    scrub_error(error)
    cause = error.__cause__ if _is_wrapped(error) else error
    names = {kind.__name__ for kind in type(cause).__mro__}
    detail = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    if names & _NEVER_SENT and "CERTIFICATE_VERIFY_FAILED" in detail:
        advice = certificate_advice()
        return TransportError(
            f"the service's certificate is not trusted, nothing was sent; {advice} ({detail})",
            retryable=False,
        )
    if names & _NEVER_SENT:
        # What stays wrong is not tried again: waiting mends no certificate and no password.
        causes = detail + _causes(cause)
        for sign, remedy in _STAYS_WRONG.items():
            if sign in causes:
                return TransportError(f"{remedy}; nothing was sent ({detail})", retryable=False)
        return TransportError(
            f"the service could not be reached, nothing was sent; {reach_advice()} ({detail})"
        )
    if names & _WRONG_ADDRESS:
        return TransportError(f"the address is wrong, nothing was sent ({detail})", retryable=False)
    sdk = sys.modules.get("openai")
    if sdk is not None and isinstance(error, sdk.OpenAIError) and not _is_wrapped(error):
        return ConfigurationError(str(error))
    return OutcomeUnknownError(f"the request was sent but its response did not arrive ({detail})")


def _causes(error: BaseException | None) -> str:
    """Return what is behind an exception, as text: asyncio's connections say nothing themselves."""
    found: list[str] = []
    while error is not None and len(found) < 8:
        found.append(f" {error}")
        error = error.__cause__ or error.__context__
    return "".join(found)
