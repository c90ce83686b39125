"""A perceptual hash: 64 bits that stay nearly the same when an image is resized or recompressed.

It is the pHash of https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html:
the lowest frequencies of a discrete cosine transform, each above their median or not. A second
one of the middle finds copies with cut edges, of which the first one says little.
"""

from __future__ import annotations

from functools import cache
from math import cos, pi
from operator import mul
from typing import TYPE_CHECKING, Final, cast

from gptimage.image.codecs import decode, on_white
from gptimage.image.transform import scaled


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


_EDGE: Final = 32
"""Pixels of the square that is transformed."""

_LOWEST: Final = 8
"""Frequencies in each direction: 8 x 8 are 64 bits."""

_FLAT: Final = 8
"""Levels of 255: where no two pixels differ by more, only noise would be hashed."""


_MARGIN: Final = 0.08
"""The share of each edge that the middle lacks: found best by copies with 5 and 10 % cut off."""


def perceptual_hash(data: bytes, format: str) -> str | None:
    """Return the hashes of the first frame, upright, and of its middle; None for an empty surface.

    Transparent pixels are white, or black where the image would be white on white.

    Returns:
        16 hex digits (64 bits) each.

    Raises:
        ImageDecodeError: It is broken, or an svg (which is never drawn here).
    """
    from PIL import ImageChops

    image = decode(data, format, at_least=2 * _EDGE)
    image.thumbnail((2 * _EDGE, 2 * _EDGE))
    x, y = image.width * _MARGIN, image.height * _MARGIN
    greys = [on_white(image).convert("L")]
    if "A" in image.mode:
        greys.append(ImageChops.multiply(image.convert("L"), image.getchannel("A")))
    for grey in greys:
        if whole := _bits(grey, (0, 0, image.width, image.height)):
            return whole + (_bits(grey, (x, y, image.width - x, image.height - y)) or whole)
    return None


def differing(one: str, other: str) -> int:
    """Return in how many bits of 64 two images differ, of which one may be a part of the other."""
    wholes, middles = zip(_numbers(one), _numbers(other), strict=True)
    pairs = (wholes, (wholes[0], middles[1]), (middles[0], wholes[1]))
    return min((left ^ right).bit_count() for left, right in pairs)


def _numbers(hash: str) -> tuple[int, int]:
    return int(hash[:16], 16), int(hash[16:], 16)


def _bits(grey: Pil, box: tuple[float, float, float, float]) -> str | None:
    """Return the hash of a part of an image in hex, or None where it is empty."""
    small = scaled(grey, (_EDGE, _EDGE), box)
    darkest, brightest = cast("tuple[int, int]", small.getextrema())
    if brightest - darkest <= _FLAT:
        return None
    pixels, waves = small.tobytes(), _waves()
    rows = [pixels[at : at + _EDGE] for at in range(0, len(pixels), _EDGE)]
    across = [[sum(map(mul, row, wave)) for row in rows] for wave in waves]
    levels = [sum(map(mul, column, wave)) for wave in waves for column in across]
    middle = sorted(levels[1:])[len(levels) // 2 - 1]  # the first is the mean brightness
    bits = sum((level > middle) << place for place, level in enumerate(reversed(levels)))
    return f"{bits:016x}"


@cache
def _waves() -> list[list[float]]:
    return [
        [cos(pi * frequency * (2 * place + 1) / (2 * _EDGE)) for place in range(_EDGE)]
        for frequency in range(_LOWEST)
    ]
