"""The pure core of conversations: a turn becomes a plan, and its reply becomes a `Turn`.

The Images API's plan judges the request, sizes it and counts its money; the Responses API
only wraps it differently. So a turn is a `Plan` with another wire, and everything that knows
plans (retries, budget, limits) treats it like any other call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen

from gptimage._http import HttpReply
from gptimage._plan import Plan, cache_key, possible_cost
from gptimage._shown import shown
from gptimage.errors import (
    ApiError,
    GptImageError,
    ImageDecodeError,
    InvalidRequestError,
    MalformedReplyError,
)
from gptimage.image import Image
from gptimage.mask import Mask
from gptimage.outer import outer_cost
from gptimage.prompt import Prompt
from gptimage.providers.openai_errors import error_from_event
from gptimage.providers.openai_responses import (
    OURS,
    Answer,
    Ask,
    ImageCall,
    as_list,
    as_table,
    read_answer,
    to_wire,
)
from gptimage.requests import FileRef, Generate, edit_request, generate_request
from gptimage.results import PartialImage, Result
from gptimage.turns import FailedCall, Turn, TurnOptions


Finish = Callable[[Plan, HttpReply], Result]
"""Reads a reply of the Images API; both clients' core has it."""

ACTIONS: Final = ("auto", "generate", "edit")
MAX_PICTURES: Final = 10
_KNOWN: Final = tuple(TurnOptions.__annotations__)
_REFUSED: Final[Mapping[str, str]] = {
    "n": "the image tool takes none; max_pictures bounds how many the model may draw",
    "markup": "the image tool takes none; use a mask, or ImageClient.edit()",
    "model": "it is fixed for a conversation: client.conversation(model=..., image_model=...)",
}
_FORGOTTEN: Final = "previous_response_not_found"
_LOST: Final = re.compile(r"previous response\b.{0,200}\bnot found", re.IGNORECASE | re.DOTALL)
_RESULT: Final = re.compile(rb'(?<!\\)"result"(\s*:\s*")')
_SERVER_CODES: Final = {"server_error", "vector_store_timeout"}


@frozen(kw_only=True)
class TurnPlan:
    """Everything decided before a turn is sent.

    Attributes:
        plan: The plan; its request is the picture asked for, its wire the response request.
        ask: How it is put to the service.
    """

    plan: Plan
    ask: Ask


def image_request(
    prompt: str | Prompt,
    options: Mapping[str, Any],
    *,
    images: tuple[Image | FileRef, ...],
    mask: Mask | FileRef | None,
    model: str,
    stream: bool,
) -> Generate:
    """The picture a turn asks for: an edit when it starts from pictures, else a new one.

    Raises:
        InvalidRequestError: An option is unknown or has no place in a conversation.
    """
    _refuse_unknown(options)
    rest = {name: value for name, value in options.items() if name != "max_pictures"}
    if images:
        return edit_request(
            prompt, rest, images=images, mask=mask, default_model=model, stream=stream
        )
    if rest.pop("input_fidelity", None) is not None:
        raise InvalidRequestError(
            "input_fidelity: there is no picture yet to be kept",
            field="input_fidelity",
            allowed="a turn that changes a picture",
        )
    return generate_request(prompt, rest, default_model=model, stream=stream)


def check_ask(action: object, max_pictures: object, *, pictures: bool, masked: bool) -> None:
    """Refuse an action that cannot work.

    Args:
        action: What the turn is to do.
        max_pictures: The most pictures it may draw.
        pictures: Whether there is a picture to change.
        masked: Whether a mask is given.

    Raises:
        InvalidRequestError: It names the parameter.
    """
    if action not in ACTIONS:
        raise _refuse("action", action, "it is not known", ACTIONS)
    if action == "edit" and not pictures:
        raise _refuse("action", action, "there is no picture yet to change", "images=...")
    if action == "generate" and masked:
        raise _refuse("mask", "a mask", "a new picture takes no mask", "action='edit'")
    whole = isinstance(max_pictures, int) and not isinstance(max_pictures, bool)
    if not whole or not 1 <= max_pictures <= MAX_PICTURES:  # type: ignore[operator]  # whole: it is an int
        raise _refuse("max_pictures", max_pictures, "it must be a whole number", "1 to 10")


