"""Bodies as a cassette stores them: images made small, and keys and account ids masked."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from pybase64 import b64decode, b64encode

from gptimage.image.image import Image
from gptimage.secrets import scrub


if TYPE_CHECKING:
    from PIL.Image import Image as PilImage


_MASK: Final = "***"
_ACCOUNT: Final = re.compile(
    r"\b(org-|proj_)[\w-]{4,}|\b((?:user|acct|svcacct)[-_])(?=[\w-]*\d)[\w-]{6,}"
)
_PRIVATE: Final = re.compile(
    r"(?:^|[_-])(account|api[_-]?key|authorization|cache_key|org|organi[sz]ation|project"
    r"|safety_identifier|secret|subscription|tenant|token|user)(?:[_-]?id)?$",
    re.IGNORECASE,
)
"""Fields whose texts say who somebody is."""
_IMAGES: Final = ("b64_json", "result", "partial_image_b64", "data")
_DATA_URL: Final = re.compile(r"data:(image/[\w.+-]+);base64,([A-Za-z0-9+/]+=*)")
_CELLS: Final = 8
"""Rows and columns of the mosaic that stands for an image."""
_COLOURS: Final = 16


def shrunk(data: bytes) -> bytes:
    """Return a mosaic of an image: its format, size, frames and transparency in a few kB.

    The same image always gives the same bytes; what is no image is returned unchanged.
    """
    try:
        image = Image.from_bytes(data)
        kind, size = image.format, image.size
    except ValueError:
        return data
    if size is None:
        return data
    if kind == "svg":
        colour = hashlib.sha256(data).hexdigest()[:6]
        box = f'width="{size[0]}" height="{size[1]}"'
        rect = f'<rect {box} fill="#{colour}"/>'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{rect}</svg>'.encode()
    return _mosaic(data, kind)


def _mosaic(data: bytes, kind: str) -> bytes:
    from PIL import Image as pil

    out = io.BytesIO()
    with pil.open(io.BytesIO(data)) as opened:
        duration, count = opened.info.get("duration", 100), getattr(opened, "n_frames", 1)
        first = _cells(opened)
    if kind == "gif":
        frames = [first.quantize(_COLOURS, pil.Quantize.FASTOCTREE) for _ in range(count)]
        corner: Any = frames[0].getpixel((0, 0))
        for number, frame in enumerate(frames):  # equal neighbours would be merged
            frame.putpixel((number, 0), (corner + number) % _COLOURS)
        frames[0].save(
            out, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0
        )
    elif kind == "jpeg":
        first.convert("RGB").save(out, "JPEG", quality=40, progressive=True)
    elif kind == "webp":
        first.save(out, "WEBP", lossless=True, method=0)
    else:
        quantized = first.quantize(_COLOURS, pil.Quantize.FASTOCTREE)
        quantized.save(out, "PNG", compress_level=9)
    return out.getvalue()


def _cells(frame: Any) -> PilImage:  # the types of Pillow's resize need numpy's
    from PIL import Image as pil

    small = frame.convert("RGBA").resize((_CELLS, _CELLS), pil.Resampling.BOX)
    few = small.quantize(_COLOURS, pil.Quantize.FASTOCTREE).convert("RGBA")
    coarse: PilImage = few.resize(frame.size, pil.Resampling.NEAREST)
    return coarse


def text(value: str) -> str:
    """Return a text with keys and account ids masked."""
    return _ACCOUNT.sub(lambda match: f"{match[1] or match[2]}{_MASK}", scrub(value))


def reply_json(value: object, image: Callable[[bytes], bytes], *, name: str = "") -> object:
    """Return a JSON value of a reply with its images replaced and its secrets masked.

    Args:
        value: The value.
        image: Returns what is stored of an image.
        name: The field it is the value of.
    """
    if isinstance(value, str):
        return _reply_text(value, image, name)
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {text(key): reply_json(each, image, name=key) for key, each in table.items()}
    if isinstance(value, list):
        several = cast("list[object]", value)
        return [reply_json(each, image, name=name) for each in several]
    return value


def _reply_text(value: str, image: Callable[[bytes], bytes], name: str) -> str:
    if name in _IMAGES:
        try:
            return b64encode(image(b64decode(value, validate=True))).decode("ascii")
        except ValueError:
            return text(value)
    if _PRIVATE.search(name):
        return _MASK

    def url(match: re.Match[str]) -> str:
        small = image(b64decode(match[2]))
        return f"data:{match[1]};base64,{b64encode(small).decode('ascii')}"

    # The base64 itself is left alone: something in it may look like a key.
    parts: list[str] = []
    at = 0
    for match in _DATA_URL.finditer(value):
        parts += [text(value[at : match.start()]), url(match)]
        at = match.end()
    return "".join([*parts, text(value[at:])])


def request_json(value: object, *, name: str = "") -> object:
    """Return a JSON value of a request with its images described and its secrets masked."""
    if isinstance(value, str):
        if _PRIVATE.search(name):
            return _MASK
        if name in _IMAGES and len(value) > 100:
            return f"<{len(value)} characters of base64>"
        return text(_DATA_URL.sub(lambda match: f"<{described(b64decode(match[2]))}>", value))
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {text(key): request_json(each, name=key) for key, each in table.items()}
    if isinstance(value, list):
        return [request_json(each, name=name) for each in cast("list[object]", value)]
    return value


def described(data: bytes) -> str:
    """Return a few words for the bytes of a file, which tell two files apart."""
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"


def body(data: bytes, image: Callable[[bytes], bytes]) -> object:
    """Return the body of a reply for a cassette: its JSON value, or its text."""
    try:
        return reply_json(json.loads(data), image)
    except (ValueError, RecursionError):
        return text(data.decode("utf-8", "replace"))
