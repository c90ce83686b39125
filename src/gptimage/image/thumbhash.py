"""ThumbHash: some 25 bytes that a web page shows as a blurred image until the file is there.

The format is that of https://evanw.github.io/thumbhash/, of images without transparency: a few
frequencies of brightness, yellow to blue, and red to green.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import cos, pi
from operator import mul
from typing import TYPE_CHECKING, Final

from attrs import frozen


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

_EDGE: Final = 32
"""Pixels of the longest edge of what is hashed: finer details have no part in it."""

_BRIGHT: Final = 7
"""Frequencies of brightness along the longer edge; colours have 3."""


def thumbhash(image: Pil) -> bytes:
    """Return the hash of an image without transparency."""
    small = image.convert("RGB")
    small.thumbnail((_EDGE, _EDGE))
    width, height = small.size
    pixels = small.tobytes()
    red, green, blue = ([level / 255 for level in pixels[at::3]] for at in range(3))
    across, down = (max(1, _rounded(_BRIGHT * edge / max(width, height))) for edge in small.size)
    light = [sum(each) / 3 for each in zip(red, green, blue, strict=True)]
    warm = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    ruddy = [r - g for r, g in zip(red, green, strict=True)]
    brightness = _Channel.of(light, width, (max(3, across), max(3, down)))
    yellow, reddish = (_Channel.of(each, width, (3, 3)) for each in (warm, ruddy))
    landscape = width > height
    first = _packed(
        (63 * brightness.mean, 0),
        (31.5 + 31.5 * yellow.mean, 6),
        (31.5 + 31.5 * reddish.mean, 12),
        (31 * brightness.scale, 18),
    )
    second = _packed(
        (down if landscape else across, 0),
        (63 * yellow.scale, 3),
        (63 * reddish.scale, 9),
        (landscape, 15),
    )
    levels = [level for channel in (brightness, yellow, reddish) for level in channel.levels]
    nibbles = [_rounded(15 * level) for level in levels] + [0] * (len(levels) % 2)
    pairs = zip(nibbles[::2], nibbles[1::2], strict=True)
    return (
        first.to_bytes(3, "little")
        + second.to_bytes(2, "little")
        + bytes(low | high << 4 for low, high in pairs)
    )


def drawn(hash: bytes, edge: int = _EDGE) -> Pil:
    """Return the blurred image of a hash, with so many pixels on its longest edge."""
    from PIL import Image as pil

    first, second = int.from_bytes(hash[:3], "little"), int.from_bytes(hash[3:5], "little")
    landscape, shorter = second >> 15, second & 7
    across, down = (_BRIGHT, shorter) if landscape else (shorter, _BRIGHT)
    ratio = across / down
    width = edge if ratio > 1 else _rounded(edge * ratio)
    height = _rounded(edge / ratio) if ratio > 1 else edge
    nibbles = iter([each for byte in hash[5:] for each in (byte & 15, byte >> 4)])
    # The colours are drawn a quarter stronger: blurred, they would look pale.
    light, warm, ruddy = (
        _spread(nibbles, shape, mean, scale, (width, height))
        for shape, mean, scale in (
            ((max(3, across), max(3, down)), (first & 63) / 63, (first >> 18 & 31) / 31),
            ((3, 3), (first >> 6 & 63) / 31.5 - 1, (second >> 3 & 63) / 63 * 1.25),
            ((3, 3), (first >> 12 & 63) / 31.5 - 1, (second >> 9 & 63) / 63 * 1.25),
        )
    )
    pixels = bytearray()
    for bright, yellow, red in zip(light, warm, ruddy, strict=True):
        blue = bright - 2 / 3 * yellow
        reddish = (3 * bright - blue + red) / 2
        for level in (reddish, reddish - red, blue):
            pixels.append(_rounded(255 * min(1, max(0, level))))
    return pil.frombytes("RGB", (width, height), bytes(pixels))


@frozen
class _Channel:
    """A mean, and the frequencies around it as 0 to 1 of twice the scale."""

    mean: float
    scale: float
    levels: list[float]

    @classmethod
    def of(cls, values: Sequence[float], width: int, shape: tuple[int, int]) -> _Channel:
        rows = [values[at : at + width] for at in range(0, len(values), width)]
        found: list[float] = []
        for x, y in _frequencies(shape):
            wave = _wave(x, width)
            across = (sum(map(mul, row, wave)) for row in rows)
            found.append(sum(map(mul, across, _wave(y, len(rows)))) / len(values))
        mean, *rest = found
        scale = max(map(abs, rest))
        return cls(mean, scale, [0.5 + 0.5 / scale * each if scale else 0 for each in rest])


def _spread(
    nibbles: Iterator[int], shape: tuple[int, int], mean: float, scale: float, size: tuple[int, int]
) -> list[float]:
    """Return the values of each pixel of a channel."""
    width, height = size
    values = [mean] * (width * height)
    for x, y in list(_frequencies(shape))[1:]:
        level = (next(nibbles, 0) / 7.5 - 1) * scale * 2
        across = _wave(x, width)
        for row, down in enumerate(_wave(y, height)):
            start = row * width
            for column, wave in enumerate(across, start):
                values[column] += level * down * wave
    return values


def _frequencies(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the frequencies across and down below the diagonal, the mean first."""
    across, down = shape
    for y in range(down):
        yield from ((x, y) for x in range(across) if x * down < across * (down - y))


@cache
def _wave(frequency: int, length: int) -> list[float]:
    return [cos(pi / length * frequency * (place + 0.5)) for place in range(length)]


def _packed(*fields: tuple[float, int]) -> int:
    return sum(_rounded(value) << shift for value, shift in fields)


def _rounded(value: float) -> int:
    """Round as JavaScript does: a half goes up."""
    return int(value + 0.5)
