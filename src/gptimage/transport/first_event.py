"""Event streams whose first event is there already, so that a broken one can be sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from attrs import define

from gptimage.transport.http import HttpReply, ServerEvent
from gptimage.transport.protocols import AsyncEventStream, EventStream


@define
class _Begun:
    """An event stream whose first event is there already."""

    source: EventStream
    first: ServerEvent | None
    rest: Iterator[ServerEvent]

    @property
    def reply(self) -> HttpReply:
        return self.source.reply

    def __iter__(self) -> Iterator[ServerEvent]:
        if self.first is not None:
            yield self.first
        yield from self.rest

    def close(self) -> None:
        self.source.close()


@define
class _AsyncBegun:
    """`_Begun`, awaited."""

    source: AsyncEventStream
    first: ServerEvent | None
    rest: AsyncIterator[ServerEvent]

    @property
    def reply(self) -> HttpReply:
        return self.source.reply

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        if self.first is not None:
            yield self.first
        async for event in self.rest:
            yield event

    async def aclose(self) -> None:
        await self.source.aclose()


def wait_for_first_event(source: EventStream) -> EventStream:
    """Read the first event of a stream: one that breaks before it is like no answer at all."""
    events = iter(source)
    try:
        return _Begun(source, next(events, None), events)
    except BaseException:
        source.close()
        raise


async def await_first_event(source: AsyncEventStream) -> AsyncEventStream:
    """Do the same as `wait_for_first_event`, awaited."""
    events = aiter(source)
    try:
        return _AsyncBegun(source, await anext(events, None), events)
    except BaseException:
        await source.aclose()
        raise
