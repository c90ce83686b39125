"""Validation of ``POST /responses``: the chat model, its tools and its input items.

The image tool's parameters are those of the Images API and are validated by the same rules;
errors name them as the service does (``tools[0].size``). Other tools are accepted and never
called, and what other tools left in the input is read for its words and images alone.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol, TypeAlias, cast

from attrs import define, field, frozen
from pybase64 import b64encode

from gptimage.image.image import Image
from gptimage.sandbox.failures import (
    ErrorReply,
    empty,
    missing,
    not_one_of,
    user_error,
    wrong_type,
)
from gptimage.sandbox.images_api import Policy, accept
from gptimage.sandbox.job import Job
from gptimage.sandbox.wire import Reader
from gptimage.transport.http import HttpRequest


Item: TypeAlias = dict[str, object]
"""An input or output item of a response, as JSON values."""

_BODY: Final = frozenset(
    (
        "background", "background_options", "include", "input", "instructions",
        "max_output_tokens", "max_tool_calls", "metadata", "model", "parallel_tool_calls",
        "previous_response_id", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store",
        "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs",
        "top_p", "truncation", "user",
    )
)  # fmt: skip
_MISSING_HERE: Final = (
    "access_programs", "context_management", "conversation", "image", "moderation", "prompt",
)  # fmt: skip
_TOOL: Final = (
    "type", "action", "background", "complexity", "frame_count", "frame_duration_ms",
    "input_fidelity", "input_image_mask", "model", "moderation", "output_compression",
    "output_format", "partial_images", "quality", "size", "svg",
)  # fmt: skip
_NAMED_TOOLS: Final = ("function", "custom")
_TOOLS: Final = (
    "image_generation", *_NAMED_TOOLS, "apply_patch", "code_interpreter", "computer",
    "computer_use_preview", "file_search", "local_shell", "mcp", "namespace",
    "programmatic_tool_calling", "shell", "tool_search", "web_search", "web_search_2025_08_26",
    "web_search_preview", "web_search_preview_2025_03_11",
)  # fmt: skip
_TOOL_DEFAULTS: Final[Item] = {
    "background": "auto", "moderation": "auto", "n": 1, "output_compression": 100,
    "output_format": "png", "quality": "auto", "size": "auto",
}  # fmt: skip
DEFAULT_IMAGE_MODEL: Final = "gpt-image-2.6-sunburst"
_CHAT_MODEL: Final = re.compile(r"(gpt-(?!image|audio)[4-9]|chatgpt-4|o[134](-|$))[\w.-]*")
_AZURE_DEPLOYMENT: Final = "x-ms-oai-image-generation-deployment"
"""The header with which Azure learns the image deployment; its tool takes no model."""
_ROLES: Final = ("user", "assistant", "system", "developer")
_PARTS: Final = ("input_text", "input_image", "output_text", "refusal")
_DETAILS: Final = ("low", "high", "auto", "original")
_CALLS: Final = ("function_call", "custom_tool_call")
_CALL_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
_NEITHER_READ: Final = (
    "reasoning", "web_search_call", "file_search_call", "code_interpreter_call", "computer_call",
    "mcp_call", "mcp_list_tools", "tool_search_call", "tool_search_output",
)  # fmt: skip
_ITEMS: Final = (
    "message", "item_reference", "image_generation_call", *_CALLS, *_CALL_OUTPUTS, *_NEITHER_READ
)  # fmt: skip
_INCLUDABLE: Final = (
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url",
    "code_interpreter_call.outputs", "reasoning.encrypted_content",
    "message.output_text.logprobs",
)  # fmt: skip
_MOST_IMAGES: Final = 16
"""How many images of a turn are drawn from: what one edit of the Images API takes."""
_MOST_WORDS: Final = 32_000
"""Characters of the image prompt; the chat model would write one that fits."""


class History(Protocol):
    """The responses a turn can refer to."""

    def images(self, response_id: str) -> Mapping[str, bytes] | None:
        """Return the images a response made or inherited by call id, or None if unknown."""
        ...

    def item(self, item_id: str) -> tuple[Item, bytes | None] | None:
        """Return a stored item and its image, or None if unknown."""
        ...


@frozen(kw_only=True)
class ValidatedTurn:
    """A turn the rules have accepted.

    Attributes:
        prompt: The words to draw from.
        job: What is to be drawn; None when the turn is answered in words.
        action: ``generate`` or ``edit``, decided.
        stream: Whether the reply is a stream of events.
        background: Whether the turn is worked on after the reply.
        obfuscated: Whether the deltas of a stream are padded.
        stored: Whether the response may be continued and retrieved.
        previous: The response it continues.
        seen: How many images the chat model looks at.
        items: The input, as ``input_items`` lists it.
        echo: The fields of the request a response repeats, defaults filled in.
    """

    prompt: str = field(repr=False)
    job: Job | None
    action: str
    stream: bool
    background: bool
    obfuscated: bool
    stored: bool
    previous: str | None
    seen: int
    items: Sequence[Item] = field(repr=False)
    echo: Mapping[str, object] = field(repr=False)


def validate_turn(request: HttpRequest, policy: Policy, history: History) -> ValidatedTurn:
    """Validate a request for a response.

    Args:
        request: The request, as it arrived.
        policy: What this project may do.
        history: The responses it may refer to.

    Raises:
        ErrorReply: A rule is broken; it holds the service's reply.
    """
    read = Reader(request.body, form=False)
    for name in _MISSING_HERE:
        if read.given(name):
            message = f"The sandbox does not have '{name}' of the Responses API."
            raise ErrorReply(message, code="unsupported_parameter", param=name)
    read.only((*_BODY, *_MISSING_HERE))
    model = _chat_model(read)
    previous = read.text("previous_response_id")
    before = _images_before(previous, history)
    turn = _Input(history).read(read)
    tools, tool, position = _tools(read)
    deployment = request.headers.get(_AZURE_DEPLOYMENT)
    if tool is not None:
        tools[position] = _tool_echo(tool, deployment)
    stream, background, stored = _delivery(read)
    action, job = "generate", None
    if tool is not None and read.whole("max_tool_calls", 1, 128) != 0 and _wants_image(read):
        last = turn.last_image or next(reversed(list(before.values())), None)
        context = _context(turn, last, masked=tool.given("input_image_mask"))
        action = _action(tool, context)
        images = context if action == "edit" else []
        job = _job(tool, turn.prompt, images, policy, stream=stream, deployment=deployment)
    return ValidatedTurn(
        prompt=turn.prompt,
        job=job,
        action=action,
        stream=stream,
        background=background,
        obfuscated=_obfuscated(read, stream=stream),
        stored=stored,
        previous=previous,
        seen=turn.seen + len(before),
        items=turn.items,
        echo={"model": model, **_echo(read), "tools": tools, "store": stored},
    )


def words(body: Mapping[str, object]) -> str:
    """Return all text of a request's input, however broken the rest of it is; for markers."""
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
    if not _CHAT_MODEL.fullmatch(name):
        message = f"The requested model '{name[:100]}' does not exist."
        raise ErrorReply(message, code="model_not_found", param="model")
    return name


