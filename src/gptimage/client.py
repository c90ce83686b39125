"""`ImageClient`, for code that waits; `AsyncImageClient` awaits the same."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Self, Unpack

from gptimage._internal.coroutines import iterate_blocking, run_blocking
from gptimage._internal.keywords import strict
from gptimage.budget.budget import Usd
from gptimage.checking_client import CheckingClient
from gptimage.engine.arguments import check_conversation, check_many
from gptimage.engine.base_client import (
    VARIATION,
    VARIATION_NOTE,
    call_settings,
)
from gptimage.engine.config import DEFAULT_TIMEOUT, ClientSettings, Settings
from gptimage.engine.connections import connection
from gptimage.engine.runtime import BlockingRuntime
from gptimage.engine.signatures import shows
from gptimage.models.pricing import Estimate
from gptimage.transport.openai_sdk import SDK
from gptimage.transport.protocols import Transport
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
    from gptimage.batch import Batch
    from gptimage.batch.job import StatePath
    from gptimage.bulk import CheckpointPath, Item, ProgressCallback, RequestInput, Stop
    from gptimage.checks import AnyCheck
    from gptimage.compare import Case, Comparison
    from gptimage.conversation import Conversation
    from gptimage.conversation.turns import Resume


@shows(ClientSettings, Settings)
class ImageClient(CheckingClient):
    """A client that makes and edits images, for several threads; close it, or use ``with``.

    Args:
        api_key: The key; the environment variable ``OPENAI_API_KEY`` when left out.
        base_url: Another service that speaks OpenAI's API; ``OPENAI_BASE_URL`` when left out. A
            user and password in it are sent as Basic authentication, in place of the key.
        timeout: Seconds to wait for a response. A call given up on may still be billed.
        openai: A configured ``openai.OpenAI`` or ``AzureOpenAI`` client to send with; it
            stays yours to close. Its own retries are not used.
        transport: Anything else that sends requests; see `gptimage.transport.Transport`.
        **settings: See `ClientSettings` and `Settings`: store, cache, model, retry, budget...

    Attributes:
        clock: Tells the time (UTC) for everything this client does.

    Raises:
        ConfigurationError: There is no key, or a setting is unknown, wrong, or would be
            ignored. Nothing was sent.
    """

    _kind = "ImageClient"
    _transport: Transport

    @shows(ClientSettings, Settings)
    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        openai: SDK | None = None,
        transport: Transport | None = None,
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
        super().__init__(BlockingRuntime(services.transport_to), services, settings)

    @shows(CallOptions, Options)
    def generate(self, prompt: str | Prompt, **options: Unpack[GenerateCall]) -> Result:
        """Draw new images.

        Args:
            prompt: What to draw, or a rendered template whose recommendations apply
                where no option says otherwise.
            **options: See `CallOptions` and `Options`.

        Raises:
            InvalidRequestError: A documented rule is broken; nothing was sent.
            ApiError: The service refused.
            OutcomeUnknownError: No usable response arrived; it may have been billed.
            StoreError: The images could not be saved; they are in its ``result``.
        """
        return run_blocking(self._generate(prompt, *call_settings(options)))

    @shows(CallOptions, Options, EditOptions)
    def edit(self, prompt: str | Prompt, images: Sources, **options: Unpack[EditCall]) -> Result:
        """Change images, or draw a new one after them.

        Args:
            prompt: What to change.
            images: One image or up to 16: paths, bytes, open files, PIL images, ``http(s)``
                or ``data:`` URLs, `Image` values, ids of uploaded files (``file-...``), or
                ids (``img_...``) and records of the client's store.
            **options: See `CallOptions` and `EditOptions`.

        Raises:
            InvalidRequestError: A rule is broken, or an input is no image; nothing was sent.
            FetchError: A URL could not be downloaded safely; nothing was sent.
            ApiError: The service refused.
            OutcomeUnknownError: No usable response arrived; it may have been billed.
            StoreError: The images could not be saved; they are in its ``result``.
        """
        return run_blocking(self._edit(prompt, images, *call_settings(options)))

    @shows(CallOptions, Options, EditOptions)
    def variations(
        self, image: Source, *, prompt: str | Prompt = VARIATION, **options: Unpack[EditCall]
    ) -> Result:
        """Draw variations of an image, as an edit: the service's own endpoint is retired.

        Args:
            image: The image.
            prompt: What may vary.
            **options: See `CallOptions` and `EditOptions`.

        Raises:
            GptImageError: As `edit`.
        """
        return run_blocking(self._edit(prompt, image, *call_settings(options))).with_warnings(
            VARIATION_NOTE
        )

    @shows(CallOptions, Options, EditOptions)
    def stream(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditCall]
    ) -> Iterator[PartialImage | Completed]:
        """Draw or edit with previews: any number of `PartialImage`, then one `Completed`.

        Nothing is checked or sent before the first step of the iteration.

        Args:
            prompt: What to draw or change.
            images: Images to start from, for an edit.
            **options: See `CallOptions` and `EditOptions`.

        Raises:
            ApiError: The service refused, or failed on the way; ``partials`` has the previews.
            OutcomeUnknownError: The stream broke off; ``partials`` has the previews.
            StoreError: The images could not be saved; they are in its ``result``.
        """
        return iterate_blocking(self._stream(prompt, images, *call_settings(options)))

    @shows(Options, EditOptions)
    def estimate(
        self, prompt: str | Prompt, images: Sources | None = None, **options: Unpack[EditOptions]
    ) -> Estimate | None:
        """Return what a call with these arguments may cost, or None when that cannot be known.

        Nothing is sent. An automatic size or quality cannot be estimated.

        Raises:
            InvalidRequestError: The call itself would be refused.
        """
        return run_blocking(self._estimate(prompt, images, options))

    @shows(Options, EditOptions)
    def max_cost(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        checks: Sequence[AnyCheck] = (),
        **options: Unpack[EditOptions],
    ) -> Decimal | None:
        """The most a call with these arguments should cost in USD; what a budget reserves for it.

        Nothing is sent. What is left to the service counts as the dearest it may choose. None when
        it cannot be known: a model without published figures, a gif, an svg, an input's file id.

        Args:
            prompt: What to draw or change.
            images: Images to start from, for an edit.
            checks: Those of `until` or `best_of`, whose questions about the call's images count.
            **options: See `EditOptions`.

        Raises:
            InvalidRequestError: The call itself would be refused, or a check of it.
            ConfigurationError: A check needs a package that is not installed.
        """
        return run_blocking(self._max_cost(prompt, images, options, checks))

    @shows(CallOptions)
    def run(self, request: Generate, **options: Unpack[CallOptions]) -> Result:
        """Send a request that is already a value, such as ``result.request``.

        Args:
            request: The request.
            **options: See `CallOptions`.

        Raises:
            GptImageError: As `generate` and `edit`.
        """
        return run_blocking(self._run(request, *call_settings(options)))

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
            **options: Parameters of each prompt and dict that says nothing else; see `EditOptions`.

        Raises:
            InvalidRequestError: ``concurrency`` is below 1.
            ConfigurationError: The checkpoint is in use, or belongs to other requests.
            OSError: The checkpoint cannot be written; raised when all that was sent is yielded.
        """
        from gptimage.bulk import many

        check_many(concurrency, checkpoint, retry_unknown=retry_unknown, refresh=refresh)
        return many(
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
    def compare(
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
        """Draw every prompt with every model and quality once, and put all on one sheet.

        What the cache has is not drawn again: the same comparison, made once more, goes on where it
        ended. Every image has the comparison's tag in the store. The options are those of every
        call.

        Args:
            prompts: Prompts, rendered templates, or `gptimage.compare.Case` values.
            models: The models.
            qualities: The qualities; that of the options, or of the service, when left out.
            title: What the sheet and the tag are called.
            checks: What every image should be; see `gptimage.checks`.
            budget: The most that all calls and questions together may cost, in USD; what does not
                fit is on the sheet as not drawn.
            concurrency: How many are sent at the same time.
            tags: Tags for the store.
            **options: See `EditOptions`.

        Raises:
            ConfigurationError: The client has no cache, or a setting is wrong.
            InvalidRequestError: The lists are no matrix, or a check is none.
        """
        from gptimage.compare.comparison import Stopwatch, finished, matrix_of

        matrix = matrix_of(self._parts(), prompts, models, qualities, checks, options)
        watch = Stopwatch()
        limited = self._within(budget, watch)
        requests = matrix.requests(self._saver.check_saving(tags), title, self.store)
        many = limited.generate_many(requests, concurrency=concurrency)
        items = {item.index: item for item in many}
        return run_blocking(finished(limited._parts(), matrix, items, title, watch.seconds))

    @strict("conversation")
    def conversation(
        self,
        chat_model: str | None = None,
        *,
        image_model: str | None = None,
        resume: Resume | None = None,
        stateless: bool = False,
    ) -> Conversation:
        """Images made and changed turn by turn: over the Responses API, or with Gemini.

        Args:
            chat_model: The model that reads the words; it is billed apart.
            image_model: The model that draws; the client's when left out.
            resume: Where to go on: a turn, a response's id, a stored image's id or record.
            stateless: Send the last image with every turn, and let the service keep nothing.

        Raises:
            InvalidRequestError: Nothing can be resumed that way.
            ConfigurationError: A stored image is named, and the client has no store.
        """
        from gptimage.conversation import Conversation

        check_conversation(chat_model, image_model, stateless=stateless)
        return Conversation(
            self._parts(),
            chat_model=chat_model,
            image_model=image_model,
            resume=resume,
            stateless=stateless,
        )

    @shows(BatchOptions, max_lines=50_000, max_bytes=200_000_000)
    def submit_batch(
        self, requests: Iterable[RequestInput], **options: Unpack[BatchOptions]
    ) -> Batch:
        """Send requests for half the price, answered within a day.

        Args:
            requests: Prompts, dicts of arguments, or requests.
            **options: See `BatchOptions`.

        Raises:
            InvalidRequestError: A request is wrong; nothing was submitted.
            BudgetExceededError: It could cross the budget; nothing was submitted.
            ConfigurationError: The state file is another job's, or in use.
            ApiError: The service refused; of several batches, some may be submitted.
            OutcomeUnknownError: It may or may not have been accepted.
        """
        from gptimage.batch import Batch, BatchParts

        return Batch.submit(self._batch_parts(BatchParts), requests, **options)

    def open_batch(self, where: StatePath) -> Batch:
        """Return a batch that was submitted before: its state file, or its id (``batch_...``).

        Raises:
            ConfigurationError: The file holds no batch.
        """
        from gptimage.batch import Batch, BatchParts

        return Batch.open(self._batch_parts(BatchParts), where)

    def close(self) -> None:
        """Release connections; harmless when done twice."""
        self._transport.close()
        for transport in self._config.services.opened():
            transport.close()
        self._config.close()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release connections."""
        self.close()
