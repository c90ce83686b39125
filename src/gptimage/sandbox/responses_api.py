"""``POST /responses``: a conversation with one tool, which draws; whole or as events.

The sandbox's outer model does not think. It draws what the words say, changes the last
picture when there is one, and says so in a sentence.
"""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from attrs import field, frozen
from pybase64 import b64encode

from gptimage.sandbox import drawing, failures
from gptimage.sandbox._refusal import Refusal
from gptimage.sandbox._turn_rules import Heard, Memory, hear, words
from gptimage.sandbox._usage import svg_usage, usage
from gptimage.sandbox.failures import Fault
from gptimage.sandbox.images_api import Policy
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


_JSON: Final = {"content-type": "application/json"}
_STREAM: Final = {"content-type": "text/event-stream; charset=utf-8"}
_KEPT: Final = 256
_SAID: Final = {
    "generate": "Here is the picture.",
    "edit": "Here is the changed picture.",
    "refused": "I could not draw that.",
    "words": "The sandbox draws and does not chat.",
}
_TOKENS_PER_PICTURE: Final = 765
_PARTIAL: Final = "response.image_generation_call.partial_image"


@frozen(kw_only=True)
class Spoken:
    """An answer in the making.

    Attributes:
        reply: The whole reply, or the head of a stream.
        events: The events of a stream; None for a plain reply.
        steps: Over how many events the latency is spread.
        fault: The failure that was asked for, which may still break the connection.
    """

    reply: HttpReply
    events: Iterator[ServerEvent] | None = field(default=None, repr=False)
    steps: int = 1
    fault: Fault | None = None


