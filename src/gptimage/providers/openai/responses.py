"""OpenAI's Responses API: a turn of a conversation to its wire form, and replies to values.

An chat model reads the words and calls the tool ``image_generation``, whose parameters are
those of the Images API under the same wire names; only the envelope differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from gptimage._internal.json import MAX_TEXT, count, label, prose
from gptimage._internal.json import array as as_list
from gptimage._internal.json import table as as_table
from gptimage._internal.lenient_base64 import decode
from gptimage.errors import truncated_repr
from gptimage.image.image import Image
from gptimage.models.pricing import ChatUsage
from gptimage.providers.openai.images import data_url, read_reported, set_aside
from gptimage.transport.base64_body import loads
from gptimage.transport.http import HttpRequest, ServerEvent
from gptimage.types.parameters import WIRE_NAMES
from gptimage.types.request import Generate


RESPONSES_PATH: Final = "/responses"

TOOL: Final = "image_generation"
IMAGE: Final = "result"
"""The key of an image call's image."""
_TOOL_FIELDS: Final = {"model", "size", *WIRE_NAMES.values()} - {"n", "safety_identifier"}
OURS: Final = frozenset(
    ("input", "tools", "tool_choice", "previous_response_id", "store", "max_tool_calls")
)
"""Fields of the request that a caller's extra fields may not set, besides the known ones."""


@frozen(kw_only=True)
class Ask:
    """The request of a turn to the service.

    Attributes:
        chat_model: The model that reads the words.
        action: ``auto``, ``generate`` or ``edit``.
        max_images: The most image calls the chat model may make.
        previous: The response this turn continues, or None.
        remembered: Whether the service keeps the turn, so that it can be continued.
        shows: Whether the request's images are sent along; else the service has them.
        model_header: The header that names the image model, where the service wants one.
    """

    chat_model: str
    action: str = "auto"
    max_images: int = 1
    previous: str | None = None
    remembered: bool = True
    shows: bool = True
    model_header: str | None = None


def to_wire(request: Generate, drawn: HttpRequest, ask: Ask) -> HttpRequest:
    """Return the HTTP request of a turn.

    Args:
        request: What was asked.
        drawn: The same request for the Images API, judged, sized and with its mask made legal.
        ask: How it is put.

    Raises:
        InvalidRequestError: An image is too large to be sent as JSON.
    """
    images, mask = _references(drawn)
    tool = {name: value for name, value in drawn.body.items() if name in _TOOL_FIELDS}
    tool = {"type": TOOL, "action": ask.action, **tool}
    if mask is not None:
        tool["input_image_mask"] = mask
    content: list[dict[str, object]] = [{"type": "input_text", "text": request.prompt}]
    if ask.shows:
        content += [_shown(each) for each in images]
    body: dict[str, object] = {
        "model": ask.chat_model,
        "input": [{"role": "user", "content": content}],
        "tools": [tool],
        "tool_choice": {"type": TOOL},
        "max_tool_calls": ask.max_images,
        "store": ask.remembered,
    }
    if ask.previous is not None:
        body["previous_response_id"] = ask.previous
    if request.safety_identifier is not None:
        body["safety_identifier"] = request.safety_identifier
    if request.stream:
        body["stream"] = True
    headers = {ask.model_header: str(drawn.body["model"])} if ask.model_header else {}
    body |= request.extra_body or {}
    return HttpRequest(
        method="POST", path=RESPONSES_PATH, body=body, headers=headers, image_key=IMAGE
    )


def question_to_wire(chat_model: str, text: str, images: Sequence[Image]) -> HttpRequest:
    """Return the HTTP request of a question about images, which has no tool and is not stored.

    Args:
        chat_model: The model that reads it.
        text: The question.
        images: The images, in a format the service takes.

    Raises:
        InvalidRequestError: An image is too large to be sent as JSON.
    """
    content: list[dict[str, object]] = [{"type": "input_text", "text": text}]
    content += [_shown(_data_url("images", each.mime_type, each.data)) for each in images]
    body: dict[str, object] = {
        "model": chat_model,
        "input": [{"role": "user", "content": content}],
        "store": False,
    }
    return HttpRequest(method="POST", path=RESPONSES_PATH, body=body)


def _shown(image: dict[str, str]) -> dict[str, object]:
    return {"type": "input_image", "detail": "auto", **image}


def _references(drawn: HttpRequest) -> tuple[list[dict[str, str]], dict[str, str] | None]:
    """Return the input images and the mask, as data URLs or ids of uploaded files."""
    if drawn.files:
        named = [
            (name, _data_url("mask" if name == "mask" else "images", part.content_type, part.data))
            for part in drawn.files
            for name in (part.name.removesuffix("[]"),)
        ]
        masks = [url for name, url in named if name == "mask"]
        return [url for name, url in named if name == "image"], masks[0] if masks else None
    found: Any = drawn.body
    return list(found.get("images", ())), found.get("mask")


def _data_url(field: str, mime_type: str, data: bytes) -> dict[str, str]:
    return {"image_url": data_url(field, mime_type, data, "a conversation")}


@frozen(kw_only=True)
class ImageCall:
    """One image call of a response.

    Attributes:
        id: Its id, or None.
        image: The bytes drawn; text where they are no base64; None when nothing was drawn.
        revised_prompt: The prompt it was really drawn from.
        error: Why nothing was drawn, when the service says.
        svg_usage: Tokens of an svg's author.
        reported: Size, quality, format and background as the service reports them.
    """

    id: str | None
    image: bytes | str | None = field(repr=False)
    revised_prompt: str | None = field(default=None, repr=False)
    error: Mapping[str, Any] | None = None
    svg_usage: object = None
    reported: Mapping[str, object] = field(factory=dict[str, object])


