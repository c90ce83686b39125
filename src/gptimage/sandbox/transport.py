"""The sandbox's door inside the process: `Transport` and `AsyncTransport` without a network."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from attrs import evolve

from gptimage._internal.threads import to_thread
from gptimage.sandbox.failures import Cut
from gptimage.sandbox.service import Answer, Sandbox, broken, with_events
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


_PIECE: Final = 65536
"""Bytes of each piece of a download."""


class SandboxTransport:
    """`Transport` to a sandbox in this process.

    Args:
        sandbox: The sandbox that answers.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        stream = self.stream(request)
        return with_events(stream.reply, stream)

    def stream(self, request: HttpRequest) -> SandboxStream:
        """Send and return as soon as the answer's head is there."""
        answer = _within(self._sandbox.respond(request), request.timeout)
        if answer.events is None:
            time.sleep(answer.pause)
            if answer.ends != "whole":
                raise broken(answer)
        return SandboxStream(answer)

    def download(self, request: HttpRequest) -> SandboxDownload:
        """Send and return as soon as the answer's head is there."""
        return SandboxDownload(self.send(request))

    def close(self) -> None:
        """Nothing to release."""


class AsyncSandboxTransport:
    """`AsyncTransport` to a sandbox in this process; pictures are drawn in worker threads.

    Args:
        sandbox: The sandbox that answers.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        stream = await self.stream(request)
        events = [event async for event in stream]
        return with_events(stream.reply, events)

    async def stream(self, request: HttpRequest) -> AsyncSandboxStream:
        """Send and return as soon as the answer's head is there."""
        import asyncio

        answer = _within(await to_thread(self._sandbox.respond, request), request.timeout)
        if answer.events is None:
            await asyncio.sleep(answer.pause)
            if answer.ends != "whole":
                raise broken(answer)
        return AsyncSandboxStream(answer)

    async def download(self, request: HttpRequest) -> AsyncSandboxDownload:
        """Send and return as soon as the answer's head is there."""
        return AsyncSandboxDownload(await self.send(request))

    async def aclose(self) -> None:
        """Nothing to release."""


def _within(answer: Answer, timeout: float | None) -> Answer:
    """Let a response that takes longer than its request waits never come."""
    if timeout is None or answer.pause <= timeout:
        return answer
    return evolve(answer, events=None, pause=timeout, ends="never")


class SandboxStream:
    """`EventStream` of a sandbox; pictures are drawn as they are read."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is no event stream."""
        return self._answer.reply

    def __iter__(self) -> Iterator[ServerEvent]:
        """Events as they are drawn; OutcomeUnknownError when a scenario breaks the connection."""
        try:
            for event in self._answer.events or ():
                time.sleep(self._answer.pause)
                yield event
        except Cut as error:
            raise broken(self._answer) from error

    def close(self) -> None:
        """Nothing to release."""


class AsyncSandboxStream:
    """`AsyncEventStream` of a sandbox; pictures are drawn in worker threads."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is no event stream."""
        return self._answer.reply

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Events as they are drawn; OutcomeUnknownError when a scenario breaks the connection."""
        import asyncio

        events = self._answer.events or iter(())
        try:
            while (event := await to_thread(next, events, None)) is not None:
                await asyncio.sleep(self._answer.pause)
                yield event
        except Cut as error:
            raise broken(self._answer) from error

    async def aclose(self) -> None:
        """Nothing to release."""


class SandboxDownload:
    """`Download` of a reply."""

    def __init__(self, reply: HttpReply) -> None:
        self.reply: HttpReply = reply

    def __iter__(self) -> Iterator[bytes]:
        """The body, in pieces as a network would bring it."""
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
        """The body, in pieces as a network would bring it."""
        for piece in SandboxDownload(self.reply):
            yield piece

    async def aclose(self) -> None:
        """Nothing to release."""
