"""``POST /responses``: a conversation with one tool, which draws; whole or as events.

The sandbox's chat model does not think. It draws what the words say, changes the last
picture when there is one, and says so in a sentence.
"""

from __future__ import annotations

import json
import math
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, cast

from attrs import field, frozen
from pybase64 import b64encode

from gptimage.image.image import Image
from gptimage.sandbox import drawing, failures
from gptimage.sandbox.failures import ErrorReply, Fault, missing, not_one_of, user_error, wrong_type
from gptimage.sandbox.images_api import Policy, accept
from gptimage.sandbox.job import Job
from gptimage.sandbox.replies import svg_usage, usage
from gptimage.sandbox.wire import Reader
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


# What ``POST /responses`` accepts: one image tool, words and pictures, and nothing unknown.
#
# The tool's parameters are those of the Images API and are judged by the same rules; errors
# name them as the service does (``tools[0].size``).

_BODY: Final = (
    "model", "input", "instructions", "tools", "tool_choice", "previous_response_id", "store",
    "stream", "max_tool_calls", "max_output_tokens", "parallel_tool_calls", "metadata",
    "reasoning", "safety_identifier", "user", "service_tier", "temperature", "top_p", "text",
    "truncation", "include", "prompt_cache_key",
)  # fmt: skip
_TOOL: Final = (
    "type", "action", "background", "complexity", "frame_count", "frame_duration_ms",
    "input_fidelity", "input_image_mask", "model", "moderation", "output_compression",
    "output_format", "partial_images", "quality", "size", "svg",
)  # fmt: skip
_DEFAULT_IMAGE_MODEL: Final = "gpt-image-2.6-sunburst"
_OUTER: Final = re.compile(r"(gpt-(?!image|audio)[4-9]|chatgpt-4|o[134](-|$))[\w.-]*")
_ROLES: Final = ("user", "assistant", "system", "developer")
_PARTS: Final = ("input_text", "input_image", "output_text")
_DETAILS: Final = ("low", "high", "auto", "original")


@frozen(kw_only=True)
class StoredResponse:
    """What a stored response left behind.

    Attributes:
        pictures: Its pictures by call id, or those it inherited when it drew none.
    """

    pictures: Mapping[str, bytes] = field(repr=False)


@frozen(kw_only=True)
class ValidatedTurn:
    """A turn the rules have accepted.

    Attributes:
        model: The chat model.
        prompt: All words of the turn.
        job: What is to be drawn; None when the turn is answered in words.
        action: ``generate`` or ``edit``, decided.
        stream: Whether the answer is a stream of events.
        stored: Whether the response may be continued.
        previous: The response it continues.
        seen: How many pictures the chat model looks at.
    """

    model: str
    prompt: str = field(repr=False)
    job: Job | None
    action: str
    stream: bool
    stored: bool
    previous: str | None
    seen: int


@frozen(kw_only=True)
class _Input:
    text: str
    pictures: list[dict[str, str]]


def validate_turn(
    request: HttpRequest, policy: Policy, recall: Callable[[str], StoredResponse | None]
) -> ValidatedTurn:
    """The turn a request asks for.

    Args:
        request: The request, as it arrived.
        policy: What this project may do.
        recall: What a stored response left behind, by its id or the id of a call.

    Raises:
        Refusal: A rule is broken; it holds the service's reply.
    """
    read = Reader(request.body, form=False)
    read.only(_BODY)
    model = _chat_model(read)
    for name in ("instructions", "safety_identifier", "user", "service_tier"):
        read.text(name)
    for name in ("parallel_tool_calls",):
        read.flag(name)
    previous = read.text("previous_response_id")
    memory = _memory(previous, recall)
    said = _input(read, recall)
    tool = _tool(read)
    most = read.whole("max_tool_calls", 1, 128)
    draws = tool is not None and most != 0 and _wants(read)
    stream = read.flag("stream")
    action = "generate"
    job = None
    if tool is not None and draws:
        context = _context(said, memory, masked=tool.given("input_image_mask"))
        action = _action(tool, context)
        job = _job(tool, said.text, context if action == "edit" else [], policy, stream=stream)
    return ValidatedTurn(
        model=model,
        prompt=said.text,
        job=job,
        action=action,
        stream=stream,
        stored=read.flag("store") if read.given("store") else True,
        previous=previous,
        seen=len(said.pictures) + len(memory.pictures),
    )


def words(body: Mapping[str, object]) -> str:
    """All text of a request's input, however broken the rest of it is; for failure markers."""
    given = body.get("input")
    return given if isinstance(given, str) else " ".join(_strings(given, 0))


