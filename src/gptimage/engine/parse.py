"""A plan and a reply become a `Result`: the second half of the pure core."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve

from gptimage._internal.json import moment, table
from gptimage._internal.lenient_base64 import decode
from gptimage.engine.plan import Plan
from gptimage.errors import (
    ApiError,
    GptImageError,
    MalformedReplyError,
    NotFoundError,
    OutcomeUnknownError,
    ServerError,
    truncated_repr,
)
from gptimage.image.as_asked import made_as_asked, made_exact
from gptimage.image.codecs import decode as decode_pixels
from gptimage.image.codecs import has_transparency
from gptimage.image.formats import lacks_its_end
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.image.outside import keep_outside
from gptimage.models.pricing import may_have_cost
from gptimage.providers import DEFAULT, Provider
from gptimage.providers.openai.advice import Service
from gptimage.providers.openai.errors import (
    error_from_event,
    error_from_reply,
    has_error,
    is_bare,
    message_of,
)
from gptimage.providers.openai.images import (
    cost_of_reply,
    json_reasons,
    odd_usage,
    read_reported,
    read_usage,
)
from gptimage.transport.base64_body import (
    ParsedBody,
    extract_complete_images,
    image_of,
    read,
    reassemble,
)
from gptimage.transport.billing import STOPPED_WAITING, may_be_billed, shows_work, text_of, verdict
from gptimage.transport.http import HttpReply
from gptimage.transport.redirects import advice
from gptimage.transport.retry import waiting_time
from gptimage.transport.wrapped_body import chat_text, items
from gptimage.types.request import Edit, label_for
from gptimage.types.result import Result


_READ: Final = 300
"""Characters of an error of unknown meaning that are quoted."""


_UNPACKERS: Final = {"br": "brotli", "zstd": "zstandard"}
"""Encodings nobody asked for, and what reads them."""

_OPAQUE: Final = (
    "a transparent background was requested, and no pixel of the image is transparent: ask again "
    "with another model or a plainer subject, or cut it out yourself"
)


def parse_response(
    plan: Plan, reply: HttpReply, unreachable: Mapping[str, str] | None = None, *, now: datetime
) -> Result:
    """Read a whole reply into a result.

    Args:
        plan: What was sent.
        reply: What came back.
        unreachable: Why images could not be downloaded, by the address the reply named.
        now: The time (UTC), for a reply that does not say when it was made.

    Raises:
        ApiError: The service refused.
        MalformedReplyError: The reply holds no readable image; it carries the body.
        OutcomeUnknownError: Somebody stopped waiting, or a gateway answered for the service.
    """
    document = _document(plan, reply, now)
    images, lost = _images(document, unreachable or {})
    if not images:
        raise _no_image_error(plan, reply, document, lost)
    usage = read_usage(document.value, has_inputs=bool(plan.request.inputs))
    stamp = table(document.value).get("created")
    created = moment(stamp)
    label = label_for(plan.request, created)
    images = [evolve(image, made_by=label) for image in images]
    fitted = [_kept(plan, image) or _made_exact(plan, image) for image in images]
    notes = ["the reply was cut short; these images were whole"] if document.cut_short else []
    warnings = [*plan.warnings, *notes, *lost, *_mismatch_warnings(plan, images)]
    warnings += [note for _, cuts in fitted for note in cuts]
    warnings += odd_usage(document.value)
    if created is None and stamp is not None:
        warnings.append(
            f"the reply says created {truncated_repr(stamp, 40)}, which is no time: now is used"
        )
    return Result(
        images=tuple(image for image, _ in fitted),
        request=plan.request,
        model=plan.request.model,
        usage=usage,
        cost=cost_of_reply(
            document.value,
            usage,
            plan.spec,
            plan.on,
            formats=[image.format for image in images],
            stated=plan.provider.translates,
            batch=plan.batch,
        ),
        warnings=tuple(dict.fromkeys(warnings)),
        created=created or now,
        request_id=reply.request_id,
        headers={name: text for name, text in reply.headers.items() if name != "set-cookie"},
        reported_by_service=read_reported(document.value),
        sandbox=plan.sandbox,
    )


def inline_images(reply: HttpReply, found: Mapping[str, bytes]) -> HttpReply:
    """Return the reply with downloaded images in place of their addresses, which may expire."""
    document = read(reply.body, reply.images)
    images = list(document.images)
    for item in items(document.value):
        url = item.get("url")
        if isinstance(url, str) and url in found:
            item["b64_json"] = len(images)
            images.append(found[url])
    body = json.dumps(document.value).encode()
    return evolve(reply, body=body, images=tuple(images))


def image_urls(reply: HttpReply) -> tuple[str, ...]:
    """The addresses a reply names instead of sending bytes, also relative ones; usually none."""
    if not reply.is_success or not (b'url"' in reply.body or b"http" in reply.body):
        return ()
    try:
        document = read(reply.body, reply.images)
    except ValueError:
        return ()
    found = [item.get("url") for item in items(document.value) if not _has_bytes(item, document)]
    return tuple(url for url in found if isinstance(url, str) and _is_address(url))


_FORM_STATUSES: Final = (400, 415, 422)
_FORM_ALONE: Final = re.compile(
    r"JSON body|multipart|form[- ]data|content[- ]type|missing required parameter|field required"
    r"|\b(?:image|prompt)\b.{0,40}\b(?:missing|required)\b",
    re.IGNORECASE,
)
"""How servers that read edits as forms alone speak of a JSON body."""


def _document(plan: Plan, reply: HttpReply, now: datetime) -> ParsedBody:
    """Return the reply's JSON, once its status says that it is an answer."""
    if not reply.is_success:
        raise _refused(plan, reply, now)
    try:
        document = read(reply.body, reply.images)
    except ValueError as error:
        document = extract_complete_images(reply.body, reply.images)
        # A stream nobody asked for may hold previews, which are no images.
        if not document.images or b"partial_image" in reply.body:
            raise malformed(plan, reply, _not_json(reply)) from error
    return document


