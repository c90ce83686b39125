"""`AsyncImageClient`: the twin of `ImageClient` for asyncio, same methods, awaited.

Reading files, downloading inputs and decoding large replies leave the event loop.
"""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
)
from contextlib import aclosing
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from gptimage._internal.clock import Clock
from gptimage._internal.keywords import strict
from gptimage._internal.threads import to_thread
from gptimage.cache.protocol import CachePort, NewReply
from gptimage.engine.accounting import CallTracker, accounting_from
from gptimage.engine.arguments import cache_of, check_sandbox, check_settings, store_of
from gptimage.engine.base_client import NO_BATCH, Catalogue, check_batch, check_many, check_talk
from gptimage.engine.config import (
    DEFAULT_TIMEOUT,
    VARIATION,
    VARIATION_NOTE,
    ClientConfig,
    Settings,
    check_arguments,
    connect,
)
from gptimage.engine.plan import Plan
from gptimage.engine.save import ParsedReply, ResultSaver
from gptimage.engine.send import (
    AsyncRetryingSender,
    parse_large_in_thread,
    reserve_budget,
    run_accounting,
)
from gptimage.engine.streaming import StreamReader
from gptimage.errors import ConfigurationError, OutcomeUnknownError
from gptimage.models.pricing import Estimate
from gptimage.transport.openai_sdk import AsyncOpenAITransport, AsyncSDK
from gptimage.transport.protocols import AsyncTransport
from gptimage.types.request import EditOptions, Generate, Options, Prompt, Source, Sources
from gptimage.types.result import Completed, PartialImage, Result


if TYPE_CHECKING:
    from gptimage.batch import AsyncBatch, AsyncBatchLine
    from gptimage.batch.job import StatePath
    from gptimage.budget.ledger import Ledger
    from gptimage.bulk import CheckpointPath, Item, ProgressCallback, RequestInput, Stop
    from gptimage.conversation import AsyncConversation
    from gptimage.conversation.turns import Resume
    from gptimage.sandbox import Sandbox
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates


# What a client does besides single calls: many at once, batches, conversations, look-ups.
#
# A client hands each its keeper, sender and meter.


