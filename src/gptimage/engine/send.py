"""Sending with retries: again and again what cannot have been billed, as `Retry` allows.

`CallTracker.reserve` and its kin may write a ledger's file. An async client does that in a
thread, and to its end even if it is cancelled meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Final, Protocol, TypeAlias, TypeVar

from attrs import define, frozen

from gptimage.engine.accounting import CallTracker
from gptimage.engine.config import ClientConfig
from gptimage.engine.plan import Plan
from gptimage.engine.preload import is_prepared, prepare
from gptimage.engine.runtime import Runtime
from gptimage.engine.streaming import LARGE
from gptimage.errors import (
    BudgetExceededError,
    ConfigurationError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.models.pricing import may_have_cost
from gptimage.providers.openai.errors import error_from_reply
from gptimage.transport.billing import verdict
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import AsyncEventStream
from gptimage.transport.retry import is_outage, is_unknown


class SendHook(Protocol):
    """Agrees to every request before it leaves; see `ImageClient.with_send_hook`.

    It is called in the middle of a call, when everything else about it is settled. An observer
    sees the same and cannot stop a call; a hook can, and that is its purpose: a request that must
    be noted somewhere first does not leave when that fails. With an async client it is called in
    a thread, so it may wait.
    """

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        """Note that a request is about to leave: once this returns, it may be billed.

        What this raises reaches the caller, and nothing is sent.

        Args:
            key: What is requested; equal keys are the same request, as in a cache.
            max_cost: The most it should cost in USD; None when that cannot be known.
        """
        ...

    def not_billed(self) -> None:
        """Note that what left was not billed; `before_send` is called before the next try.

        This must not raise.
        """
        ...


@frozen
class ChainedHook:
    """Two hooks, of which the second is called once the first agrees.

    Attributes:
        first: The hook called first.
        second: The hook called then.
    """

    first: SendHook
    second: SendHook

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        """Call both; the first learns it when the second does not agree."""
        self.first.before_send(key, max_cost)
        try:
            self.second.before_send(key, max_cost)
        except BaseException:
            self.first.not_billed()
            raise

    def not_billed(self) -> None:
        """Call both."""
        self.second.not_billed()
        self.first.not_billed()


def chain(hook: SendHook, before: SendHook | None) -> SendHook:
    """Put a hook behind the one that is there already."""
    return hook if before is None else ChainedHook(before, hook)


T = TypeVar("T")
ResponseT = TypeVar("ResponseT", HttpReply, AsyncEventStream)
_SLICE: Final = 0.1
"""Seconds of a wait between two looks whether it was stopped."""

Outcome: TypeAlias = HttpReply | TransportError | OutcomeUnknownError


@define
class _Tries:
    """The tries of one call: what came of each decides whether there is another.

    Attributes:
        config: The client's settings.
        plan: What is sent.
        call: Its accounting.
        number: How many tries were made.
        unknown: How many of them may have been billed without an answer.
    """

    config: ClientConfig
    plan: Plan
    call: CallTracker
    number: int = 0
    unknown: int = 0

    def begin(self) -> None:
        """The next try leaves now."""
        self.number += 1
        self.call.sent(self.number)

    def next(self, outcome: Outcome) -> float | None:
        """Return seconds until the next try, or None when this outcome is the caller's to read.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable response arrived, now or in an earlier try.
        """
        earlier = self.unknown
        self.unknown += is_unknown(outcome)
        if isinstance(outcome, HttpReply):
            self.config.update_limits(self.plan, outcome)
            if outcome.status != 429 and not is_outage(outcome):
                self.config.answered(self.plan, retried=self.number > 1)
        delay = self.config.delay(
            self.number, outcome, unknown=earlier, service=self.plan.provider.name
        )
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
        """Return the failure of a call that may have been billed before its last try failed."""
        error = last if isinstance(last, Exception) else error_from_reply(last)
        summary = f"no usable response in {self.number} tries (the last: {error})"
        found = _unknown(self.plan, OutcomeUnknownError(summary), tries=self.unknown)
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
        config: The client's settings.
        runtime: Sends a request once, and waits.
        hook: What must agree before each try, or None.
        check_running: Raises when what this call is part of was stopped, or None; it is called
            while nothing is sent: every tenth of a second of a wait for a limit or a retry.
    """

    config: ClientConfig
    runtime: Runtime
    hook: SendHook | None = None
    check_running: Callable[[], None] | None = None

    async def send(self, plan: Plan, call: CallTracker) -> HttpReply:
        """Send and wait for the whole response.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable response arrived; it may have been billed.
        """
        return await self._send_with_retry(plan, call, self.runtime.send)

    async def stream(self, plan: Plan, call: CallTracker) -> AsyncEventStream:
        """Send and return at the head of the response.

        Raises:
            TransportError: The service was not reached.
            OutcomeUnknownError: No usable response arrived; it may have been billed.
        """
        return await self._send_with_retry(plan, call, self._stream)

    async def _stream(self, request: HttpRequest) -> AsyncEventStream:
        source = await self.runtime.stream(request)
        # Who would rather pay twice wants another try for a stream that breaks at once, too.
        return await _await_first_event(source) if self.config.retry.unknown else source

    async def _send_with_retry(
        self, plan: Plan, call: CallTracker, send: Callable[[HttpRequest], Awaitable[ResponseT]]
    ) -> ResponseT:
        """Send until the response is worth reading."""
        outcome: Outcome
        # What reads the response is imported before anything is paid for it.
        saves = self.config.store is not None
        if not is_prepared(plan, store=saves):
            await self.runtime.work(partial(prepare, plan, store=saves))
        tries = _Tries(self.config, plan, call)
        request = self.config.delivered(plan.wire)
        while True:
            await self._wait_for_limits(plan, call)
            if self.hook is not None:
                await self.runtime.work(partial(self.hook.before_send, plan.key, plan.max_cost))
            tries.begin()
            response = None
            try:
                # At once: whatever breaks the call off from here on, the reply is paid.
                call.arrival.response = arrived = await send(request)
                response = translated(plan, arrived)
                outcome = response if isinstance(response, HttpReply) else response.reply
            except (TransportError, OutcomeUnknownError) as error:
                outcome = error
            delay = tries.next(outcome)
            if delay is None:
                if response is None:
                    raise AssertionError("unreachable: a failure is raised, or tried again")
                return response
            if is_unknown(outcome):  # a row of the ledger ends and another begins
                await run_accounting(self.runtime, call, partial(tries.again, delay, outcome))
            else:
                tries.again(delay, outcome)
            # Once a try may have been billed, nothing takes that back.
            if self.hook is not None and not tries.unknown:
                await self.runtime.work(self.hook.not_billed)
            await self._sleep(delay)

    async def _wait_for_limits(self, plan: Plan, call: CallTracker) -> None:
        """Wait until the limiter lets the request leave; a shared one asks a file or a server."""
        if self.config.limiter is None:
            return
        acquire = partial(self.config.acquire_rate_limit, plan)
        while (wait := await self.runtime.finish(acquire)) > 0:
            call.waiting("limits", wait)
            await self._sleep(wait)

    async def _sleep(self, seconds: float) -> None:
        if self.check_running is None:
            return await self.runtime.sleep(seconds)
        # A limit may want minutes, and Ctrl-C must not wait for them: nothing is lost by ending.
        while seconds > 0:
            self.check_running()
            await self.runtime.sleep(min(seconds, _SLICE))
            seconds -= _SLICE
        return None


