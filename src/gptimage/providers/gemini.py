"""Google's Gemini image models, over ``generateContent`` of the Gemini Developer API.

A prompt and its images are parts of one message; the answer is a list of parts, too, of which some
may be thoughts. A refusal is HTTP 200 without an image. The service remembers nothing: the turns
before are sent again with each one, the model's messages as they came, with their thought
signatures. Written from google-genai 3.6.1, Google's pages and others' reports; nothing was
compared with the live service.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from attrs import evolve
from pybase64 import b64encode

from gptimage._internal.json import array, count, label, table
from gptimage.errors import InvalidRequestError
from gptimage.models.catalog import Models
from gptimage.providers.base import Exchange, Provider
from gptimage.providers.openai.errors import NO_IMAGE
from gptimage.transport.http import FilePart, HttpReply, HttpRequest, ServerEvent
from gptimage.transport.wrapped_body import loads


NAME: Final = "gemini"
URL: Final = "https://generativelanguage.googleapis.com/v1beta"
DEFAULT_MODEL: Final = "gemini-nano-banana-2.1"
_MAX_INLINE: Final = 100_000_000
"""Bytes of a whole request with its images in base64 (Google's changelog, 2026-01-08)."""
_OWN: Final = frozenset(
    ("generationConfig", "safetySettings", "systemInstruction", "tools", "toolConfig",
     "cachedContent")
)  # fmt: skip
"""Fields of Gemini's own that ``extra_body`` may have; what is in ``generationConfig`` is added."""
_REFUSED_PROMPT: Final = frozenset(
    ("SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR",
     "JAILBREAK", "BLOCKED_REASON_UNSPECIFIED")
)  # fmt: skip
_HELD_BACK: Final = frozenset(
    ("SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "IMAGE_SAFETY",
     "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION")
)  # fmt: skip
"""Reasons to end without an image that are the safety system's."""
_UNTHINKING: Final = "gemini-2.5-flash-image"
"""The one model that does not think, so that it draws nothing on the way to the image."""
_SIGNATURE: Final = re.compile(r"thought.?signature", re.IGNORECASE)
_UNDERSCORE: Final = re.compile(r"_([a-z])")
_QUOTED: Final = 300


def provider(name: str) -> Provider:
    """Return it."""
    return Provider(
        name=name,
        title="Gemini",
        base_url=URL,
        url_variables=("GOOGLE_GEMINI_BASE_URL",),
        address=_address,
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        key_header="x-goog-api-key",
        catalogue=NAME,
        default_model=DEFAULT_MODEL,
        parameters=frozenset(
            {
                "prompt",
                "model",
                "n",
                "size",
                "format",
                "compression",
                "extra_body",
                "images",
                "partial_images",
            }
        ),
        max_images=1,  # candidateCount above 1 is refused for these models
        max_inputs=14,
        sizes=_rows()[DEFAULT_MODEL].sizes,
        streams=True,
        chooses_format=True,
        to_wire=to_wire,
        from_wire=from_wire,
        from_event=from_event,
        to_turn=to_turn,
    )


def _address(url: str) -> str:
    """Return the address of the API on a host; google-genai's variable has the host alone."""
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1beta"


@functools.cache
def _rows() -> Models:
    return Models.load().for_provider(NAME)


@functools.cache
def _named() -> Mapping[str, tuple[str, str]]:
    """Return the ratio and the tier of each size, whichever model draws it."""
    return {
        f"{width}x{height}": name
        for spec in _rows()
        for (width, height), name in spec.sizes.named.items()
    }


def to_wire(request: HttpRequest) -> HttpRequest:
    """Return the request as Gemini reads it, of one of the Images API.

    Raises:
        InvalidRequestError: Its images are too large together, the model has no previews, or
            ``extra_body`` has a field that Gemini has not.
    """
    body = dict(request.body)
    model, prompt = str(body.pop("model")), body.pop("prompt")
    size, previews = body.pop("size", "auto"), body.pop("partial_images", None)
    method = "streamGenerateContent?alt=sse" if body.pop("stream", None) else "generateContent"
    for name in ("n", "output_format", "output_compression"):  # 1, and what is done here
        body.pop(name, None)
    parts: list[object] = [*_inline(request.files), {"text": prompt}]
    config: dict[str, object] = {"responseModalities": ["TEXT", "IMAGE"]}
    if size != "auto":
        config["imageConfig"] = _image_config(model, str(size))
    if previews:
        if model == _UNTHINKING:
            raise InvalidRequestError(
                f"partial_images: {model} does not think, so it draws nothing before the image; "
                "leave it out, or use another model; nothing was sent",
                field="partial_images",
                value=previews,
            )
        # What it draws while it thinks is all that comes before the image.
        config["thinkingConfig"] = {"includeThoughts": True}
    message = {"role": "user", "parts": parts}
    whole: dict[str, object] = {"contents": [message], "generationConfig": config}
    return evolve(
        request,
        path=f"/models/{quote(model, safe='')}:{method}",
        body=_with_own(whole, body),
        files=(),
        image_key="data",
    )


def to_turn(exchanges: Sequence[Exchange]) -> HttpRequest:
    """Return the request of the last turn, with the turns before it as they were.

    Raises:
        InvalidRequestError: All images of the conversation are too large together.
    """
    contents: list[object] = []
    size = 0
    for each in exchanges:
        (message,) = map(table, array(each.request.body["contents"]))
        contents.append({**message, "parts": array(message.get("parts"))[each.known :]})
        if each.reply:
            contents.append(_filled(each))
    for part in (part for each in contents for part in array(table(each).get("parts"))):
        size += len(str(table(table(part).get("inlineData")).get("data", "")))
    _check_total(size * 3 // 4, ", or go on from the last image alone (stateless=True)")
    request = exchanges[-1].request
    return evolve(request, body={**request.body, "contents": contents})


def _filled(exchange: Exchange) -> dict[str, object]:
    """Return the model's message with its images; its thought signatures are in it as they came."""
    parts: list[object] = []
    for part in map(table, array(exchange.reply.get("parts"))):
        blob = table(part.get("inlineData"))
        place = blob.get("data")
        if isinstance(place, int) and 0 <= place < len(exchange.images):
            text = b64encode(exchange.images[place]).decode("ascii")
            parts.append({**part, "inlineData": {**blob, "data": text}})
        else:
            parts.append(part)
    return {"role": "model", "parts": parts}


def _check_total(total: int, otherwise: str) -> None:
    """Refuse more bytes of images than one request may have."""
    if total * 4 / 3 > _MAX_INLINE:
        raise InvalidRequestError(
            f"images: {total:,} bytes of input images are too many for Gemini, whose requests have "
            f"at most 100 MB: shrink them with Image.shrink(5_000_000)"
            f"{otherwise}; nothing was sent",
            field="images",
            value=f"<{total} bytes>",
            allowed="75 million bytes for all of them",
        )


def _inline(parts: Sequence[FilePart]) -> list[object]:
    """Return input images as parts of the message."""
    files = [(part.content_type, part.read()) for part in parts]
    _check_total(sum(len(data) for _, data in files), "")
    return [
        {"inlineData": {"mimeType": kind, "data": b64encode(data).decode("ascii")}}
        for kind, data in files
    ]


def _image_config(model: str, size: str) -> dict[str, object]:
    """Return the ratio and the tier of a size; a model of one tier does not take its name."""
    found = _named().get(size)
    if found is None:
        raise InvalidRequestError(
            f"size {size}: Gemini draws ratios at tiers, and this is none of their sizes; "
            "nothing was sent",
            field="size",
            value=size,
            allowed=tuple(_named()),
        )
    ratio, tier = found
    spec = _rows().get(model)
    one = spec is not None and len({each for _, each in spec.sizes.named.values()}) == 1
    return {"aspectRatio": ratio} if one else {"aspectRatio": ratio, "imageSize": tier}


def _with_own(whole: dict[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """Return the body with the fields of ``extra_body``, which may add to what is there."""
    for name in given:
        if name not in _OWN:
            raise InvalidRequestError(
                f"extra_body: Gemini has no field {name!r}; nothing was sent",
                field="extra_body",
                value=name,
                allowed=tuple(sorted(_OWN)),
            )
    return {**whole, **{name: _joined(whole.get(name), each) for name, each in given.items()}}


def _joined(ours: object, given: object) -> object:
    """Return two JSON values as one: objects are joined, of anything else the given one counts."""
    if not isinstance(ours, dict) or not isinstance(given, Mapping):
        return given
    known = cast("dict[str, object]", ours)
    added = cast("Mapping[str, object]", given)
    return {**known, **{name: _joined(known.get(name), each) for name, each in added.items()}}


def from_wire(reply: HttpReply) -> HttpReply:
    """Return the reply as the Images API would give it.

    Raises:
        ValueError: It is no JSON, or not Gemini's.
    """
    value = _camel(json.loads(reply.body))
    # Without ?alt=sse a stream is an array, and so are some of Google's errors.
    document = _together([*map(table, array(value))]) if array(value) else table(value)
    if not reply.is_success:
        return _refusal(reply, document)
    if document and not document.keys() & {"candidates", "promptFeedback", "usageMetadata"}:
        raise ValueError("this is no reply of generateContent")
    headers = dict(reply.headers)
    if identifier := label(document.get("responseId")):
        headers.setdefault("x-request-id", identifier)
    return evolve(reply, headers=headers, body=json.dumps(_as_images_api(document)).encode())


def from_event(event: ServerEvent, earlier: Sequence[ServerEvent]) -> ServerEvent:
    """Return an event of a stream as the Images API would send it.

    From the image on, each event is the whole reply so far: the last one has the usage, and a
    stream that breaks in between has the image. What is drawn while thinking is a preview.

    Raises:
        ValueError: The event is no JSON.
    """
    document = table(_camel(json.loads(event.data)))
    before = [table(_camel(loads(each.data))) for each in earlier]
    if "error" in document:
        return event
    whole = _as_images_api(_together([*before, document]))
    # Feedback that blocks nothing comes with the first event, too: the image is yet to come.
    blocked = table(document.get("promptFeedback")).get("blockReason")
    ended = _candidate(document).get("finishReason") or blocked
    if "data" not in whole and not ended:
        thoughts = [*_blobs(_parts(document), thought=True)]
        shown = sum(len([*_blobs(_parts(each), thought=True)]) for each in before)
        whole = {"type": "image_generation.text"}
        if thoughts:
            whole = {
                "type": "image_generation.partial_image",
                "b64_json": thoughts[-1],
                "partial_image_index": shown + len(thoughts) - 1,
            }
    return ServerEvent(data=json.dumps(whole).encode())


def _camel(value: object) -> object:
    """Return a JSON value with names in camel case: gateways write them as the SDK does."""
    if isinstance(value, list):
        return [_camel(each) for each in array(cast("object", value))]
    if not isinstance(value, dict):
        return value
    return {
        _UNDERSCORE.sub(lambda found: found[1].upper(), name): _camel(each)
        for name, each in table(cast("object", value)).items()
    }


def _together(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the documents of a stream as one: their parts in a row, of all else the last."""
    whole: dict[str, Any] = {}
    candidate: dict[str, Any] = {}
    for document in documents:
        whole |= document
        candidate |= _candidate(document)
    parts = [part for document in documents for part in _parts(document)]
    return {**whole, "candidates": [{**candidate, "content": {"role": "model", "parts": parts}}]}


def _candidate(document: Mapping[str, Any]) -> dict[str, Any]:
    return table(next(iter(array(document.get("candidates"))), None))


def _parts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = table(_candidate(document).get("content"))
    return [table(part) for part in array(content.get("parts"))]


def _blobs(parts: Sequence[Mapping[str, Any]], *, thought: bool) -> Iterator[object]:
    """Yield the images of parts: those of thoughts, or the others."""
    for part in parts:
        data = table(part.get("inlineData")).get("data")
        if data is not None and bool(part.get("thought")) is thought:
            yield data


def _as_images_api(document: Mapping[str, Any]) -> dict[str, object]:
    """Return a reply as the Images API would give it."""
    parts = _parts(document)
    drawn = [*_blobs(parts, thought=False)]
    found: dict[str, object] = {"usage": _usage(table(document.get("usageMetadata")))}
    if not drawn:
        return {**found, "error": _why_none(document, _candidate(document), parts)}
    # The last one is the finished image; what came before it is paid for, too.
    order = [len(drawn) - 1, *range(len(drawn) - 1)]
    found["data"] = [{"b64_json": drawn[each]} for each in order]
    places = iter([order.index(each) for each in range(len(drawn))])
    kept: list[object] = []
    for part in parts:
        blob = table(part.get("inlineData"))
        if part.get("thought") or part == {"text": ""}:
            continue  # the signatures stand for what was thought
        known = blob.get("data") is not None
        kept.append({**part, "inlineData": {**blob, "data": next(places)}} if known else part)
    return {**found, "model_message": {"role": "model", "parts": kept}}


def _refusal(reply: HttpReply, document: Mapping[str, Any]) -> HttpReply:
    """Return an error with OpenAI's codes for what its text alone would not tell."""
    error = table(document.get("error"))
    text = json.dumps(error)
    if "API_KEY_INVALID" in text:  # Google's status for it is 400
        return evolve(reply, status=401)
    code = None
    if reply.status == 429 and "spending cap" in text:
        code = "billing_hard_limit_reached"
    elif reply.status == 400 and _SIGNATURE.search(text):
        # Signatures of another session, key or model are refused before anything is drawn.
        code = "previous_response_not_found"
    if code is None:
        return reply
    return evolve(reply, body=json.dumps({"error": {**error, "code": code}}).encode())


def _why_none(
    document: Mapping[str, Any], candidate: Mapping[str, Any], parts: list[dict[str, Any]]
) -> dict[str, object]:
    """Return why there is no image, as an error of the Images API."""
    blocked = label(table(document.get("promptFeedback")).get("blockReason"))
    if blocked is not None:
        more = "" if blocked in _REFUSED_PROMPT else ", a reason that is new here"
        return _moderated("input", f"Gemini refused the prompt or an input image ({blocked}{more})")
    reason = label(candidate.get("finishReason")) or "no reason given"
    stated = label(candidate.get("finishMessage"))
    texts = (part.get("text") for part in parts if not part.get("thought"))
    words = stated or " ".join(text for text in texts if isinstance(text, str)).strip()
    quoted = f": {words[:_QUOTED]}" if words else ""
    if reason in _HELD_BACK:
        return _moderated("output", f"Gemini drew nothing that it may show ({reason}){quoted}")
    return {
        "message": f"Gemini replied without an image ({reason}){quoted}",
        "code": NO_IMAGE,
        # It may have thought and written, and both are billed.
        "type": "image_generation_server_error",
    }


def _moderated(stage: str, message: str) -> dict[str, object]:
    return {
        "message": message,
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": stage},
    }


def _usage(counted: Mapping[str, Any]) -> dict[str, object] | None:
    """Return the usage as the Images API has it; thoughts are written text."""
    entered, answered = count(counted.get("promptTokenCount")), counted.get("candidatesTokenCount")
    if entered is None:
        return None
    answered, thoughts = count(answered) or 0, count(counted.get("thoughtsTokenCount")) or 0
    read = _by_modality(counted.get("promptTokensDetails"))
    written = _by_modality(counted.get("candidatesTokensDetails"))
    # Where the parts are not given, all of it counts as the dearer image.
    image = written.get("IMAGE", 0) if written else answered
    details = {"text_tokens": read.get("TEXT", 0), "image_tokens": read.get("IMAGE", 0)}
    return {
        "input_tokens": entered,
        "output_tokens": answered + thoughts,
        "total_tokens": entered + answered + thoughts,
        "input_tokens_details": details if read else None,
        "output_tokens_details": {
            "image_tokens": image, "text_tokens": answered - image + thoughts
        },
    }  # fmt: skip


def _by_modality(details: object) -> dict[str, int]:
    rows = [table(each) for each in array(details)]
    return {str(row.get("modality")): count(row.get("tokenCount")) or 0 for row in rows}
