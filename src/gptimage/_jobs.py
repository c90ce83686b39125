"""What a client does besides single calls: many at once, batches, conversations, look-ups.

A client hands each its keeper, sender and meter.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import evolve

from gptimage._internal.keywords import flag, one_of, path, refused, strict, text
from gptimage.errors import ConfigurationError
from gptimage.gate import Gate, behind
from gptimage.models.catalog import Models


if TYPE_CHECKING:
    from gptimage.batch import AsyncBatch, AsyncBatchLine, Batch, BatchLine
    from gptimage.batch.job import StatePath
    from gptimage.budget.ledger import Ledger
    from gptimage.bulk import Asked, CheckpointPath, Item, Stop, Watcher
    from gptimage.bulk.checkpoint_hook import Leaving
    from gptimage.conversation import AsyncConversation, Conversation
    from gptimage.conversation.said import Resume
    from gptimage.engine.accounting import Meter
    from gptimage.engine.config import Core
    from gptimage.engine.save import Keeper
    from gptimage.engine.send import AsyncSender, Sender
    from gptimage.prompt import Prompt
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates
    from gptimage.transport.protocols import AsyncTransport, CachePort, Transport
    from gptimage.types.request import Generate
    from gptimage.types.result import Result


_NO_BATCH: Final = "a gate is not asked about batches: use the client that has none"


def check_many(
    concurrency: object, checkpoint: object, *, retry_unknown: object, refresh: object
) -> None:
    """Refuse what a run of many could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise refused("concurrency", concurrency, "a whole number, 1 or more")
    if checkpoint is not None:
        path("checkpoint", checkpoint)
    flag("retry_unknown", retry_unknown)
    flag("refresh", refresh)


def check_talk(model: object, image_model: object, *, stateless: object) -> None:
    """Refuse what a conversation could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    for name, value in (("model", model), ("image_model", image_model)):
        if value is not None:
            text(name, value)
    flag("stateless", stateless)


def check_batch(state: object, metadata: object) -> None:
    """Refuse what a batch could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    if state is not None:
        path("state", state)
    if metadata is not None:
        one_of("metadata", metadata, Mapping, "a dict of texts")


class Catalogue:
    """What both clients tell without asking anybody."""

    store: Store | None
    cache: CachePort | None
    ledger: Ledger | None
    _core: Core
    _keeper: Keeper
    _meter: Meter
    _templates: PromptTemplates | None
    _sender: Any

    def models(self) -> Models:
        """The catalogue: what each model accepts and costs, and until when it lives."""
        return self._core.models

    def render(self, template: str, /, **arguments: object) -> Prompt:
        """Fill in a prompt template. Nothing is sent and nothing is billed.

        Raises:
            TemplateError: There is no such template, or an argument is wrong.
        """
        if self._templates is None:
            from gptimage.templates import PromptTemplates

            self._templates = PromptTemplates.builtin()
        return self._templates.render(template, **arguments)

    def gated(self, gate: Gate) -> Self:
        """This client once more, whose requests leave only when ``gate`` agrees.

        It is asked before every try, after the gates this client has already; an answer from
        the cache leaves nothing to ask. Both clients have the same connections, store, cache
        and budget, so close only one.

        Args:
            gate: Who is asked.
        """
        twin = copy.copy(self)
        twin._sender = evolve(self._sender, gate=behind(gate, self._sender.gate))
        return twin

    def _leaving(self, leaving: Leaving) -> Self:
        twin = self.gated(leaving)
        twin._keeper = evolve(self._keeper, keep=leaving.keep)
        return twin


