"""Google's Gemini image models, over ``generateContent`` of the Gemini Developer API.

A prompt and its images are parts of one message; the answer is a list of parts, too, of which some
may be thoughts. A refusal is HTTP 200 without an image. Written from google-genai 3.6.1, Google's
pages and others' reports; nothing was compared with the live service.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from attrs import evolve
from pybase64 import b64encode

from gptimage._internal.json import array, count, label, table
from gptimage.errors import InvalidRequestError
from gptimage.models.catalog import Models
from gptimage.providers.base import Provider
from gptimage.providers.openai.errors import NO_IMAGE
from gptimage.transport.http import FilePart, HttpReply, HttpRequest


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
            {"prompt", "model", "n", "size", "format", "compression", "extra_body", "images"}
        ),
        max_images=1,  # candidateCount above 1 is refused for these models
        max_inputs=14,
        sizes=_rows()[DEFAULT_MODEL].sizes,
        chooses_format=True,
        to_wire=to_wire,
        from_wire=from_wire,
    )


def _address(url: str) -> str:
    """Return the address of the API on a host; google-genai's variable has the host alone."""
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1beta"


@functools.cache
def _rows() -> Models:
    return Models.load().of(NAME)


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
        InvalidRequestError: Its images are too large together, or ``extra_body`` has a field that
            Gemini has not.
    """
    body = dict(request.body)
    model, prompt = str(body.pop("model")), body.pop("prompt")
    size = body.pop("size", "auto")
    for name in ("n", "output_format", "output_compression"):  # 1, and what is done here
        body.pop(name, None)
    parts: list[object] = [*_inline(request.files), {"text": prompt}]
    config: dict[str, object] = {"responseModalities": ["TEXT", "IMAGE"]}
    if size != "auto":
        config["imageConfig"] = _image_config(model, str(size))
    message = {"role": "user", "parts": parts}
    whole: dict[str, object] = {"contents": [message], "generationConfig": config}
    return evolve(
        request,
        path=f"/models/{quote(model, safe='')}:generateContent",
        body=_with_own(whole, body),
        files=(),
        image_key="data",
    )


def _inline(parts: Sequence[FilePart]) -> list[object]:
    """Return input images as parts of the message."""
    files = [(part.content_type, part.read()) for part in parts]
    total = sum(len(data) for _, data in files)
    if total * 4 / 3 > _MAX_INLINE:
        raise InvalidRequestError(
            f"images: {total:,} bytes of input images are too many for Gemini, whose requests have "
            "at most 100 MB: shrink them with Image.shrink(5_000_000); nothing was sent",
            field="images",
            value=f"<{total} bytes>",
            allowed="75 million bytes for all of them",
        )
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
    document = table(json.loads(reply.body))
    if not 200 <= reply.status < 300:
        return _refusal(reply, document)
    if document and not document.keys() & {"candidates", "promptFeedback", "usageMetadata"}:
        raise ValueError("this is no reply of generateContent")
    candidate = table(next(iter(array(document.get("candidates"))), None))
    parts = [table(part) for part in array(table(candidate.get("content")).get("parts"))]
    images = [table(part.get("inlineData")) for part in parts if not part.get("thought")]
    drawn = [image["data"] for image in images if image.get("data") is not None]
    found: dict[str, object] = {"usage": _usage(table(document.get("usageMetadata")))}
    if drawn:
        # The last one is the finished image; what came before it is paid for, too.
        found["data"] = [{"b64_json": each} for each in (drawn[-1], *drawn[:-1])]
    else:
        found["error"] = _why_none(document, candidate, parts)
    headers = dict(reply.headers)
    if identifier := label(document.get("responseId")):
        headers.setdefault("x-request-id", identifier)
    return evolve(reply, headers=headers, body=json.dumps(found).encode())


def _refusal(reply: HttpReply, document: Mapping[str, Any]) -> HttpReply:
    """Return an error with OpenAI's codes for what its text alone would not tell."""
    error = table(document.get("error"))
    text = json.dumps(error)
    if "API_KEY_INVALID" in text:  # Google's status for it is 400
        return evolve(reply, status=401)
    if reply.status == 429 and "spending cap" in text:
        body = json.dumps({"error": {**error, "code": "billing_hard_limit_reached"}}).encode()
        return evolve(reply, body=body)
    return reply


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
