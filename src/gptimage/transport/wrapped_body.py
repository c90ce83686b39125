"""Responses in another form than requested, brought into the shape of the Images API.

Gateways send an event stream to a plain request, JSON Lines, the bare file, or other names
for the same things. Whatever holds a finished image was paid for, so it is read. A preview
is never taken for one: only what says that it is complete counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, cast

from gptimage._internal.json import array, count, table
from gptimage.transport.http import EventDecoder


_BASE64: Final = (
    "b64_json", "b64", "base64", "image_base64", "bytesBase64Encoded", "b64Json", "image_b64",
)  # fmt: skip
"""Keys under which servers send base64; the first is OpenAI's."""

_ADDRESSES: Final = ("url", "image_url")
_WRAPPER_KEYS: Final = (
    "data", "images", "image", "output", "outputs", "result", "results", "artifacts",
    "predictions", "choices", "message", "candidates", "content", "parts", "inlineData",
    "inline_data", "response", "body",
)  # fmt: skip
"""Keys that lead to images in the answers of other servers."""

_DEEPEST: Final = 8
_STARTS: Final = ("iVBOR", "/9j/", "UklGR", "R0lGOD", "PHN2Z", "PD94b")
"""What base64 of a PNG, JPEG, WebP, GIF or SVG begins with."""

_IN_TEXT: Final = re.compile(r"!\[[^\]\n]*\]\(((?:https?://|data:image/)[^\s)]+)\)")
"""Markdown for an image: how gateways in front of chat models hand one over."""

_NESTED: Final = (dict, list)
_COUNTED: Final = ("input_tokens", "output_tokens", "total_tokens")
_COST: Final = "cost_usd"
"""Where a provider's own statement of a cost is put; see `Provider.from_wire`."""
_DETAILS: Final = ("input_tokens_details", "output_tokens_details")


def is_bare_image(body: bytes | bytearray) -> bool:
    """Return whether the body is the file itself instead of JSON about it."""
    webp = body[:4] == b"RIFF" and body[8:12] == b"WEBP"
    return webp or body.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"))


def from_events(text: bytes, images: tuple[bytes, ...] = ()) -> dict[str, Any] | None:
    """What an event stream or JSON Lines say as one plain answer; None when they are neither.

    Args:
        text: The body.
        images: The images that were taken out of it.
    """
    decoder = EventDecoder()
    found: list[dict[str, Any]] = []
    for event in (*decoder.feed(text), *decoder.finish()):
        value = table(loads(event.data))
        if value:
            kind = value.get("type")
            found.append({**value, "type": kind if isinstance(kind, str) else event.name})
    if finals := [value for value in found if is_final(value["type"], value)]:
        return merged(finals)
    whole = [value for value in found if items(value)]
    failed = [value for value in found if value.get("error") or value["type"] == "error"]
    return _joined(whole, images) if whole else next(iter(failed), None)


def _joined(answers: list[dict[str, Any]], images: tuple[bytes, ...]) -> dict[str, Any]:
    """Return whole answers as one: the last where it repeats the others, else all of their images.

    Some servers send what they have so far, others each image in an answer of its own.
    """
    parts = [[(_content(item, images), item) for item in items(each)] for each in answers]
    last = {key for key, _ in parts[-1]}
    if all(key in last for part in parts for key, _ in part):
        return answers[-1]
    data = {key: item for part in parts for key, item in part}
    return {**answers[-1], "usage": _total(answers), "data": list(data.values())}


def _content(item: dict[str, Any], images: tuple[bytes, ...]) -> object:
    """Return what tells an entry from others: its image, or what is there instead."""
    found = item.get("b64_json")
    if isinstance(found, int) and 0 <= found < len(images):
        return images[found]
    return found if isinstance(found, str) else json.dumps(item, sort_keys=True)


def is_final(kind: str, value: dict[str, Any]) -> bool:
    """Return whether an event holds a finished image of its own.

    An event that names no kind is one unless it is numbered, as every preview is.
    """
    if value.get("b64_json") is None and not value.get("url"):
        return False
    return kind.endswith(".completed") or (not kind and "partial_image_index" not in value)


