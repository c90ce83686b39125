"""A plan and a reply become a `Result`: the second half of the pure core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve

from gptimage import _pixels
from gptimage._http import HttpReply
from gptimage._json import table
from gptimage._plan import Plan, possible_cost
from gptimage._reply import Document, decode, items, join, parse, picture_of, salvage
from gptimage._shown import shown
from gptimage.errors import ApiError, MalformedReplyError, OutcomeUnknownError
from gptimage.image import Image
from gptimage.money import Cost, Usage, cost_of
from gptimage.providers.openai_errors import error_from_event, error_from_reply, has_error
from gptimage.providers.openai_images import odd_usage, read_reported, read_usage
from gptimage.results import Result
from gptimage.retry import retry_after


_YEAR_2100: Final = 4_102_444_800
_GATEWAY_TIMEOUTS: Final = frozenset({504, 524})
"""A gateway gave up waiting for the service, which may have gone on and billed."""


def finish(
    plan: Plan, reply: HttpReply, unreachable: Mapping[str, str] | None = None, *, now: datetime
) -> Result:
    """Read a whole reply into a result.

    Args:
        plan: What was sent.
        reply: What came back.
        unreachable: Why pictures could not be downloaded, by the address the reply named.
        now: The time (UTC), for a reply that does not say when it was made.

    Raises:
        ApiError: The service refused.
        MalformedReplyError: The reply holds no readable picture; it carries the body.
        OutcomeUnknownError: A gateway gave up waiting.
    """
    document = _document(plan, reply, now)
    images, lost = _images(document, unreachable or {})
    if not images:
        raise _nothing(plan, reply, document, lost)
    usage = read_usage(document.value, has_inputs=bool(plan.request.inputs))
    fitted = [_exact(plan, image) for image in images]
    notes = ["the reply was cut short; these pictures were whole"] if document.cut_short else []
    warnings = [*plan.warnings, *notes, *lost, *_surprises(plan, images)]
    warnings += [note for _, cuts in fitted for note in cuts]
    warnings += odd_usage(document.value)
    stamp = table(document.value).get("created")
    created = moment_of(stamp)
    if created is None and stamp is not None:
        warnings.append(f"the reply says created {shown(stamp, 40)}, which is no time: now is used")
    return Result(
        images=tuple(image for image, _ in fitted),
        request=plan.request,
        model=plan.request.model,
        usage=usage,
        cost=_cost(plan, usage, images),
        warnings=tuple(dict.fromkeys(warnings)),
        created=created or now,
        request_id=reply.request_id,
        reported=read_reported(document.value),
    )


def embed(reply: HttpReply, found: Mapping[str, bytes]) -> HttpReply:
    """The reply with downloaded pictures in place of their addresses, which may expire."""
    document = parse(reply.body, reply.pictures)
    pictures = list(document.pictures)
    for item in items(document.value):
        url = item.get("url")
        if isinstance(url, str) and url in found:
            item["b64_json"] = len(pictures)
            pictures.append(found[url])
    body = json.dumps(document.value).encode()
    return evolve(reply, body=body, pictures=tuple(pictures))


def addresses(reply: HttpReply) -> tuple[str, ...]:
    """The http addresses a reply names instead of sending bytes; usually none."""
    if not 200 <= reply.status < 300 or b'"url"' not in reply.body:
        return ()
    try:
        document = parse(reply.body, reply.pictures)
    except ValueError:
        return ()
    found = [item.get("url") for item in items(document.value) if not _has_bytes(item, document)]
    return tuple(url for url in found if isinstance(url, str) and url.startswith("http"))


def _document(plan: Plan, reply: HttpReply, now: datetime) -> Document:
    """The reply's JSON, once its status says that it is an answer."""
    if reply.status in _GATEWAY_TIMEOUTS:
        raise OutcomeUnknownError(
            f"a gateway gave up waiting for the service (HTTP {reply.status}): "
            f"{possible_cost(plan)}; look at your usage page before asking again",
            possible_cost=plan.ceiling,
            request_id=reply.request_id,
        )
    if not 200 <= reply.status < 300:
        raise error_from_reply(reply, retry_after(reply.headers, now))
    try:
        document = parse(reply.body, reply.pictures)
    except ValueError as error:
        document = salvage(reply.body, reply.pictures)
        # A stream nobody asked for may hold previews, which are no pictures.
        if not document.pictures or b"partial_image" in reply.body:
            raise malformed(plan, reply, _not_json(reply)) from error
    return document


