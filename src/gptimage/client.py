"""`ImageClient`: a thin shell over the core, for code that waits; its twin awaits."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from gptimage._internal.clock import Clock
from gptimage._internal.keywords import strict
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
from gptimage.engine.send import RetryingSender
from gptimage.engine.streaming import StreamReader
from gptimage.errors import ConfigurationError, OutcomeUnknownError
from gptimage.models.pricing import Estimate
from gptimage.transport.openai_sdk import SDK, OpenAITransport
from gptimage.transport.protocols import Transport
from gptimage.types.request import EditOptions, Generate, Options, Prompt, Source, Sources
from gptimage.types.result import Completed, PartialImage, Result


if TYPE_CHECKING:
    from gptimage.batch import Batch, BatchLine
    from gptimage.batch.job import StatePath
    from gptimage.budget.ledger import Ledger
    from gptimage.bulk import CheckpointPath, Item, ProgressCallback, RequestInput, Stop
    from gptimage.conversation import Conversation
    from gptimage.conversation.turns import Resume
    from gptimage.sandbox import Sandbox
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates


# What a client does besides single calls: many at once, batches, conversations, look-ups.
#
# A client hands each its keeper, sender and meter.


class Jobs(Catalogue):
    """The bigger jobs of an `ImageClient`."""

    _sender: RetryingSender
    _transport: Transport

    if TYPE_CHECKING:  # the client has it

        def run(
            self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
        ) -> Result: ...

    def generate_many(
        self,
        requests: Iterable[RequestInput],
        *,
        concurrency: int = 8,
        progress: ProgressCallback = False,
        checkpoint: CheckpointPath = None,
        retry_unknown: bool = False,
        stop: Stop | None = None,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Generator[Item]:
        """Send many requests; items come as they finish, each with its index.

        Args:
            requests: Prompts, dicts of arguments, or requests; any iterable, of any length.
            concurrency: How many are sent at the same time.
            progress: True shows it on standard error; or a function called with a `Progress`.
            checkpoint: A file; a second run with it sends only what is missing.
            retry_unknown: Send again what an earlier run may have been billed for.
            stop: Ends the run early when it is set: nothing new is sent, what was sent comes.
            refresh: Send even if the cache has the response.
            tags: Tags for the store.
            **options: Parameters of every prompt and dict that says nothing else; see `EditOptions`.

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
    ) -> Conversation:
        """Pictures made and changed turn by turn, over the Responses API.

        Args:
            model: The chat model, which reads the words; it is billed apart.
            image_model: The model that draws; the client's when left out.
            resume: Where to go on: a turn, a response's id, a stored picture's id or record.
            stateless: Send the last picture with every turn, and let the service keep nothing.

        Raises:
            InvalidRequestError: Nothing can be resumed that way.
            ConfigurationError: A stored picture is named, and the client has no store.
        """
        from gptimage.conversation import Conversation
        from gptimage.conversation.turns import ClientParts

        check_talk(model, image_model, stateless=stateless)
        return Conversation(
            ClientParts(keeper=self._keeper, sender=self._sender, meter=self._meter),
            model=model,
            image_model=image_model,
            resume=resume,
            stateless=stateless,
        )

    @strict("submit_batch")
    def submit_batch(
        self,
        requests: Iterable[RequestInput],
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
        from gptimage.transport.protocols import SupportsDownload

        if self._sender.gate is not None:
            raise ConfigurationError(NO_BATCH)
        transport = self._transport
        if not isinstance(transport, SupportsDownload):
            raise ConfigurationError("this transport cannot download, which a batch needs")
        return BatchLine(
            keeper=self._keeper,
            meter=self._meter,
            send=transport.send,
            download=transport.download,
        )


class ImageClient(Jobs):
    """Makes and edits pictures. Safe to use from several threads; close it, or use ``with``.

    Args:
        api_key: The key; the environment variable ``OPENAI_API_KEY`` when left out.
        base_url: Another service that speaks OpenAI's API; ``OPENAI_BASE_URL`` when left out. A
            user and password in it are sent as Basic authentication, in place of the key.
        timeout: Seconds to wait for an answer. A call given up on may still be billed.
        openai: A configured ``openai.OpenAI`` or ``AzureOpenAI`` client to send with; it
            stays yours to close. Its own retries are not used.
        transport: Anything else that sends requests; see `gptimage.transport.protocols.Transport`.
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
        openai: SDK | None = None,
        transport: Transport | None = None,
        store: Store | str | os.PathLike[str] | None = None,
        cache: CachePort | str | os.PathLike[str] | None = None,
        templates: PromptTemplates | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        endpoint, login = check_arguments(
            "ImageClient",
            settings,
            openai=openai,
            transport=transport,
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            templates=templates,
        )
        if transport is None:
            transport = OpenAITransport(
                connect("OpenAI", api_key, endpoint, timeout, login)
                if openai is None
                else (lambda: openai),
                owned=openai is None,
            )
        self.store: Store | None = store_of(store)
        self.cache: CachePort | None = cache_of(cache)
        self._core = ClientConfig.from_settings(settings, endpoint=endpoint, store=self.store)
        self._keeper = ResultSaver(core=self._core, caches=self.cache is not None)
        self._templates = templates
        self._transport: Transport = transport
        self._sender = RetryingSender(self._core, self._transport)
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
        """A client of the offline sandbox: no key, no network, no cost, the same code path.

        Args:
            sandbox: The sandbox to use, for its settings and its log; a new one when left out.
            store: Where every picture is saved.
            cache: Where answers are kept.
            templates: The prompt templates of `render`.
            **settings: See `Settings`.
        """
        from gptimage.sandbox import SANDBOX_URL, Sandbox, SandboxTransport

        check_settings("ImageClient.sandbox", Settings.__annotations__, settings)
        check_sandbox(sandbox)
        transport = SandboxTransport(
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

    def generate(
        self,
        prompt: str | Prompt,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> Result:
        """Draw new pictures.

        Args:
            prompt: What to draw, or a rendered template whose recommendations apply
                where no option says otherwise.
            refresh: Ask again even if the cache knows the answer, and replace it.
            tags: Tags for the store.
            **options: See `Options`.

        Raises:
            InvalidRequestError: A documented rule is broken; nothing was sent.
            ApiError: The service refused.
            OutcomeUnknownError: No usable answer arrived; it may have been billed.
            StoreError: The pictures could not be saved; they are in its ``result``.
        """
        words = self._keeper.check_tags(tags)
        return self._answer(self._core.plan_generate(prompt, options), refresh, words)

    def edit(
        self,
        prompt: str | Prompt,
        images: Sources,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Result:
        """Change pictures, or draw a new one after them.

        Args:
            prompt: What to change.
            images: One picture or up to 16: paths, bytes, open files, PIL images, ``http(s)``
                or ``data:`` URLs, `Image` values, ids of uploaded files (``file-...``), or
                ids (``img_...``) and records of the client's store.
            refresh: Ask again even if the cache knows the answer, and replace it.
            tags: Tags for the store.
            **options: See `EditOptions`; ``mask`` says where the first picture may change.

        Raises:
            InvalidRequestError: A rule is broken, or an input is no picture; nothing was sent.
            FetchError: A URL could not be downloaded safely; nothing was sent.
            ApiError: The service refused.
            OutcomeUnknownError: No usable answer arrived; it may have been billed.
            StoreError: The pictures could not be saved; they are in its ``result``.
        """
        words = self._keeper.check_tags(tags)
        return self._answer(self._core.plan_edit(prompt, images, options), refresh, words)

    def variations(
        self,
        image: Source,
        *,
        prompt: str | Prompt = VARIATION,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Result:
        """Draw variations of a picture, as an edit: the service's own endpoint is retired.

        Args:
            image: The picture.
            prompt: What may vary.
            refresh: Ask again even if the cache knows the answer, and replace it.
            tags: Tags for the store.
            **options: See `EditOptions`; ``n`` says how many.

        Raises:
            GptImageError: As `edit`.
        """
        return self.edit(prompt, image, refresh=refresh, tags=tags, **options).warn(VARIATION_NOTE)

    def stream(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Iterator[PartialImage | Completed]:
        """Draw or edit with previews: any number of `PartialImage`, then one `Completed`.

        Nothing is checked or sent before the first step of the iteration.

        Args:
            prompt: What to draw or change.
            images: Pictures to start from, for an edit.
            refresh: Ask again even if the cache knows the answer, and replace it.
            tags: Tags for the store.
            **options: See `EditOptions`; ``partial_images`` asks for up to 3 previews.

        Raises:
            ApiError: The service refused, or failed on the way; ``partials`` has the previews.
            OutcomeUnknownError: The stream broke off; ``partials`` has the previews.
            StoreError: The pictures could not be saved; they are in its ``result``.
        """
        words = self._keeper.check_tags(tags)
        plan = self._core.plan_any(prompt, images, options, stream=True)
        with self._meter.call(plan) as call:
            cached = (
                self._keeper.cache_lookup(plan, self.cache) if self.cache and not refresh else None
            )
            if cached:
                taken = cached.change(call.cache_hit)
            else:
                with call.reserved():
                    with closing(self._sender.stream(plan, call)) as source:
                        reader = StreamReader(plan, source.reply)
                        broken = None
                        try:
                            for event in source:
                                if (preview := reader.take(event)) is not None:
                                    call.partial(preview)
                                    yield preview
                        except OutcomeUnknownError as error:
                            broken = error
                    taken = self._keeper.parse_stream_and_spool(plan, reader, broken, self.cache)
                    taken = taken.change(call.finished)
            result = call.saved(self._keeper.save(taken, words))
        yield Completed(result=result)

    def estimate(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[EditOptions],
    ) -> Estimate | None:
        """What a call with these arguments may cost, or None when that cannot be known.

        Nothing is sent. An automatic size or quality cannot be estimated.

        Raises:
            InvalidRequestError: The call itself would be refused.
        """
        return self._core.estimate(prompt, images, options)

    def ceiling(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditOptions]
    ) -> Decimal | None:
        """The most a call with these arguments should cost in USD; what a budget reserves for it.

        Nothing is sent. None when it cannot be known: an automatic size, an unlisted model, an svg.

        Raises:
            InvalidRequestError: The call itself would be refused.
        """
        return self._core.ceiling(prompt, images, options)

    def run(self, request: Generate, *, refresh: bool = False, tags: Iterable[str] = ()) -> Result:
        """Send a request that is already a value, such as ``result.request``.

        Args:
            request: The request.
            refresh: Ask again even if the cache knows the answer, and replace it.
            tags: Tags for the store.

        Raises:
            GptImageError: As `generate` and `edit`.
        """
        words = self._keeper.check_tags(tags)
        return self._answer(self._core.plan(request), refresh, words)

    def close(self) -> None:
        """Release connections; harmless when done twice."""
        self._transport.close()
        self._core.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release connections."""
        self.close()

    def __repr__(self) -> str:
        """Where it sends and with which model; never the key."""
        return f"ImageClient({self._core.endpoint}, model={self._core.model})"

    def _answer(self, plan: Plan, refresh: bool, tags: tuple[str, ...]) -> Result:
        """The result, from the cache or the service, saved."""
        with self._meter.call(plan) as call:
            if self.cache is None:
                taken = self._ask(plan, call)
            else:
                taken = self._fly(self.cache, plan, call, refresh)
            return call.saved(self._keeper.save(taken, tags))

    def _fly(self, cache: CachePort, plan: Plan, call: CallTracker, refresh: bool) -> ParsedReply:
        """From the cache, from a request like this one in flight, or by asking."""
        from gptimage.cache.single_flight import single_flight

        asked: list[ParsedReply] = []

        def ask() -> NewReply:
            asked.append(self._ask(plan, call))
            return asked[0].fresh

        landed = single_flight(cache, plan.key, ask, refresh=refresh, sent=lambda: call.posted)
        taken = self._keeper.from_single_flight(plan, landed, asked)
        return taken if asked else taken.change(call.cache_hit)

    def _ask(self, plan: Plan, call: CallTracker) -> ParsedReply:
        with call.reserved():
            reply = self._sender.send(plan, call)
            return self._keeper.parse_and_spool(plan, reply).change(call.finished)