class Jobs(Catalogue):
    """The bigger jobs of an `ImageClient`."""

    _sender: Sender
    _transport: Transport

    if TYPE_CHECKING:  # the client has it

        def run(
            self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
        ) -> Result: ...

    @strict("generate_many")
    def generate_many(
        self,
        requests: Iterable[Asked],
        *,
        concurrency: int = 8,
        progress: Watcher = False,
        checkpoint: CheckpointPath = None,
        retry_unknown: bool = False,
        stop: Stop | None = None,
        refresh: bool = False,
        tags: Iterable[str] = (),
    ) -> Generator[Item]:
        """Send many requests; items come as they finish, each with its index.

        Args:
            requests: Prompts, dicts of arguments, or requests; any iterable, of any length.
            concurrency: How many are asked at the same time.
            progress: True shows it on standard error; or a function called with a `Progress`.
            checkpoint: A file; a second run with it asks only for what is missing.
            retry_unknown: Ask again what an earlier run may have been billed for.
            stop: Ends the run early when it is set: nothing new is sent, what was sent comes.
            refresh: Ask even if the cache knows the answer.
            tags: Tags for the store.

        Raises:
            InvalidRequestError: ``concurrency`` is below 1.
            ConfigurationError: The checkpoint is in use, or belongs to other requests.
            OSError: The checkpoint cannot be written; raised when all that was sent is yielded.
        """
        from gptimage.bulk import many

        check_many(concurrency, checkpoint, retry_unknown=retry_unknown, refresh=refresh)
        return many(
            self,
            self._keeper,
            self._leaving,
            requests,
            concurrency=concurrency,
            progress=progress,
            checkpoint=checkpoint,
            retry_unknown=retry_unknown,
            stop=stop,
            refresh=refresh,
            tags=tags,
        )

    @strict("conversation")
    def conversation(
        self,
        model: str | None = None,
        *,
        image_model: str | None = None,
        resume: Resume | None = None,
        stateless: bool = False,
    ) -> Conversation:
        """Pictures made and changed turn by turn, over the Responses API.

        Args:
            model: The outer model, which reads the words; it is billed apart.
            image_model: The model that draws; the client's when left out.
            resume: Where to go on: a turn, a response's id, a stored picture's id or record.
            stateless: Send the last picture with every turn, and let the service keep nothing.

        Raises:
            InvalidRequestError: Nothing can be resumed that way.
            ConfigurationError: A stored picture is named, and the client has no store.
        """
        from gptimage.conversation import Conversation
        from gptimage.conversation.said import Line

        check_talk(model, image_model, stateless=stateless)
        return Conversation(
            Line(keeper=self._keeper, sender=self._sender, meter=self._meter),
            model=model,
            image_model=image_model,
            resume=resume,
            stateless=stateless,
        )

    @strict("submit_batch")
    def submit_batch(
        self,
        requests: Iterable[Asked],
        *,
        state: StatePath | None = None,
        metadata: Mapping[str, str] | None = None,
        max_lines: int = 50_000,
        max_bytes: int = 200_000_000,
    ) -> Batch:
        """Send requests for half the price, answered within a day.

        Args:
            requests: Prompts, dicts of arguments, or requests.
            state: A file that lets another process go on, and never submits twice.
            metadata: Your words about the batch, kept by the service: up to 15 short texts.
            max_lines: Requests in one batch of the service; a larger job is several.
            max_bytes: Bytes of one batch's file of requests.

        Raises:
            InvalidRequestError: A request is wrong; nothing was submitted.
            BudgetExceededError: It could cross the budget; nothing was submitted.
            ConfigurationError: The state file is another job's, or in use.
            ApiError: The service refused; of several batches, some may be submitted.
            OutcomeUnknownError: It may or may not have been accepted.
        """
        from gptimage.batch import Batch

        check_batch(state, metadata)
        return Batch.submit(
            self._batch_line(),
            requests,
            state=state,
            metadata=metadata or {},
            max_lines=max_lines,
            max_bytes=max_bytes,
        )

    def batch(self, where: StatePath) -> Batch:
        """A batch that was submitted before: its state file, or its id (``batch_...``).

        Raises:
            ConfigurationError: The file holds no batch.
        """
        from gptimage.batch import Batch

        return Batch.open(self._batch_line(), where)

    def _batch_line(self) -> BatchLine:
        from gptimage.batch import BatchLine
        from gptimage.transport.protocols import Downloads

        if self._sender.gate is not None:
            raise ConfigurationError(_NO_BATCH)
        transport = self._transport
        if not isinstance(transport, Downloads):
            raise ConfigurationError("this transport cannot download, which a batch needs")
        return BatchLine(
            keeper=self._keeper,
            meter=self._meter,
            send=transport.send,
            download=transport.download,
        )


class AsyncJobs(Catalogue):
    """The bigger jobs of an `AsyncImageClient`."""

    _sender: AsyncSender
    _transport: AsyncTransport

    if TYPE_CHECKING:  # the client has it

        async def run(
            self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
        ) -> Result: ...

    @strict("generate_many")
    def generate_many(
        self,
        requests: Iterable[Asked] | AsyncIterable[Asked],
        *,
        concurrency: int = 8,
        progress: Watcher = False,
        checkpoint: CheckpointPath = None,
        retry_unknown: bool = False,
        stop: Stop | None = None,
        refresh: bool = False,
        tags: Iterable[str] = (),
    ) -> AsyncGenerator[Item]:
        """Send many requests; the requests may be async, too; see `ImageClient.generate_many`."""
        from gptimage.bulk import amany

        check_many(concurrency, checkpoint, retry_unknown=retry_unknown, refresh=refresh)
        return amany(
            self,
            self._keeper,
            self._leaving,
            requests,
            concurrency=concurrency,
            progress=progress,
            checkpoint=checkpoint,
            retry_unknown=retry_unknown,
            stop=stop,
            refresh=refresh,
            tags=tags,
        )

    @strict("conversation")
    def conversation(
        self,
        model: str | None = None,
        *,
        image_model: str | None = None,
        resume: Resume | None = None,
        stateless: bool = False,
    ) -> AsyncConversation:
        """Pictures made and changed turn by turn; see `ImageClient.conversation`."""
        from gptimage.conversation import AsyncConversation
        from gptimage.conversation.said import AsyncLine

        check_talk(model, image_model, stateless=stateless)
        return AsyncConversation(
            AsyncLine(keeper=self._keeper, sender=self._sender, meter=self._meter),
            model=model,
            image_model=image_model,
            resume=resume,
            stateless=stateless,
        )

    async def submit_batch(
        self,
        requests: Iterable[Asked],
        *,
        state: StatePath | None = None,
        metadata: Mapping[str, str] | None = None,
        max_lines: int = 50_000,
        max_bytes: int = 200_000_000,
    ) -> AsyncBatch:
        """Send requests for half the price; see `ImageClient.submit_batch`."""
        from gptimage.batch import AsyncBatch

        check_batch(state, metadata)
        return await AsyncBatch.submit(
            self._batch_line(),
            requests,
            state=state,
            metadata=metadata or {},
            max_lines=max_lines,
            max_bytes=max_bytes,
        )

    async def batch(self, where: StatePath) -> AsyncBatch:
        """A batch that was submitted before: its state file, or its id (``batch_...``)."""
        from gptimage.batch import AsyncBatch

        return await AsyncBatch.open(self._batch_line(), where)

    def _batch_line(self) -> AsyncBatchLine:
        from gptimage.batch import AsyncBatchLine
        from gptimage.transport.protocols import AsyncDownloads

        if self._sender.gate is not None:
            raise ConfigurationError(_NO_BATCH)
        transport = self._transport
        if not isinstance(transport, AsyncDownloads):
            raise ConfigurationError("this transport cannot download, which a batch needs")
        return AsyncBatchLine(
            keeper=self._keeper,
            meter=self._meter,
            send=transport.send,
            download=transport.download,
        )