def _unread_json(plan: Plan, error: ApiError) -> str | None:
    """Say why an edit went as JSON, where the other side seems to read forms alone."""
    reads_json = plan.wire.files or plan.provider.translates
    if not isinstance(plan.request, Edit) or reads_json or error.status not in _FORM_STATUSES:
        return None
    if error.status != 415 and not _FORM_ALONE.search(str(error)):
        return None
    form = plan.provider.form_moderation
    reasons = " and ".join(json_reasons(plan.request, plan.request.mask, form_moderation=form))
    return (
        f"{reasons} made this edit go as JSON, which this server seems not to read: leave out "
        "moderation=, and give images instead of file ids"
    )


def _service(provider: Provider) -> Service:
    """Return what advice names of a provider."""
    own = provider.name == DEFAULT
    return Service(
        key=next(iter(provider.key_variables), "the key"),
        url="base_url" if own else next(iter(provider.url_variables), "base_url"),
        name="" if own else provider.name,
        catalogue=provider.rows,
    )


def _refused(plan: Plan, reply: HttpReply, now: datetime) -> ApiError | OutcomeUnknownError:
    """Return what an error status means, and what it may have cost."""
    error = error_from_reply(reply, waiting_time(reply, now), service=_service(plan.provider))
    if note := _unread_json(plan, error):
        error.args = (f"{error} ({note})",)
    redirect = 300 <= reply.status < 400
    if redirect:
        error.args = (advice(reply, plan.wire.path),)
    if (
        isinstance(error, NotFoundError)
        and plan.meant is not None
        and "did you mean" not in str(error)
    ):
        error.args = (f"{error}; did you mean model={plan.meant!r}?",)
    if verdict(reply) != "unknown":
        return error
    if redirect:
        reason = str(error)
    elif reply.status in STOPPED_WAITING:
        reason = (
            "a server on the way stopped waiting for the service "
            f"(HTTP {reply.status}{_quoted(reply)})"
        )
    elif not isinstance(error, ServerError):
        return error  # whatever its status, the text names a refusal, such as moderation
    elif (reply.status == 500 and not is_bare(reply)) or shows_work(text_of(reply)):
        return priced(plan, error)
    elif reply.status == 500:
        reason = f"the service failed and does not say where (HTTP 500{_quoted(reply)})"
    else:
        reason = (
            f"a gateway answered for the service (HTTP {reply.status}{_quoted(reply)}), which may "
            "have done the work"
        )
    return OutcomeUnknownError(
        f"{reason}: {may_have_cost(plan.max_cost)}; look at your usage page before asking again",
        possible_cost=plan.max_cost,
        request_id=reply.request_id,
    )


def priced(plan: Plan, error: ApiError) -> ApiError:
    """Return the error, with what it may have cost if it came in the middle of the work."""
    if may_be_billed(error):
        error.args = (f"{error}: {may_have_cost(plan.max_cost)}",)
    return error


def _quoted(reply: HttpReply) -> str:
    """Return the error's own words, short and without secrets, or nothing."""
    if not reply.body:
        return ""
    words = message_of(reply)[:_READ]
    return f", {words!r}" if words else ""


def _images(document: ParsedBody, unreachable: Mapping[str, str]) -> tuple[list[Image], list[str]]:
    """Return every image that can be read, and a sentence for each that cannot."""
    images: list[Image] = []
    lost: list[str] = []
    for number, item in enumerate(items(document.value), 1):
        try:
            images.append(Image.from_bytes(_bytes(item, document, unreachable)))
        except ValueError as error:  # ImageDecodeError and broken base64 alike
            lost.append(f"image {number} of the reply could not be read: {error}")
    return images, lost


def _bytes(item: Mapping[str, Any], document: ParsedBody, unreachable: Mapping[str, str]) -> bytes:
    if (data := image_of(item, document)) is not None:
        return data
    url = item.get("url")
    if isinstance(url, str) and url[:5].lower() == "data:":
        return decode(url.encode("utf-8", "replace"))
    raise ValueError(unreachable.get(str(url), "it holds neither base64 nor an address"))


