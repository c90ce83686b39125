"""A transport of a user's own: written with public names only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from gptimage import AsyncImageClient, ImageClient
from gptimage.sandbox import Sandbox
from gptimage.transport import (
    AsyncEventStream,
    AsyncTransport,
    EventDecoder,
    EventStream,
    HttpReply,
    HttpRequest,
    ServerEvent,
    Transport,
)


class Events:
    """The events of a body that is whole."""

    def __init__(self, reply: HttpReply) -> None:
        self.reply: HttpReply = HttpReply(status=reply.status, headers=reply.headers)
        self._body = bytes(reply.body)

    def __iter__(self) -> Iterator[ServerEvent]:
        decoder = EventDecoder()
        yield from decoder.feed(self._body)
        yield from decoder.finish()

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        for event in self:
            yield event

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class Own:
    """A transport that hands everything to a sandbox."""

    def __init__(self) -> None:
        self.sandbox = Sandbox()

    def send(self, request: HttpRequest) -> HttpReply:
        return self.sandbox.send(request)

    def stream(self, request: HttpRequest) -> EventStream:
        return Events(self.send(request))

    def close(self) -> None:
        pass


class AsyncOwn:
    """The same, awaited."""

    def __init__(self) -> None:
        self.own = Own()

    async def send(self, request: HttpRequest) -> HttpReply:
        return self.own.send(request)

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        return Events(self.own.send(request))

    async def aclose(self) -> None:
        pass


def test_a_blocking_transport_needs_no_private_name() -> None:
    """A class with three methods sends whole replies and streams."""
    own: Transport = Own()
    with ImageClient(transport=own) as client:
        drawn = client.generate("A fox", size="1024x1024", quality="low")
        *previews, end = client.stream("A fox", quality="low", partial_images=1)

    assert drawn.image.size == (1024, 1024)
    assert (len(previews), hasattr(end, "result")) == (1, True)


async def drawn_by(own: AsyncTransport) -> tuple[int, int] | None:
    """The size of an image that an async transport brought."""
    async with AsyncImageClient(transport=own) as client:
        return (await client.generate("A fox", size="1024x1024", quality="low")).image.size


def test_an_async_transport_needs_none_either() -> None:
    """The same three methods, awaited."""
    import asyncio

    assert asyncio.run(drawn_by(AsyncOwn())) == (1024, 1024)
