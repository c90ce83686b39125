"""Conversations: images made and changed turn by turn.

OpenAI's Responses API remembers them; a service that does not is sent the turns so far again.

`Conversation` waits, `AsyncConversation` is awaited; what both do is written once, as coroutines.
A conversation takes one turn at a time; `branch` gives another that starts where a turn ended.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing
from functools import partial
from typing import Any, Final, Self, Unpack

from attrs import evolve

from gptimage._internal.coroutines import iterate_blocking, run_blocking
from gptimage.conversation.messages import MessageReader, finish_messages
from gptimage.conversation.parsing import TurnReader, finish_turn, images_reply
from gptimage.conversation.planning import TurnPlan
from gptimage.conversation.session import ConversationSession
from gptimage.conversation.turns import (
    ClientParts,
    CompletedTurn,
    Resume,
    Turn,
    TurnCall,
    TurnCompleted,
    TurnInput,
    TurnOptions,
)
from gptimage.engine.accounting import CallTracker
from gptimage.engine.send import parse_large_in_thread, reserve_budget, run_accounting
from gptimage.engine.signatures import shows
from gptimage.errors import ApiError, OutcomeUnknownError
from gptimage.types.request import Prompt, Sources
from gptimage.types.result import PartialImage


TURN: Final = "turn"
"""What the ledger and observers call a turn."""


class _ConversationBase:
    """The state of a conversation."""

    def __init__(
        self,
        client: ClientParts,
        *,
        chat_model: str | None = None,
        image_model: str | None = None,
        resume: Resume | None = None,
        stateless: bool = False,
    ) -> None:
        self._client = client
        self._runtime = client.sender.runtime
        self._session = ConversationSession.of(
            client.saver,
            chat_model=chat_model,
            image_model=image_model,
            resume=resume,
            stateless=stateless,
        )
        self._resume = resume
        self._turns: tuple[Turn, ...] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns so far, oldest first; those before a resume are not known here."""
        return self._turns

    @property
    def response_id(self) -> str | None:
        """The id with which another process can go on from here; None before the first turn."""
        head = self._resume
        return head if isinstance(head, str) or head is None else head.response_id

    @property
    def chat_model(self) -> str:
        """The model that reads the words and calls the image model."""
        return self._session.chat_model

    @property
    def image_model(self) -> str:
        """The model that draws."""
        return self._session.image_model

    def __repr__(self) -> str:
        """Return both models and where it stands; never a prompt."""
        kind = type(self).__name__
        return f"{kind}({self.chat_model}, image_model={self.image_model}, at={self.response_id})"

    def branch(self, turn: Turn) -> Self:
        """Return another conversation that goes on from this turn; this one stays where it is."""
        other = type(self).__new__(type(self))
        other.__dict__ |= self.__dict__
        other._turns, other._resume = self._upto(turn), turn
        return other

    def _go_on(self, turn: Turn, before: tuple[Turn, ...]) -> Turn:
        self._turns, self._resume = (*before, turn), turn
        return turn

    def _upto(self, turn: Turn) -> tuple[Turn, ...]:
        places = [place for place, each in enumerate(self._turns, 1) if each is turn]
        return self._turns[: places[0]] if places else (turn,)

    async def _send(
        self, prompt: str | Prompt, images: Sources | None, options: Mapping[str, Any]
    ) -> Turn:
        start, work = self._resume, self._runtime.work
        inputs = await work(partial(self._session.resolve_inputs, prompt, images, options))
        try:
            plan = await work(partial(self._session.plan, start, inputs))
            return await self._exchange(plan, start, inputs)
        except ApiError as error:
            again = partial(self._session.plan_without_previous, start, inputs, error)
            return await self._exchange(await work(again), start, inputs)

    async def _stream(
        self, prompt: str | Prompt, images: Sources | None, options: Mapping[str, Any]
    ) -> AsyncGenerator[PartialImage | TurnCompleted]:
        start, runtime = self._resume, self._runtime
        resolve = partial(self._session.resolve_inputs, prompt, images, options, stream=True)
        inputs = await runtime.work(resolve)
        plan = partial(self._session.plan, start, inputs)
        completed: TurnCompleted | None = None
        while completed is None:
            try:
                turn = await runtime.work(plan)
                call = self._client.accounting.call(turn.plan, operation=TURN)
                with self._kept_on_failure(turn, call), call:
                    async with reserve_budget(runtime, call):
                        source = await self._client.sender.stream(turn.plan, call)
                        async with aclosing(source):
                            kind = TurnReader if turn.exchanges is None else MessageReader
                            reader = call.arrival.reader = kind(turn, source.reply)
                            broken: list[OutcomeUnknownError] = []
                            try:
                                # Into the reader at once: a call that breaks off has it there.
                                async for reader.event in source:
                                    preview = await parse_large_in_thread(
                                        runtime, reader.event, reader.take
                                    )
                                    if preview is not None:
                                        call.partial(preview)
                                        yield preview
                            except OutcomeUnknownError as error:
                                broken.append(error)
                        read = partial(reader.end, broken)
                        parse = partial(self._session.parse_turn, start, inputs, read, call.arrival)
                        done = await runtime.work(parse)
                        done = await run_accounting(runtime, call, partial(done.settled, call))
                    completed = TurnCompleted(turn=await self._saved(done, call))
            except ApiError as error:
                if plan.func == self._session.plan_without_previous:
                    raise
                plan = partial(self._session.plan_without_previous, start, inputs, error)
        # Nothing of ours may come between the block that saves what breaks off and the caller.
        yield completed

    async def _exchange(self, turn: TurnPlan, start: Resume | None, inputs: TurnInput) -> Turn:
        runtime = self._runtime
        call = self._client.accounting.call(turn.plan, operation=TURN)
        with self._kept_on_failure(turn, call), call:
            async with reserve_budget(runtime, call):
                reply = await self._client.sender.send(turn.plan, call)
                finish = finish_turn if turn.exchanges is None else finish_messages
                read = partial(finish, turn, reply)
                parse = partial(self._session.parse_turn, start, inputs, read, call.arrival)
                done = await runtime.work(parse)
                done = await run_accounting(runtime, call, partial(done.settled, call))
            return await self._saved(done, call)

    def _kept_on_failure(self, turn: TurnPlan, call: CallTracker) -> AbstractContextManager[None]:
        keep = partial(self._client.saver.keep_given_up, turn.plan)
        convert = images_reply if turn.exchanges is None else turn.plan.read
        return call.arrival.kept_on_failure(keep, convert)

    async def _saved(self, done: CompletedTurn, call: CallTracker) -> Turn:
        """Once read, a turn is part of the conversation, even if saving it fails."""
        before = self._turns
        self._go_on(done.turn, before)
        turn = await self._runtime.work(partial(self._session.save, done))
        return self._go_on(evolve(turn, result=call.saved(turn.result)), before)


