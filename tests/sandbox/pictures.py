"""Small images, masks and requests the sandbox tests are made of."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from PIL import Image as pil
from PIL import ImageDraw

from gptimage.transport.http import FilePart, HttpReply, HttpRequest


TODAY = date(2026, 11, 20)
MODEL = "gpt-image-2.5-flare"
SMALL = "1024x640"  # the fewest pixels the service draws
GENERATIONS = "/images/generations"
EDITS = "/images/edits"


@functools.cache
def photo(width: int = 64, height: int = 48, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A gradient with a disc: something an edit can be seen to keep."""
    across = pil.linear_gradient("L").rotate(90).resize((width, height))
    down = pil.linear_gradient("L").resize((width, height))
    image = pil.merge("RGB", (across, down, pil.new("L", (width, height), 90)))
    box = (width // 4, height // 4, width // 2, height // 2)
    ImageDraw.Draw(image).ellipse(box, fill=(250, 240, 200))
    return encoded(image.convert(mode), kind)


@functools.cache
def mask(width: int = 64, height: int = 48, hole: tuple[int, int, int, int] | None = None) -> bytes:
    """A mask that lets its hole be edited; the right half when none is given."""
    image = pil.new("RGBA", (width, height), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), hole or (width // 2, 0, width, height))
    return encoded(image)


@functools.cache
def markup(width: int = 64, height: int = 48) -> bytes:
    """A see-through overlay with one red ring."""
    image = pil.new("RGBA", (width, height), (0, 0, 0, 0))
    box = (width // 4, height // 4, width // 2, height // 2)
    ImageDraw.Draw(image).ellipse(box, outline=(255, 0, 0, 255), width=max(2, width // 60))
    return encoded(image)


def encoded(image: pil.Image, kind: str = "PNG") -> bytes:
    """The image's file."""
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def opened(data: bytes) -> pil.Image:
    """The decoded image."""
    image = pil.open(io.BytesIO(data))
    image.load()
    return image


def part(
    name: str, data: bytes, content_type: str = "image/png", filename: str = "x.png"
) -> FilePart:
    """A file of a form."""
    return FilePart(name=name, filename=filename, content_type=content_type, data=data)


def generate(**body: Any) -> HttpRequest:
    """A request for images; None takes a field out."""
    given = {"model": MODEL, "prompt": "A red fox in fresh snow", **body}
    return HttpRequest(method="POST", path=GENERATIONS, body=given)


def edit(*files: FilePart, **body: Any) -> HttpRequest:
    """An edit as a form; with one small photo when no file is given."""
    given = {"model": MODEL, "prompt": "Make it night", **body}
    files = files or (part("image", photo()),)
    return HttpRequest(method="POST", path=EDITS, body=given, files=files)


def json_edit(**body: Any) -> HttpRequest:
    """An edit as JSON."""
    given = {"model": MODEL, "prompt": "Make it night", **body}
    return HttpRequest(method="POST", path=EDITS, body=given)


def error(reply: HttpReply) -> Mapping[str, Any]:
    """The error object of a refusal."""
    found = json.loads(reply.body)
    assert list(found) == ["error"]
    assert {"message", "type", "param", "code"} <= found["error"].keys()
    return found["error"]
