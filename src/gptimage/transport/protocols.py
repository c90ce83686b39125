"""The Protocols the core depends on, with their contracts.

Implementations need not inherit from them. One contract suite per Protocol in
``tests/contracts`` runs over every implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final, Protocol, TypeVar, runtime_checkable

from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


T_co = TypeVar("T_co", covariant=True)

SANDBOX_URL: Final = "https://sandbox.invalid/v1"
"""The address of the sandbox inside the process; the name cannot exist (RFC 2606)."""


class ReplyParts(Protocol[T_co]):
    """A reply that arrives in parts; iterate it once, then close it."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of a reply that has no parts."""
        ...

    def __iter__(self) -> Iterator[T_co]:
        """Parts as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


class AsyncReplyParts(Protocol[T_co]):
    """`ReplyParts`, awaited."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of a reply that has no parts."""
        ...

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Parts as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


class EventStream(ReplyParts[ServerEvent], Protocol):
    """An answer that arrives as server-sent events.

    When the answer is not an event stream (an error, or a plain JSON answer), ``reply.body`` is
    whole and iterating yields nothing.
    """


class AsyncEventStream(AsyncReplyParts[ServerEvent], Protocol):
    """`EventStream`, awaited."""


class Download(ReplyParts[bytes], Protocol):
    """A body that arrives in pieces; that of an error is whole in ``reply``."""


class AsyncDownload(AsyncReplyParts[bytes], Protocol):
    """`Download`, awaited."""


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
