"""The Responses API: a conversation with a tool that draws; whole, as events or in the background.

The sandbox's chat model does not think. It draws what the words say, changes the last
image when there is one, and says so in a sentence.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, cast

from attrs import evolve, field, frozen
from pybase64 import b64encode

from gptimage.models.catalog import Models
from gptimage.sandbox import drawing, failures
from gptimage.sandbox.conversations_api import Conversations
from gptimage.sandbox.failures import Cut, ErrorReply, Fault
from gptimage.sandbox.images_api import Policy
from gptimage.sandbox.replies import shown, svg_usage, usage
from gptimage.sandbox.responses_input import Item, words
from gptimage.sandbox.responses_validation import ValidatedTurn, validate_turn
from gptimage.sandbox.wire import Reader, excess, page
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


_JSON: Final = {"content-type": "application/json"}
_STREAM: Final = {"content-type": "text/event-stream; charset=utf-8"}
_STORED: Final = 256
_STORED_BYTES: Final = 512 * 1024 * 1024
_TEXT: Final = {
    "generate": "Here is the image.",
    "edit": "Here is the changed image.",
    "refused": "I could not draw that.",
    "words": "The sandbox draws and does not chat.",
    "question": "Yes. The sandbox does not look at images.",
}
_TOKENS_PER_IMAGE: Final = 765
_REFUSED: Final = ("moderation", "moderation_output")
_Event: TypeAlias = tuple[str, dict[str, object]]
"""The name and the fields of a server-sent event."""
_ENDED: Final = ("completed", "failed", "cancelled")


@frozen(kw_only=True)
class TurnReply:
    """A reply to send.

    Attributes:
        reply: The whole reply, or the head of a stream.
        events: The events of a stream; None for a plain reply.
        pause: Seconds to wait before a plain reply, or before each event.
        fault: The failure that was requested, which may still break the connection.
    """

    reply: HttpReply
    events: Iterator[ServerEvent] | None = field(default=None, repr=False)
    pause: float = 0.0
    fault: Fault | None = None


class Responses:
    """The endpoints and the last 256 stored responses (512 MiB at most). Thread-safe.

    A background response moves on each time it is retrieved, as a batch does, and completes no
    earlier than the sandbox's latency: so tests see every state, and in order.

    Args:
        now: Tells the time, in whole seconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._turns: dict[str, _Turn] = {}
        self._items: dict[str, _Turn] = {}
        self._conversations = Conversations(now)
        self._texts: deque[str] = deque()
        self._lock = threading.RLock()

    def answer_next(self, text: str, times: int) -> None:
        """Reply with this text to the next turns that draw nothing."""
        with self._lock:
            self._texts.extend([text] * times)

    def handle(
        self,
        request: HttpRequest,
        path: Sequence[str],
        request_id: str,
        policy: Policy,
        *,
        fault: Fault | None,
        latency: float,
    ) -> TurnReply | None:
        """Reply to a request about responses; None for any other.

        Args:
            request: The request, as it arrived.
            path: The parts of its path.
            request_id: Its id, for error messages.
            policy: What this project may do.
            fault: A failure that was scheduled.
            latency: Seconds a drawing takes.

        Raises:
            ErrorReply: A rule is broken, or a failure was requested.
        """
        match request.method, *path:
            case "POST", "responses":
                return self._create(request, request_id, fault, policy, latency)
            case "POST", "responses", "input_tokens":
                return self._count(request, policy)
            case _, "conversations", *_:
                with self._lock:
                    found = self._conversations.handle(request, path, self)
                return None if found is None else _whole(found)
            case "GET", "responses", str(id):
                return self._retrieve(request, self._find(id), latency)
            case "DELETE", "responses", str(id):
                self._forget(self._find(id))
                return _whole({"id": id, "object": "response", "deleted": True})
            case "POST", "responses", str(id), "cancel":
                return self._cancel(self._find(id))
            case "GET", "responses", str(id), "input_items":
                return _whole(_input_items(request, self._find(id).turn.items))
            case _:
                return None

    def images(self, response_id: str) -> Mapping[str, bytes] | None:
        """Return the images a response made or inherited by call id, or None if unknown."""
        with self._lock:
            turn = self._turns.get(response_id)
        return None if turn is None else turn.images or turn.inherited

    def conversation(self, conversation_id: str) -> Mapping[str, bytes] | None:
        """Return the images of a conversation by call id, or None if unknown."""
        with self._lock:
            return self._conversations.images(conversation_id)

    def item(self, item_id: str) -> tuple[Item, bytes | None] | None:
        """Return a stored item and its image, or None if unknown."""
        with self._lock:
            turn = self._items.get(item_id)
            if turn is None:
                return self._conversations.item(item_id)
        found = next(item for item in turn.all_items() if item["id"] == item_id)
        return found, turn.images.get(item_id)

    def _create(
        self,
        request: HttpRequest,
        request_id: str,
        fault: Fault | None,
        policy: Policy,
        latency: float,
    ) -> TurnReply:
        if fault is None and (marked := failures.marked(words(request.body))):
            fault = marked
        scenario = fault.scenario if fault else ""
        if fault and scenario != "moderation":  # in a response that is a failed image call
            reply = failures.at_once(fault, request.body, "gpt-6-luna")
            if reply is not None:
                return TurnReply(reply=reply)
        validated = validate_turn(request, policy, self)
        inherited = self.images(validated.previous or "") or {}
        turn = _Turn(validated, scenario, request_id, policy.models, inherited, created=self._now())
        with self._lock:
            if validated.job is None and self._texts:
                turn.text = self._texts.popleft()
        if validated.stream and scenario not in {"timeout", "empty"}:
            return TurnReply(
                reply=HttpReply(status=200, headers=_STREAM),
                events=self._stored_on_the_way(turn),
                pause=latency / turn.steps,
            )
        if validated.background:
            turn.status = "queued"
            self._store(turn)
            return evolve(_whole(turn.response()), fault=fault)
        if scenario == "stream_error":
            raise failures.refusal("server")
        if scenario == "timeout":
            return TurnReply(reply=HttpReply(status=200, headers=_JSON), fault=fault)
        turn.complete(self._now())
        self._store(turn)
        return evolve(_whole(turn.response()), pause=latency, fault=fault)

    def _stored_on_the_way(self, turn: _Turn) -> Iterator[ServerEvent]:
        if turn.turn.background:  # may be retrieved and cancelled from its first event on
            self._store(turn)
        for event in turn.events(self._now):
            if event.name == "response.completed":  # whoever reads it may go on at once
                self._store(turn)
            yield event

    def _count(self, request: HttpRequest, policy: Policy) -> TurnReply:
        """Count the tokens of an input, which is validated as that of a turn."""
        turn = _Turn(validate_turn(request, policy, self), "", "", policy.models, {}, created=0)
        return _whole({"object": "response.input_tokens", "input_tokens": turn.input_tokens})

    def _store(self, turn: _Turn) -> None:
        with self._lock:
            if turn.turn.conversation and turn.status == "completed" and not turn.added:
                turn.added = True
                # One that was deleted meanwhile takes nothing more.
                with contextlib.suppress(ErrorReply):
                    items = [*turn.turn.items, *turn.output()]
                    self._conversations.add(turn.turn.conversation, items)
            if not turn.turn.stored:
                return
            self._turns[turn.id] = turn
            self._items |= {str(item["id"]): turn for item in turn.all_items()}
            for oldest in excess(self._turns, _nbytes, most=_STORED, most_bytes=_STORED_BYTES):
                self._forget(self._turns[oldest])

    def _forget(self, turn: _Turn) -> None:
        with self._lock:
            self._turns.pop(turn.id, None)
            for item in turn.all_items():
                self._items.pop(str(item["id"]), None)

    def _find(self, response_id: str) -> _Turn:
        with self._lock:
            turn = self._turns.get(response_id)
        if turn is None:
            message = f"Response with id '{response_id[:100]}' not found."
            raise ErrorReply(message, status=404)
        return turn

    def _retrieve(self, request: HttpRequest, turn: _Turn, latency: float) -> TurnReply:
        read = Reader(request.body, form=True)  # a query is text, as a form is
        read.only(("include", "include[]", "include_obfuscation", "starting_after", "stream"))
        after = read.whole("starting_after", 0, 10**9)
        obfuscated = read.flag("include_obfuscation", default=True)
        if read.flag("stream"):
            if not turn.turn.background:
                message = "Only responses created with 'background' can be streamed again."
                raise ErrorReply(message, param="stream")
            events = turn.events(self._now, after=after, obfuscated=obfuscated)
            return TurnReply(reply=HttpReply(status=200, headers=_STREAM), events=events)
        if after is not None:
            message = "'starting_after' is only supported when 'stream' is true."
            raise ErrorReply(message, param="starting_after")
        turn.advance(self._now, latency)
        self._store(turn)
        return _whole(turn.response())

    def _cancel(self, turn: _Turn) -> TurnReply:
        if not turn.turn.background:
            raise ErrorReply("Cannot cancel a synchronous response.")
        with turn.lock:
            if turn.status not in _ENDED:
                turn.status = "cancelled"
        return _whole(turn.response())


