"""Makes the values the tests of the core are about: images, requests, plans and replies."""

from __future__ import annotations

import base64
import functools
import io
import json
import random
from datetime import UTC, date, datetime
from typing import Any

from PIL import Image as PilImage

from gptimage import Edit, Generate, Image, Models
from gptimage.engine.parse import parse_response
from gptimage.engine.plan import Plan, plan
from gptimage.transport.http import HttpReply, ServerEvent
from gptimage.types.request import edit_request, generate_request
from gptimage.types.result import Result


TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DEFAULT = "gpt-image-2.5-flare"
ENDPOINT = "https://api.openai.com/v1"

USAGE = {
    "input_tokens": 10,
    "output_tokens": 196,
    "total_tokens": 206,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
}


@functools.cache
def picture(width: int = 8, height: int = 8, form: str = "png", color: str = "teal") -> bytes:
    """The bytes of a plain image."""
    file = io.BytesIO()
    PilImage.new("RGB", (width, height), color).save(file, form)
    return file.getvalue()


def noise(width: int, height: int, mode: str = "RGB", *, seed: int = 0) -> PilImage.Image:
    """Pixels that nothing can compress, the same in every run."""
    pixels = random.Random(seed).randbytes(width * height * len(mode))
    return PilImage.frombytes(mode, (width, height), pixels)


@functools.cache
def cutout(width: int = 64, height: int = 64, color: str = "black") -> bytes:
    """A PNG with a transparent hole."""
    image = PilImage.new("RGBA", (width, height), color)
    image.paste((0, 0, 0, 0), (8, 8, 32, 32))
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def image(width: int = 64, height: int = 64, form: str = "png", color: str = "teal") -> Image:
    """A plain image as a value."""
    return Image.from_bytes(picture(width, height, form, color))


def generate(prompt: str = "A fox", *, stream: Any = False, **options: Any) -> Generate:
    """A request for a new image, built as the clients build it."""
    return generate_request(prompt, options, default_model=DEFAULT, stream=stream)


def edit(prompt: str = "A fox", *, stream: Any = False, **options: Any) -> Edit:
    """A request for an edit of one image, unless it names others."""
    pictures = {
        "images": options.pop("images", (image(),)),
        "mask": options.pop("mask", None),
        "markup": options.pop("markup", None),
    }
    return edit_request(prompt, options, **pictures, default_model=DEFAULT, stream=stream)


def planned(
    request: Generate | None = None,
    *,
    today: date = TODAY,
    endpoint: str = ENDPOINT,
    **options: Any,
) -> Plan:
    """The plan of a request; of a new image when only options are given."""
    asked = generate(**options) if request is None else request
    return plan(asked, models=Models.load(), today=today, endpoint=endpoint)


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def reply(body: object, *, status: int = 200, **headers: str) -> HttpReply:
    """A reply with this JSON, or with these bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"content-type": "application/json", "x-request-id": "req_1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers={**kind, **named}, body=raw)


def answer(*pictures: bytes, **fields: object) -> HttpReply:
    """A reply as the service sends it."""
    data = [{"b64_json": text(each)} for each in pictures]
    return reply({"created": 1_700_000_000, "data": data, "usage": USAGE, **fields})


def finished(answer: HttpReply, request: Generate | None = None, **options: Any) -> Result:
    """What the core makes of a reply."""
    return parse_response(planned(request, **options), answer, now=NOW)


def event(kind: str, data: bytes | None = None, **fields: object) -> ServerEvent:
    """An event of an image stream."""
    body = {"type": kind} | ({} if data is None else {"b64_json": text(data)}) | fields
    return ServerEvent(name=kind, data=json.dumps(body).encode())