def _images_before(previous: str | None, history: History) -> Mapping[str, bytes]:
    if previous is None:
        return {}
    found = history.images(previous)
    if found is None:
        message = f"Previous response with id '{previous[:100]}' not found."
        raise ErrorReply(message, code="previous_response_not_found", param="previous_response_id")
    return found


def _delivery(read: Reader) -> tuple[bool, bool, bool]:
    """Validate how the reply is to come: as a stream, in the background, stored."""
    stream, background = read.flag("stream"), read.flag("background")
    stored = read.flag("store") if read.given("store") else True
    if background and not stored:
        # By the guide: background mode keeps the response for polling, so it must be stored.
        message = "Background mode requires 'store' to be true."
        raise ErrorReply(message, code="unsupported_parameter", param="background")
    options = read.object("background_options")
    if options is not None:
        options.only(("completion_window",))
        window = options.choice("completion_window", ("soonest", "2h", "8h"))
        if not background or (stream and window in {"2h", "8h"}):
            message = "'background_options' requires 'background' to be true, and no stream."
            raise ErrorReply(message, code="invalid_value", param="background_options")
    return stream, background, stored


def _obfuscated(read: Reader, *, stream: bool) -> bool:
    options = read.object("stream_options")
    if options is None:
        return True
    if not stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ErrorReply(message, param="stream_options")
    options.only(("include_obfuscation",))
    wanted = options.flag("include_obfuscation")
    return wanted or not options.given("include_obfuscation")