class AsyncJobs(Catalogue):
    """The bigger jobs of an `AsyncImageClient`."""

    _sender: AsyncRetryingSender
    _transport: AsyncTransport

    if TYPE_CHECKING:  # the client has it

        async def run(
            self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
        ) -> Result: ...

    def generate_many(
        self,
        requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
        *,
        concurrency: int = 8,
        progress: ProgressCallback = False,
        checkpoint: CheckpointPath = None,
        retry_unknown: bool = False,
        stop: Stop | None = None,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
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
            options=options,
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
        from gptimage.conversation.turns import AsyncClientParts

        check_talk(model, image_model, stateless=stateless)
        return AsyncConversation(
            AsyncClientParts(keeper=self._keeper, sender=self._sender, meter=self._meter),
            model=model,
            image_model=image_model,
            resume=resume,
            stateless=stateless,
        )

    async def submit_batch(
        self,
        requests: Iterable[RequestInput],
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
        from gptimage.transport.protocols import AsyncSupportsDownload

        if self._sender.gate is not None:
            raise ConfigurationError(NO_BATCH)
        transport = self._transport
        if not isinstance(transport, AsyncSupportsDownload):
            raise ConfigurationError("this transport cannot download, which a batch needs")
        return AsyncBatchLine(
            keeper=self._keeper,
            meter=self._meter,
            send=transport.send,
            download=transport.download,
        )


class AsyncImageClient(AsyncJobs):
    """Makes and edits pictures under asyncio; close it, or use ``async with``.

    Args:
        api_key: The key; the environment variable ``OPENAI_API_KEY`` when left out.
        base_url: Another service that speaks OpenAI's API; ``OPENAI_BASE_URL`` when left out. A
            user and password in it are sent as Basic authentication, in place of the key.
        timeout: Seconds to wait for an answer. A call given up on may still be billed.
        openai: A configured ``openai.AsyncOpenAI`` or ``AsyncAzureOpenAI`` client to send
            with; it stays yours to close. Its own retries are not used.
        transport: Anything else that sends requests; see `gptimage.transport.protocols.AsyncTransport`.
        store: Where every picture is saved: a folder, or a `Store`.
        cache: Where answers are kept, so that the same request is paid for once: a folder, or
            what `Cache` makes.
        templates: The prompt templates of `render`; the built-in ones when left out.
        **settings: See `Settings`: model, retry, budget, ledger, observers...

    Attributes:
        clock: Tells the time (UTC) for everything this client does.

    Raises:
        ConfigurationError: There is no key, or a setting is unknown, wrong, or would be
            ignored. Nothing was sent.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        openai: AsyncSDK | None = None,
        transport: AsyncTransport | None = None,
        store: Store | str | os.PathLike[str] | None = None,
        cache: CachePort | str | os.PathLike[str] | None = None,
        templates: PromptTemplates | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        endpoint, login = check_arguments(
            "AsyncImageClient",
            settings,
            openai=openai,
            transport=transport,
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            templates=templates,
        )
        if transport is None:
            transport = AsyncOpenAITransport(
                connect("AsyncOpenAI", api_key, endpoint, timeout, login)
                if openai is None
                else (lambda: openai),
                owned=openai is None,
            )
        self.store: Store | None = store_of(store)
        self.cache: CachePort | None = cache_of(cache)
        self._core = ClientConfig.from_settings(settings, endpoint=endpoint, store=self.store)
        self._keeper = ResultSaver(core=self._core, caches=self.cache is not None)
        self._templates = templates
        self._transport: AsyncTransport = transport
        self._sender = AsyncRetryingSender(self._core, self._transport)
        self.clock: Clock = self._core.clock
        self._meter = accounting_from(settings, self._core.clock)
        self.ledger: Ledger | None = self._meter.ledger

    @classmethod
    def sandbox(
        cls,
        sandbox: Sandbox | None = None,
        *,
        store: Store | str | os.PathLike[str] | None = None,
        cache: CachePort | str | os.PathLike[str] | None = None,
        templates: PromptTemplates | None = None,
        **settings: Unpack[Settings],
    ) -> Self:
        """A client of the offline sandbox; see `ImageClient.sandbox`."""
        from gptimage.sandbox import SANDBOX_URL, AsyncSandboxTransport, Sandbox

        check_settings("AsyncImageClient.sandbox", Settings.__annotations__, settings)
        check_sandbox(sandbox)
        transport = AsyncSandboxTransport(
            Sandbox(clock=settings.get("clock")) if sandbox is None else sandbox
        )
        return cls(
            transport=transport,
            base_url=SANDBOX_URL,
            store=store,
            cache=cache,
            templates=templates,
            **settings,
        )

    async def generate(
        self,
        prompt: str | Prompt,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> Result:
        """Draw new pictures; arguments and errors are those of `ImageClient.generate`."""
        words = self._keeper.check_tags(tags)
        return await self._answer(self._core.plan_generate(prompt, options), refresh, words)

    async def edit(
        self,
        prompt: str | Prompt,
        images: Sources,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Result:
        """Change pictures; arguments and errors are those of `ImageClient.edit`."""
        words = self._keeper.check_tags(tags)
        plan = await to_thread(self._core.plan_edit, prompt, images, options)
        return await self._answer(plan, refresh, words)

    async def variations(
        self,
        image: Source,
        *,
        prompt: str | Prompt = VARIATION,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Result:
        """Draw variations by an edit; see `ImageClient.variations`."""
        return (await self.edit(prompt, image, refresh=refresh, tags=tags, **options)).warn(
            VARIATION_NOTE
        )

    async def stream(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> AsyncIterator[PartialImage | Completed]:
        """Draw or edit with previews; arguments and errors are those of `ImageClient.stream`.

        Nothing is checked or sent before the first step of the iteration.
        """
        words = self._keeper.check_tags(tags)
        plan = await to_thread(self._core.plan_any, prompt, images, options, stream=True)
        with self._meter.call(plan) as call:
            taken = None
            if not refresh and self.cache:
                taken = await to_thread(self._keeper.cache_lookup, plan, self.cache)
            if taken:
                taken = await run_accounting(call, taken.change, call.cache_hit)
            else:
                async with reserve_budget(call):
                    async with aclosing(await self._sender.stream(plan, call)) as source:
                        reader = StreamReader(plan, source.reply)
                        broken = None
                        try:
                            async for event in source:
                                preview = await parse_large_in_thread(event, reader.take)
                                if preview is not None:
                                    call.partial(preview)
                                    yield preview
                        except OutcomeUnknownError as error:
                            broken = error
                    taken = await to_thread(
                        self._keeper.parse_stream_and_spool, plan, reader, broken, self.cache
                    )
                    taken = await run_accounting(call, taken.change, call.finished)
            result = call.saved(await self._save(taken, words))
        yield Completed(result=result)

    async def estimate(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[EditOptions],
    ) -> Estimate | None:
        """What a call with these arguments may cost; see `ImageClient.estimate`."""
        return await to_thread(self._core.estimate, prompt, images, options)

    async def ceiling(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditOptions]
    ) -> Decimal | None:
        """The most such a call should cost, in USD; see `ImageClient.ceiling`."""
        return await to_thread(self._core.ceiling, prompt, images, options)

    async def run(
        self, request: Generate, *, refresh: bool = False, tags: Iterable[str] = ()
    ) -> Result:
        """Send a request that is already a value; see `ImageClient.run`."""
        words = self._keeper.check_tags(tags)
        if request.inputs:  # megabytes to be hashed
            plan = await to_thread(self._core.plan, request)
        else:
            plan = self._core.plan(request)
        return await self._answer(plan, refresh, words)

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        await self._transport.aclose()
        self._core.close()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release connections."""
        await self.aclose()

    def __repr__(self) -> str:
        """Where it sends and with which model; never the key."""
        return f"AsyncImageClient({self._core.endpoint}, model={self._core.model})"

    async def _answer(self, plan: Plan, refresh: bool, tags: tuple[str, ...]) -> Result:
        """The result, from the cache or the service, saved."""
        with self._meter.call(plan) as call:
            if self.cache is None:
                taken = await self._ask(plan, call)
            else:
                taken = await self._fly(self.cache, plan, call, refresh)
            return call.saved(await self._save(taken, tags))

    async def _fly(
        self, cache: CachePort, plan: Plan, call: CallTracker, refresh: bool
    ) -> ParsedReply:
        """From the cache, from a request like this one in flight, or by asking."""
        from gptimage.cache.single_flight import asingle_flight

        asked: list[ParsedReply] = []

        async def ask() -> NewReply:
            asked.append(await self._ask(plan, call))
            return asked[0].fresh

        landed = await asingle_flight(
            cache, plan.key, ask, refresh=refresh, sent=lambda: call.posted
        )
        taken = await to_thread(self._keeper.from_single_flight, plan, landed, asked)
        return taken if asked else await run_accounting(call, taken.change, call.cache_hit)

    async def _ask(self, plan: Plan, call: CallTracker) -> ParsedReply:
        async with reserve_budget(call):
            reply = await self._sender.send(plan, call)
            if self._keeper.is_cheap(plan, reply):
                taken = self._keeper.parse_and_spool(plan, reply)
            else:
                taken = await to_thread(self._keeper.parse_and_spool, plan, reply)
            return await run_accounting(call, taken.change, call.finished)

    async def _save(self, taken: ParsedReply, tags: tuple[str, ...]) -> Result:
        if self.store is None:
            return self._keeper.save(taken, tags)
        return await to_thread(self._keeper.save, taken, tags)
