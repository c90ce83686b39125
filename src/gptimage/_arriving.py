"""Answers of the SDK as they arrive: whole, as events or in pieces, and what breaks them off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from gptimage._environment import certificate_advice
from gptimage._http import HttpReply, ServerEvent
from gptimage._reply import Splitter
from gptimage._sse import EventDecoder
from gptimage.errors import ConfigurationError, GptImageError, OutcomeUnknownError, TransportError
from gptimage.secrets import scrub_error


if TYPE_CHECKING:
    import httpx2


_NEVER_SENT: Final = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
_WRONG_ADDRESS: Final = {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError"}


class ArrivingStream:
    """`EventStream` over an open response, or over a whole reply that is no stream."""

    def __init__(self, response: httpx2.Response | None, reply: HttpReply) -> None:
        self._response = response
        self.reply: HttpReply = reply

    def __iter__(self) -> Iterator[ServerEvent]:
        if self._response is None:
            return
        decoder = EventDecoder()
        try:
            for chunk in self._response.iter_bytes():
                yield from decoder.feed(chunk)
        except network_errors() as error:
            raise failure(error) from error
        yield from decoder.finish()

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


class AsyncArrivingStream:
    """`AsyncEventStream` over an open response, or over a whole reply that is no stream."""

    def __init__(self, response: httpx2.Response | None, reply: HttpReply) -> None:
        self._response = response
        self.reply: HttpReply = reply

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        if self._response is None:
            return
        decoder = EventDecoder()
        try:
            async for chunk in self._response.aiter_bytes():
                for event in decoder.feed(chunk):
                    yield event
        except network_errors() as error:
            raise failure(error) from error
        for event in decoder.finish():
            yield event

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()


class ArrivingDownload:
    """`Download` over an open response, or over a whole reply that is an error."""

    def __init__(self, response: httpx2.Response | None, reply: HttpReply) -> None:
        self._response = response
        self.reply: HttpReply = reply

    def __iter__(self) -> Iterator[bytes]:
        if self._response is None:
            return
        try:
            yield from self._response.iter_bytes()
        except network_errors() as error:
            raise failure(error) from error

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


class AsyncArrivingDownload:
    """`AsyncDownload` over an open response, or over a whole reply that is an error."""

    def __init__(self, response: httpx2.Response | None, reply: HttpReply) -> None:
        self._response = response
        self.reply: HttpReply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._response is None:
            return
        try:
            async for piece in self._response.aiter_bytes():
                yield piece
        except network_errors() as error:
            raise failure(error) from error

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()


def is_event_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.lower().startswith("text/event-stream")


def reply_of(
    response: httpx2.Response, body: bytes = b"", pictures: tuple[bytes, ...] = ()
) -> HttpReply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpReply(status=response.status_code, headers=headers, body=body, pictures=pictures)


def read_all(response: httpx2.Response, picture_key: str) -> HttpReply:
    splitter = Splitter(picture_key)
    try:
        for chunk in response.iter_bytes():
            splitter.feed(chunk)
    except network_errors() as error:
        if not splitter.has_picture:  # else those that arrived whole are worth having
            raise failure(error) from error
    finally:
        response.close()
    return reply_of(response, *splitter.close())


async def aread_all(response: httpx2.Response, picture_key: str) -> HttpReply:
    splitter = Splitter(picture_key)
    try:
        async for chunk in response.aiter_bytes():
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
        return TransportError(f"the service could not be reached, nothing was sent ({told})")
    if names & _WRONG_ADDRESS:
        return TransportError(f"the address is wrong, nothing was sent ({told})", retryable=False)
    if isinstance(error, openai.OpenAIError) and not isinstance(error, openai.APIConnectionError):
        return ConfigurationError(str(error))
    return OutcomeUnknownError(f"the request was sent but its answer did not arrive ({told})")