def _echo(read: Reader) -> Item:
    """Validate the parameters that only the chat model would use, and return them as echoed."""
    text, reasoning = read.object("text"), read.object("reasoning")
    options, metadata = read.object("prompt_cache_options"), read.object("metadata")
    for name, value in metadata.body.items() if metadata else ():
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{name[:64]}", "a string", value)
    for number, each in enumerate(read.array("include")):
        if each not in _INCLUDABLE:
            raise not_one_of(f"include[{number}]", str(each), _INCLUDABLE)
    temperature, top_p = read.number("temperature", 0, 2), read.number("top_p", 0, 1)
    parallel = read.flag("parallel_tool_calls") or not read.given("parallel_tool_calls")
    echo: Item = {
        "background": read.flag("background"),
        "frequency_penalty": 0.0,
        "instructions": read.text("instructions"),
        "max_output_tokens": read.whole("max_output_tokens", 16, 10**9),
        "max_tool_calls": read.whole("max_tool_calls", 1, 128),
        "metadata": dict(metadata.body) if metadata else {},
        "parallel_tool_calls": parallel,
        "presence_penalty": 0.0,
        "previous_response_id": read.text("previous_response_id"),
        "prompt_cache_key": read.text("prompt_cache_key"),
        "prompt_cache_retention": read.choice("prompt_cache_retention", ("in_memory", "24h")),
        "reasoning": {"effort": None, "summary": None, **(reasoning.body if reasoning else {})},
        "safety_identifier": read.text("safety_identifier"),
        "temperature": 1.0 if temperature is None else temperature,
        "text": {
            "format": {"type": "text"}, "verbosity": "medium", **_set(text.body if text else {})
        },
        "tool_choice": read.body.get("tool_choice") or "auto",
        "top_logprobs": read.whole("top_logprobs", 0, 20) or 0,
        "top_p": 1.0 if top_p is None else top_p,
        "truncation": read.choice("truncation", ("auto", "disabled")) or "disabled",
        "user": read.text("user"),
    }  # fmt: skip
    if options is not None:
        echo["prompt_cache_options"] = {"mode": "implicit", "ttl": "30m", **_set(options.body)}
    read.text("service_tier")
    return echo


def _set(body: Mapping[str, object]) -> Item:
    """Return the values that were given: null stands for the default."""
    return {name: value for name, value in body.items() if value is not None}


# The tools.


def _tools(read: Reader) -> tuple[list[Item], Reader | None, int]:
    """Validate the tools; return them as echoed, the image tool, and its position."""
    echoed: list[Item] = []
    tool, position = None, 0
    for number, each in enumerate(read.objects("tools")):
        kind = each.choice("type", _TOOLS)
        if kind is None:
            raise missing(f"{each.prefix}type")
        if kind in _NAMED_TOOLS and not each.text("name", required=True):
            raise empty(f"{each.prefix}name")
        defaults: Item = {"description": None, "strict": True} if kind == "function" else {}
        if kind == "function":
            each.object("parameters")
            defaults["parameters"] = None
        echoed.append({**defaults, **each.body})
        if kind != "image_generation":
            continue
        if tool is not None:
            message = "The sandbox takes the tool 'image_generation' once."
            raise ErrorReply(message, code="invalid_value", param="tools")
        # The service echoes `n: 1` with the tool, so clients that repeat what they read send it.
        each.only((*_TOOL, "n") if each.body.get("n") in {None, 1} else _TOOL)
        tool, position = each, number
    return echoed, tool, position


def _tool_echo(tool: Reader, deployment: str | None) -> Item:
    """Return the image tool as the service repeats it, with its defaults."""
    model = DEFAULT_IMAGE_MODEL if deployment is None else deployment
    return {**_TOOL_DEFAULTS, "model": model, **_set(tool.body)}


def _wants_image(read: Reader) -> bool:
    value = read.body.get("tool_choice")
    if not isinstance(value, dict):
        return read.choice("tool_choice", ("auto", "required", "none")) != "none"
    choice = Reader(cast("Item", value), form=False, prefix="tool_choice.")
    kind = choice.choice("type", (*_TOOLS, "allowed_tools"))
    if kind is None:
        raise missing("tool_choice.type")
    if kind == "allowed_tools":
        kinds = [tool.text("type") for tool in choice.objects("tools")]
        return "image_generation" in kinds
    return kind == "image_generation"


