"""Turns a reply into a `Turn`: pure, with the image parser of every other call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from attrs import evolve

from gptimage._internal.json import array, table
from gptimage._internal.lenient_base64 import decode
from gptimage._internal.text import one_line
from gptimage.conversation.planning import TurnPlan
from gptimage.conversation.turns import FailedCall, Turn
from gptimage.engine.parse import parse_response, priced
from gptimage.engine.plan import Plan
from gptimage.engine.streaming import PreviewReader
from gptimage.errors import (
    ApiError,
    GptImageError,
    ImageDecodeError,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
)
from gptimage.image.image import Image
from gptimage.models.pricing import chat_cost, may_have_cost
from gptimage.providers.openai.errors import error_from_event
from gptimage.providers.openai.responses import (
    IMAGE,
    Answer,
    ImageCall,
    read_answer,
    read_turn_event,
)
from gptimage.transport.base64_body import loads, reassemble
from gptimage.transport.http import EventDecoder, HttpReply, ServerEvent
from gptimage.transport.wrapped_body import loads as loads_or_none
from gptimage.types.result import PartialImage, Result


Finish = Callable[[Plan, HttpReply], Result]
"""Reads a reply of the Images API; both clients' core has it."""

_FORGOTTEN: Final = "previous_response_not_found"
_LOST: Final = re.compile(r"previous response\b.{0,200}\bnot found", re.IGNORECASE | re.DOTALL)
_RESULT: Final = re.compile(rb'(?<!\\)"result"(\s*:\s*")')
_LONGEST_QUOTE: Final = 500
_SERVER_CODES: Final = {"server_error", "vector_store_timeout"}


def is_forgotten(error: GptImageError) -> bool:
    """Return whether the service refused a turn because it no longer has the one before.

    Such a refusal comes before anything is drawn, so asking in another way pays once.
    """
    if not isinstance(error, ApiError) or error.partials:
        return False
    return error.code == _FORGOTTEN or bool(_LOST.search(str(error)))


def finish_turn(turn: TurnPlan, reply: HttpReply, finish: Finish) -> Turn:
    """Read a whole reply into a turn.

    Raises:
        ApiError: The service refused, or the only image call failed.
        MalformedReplyError: The reply holds no readable image; it carries the body.
        OutcomeUnknownError: A gateway gave up waiting.
    """
    value = _json(reply) if reply.is_success else None
    if value is None and (events := _events(reply)):
        reader = TurnReader(turn, evolve(reply, body=b"", images=()))
        for event in events:
            reader.take(event)
        return reader.end((), finish)
    if value is None:
        # An error, or a body that was cut short: the Images API's recovery finds whole images.
        renamed = _RESULT.sub(rb'"b64_json"\1', bytes(reply.body))
        result = finish(turn.plan, evolve(reply, body=renamed))
        return Turn(result=result, chat_model=turn.ask.chat_model)
    return turn_of(turn, read_answer(value, reply.images), reply, finish)


def images_reply(reply: HttpReply) -> HttpReply:
    """Return the images of a reply as one of the Images API; its own body where none is found."""
    value = _json(reply)
    if value is None:
        return evolve(reply, body=_RESULT.sub(rb'"b64_json"\1', bytes(reply.body)))
    answer = read_answer(value, reply.images)
    drawn = [call for call in answer.calls if call.image is not None]
    return _as_images(answer, drawn, reply) if drawn else reply


def turn_of(
    turn: TurnPlan,
    answer: Answer,
    reply: HttpReply,
    finish: Finish,
    *,
    partials: Iterable[PartialImage] = (),
) -> Turn:
    """Return the turn an answer stands for.

    Args:
        turn: What was sent.
        answer: What came back.
        reply: Its status and headers, and the raw body where it was one.
        finish: Reads images, usage and cost.
        partials: The previews a stream delivered.

    Raises:
        ApiError: Nothing was drawn, and the service says why.
        MalformedReplyError: Nothing was drawn, and it does not; or no image can be read.
    """
    drawn = [call for call in answer.calls if call.image is not None]
    if not drawn:
        raise _nothing(turn.plan, answer, reply, partials)
    readable = [call for call in drawn if _is_image(call)]
    failed = tuple(_failed(call) for call in answer.calls if call.image is None)
    result = finish(turn.plan, _as_images(answer, drawn, reply))
    return Turn(
        result=_counted(turn, answer, result).with_warnings(*_notes(answer, readable, failed)),
        text=answer.text,
        revised_prompts=tuple(call.revised_prompt for call in readable),
        response_id=answer.id,
        call_ids=tuple(call.id for call in readable),
        failed=failed,
        chat_model=turn.ask.chat_model,
        chat_usage=answer.usage,
        chat_cost=chat_cost(turn.ask.chat_model, answer.usage, turn.plan.on, tier=answer.tier),
    )