def _is_address(url: str) -> bool:
    try:
        return bool(url) and urlsplit(url).scheme in ("", "http", "https")
    except ValueError:
        return False


def _has_bytes(item: Mapping[str, Any], document: ParsedBody) -> bool:
    try:
        return image_of(item, document) is not None
    except ValueError:
        return False


def _exact(plan: Plan, image: Image) -> tuple[Image, list[str]]:
    return made_exact(image, plan.exact, quality=plan.request.compression)


def _made_exact(plan: Plan, image: Image) -> tuple[Image, list[str]]:
    """Return the image in the format and with the pixels asked for, and what was done to it."""
    if not plan.provider.chooses_format:
        return _exact(plan, image)
    return made_as_asked(
        image,
        plan.exact,
        format=plan.request.format,
        quality=plan.request.compression,
        service=plan.provider.title,
    )


def _kept(plan: Plan, image: Image) -> tuple[Image, list[str]] | None:
    """Return the image with the original outside the mask, and what the service had changed there.

    None where that was not asked for, or cannot be done: a paid image is never dropped for it.
    """
    request = plan.request
    if not isinstance(request, Edit) or request.outside is None:
        return None
    first, mask = request.images[0], request.mask
    if not isinstance(first, Image) or not isinstance(mask, Mask):
        return None  # refused before it was sent
    try:
        kept = keep_outside(image, first, mask, size=plan.exact, quality=request.compression)
    except Exception as error:  # noqa: BLE001  # a paid image is never dropped for its mask
        exact, notes = _exact(plan, image)
        return exact, [f"outside='keep' failed, this is the service's image: {error}", *notes]
    changed = f"{kept.drift:.1%}" if kept.drift >= 0.001 else "less than 0.1%"
    share = f"the service changed {changed} of the pixels outside the mask"
    if kept.moved is not None:
        note = f"{share} and moved the image by about {kept.moved[0]}, {kept.moved[1]} pixels"
        return kept.image, [f"{note}: nothing was put back, as it would show what moved twice"]
    if kept.drift == 0:
        return kept.image, []
    return kept.image, [f"{share}; they are put back, and image.original is what it sent"]


def _mismatch_warnings(plan: Plan, images: list[Image]) -> list[str]:
    """Return where the service did something else than asked."""
    notes: list[str] = []
    if len(images) != plan.request.effective_n:
        count = plan.request.effective_n
        wanted = "1 image was" if count == 1 else f"{count} images were"
        notes.append(f"{wanted} requested, {len(images)} arrived")
    notes += [
        f"image {number} arrived cut short: its end is missing, the bytes are what the service sent"
        for number, image in enumerate(images, 1)
        if lacks_its_end(image.data, image.format)
    ]
    asked = plan.request.format
    if plan.request.background == "transparent":
        notes += [_OPAQUE for image in images if _is_opaque(image)]
    other = sorted({image.format for image in images} - {asked})
    if asked and other and not plan.provider.chooses_format:
        notes.append(f"{asked} was requested, the bytes are {', '.join(other)}")
    return notes


def _is_opaque(image: Image) -> bool:
    """Return whether an image has no transparent pixel; False where that cannot be known."""
    try:
        return image.format != "svg" and not has_transparency(
            decode_pixels(image.data, image.format)
        )
    except GptImageError:
        return False


def _no_image_error(
    plan: Plan, reply: HttpReply, document: ParsedBody, lost: list[str]
) -> ApiError | MalformedReplyError:
    """Return what is wrong with a reply that holds no image."""
    if has_error(document.value):
        error = error_from_event(document.value, request_id=reply.request_id, partials=())
        return priced(plan, error)
    text = chat_text(document.value)
    answer = f"the model drew nothing and answered: {truncated_repr(text)}" if text else ""
    problem = "; ".join(lost) or answer or "the reply holds no images"
    return malformed(plan, reply, problem, text=text)


def malformed(plan: Plan, reply: HttpReply, problem: str, *, text: str = "") -> MalformedReplyError:
    """Return the error for a reply that cannot be read; it carries the body."""
    return MalformedReplyError(
        f"{problem} (HTTP {reply.status}, {reply.content_type or 'no content type'}): "
        f"{may_have_cost(plan.max_cost)}; the raw reply is in .reply",
        reply=reassemble(reply.body, reply.images),
        status=reply.status,
        possible_cost=plan.max_cost,
        request_id=reply.request_id,
        text=text,
    )


def _not_json(reply: HttpReply) -> str:
    if reply.content_type == "text/html":
        return "a web page came instead of a response: is base_url right, or a proxy in between?"
    packed = reply.headers.get("content-encoding", "").strip().lower()
    if package := _UNPACKERS.get(packed):
        return (
            f"the reply is packed with {packed}, and cannot be read without the package {package}"
        )
    return "the reply is not JSON, or was cut short"