def _images(document: Document, unreachable: Mapping[str, str]) -> tuple[list[Image], list[str]]:
    """Every picture that can be read, and a sentence for each that cannot."""
    images: list[Image] = []
    lost: list[str] = []
    for number, item in enumerate(items(document.value), 1):
        try:
            images.append(Image.from_bytes(_bytes(item, document, unreachable)))
        except ValueError as error:  # ImageDecodeError and broken base64 alike
            lost.append(f"picture {number} of the reply could not be read: {error}")
    return images, lost


def _bytes(item: Mapping[str, Any], document: Document, unreachable: Mapping[str, str]) -> bytes:
    if (data := picture_of(item, document)) is not None:
        return data
    url = item.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        return decode(url.encode("utf-8", "replace"))
    raise ValueError(unreachable.get(str(url), "it holds neither base64 nor an address"))


def _has_bytes(item: Mapping[str, Any], document: Document) -> bool:
    try:
        return picture_of(item, document) is not None
    except ValueError:
        return False


def _cost(plan: Plan, usage: Usage | None, images: list[Image]) -> Cost | None:
    if any(image.format == "svg" for image in images):
        return None  # no source gives the price of its author
    return cost_of(plan.spec, usage, plan.on, batch=plan.batch)


def _exact(plan: Plan, image: Image) -> tuple[Image, list[str]]:
    """The picture with exactly the pixels asked for, and what was done to it."""
    exact = plan.exact
    if exact is None or image.size == exact:
        return image, []
    asked, came = "x".join(map(str, exact)), f"{image.width}x{image.height}"
    try:
        fitted = _pixels.fit(image, *exact, quality=plan.request.compression)
    except Exception as error:  # noqa: BLE001  # a paid picture is never dropped for its size
        return image, [f"the picture is {came}, not {asked}: it could not be cropped ({error})"]
    if fitted is image:  # its EXIF data turns it to the size asked for
        return image, []
    return fitted, [f"drawn at {came} and cropped to {asked}; image.original is the whole picture"]


def _surprises(plan: Plan, images: list[Image]) -> list[str]:
    """Where the service did something else than asked."""
    notes: list[str] = []
    if len(images) != plan.request.count:
        notes.append(f"{plan.request.count} pictures were asked for, {len(images)} arrived")
    asked = plan.request.format
    other = sorted({image.format for image in images} - {asked})
    if asked and other:
        notes.append(f"{asked} was asked for, the bytes are {', '.join(other)}")
    return notes


def moment_of(stamp: object) -> datetime | None:
    """A time in Unix seconds that a reply names; None when it is none of these centuries."""
    if not isinstance(stamp, (int, float)) or isinstance(stamp, bool):
        return None
    return datetime.fromtimestamp(stamp, UTC) if 0 <= stamp < _YEAR_2100 else None


def _nothing(
    plan: Plan, reply: HttpReply, document: Document, lost: list[str]
) -> ApiError | MalformedReplyError:
    """What is wrong with a reply that holds no picture."""
    if has_error(document.value):
        return error_from_event(document.value, request_id=reply.request_id, partials=())
    return malformed(plan, reply, "; ".join(lost) or "the reply holds no pictures")


def malformed(plan: Plan, reply: HttpReply, problem: str) -> MalformedReplyError:
    """The error for a reply that cannot be read; it carries the body."""
    return MalformedReplyError(
        f"{problem} (HTTP {reply.status}, {reply.content_type or 'no content type'}): "
        f"{possible_cost(plan)}; the raw reply is in .reply",
        reply=join(reply.body, reply.pictures),
        status=reply.status,
        possible_cost=plan.ceiling,
        request_id=reply.request_id,
    )


def _not_json(reply: HttpReply) -> str:
    if reply.content_type == "text/html":
        return "a web page came instead of an answer: is base_url right, or a proxy in between?"
    return "the reply is not JSON, or was cut short"
