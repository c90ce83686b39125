"""What ``POST /responses`` accepts: one image tool, words and pictures, and nothing unknown.

The tool's parameters are those of the Images API and are judged by the same rules; errors
name them as the service does (``tools[0].size``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, cast

from attrs import field, frozen

from gptimage.image.image import Image
from gptimage.sandbox._reader import Reader
from gptimage.sandbox._refusal import Refusal, missing, not_one_of, user_error, wrong_type
from gptimage.sandbox.images_api import Policy, accept
from gptimage.sandbox.job import Job
from gptimage.transport.http import HttpRequest


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
class Memory:
    """What a stored response left behind.

    Attributes:
        pictures: Its pictures by call id, or those it inherited when it drew none.
    """

    pictures: Mapping[str, bytes] = field(repr=False)


@frozen(kw_only=True)
class Heard:
    """A turn the rules have accepted.

    Attributes:
        model: The outer model.
        prompt: All words of the turn.
        job: What is to be drawn; None when the turn is answered in words.
        action: ``generate`` or ``edit``, decided.
        stream: Whether the answer is a stream of events.
        stored: Whether the response may be continued.
        previous: The response it continues.
        seen: How many pictures the outer model looks at.
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


def hear(request: HttpRequest, policy: Policy, recall: Callable[[str], Memory | None]) -> Heard:
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
    model = _outer(read)
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
    return Heard(
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


def _outer(read: Reader) -> str:
    name = read.text("model", required=True) or ""
    if not _OUTER.fullmatch(name):
        message = f"The requested model '{name[:100]}' does not exist."
        raise Refusal(message, code="model_not_found", param="model")
    return name


def _memory(previous: str | None, recall: Callable[[str], Memory | None]) -> Memory:
    if previous is None:
        return Memory(pictures={})
    found = recall(previous)
    if found is None:
        message = f"Previous response with id '{previous[:100]}' not found."
        raise Refusal(message, code="previous_response_not_found", param="previous_response_id")
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
        raise Refusal(message, code="invalid_value", param="tools")
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


def _context(said: _Input, memory: Memory, *, masked: bool) -> list[dict[str, str]]:
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
    except Refusal as refusal:
        refusal.error["param"] = _named(str(refusal.error["param"]))
        raise


def _named(param: str) -> str:
    """What the Images API calls a parameter, as the Responses API does."""
    if param == "prompt" or param.startswith("image"):
        return "input"
    return f"tools[0].{'input_image_mask' if param == 'mask' else param}"


def _input(read: Reader, recall: Callable[[str], Memory | None]) -> _Input:
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


def _called(part: Reader, recall: Callable[[str], Memory | None]) -> dict[str, str]:
    call_id = part.text("id", required=True) or ""
    memory = recall(call_id)
    if memory is None:
        message = f"Item with id '{call_id[:100]}' not found."
        raise Refusal(message, param="input", status=404)
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
        raise Refusal(message, code="invalid_value", param=part.prefix[:-1])
    pictures.append({"image_url": url} if url is not None else {"file_id": file_id or ""})
