"""Turns of a service that remembers nothing: the turns before are sent again with each one.

One model reads the words and draws. Its replies come translated, in the form of the Images API,
with the model's own message beside, which the next turn sends back as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from attrs import evolve

from gptimage._internal.json import array, prose, table
from gptimage.conversation.planning import TurnPlan
from gptimage.conversation.turns import Turn, TurnInput
from gptimage.engine.plan import Plan, cache_key
from gptimage.engine.streaming import StreamReader
from gptimage.errors import InvalidRequestError, OutcomeUnknownError
from gptimage.models.pricing import FREE
from gptimage.providers.base import Exchange
from gptimage.providers.openai.responses import Ask
from gptimage.transport.base64_body import image_of, read
from gptimage.transport.http import HttpReply, ServerEvent
from gptimage.types.result import PartialImage, Result


_FORGETS: Final = (
    "the model's own message is not at hand as it came: the next turn goes on from the image alone"
)


def check_input(inputs: TurnInput, title: str) -> None:
    """Refuse what only a chat model with an image tool can be told.

    Raises:
        InvalidRequestError: It names the parameter.
    """
    most = inputs.options.get("max_images")
    for name, value, usual in (("action", inputs.action, "auto"), ("max_images", most, 1)):
        if value not in (None, usual):
            raise InvalidRequestError(
                f"{name}={value!r}: {title} reads the words itself and takes none; leave it out, "
                "or say it in the prompt; nothing was sent",
                field=name,
                value=value,
                allowed=str(usual),
            )


def plan_messages(plan: Plan, earlier: Sequence[Exchange], *, known: int) -> TurnPlan:
    """Return the plan of a turn: an image's, whose request has the turns before it.

    Args:
        plan: The plan of the image.
        earlier: The turns before it.
        known: How many of its first input images are in them.

    Raises:
        InvalidRequestError: All images are too large together.
    """
    to_turn = plan.provider.to_turn
    if to_turn is None:
        raise InvalidRequestError(
            f"model={plan.request.model!r} is of another service: a conversation stays where it "
            "began; begin a new one with its last image as images=[...]; nothing was sent",
            field="model",
            value=plan.request.model,
        )
    exchanges = (*earlier, Exchange(request=plan.wire, known=known))
    wire = to_turn(exchanges)
    # No highest cost: what is read again is billed, and no source says as how many tokens.
    most = None if earlier else plan.max_cost
    whole = evolve(plan, wire=wire, key=cache_key(wire, plan.endpoint), max_cost=most)
    ask = Ask(chat_model=plan.request.model, remembered=False)
    return TurnPlan(plan=whole, ask=ask, exchanges=exchanges)


def finish_messages(
    turn: TurnPlan, reply: HttpReply, finish: Callable[[Plan, HttpReply], Result]
) -> Turn:
    """Read a whole reply, in the form of the Images API, into a turn.

    Raises:
        GptImageError: As ``finish``.
    """
    result = finish(turn.plan, reply)
    message: Mapping[str, object] = {}
    drawn: tuple[bytes, ...] = ()
    with suppress(ValueError):  # a reply that was cut short has whole images, and no message
        document = read(reply.body, reply.images)
        value = table(document.value)
        images = [image_of(table(each), document) for each in array(value.get("data"))]
        drawn = tuple(image for image in images if image is not None)
        message = table(value.get("model_message")) if len(drawn) == len(images) else {}
    exchanges: tuple[Exchange, ...] = ()
    if message and turn.exchanges:
        own = evolve(turn.exchanges[-1], reply=message, images=drawn)
        exchanges = (*turn.exchanges[:-1], own)
    texts = [prose(table(part).get("text")) for part in array(message.get("parts"))]
    none = (None,) * len(result.images)
    return Turn(
        result=result if message else result.with_warnings(_FORGETS),
        text="\n".join(text for text in texts if text),
        revised_prompts=none,
        call_ids=none,
        chat_model=turn.ask.chat_model,
        chat_cost=FREE,
        exchanges=exchanges,
    )


class MessageReader:
    """Takes the events of one turn's stream in order, in the form of the Images API.

    Args:
        turn: What was sent.
        head: Status and headers of the response; its whole body if it is no event stream.
    """

    def __init__(self, turn: TurnPlan, head: HttpReply) -> None:
        self._turn = turn
        self._reader = StreamReader(turn.plan, head)

    @property
    def event(self) -> ServerEvent | None:
        """The event that is being read."""
        return self._reader.event

    @event.setter
    def event(self, event: ServerEvent | None) -> None:
        self._reader.event = event

    def take(self, event: ServerEvent) -> PartialImage | None:
        """Read one event; returns the preview in it, if any.

        Raises:
            ApiError: The service reports a failure; it carries the previews so far.
        """
        return self._reader.take(event)

    def arrived(self) -> HttpReply | None:
        """Return the finished images that are here, as one reply; None when there is none."""
        return self._reader.arrived()

    def end(
        self,
        failures: Sequence[OutcomeUnknownError],
        finish: Callable[[Plan, HttpReply], Result],
    ) -> Turn:
        """Return the turn, once the stream is over.

        Raises:
            OutcomeUnknownError: It ended without a finished image; carries the previews.
            ApiError: The response was an error, or nothing was drawn.
        """
        broken = failures[0] if failures else None
        turn = finish_messages(self._turn, self._reader.finished(broken), finish)
        return evolve(turn, result=turn.result.with_warnings(*self._reader.notes(broken)))