def parse_words(plan: Plan, reply: HttpReply, *, now: datetime) -> Answer:
    """Read a reply in which the chat model only writes.

    Raises:
        ApiError: The service refused, or the model did.
        MalformedReplyError: There are no words in it; it carries the body.
        OutcomeUnknownError: A gateway gave up waiting.
    """
    value = _json(reply) if reply.is_success else None
    if value is None:
        parse_response(plan, reply, now=now)  # raises what an error of the Images API raises
    answer = read_answer(value)
    if answer.text and not answer.refusal and not answer.error:
        return answer
    raise _nothing(plan, evolve(answer, text=""), reply, ())


def service_error(
    error: Mapping[str, Any], *, request_id: str | None, partials: Iterable[PartialImage] = ()
) -> ApiError:
    """The exception for an error object inside a response or a stream, where types go missing."""
    kind = "server_error" if str(error.get("code")) in _SERVER_CODES else "invalid_request_error"
    known = error.get("type") not in (None, "", "error")
    whole = {**error, "type": error["type"] if known else kind}
    return error_from_event({"error": whole}, request_id=request_id, partials=partials)


def _as_images(answer: Answer, drawn: list[ImageCall], reply: HttpReply) -> HttpReply:
    """Return the same images as a reply of the Images API, which `finish` knows how to read."""
    images: list[bytes] = []
    data: list[dict[str, object]] = []
    for call in drawn:
        if isinstance(call.image, bytes):
            data.append({"b64_json": len(images)})
            images.append(call.image)
        else:
            data.append({"b64_json": call.image})
    authors = [call.svg_usage for call in drawn if call.svg_usage is not None]
    body = {
        "created": answer.created,
        "usage": answer.image_usage,
        "svg_usage": authors[0] if authors else None,
        "data": data,
        **drawn[0].reported,
    }
    return evolve(reply, body=json.dumps(body).encode(), images=tuple(images))


def _counted(turn: TurnPlan, answer: Answer, result: Result) -> Result:
    """Without the parts of its input, a turn that goes on has no known price.

    Earlier images are part of what goes in, though the request itself names none.
    """
    detailed = table(answer.image_usage).get("input_tokens_details")
    if detailed or turn.ask.previous is None or result.usage is None:
        return result
    usage = evolve(result.usage, text_tokens=None, image_tokens=None)
    return evolve(result, usage=usage, cost=None)


def _notes(
    answer: Answer, readable: list[ImageCall], failed: tuple[FailedCall, ...]
) -> Iterable[str]:
    yield from answer.odd
    if len(readable) > 1:
        yield f"the model drew {len(readable)} images in this turn, and each is billed"
    for call in failed:
        yield f"another image call of this turn drew nothing: {call.message}"
    if answer.status == "incomplete":
        yield f"the response is incomplete ({answer.reason or 'no reason given'})"
    if answer.id is None:
        yield "the reply has no id: the next turn goes on from the image alone"


def _nothing(
    plan: Plan, answer: Answer, reply: HttpReply, partials: Iterable[PartialImage]
) -> GptImageError:
    """Return why there is no image: a failed call says most, then the response itself."""
    errors = [error for error in (*(call.error for call in answer.calls), answer.error) if error]
    if errors:
        error = service_error(errors[0], request_id=reply.request_id, partials=partials)
        return priced(plan, error)
    why = f"the response is {answer.status or 'empty'} ({answer.reason or 'no reason given'})"
    cost = may_have_cost(plan.max_cost)
    if answer.refusal:
        return ModerationError(
            f"the model refused: {_quoted(answer.refusal)}; no image was drawn, the chat "
            "model's words may be billed",
            status=reply.status,
            code="refusal",
            request_id=reply.request_id,
            body={"refusal": answer.refusal},
            partials=partials,
        )
    if answer.text:
        why = f"the model drew nothing and answered: {_quoted(answer.text)}"
    return MalformedReplyError(
        f"{why}: {cost}; the raw reply is in .reply",
        reply=reassemble(reply.body, reply.images, IMAGE),
        status=reply.status,
        possible_cost=plan.max_cost,
        partials=partials,
        request_id=reply.request_id,
        text=answer.text,
    )


def _quoted(words: str) -> str:
    """Return the model's text on one line, shortened."""
    line = one_line(words)
    return f'"{line[: _LONGEST_QUOTE - 1]}…"' if len(line) > _LONGEST_QUOTE else f'"{line}"'


def _failed(call: ImageCall) -> FailedCall:
    error: Mapping[str, Any] = call.error or {}
    details = table(error.get("moderation_details"))
    stage = details.get("moderation_stage")
    found = service_error(error, request_id=None)
    return FailedCall(
        call_id=call.id,
        message=str(found) if error else "the service does not say why",
        code=found.code,
        type=found.type,
        stage=stage if isinstance(stage, str) else None,
        categories=tuple(map(str, array(details.get("categories")))),
    )


