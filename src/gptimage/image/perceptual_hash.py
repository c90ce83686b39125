"""A perceptual hash: 64 bits that stay nearly the same when an image is resized or recompressed.

It is the pHash of https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html:
the lowest frequencies of a discrete cosine transform, each above their median or not.
"""

from __future__ import annotations

from functools import cache
from math import cos, pi
from operator import mul
from typing import Final, cast

from gptimage.image.codecs import decode, on_white
from gptimage.image.transform import scaled


_EDGE: Final = 32
"""Pixels of the square that is transformed."""

_LOWEST: Final = 8
"""Frequencies in each direction: 8 x 8 are 64 bits."""

_FLAT: Final = 8
"""Levels of 255: where no two pixels differ by more, only noise would be hashed."""


def perceptual_hash(data: bytes, format: str) -> int | None:
    """Return the hash of the first frame, upright, as 64 bits; None for an empty surface.

    Transparent pixels are white, or black where the image would be white on white.

    Raises:
        ImageDecodeError: It is broken, or an svg (which is never drawn here).
    """
    from PIL import ImageChops

    image = decode(data, format, at_least=2 * _EDGE)
    image.thumbnail((2 * _EDGE, 2 * _EDGE))
    greys = [on_white(image).convert("L")]
    if "A" in image.mode:
        greys.append(ImageChops.multiply(image.convert("L"), image.getchannel("A")))
    for grey in greys:
        small = scaled(grey, (_EDGE, _EDGE))
        darkest, brightest = cast("tuple[int, int]", small.getextrema())
        if brightest - darkest > _FLAT:
            return _bits(small.tobytes())
    return None


def _bits(pixels: bytes) -> int:
    waves = _waves()
    rows = [pixels[at : at + _EDGE] for at in range(0, len(pixels), _EDGE)]
    across = [[sum(map(mul, row, wave)) for row in rows] for wave in waves]
    levels = [sum(map(mul, column, wave)) for wave in waves for column in across]
    middle = sorted(levels[1:])[len(levels) // 2 - 1]  # the first is the mean brightness
    return sum((level > middle) << place for place, level in enumerate(reversed(levels)))


@cache
def _waves() -> list[list[float]]:
    return [
        [cos(pi * frequency * (2 * place + 1) / (2 * _EDGE)) for place in range(_EDGE)]
        for frequency in range(_LOWEST)
    ]
