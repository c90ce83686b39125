"""Requests of tool calls, with their images read: ready to be confirmed, and drawn."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from attrs import evolve, field, frozen

import gptimage
from gptimage.checks import Attempts, named_checks
from gptimage_mcp.jobs.job import Job, Outcome


ATTEMPTS: Final = 3
"""How often a call draws at most until its checks pass."""

InputImage: TypeAlias = gptimage.Image | gptimage.FileRef
"""An image of a request: its bytes, or a file the service has."""


class _Priced(ABC):
    """A request whose cost is foreseen from its prompt, images and options."""

    @property
    @abstractmethod
    def priced(self) -> tuple[str, list[InputImage] | None, dict[str, Any]]:
        """Prompt, images and options by which its cost is foreseen."""

    async def max_cost(self, client: gptimage.AsyncImageClient) -> Decimal | None:
        """Return the most it should cost, in USD; None when that is not known.

        Raises:
            InvalidRequestError: A documented rule is broken.
        """
        prompt, images, options = self.priced
        return await client.max_cost(prompt, images, **options)


@frozen(kw_only=True)
class GenerateRequest(_Priced):
    """New images, an edit, or variations of an image.

    Attributes:
        operation: ``generate``, ``edit`` or ``variations``.
        prompt: The words; empty for the usual variation.
        images: The images to start from.
        options: The library's parameters, those that were given.
        refresh: Whether a response that is saved already will not do.
        checks: What an image must pass, or it is drawn again.
    """

    operation: str
    prompt: str = field(repr=False)
    images: tuple[InputImage, ...] = field(default=(), repr=False)
    checks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(repr=False)
    refresh: bool = False

    @property
    def calls(self) -> int:
        """Return how often it draws at most."""
        return ATTEMPTS if self.checks else 1

    @property
    def count(self) -> int:
        """Return the most images it requests."""
        return int(self.options.get("n", 1)) * self.calls

    @property
    def digest(self) -> str:
        """Equal for requests that send the same to the service; hides the prompt."""
        checks = (self.checks,) if self.checks else ()
        return _digest((self.operation, self.prompt, self.images, self.options, *checks))

    async def max_cost(self, client: gptimage.AsyncImageClient) -> Decimal | None:
        """Return the most that all attempts and questions should cost; None if unknown."""
        prompt, images, options = self.priced
        checks = named_checks(self.checks)
        most = await client.max_cost(prompt, images, checks=checks, **options)
        return most if most is None else self.calls * most

    @property
    def priced(self) -> tuple[str, list[InputImage] | None, dict[str, Any]]:
        """All there is."""
        return self.prompt or "variation", list(self.images) or None, dict(self.options)

    async def draw(
        self, client: gptimage.AsyncImageClient, job: Job, tags: tuple[str, ...]
    ) -> Outcome:
        """Send it, and pay.

        Args:
            client: What draws.
            job: Receives previews.
            tags: Words for the store.

        Raises:
            GptImageError: See the client.
        """
        arguments: dict[str, Any] = {"refresh": self.refresh, "tags": tags, **self.options}
        images = list(self.images)
        if self.checks:
            checks = named_checks(self.checks)
            found = await client.until(
                self.prompt, images or None, checks=checks, most=ATTEMPTS, **arguments
            )
            return _best(found)
        if self.operation == "variations":
            if self.prompt:
                arguments["prompt"] = self.prompt
            return await client.variations(images[0], **arguments)
        if "partial_images" in self.options:
            events = client.stream(self.prompt, images or None, **arguments)
            return await _last(events, job, self.options["partial_images"])
        if images:
            return await client.edit(self.prompt, images, **arguments)
        return await client.generate(self.prompt, **arguments)


@frozen(kw_only=True)
class RefineRequest(_Priced):
    """A turn of a conversation about an image.

    Attributes:
        prompt: The words.
        resume: The stored image (``img_...``) or the response (``resp_...``) it goes on from;
            None begins a conversation about `images`.
        images: Images it is given.
        known: The image it goes on from, where it is at hand; only to foresee the cost.
        options: The library's parameters of a turn, those that were given.
        model: The model that draws, or None.
        chat_model: The model that reads the words, or None.
        refresh: Whether it is paid once more although an earlier one may have been.
    """

    prompt: str = field(repr=False)
    resume: str | None
    images: tuple[InputImage, ...] = field(default=(), repr=False)
    known: InputImage | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(repr=False)
    model: str | None = None
    chat_model: str | None = None
    refresh: bool = False

    operation: Final = "refine"
    calls: Final = 1

    @property
    def count(self) -> int:
        """Return the most images it requests."""
        return int(self.options.get("max_images", 1))

    @property
    def digest(self) -> str:
        """See `GenerateRequest`."""
        parts = (self.prompt, self.resume, self.images, self.options, self.model, self.chat_model)
        return _digest(parts)

    @property
    def priced(self) -> tuple[str, list[InputImage] | None, dict[str, Any]]:
        """The image's part, which is nearly all of it."""
        options = {name: self.options[name] for name in self.options if name not in _OF_A_TURN}
        images = [*self.images, *((self.known,) if self.known else ())]
        return self.prompt, images or None, {"n": self.count, "model": self.model, **options}

    async def draw(
        self, client: gptimage.AsyncImageClient, job: Job, tags: tuple[str, ...]
    ) -> Outcome:
        """See `GenerateRequest`."""
        conversation = client.conversation(
            self.chat_model, image_model=self.model, resume=self.resume
        )
        images = list(self.images) or None
        try:
            if "partial_images" in self.options:
                events = conversation.stream(self.prompt, images, tags=tags, **self.options)
                return await _last(events, job, self.options["partial_images"])
            return await conversation.send(self.prompt, images, tags=tags, **self.options)
        except gptimage.StoreError as error:
            if error.result is not None:  # the whole turn, with the id to go on from
                error.result = conversation.turns[-1]
            raise