class Conversation(_ConversationBase):
    """Images made and changed turn by turn; made by ``ImageClient.conversation()``.

    Args:
        client: What it needs of its client.
        chat_model: The model that reads the words; `DEFAULT_CHAT_MODEL` when left out.
        image_model: The model that draws; the client's when left out.
        resume: Where to go on: a turn, a record, a response's id or a stored image's id.
        stateless: Send the last image with every turn and let the service keep nothing.

    Raises:
        InvalidRequestError: Nothing can be resumed that way.
        ConfigurationError: A stored image is named, and the client has no store.
    """

    @shows(TurnCall, TurnOptions, action="auto")
    def send(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[TurnCall],
    ) -> Turn:
        """Say what to draw or change, and wait for the image.

        Args:
            prompt: The words.
            images: Images to use, besides the conversation's own.
            **options: See `TurnCall` and `TurnOptions`.

        Raises:
            InvalidRequestError: A rule is broken; nothing was sent.
            FetchError: A URL could not be downloaded safely; nothing was sent.
            ApiError: The service refused, or drew nothing and says why.
            OutcomeUnknownError: No usable response arrived; it may have been billed.
            StoreError: The images could not be saved; they are in its ``result``, and in the
                last of `turns`.
        """
        return run_blocking(self._send(prompt, images, options))

    @shows(TurnCall, TurnOptions, action="auto")
    def stream(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[TurnCall],
    ) -> Iterator[PartialImage | TurnCompleted]:
        """Say what to draw or change: any number of `PartialImage`, then one `TurnCompleted`.

        Nothing is checked or sent before the first step of the iteration.

        Args:
            prompt: The words.
            images: Images to use, besides the conversation's own.
            **options: See `TurnCall` and `TurnOptions`.

        Raises:
            ApiError: The service refused, or failed on the way; ``partials`` has the previews.
            OutcomeUnknownError: The stream broke off; ``partials`` has the previews.
            StoreError: The images could not be saved; they are in its ``result``, and in the
                last of `turns`.
        """
        return iterate_blocking(self._stream(prompt, images, options))


class AsyncConversation(_ConversationBase):
    """`Conversation` for asyncio: same arguments, errors and methods, awaited."""

    @shows(TurnCall, TurnOptions, action="auto")
    async def send(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[TurnCall],
    ) -> Turn:
        """Say what to draw or change, and wait for the image; see `Conversation.send`.

        Raises:
            GptImageError: As `Conversation.send`.
        """
        return await self._send(prompt, images, options)

    @shows(TurnCall, TurnOptions, action="auto")
    def stream(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[TurnCall],
    ) -> AsyncIterator[PartialImage | TurnCompleted]:
        """Any number of `PartialImage`, then one `TurnCompleted`; see `Conversation.stream`.

        Raises:
            GptImageError: As `Conversation.stream`.
        """
        return self._stream(prompt, images, options)