def _strings(value: object, depth: int) -> list[str]:
    if depth > 6:
        return []
    if isinstance(value, str):
        return [value[:40_000]]
    nested: list[object] = []
    if isinstance(value, list):
        nested = cast("list[object]", value)
    elif isinstance(value, dict):
        table = cast("dict[str, object]", value)
        nested = [table.get("content"), table.get("text")]
    return [text for each in nested for text in _strings(each, depth + 1)]


def _chat_model(read: Reader) -> str:
    name = read.text("model", required=True) or ""
    if not _OUTER.fullmatch(name):
        message = f"The requested model '{name[:100]}' does not exist."
        raise ErrorReply(message, code="model_not_found", param="model")
    return name


def _memory(previous: str | None, recall: Callable[[str], StoredResponse | None]) -> StoredResponse:
    if previous is None:
        return StoredResponse(pictures={})
    found = recall(previous)
    if found is None:
        message = f"Previous response with id '{previous[:100]}' not found."
        raise ErrorReply(message, code="previous_response_not_found", param="previous_response_id")
    return found


def _tool(read: Reader) -> Reader | None:
    value = read.body.get("tools")
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        raise wrong_type("tools", "an array of objects", value)
    tools = cast("list[object]", value)
    if not isinstance(tools[0], dict):
        raise wrong_type("tools[0]", "an object", tools[0])
    tool = Reader(cast("dict[str, object]", tools[0]), form=False, prefix="tools[0].")
    if tool.choice("type", ("image_generation",)) is None:
        raise missing("tools[0].type")
    if len(tools) > 1:
        message = "The sandbox has one tool, 'image_generation', and takes it once."
        raise ErrorReply(message, code="invalid_value", param="tools")
    tool.only(_TOOL)
    return tool


def _wants(read: Reader) -> bool:
    value = read.body.get("tool_choice")
    if isinstance(value, dict):
        choice = Reader(cast("dict[str, object]", value), form=False, prefix="tool_choice.")
        return choice.choice("type", ("image_generation",)) is not None
    return read.choice("tool_choice", ("auto", "required", "none")) != "none"


def _action(tool: Reader, context: list[dict[str, str]]) -> str:
    """Edit when there is a picture, unless told otherwise."""
    action = tool.choice("action", ("generate", "edit", "auto")) or "auto"
    if action == "edit" and not context:
        message = "Image edit was requested, but no image was found in the context."
        raise user_error(message, "tools[0].action")
    return ("edit" if context else "generate") if action == "auto" else action


def _context(said: _Input, memory: StoredResponse, *, masked: bool) -> list[dict[str, str]]:
    """The pictures a turn may change, the one its mask belongs to first."""
    before = [_as_url(data) for data in list(memory.pictures.values())[-1:]]
    return [*said.pictures, *before] if masked else [*before, *said.pictures]


def _as_url(data: bytes) -> dict[str, str]:
    import io

    from PIL import Image as pil

    image = Image.from_bytes(data)
    if image.format == "svg":  # nothing here draws one: its turn goes on from an empty canvas
        still = io.BytesIO()
        pil.new("RGB", image.size or (1024, 1024), "white").save(still, "png")
        image = Image.from_bytes(still.getvalue())
    elif image.format == "gif":
        image = image.convert("png")
    return {"image_url": image.data_url}


def _job(
    tool: Reader, prompt: str, pictures: list[dict[str, str]], policy: Policy, *, stream: bool
) -> Job:
    """The tool's parameters, judged as the Images API would."""
    own = ("type", "action", "input_image_mask")
    body = {name: value for name, value in tool.body.items() if name not in own}
    body["model"] = tool.text("model") or _DEFAULT_IMAGE_MODEL
    body["prompt"] = prompt
    if stream and tool.given("partial_images"):
        body["stream"] = True
    if tool.given("input_image_mask"):
        body["mask"] = tool.body["input_image_mask"]
    operation: Literal["generation", "edit"] = "edit" if pictures else "generation"
    if pictures:
        body["images"] = pictures
    elif "mask" in body:
        message = "'input_image_mask' needs an image in the context."
        raise user_error(message, "tools[0].input_image_mask")
    try:
        return accept(HttpRequest(method="POST", path="", body=body), operation, policy)
    except ErrorReply as refusal:
        refusal.error["param"] = _named(str(refusal.error["param"]))
        raise


def _named(param: str) -> str:
    """What the Images API calls a parameter, as the Responses API does."""
    if param == "prompt" or param.startswith("image"):
        return "input"
    return f"tools[0].{'input_image_mask' if param == 'mask' else param}"