ImageRequest: TypeAlias = GenerateRequest | RefineRequest
"""A request for images."""


@frozen(kw_only=True)
class RequestGroup:
    """Several requests that the person confirms once.

    Attributes:
        prompt: What they have in common.
        requests: The requests.
    """

    prompt: str = field(repr=False)
    requests: tuple[GenerateRequest, ...]
    operation: str = "edit"

    @property
    def count(self) -> int:
        """Return the most images they request together."""
        return sum(request.count for request in self.requests)

    @property
    def digest(self) -> str:
        """Equal for groups that send the same."""
        parts = "".join(request.digest for request in self.requests)
        return hashlib.sha256(parts.encode()).hexdigest()

    async def max_cost(self, client: gptimage.AsyncImageClient) -> Decimal | None:
        """Return the most they should cost together, in USD; None if one of them is not known."""
        total = Decimal()
        for request in self.requests:
            most = await request.max_cost(client)
            if most is None:
                return None
            total += most
        return total


def _best(found: Attempts) -> gptimage.Result:
    """Return the best image as a result with the cost and the records of all.

    Its warnings are what the best one failed.
    """
    best = found.best
    notes = [f"check {each.name} failed: {each.reason}" for each in best.failed]
    if len(found) > 1:
        notes.append(
            f"{len(found)} images were drawn for these checks and paid, and this is the best; all "
            f"have the tag {found.tag}"
        )
    notes += [note for note in found.warnings if note not in best.result.warnings]
    stored = () if best.id is None else found.stored  # the first is of the image, see `Job.shown`
    whole = evolve(best.result, images=(best.image,), stored=stored, cost=found.cost)
    return whole.with_warnings(*notes)


_OF_A_TURN: Final = ("action", "max_images")


async def _last(
    events: AsyncIterator[gptimage.PartialImage | gptimage.Completed | gptimage.TurnCompleted],
    job: Job,
    previews: int,
) -> Outcome:
    """Return the outcome at the end of a stream, whose previews the job reports."""
    seen = 0
    outcome: Outcome | None = None
    async for event in events:
        if isinstance(event, gptimage.PartialImage):
            seen += 1
            job.report(f"preview {seen} of up to {previews}", event.image)
        elif isinstance(event, gptimage.Completed):
            outcome = event.result
        else:
            outcome = event.turn
    if outcome is None:
        raise AssertionError("a stream that ends has an outcome, or raises")
    return outcome


def _digest(parts: object) -> str:
    text = json.dumps(parts, default=_mark, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _mark(value: object) -> object:
    """Return what distinguishes a value from others of its kind."""
    if isinstance(value, gptimage.Image):
        return value.sha256
    if isinstance(value, gptimage.Mask):
        return [value.boxes, value.image]
    if isinstance(value, gptimage.FileRef):
        return value.file_id
    raise TypeError(f"{type(value).__name__} does not belong in a request")