def _action(tool: Reader, context: Sequence[Item]) -> str:
    """Return ``edit`` if there is an image, unless the request decides."""
    action = tool.choice("action", ("generate", "edit", "auto")) or "auto"
    if action == "edit" and not context:
        message = "Image edit was requested, but no image was found in the context."
        raise user_error(message, f"{tool.prefix}action")
    return ("edit" if context else "generate") if action == "auto" else action


def _context(turn: _Input, last: bytes | None, *, masked: bool) -> list[Item]:
    """Return the images a turn may change, the one its mask belongs to first."""
    before = [] if last is None else [_as_url(last)]
    context = [*turn.images, *before] if masked else [*before, *turn.images]
    return context[:_MOST_IMAGES]


def _as_url(data: bytes) -> Item:
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
    tool: Reader,
    prompt: str,
    images: list[Item],
    policy: Policy,
    *,
    stream: bool,
    deployment: str | None,
) -> Job:
    """Validate the tool's parameters as the Images API would."""
    own = ("type", "action", "input_image_mask", "n")
    body = {name: value for name, value in tool.body.items() if name not in own}
    model = tool.text("model")
    body["model"] = (deployment or DEFAULT_IMAGE_MODEL) if model is None else model
    body["prompt"] = prompt
    if stream and tool.whole("partial_images", 0, 3):
        body["stream"] = True
    if tool.given("input_image_mask"):
        body["mask"] = tool.body["input_image_mask"]
    operation: Literal["generation", "edit"] = "edit" if images else "generation"
    if images:
        body["images"] = images
    elif "mask" in body:
        message = "'input_image_mask' needs an image in the context."
        raise user_error(message, f"{tool.prefix}input_image_mask")
    try:
        return accept(HttpRequest(method="POST", path="", body=body), operation, policy)
    except ErrorReply as refusal:
        refusal.error["param"] = _param_of_tool(tool, str(refusal.error["param"]))
        raise


def _param_of_tool(tool: Reader, param: str) -> str:
    """Return the Responses API's name of a parameter of the Images API."""
    if param == "prompt" or param.startswith("image"):
        return "input"
    return f"{tool.prefix}{'input_image_mask' if param == 'mask' else param}"


# The input.


