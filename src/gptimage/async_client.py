"""`AsyncImageClient`: the methods of `ImageClient`, awaited.

Reading files, downloading inputs and decoding large replies leave the event loop.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Sequence,
)
from decimal import Decimal
from typing import TYPE_CHECKING, Self, Unpack

from gptimage._internal.keywords import strict
from gptimage.budget.budget import Usd
from gptimage.checking_client import AsyncCheckingClient
from gptimage.engine.arguments import check_conversation, check_many
from gptimage.engine.base_client import (
    VARIATION,
    VARIATION_NOTE,
    call_settings,
)
from gptimage.engine.config import DEFAULT_TIMEOUT, ClientSettings, Settings
from gptimage.engine.connections import connection
from gptimage.engine.runtime import AsyncRuntime
from gptimage.engine.signatures import shows
from gptimage.models.pricing import Estimate
from gptimage.transport.openai_sdk import AsyncSDK
from gptimage.transport.protocols import AsyncTransport
from gptimage.types.request import (
    BatchOptions,
    CallOptions,
    EditCall,
    EditOptions,
    Generate,
    GenerateCall,
    Options,
    Prompt,
    Source,
    Sources,
)
from gptimage.types.result import Completed, PartialImage, Result


if TYPE_CHECKING:
    from gptimage.batch import AsyncBatch
    from gptimage.batch.job import StatePath
    from gptimage.bulk import CheckpointPath, Item, ProgressCallback, RequestInput, Stop
    from gptimage.checks import AnyCheck
    from gptimage.compare import Case, Comparison
    from gptimage.conversation import AsyncConversation
    from gptimage.conversation.turns import Resume


@shows(ClientSettings, Settings)
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
        **settings: See `ClientSettings` and `Settings`: store, cache, model, retry, budget...

    Attributes:
        clock: Tells the time (UTC) for everything this client does.

    Raises:
        ConfigurationError: There is no key, or a setting is unknown, wrong, or would be
            ignored. Nothing was sent.
    """

    _kind = "AsyncImageClient"
    _transport: AsyncTransport

    @shows(ClientSettings, Settings)
    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        openai: AsyncSDK | None = None,
        transport: AsyncTransport | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        services = connection(
            self._kind,
            settings,
            openai=openai,
            transport=transport,
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
        )
        self._transport = services.transport
        super().__init__(AsyncRuntime(services.transport_to), services, settings)

    @shows(CallOptions, Options)
    async def generate(self, prompt: str | Prompt, **options: Unpack[GenerateCall]) -> Result:
        """Draw new images; arguments and errors are those of `ImageClient.generate`."""
        return await self._generate(prompt, *call_settings(options))

    @shows(CallOptions, Options, EditOptions)
    async def edit(
        self, prompt: str | Prompt, images: Sources, **options: Unpack[EditCall]
    ) -> Result:
        """Change images; arguments and errors are those of `ImageClient.edit`."""
        return await self._edit(prompt, images, *call_settings(options))

    @shows(CallOptions, Options, EditOptions)
    async def variations(
        self, image: Source, *, prompt: str | Prompt = VARIATION, **options: Unpack[EditCall]
    ) -> Result:
        """Draw variations by an edit; see `ImageClient.variations`."""
        return (await self._edit(prompt, image, *call_settings(options))).with_warnings(
            VARIATION_NOTE
        )

    @shows(CallOptions, Options, EditOptions)
    def stream(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditCall]
    ) -> AsyncIterator[PartialImage | Completed]:
        """Draw or edit with previews; arguments and errors are those of `ImageClient.stream`.

        Nothing is checked or sent before the first step of the iteration.
        """
        return self._stream(prompt, images, *call_settings(options))

    @shows(Options, EditOptions)
    async def estimate(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditOptions]
    ) -> Estimate | None:
        """Return what a call with these arguments may cost; see `ImageClient.estimate`."""
        return await self._estimate(prompt, images, options)

    @shows(Options, EditOptions)
    async def max_cost(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        checks: Sequence[AnyCheck] = (),
        **options: Unpack[EditOptions],
    ) -> Decimal | None:
        """Return the most such a call should cost, in USD; see `ImageClient.max_cost`."""
        return await self._max_cost(prompt, images, options, checks)

    @shows(CallOptions)
    async def run(self, request: Generate, **options: Unpack[CallOptions]) -> Result:
        """Send a request that is already a value; see `ImageClient.run`."""
        return await self._run(request, *call_settings(options))

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

        matrix = matrix_of(self._parts(), prompts, models, qualities, checks, options)
        watch = Stopwatch()
        limited = self._within(budget, watch)
        requests = matrix.requests(self._saver.check_saving(tags), title, self.store)
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

    @shows(BatchOptions, max_lines=50_000, max_bytes=200_000_000)
    async def submit_batch(
        self, requests: Iterable[RequestInput], **options: Unpack[BatchOptions]
    ) -> AsyncBatch:
        """Send requests for half the price; see `ImageClient.submit_batch`."""
        from gptimage.batch import AsyncBatch, AsyncBatchParts

        return await AsyncBatch.submit(self._batch_parts(AsyncBatchParts), requests, **options)

    async def open_batch(self, where: StatePath) -> AsyncBatch:
        """Return a batch that was submitted before: its state file, or its id (``batch_...``)."""
        from gptimage.batch import AsyncBatch, AsyncBatchParts

        return await AsyncBatch.open(self._batch_parts(AsyncBatchParts), where)

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        await self._transport.aclose()
        for transport in self._config.services.opened():
            await transport.aclose()
        self._config.close()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Release connections."""
        await self.aclose()
