"""A conversation's values: what a turn takes, and the `Turn` it gives back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from attrs import evolve, field, frozen

from gptimage._internal.converter import to_json
from gptimage.engine.accounting import CallAccounting, CallTracker
from gptimage.engine.save import ParsedReply, ResultSaver
from gptimage.engine.send import RetryingSender
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.models.pricing import ChatUsage, Cost
from gptimage.models.sizes import Size
from gptimage.providers.base import Exchange
from gptimage.types.parameters import (
    Background,
    Level,
    Moderation,
    OutputFormat,
    Outside,
    Quality,
)
from gptimage.types.record import Record
from gptimage.types.request import FileRef, Prompt, Source, Svg
from gptimage.types.result import Result


Action = Literal["auto", "generate", "edit"]
"""Whether a turn draws anew, changes an image, or leaves that to the model."""


class TurnOptions(TypedDict, total=False):
    """Parameters of one turn besides prompt, images, mask and action; None is not sent.

    Attributes:
        size: As in `Options`: you get exactly these pixels.
        quality: ``low`` to ``max``, or ``auto``.
        background: ``transparent``, ``opaque`` or ``auto``.
        format: ``png``, ``jpeg``, ``webp``, ``gif`` or ``svg``.
        compression: 0 to 100 per cent, for jpeg and webp.
        moderation: ``auto``, or ``low`` for less filtering.
        complexity: How much the image model plans before it draws (2.6).
        safety_identifier: A stable, hashed id of your end user.
        frame_count: Frames of a gif, 2 to 16.
        frame_duration_ms: Milliseconds each gif frame is shown.
        svg: The author model of an svg, where the project may choose one.
        input_fidelity: ``low`` or ``high``, on image models that take it.
        outside: ``keep`` puts the image back where the mask lets nothing change.
        partial_images: Previews while streaming, 0 to 3 (`stream` only).
        max_images: The most images the model may draw in this turn; 1 when left out.
        extra_body: Fields of the response request this library does not know, such as
            ``{"reasoning": {"effort": "low"}}``, sent as they are.
    """

    size: str | tuple[int, int] | Size | None
    quality: Quality | None
    background: Background | None
    format: OutputFormat | None
    compression: int | None
    moderation: Moderation | None
    complexity: Level | None
    safety_identifier: str | None
    frame_count: int | None
    frame_duration_ms: int | None
    svg: Svg | None
    input_fidelity: Literal["low", "high"] | None
    outside: Outside | None
    partial_images: int | None
    max_images: int | None
    extra_body: Mapping[str, object] | None


class TurnCall(TurnOptions, total=False):
    """All keywords of a turn.

    Attributes:
        mask: Where the first of ``images``, or the last image, may change.
        action: ``generate`` a new image, ``edit`` one, or let the model decide.
        tags: Tags for the store.
    """

    mask: Mask | Source | None
    action: Action
    tags: Iterable[str]


@frozen(kw_only=True)
class FailedCall:
    """An image call of a turn that drew nothing.

    Attributes:
        call_id: Its id, or None.
        message: What the service says, one line.
        code: Its machine-readable code, such as ``moderation_blocked``.
        type: Its error type.
        stage: Where moderation refused: ``input``, ``output`` or ``unknown``; else None.
        categories: The categories moderation names, such as ``sexual``.
    """

    call_id: str | None
    message: str
    code: str | None = None
    type: str | None = None
    stage: str | None = None
    categories: tuple[str, ...] = ()


@frozen(kw_only=True, repr=False)
class Turn:
    """One turn of a conversation: the request, its images and the chat model's text.

    Attributes:
        result: The images with the image model's usage and cost, as `generate` returns them.
        text: What the chat model wrote beside the image; often empty.
        revised_prompts: For each image the prompt it was really drawn from, or None.
        response_id: The service's id of the turn, with which it can be continued; None when the
            reply did not say.
        call_ids: For each image the id of the image call that drew it.
        failed: Image calls that drew nothing, beside those that did.
        chat_model: The model that read the words and called the image model.
        chat_usage: Its tokens; None when the service did not say.
        chat_cost: Its cost in USD, not part of ``result.cost``; None when unknown. 0 where one
            model reads and draws, as its whole cost is then ``result.cost``.
        exchanges: What a service that remembers nothing is sent again with the next turn.
    """

    result: Result
    text: str = field(default="", repr=False)
    revised_prompts: tuple[str | None, ...] = field(default=(), repr=False)
    response_id: str | None = None
    call_ids: tuple[str | None, ...] = ()
    failed: tuple[FailedCall, ...] = ()
    chat_model: str
    chat_usage: ChatUsage | None = None
    chat_cost: Cost | None = None
    exchanges: tuple[Exchange, ...] = field(default=(), repr=False)

    @property
    def image(self) -> Image:
        """The first image."""
        return self.result.images[0]

    @property
    def images(self) -> tuple[Image, ...]:
        """Every image."""
        return self.result.images

    def __repr__(self) -> str:
        """Return what came, the id and what it cost, on one line."""
        cost = "unknown" if self.total_cost is None else str(self.total_cost)
        return f"<Turn {self.result!r}, {self.response_id}, {self.chat_model}, total_cost={cost}>"

    @property
    def revised_prompt(self) -> str | None:
        """The prompt the first image was really drawn from, when the service says."""
        return self.revised_prompts[0] if self.revised_prompts else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notes on the turn, one sentence each."""
        return self.result.warnings

    @property
    def request_id(self) -> str | None:
        """The service's id of the call; None when the reply did not say."""
        return self.result.request_id

    @property
    def total_cost(self) -> Cost | None:
        """Image and chat model together, in USD; None when one of them is unknown."""
        images, chat = self.result.cost, self.chat_cost
        return None if images is None or chat is None else images + chat

    @property
    def stored(self) -> tuple[Record, ...]:
        """The records of the store, one for each image, when the client has a store."""
        return self.result.stored

    def to_dict(self, *, data: bool = False) -> dict[str, object]:
        """Return everything known as JSON values: those of `Result.to_dict`, and the turn's own.

        Args:
            data: Whether the images themselves are in it, as base64 text.
        """
        chat, total = self.chat_cost, self.total_cost
        return {
            **self.result.to_dict(data=data),
            "text": self.text,
            "revised_prompts": list(self.revised_prompts),
            "response_id": self.response_id,
            "call_ids": list(self.call_ids),
            "failed": [to_json(each) for each in self.failed],
            "chat_model": self.chat_model,
            "chat_usage": None if self.chat_usage is None else to_json(self.chat_usage),
            "chat_cost_usd": None if chat is None else str(chat.usd),
            "total_cost_usd": None if total is None else str(total.usd),
        }

    def to_json(self, *, data: bool = False) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(data=data))

    def _repr_html_(self) -> str:
        """Return the images, for notebooks."""
        return self.result._repr_html_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol


