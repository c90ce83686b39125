"""Validation of ``POST /responses``: the chat model, its tools and its input items.

The image tool's parameters are those of the Images API and are validated by the same rules;
errors name them as the service does (``tools[0].size``). Other tools are accepted and never
called, and what other tools left in the input is read for its words and images alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from attrs import field, frozen

from gptimage.image.image import Image
from gptimage.sandbox.failures import ErrorReply, empty, missing, not_one_of, refusal, user_error
from gptimage.sandbox.images_api import Policy, accept
from gptimage.sandbox.job import Job
from gptimage.sandbox.responses_input import History, Item, TurnInput, given_values
from gptimage.sandbox.wire import Reader, accepted
from gptimage.transport.http import HttpRequest


_BODY: Final = accepted("responses", "body")
_MISSING_HERE: Final = accepted("responses", "missing_here")
_TOOL: Final = accepted("responses", "image_tool")
_NAMED_TOOLS: Final = ("function", "custom")
_TOOLS: Final = accepted("responses", "tools")
_TOOL_DEFAULTS: Final[Item] = {
    "background": "auto", "moderation": "auto", "n": 1, "output_compression": 100,
    "output_format": "png", "quality": "auto", "size": "auto",
}  # fmt: skip
DEFAULT_IMAGE_MODEL: Final = "gpt-image-2.6-sunburst"
_CHAT_MODEL: Final = re.compile(r"(gpt-(?!image|audio)[4-9]|chatgpt-4|o[134](-|$))[\w.-]*")
_AZURE_DEPLOYMENT: Final = "x-ms-oai-image-generation-deployment"
"""The header with which Azure learns the image deployment; its tool takes no model."""
_INCLUDABLE: Final = accepted("responses", "include")
_MOST_IMAGES: Final = 16
"""How many images of a turn are drawn from: what one edit of the Images API takes."""


@frozen(kw_only=True)
class ValidatedTurn:
    """A turn the rules have accepted.

    Attributes:
        prompt: The words to draw from.
        job: What is to be drawn; None when the reply has words alone.
        action: ``generate`` or ``edit``, decided.
        stream: Whether the reply is a stream of events.
        background: Whether the turn is worked on after the reply.
        obfuscated: Whether the deltas of a stream are padded.
        stored: Whether the response may be continued and retrieved.
        previous: The response it continues.
        conversation: The conversation it belongs to.
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
    conversation: str | None
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
    previous, conversation = read.text("previous_response_id"), _conversation(read)
    before = _images_before(previous, conversation, history)
    turn = TurnInput(history).read(read)
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
        conversation=conversation,
        seen=turn.seen + len(before),
        items=turn.items,
        echo={"model": model, **_echo(read), "tools": tools, "store": stored},
    )


def _chat_model(read: Reader) -> str:
    name = read.text("model", required=True) or ""
    if not _CHAT_MODEL.fullmatch(name):
        message = f"The requested model '{name[:100]}' does not exist."
        raise ErrorReply(message, code="model_not_found", param="model")
    return name


def _conversation(read: Reader) -> str | None:
    """Return the id of the conversation that a request names: as a string, or in an object."""
    if isinstance(read.body.get("conversation"), str):
        return read.text("conversation")
    given = read.object("conversation")
    return None if given is None else given.text("id", required=True)


def _images_before(
    previous: str | None, conversation: str | None, history: History
) -> Mapping[str, bytes]:
    if conversation is not None:
        if previous is not None:
            raise refusal("exclusive")
        if (found := history.conversation(conversation)) is None:
            message = f"Conversation with id '{conversation[:100]}' not found."
            raise ErrorReply(message, param="conversation", status=404)
        return found
    if previous is None:
        return {}
    found = history.images(previous)
    if found is None:
        raise refusal("previous_response", "previous_response_id", id=previous[:100])
    return found


def _delivery(read: Reader) -> tuple[bool, bool, bool]:
    """Validate how the reply is to come: as a stream, in the background, stored."""
    stream, background = read.flag("stream"), read.flag("background")
    stored = read.flag("store", default=True)
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
    return options.flag("include_obfuscation", default=True)


def _echo(read: Reader) -> Item:
    """Validate the parameters that only the chat model would use, and return them as echoed."""
    text, reasoning = read.object("text"), read.object("reasoning")
    options = read.object("prompt_cache_options")
    for number, each in enumerate(read.array("include")):
        if each not in _INCLUDABLE:
            raise not_one_of(f"include[{number}]", str(each), _INCLUDABLE)
    temperature, top_p = read.number("temperature", 0, 2), read.number("top_p", 0, 1)
    echo: Item = {
        "background": read.flag("background"),
        "frequency_penalty": 0.0,
        "instructions": read.text("instructions"),
        "max_output_tokens": read.whole("max_output_tokens", 16, 10**9),
        "max_tool_calls": read.whole("max_tool_calls", 1, 128),
        "metadata": read.metadata(),
        "parallel_tool_calls": read.flag("parallel_tool_calls", default=True),
        "presence_penalty": 0.0,
        "previous_response_id": read.text("previous_response_id"),
        "prompt_cache_key": read.text("prompt_cache_key"),
        "prompt_cache_retention": read.choice("prompt_cache_retention", ("in_memory", "24h")),
        "reasoning": {"effort": None, "summary": None, **(reasoning.body if reasoning else {})},
        "safety_identifier": read.text("safety_identifier"),
        "temperature": 1.0 if temperature is None else temperature,
        "text": {
            "format": {"type": "text"}, "verbosity": "medium",
            **given_values(text.body if text else {}),
        },
        "tool_choice": read.body.get("tool_choice") or "auto",
        "top_logprobs": read.whole("top_logprobs", 0, 20) or 0,
        "top_p": 1.0 if top_p is None else top_p,
        "truncation": read.choice("truncation", ("auto", "disabled")) or "disabled",
        "user": read.text("user"),
    }  # fmt: skip
    if (conversation := _conversation(read)) is not None:
        echo["conversation"] = {"id": conversation}
    if options is not None:
        echo["prompt_cache_options"] = {
            "mode": "implicit",
            "ttl": "30m",
            **given_values(options.body),
        }
    read.text("service_tier")
    return echo


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
    return {**_TOOL_DEFAULTS, "model": model, **given_values(tool.body)}


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


def _context(turn: TurnInput, last: bytes | None, *, masked: bool) -> list[Item]:
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
    body = {k: v for k, v in tool.body.items() if k not in own and v is not None}
    if not images:  # it is a setting of the tool, also in turns that have no image to be true to
        tool.choice("input_fidelity", ("low", "high"))
        body.pop("input_fidelity", None)
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
