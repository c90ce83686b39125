"""The input items of a response or a conversation: messages, images, calls and their outputs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias, cast

from attrs import define, field
from pybase64 import b64encode

from gptimage.image.image import Image
from gptimage.sandbox.failures import ErrorReply, missing, not_one_of, wrong_type
from gptimage.sandbox.wire import Reader, accepted


Item: TypeAlias = dict[str, object]
"""An input or output item of a response, as JSON values."""

_ROLES: Final = ("user", "assistant", "system", "developer")
_PARTS: Final = ("input_text", "input_image", "output_text", "refusal")
_DETAILS: Final = ("low", "high", "auto", "original")
_CALLS: Final = ("function_call", "custom_tool_call")
_CALL_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
_NEITHER_READ: Final = accepted("responses", "unread_items")
_ITEMS: Final = (
    "message", "item_reference", "image_generation_call", *_CALLS, *_CALL_OUTPUTS, *_NEITHER_READ
)  # fmt: skip
_MOST_WORDS: Final = 32_000
"""Characters of the image prompt; the chat model would write one that fits."""


class History(Protocol):
    """The responses a turn can refer to."""

    def images(self, response_id: str) -> Mapping[str, bytes] | None:
        """Return the images a response made or inherited by call id, or None if unknown."""
        ...

    def conversation(self, conversation_id: str) -> Mapping[str, bytes] | None:
        """Return the images of a conversation by call id, or None if unknown."""
        ...

    def item(self, item_id: str) -> tuple[Item, bytes | None] | None:
        """Return a stored item and its image, or None if unknown."""
        ...


def read_items(read: Reader, name: str, history: History) -> list[Item]:
    """Validate an array of input items and return them as they are listed.

    Raises:
        ErrorReply: A rule is broken.
    """
    items = TurnInput(history)
    for item in read.objects(name):
        items.read_item(item)
    return items.items


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


def given_values(body: Mapping[str, object]) -> Item:
    """Return the values that were given: null stands for the default."""
    return {name: value for name, value in body.items() if value is not None}


@define
class TurnInput:
    """The words and images of a turn, gathered from its items in order.

    Attributes:
        texts: The texts, in order.
        images: The images to change, as the Images API takes them.
        last_image: The last image of an image call.
        seen: How many images the chat model looks at.
        items: The items, as they are listed.
    """

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
        """The words to draw from."""
        return "\n".join(self.texts)[-_MOST_WORDS:]

    def read(self, read: Reader) -> TurnInput:
        """Read the ``input`` of a request.

        Raises:
            ErrorReply: A rule is broken.
        """
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
            self.read_item(item)
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

    def read_item(self, item: Reader) -> None:
        """Read the next item.

        Raises:
            ErrorReply: A rule is broken.
        """
        kind = item.choice("type", _ITEMS)
        if kind is None:  # both a message and a reference may leave their type out
            kind = "item_reference" if set(given_values(item.body)) == {"id"} else "message"
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
        self._list({**given_values(item.body), "role": role, "content": parts})

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
            return {**more, **given_values(part.body)}
        part.only(("type", "detail", "image_url", "file_id", "prompt_cache_breakpoint"))
        detail = part.choice("detail", _DETAILS)
        url, file_id = part.image_source()
        self.images.append({"image_url": url} if url is not None else {"file_id": file_id})
        self.seen += 1
        return {**given_values(part.body), "detail": detail or "auto"}

    def _stored(self, item: Reader, kind: str) -> None:
        """Read an item named by its id, or an image call that brings its image along.

        With ``store: false`` nothing can be found by id, so clients send the whole call back.
        """
        item_id = item.text("id", required=True) or ""
        result = item.text("result") if kind == "image_generation_call" else None
        if result is not None:
            self._image(_decoded(result, item), {**given_values(item.body), "result": result})
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
