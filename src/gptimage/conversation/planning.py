"""Plans a turn: pure, like every plan.

The Images API's plan judges the request, sizes it and counts its money; the Responses API
only wraps it differently. So a turn is a `Plan` with another wire, and everything that knows
plans (retries, budget, limits) treats it like any other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from gptimage._internal.json import canonical
from gptimage.conversation.turns import TurnOptions
from gptimage.engine.plan import Plan, cache_key
from gptimage.errors import InvalidRequestError
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.models.pricing import STANDARD, chat_max_cost, utf8_length
from gptimage.providers.base import Exchange
from gptimage.providers.openai.responses import OURS, Ask, to_wire
from gptimage.providers.parameters import check_conversation
from gptimage.types.request import (
    FileRef,
    Generate,
    Prompt,
    edit_request,
    generate_request,
    is_same_size,
    size_of_first,
)
from gptimage.types.validation import refuse


ACTIONS: Final = ("auto", "generate", "edit")
MAX_IMAGES: Final = 10
_REWRITTEN: Final = 1_000
"""Tokens of the prompt the chat model writes for an image; some 50 to 100 were recorded."""
_KNOWN: Final = tuple(TurnOptions.__annotations__)
_REFUSED: Final[Mapping[str, str]] = {
    "n": "the image tool takes none; max_images bounds how many the model may draw",
    "markup": "the image tool takes none; use a mask, or ImageClient.edit()",
    "model": "it is fixed for a conversation: client.conversation(chat_model=..., image_model=...)",
}


@frozen(kw_only=True)
class TurnPlan:
    """The decisions made before a turn is sent.

    Attributes:
        plan: The plan; its request is the image asked for, its wire the response request.
        ask: How it is put to the service.
        exchanges: The turns that are sent, the last one without its reply; None where the
            service remembers them.
    """

    plan: Plan
    ask: Ask
    exchanges: tuple[Exchange, ...] | None = None


def image_request(
    prompt: str | Prompt,
    options: Mapping[str, Any],
    *,
    images: tuple[Image | FileRef, ...],
    mask: Mask | FileRef | None,
    model: str,
    stream: bool,
) -> Generate:
    """Return the image a turn asks for: an edit when it starts from images, else a new one.

    Raises:
        InvalidRequestError: An option is unknown or has no place in a conversation.
    """
    _refuse_unknown(options)
    rest = {name: value for name, value in options.items() if name != "max_images"}
    same = is_same_size(rest.get("size"))
    if images:
        if same:
            rest["size"] = size_of_first(images)
        return edit_request(
            prompt, rest, images=images, mask=mask, default_model=model, stream=stream
        )
    for name in ("input_fidelity", "outside", *(("size",) if same else ())):
        if rest.pop(name, None) is not None:
            raise InvalidRequestError(
                f"{name}: there is no image yet to go by, or it is not at hand",
                field=name,
                allowed="a turn that changes an image",
            )
    return generate_request(prompt, rest, default_model=model, stream=stream)


def check_ask(action: object, max_images: object, *, images: bool, masked: bool) -> None:
    """Refuse an action that cannot work.

    Args:
        action: What the turn is to do.
        max_images: The most images it may draw.
        images: Whether there is an image to change.
        masked: Whether a mask is given.

    Raises:
        InvalidRequestError: It names the parameter.
    """
    if action not in ACTIONS:
        raise refuse("action", action, "it is not known", ACTIONS)
    if action == "edit" and not images:
        raise refuse("action", action, "there is no image yet to change", "images=...")
    if action == "generate" and masked:
        raise refuse("mask", "a mask", "a new image takes no mask", "action='edit'")
    whole = isinstance(max_images, int) and not isinstance(max_images, bool)
    if not whole or not 1 <= max_images <= MAX_IMAGES:  # type: ignore[operator]  # whole: it is an int
        raise refuse("max_images", max_images, "it must be a whole number", "1 to 10")


def plan_turn(plan: Plan, ask: Ask, *, history: int | None = 0) -> TurnPlan:
    """Wrap the plan of an image as a turn.

    Args:
        plan: The plan for the Images API.
        ask: How the turn is put.
        history: Tokens of the turns the service remembers; None when that is not known.

    Raises:
        InvalidRequestError: An image is too large, or an extra field is not free.
    """
    for name in plan.request.extra_body or ():
        if name in OURS:
            raise refuse("extra_body", name, "a conversation sets it itself", "other fields")
    check_conversation(plan.provider)
    if not plan.provider.conversations:
        stays = "a conversation stays with the service it began with"
        raise refuse("model", plan.request.model, stays, "images=[...] of a new conversation")
    ask = evolve(ask, model_header=plan.provider.model_header)
    wire = evolve(to_wire(plan.request, plan.wire, ask), provider=plan.wire.provider)
    max_cost = _max_cost(plan, ask, history)
    key = cache_key(wire, plan.endpoint)
    whole = evolve(plan, wire=wire, key=key, max_cost=max_cost, most=ask.max_images)
    return TurnPlan(plan=whole, ask=ask)


def _max_cost(plan: Plan, ask: Ask, history: int | None) -> Decimal | None:
    """The most a turn should cost in USD, both models together; None when one is not known."""
    price = plan.spec.price(plan.on) if plan.spec else None
    chat = _chat_max_cost(plan.request, plan.on, ask, history)
    if plan.max_cost is None or price is None or chat is None:
        return None
    rewritten = _REWRITTEN * price.text_input / 1_000_000
    return ask.max_images * (plan.max_cost + rewritten) + chat


def _chat_max_cost(request: Generate, on: date, ask: Ask, history: int | None) -> Decimal | None:
    """Return the chat model's part; its bytes are those of the prompt and of all extra fields."""
    extra = request.extra_body or {}
    if extra.get("service_tier") not in STANDARD:
        return None
    most = extra.get("max_output_tokens")
    return chat_max_cost(
        ask.chat_model,
        on,
        text=utf8_length(request.prompt) + (len(canonical(extra)) if extra else 0),
        images=len(request.inputs) if ask.shows else 0,
        history=history if ask.previous is not None else 0,
        drawn=ask.max_images,
        written=most if type(most) is int and most > 0 else None,
    )


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _REFUSED:
            raise InvalidRequestError(
                f"{name} is not a parameter of a turn: {_REFUSED[name]}", field=name, allowed=_KNOWN
            )