@frozen(kw_only=True)
class TurnCompleted:
    """The end of a turn's stream.

    Attributes:
        turn: The same value `Conversation.send` returns.
    """

    turn: Turn

    @property
    def image(self) -> Image:
        """The first finished image."""
        return self.turn.image

    def _repr_html_(self) -> str:
        """Return the images, for notebooks."""
        return self.turn._repr_html_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol


# What a conversation needs of its client, and the inputs of a turn.

Resume: TypeAlias = str | Turn | Record
"""Where a conversation goes on: a turn, a response's id (``resp_...``), an image of the store or
its id (``img_...``)."""


@frozen(kw_only=True)
class ClientParts:
    """The parts of a client that a `Conversation` uses.

    Attributes:
        saver: Its settings, and its store.
        sender: Sends a plan, with the client's retries and limits.
        accounting: Its budget, ledger and observers.
    """

    saver: ResultSaver
    sender: RetryingSender
    accounting: CallAccounting


@frozen(kw_only=True)
class TurnInput:
    """The caller's arguments of one turn, its images read.

    Attributes:
        prompt: The words.
        images: Images given with them.
        mask: Where the first of them, or the last image, may change.
        action: ``auto``, ``generate`` or ``edit``.
        options: See `TurnOptions`.
        stream: Whether the answer is streamed.
        tags: Tags for the store.
    """

    prompt: str | Prompt
    images: tuple[Image | FileRef, ...] = ()
    mask: Mask | FileRef | None = None
    action: str = "auto"
    options: Mapping[str, Any] = field(factory=dict[str, Any])
    stream: bool = False
    tags: tuple[str, ...] = ()


@frozen(kw_only=True)
class CompletedTurn:
    """A turn that was read, but is not saved yet.

    Attributes:
        turn: The turn.
        taken: Its reply, which waits in the spool until the images are saved.
        parent: The stored image it goes on from, or None.
        tags: Tags for the store.
    """

    turn: Turn
    taken: ParsedReply
    parent: str | None = None
    tags: tuple[str, ...] = ()

    def settled(self, call: CallTracker) -> CompletedTurn:
        """Return the same, once the accounting knows what it cost, the chat model included."""
        result = call.finished(self.turn.result, extra=self.turn.chat_cost)
        return evolve(self, turn=evolve(self.turn, result=result))
