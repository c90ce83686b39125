"""The sandbox inside this process: `Transport` and `AsyncTransport` without a network."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from attrs import evolve

from gptimage._internal.threads import to_thread
from gptimage.sandbox.failures import Cut
from gptimage.sandbox.service import Sandbox, SandboxReply, broken, with_events
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


_PIECE: Final = 65536
"""Bytes of each piece of a download."""


class SandboxTransport:
    """`Transport` to a sandbox in this process.

    Args:
        sandbox: The sandbox that replies.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole reply."""
        stream = self.stream(request)
        return with_events(stream.reply, stream)

    def stream(self, request: HttpRequest) -> SandboxStream:
        """Send and return as soon as the head of the reply is there."""
        found = _within(self._sandbox.respond(request), request.timeout)
        if found.events is None:
            time.sleep(found.pause)
            if found.ends != "whole":
                raise broken(found)
        return SandboxStream(found)

    def download(self, request: HttpRequest) -> SandboxDownload:
        """Send and return as soon as the head of the reply is there."""
        return SandboxDownload(self.send(request))

    def close(self) -> None:
        """Nothing to release."""


class AsyncSandboxTransport:
    """`AsyncTransport` to a sandbox in this process; images are drawn in worker threads.

    Args:
        sandbox: The sandbox that replies.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole reply."""
        stream = await self.stream(request)
        events = [event async for event in stream]
        return with_events(stream.reply, events)

    async def stream(self, request: HttpRequest) -> AsyncSandboxStream:
        """Send and return as soon as the head of the reply is there."""
        import asyncio

        found = _within(await to_thread(self._sandbox.respond, request), request.timeout)
        if found.events is None:
            await asyncio.sleep(found.pause)
            if found.ends != "whole":
                raise broken(found)
        return AsyncSandboxStream(found)

    async def download(self, request: HttpRequest) -> AsyncSandboxDownload:
        """Send and return as soon as the head of the reply is there."""
        return AsyncSandboxDownload(await self.send(request))

    async def aclose(self) -> None:
        """Nothing to release."""


def _within(found: SandboxReply, timeout: float | None) -> SandboxReply:
    """Let a response that takes longer than its request waits never come."""
    if timeout is None or found.pause <= timeout:
        return found
    return evolve(found, events=None, pause=timeout, ends="never")


class SandboxStream:
    """`EventStream` of a sandbox; images are drawn as they are read."""

    def __init__(self, found: SandboxReply) -> None:
        self._found = found

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of a reply that is no event stream."""
        return self._found.reply

    def __iter__(self) -> Iterator[ServerEvent]:
        """Events as they are drawn; OutcomeUnknownError when a scenario breaks the connection."""
        try:
            for event in self._found.events or ():
                time.sleep(self._found.pause)
                yield event
        except Cut as error:
            raise broken(self._found) from error

    def close(self) -> None:
        """Nothing to release."""


class AsyncSandboxStream:
    """`AsyncEventStream` of a sandbox; images are drawn in worker threads."""

    def __init__(self, found: SandboxReply) -> None:
        self._found = found

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of a reply that is no event stream."""
        return self._found.reply

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Events as they are drawn; OutcomeUnknownError when a scenario breaks the connection."""
        import asyncio

        events = self._found.events or iter(())
        try:
            while (event := await to_thread(next, events, None)) is not None:
                await asyncio.sleep(self._found.pause)
                yield event
        except Cut as error:
            raise broken(self._found) from error

    async def aclose(self) -> None:
        """Nothing to release."""


class SandboxDownload:
    """`Download` of a reply."""

    def __init__(self, reply: HttpReply) -> None:
        self.reply: HttpReply = reply

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body, in pieces as a network would bring it."""
        body = memoryview(self.reply.body)
        for at in range(0, len(body), _PIECE):
            yield bytes(body[at : at + _PIECE])

    def close(self) -> None:
        """Nothing to release."""


class AsyncSandboxDownload:
    """`AsyncDownload` of a reply."""

    def __init__(self, reply: HttpReply) -> None:
        self.reply: HttpReply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body, in pieces as a network would bring it."""
        for piece in SandboxDownload(self.reply):
            yield piece

    async def aclose(self) -> None:
        """Nothing to release."""