def _whole(value: Mapping[str, object]) -> TurnReply:
    body = json.dumps(value).encode()
    return TurnReply(reply=HttpReply(status=200, headers=_JSON, body=body))


def _input_items(request: HttpRequest, items: Sequence[Item]) -> dict[str, object]:
    read = Reader(request.body, form=True)
    read.only(("after", "include", "include[]", "limit", "order"))
    newest_first = (read.choice("order", ("asc", "desc")) or "desc") == "desc"
    return page(read, list(reversed(items)) if newest_first else list(items), most=100)


class _Turn:
    """One turn and its response.

    Attributes:
        turn: The validated request.
        id: The response's id.
        images: The images it made, by call id.
        inherited: The images of the response it continues.
        status: The status of the response.
        added: Whether its items are in the conversation it belongs to.
        text: What it says where that was given beforehand, or None.
        lock: Held while the status changes: a response is drawn once, however many retrieve it.
    """

    def __init__(
        self,
        turn: ValidatedTurn,
        scenario: str,
        request_id: str,
        models: Models,
        inherited: Mapping[str, bytes],
        *,
        created: int,
    ) -> None:
        self.turn = turn
        self.id = f"resp_{uuid.uuid4().hex}"
        self.images: dict[str, bytes] = {}
        self.inherited = inherited
        self.status = "in_progress"
        self.added = False
        self.text: str | None = None
        self.lock = threading.Lock()
        self._call_id = f"ig_{uuid.uuid4().hex}"
        self._scenario = scenario
        self._request_id = request_id
        self._models = models
        self._created = created
        self._started = time.monotonic()
        self._completed: int | None = None

    @property
    def steps(self) -> int:
        """How many pauses the latency of a stream is spread over."""
        return 14 + (self.turn.job.partials if self.turn.job else 0)

    def all_items(self) -> list[Item]:
        """Return the items of its input and output, with images left out."""
        calls = [{**self._call(), "result": None}] if self.turn.job else []
        return [*self.turn.items, *calls, self._message()]

    def advance(self, now: Callable[[], int], latency: float) -> None:
        """Go one step on: queued, in progress, completed."""
        with self.lock:
            if self.status == "queued":
                self.status = "in_progress"
            elif self.status == "in_progress" and time.monotonic() - self._started >= latency:
                self.complete(now())

    def complete(self, now: int) -> None:
        """Draw, and end the response."""
        job, failing = self.turn.job, (*_REFUSED, "stream_error", "empty")
        if job is not None and self._scenario not in failing and not self.images:
            self.images[self._call_id] = drawing.paint(job)
        self.status = "failed" if self._scenario == "stream_error" else "completed"
        self._completed = now

    def response(self, status: str | None = None) -> Item:
        """Return the response object, as it is by now or was with another status."""
        status = status or self.status
        done = status == "completed"
        failed = {"code": "server_error", "message": "Image generation failed"}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "completed_at": self._completed if done else None,
            "error": failed if status == "failed" else None,
            "incomplete_details": None,
            **self.turn.echo,
            "output": self.output() if done else [],
            "service_tier": "default" if done else "auto",
            "tool_usage": self._tool_usage() if done else None,
            "usage": self._usage() if done else None,
        }

    def events(
        self, now: Callable[[], int], *, after: int | None = None, obfuscated: bool | None = None
    ) -> Iterator[ServerEvent]:
        """Yield the events of the turn in the service's order, the same ones each time.

        Args:
            now: Tells the time, in whole seconds since 1970.
            after: Leave out events up to this number.
            obfuscated: Whether deltas are padded; as in the request when left out.
        """
        wanted = self.turn.obfuscated if obfuscated is None else obfuscated
        for number, (kind, fields) in enumerate(self._events(now, obfuscated=wanted)):
            if after is None or number > after:
                body = {"type": kind, "sequence_number": number, **fields}
                yield ServerEvent(name=kind, data=json.dumps(body).encode())

    def _events(self, now: Callable[[], int], *, obfuscated: bool) -> Iterator[_Event]:
        begun: Item = self.response("in_progress")
        if self.turn.background:
            queued = {**begun, "status": "queued"}
            yield _event("response.created", response=queued)
            yield _event("response.queued", response=queued)
        else:
            yield _event("response.created", response=begun)
        yield _event("response.in_progress", response=begun)
        if self.turn.job is not None:
            yield from self._drawing()
            if self._scenario == "stream_error":
                # The service nests the error; its documentation has the same fields flat.
                error = failures.refusal("server").named(self._request_id)
                flat = {name: error[name] for name in ("code", "message", "param")}
                yield _event("error", error=error, **flat)
                return
            call = self._call()
            yield _event("response.output_item.done", output_index=0, item=call)
        yield from self._text(0 if self.turn.job is None else 1, obfuscated=obfuscated)
        with self.lock:
            if self.status not in _ENDED:
                self.complete(now())
            if self.status != "completed":  # cancelled meanwhile, which has no event of its own
                return
        yield _event("response.completed", response=self.response())

    def _drawing(self) -> Iterator[_Event]:
        """Yield the events of the image call up to its image, or to where it is to fail."""
        begun = {"id": self._call_id, "type": "image_generation_call", "status": "in_progress"}
        item = {**begun, "result": None}
        yield _event("response.output_item.added", output_index=0, item=item)
        where: Item = {"item_id": self._call_id, "output_index": 0}
        for kind in ("in_progress", "generating"):
            yield _event(f"response.image_generation_call.{kind}", **where)
        job = self.turn.job
        if job is None or self._scenario == "moderation":
            return
        images = [drawing.paint(job)] if job.partials == 0 else list(drawing.stages(job))
        for number, data in enumerate(images[:-1]):
            part: Item = {"partial_image_index": number, "partial_image_b64": _base64(data)}
            kind = "response.image_generation_call.partial_image"
            yield _event(kind, **where, **part, **shown(job))
            if self._scenario:
                break
        if self._scenario == "cut":
            raise Cut
        if not self._scenario:
            self.images[self._call_id] = images[-1]
            yield _event("response.image_generation_call.completed", **where)

    def _text(self, index: int, *, obfuscated: bool) -> Iterator[_Event]:
        message, text = self._message(), self._words()
        content: list[Item] = []
        begun = {**message, "status": "in_progress", "content": content}
        yield _event("response.output_item.added", output_index=index, item=begun)
        where: Item = {"item_id": message["id"], "output_index": index, "content_index": 0}
        (part,) = cast("list[Item]", message["content"])
        empty = {**part, "text": ""}
        yield _event("response.content_part.added", **where, part=empty)
        # The service pads deltas, so that their size does not betray the text to a listener.
        padding: Item = {"obfuscation": "x" * (-len(text) % 16)} if obfuscated else {}
        delta: Item = {"delta": text, "logprobs": [], **padding}
        yield _event("response.output_text.delta", **where, **delta)
        yield _event("response.output_text.done", **where, text=text, logprobs=[])
        yield _event("response.content_part.done", **where, part=part)
        yield _event("response.output_item.done", output_index=index, item=message)

    def output(self) -> list[Item]:
        """Return the items of its output, with their images."""
        if self._scenario == "empty":
            return []
        return [*([self._call()] if self.turn.job else []), self._message()]

    def _call(self) -> Item:
        job = self.turn.job
        item: Item = {
            "id": self._call_id,
            "type": "image_generation_call",
            "status": "completed",
            "action": self.turn.action,
            "revised_prompt": f"{self.turn.prompt} (drawn by the sandbox)",
            "result": None,
        }
        if self._scenario in _REFUSED:
            stage = "output" if self._scenario == "moderation_output" else "input"
            error = failures.moderation(stage).named(self._request_id)
            return {**item, "status": "failed", "revised_prompt": None, "error": error}
        if job is None or self._call_id not in self.images:
            return item
        return {
            **item,
            **shown(job),
            "result": _base64(self.images[self._call_id]),
            **({"svg_usage": svg_usage(job)} if job.format == "svg" else {}),
        }

    def _message(self) -> Item:
        part: Item = {
            "type": "output_text", "text": self._words(), "annotations": [], "logprobs": []
        }  # fmt: skip
        return {
            "id": f"msg_{self.id[5:]}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def _words(self) -> str:
        if self.turn.job is None:
            return self.text or _TEXT["question" if self.turn.seen else "words"]
        return _TEXT["refused" if self._scenario in _REFUSED else self.turn.action]

    @property
    def input_tokens(self) -> int:
        """The chat model's input tokens; the figure is made up."""
        return 40 + math.ceil(len(self.turn.prompt) / 4) + _TOKENS_PER_IMAGE * self.turn.seen

    def _usage(self) -> Item:
        """Return the chat model's tokens; the figures are made up, their shape is not."""
        entered = self.input_tokens
        return {
            "input_tokens": entered,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": entered + 30,
        }

    def _tool_usage(self) -> Item:
        zero = {"image_tokens": 0, "text_tokens": 0}
        counted: Item = {  # recorded so where nothing was drawn, without `cached_tokens`
            "input_tokens": 0, "input_tokens_details": zero, "output_tokens": 0,
            "output_tokens_details": zero, "total_tokens": 0,
        }  # fmt: skip
        if self.turn.job is not None and self.images:
            drawn = usage(self.turn.job, self._models, images=len(self.images))
            counted = {**drawn, "cached_tokens": 0}
        return {"image_gen": counted, "web_search": {"num_requests": 0}}


def _nbytes(turn: _Turn) -> int:
    """Return the bytes of the images a turn holds."""
    inputs = turn.turn.job.inputs if turn.turn.job else ()
    return sum(map(len, turn.images.values())) + sum(len(each.data) for each in inputs)


def _event(kind: str, **fields: object) -> _Event:
    return kind, fields


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