class Responses:
    """The endpoint and what it remembers: the last 256 stored responses. Thread-safe.

    Args:
        now: Tells the time, in whole seconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._kept: OrderedDict[str, Memory] = OrderedDict()
        self._lock = threading.Lock()

    def answer(
        self, request: HttpRequest, request_id: str, fault: Fault | None, policy: Policy
    ) -> Spoken:
        """The answer to a request.

        Args:
            request: The request, as it arrived.
            request_id: Its id, for error messages.
            fault: A failure that was scheduled.
            policy: What this project may do.

        Raises:
            Refusal: A rule is broken, or a failure was asked for.
        """
        fault = fault or failures.asked_for(None, words(request.body))
        scenario = fault.scenario if fault else ""
        if fault and scenario != "moderation":  # in a response that is a failed image call
            model = request.body.get("model")
            reply = failures.at_once(fault, model if isinstance(model, str) else "gpt-6-luna")
            if isinstance(reply, Refusal):
                raise reply
            if reply is not None:
                return Spoken(reply=reply)
        heard = hear(request, policy, self._recall)
        turn = _Turn(heard, scenario, request_id, policy, created=self._now())
        if turn.heard.stream and scenario not in {"timeout", "empty"}:
            events = self._told(turn)
            partials = turn.heard.job.partials if turn.heard.job else 0
            head = HttpReply(status=200, headers=_STREAM)
            return Spoken(reply=head, events=events, steps=12 + partials)
        if scenario == "stream_error":
            raise failures.failed()
        if scenario == "timeout":
            return Spoken(reply=HttpReply(status=200, headers=_JSON), fault=fault)
        output = [] if scenario == "empty" else turn.output()
        body = json.dumps(turn.response("completed", output)).encode()
        self._keep(turn)
        return Spoken(reply=HttpReply(status=200, headers=_JSON, body=body), fault=fault)

    def _told(self, turn: _Turn) -> Iterator[ServerEvent]:
        for event in turn.events():
            if event.name == "response.completed":  # whoever reads it may go on at once
                self._keep(turn)
            yield event

    def _recall(self, id: str) -> Memory | None:
        with self._lock:
            return self._kept.get(id)

    def _keep(self, turn: _Turn) -> None:
        """Remember a response, and its call by its own id, for who may continue it."""
        if not turn.heard.stored:
            return
        with self._lock:
            before = self._kept.get(turn.heard.previous or "", Memory(pictures={}))
            memory = Memory(pictures=turn.drawn) if turn.drawn else before
            self._kept |= {turn.id: memory, **dict.fromkeys(turn.drawn, memory)}
            while len(self._kept) > 2 * _KEPT:
                self._kept.popitem(last=False)


class _Turn:
    """One turn while it is answered."""

    def __init__(
        self, heard: Heard, scenario: str, request_id: str, policy: Policy, *, created: int
    ) -> None:
        self.heard = heard
        self.id = f"resp_{uuid.uuid4().hex}"
        self.drawn: dict[str, bytes] = {}
        self._call_id = f"ig_{uuid.uuid4().hex}"
        self._scenario = scenario
        self._request_id = request_id
        self._models = policy.models
        self._created = created
        self._number = -1

    def output(self) -> list[dict[str, object]]:
        """The finished output items."""
        return [item for item in (self._call(), self._message()) if item]

    def events(self) -> Iterator[ServerEvent]:
        """The events of a streamed turn, in the service's order."""
        for kind in ("created", "in_progress"):
            yield self._event(f"response.{kind}", response=self.response("in_progress", []))
        if self.heard.job is not None:
            yield from self._drawing()
            if self._scenario == "stream_error":
                error = {"type": "error", "error": failures.failed().named(self._request_id)}
                yield self._event("error", **error)
                return
            item = self._call()
            yield self._event("response.output_item.done", output_index=0, item=item)
        message = self._message()
        where = 0 if self.heard.job is None else 1
        yield self._event("response.output_item.added", output_index=where, item=message)
        told = {"item_id": message["id"], "output_index": where, "content_index": 0}
        yield self._event("response.output_text.delta", **told, delta=self._words())
        yield self._event("response.output_text.done", **told, text=self._words())
        yield self._event("response.output_item.done", output_index=where, item=message)
        whole = self.response("completed", self.output())
        yield self._event("response.completed", response=whole)

    def response(self, status: str, output: list[dict[str, object]]) -> dict[str, object]:
        """The response object."""
        heard = self.heard
        done = status == "completed"
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": heard.model,
            "output": output,
            "previous_response_id": heard.previous,
            "service_tier": "default" if done else "auto",
            "store": heard.stored,
            "tool_usage": self._tool_usage() if done else None,
            "usage": self._usage() if done else None,
        }

    def _drawing(self) -> Iterator[ServerEvent]:
        """The image call up to its picture, or to where it is to fail."""
        begun = {"id": self._call_id, "type": "image_generation_call", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=0, item=begun)
        where = {"item_id": self._call_id, "output_index": 0}
        for kind in ("in_progress", "generating"):
            yield self._event(f"response.image_generation_call.{kind}", **where)
        job = self.heard.job
        if job is None or self._scenario == "moderation":
            return
        pictures = [drawing.paint(job)] if job.partials == 0 else list(drawing.stages(job))
        for number, data in enumerate(pictures[:-1]):
            told = {"partial_image_index": number, "partial_image_b64": _text(data)}
            yield self._event(_PARTIAL, **where, **told, output_format=job.format)
            if self._scenario:
                break
        if self._scenario == "cut":
            from gptimage.sandbox.service import Cut

            raise Cut
        if not self._scenario:
            self.drawn[self._call_id] = pictures[-1]
            yield self._event("response.image_generation_call.completed", **where)

    def _call(self) -> dict[str, object] | None:
        job, heard = self.heard.job, self.heard
        if job is None:
            return None
        item: dict[str, object] = {
            "id": self._call_id,
            "type": "image_generation_call",
            "status": "completed",
            "action": heard.action,
            "revised_prompt": f"{heard.prompt} (drawn by the sandbox)",
            "result": None,
        }
        if self._scenario in {"moderation", "moderation_output"}:
            stage = "output" if self._scenario == "moderation_output" else "input"
            error = failures.moderation(stage).named(self._request_id)
            return {**item, "status": "failed", "revised_prompt": None, "error": error}
        if self._call_id not in self.drawn:
            self.drawn[self._call_id] = drawing.paint(job)
        return {
            **item,
            "background": "transparent" if job.transparent else "opaque",
            "output_format": job.format,
            "quality": job.quality,
            "size": f"{job.width}x{job.height}",
            "result": _text(self.drawn[self._call_id]),
            **({"svg_usage": svg_usage(job)} if job.format == "svg" else {}),
        }

    def _message(self) -> dict[str, object]:
        part: dict[str, object] = {"type": "output_text", "text": self._words(), "annotations": []}
        return {
            "id": f"msg_{self.id[5:]}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def _words(self) -> str:
        if self.heard.job is None:
            return _SAID["words"]
        refused = self._scenario in {"moderation", "moderation_output"}
        return _SAID["refused" if refused else self.heard.action]

    def _usage(self) -> dict[str, object]:
        """The outer model's tokens; the figures are made up, their shape is not."""
        heard = self.heard
        entered = 40 + math.ceil(len(heard.prompt) / 4) + _TOKENS_PER_PICTURE * heard.seen
        return {
            "input_tokens": entered,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": entered + 30,
        }

    def _tool_usage(self) -> dict[str, object]:
        drawn = len(self.drawn)
        counted: dict[str, object] = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}
        if self.heard.job is not None and drawn:
            counted = usage(self.heard.job, self._models, pictures=drawn)
        return {"image_gen": {**counted, "cached_tokens": 0}, "web_search": {"num_requests": 0}}

    def _event(self, kind: str, **fields: object) -> ServerEvent:
        self._number += 1
        body = {"type": kind, "sequence_number": self._number, **fields}
        return ServerEvent(name=kind, data=json.dumps(body).encode())


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