def _input(read: Reader, recall: Callable[[str], StoredResponse | None]) -> _Input:
    value = read.body.get("input")
    if isinstance(value, str):
        return _Input(text=value, pictures=[])
    if not isinstance(value, list):
        raise missing("input") if value is None else wrong_type("input", "a string or array", value)
    texts: list[str] = []
    pictures: list[dict[str, str]] = []
    for number, item in enumerate(cast("list[object]", value)):
        name = f"input[{number}]"
        if not isinstance(item, dict):
            raise wrong_type(name, "an object", item)
        part = Reader(cast("dict[str, object]", item), form=False, prefix=f"{name}.")
        if part.body.get("type") == "image_generation_call":
            pictures.append(_called(part, recall))
        else:
            _message(part, texts, pictures)
    return _Input(text="\n".join(texts), pictures=pictures)


def _called(part: Reader, recall: Callable[[str], StoredResponse | None]) -> dict[str, str]:
    call_id = part.text("id", required=True) or ""
    memory = recall(call_id)
    if memory is None:
        message = f"Item with id '{call_id[:100]}' not found."
        raise ErrorReply(message, param="input", status=404)
    return _as_url(memory.pictures[call_id])


def _message(part: Reader, texts: list[str], pictures: list[dict[str, str]]) -> None:
    part.only(("type", "role", "content", "status", "id", "phase"))
    part.choice("type", ("message",))
    if part.choice("role", _ROLES) is None:
        raise missing(f"{part.prefix}role")
    content = part.body.get("content")
    if isinstance(content, str):
        texts.append(content)
        return
    if not isinstance(content, list):
        raise wrong_type(f"{part.prefix}content", "a string or array", content)
    for number, each in enumerate(cast("list[object]", content)):
        name = f"{part.prefix}content[{number}]"
        if not isinstance(each, dict):
            raise wrong_type(name, "an object", each)
        _content(
            Reader(cast("dict[str, object]", each), form=False, prefix=f"{name}."), texts, pictures
        )


def _content(part: Reader, texts: list[str], pictures: list[dict[str, str]]) -> None:
    kind = part.text("type", required=True) or ""
    if kind not in _PARTS:
        raise not_one_of(f"{part.prefix}type", kind, _PARTS)
    if kind != "input_image":
        texts.append(part.text("text", required=True) or "")
        return
    part.only(("type", "detail", "image_url", "file_id"))
    part.choice("detail", _DETAILS)
    url, file_id = part.text("image_url"), part.text("file_id")
    if (url is None) == (file_id is None):
        message = f"Invalid '{part.prefix[:-1]}': provide exactly one of 'image_url' or 'file_id'."
        raise ErrorReply(message, code="invalid_value", param=part.prefix[:-1])
    pictures.append({"image_url": url} if url is not None else {"file_id": file_id or ""})


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
class TurnReply:
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
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()
        self._lock = threading.Lock()

    def answer(
        self, request: HttpRequest, request_id: str, fault: Fault | None, policy: Policy
    ) -> TurnReply:
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
            if isinstance(reply, ErrorReply):
                raise reply
            if reply is not None:
                return TurnReply(reply=reply)
        heard = validate_turn(request, policy, self._recall)
        turn = _Turn(heard, scenario, request_id, policy, created=self._now())
        if turn.heard.stream and scenario not in {"timeout", "empty"}:
            events = self._told(turn)
            partials = turn.heard.job.partials if turn.heard.job else 0
            head = HttpReply(status=200, headers=_STREAM)
            return TurnReply(reply=head, events=events, steps=12 + partials)
        if scenario == "stream_error":
            raise failures.failed()
        if scenario == "timeout":
            return TurnReply(reply=HttpReply(status=200, headers=_JSON), fault=fault)
        output = [] if scenario == "empty" else turn.output()
        body = json.dumps(turn.response("completed", output)).encode()
        self._keep(turn)
        return TurnReply(reply=HttpReply(status=200, headers=_JSON, body=body), fault=fault)

    def _told(self, turn: _Turn) -> Iterator[ServerEvent]:
        for event in turn.events():
            if event.name == "response.completed":  # whoever reads it may go on at once
                self._keep(turn)
            yield event

    def _recall(self, id: str) -> StoredResponse | None:
        with self._lock:
            return self._kept.get(id)

    def _keep(self, turn: _Turn) -> None:
        """Remember a response, and its call by its own id, for who may continue it."""
        if not turn.heard.stored:
            return
        with self._lock:
            before = self._kept.get(turn.heard.previous or "", StoredResponse(pictures={}))
            memory = StoredResponse(pictures=turn.drawn) if turn.drawn else before
            self._kept |= {turn.id: memory, **dict.fromkeys(turn.drawn, memory)}
            while len(self._kept) > 2 * _KEPT:
                self._kept.popitem(last=False)


class _Turn:
    """One turn while it is answered."""

    def __init__(
        self, heard: ValidatedTurn, scenario: str, request_id: str, policy: Policy, *, created: int
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
            from gptimage.sandbox.failures import Cut

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
        """The chat model's tokens; the figures are made up, their shape is not."""
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
