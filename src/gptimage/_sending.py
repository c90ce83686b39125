"""Sending with patience, for both clients: again and again what cannot have been billed.

`Call.reserve` and its kin may write a ledger's file. The async client does that in a thread,
and to its end even if it is cancelled meanwhile.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from attrs import frozen

from gptimage._call import Call
from gptimage._core import Core, unknown
from gptimage._http import HttpReply, HttpRequest, ServerEvent
from gptimage._plan import Plan
from gptimage._ready import prepare
from gptimage._stream import LARGE
from gptimage._threads import in_thread, to_its_end
from gptimage.errors import OutcomeUnknownError, TransportError
from gptimage.gate import Gate
from gptimage.ports import AsyncEventStream, AsyncTransport, EventStream, Transport


T = TypeVar("T")
P = ParamSpec("P")
AnswerT = TypeVar("AnswerT", HttpReply, EventStream)
AsyncAnswerT = TypeVar("AsyncAnswerT", HttpReply, AsyncEventStream)


@frozen
class Sender:
    """Sends plans, as `Retry` allows.

    Attributes:
        core: The client's settings.
        transport: What sends a request once.
        gate: Who must agree before each try, or None.
    """

    core: Core
    transport: Transport
    gate: Gate | None = None

    def send(self, plan: Plan, call: Call) -> HttpReply:
        """Send and wait for the whole answer.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable answer arrived; it may have been billed.
        """
        return self._patiently(plan, call, self.transport.send)

    def stream(self, plan: Plan, call: Call) -> EventStream:
        """Send and return at the head of the answer.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable answer arrived; it may have been billed.
        """
        return self._patiently(plan, call, self.transport.stream)

    def _patiently(self, plan: Plan, call: Call, send: Callable[[HttpRequest], AnswerT]) -> AnswerT:
        """Send until the answer is worth reading."""
        outcome: HttpReply | TransportError
        prepare(plan, store=self.core.store is not None)
        for attempt in itertools.count(1):
            while (wait := self.core.turn(plan)) > 0:
                call.waiting("limits", wait)
                time.sleep(wait)
            if self.gate is not None:
                self.gate.sending(plan.key, plan.ceiling)
            call.sent(attempt)
            try:
                answer = send(plan.wire)
                outcome = _head(answer)
                self.core.learn(outcome)
                delay = self.core.delay(attempt, outcome)
                if delay is None:
                    return answer
            except TransportError as error:
                outcome = error
                delay = self.core.delay(attempt, error)
                if delay is None:
                    raise
            except OutcomeUnknownError as error:
                raise unknown(plan, error) from error
            call.retried(delay, outcome)
            if self.gate is not None:
                self.gate.unsent()
            time.sleep(delay)
        raise AssertionError("unreachable")


@frozen
class AsyncSender:
    """`Sender`, awaited.

    Attributes:
        core: The client's settings.
        transport: What sends a request once.
        gate: Who must agree before each try, or None.
    """

    core: Core
    transport: AsyncTransport
    gate: Gate | None = None

    async def send(self, plan: Plan, call: Call) -> HttpReply:
        """Send and wait for the whole answer; see `Sender.send`."""
        return await self._patiently(plan, call, self.transport.send)

    async def stream(self, plan: Plan, call: Call) -> AsyncEventStream:
        """Send and return at the head of the answer; see `Sender.stream`."""
        return await self._patiently(plan, call, self.transport.stream)

    async def _patiently(
        self, plan: Plan, call: Call, send: Callable[[HttpRequest], Awaitable[AsyncAnswerT]]
    ) -> AsyncAnswerT:
        """Send until the answer is worth reading."""
        import asyncio

        outcome: HttpReply | TransportError
        prepare(plan, store=self.core.store is not None)
        for attempt in itertools.count(1):
            while (wait := await self._turn(plan)) > 0:
                call.waiting("limits", wait)
                await asyncio.sleep(wait)
            if self.gate is not None:
                await in_thread(self.gate.sending, plan.key, plan.ceiling)
            call.sent(attempt)
            try:
                answer = await send(plan.wire)
                outcome = _head(answer)
                self.core.learn(outcome)
                delay = self.core.delay(attempt, outcome)
                if delay is None:
                    return answer
            except TransportError as error:
                outcome = error
                delay = self.core.delay(attempt, error)
                if delay is None:
                    raise
            except OutcomeUnknownError as error:
                raise unknown(plan, error) from error
            call.retried(delay, outcome)
            if self.gate is not None:
                await in_thread(self.gate.unsent)
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def _turn(self, plan: Plan) -> float:
        """`Core.turn`, in a thread, because a shared limiter asks a file or a server."""
        if self.core.limiter is None:
            return 0.0
        return await to_its_end(self.core.turn, plan)


async def aside(event: ServerEvent, take: Callable[[ServerEvent], T]) -> T:
    """Read an event, a large one in a thread, so that the event loop goes on."""
    return await in_thread(take, event) if len(event.data) > LARGE else take(event)


async def metered(call: Call, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do what may write the ledger, off the event loop if it does; it is never left half done."""
    if not call.blocks:
        return work(*args, **options)
    return await to_its_end(work, *args, **options)


@asynccontextmanager
async def reserved(call: Call) -> AsyncGenerator[None]:
    """`Call.reserved`, awaited."""
    try:
        await metered(call, call.reserve)
        yield
    except BaseException as error:
        await metered(call, call.refused, error)
        raise


def _head(answer: HttpReply | EventStream | AsyncEventStream) -> HttpReply:
    return answer if isinstance(answer, HttpReply) else answer.reply