def _is_image(call: ImageCall) -> bool:
    """Return whether `finish` can read it, so that ids and prompts stay beside their images."""
    try:
        return isinstance(call.image, bytes) and bool(Image.from_bytes(call.image))
    except ImageDecodeError:
        return False


def _events(reply: HttpReply) -> list[ServerEvent]:
    """Return the events of a stream nobody asked for; none when it is no stream, or an error."""
    if not reply.is_success:
        return []
    decoder = EventDecoder()
    body = reassemble(reply.body, reply.images, IMAGE)
    found = [*decoder.feed(body), *decoder.finish()]
    return found if any(table(loads_or_none(event.data)).get("type") for event in found) else []


def _json(reply: HttpReply) -> object:
    """Return the body, or None when it is no JSON object."""
    try:
        value: object = loads(bytes(reply.body))
    except ValueError:
        return None
    return table(value) or None


# The pure core of streamed turns: events in, previews and one finished turn out.
#
# The image is not in the event that says it is completed: it is in the output item, and
# again in the response at the end. Either is enough, so a stream that breaks after the
# image still gives it.


class TurnReader(PreviewReader):
    """Takes the events of one turn's stream in order, then says what came of it.

    Args:
        turn: What was sent.
        head: Status and headers of the answer; its whole body if it is no event stream.
    """

    def __init__(self, turn: TurnPlan, head: HttpReply) -> None:
        super().__init__(turn.plan, head)
        self._turn = turn
        self._items: list[Mapping[str, Any]] = []
        self._response: Mapping[str, Any] = {}
        self._ended = False

    def arrived(self) -> HttpReply | None:
        """Return the finished images that are here as a reply of the Images API; None without any.

        What was being read when the call broke off counts. A thread may still be reading it.
        """
        reader, event = TurnReader(self._turn, self._head), self.event
        reader._items, reader._response, reader._ended = self._items, self._response, self._ended
        with suppress(ValueError, ApiError):
            if event is not None:
                reader._items = list(self._items)
                reader._take(event)
        if not reader._items and not reader._ended:
            return self._head if self._head.is_success and self._head.body else None
        answer = read_answer(reader._document())
        drawn = [call for call in answer.calls if call.image is not None]
        return _as_images(answer, drawn, self._head) if drawn else None

    def _take(self, event: ServerEvent) -> PartialImage | None:
        parsed = self._parsed(event, read_turn_event)
        if parsed is None:
            return None
        value = parsed.value
        if parsed.kind == "partial":
            return self._preview(
                lambda: decode(str(value).encode("utf-8", "replace")), parsed.index
            )
        if parsed.kind == "item":
            self._items.append(value)
        elif parsed.kind in {"response", "created"}:
            self._response = value
            self._ended = parsed.kind == "response"
        elif parsed.kind == "error":
            details = table(value.get("error")) or value
            request_id = self._head.request_id
            error = service_error(details, request_id=request_id, partials=self._partials)
            self._failed(error, has_image=any(item.get("result") for item in self._items))
        return None

    def end(self, failures: Sequence[OutcomeUnknownError], finish: Finish) -> Turn:
        """Return the turn, once the stream is over.

        Args:
            failures: The failure that ended it early, if one did.
            finish: Reads images, usage and cost.

        Raises:
            OutcomeUnknownError: It ended without a finished image; carries the previews.
            ApiError: The answer was an error, or nothing was drawn.
        """
        broken = failures[0] if failures else None
        if not self._is_stream():
            if broken:
                raise self._cut_short(broken) from broken
            return finish_turn(self._turn, self._head, finish)
        answer = read_answer(self._document())
        drawn = any(call.image is not None for call in answer.calls)
        if not drawn and not self._ended:
            raise self._cut_short(broken) from broken
        if not self._ended:
            self._notes.append(f"the stream broke after a finished image: {broken or 'it ended'}")
        turn = self._read(answer, finish)
        return evolve(turn, result=turn.result.with_warnings(*self._notes))

    def _read(self, answer: Answer, finish: Finish) -> Turn:
        try:
            return turn_of(self._turn, answer, self._head, finish, partials=self._partials)
        except MalformedReplyError as error:
            error.partials = tuple(self._partials)
            error.reply = error.reply or json.dumps(self._document()).encode()
            raise

    def _document(self) -> Mapping[str, Any]:
        """Return the response at the end, with the items that only came on the way."""
        last = array(self._response.get("output")) if self._ended else []
        return {**self._response, "output": _merged(self._items, last)}


def _merged(items: list[Mapping[str, Any]], last: list[object]) -> list[Mapping[str, Any]]:
    """Return the items of the response at the end; an image it left out is taken from the way."""
    whole = {_name(item): item for item in items}
    final = [item for each in last if (item := table(each))]
    merged = [item if item.get("result") else whole.get(_name(item), item) for item in final]
    known = {_name(item) for item in final}
    return [*merged, *(item for item in items if _name(item) not in known)]


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("id"))