@frozen(kw_only=True)
class Answer:
    """The content of a response, whatever it left out.

    Attributes:
        id: The response's id.
        created: When it was made, as the service wrote it.
        status: Such as ``completed``, ``incomplete`` or ``failed``.
        reason: Why it is incomplete.
        error: Why it failed.
        calls: Its image calls, in order.
        text: What the chat model wrote.
        refusal: In which words it refused to answer; empty when it did not.
        usage: The chat model's tokens.
        image_usage: The image calls' tokens, in the Images API's shape.
        tier: The processing tier that was used.
        odd: A sentence for each field that was set aside because it cannot be true.
    """

    id: str | None
    created: object = None
    status: str | None = None
    reason: str | None = None
    error: Mapping[str, Any] | None = None
    calls: tuple[ImageCall, ...] = ()
    text: str = field(default="", repr=False)
    refusal: str = field(default="", repr=False)
    usage: ChatUsage | None = None
    image_usage: object = None
    tier: str | None = None
    odd: tuple[str, ...] = ()


def read_answer(value: object, images: tuple[bytes, ...] = ()) -> Answer:
    """Read a response object, trusting nothing in it.

    Args:
        value: The JSON value.
        images: Images that were taken out of the body, each replaced by its number.
    """
    table = as_table(value)
    outputs = [as_table(each) for each in as_list(table.get("output"))]
    return Answer(
        id=label(table.get("id")),
        created=table.get("created_at"),
        status=label(table.get("status")),
        reason=label(as_table(table.get("incomplete_details")).get("reason")),
        error=as_table(table.get("error")) or None,
        calls=tuple(_call(each, images) for each in outputs if each.get("type") == f"{TOOL}_call"),
        text=_said(outputs, "text", "refusal"),
        refusal=_said(outputs, "refusal"),
        usage=_usage(as_table(table.get("usage"))),
        image_usage=as_table(table.get("tool_usage")).get("image_gen"),
        tier=label(table.get("service_tier")),
        odd=tuple(_odd(table, outputs)),
    )


@frozen(kw_only=True)
class TurnEvent:
    """A parsed event of a turn's stream.

    Attributes:
        kind: ``partial``, ``item`` (an output item is done), ``response`` (the end), ``created``,
            ``error`` or ``other``.
        value: The preview's base64, the item, the response, or the error.
        index: The number of a preview.
    """

    kind: str
    value: Any = field(repr=False)
    index: int = 0


def read_turn_event(event: ServerEvent) -> TurnEvent:
    """Parse one event of a turn's stream.

    Raises:
        ValueError: It is not JSON.
    """
    table = as_table(loads(bytes(event.data)))
    name = label(table.get("type")) or event.name
    if name == "error" or (table.get("error") and "response" not in table):
        return TurnEvent(kind="error", value=table)
    if not name and "output" in table:  # a server that cannot stream sends the response itself
        return TurnEvent(kind="response", value=table)
    if name.endswith(".partial_image"):
        index = table.get("partial_image_index")
        whole = count(index) or 0
        return TurnEvent(kind="partial", value=table.get("partial_image_b64"), index=whole)
    if name.endswith("output_item.done"):
        return TurnEvent(kind="item", value=as_table(table.get("item")))
    if name in {"response.completed", "response.incomplete", "response.failed"}:
        return TurnEvent(kind="response", value=as_table(table.get("response")))
    kind = "created" if name == "response.created" else "other"
    return TurnEvent(kind=kind, value=as_table(table.get("response")))


def _call(item: Mapping[str, Any], images: tuple[bytes, ...]) -> ImageCall:
    return ImageCall(
        id=label(item.get("id")),
        image=_image(item.get(IMAGE), images),
        revised_prompt=prose(item.get("revised_prompt")),
        error=as_table(item.get("error")) or None,
        svg_usage=item.get("svg_usage"),
        reported=read_reported(item),
    )


def _image(found: object, images: tuple[bytes, ...]) -> bytes | str | None:
    if isinstance(found, int) and not isinstance(found, bool):
        return images[found] if 0 <= found < len(images) else None
    if not isinstance(found, str) or not found:
        return None
    try:
        return decode(found.encode("utf-8", "replace"))
    except ValueError:
        return found


def _odd(table: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is set aside, one sentence each."""
    if table.get("id") is not None and label(table.get("id")) is None:
        shown = truncated_repr(table["id"], 40)
        yield f"the id of the response is no id ({shown}) and was set aside"
    usage = as_table(table.get("usage"))
    names = ("input_tokens", "output_tokens", "total_tokens")
    yield from set_aside({f"usage.{name} of the chat model": usage.get(name) for name in names})
    for each in outputs:
        revised = each.get("revised_prompt")
        if revised is not None and revised != prose(revised):
            yield f"a revised prompt ({truncated_repr(revised, 40)}) was cut to what can be saved"


def _said(outputs: Sequence[Mapping[str, Any]], *names: str) -> str:
    parts = [
        as_table(part)
        for each in outputs
        if each.get("type") == "message"
        for part in as_list(each.get("content"))
    ]
    texts = [prose(part.get(name)) for part in parts for name in names]
    return "\n".join(text for text in texts if text)[:MAX_TEXT]


def _usage(table: Mapping[str, Any]) -> ChatUsage | None:
    entered, written = count(table.get("input_tokens")), count(table.get("output_tokens"))
    if entered is None or written is None:
        return None
    details = as_table(table.get("input_tokens_details"))
    return ChatUsage(
        input_tokens=entered,
        output_tokens=written,
        total_tokens=count(table.get("total_tokens")) or entered + written,
        cached_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=count(
            as_table(table.get("output_tokens_details")).get("reasoning_tokens")
        ),
    )