def plan_turn(plan: Plan, ask: Ask, *, endpoint: str) -> TurnPlan:
    """Wrap the plan of a picture as a turn.

    Args:
        plan: The plan for the Images API.
        ask: How the turn is put.
        endpoint: The base URL.

    Raises:
        InvalidRequestError: A picture is too large, or an extra field is not free.
    """
    for name in plan.request.extra_body or ():
        if name in OURS:
            raise _refuse("extra_body", name, "a conversation sets it itself", "other fields")
    azure = (urlsplit(endpoint).hostname or "").endswith(".azure.com")
    ask = evolve(ask, azure=azure)
    wire = to_wire(plan.request, plan.wire, ask)
    ceiling = None if plan.ceiling is None else plan.ceiling * ask.max_pictures
    whole = evolve(plan, wire=wire, key=cache_key(wire, endpoint), ceiling=ceiling)
    return TurnPlan(plan=whole, ask=ask)


def is_forgotten(error: GptImageError) -> bool:
    """Whether the service refused a turn because it no longer has the one before.

    Such a refusal comes before anything is drawn, so asking in another way pays once.
    """
    if not isinstance(error, ApiError) or error.partials:
        return False
    return error.code == _FORGOTTEN or bool(_LOST.search(str(error)))


def finish_turn(turn: TurnPlan, reply: HttpReply, finish: Finish) -> Turn:
    """Read a whole reply into a turn.

    Raises:
        ApiError: The service refused, or the only image call failed.
        MalformedReplyError: The reply holds no readable picture; it carries the body.
        OutcomeUnknownError: A gateway gave up waiting.
    """
    value = _json(reply) if 200 <= reply.status < 300 else None
    if value is None:
        # An error, or a body that was cut short: the Images API's rescue finds whole pictures.
        renamed = _RESULT.sub(rb'"b64_json"\1', bytes(reply.body))
        result = finish(turn.plan, evolve(reply, body=renamed))
        return Turn(result=result, outer_model=turn.ask.outer_model)
    return turn_of(turn, read_answer(value, reply.pictures), reply, finish)


def turn_of(
    turn: TurnPlan,
    answer: Answer,
    reply: HttpReply,
    finish: Finish,
    *,
    partials: Iterable[PartialImage] = (),
) -> Turn:
    """The turn an answer stands for.

    Args:
        turn: What was sent.
        answer: What came back.
        reply: Its status and headers, and the raw body where it was one.
        finish: Reads pictures, usage and cost.
        partials: The previews a stream delivered.

    Raises:
        ApiError: Nothing was drawn, and the service says why.
        MalformedReplyError: Nothing was drawn, and it does not; or no picture can be read.
    """
    drawn = [call for call in answer.calls if call.picture is not None]
    if not drawn:
        raise _nothing(turn, answer, reply, partials)
    readable = [call for call in drawn if _is_picture(call)]
    failed = tuple(_failed(call) for call in answer.calls if call.picture is None)
    result = finish(turn.plan, _as_images(answer, drawn, reply))
    return Turn(
        result=_counted(turn, answer, result).warn(*_notes(answer, readable, failed)),
        text=answer.text,
        revised_prompts=tuple(call.revised_prompt for call in readable),
        response_id=answer.id,
        call_ids=tuple(call.id for call in readable),
        failed=failed,
        outer_model=turn.ask.outer_model,
        outer_usage=answer.usage,
        outer_cost=outer_cost(turn.ask.outer_model, answer.usage, turn.plan.on, tier=answer.tier),
    )


def service_error(
    error: Mapping[str, Any], *, request_id: str | None, partials: Iterable[PartialImage] = ()
) -> ApiError:
    """The exception for an error object inside a response or a stream, where types go missing."""
    kind = "server_error" if str(error.get("code")) in _SERVER_CODES else "invalid_request_error"
    known = error.get("type") not in (None, "", "error")
    whole = {**error, "type": error["type"] if known else kind}
    return error_from_event({"error": whole}, request_id=request_id, partials=partials)


