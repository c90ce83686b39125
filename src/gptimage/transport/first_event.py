"""Event streams whose first event is there already, so that a broken one can be sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attrs import define

from gptimage.transport.http import HttpReply, ServerEvent
from gptimage.transport.protocols import AsyncEventStream


@define
class _Begun:
    """An event stream whose first event is there already."""

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


async def await_first_event(source: AsyncEventStream) -> AsyncEventStream:
    """Read the first event of a stream: one that breaks before it is like no response at all."""
    events = aiter(source)
    try:
        return _Begun(source, await anext(events, None), events)
    except BaseException:
        await source.aclose()
        raise
