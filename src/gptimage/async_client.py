"""`AsyncImageClient`: the methods of `ImageClient`, awaited.

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
    Sequence,
)
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from gptimage._internal.keywords import strict
from gptimage.budget.budget import Usd
from gptimage.cache.base import Cache
from gptimage.checking_client import AsyncCheckingClient
from gptimage.engine.arguments import check_sandbox, check_settings
from gptimage.engine.base_client import (
    VARIATION,
    VARIATION_NOTE,
    CallSettings,
    check_batch,
    check_conversation,
    check_many,
)
from gptimage.engine.config import DEFAULT_TIMEOUT, Settings
from gptimage.engine.connections import connection, sandbox_of
from gptimage.engine.runtime import AsyncRuntime
from gptimage.engine.signatures import shows
from gptimage.errors import ConfigurationError
from gptimage.models.pricing import Estimate
from gptimage.transport.openai_sdk import AsyncSDK
from gptimage.transport.protocols import SANDBOX_URL, AsyncTransport
from gptimage.types.request import EditOptions, Generate, Options, Prompt, Source, Sources
from gptimage.types.result import Completed, PartialImage, Result


if TYPE_CHECKING:
    from gptimage.batch import AsyncBatch, AsyncBatchParts
    from gptimage.batch.job import StatePath
    from gptimage.bulk import CheckpointPath, Item, ProgressCallback, RequestInput, Stop
    from gptimage.checks import AnyCheck
    from gptimage.compare import Case, Comparison
    from gptimage.conversation import AsyncConversation
    from gptimage.conversation.turns import Resume
    from gptimage.sandbox import Sandbox
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates


@shows(Settings)
class AsyncImageClient(AsyncCheckingClient):
    """A client that makes and edits images under asyncio; close it, or use ``async with``.

    Args:
        api_key: The key; the environment variable ``OPENAI_API_KEY`` when left out.
        base_url: Another service that speaks OpenAI's API; ``OPENAI_BASE_URL`` when left out. A
            user and password in it are sent as Basic authentication, in place of the key.
        timeout: Seconds to wait for a response. A call given up on may still be billed.
        openai: A configured ``openai.AsyncOpenAI`` or ``AsyncAzureOpenAI`` client to send
            with; it stays yours to close. Its own retries are not used.
        transport: Anything else that sends requests; see `gptimage.transport.AsyncTransport`.
        store: Where every image is saved: a folder, or a `Store`.
        cache: Where responses are saved, so that the same request is paid for once: a folder, or
            what `Cache` makes.
        templates: The prompt templates of `render`; the built-in ones when left out.
        **settings: See `Settings`: model, retry, budget, ledger, observers...

    Attributes:
        clock: Tells the time (UTC) for everything this client does.

    Raises:
        ConfigurationError: There is no key, or a setting is unknown, wrong, or would be
            ignored. Nothing was sent.
    """

    _transport: AsyncTransport

    @shows(Settings)
    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        openai: AsyncSDK | None = None,
        transport: AsyncTransport | None = None,
        store: Store | str | os.PathLike[str] | None = None,
        cache: Cache | str | os.PathLike[str] | None = None,
        templates: PromptTemplates | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        services = connection(
            "AsyncImageClient",
            settings,
            openai=openai,
            transport=transport,
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            templates=templates,
        )
        self._transport = services.transport
        super().__init__(
            AsyncRuntime(services.transport_to),
            services=services,
            store=store,
            cache=cache,
            templates=templates,
            settings=settings,
        )

    @classmethod
    @shows(Settings)
    def sandbox(
        cls,
        sandbox: Sandbox | None = None,
        *,
        store: Store | str | os.PathLike[str] | None = None,
        cache: Cache | str | os.PathLike[str] | None = None,
        templates: PromptTemplates | None = None,
        **settings: Unpack[Settings],
    ) -> Self:
        """Return a client of the offline sandbox; see `ImageClient.sandbox`."""
        from gptimage.sandbox import AsyncSandboxTransport

        check_settings("AsyncImageClient.sandbox", Settings.__annotations__, settings)
        check_sandbox(sandbox)
        transport = AsyncSandboxTransport(sandbox_of(settings, sandbox))
        return cls(
            transport=transport,
            base_url=SANDBOX_URL,
            store=store,
            cache=cache,
            templates=templates,
            **settings,
        )

    @classmethod
    @shows(Settings)
    def from_config(
        cls,
        file: str | os.PathLike[str] | None = None,
        *,
        project: bool = True,
        **settings: Unpack[Settings],
    ) -> Self:
        """Return a client with the shared settings; see `ImageClient.from_config`.

        Args:
            file: The user's file; ``GPTIMAGE_CONFIG`` or the usual one when left out.
            project: Whether ``gptimage.toml`` or ``[tool.gptimage]`` of the working folder counts.
            **settings: See `Settings`.

        Raises:
            ConfigurationError: A setting cannot be used; nothing was sent.
        """
        from gptimage.config import load
        from gptimage.engine.from_config import client_arguments

        check_settings(f"{cls.__name__}.from_config", Settings.__annotations__, settings)
        config = load(file=file, project=project)
        make: Any = cls.sandbox if config.sandbox else cls
        client: Self = make(**client_arguments(config, settings))
        return client

    @shows(Options)
    async def generate(
        self,
        prompt: str | Prompt,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        timeout: float | None = None,  # noqa: ASYNC109  # of the response, as in the SDK
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[Options],
    ) -> Result:
        """Draw new images; arguments and errors are those of `ImageClient.generate`."""
        how = CallSettings(refresh=refresh, tags=tags, timeout=timeout, extra_headers=extra_headers)
        return await self._generate(prompt, options, how)

    @shows(Options, EditOptions)
    async def edit(
        self,
        prompt: str | Prompt,
        images: Sources,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        timeout: float | None = None,  # noqa: ASYNC109  # of the response, as in the SDK
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[EditOptions],
    ) -> Result:
        """Change images; arguments and errors are those of `ImageClient.edit`."""
        how = CallSettings(refresh=refresh, tags=tags, timeout=timeout, extra_headers=extra_headers)
        return await self._edit(prompt, images, options, how)

    @shows(Options, EditOptions)
    async def variations(
        self,
        image: Source,
        *,
        prompt: str | Prompt = VARIATION,
        refresh: bool = False,
        tags: Iterable[str] = (),
        timeout: float | None = None,  # noqa: ASYNC109  # of the response, as in the SDK
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[EditOptions],
    ) -> Result:
        """Draw variations by an edit; see `ImageClient.variations`."""
        how = CallSettings(refresh=refresh, tags=tags, timeout=timeout, extra_headers=extra_headers)
        return (await self._edit(prompt, image, options, how)).with_warnings(VARIATION_NOTE)

    @shows(Options, EditOptions)
    def stream(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[EditOptions],
    ) -> AsyncIterator[PartialImage | Completed]:
        """Draw or edit with previews; arguments and errors are those of `ImageClient.stream`.

        Nothing is checked or sent before the first step of the iteration.
        """
        how = CallSettings(refresh=refresh, tags=tags, timeout=timeout, extra_headers=extra_headers)
        return self._stream(prompt, images, options, how)

    @shows(Options, EditOptions)
    async def estimate(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        **options: Unpack[EditOptions],
    ) -> Estimate | None:
        """Return what a call with these arguments may cost; see `ImageClient.estimate`."""
        return await self._estimate(prompt, images, options)

    @shows(Options, EditOptions)
    async def max_cost(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditOptions]
    ) -> Decimal | None:
        """Return the most such a call should cost, in USD; see `ImageClient.max_cost`."""
        return await self._max_cost(prompt, images, options)

    async def run(
        self,
        request: Generate,
        *,
        refresh: bool = False,
        tags: Iterable[str] = (),
        timeout: float | None = None,  # noqa: ASYNC109  # of the response, as in the SDK
        extra_headers: Mapping[str, str] | None = None,
    ) -> Result:
        """Send a request that is already a value; see `ImageClient.run`."""
        how = CallSettings(refresh=refresh, tags=tags, timeout=timeout, extra_headers=extra_headers)
        return await self._run(request, how)

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
            self._saver,
            self._with_saving_hook,
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

    @shows(Options, EditOptions)
    async def compare(
        self,
        prompts: Iterable[str | Prompt | Case],
        *,
        models: Sequence[str],
        qualities: Sequence[str] = (),
        title: str = "Comparison",
        checks: Sequence[AnyCheck] = (),
        budget: Usd | None = None,
        concurrency: int = 4,
        tags: Iterable[str] = (),
        **options: Unpack[EditOptions],
    ) -> Comparison:
        """Draw every prompt with every model and quality once; see `ImageClient.compare`."""
        from gptimage.compare.comparison import Stopwatch, finished, matrix_of

        matrix = matrix_of(self, prompts, models, qualities, checks, options)
        watch = Stopwatch()
        limited = self._within(budget, watch)
        requests = matrix.requests(self._saver.check_tags(tags), title, self.store)
        many = limited.generate_many(requests, concurrency=concurrency)
        items = {item.index: item async for item in many}
        return await finished(limited._parts(), matrix, items, title, watch.seconds)

    @strict("conversation")
    def conversation(
        self,
        chat_model: str | None = None,
        *,
        image_model: str | None = None,
        resume: Resume | None = None,
        stateless: bool = False,
    ) -> AsyncConversation:
        """Images made and changed turn by turn; see `ImageClient.conversation`."""
        from gptimage.conversation import AsyncConversation

        check_conversation(chat_model, image_model, stateless=stateless)
        return AsyncConversation(
            self._parts(),
            chat_model=chat_model,
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
            self._batch_parts(),
            requests,
            state=state,
            metadata=metadata or {},
            max_lines=max_lines,
            max_bytes=max_bytes,
        )

    async def open_batch(self, where: StatePath) -> AsyncBatch:
        """Return a batch that was submitted before: its state file, or its id (``batch_...``)."""
        from gptimage.batch import AsyncBatch

        return await AsyncBatch.open(self._batch_parts(), where)

    def _batch_parts(self) -> AsyncBatchParts:
        from gptimage.batch import AsyncBatchParts
        from gptimage.transport.protocols import AsyncSupportsDownload

        self._refuse_hook()
        transport, config = self._transport, self._config
        if not isinstance(transport, AsyncSupportsDownload):
            raise ConfigurationError("this transport cannot download, which a batch needs")
        download = transport.download
        return AsyncBatchParts(
            saver=self._saver,
            accounting=self._accounting,
            send=lambda request: transport.send(config.delivered(request)),
            download=lambda request: download(config.delivered(request)),
        )

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        await self._transport.aclose()
        for transport in self._config.services.opened():
            await transport.aclose()
        self._config.close()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release connections."""
        await self.aclose()
