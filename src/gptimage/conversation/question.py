"""A question about images to the chat model: one turn of the Responses API that draws nothing.

It is accounted for like every call: reserved in the budget, entered in the ledger, and never sent
again when it may have been billed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from attrs import field, frozen

from gptimage._internal.keywords import text as check_text
from gptimage.conversation.parsing import parse_words
from gptimage.conversation.turns import ClientParts
from gptimage.engine.config import ClientConfig
from gptimage.engine.plan import Plan, cache_key
from gptimage.engine.send import reserve_budget, run_accounting
from gptimage.image.image import Image
from gptimage.models.pricing import (
    DEFAULT_CHAT_MODEL,
    ChatUsage,
    Cost,
    chat_cost,
    chat_max_cost,
    utf8_length,
)
from gptimage.providers.openai.responses import question_to_wire
from gptimage.providers.parameters import check_question
from gptimage.transport.protocols import SANDBOX_URL
from gptimage.types.inputs import resolve
from gptimage.types.request import FileRef, Generate
from gptimage.types.result import Result


QUESTION: Final = "question"
"""What the ledger and observers call it."""

_EDGE: Final = 2048
"""Longest edge in pixels of an image that is sent: what chat models scale larger ones to."""


@frozen(kw_only=True)
class ChatResponse:
    """What the chat model wrote.

    Attributes:
        text: Its words.
        model: The chat model.
        usage: Its tokens; None when the service did not say.
        cost: What it cost in USD; None when that is not known.
        warnings: What you should know, one sentence each.
    """

    text: str = field(repr=False)
    model: str
    usage: ChatUsage | None = None
    cost: Cost | None = None
    warnings: tuple[str, ...] = ()


def plan_question(
    config: ClientConfig, text: str, images: Sequence[Image], chat_model: str | None = None
) -> Plan:
    """Plan a question; nothing is sent.

    Args:
        config: The client's settings.
        text: The question.
        images: The images it is about.
        chat_model: The model that reads it; the client's when left out.

    Raises:
        InvalidRequestError: The provider has no Responses API, or an image cannot be sent.
        ConfigurationError: The model is no name.
    """
    own = config.services.own
    check_question(own)
    if chat_model is not None:
        check_text("chat_model", chat_model)
    model = chat_model or config.chat_model or DEFAULT_CHAT_MODEL
    endpoint, today = config.endpoint, config.clock().date()
    wire = question_to_wire(model, text, [_sendable(config, each) for each in images])
    return Plan(
        request=Generate(prompt=text, model=model),
        spec=None,
        provider=own,
        endpoint=endpoint,
        wire=wire,
        key=cache_key(wire, endpoint),
        exact=None,
        estimate=None,
        max_cost=chat_max_cost(model, today, text=utf8_length(text), images=len(images), drawn=0),
        warnings=(),
        on=today,
        most=0,
        sandbox=endpoint == SANDBOX_URL,
    )


async def send_question(client: ClientParts, plan: Plan) -> ChatResponse:
    """Send a planned question and return what the chat model wrote.

    Raises:
        ApiError: The service refused.
        OutcomeUnknownError: No usable response arrived; it may have been billed.
        MalformedReplyError: The response has no words in it.
    """
    runtime, model = client.sender.runtime, plan.request.model
    call = client.accounting.call(plan, operation=QUESTION)
    with call:
        async with reserve_budget(runtime, call):
            reply = await client.sender.send(plan, call)
            answer = parse_words(plan, reply, now=client.accounting.clock())
            cost = chat_cost(model, answer.usage, plan.on, tier=answer.tier)
            settled = Result(
                images=(),
                request=plan.request,
                model=model,
                cost=cost,
                created=client.accounting.clock(),
                request_id=reply.request_id,
                sandbox=plan.sandbox,
            )
            settled = await run_accounting(runtime, call, partial(call.finished, settled))
    return ChatResponse(
        text=answer.text,
        model=model,
        usage=answer.usage,
        cost=cost,
        warnings=(*answer.odd, *settled.warnings),
    )


def _sendable(config: ClientConfig, image: Image) -> Image:
    """Return the image as the service takes it, at most 2048 pixels large."""
    found = resolve(image, field="images", fetch=config.fetch)
    if isinstance(found, FileRef):
        raise AssertionError("an Image is never the id of a file")
    return found.thumbnail(_EDGE)
