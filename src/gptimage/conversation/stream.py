"""The pure core of streamed turns: events in, previews and one finished turn out.

The picture is not in the event that says it is completed: it is in the output item, and
again in the response at the end. Either is enough, so a stream that breaks after the
picture still gives it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from gptimage.conversation.parsing import Finish, finish_turn, service_error, turn_of
from gptimage.conversation.planning import TurnPlan
from gptimage.conversation.turns import Turn
from gptimage.engine.plan import possible_cost
from gptimage.errors import MalformedReplyError, OutcomeUnknownError
from gptimage.image.image import Image
from gptimage.providers.openai.responses import (
    Answer,
    TurnEvent,
    as_list,
    as_table,
    read_answer,
    read_turn_event,
)
from gptimage.transport.base64_body import decode
from gptimage.transport.http import HttpReply, ServerEvent
from gptimage.types.result import PartialImage


class TurnReader:
    """Takes the events of one turn's stream in order, then says what came of it.

    Args:
        turn: What was sent.
        head: Status and headers of the answer; its whole body if it is no event stream.
    """

    def __init__(self, turn: TurnPlan, head: HttpReply) -> None:
        self._turn = turn
        self._head = head
        self._partials: list[PartialImage] = []
        self._items: list[Mapping[str, Any]] = []
        self._response: Mapping[str, Any] = {}
        self._ended = False
        self._notes: list[str] = []
        self._unread: list[bytes] = []
        self._took = False

    def take(self, event: ServerEvent) -> PartialImage | None:
        """Read one event; returns the preview in it, if any.

        Raises:
            ApiError: The service reports a failure; it carries the previews so far.
        """
        self._took = True
        try:
            parsed = read_turn_event(event)
        except ValueError:
            if event.data.strip() != b"[DONE]":
                self._notes.append("an event of the stream could not be read")
                self._unread.append(bytes(event.data))
            return None
        if parsed.kind == "partial":
            return self._preview(parsed)
        if parsed.kind == "item":
            self._items.append(parsed.value)
        elif parsed.kind in {"response", "created"}:
            self._response = parsed.value
            self._ended = parsed.kind == "response"
        elif parsed.kind == "error":
            self._failed(parsed)
        return None

    def end(self, failures: Sequence[OutcomeUnknownError], finish: Finish) -> Turn:
        """The turn, once the stream is over.

        Args:
            failures: The failure that ended it early, if one did.
            finish: Reads pictures, usage and cost.

        Raises:
            OutcomeUnknownError: It ended without a finished picture; carries the previews.
            ApiError: The answer was an error, or nothing was drawn.
        """
        broken = failures[0] if failures else None
        if not self._is_stream():
            if broken:
                raise self._cut_short(broken) from broken
            return finish_turn(self._turn, self._head, finish)
        answer = read_answer(self._document())
        drawn = any(call.picture is not None for call in answer.calls)
        if not drawn and not self._ended:
            raise self._cut_short(broken) from broken
        if not self._ended:
            self._notes.append(f"the stream broke after a finished picture: {broken or 'it ended'}")
        turn = self._read(answer, finish)
        return evolve(turn, result=turn.result.warn(*self._notes))

    def _read(self, answer: Answer, finish: Finish) -> Turn:
        try:
            return turn_of(self._turn, answer, self._head, finish, partials=self._partials)
        except MalformedReplyError as error:
            error.partials = tuple(self._partials)
            error.reply = error.reply or json.dumps(self._document()).encode()
            raise

    def _document(self) -> Mapping[str, Any]:
        """The response at the end, with the items that only came on the way."""
        last = as_list(self._response.get("output")) if self._ended else []
        return {**self._response, "output": _merged(self._items, last)}

    def _is_stream(self) -> bool:
        said = self._head.content_type == "text/event-stream" and not self._head.body
        return self._head.status == 200 and (said or self._took)

    def _preview(self, event: TurnEvent) -> PartialImage | None:
        try:
            image = Image.from_bytes(decode(str(event.value).encode("utf-8", "replace")))
        except ValueError as error:
            self._notes.append(f"preview {event.index} could not be read: {error}")
            return None
        partial = PartialImage(image=image, index=event.index)
        self._partials.append(partial)
        return partial

    def _failed(self, event: TurnEvent) -> None:
        told = as_table(event.value.get("error")) or event.value
        request_id = self._head.request_id
        error = service_error(told, request_id=request_id, partials=self._partials)
        if not any(item.get("result") for item in self._items):
            raise error
        self._notes.append(f"the stream reported an error after a finished picture: {error}")

    def _cut_short(self, broken: OutcomeUnknownError | None) -> OutcomeUnknownError:
        reason = str(broken) if broken else "the stream ended before the finished picture"
        plan, kept = self._turn.plan, tuple(self._partials)
        told = f"{reason}: {possible_cost(plan)}; {len(kept)} previews are in .partials"
        ceiling, request_id = plan.ceiling, self._head.request_id
        if not self._unread:
            return OutcomeUnknownError(
                told, possible_cost=ceiling, partials=kept, request_id=request_id
            )
        # A picture may be in what could not be read; it is not thrown away.
        return MalformedReplyError(
            f"{told}, what could not be read is in .reply",
            reply=b"\n\n".join(self._unread),
            possible_cost=ceiling,
            partials=kept,
            request_id=request_id,
        )


def _merged(items: list[Mapping[str, Any]], last: list[object]) -> list[Mapping[str, Any]]:
    """The items of the response at the end; a picture it left out is taken from the way."""
    whole = {_name(item): item for item in items}
    told = [item for each in last if (item := as_table(each))]
    merged = [item if item.get("result") else whole.get(_name(item), item) for item in told]
    known = {_name(item) for item in told}
    return [*merged, *(item for item in items if _name(item) not in known)]


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("id"))
