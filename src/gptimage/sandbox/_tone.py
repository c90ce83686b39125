"""New light for an existing picture: night, dusk, snow, rain, a tint, a painter's hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gptimage.sandbox._built import weather
from gptimage.sandbox._scene import Scene
from gptimage.sandbox._scenery import stars
from gptimage.sandbox.canvas import Canvas, Colour, Veil, mix, paint, resized, turned


if TYPE_CHECKING:
    from PIL.Image import Image

_GREY: Final = re.compile(r"black.and.white|monochrome|gr[ae]y ?scale|\bnoir\b", re.IGNORECASE)
_PAINTED: Final = re.compile(
    r"paint|water ?colou?r|\boil\b|cartoon|sketch|illustrat|poster", re.IGNORECASE
)
_BRIGHT: Final[Colour] = (255, 246, 226)


def retone(image: Image, prompt: str, seen: Scene, phase: float) -> Image:
    """The picture in the light the prompt asks for; a gentle tint when it asks for none."""
    from PIL import ImageEnhance, ImageOps

    result = image
    if _PAINTED.search(prompt):
        result = _painted(result)
    if _GREY.search(prompt):
        return ImageOps.autocontrast(result.convert("L"), cutoff=1).convert("RGB")
    if seen.named_place and seen.light == "night":
        result = _night(result, seen, phase)
    elif seen.named_place and seen.light in {"dusk", "dawn"}:
        warm: Colour = (255, 150, 84) if seen.light == "dusk" else (255, 206, 190)
        result = _lit_from_above(_toned(result, warm, 0.34), warm, (92, 40, 96))
    elif seen.weather in {"snow", "rain"}:
        cool: Colour = (214, 230, 248) if seen.weather == "snow" else (84, 104, 132)
        result = _toned(ImageEnhance.Color(result).enhance(0.55), cool, 0.36)
    else:
        tint = seen.tint or turned((214, 120, 70), seen.chance().uniform(0, 360))
        result = _toned(
            ImageEnhance.Contrast(result).enhance(1.08), tint, 0.4 if seen.tint else 0.22
        )
    canvas = Canvas(image.width, image.height, seen.chance(), 2, phase)
    weather(canvas, seen)
    canvas.glow(
        (image.width * (0.2 + 0.6 * phase), image.height * 0.2), canvas.unit * 0.6, _BRIGHT, 0.18
    )
    paint(result, canvas.marks, 1.0)
    return result


def _toned(image: Image, tint: Colour, share: float) -> Image:
    """Shadows to the dark of a colour, lights to its pale, mixed with the original."""
    from PIL import Image as pil
    from PIL import ImageOps

    duotone = ImageOps.colorize(
        image.convert("L"),
        mix(tint, (12, 10, 26), 0.82),
        mix(tint, (255, 255, 255), 0.78),
        mid=tint,
    )
    return pil.blend(image, duotone, share)


def _night(image: Image, seen: Scene, phase: float) -> Image:
    from PIL import ImageEnhance

    dark = _toned(ImageEnhance.Brightness(image).enhance(0.72), (44, 76, 150), 0.72)
    canvas = Canvas(image.width, image.height, seen.chance(), 2, phase)
    moon, unit = (image.width * 0.84, image.height * 0.15), canvas.unit
    canvas.veil(0, image.height * 0.6, (8, 12, 36), 0.45, 0.0)
    stars(canvas, 50, image.height * 0.3)
    canvas.glow(moon, unit * 0.5, (170, 190, 235), 0.6)
    canvas.oval(moon, (unit * 0.045, unit * 0.045), (244, 240, 222))
    paint(dark, canvas.marks, 1.0)
    return dark


def _lit_from_above(image: Image, warm: Colour, cool: Colour) -> Image:
    high = image.height
    veils = (Veil(0, high * 0.7, warm, 0.34, 0.0), Veil(high * 0.5, high, cool, 0.0, 0.4))
    paint(image, veils, 1.0)
    return image


def _painted(image: Image) -> Image:
    """Flat patches of colour, as a brush leaves them."""
    from PIL import Image as pil
    from PIL import ImageEnhance, ImageFilter

    share = min(1.0, 360 / min(image.size))  # a median filter is slow: at a brush's scale only
    size = (round(image.width * share), round(image.height * share))
    small = resized(image, size, pil.Resampling.BOX)
    daubs = small.filter(ImageFilter.MedianFilter(7)).filter(ImageFilter.MedianFilter(5))
    flat = resized(daubs, image.size, pil.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)
    return ImageEnhance.Color(pil.blend(flat, image, 0.15)).enhance(1.25)