def merged(finals: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the events of finished images as one plain answer."""
    data = [
        {name: part for name, part in value.items() if not isinstance(part, _NESTED)}
        for value in finals
    ]
    created = data[0].get("created_at", data[0].get("created"))
    head = {name: part for name, part in data[0].items() if name not in {"b64_json", "type"}}
    whole = {**head, "created": created, "usage": _total(finals), "data": data}
    return {**whole, _COST: _total_cost(finals)} if any(_COST in each for each in finals) else whole


def items(value: object) -> list[dict[str, Any]]:
    """Return the entries of a reply's ``data``; none when there are none, whatever is there."""
    return [each for each in map(table, array(table(value).get("data"))) if each]


def normal(value: object) -> object:
    """The answer with its images under OpenAI's names; as it is when it uses them already."""
    known = [each for each in items(value) if _is_known(each)]
    error = table(value).get("error") or table(value).get("type") == "error"
    if known or error:
        return value
    found = list(_entries(value, _DEEPEST))
    return {**table(value), "data": found} if found else value


def _is_known(item: dict[str, Any]) -> bool:
    """Return whether an entry has its image where OpenAI puts it, and as one text."""
    if (coded := item.get("b64_json")) is not None:
        return not isinstance(coded, _NESTED)
    return bool(address := item.get("url")) and not str(address).startswith(_STARTS)


def chat_text(value: object) -> str:
    """Return what a chat model behind a gateway wrote; empty where it wrote nothing."""
    messages = (table(table(each).get("message")) for each in array(table(value).get("choices")))
    found = (each.get("content") or each.get("refusal") for each in messages)
    return "\n".join(each.strip() for each in found if isinstance(each, str))


def loads(data: bytes | bytearray) -> object:
    """Return the JSON value, or None when it is none."""
    try:
        text = bytes(data).decode("utf-8-sig", "replace")
        return json.loads(text, strict=False, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _entries(value: object, depth: int) -> Iterator[dict[str, Any]]:
    if depth == 0:
        return
    if isinstance(value, str):
        if value.startswith(("http://", "https://", "data:image/")):
            yield {"url": value}
        elif value.startswith(_STARTS):
            yield {"b64_json": value}
        elif value.startswith(("{", "[")):  # JSON inside of JSON
            yield from _entries(loads(value.encode("utf-8", "replace")), depth - 1)
        else:
            yield from ({"url": each} for each in _IN_TEXT.findall(value))
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _entries(each, depth - 1)
    elif isinstance(value, dict):
        yield from _entry(cast("dict[str, Any]", value), depth)


def _entry(value: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    coded = [value[name] for name in _BASE64 if isinstance(value.get(name), str) and value[name]]
    number = value.get(_BASE64[0])
    if isinstance(number, int) and not isinstance(number, bool):  # taken out as it arrived
        coded = [number]
    if coded:
        yield {**value, "b64_json": coded[0]}
        return
    for name in _ADDRESSES:
        address = table(value.get(name)).get("url", value.get(name))
        if isinstance(address, str) and address:
            yield {**value, ("b64_json" if address.startswith(_STARTS) else "url"): address}
            return
    for name in (*_WRAPPER_KEYS, *_BASE64):
        yield from _entries(value.get(name), depth - 1)


def _total(finals: list[dict[str, Any]]) -> object:
    """Return the usage of all finished images together, in the service's own shape."""
    tables = [table(each.get("usage")) for each in finals]
    if not all(tables):
        return None
    total: dict[str, object] = {name: _sum(tables, name) for name in _COUNTED}
    for part in _DETAILS:
        details = [table(each.get(part)) for each in tables]
        total[part] = {name: _sum(details, name) for name in details[0]}
    return total


def _total_cost(finals: list[dict[str, Any]]) -> str | None:
    """Return what all finished images cost together; None where one has no amount."""
    try:
        return str(sum((Decimal(str(each.get(_COST))) for each in finals), Decimal(0)))
    except ArithmeticError:
        return None


def _sum(tables: list[dict[str, Any]], name: str) -> Any:
    counts = [table.get(name) for table in tables]
    whole = [each for each in map(count, counts) if each is not None]
    if len(whole) == len(counts):
        return sum(whole)
    # Left as it is: the reading of the whole names what cannot be used.
    return next(each for each in counts if count(each) is None)