@define
class _Input:
    """The words and images of a turn, gathered from its items in order."""

    _history: History
    texts: list[str] = field(factory=list[str])
    images: list[Item] = field(factory=list[Item])
    last_image: bytes | None = None
    seen: int = 0
    items: list[Item] = field(factory=list[Item])
    _open: dict[str, str] = field(factory=dict[str, str])
    _calls: set[str] = field(factory=set[str])

    @property
    def prompt(self) -> str:
        return "\n".join(self.texts)[-_MOST_WORDS:]

    def read(self, read: Reader) -> _Input:
        value = read.body.get("input")
        if isinstance(value, str):
            self.texts.append(value)
            self._list({"role": "user", "content": [{"type": "input_text", "text": value}]})
            return self
        if not isinstance(value, list):
            raise (
                missing("input")
                if value is None
                else wrong_type("input", "a string or array", value)
            )
        for item in read.objects("input"):
            self._item(item)
        if self._open:
            message = f"No tool output found for function call {next(iter(self._open))[:100]}."
            raise ErrorReply(message, param="input")
        if not self.prompt.strip() and (self.images or self.last_image is not None):
            self.texts.append("An image like the one given")
        return self

    def _list(self, item: Item, id: str | None = None) -> None:
        kind = str(item.get("type") or "message")
        start = {"message": "msg", "reasoning": "rs", "image_generation_call": "ig"}.get(kind, "fc")
        item_id = id or item.get("id") or f"{start}_{uuid.uuid4().hex}"
        self.items.append({"status": "completed", **item, "id": item_id, "type": kind})

    def _item(self, item: Reader) -> None:
        kind = item.choice("type", _ITEMS)
        if kind is None:  # both a message and a reference may leave their type out
            kind = "item_reference" if set(_set(item.body)) == {"id"} else "message"
        if kind == "message":
            self._message(item)
        elif kind in {"image_generation_call", "item_reference"}:
            self._stored(item, kind)
        elif kind in _CALLS:
            call_id = item.text("call_id", required=True) or ""
            item.text("name", required=True)
            self._open[call_id] = kind
            self._calls.add(call_id)
            self._list(dict(item.body))
        elif kind in _CALL_OUTPUTS:
            self._call_output(item)
        else:
            self._list(dict(item.body))

    def _message(self, item: Reader) -> None:
        item.only(("type", "role", "content", "status", "id", "phase"))
        role = item.choice("role", _ROLES)
        if role is None:
            raise missing(f"{item.prefix}role")
        parts = self._content(item, "content", assistant=role == "assistant")
        self._list({**_set(item.body), "role": role, "content": parts})

    def _content(self, item: Reader, name: str, *, assistant: bool = False) -> list[Item]:
        """Read text, or an array of texts and images; return the array, defaults filled in."""
        content = item.body.get(name)
        kind = "output_text" if assistant else "input_text"
        if isinstance(content, str):
            parts = [Reader({"type": kind, "text": content}, form=False)]
        elif isinstance(content, list):
            parts = item.objects(name)
        else:
            raise wrong_type(f"{item.prefix}{name}", "a string or array", content)
        return [self._part(part, assistant=assistant) for part in parts]

    def _part(self, part: Reader, *, assistant: bool) -> Item:
        kind = part.text("type", required=True) or ""
        if kind not in _PARTS:
            raise not_one_of(f"{part.prefix}type", kind, _PARTS)
        if kind != "input_image":
            name = "refusal" if kind == "refusal" else "text"
            if name not in part.body:
                raise missing(f"{part.prefix}{name}")
            text = part.text(name) or ""
            if not assistant:  # the sandbox's own words are nothing to draw
                self.texts.append(text)
            more: Item = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
            return {**more, **_set(part.body)}
        part.only(("type", "detail", "image_url", "file_id", "prompt_cache_breakpoint"))
        detail = part.choice("detail", _DETAILS)
        url, file_id = part.text("image_url"), part.text("file_id")
        if (url is None) == (file_id is None):
            param = part.prefix[:-1]
            message = f"Invalid '{param}': provide exactly one of 'image_url' or 'file_id'."
            raise ErrorReply(message, code="invalid_value", param=param)
        self.images.append({"image_url": url} if url is not None else {"file_id": file_id})
        self.seen += 1
        return {**_set(part.body), "detail": detail or "auto"}

    def _stored(self, item: Reader, kind: str) -> None:
        """Read an item named by its id, or an image call that brings its image along.

        With ``store: false`` nothing can be found by id, so clients send the whole call back.
        """
        item_id = item.text("id", required=True) or ""
        result = item.text("result") if kind == "image_generation_call" else None
        if result is not None:
            self._image(_decoded(result, item), {**_set(item.body), "result": result})
            return
        found = self._history.item(item_id)
        if found is None:
            message = f"Item with id '{item_id[:100]}' not found."
            raise ErrorReply(message, param="input", status=404)
        stored, image = found
        if image is not None:
            encoded = b64encode(image).decode("ascii")
            self._image(image, {**stored, "result": encoded})
        elif stored.get("type") == "message":
            read = Reader({"content": stored["content"]}, form=False, prefix=item.prefix)
            self._content(read, "content", assistant=stored.get("role") == "assistant")
            self._list(stored)
        else:
            self._list(stored)

    def _image(self, image: bytes, item: Item) -> None:
        self.last_image = image
        self.seen += 1
        self._list(item)

    def _call_output(self, item: Reader) -> None:
        call_id = item.text("call_id", required=True) or ""
        if call_id not in self._calls:
            message = f"No tool call found for function call output with call_id {call_id[:100]}."
            raise ErrorReply(message, param="input")
        self._open.pop(call_id, None)
        self._content(item, "output")
        self._list(dict(item.body))


def _decoded(result: str, item: Reader) -> bytes:
    import binascii

    from pybase64 import b64decode

    try:
        return Image.from_bytes(b64decode(result, validate=True)).data
    except (binascii.Error, ValueError) as error:
        message = f"Invalid '{item.prefix}result': expected the base64 of an image."
        raise ErrorReply(message, code="invalid_value", param=f"{item.prefix}result") from error