def translated(plan: Plan, response: ResponseT) -> ResponseT:
    """Return a provider's response in the form of the Images API."""
    if not plan.provider.translates:
        return response
    if isinstance(response, HttpReply):
        return plan.read(response)  # type: ignore[return-value]  # it is an HttpReply
    return TranslatedEvents(plan, response)


class TranslatedEvents:
    """The events of a provider's stream in the form of the Images API.

    Args:
        plan: What was sent.
        source: The events as they arrive.
    """

    def __init__(self, plan: Plan, source: AsyncEventStream) -> None:
        self._plan, self._source = plan, source
        self.reply: HttpReply = plan.read(source.reply) if source.reply.body else source.reply

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Yield the events; one that cannot be translated comes as it is."""
        earlier: list[ServerEvent] = []
        async for event in self._source:
            yield self._plan.provider.read_event(event, earlier)
            earlier.append(event)

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        await self._source.aclose()


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


async def _await_first_event(source: AsyncEventStream) -> AsyncEventStream:
    """Read the first event of a stream: one that breaks before it is like no response at all."""
    events = aiter(source)
    try:
        return _Begun(source, await anext(events, None), events)
    except BaseException:
        await source.aclose()
        raise


async def parse_large_in_thread(
    runtime: Runtime, event: ServerEvent, take: Callable[[ServerEvent], T]
) -> T:
    """Read an event, a large one off the event loop."""
    return await runtime.work(partial(take, event)) if len(event.data) > LARGE else take(event)


async def run_accounting(runtime: Runtime, call: CallTracker, do: Callable[[], T]) -> T:
    """Do what may write the ledger, off the event loop if it does; it is never left half done."""
    return await runtime.finish(do) if call.blocks else do()


@asynccontextmanager
async def reserve_budget(runtime: Runtime, call: CallTracker) -> AsyncGenerator[None]:
    """Reserve before the block, and give back if it fails and cannot have been billed."""
    try:
        await run_accounting(runtime, call, call.reserve)
        yield
    except BaseException as error:
        await run_accounting(runtime, call, partial(call.refused, error))
        raise


def _unknown(plan: Plan, error: OutcomeUnknownError, *, tries: int = 1) -> OutcomeUnknownError:
    """Return the same failure, with what it may have cost.

    Args:
        plan: What was sent.
        error: The failure of the last try.
        tries: How many tries of this call may have been billed.
    """
    cost = may_have_cost(plan.max_cost) + (f" for each of {tries} tries" if tries > 1 else "")
    return OutcomeUnknownError(
        f"{error}: {cost}; look at your usage page before asking again",
        possible_cost=None if plan.max_cost is None else plan.max_cost * tries,
        partials=error.partials,
        request_id=error.request_id,
    )


def _is_answer(outcome: HttpReply | TransportError) -> bool:
    return isinstance(outcome, HttpReply) and verdict(outcome) == "answered"