def _as_images(answer: Answer, drawn: list[ImageCall], reply: HttpReply) -> HttpReply:
    """The same pictures as a reply of the Images API, which `finish` knows how to read."""
    pictures: list[bytes] = []
    data: list[dict[str, object]] = []
    for call in drawn:
        if isinstance(call.picture, bytes):
            data.append({"b64_json": len(pictures)})
            pictures.append(call.picture)
        else:
            data.append({"b64_json": call.picture})
    authors = [call.svg_usage for call in drawn if call.svg_usage is not None]
    body = {
        "created": answer.created,
        "usage": answer.image_usage,
        "svg_usage": authors[0] if authors else None,
        "data": data,
        **drawn[0].reported,
    }
    return evolve(reply, body=json.dumps(body).encode(), pictures=tuple(pictures))


def _counted(turn: TurnPlan, answer: Answer, result: Result) -> Result:
    """Without the parts of its input, a turn that goes on has no known price.

    Earlier pictures are part of what goes in, though the request itself names none.
    """
    detailed = as_table(answer.image_usage).get("input_tokens_details")
    if detailed or turn.ask.previous is None or result.usage is None:
        return result
    usage = evolve(result.usage, text_tokens=None, image_tokens=None)
    return evolve(result, usage=usage, cost=None)


def _notes(
    answer: Answer, readable: list[ImageCall], failed: tuple[FailedCall, ...]
) -> Iterable[str]:
    if len(readable) > 1:
        yield f"the model drew {len(readable)} pictures in this turn, and each is billed"
    for call in failed:
        yield f"another image call of this turn drew nothing: {call.message}"
    if answer.status == "incomplete":
        yield f"the response is incomplete ({answer.reason or 'no reason given'})"
    if answer.id is None:
        yield "the reply has no id: the next turn goes on from the picture alone"


def _nothing(
    turn: TurnPlan, answer: Answer, reply: HttpReply, partials: Iterable[PartialImage]
) -> GptImageError:
    """Why there is no picture: a failed call says most, then the response itself."""
    told = [error for error in (*(call.error for call in answer.calls), answer.error) if error]
    if told:
        return service_error(told[0], request_id=reply.request_id, partials=partials)
    why = f"the response is {answer.status or 'empty'} ({answer.reason or 'no reason given'})"
    if answer.text:
        why = "the model answered in words and drew nothing"
    return MalformedReplyError(
        f"{why}: {possible_cost(turn.plan)}; the raw reply is in .reply",
        reply=bytes(reply.body),
        status=reply.status,
        possible_cost=turn.plan.ceiling,
        partials=partials,
        request_id=reply.request_id,
    )


def _failed(call: ImageCall) -> FailedCall:
    error: Mapping[str, Any] = call.error or {}
    details = as_table(error.get("moderation_details"))
    stage = details.get("moderation_stage")
    told = service_error(error, request_id=None)
    return FailedCall(
        call_id=call.id,
        message=str(told) if error else "the service does not say why",
        code=told.code,
        type=told.type,
        stage=stage if isinstance(stage, str) else None,
        categories=tuple(map(str, as_list(details.get("categories")))),
    )


def _is_picture(call: ImageCall) -> bool:
    """Whether `finish` can read it, so that ids and prompts stay beside their pictures."""
    try:
        return isinstance(call.picture, bytes) and bool(Image.from_bytes(call.picture))
    except ImageDecodeError:
        return False


def _json(reply: HttpReply) -> object:
    """The body, or None when it is no JSON object."""
    try:
        text = bytes(reply.body).decode("utf-8-sig", "replace")
        value: object = json.loads(text, strict=False, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return as_table(value) or None


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _REFUSED:
            raise InvalidRequestError(
                f"{name} is not a parameter of a turn: {_REFUSED[name]}", field=name, allowed=_KNOWN
            )


def _refuse(
    field: str, value: object, problem: str, allowed: str | tuple[str, ...]
) -> InvalidRequestError:
    hint = allowed if isinstance(allowed, str) else ", ".join(allowed)
    message = f"{field}={shown(value)}: {problem}; allowed: {hint}"
    return InvalidRequestError(message, field=field, value=value, allowed=allowed)
