"""OpenAI's Images API: a request to its wire form, and its replies to plain values.

Edits go as multipart forms, like the official client sends them. Two things exist only
in the JSON form of an edit, images named by file id and ``moderation``; such an edit
goes as JSON, with its other images as data URLs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from gptimage._internal.json import count, label, table
from gptimage.errors import InvalidRequestError, truncated_repr
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.models.catalog import ModelSpec
from gptimage.models.pricing import Cost, Usage, cost_of
from gptimage.transport.base64_body import ParsedBody, parse
from gptimage.transport.http import FilePart, HttpRequest, ServerEvent
from gptimage.transport.wrapped_body import is_final
from gptimage.types.parameters import WIRE_NAMES
from gptimage.types.request import Edit, FileRef, Generate


GENERATE_PATH: Final = "/images/generations"
EDIT_PATH: Final = "/images/edits"
MAX_DATA_URL: Final = 20_971_520
"""Characters of one data URL in a JSON edit (OpenAI's OpenAPI document)."""


def to_wire(
    request: Generate,
    *,
    size: str | None,
    mask: Image | FileRef | None = None,
    form_moderation: bool = False,
) -> HttpRequest:
    """Return the HTTP request for a checked request.

    Args:
        request: What was asked.
        size: The legal size to draw, or None to leave it to the service.
        mask: The legal mask of an edit.
        form_moderation: Whether the form of an edit takes ``moderation`` there.

    Raises:
        InvalidRequestError: An image is too large for the JSON form its edit needs.
    """
    fields = _fields(request, size)
    if not isinstance(request, Edit):
        return HttpRequest(method="POST", path=GENERATE_PATH, body=fields)
    if json_reasons(request, mask, form_moderation=form_moderation):
        body = {**fields, **_json_images(request, mask)}
        return HttpRequest(method="POST", path=EDIT_PATH, body=body)
    return HttpRequest(method="POST", path=EDIT_PATH, body=fields, files=_parts(request, mask))


def _fields(request: Generate, size: str | None) -> dict[str, object]:
    values: dict[str, object] = {"model": request.model, "prompt": request.prompt}
    if size is not None:
        values["size"] = size
    for name, wire_name in WIRE_NAMES.items():
        value = getattr(request, name, None)
        if value is not None:
            values[wire_name] = value
    if request.stream:
        values["stream"] = True
    return {**values, **(request.extra_body or {})}


def json_reasons(
    request: Edit, mask: Mask | Image | FileRef | None, *, form_moderation: bool = False
) -> list[str]:
    """Return what of an edit only its JSON form has; such an edit goes as JSON."""
    named = any(isinstance(each, FileRef) for each in (*request.images, mask, request.markup))
    moderated = request.moderation is not None and not form_moderation
    return [*(["moderation="] if moderated else []), *(["file ids"] if named else [])]


def _parts(request: Edit, mask: Image | FileRef | None) -> tuple[FilePart, ...]:
    """Return the images of a form: one as ``image``, several as ``image[]``, as in the SDK."""
    name = "image" if len(request.images) == 1 else "image[]"
    named: list[tuple[str, object, str]] = [
        (name, image, f"image-{k}") for k, image in enumerate(request.images, 1)
    ]
    named += [("mask", mask, "mask"), ("markup", request.markup, "markup")]
    return tuple(
        FilePart(
            name=name,
            filename=f"{stem}.{image.extension}",
            content_type=image.mime_type,
            data=image.data,
        )
        for name, image, stem in named
        if isinstance(image, Image)
    )


def _json_images(request: Edit, mask: Image | FileRef | None) -> dict[str, object]:
    images: dict[str, object] = {"images": [_reference("images", i) for i in request.images]}
    if mask is not None:
        images["mask"] = _reference("mask", mask)
    if request.markup is not None:
        images["markup"] = _reference("markup", request.markup)
    return images


def _reference(name: str, image: Image | FileRef) -> dict[str, str]:
    if isinstance(image, FileRef):
        return {"file_id": image.file_id}
    what = "an edit that uses file ids or moderation"
    return {"image_url": data_url(name, image.mime_type, image.data, what)}


def data_url(field: str, mime_type: str, data: bytes, what: str) -> str:
    """Return an image as text for a request that goes as JSON.

    Args:
        field: The parameter it belongs to.
        mime_type: Its type.
        data: Its bytes.
        what: What it is too large for, in an error.

    Raises:
        InvalidRequestError: It is longer than the service takes.
    """
    import pybase64

    url = f"data:{mime_type};base64,{pybase64.b64encode(data).decode('ascii')}"
    if len(url) > MAX_DATA_URL:
        raise InvalidRequestError(
            f"{field}: an image of {len(data):,} bytes is too large for {what}: shrink it with "
            "Image.shrink(15_000_000), or upload it",
            field=field,
            value=f"<{len(data)} bytes>",
            allowed="about 15.7 million bytes",
        )
    return url


def read_usage(value: object, *, has_inputs: bool) -> Usage | None:
    """Return the ``usage`` object of a reply; None when it is missing, broken or all zero."""
    reply = table(value)
    usage = _Counts(reply.get("usage"))
    entered, drawn = usage("input_tokens"), usage("output_tokens")
    total = usage("total_tokens") or (entered or 0) + (drawn or 0)
    if not total or entered is None or drawn is None:
        return None
    details = _Counts(usage.table.get("input_tokens_details"))
    text, images = details("text_tokens"), details("image_tokens")
    if text is None and images is None and not has_inputs:
        text, images = entered, 0
    return Usage(
        input_tokens=entered,
        output_tokens=drawn,
        total_tokens=total,
        text_tokens=text,
        image_tokens=images,
        output_text_tokens=_Counts(usage.table.get("output_tokens_details"))("text_tokens"),
        svg_tokens=_Counts(reply.get("svg_usage"))("total_tokens"),
    )


def cost_of_reply(
    value: object,
    usage: Usage | None,
    spec: ModelSpec | None,
    on: date,
    *,
    formats: Collection[str],
    stated: bool = False,
    batch: bool = False,
) -> Cost | None:
    """Return what a reply cost in USD; None when that cannot be known.

    Args:
        value: The JSON value of the reply.
        usage: Its usage.
        spec: What is known of the model, or None.
        on: The day whose prices hold.
        formats: The formats of its images.
        stated: Whether it is a provider's, which may state the cost itself.
        batch: Whether the Batch API's prices hold.
    """
    if stated and (named := _stated(table(value).get("cost_usd"))) is not None:
        return Cost(usd=named, is_upper_bound=False)
    if "svg" in formats:
        return None  # no source gives the price of its author
    return cost_of(spec, usage, on, batch=batch)


def _stated(amount: object) -> Decimal | None:
    """Return what a provider itself says a call cost, in USD; None when that is no amount."""
    try:
        usd = Decimal(str(amount))
    except ArithmeticError:
        return None
    return usd if usd.is_finite() and usd >= 0 else None


def odd_usage(value: object) -> list[str]:
    """Return a sentence when a reply names numbers of tokens that no call can have used."""
    reply = table(value)
    usage = table(reply.get("usage"))
    places = {
        "usage.": (usage, ("input_tokens", "output_tokens", "total_tokens")),
        **{
            f"usage.{part}.": (table(usage.get(part)), ("text_tokens", "image_tokens"))
            for part in ("input_tokens_details", "output_tokens_details")
        },
        "svg_usage.": (table(reply.get("svg_usage")), ("total_tokens",)),
    }
    return set_aside({p + n: found.get(n) for p, (found, names) in places.items() for n in names})


def set_aside(counts: Mapping[str, object]) -> list[str]:
    """A sentence for the numbers among these that are none a call can use; nothing for None."""
    odd = {n: each for n, each in counts.items() if each is not None and count(each) is None}
    if not odd:
        return []
    named = ", ".join(f"{name} {truncated_repr(each, 40)}" for name, each in odd.items())
    return [f"the reply says {named}, which no call can use: what depends on it is not known"]


class _Counts:
    """Reads numbers of tokens from what should be a JSON object."""

    def __init__(self, value: object) -> None:
        self.table = table(value)

    def __call__(self, name: str) -> int | None:
        return count(self.table.get(name))


def read_reported(value: object) -> dict[str, str]:
    """Return what the service says it drew, of the fields in `REPORTED` that hold a plain word."""
    reply = table(value)
    found = {name: label(reply.get(name)) for name in REPORTED}
    return {name: text for name, text in found.items() if text is not None}


REPORTED: Final = ("size", "quality", "background", "output_format")
"""Fields in which the service says what it drew; they have been seen to be wrong."""


@frozen(kw_only=True)
class StreamEvent:
    """A parsed event of an image stream.

    Attributes:
        kind: ``partial``, ``completed``, ``error`` or ``other``.
        document: The event's JSON, its image still in base64.
        index: The number of a partial image.
    """

    kind: str
    document: ParsedBody
    index: int = 0


def read_event(event: ServerEvent) -> StreamEvent:
    """Parse one event of an image stream.

    Raises:
        ValueError: It is not JSON.
    """
    document = parse(event.data)
    value = table(document.value)
    kind, index = value.get("type"), value.get("partial_image_index")
    return StreamEvent(
        kind=_event_kind(kind if isinstance(kind, str) else event.name, value),
        document=document,
        index=count(index) or 0,
    )


def _event_kind(name: str, value: dict[str, Any]) -> str:
    if not value:
        return "other"
    if is_final(name, value):
        return "completed"
    if name == "error" or value.get("error"):
        return "error"
    if name.endswith(".partial_image"):
        return "partial"
    return "completed" if name.endswith(".completed") else "other"
