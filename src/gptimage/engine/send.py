"""Sending with patience, for both clients: again and again what cannot have been billed.

`CallTracker.reserve` and its kin may write a ledger's file. The async client does that in a thread,
and to its end even if it is cancelled meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import ParamSpec, Protocol, TypeAlias, TypeVar

from attrs import define, frozen

from gptimage._internal.threads import to_thread, to_thread_shielded
from gptimage.engine.accounting import CallTracker
from gptimage.engine.config import ClientConfig
from gptimage.engine.plan import Plan, possible_cost
from gptimage.engine.preload import prepare
from gptimage.engine.streaming import LARGE
from gptimage.errors import (
    BudgetExceededError,
    ConfigurationError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.providers.openai.errors import error_from_reply
from gptimage.transport.billing import verdict
from gptimage.transport.first_event import await_first_event, wait_for_first_event
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import AsyncEventStream, AsyncTransport, EventStream, Transport
from gptimage.transport.retry import is_outage, is_unknown


# `SendHook`: somebody who must agree before a request leaves; see `ImageClient.gated`.


class SendHook(Protocol):
    """Is asked in the middle of a call, when everything else about it is settled.

    An observer is told the same and cannot break a call; a gate can, and that is its purpose:
    a request that must be noted somewhere first does not leave when that fails. With an async
    client it is called in a thread, so it may wait.
    """

    def before_send(self, key: str, ceiling: Decimal | None) -> None:
        """A request is about to leave: once this returns, it may be billed.

        What this raises reaches the caller, and nothing is sent.

        Args:
            key: What is asked; equal keys are the same question, as in a cache.
            ceiling: The most it should cost in USD; None when that cannot be known.
        """
        ...

    def not_billed(self) -> None:
        """What left was not billed; `before_send` is asked again before the next try.

        This must not raise.
        """
        ...


@frozen
class ChainedHook:
    """Two gates: the second is asked once the first agrees.

    Attributes:
        first: Who is asked first.
        second: Who is asked then.
    """

    first: SendHook
    second: SendHook

    def before_send(self, key: str, ceiling: Decimal | None) -> None:
        """Ask both; the first is told when the second does not agree."""
        self.first.before_send(key, ceiling)
        try:
            self.second.before_send(key, ceiling)
        except BaseException:
            self.first.not_billed()
            raise

    def not_billed(self) -> None:
        """Tell both."""
        self.second.not_billed()
        self.first.not_billed()


def chain(gate: SendHook, before: SendHook | None) -> SendHook:
    """A gate, behind the one that is there already."""
    return gate if before is None else ChainedHook(before, gate)


T = TypeVar("T")
P = ParamSpec("P")
AnswerT = TypeVar("AnswerT", HttpReply, EventStream)
AsyncAnswerT = TypeVar("AsyncAnswerT", HttpReply, AsyncEventStream)
Outcome: TypeAlias = HttpReply | TransportError | OutcomeUnknownError


@define
class _Tries:
    """The tries of one call: what came of each decides whether there is another.

    Attributes:
        core: The client's settings.
        plan: What is sent.
        call: What is told of it.
        number: How many tries were made.
        unknown: How many of them may have been billed without an answer.
    """

    core: ClientConfig
    plan: Plan
    call: CallTracker
    number: int = 0
    unknown: int = 0

    def begin(self) -> None:
        """The next try leaves now."""
        self.number += 1
        self.call.sent(self.number)

    def next(self, outcome: Outcome) -> float | None:
        """Seconds until the next try, or None when this outcome is the caller's to read.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable answer arrived, now or in an earlier try.
        """
        earlier = self.unknown
        self.unknown += is_unknown(outcome)
        if isinstance(outcome, HttpReply):
            self.core.update_limits(outcome)
            if outcome.status != 429 and not is_outage(outcome):
                self.core.quota.answered(retried=self.number > 1)
        delay = self.core.delay(self.number, outcome, unknown=earlier)
        if delay is not None:
            return delay
        if isinstance(outcome, OutcomeUnknownError):
            raise _unknown(self.plan, outcome, tries=self.unknown) from outcome
        if earlier and not _is_answer(outcome):
            # The refusal of the last try says nothing of those before it.
            if self.unknown == earlier:
                self.call.unbilled()
            raise self.doubt(outcome)
        if isinstance(outcome, TransportError):
            raise outcome
        return None

    def doubt(self, last: HttpReply | Exception) -> OutcomeUnknownError:
        """The failure of a call that may have been billed before its last try failed."""
        error = last if isinstance(last, Exception) else error_from_reply(last)
        told = OutcomeUnknownError(f"no usable answer in {self.number} tries (the last: {error})")
        found = _unknown(self.plan, told, tries=self.unknown)
        found.__cause__ = error
        return found

    def again(self, delay: float, outcome: Outcome) -> None:
        """There will be another try; one that may have been billed is reserved anew.

        Raises:
            OutcomeUnknownError: The budget or the ledger does not allow another.
        """
        if isinstance(outcome, TransportError) or (
            isinstance(outcome, HttpReply) and not is_unknown(outcome)
        ):
            self.call.retried(delay, outcome)
            return
        try:
            self.call.repeated(delay, outcome)
        except (BudgetExceededError, ConfigurationError) as error:
            raise self.doubt(error) from error


@frozen
class RetryingSender:
    """Sends plans, as `Retry` allows.

    Attributes:
        core: The client's settings.
        transport: What sends a request once.
        gate: Who must agree before each try, or None.
    """

    core: ClientConfig
    transport: Transport
    gate: SendHook | None = None

    def send(self, plan: Plan, call: CallTracker) -> HttpReply:
        """Send and wait for the whole answer.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable answer arrived; it may have been billed.
        """
        return self._send_with_retry(plan, call, self.transport.send)

    def stream(self, plan: Plan, call: CallTracker) -> EventStream:
        """Send and return at the head of the answer.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable answer arrived; it may have been billed.
        """
        return self._send_with_retry(plan, call, self._stream)

    def _stream(self, request: HttpRequest) -> EventStream:
        source = self.transport.stream(request)
        return wait_for_first_event(source) if self.core.retry.unknown else source

    def _send_with_retry(
        self, plan: Plan, call: CallTracker, send: Callable[[HttpRequest], AnswerT]
    ) -> AnswerT:
        """Send until the answer is worth reading."""
        outcome: Outcome
        prepare(plan, store=self.core.store is not None)
        tries = _Tries(self.core, plan, call)
        while True:
            while (wait := self.core.acquire_rate_limit(plan)) > 0:
                call.waiting("limits", wait)
                time.sleep(wait)
            if self.gate is not None:
                self.gate.before_send(plan.key, plan.ceiling)
            tries.begin()
            answer = None
            try:
                answer = send(plan.wire)
                outcome = _head(answer)
            except (TransportError, OutcomeUnknownError) as error:
                outcome = error
            delay = tries.next(outcome)
            if delay is None:
                if answer is None:
                    raise AssertionError("unreachable: a failure is raised, or tried again")
                return answer
            tries.again(delay, outcome)
            # Once a try may have been billed, nothing takes that back.
            if self.gate is not None and not tries.unknown:
                self.gate.not_billed()
            time.sleep(delay)


@frozen
class AsyncRetryingSender:
    """`RetryingSender`, awaited.

    Attributes:
        core: The client's settings.
        transport: What sends a request once.
        gate: Who must agree before each try, or None.
    """

    core: ClientConfig
    transport: AsyncTransport
    gate: SendHook | None = None

    async def send(self, plan: Plan, call: CallTracker) -> HttpReply:
        """Send and wait for the whole answer; see `RetryingSender.send`."""
        return await self._send_with_retry(plan, call, self.transport.send)

    async def stream(self, plan: Plan, call: CallTracker) -> AsyncEventStream:
        """Send and return at the head of the answer; see `RetryingSender.stream`."""
        return await self._send_with_retry(plan, call, self._stream)

    async def _stream(self, request: HttpRequest) -> AsyncEventStream:
        source = await self.transport.stream(request)
        return await await_first_event(source) if self.core.retry.unknown else source

    async def _send_with_retry(
        self, plan: Plan, call: CallTracker, send: Callable[[HttpRequest], Awaitable[AsyncAnswerT]]
    ) -> AsyncAnswerT:
        """Send until the answer is worth reading."""
        import asyncio

        outcome: Outcome
        prepare(plan, store=self.core.store is not None)
        tries = _Tries(self.core, plan, call)
        while True:
            while (wait := await self._turn(plan)) > 0:
                call.waiting("limits", wait)
                await asyncio.sleep(wait)
            if self.gate is not None:
                await to_thread(self.gate.before_send, plan.key, plan.ceiling)
            tries.begin()
            answer = None
            try:
                answer = await send(plan.wire)
                outcome = _head(answer)
            except (TransportError, OutcomeUnknownError) as error:
                outcome = error
            delay = tries.next(outcome)
            if delay is None:
                if answer is None:
                    raise AssertionError("unreachable: a failure is raised, or tried again")
                return answer
            if is_unknown(outcome):  # a row of the ledger ends and another begins
                await run_accounting(call, tries.again, delay, outcome)
            else:
                tries.again(delay, outcome)
            # Once a try may have been billed, nothing takes that back.
            if self.gate is not None and not tries.unknown:
                await to_thread(self.gate.not_billed)
            await asyncio.sleep(delay)

    async def _turn(self, plan: Plan) -> float:
        """`ClientConfig.turn`, in a thread, because a shared limiter asks a file or a server."""
        if self.core.limiter is None:
            return 0.0
        return await to_thread_shielded(self.core.acquire_rate_limit, plan)


async def parse_large_in_thread(event: ServerEvent, take: Callable[[ServerEvent], T]) -> T:
    """Read an event, a large one in a thread, so that the event loop goes on."""
    return await to_thread(take, event) if len(event.data) > LARGE else take(event)


async def run_accounting(
    call: CallTracker, work: Callable[P, T], *args: P.args, **options: P.kwargs
) -> T:
    """Do what may write the ledger, off the event loop if it does; it is never left half done."""
    if not call.blocks:
        return work(*args, **options)
    return await to_thread_shielded(work, *args, **options)


@asynccontextmanager
async def reserve_budget(call: CallTracker) -> AsyncGenerator[None]:
    """`CallTracker.reserved`, awaited."""
    try:
        await run_accounting(call, call.reserve)
        yield
    except BaseException as error:
        await run_accounting(call, call.refused, error)
        raise


def _unknown(plan: Plan, error: OutcomeUnknownError, *, tries: int = 1) -> OutcomeUnknownError:
    """The same failure, with what it may have cost.

    Args:
        plan: What was sent.
        error: The failure of the last try.
        tries: How many tries of this call may have been billed.
    """
    cost = possible_cost(plan) + (f" for each of {tries} tries" if tries > 1 else "")
    return OutcomeUnknownError(
        f"{error}: {cost}; look at your usage page before asking again",
        possible_cost=None if plan.ceiling is None else plan.ceiling * tries,
        partials=error.partials,
        request_id=error.request_id,
    )


def _head(answer: HttpReply | EventStream | AsyncEventStream) -> HttpReply:
    return answer if isinstance(answer, HttpReply) else answer.reply


def _is_answer(outcome: HttpReply | TransportError) -> bool:
    return isinstance(outcome, HttpReply) and verdict(outcome) == "answered"
