"""The methods of both clients that look at images: check them, describe them, choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from gptimage._internal.coroutines import run_blocking
from gptimage._internal.keywords import strict
from gptimage.engine.base_client import BaseClient, CallSettings, call_settings
from gptimage.engine.signatures import shows
from gptimage.types.request import CallOptions, EditCall, EditOptions, Options, Prompt, Sources


if TYPE_CHECKING:
    from gptimage.budget.budget import Usd
    from gptimage.checks import AnyCheck, Attempts, CheckResult
    from gptimage.checks.attempts import Draw
    from gptimage.conversation.alt_text import AltText, Purpose
    from gptimage.conversation.turns import ClientParts
    from gptimage.image.image import ImageSource
    from gptimage.types.record import Record


class _Base(BaseClient):
    """What both do, as coroutines. Imported when it is called: most programs check nothing."""

    def _parts(self) -> ClientParts:
        from gptimage.conversation.turns import ClientParts

        return ClientParts(saver=self._saver, sender=self._sender, accounting=self._accounting)

    async def _check_image(
        self, image: ImageSource, checks: Sequence[AnyCheck]
    ) -> tuple[CheckResult, ...]:
        from gptimage.checks.attempts import check_any

        return await check_any(self._parts(), image, checks)

    async def _alt_text(
        self,
        image: ImageSource | Record,
        purpose: Purpose,
        context: str | None,
        language: str,
        chat_model: str | None,
    ) -> AltText:
        from gptimage.conversation.alt_text import alt_text

        parts = self._parts()
        return await alt_text(
            parts, image, purpose, context=context, language=language, chat_model=chat_model
        )

    async def _max_cost(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        checks: Sequence[AnyCheck],
    ) -> Decimal | None:
        plan = await self._plan_for_estimate(prompt, images, options)
        if not checks:
            return plan.max_cost
        from gptimage.checks.attempts import max_question_cost, usable_checks

        usable = usable_checks(self._parts(), checks, plan.request)
        chat_model, count = self._config.chat_model, plan.request.effective_n
        asked = max_question_cost(usable, count, self.clock().date(), chat_model)
        return None if asked is None or plan.max_cost is None else plan.max_cost + asked

    def _read(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        checks: object,
    ) -> tuple[Draw, Sequence[AnyCheck]]:
        """Return what draws once, and the checks of what it draws.

        Files are read once for all attempts: an open one has nothing left for the second.
        """
        from gptimage.checks.attempts import usable_checks

        found = None
        if images is not None or (isinstance(prompt, Prompt) and prompt.images):
            prompt, found, options = self._config.read_inputs(prompt, images, options)
        request = self._config.plan_any(prompt, found, options).request
        usable = usable_checks(self._parts(), checks, request)
        return partial(self._draw_any, prompt, found, options), usable

    async def _best_of(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        checks: Sequence[AnyCheck],
        budget: Usd | None,
        options: Mapping[str, Any],
        how: CallSettings,
    ) -> Attempts:
        from gptimage.checks.attempts import best_of

        several = options if options.get("n") is not None else {**options, "n": 4}
        limited = self._within(budget)
        read = partial(limited._read, prompt, images, several, checks)
        draw, wanted = await self._runtime.work(read)
        return await best_of(limited._parts(), draw, how, wanted)

    async def _until(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        checks: Sequence[AnyCheck],
        budget: Usd | None,
        most: int,
        options: Mapping[str, Any],
        how: CallSettings,
    ) -> Attempts:
        from gptimage.checks.attempts import until

        limited = self._within(budget)
        read = partial(limited._read, prompt, images, options, checks)
        draw, wanted = await self._runtime.work(read)
        return await until(limited._parts(), draw, how, wanted, most)


class CheckingClient(_Base):
    """The part of `ImageClient` that looks at images."""

    @strict("check")
    def check(self, image: ImageSource, checks: Sequence[AnyCheck]) -> tuple[CheckResult, ...]:
        """Check an image. Only a `gptimage.checks.Question` is sent and paid.

        Args:
            image: What holds the image.
            checks: The checks.

        Returns:
            What each check found, in their order; one that raised counts as failed.

        Raises:
            InvalidRequestError: There is no check, or a question cannot be sent.
            ConfigurationError: A check needs a package that is not installed.
            ImageDecodeError: It is no image.
        """
        return run_blocking(self._check_image(image, checks))

    @strict("alt_text")
    def alt_text(
        self,
        image: ImageSource | Record,
        purpose: Purpose = "informative",
        *,
        context: str | None = None,
        language: str = "English",
        chat_model: str | None = None,
    ) -> AltText:
        """Have the chat model write the text alternative of an image: one cheap, paid turn.

        It is saved with an image of the client's store, where ``store.set_alt`` edits it and
        `Image.for_web` finds it.

        Args:
            image: A record or id of the client's store; or a path, bytes, an `Image`, ...
            purpose: ``informative`` says what the image shows, ``functional`` what the link or
                button that it is does; ``decorative`` is empty, and nothing is sent.
            context: What the page says of it, or where a link leads.
            language: The language of the text.
            chat_model: The model that writes it; the client's when left out.

        Returns:
            The text, at most 125 characters, with what it cost.

        Raises:
            InvalidRequestError: An argument makes no sense; nothing was sent.
            ConfigurationError: A stored image is named, and the client has no store.
            ImageNotFoundError: No image has this id.
            ApiError: The service refused.
            OutcomeUnknownError: No usable response arrived; it may have been billed.
        """
        return run_blocking(self._alt_text(image, purpose, context, language, chat_model))

    @shows(CallOptions, Options, EditOptions)
    def best_of(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        checks: Sequence[AnyCheck],
        budget: Usd | None = None,
        **options: Unpack[EditCall],
    ) -> Attempts:
        """Draw several images in one call, check each, and say which is the best.

        Four are drawn where ``n`` is left out, and all get a common tag besides ``tags``.

        Args:
            prompt: What to draw or change.
            images: Images to start from, for an edit.
            checks: What the images should be; see `gptimage.checks`.
            budget: The most that the call and its questions together may cost, in USD.
            **options: See `CallOptions` and `EditOptions`.

        Raises:
            GptImageError: As `generate` and `edit`. A check that fails itself raises nothing.
        """
        return run_blocking(self._best_of(prompt, images, checks, budget, *call_settings(options)))

    @shows(CallOptions, Options, EditOptions)
    def until(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        checks: Sequence[AnyCheck],
        most: int = 3,
        budget: Usd | None = None,
        **options: Unpack[EditCall],
    ) -> Attempts:
        """Draw until an image passes every check, one call after another.

        The attempts get a common tag besides ``tags``; ``refresh`` is about the first one alone.

        Args:
            prompt: What to draw or change.
            images: Images to start from, for an edit.
            checks: What the image should be; see `gptimage.checks`.
            most: The most calls, 1 to 20.
            budget: The most that all calls and questions together may cost, in USD; the attempts
                end where the next one could cross it.
            **options: See `CallOptions` and `EditOptions`.

        Returns:
            Every attempt; look at ``passed``. A call that fails after an image was made ends the
            attempts, and is in ``stopped``.

        Raises:
            GptImageError: As `generate` and `edit`, when the first call fails.
        """
        return run_blocking(
            self._until(prompt, images, checks, budget, most, *call_settings(options))
        )


class AsyncCheckingClient(_Base):
    """The part of `AsyncImageClient` that looks at images."""

    @strict("check")
    async def check(
        self, image: ImageSource, checks: Sequence[AnyCheck]
    ) -> tuple[CheckResult, ...]:
        """Check an image; see `ImageClient.check`."""
        return await self._check_image(image, checks)

    @strict("alt_text")
    async def alt_text(
        self,
        image: ImageSource | Record,
        purpose: Purpose = "informative",
        *,
        context: str | None = None,
        language: str = "English",
        chat_model: str | None = None,
    ) -> AltText:
        """Have the chat model write an image's text alternative; see `ImageClient.alt_text`."""
        return await self._alt_text(image, purpose, context, language, chat_model)

    @shows(CallOptions, Options, EditOptions)
    async def best_of(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        checks: Sequence[AnyCheck],
        budget: Usd | None = None,
        **options: Unpack[EditCall],
    ) -> Attempts:
        """Draw several images and say which is the best; see `ImageClient.best_of`."""
        return await self._best_of(prompt, images, checks, budget, *call_settings(options))

    @shows(CallOptions, Options, EditOptions)
    async def until(
        self,
        prompt: str | Prompt,
        images: Sources | None = None,
        *,
        checks: Sequence[AnyCheck],
        most: int = 3,
        budget: Usd | None = None,
        **options: Unpack[EditCall],
    ) -> Attempts:
        """Draw until an image passes every check; see `ImageClient.until`."""
        return await self._until(prompt, images, checks, budget, most, *call_settings(options))
