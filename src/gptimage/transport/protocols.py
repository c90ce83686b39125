"""The Protocols the core depends on, with their contracts.

Implementations need not inherit from them. One contract suite per Protocol in
``tests/contracts`` runs over every implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final, Protocol, runtime_checkable

from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


SANDBOX_URL: Final = "https://sandbox.invalid/v1"
"""The address of the sandbox inside the process; the name cannot exist (RFC 2606)."""


class EventStream(Protocol):
    """An answer that arrives as server-sent events; iterate it once, then close it.

    ``reply`` has the status and headers. When the answer is not an event stream (an
    error, or a plain JSON answer), ``reply.body`` is whole and iterating yields nothing.
    """

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is no event stream."""
        ...

    def __iter__(self) -> Iterator[ServerEvent]:
        """Events as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


class AsyncEventStream(Protocol):
    """`EventStream`, awaited."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is no event stream."""
        ...

    def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Events as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


@runtime_checkable
class Transport(Protocol):
    """Sends one request once, from any thread. It never retries.

    Every HTTP status is a reply, not an exception. TransportError means nothing
    reached the service; OutcomeUnknownError means something may have.
    """

    def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        ...

    def stream(self, request: HttpRequest) -> EventStream:
        """Send and return as soon as the answer's head is there."""
        ...

    def close(self) -> None:
        """Release connections; harmless when done twice."""
        ...


@runtime_checkable
class AsyncTransport(Protocol):
    """`Transport`, awaited."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        ...

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the answer's head is there."""
        ...

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        ...


class Download(Protocol):
    """A body that arrives in pieces; iterate it once, then close it."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is an error."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Pieces as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


class AsyncDownload(Protocol):
    """`Download`, awaited."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is an error."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


@runtime_checkable
class SupportsDownload(Protocol):
    """A `Transport` that can also hand over a body while it arrives; batches need one."""

    def download(self, request: HttpRequest) -> Download:
        """Send and return as soon as the answer's head is there."""
        ...


@runtime_checkable
class AsyncSupportsDownload(Protocol):
    """`SupportsDownload`, awaited."""

    async def download(self, request: HttpRequest) -> AsyncDownload:
        """Send and return as soon as the answer's head is there."""
        ...
