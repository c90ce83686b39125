"""The mark every sandbox picture carries: what it is, and the first words of its prompt."""

from __future__ import annotations

import math
import re
import textwrap
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

NOTICE: Final = "SANDBOX · no model was used"
_LATIN: Final = 0x24F
"""Pillow's built-in font draws Latin letters; others would be empty boxes."""


def prompt_head(prompt: str, width: int = 60) -> str:
    """The first words of a prompt, without sandbox markers or letters the font lacks."""
    text = re.sub(r"\[sandbox:[^\]]*\]", " ", prompt[:1000])
    drawable = "".join(c for c in text if ord(c) <= _LATIN and (c.isprintable() or c.isspace()))
    return textwrap.shorten(drawable, width, placeholder="…") if drawable.strip(" .,") else ""


def mark(
    image: Image, prompt: str, *, edge: int | None = None, frame: int = 0, frames: int = 1
) -> None:
    """Write the notice along the bottom edge; a see-through picture gets an opaque strip.

    A gif's frames also show how far it is, so that no two of them are equal.

    Args:
        image: Where to write.
        prompt: What was asked for.
        edge: Pixels of the whole picture's shorter edge, when ``image`` is a part of it.
        frame: Which frame this is.
        frames: How many frames there are.
    """
    from PIL import ImageDraw

    font, high = _font(
        min(round((edge or min(image.size)) * 0.042), image.height // 4), image.width
    )
    text = _fitting(font, prompt, image.width - high)
    draw = ImageDraw.Draw(image, "RGBA" if image.mode == "RGB" else None)
    strip = (0, image.height - high, image.width, image.height)
    veil = 150 if image.mode == "RGB" else 255
    if image.mode == "RGBA":
        strip = (0, strip[1], round(font.getlength(text)) + high, image.height)
    draw.rectangle(strip, fill=(18, 16, 26, veil))
    middle = image.height - high / 2
    draw.text((high / 2, middle), text, font=font, fill=(255, 255, 255, 255), anchor="lm")
    if frames > 1:
        end = round(image.width * (frame + 1) / frames)
        draw.rectangle((0, strip[1] - max(2, high // 8), end, strip[1]), fill=(255, 206, 96, 255))


def _fitting(font: FreeTypeFont | BitmapFont, prompt: str, room: int) -> str:
    """The notice with as many of the prompt's words as fit."""
    for width in (80, 60, 40, 24):
        head = prompt_head(prompt, width)
        text = f"{NOTICE} · “{head}”" if head else NOTICE
        if font.getlength(text) <= room:
            return text
    return NOTICE


def _font(high: int, width: int) -> tuple[FreeTypeFont | BitmapFont, int]:
    """The font for a strip of this height, and the height that lets the notice fit."""
    from PIL import ImageFont

    high = max(14, high)
    font = ImageFont.load_default(size=high * 0.56)
    if (room := (width - high) / font.getlength(NOTICE)) < 1:
        high = max(10, math.floor(high * room))
        font = ImageFont.load_default(size=high * 0.56)
    return font, high
