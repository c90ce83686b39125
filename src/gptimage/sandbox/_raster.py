"""Marks to pixels, with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gptimage.sandbox.canvas import Canvas, Colour, Glow, Mark, Point, Shape, Sky, Veil


if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from PIL.ImageDraw import ImageDraw

_RIM: Final = 180
"""The level of Pillow's radial gradient in the middle of its edges."""
_WORK_PIXELS: Final = 4_200_000
"""Small pictures are drawn larger and scaled down, large ones the other way round."""


def rasterise(canvas: Canvas) -> Image:
    """The canvas as an RGB picture of exactly its size."""
    from PIL import Image as pil

    factor = _factor(canvas)
    size = (math.ceil(canvas.width * factor), math.ceil(canvas.height * factor))
    image = pil.new("RGB", size, (128, 128, 128))
    paint(image, canvas.marks, factor)
    way = pil.Resampling.BICUBIC if factor < 1 else pil.Resampling.HAMMING
    return resized(image, (canvas.width, canvas.height), way)


def cut_out(canvas: Canvas) -> Image:
    """The canvas's opaque shapes as an RGBA picture; alpha is 0 around them."""
    from PIL import Image as pil
    from PIL import ImageFilter

    factor = min(2.0, _factor(canvas))
    size = (math.ceil(canvas.width * factor), math.ceil(canvas.height * factor))
    solid = [m for m in canvas.marks if isinstance(m, Shape) and m.alpha == 1]
    mask = pil.new("L", size, 0)
    paint(mask, [Shape(m.points, (255, 255, 255)) for m in solid], factor)
    edge = mask.filter(ImageFilter.GaussianBlur(canvas.unit * factor * 0.007))
    mask = levelled(edge, [min(255, max(0, (level - 12) * 12)) for level in range(256)])
    image = pil.new("RGB", size, (255, 255, 255))
    paint(image, [m for m in canvas.marks if isinstance(m, Shape)], factor)
    image.putalpha(mask)
    return resized(image, (canvas.width, canvas.height), pil.Resampling.BICUBIC)


def drawn_over(image: Image, canvas: Canvas) -> Image:
    """The canvas's shapes on top of an RGB picture of its size, with soft edges."""
    from PIL import Image as pil

    factor = max(1.0, _factor(canvas))
    size = (math.ceil(canvas.width * factor), math.ceil(canvas.height * factor))
    large, mask = resized(image, size, pil.Resampling.BICUBIC), pil.new("L", size, 0)
    paint(large, canvas.marks, factor)
    paint(mask, [mark for mark in canvas.marks if isinstance(mark, Shape)], factor)
    over, where = (resized(each, image.size, pil.Resampling.HAMMING) for each in (large, mask))
    return pil.composite(over, image, where)


def resized(
    image: Image,
    size: tuple[int, int],
    way: Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> Image:
    """The picture, or the part in the box, at another size."""
    return image.resize(size, way, box)  # pyright: ignore[reportUnknownMemberType]  # Pillow names numpy, which need not be there


def levelled(image: Image, table: Sequence[int]) -> Image:
    """A one-channel picture with each of the 256 levels replaced."""
    return image.point(table)  # pyright: ignore[reportUnknownMemberType]  # as above


def _factor(canvas: Canvas) -> float:
    return min(2.0, max(0.6, math.sqrt(_WORK_PIXELS / (canvas.width * canvas.height))))


def paint(image: Image, marks: Sequence[Mark], factor: float) -> None:
    """Draw marks on a picture that is ``factor`` times the canvas."""
    from PIL import ImageDraw as pil_draw

    solid = pil_draw.Draw(image)
    blended = pil_draw.Draw(image, "RGBA") if image.mode == "RGB" else solid
    for mark in marks:
        if isinstance(mark, Shape):
            _shape(solid if mark.alpha >= 1 else blended, mark, factor)
        elif isinstance(mark, Glow):
            _glow(image, mark, factor)
        elif isinstance(mark, Veil):
            _veil(image, mark, factor)
        else:
            _sky(image, mark)


def _shape(draw: ImageDraw, mark: Shape, factor: float) -> None:
    points: list[Point] = [(x * factor, y * factor) for x, y in mark.points]
    if draw.mode == "L":
        draw.polygon(points, fill=255)
    elif mark.alpha >= 1:
        draw.polygon(points, fill=mark.fill)
    else:
        draw.polygon(points, fill=(*mark.fill, round(max(0.0, mark.alpha) * 255)))


def _sky(image: Image, mark: Sky) -> None:
    from PIL import Image as pil

    last = max(1, image.height - 1)
    colours = (part for row in range(image.height) for part in _colour_at(mark, row / last))
    column = pil.frombytes("RGB", (1, image.height), bytes(colours))
    image.paste(resized(column, image.size, pil.Resampling.NEAREST))


def _colour_at(mark: Sky, place: float) -> Colour:
    for (low, below), (high, above) in zip(mark.stops, mark.stops[1:], strict=False):
        if place <= high:
            share = (place - low) / (high - low)
            share = share * share * (3 - 2 * share) * 0.5 + share * 0.5
            red, green, blue = (
                round(a + (b - a) * share) for a, b in zip(below, above, strict=True)
            )
            return red, green, blue
    return mark.stops[-1][1]


def _glow(image: Image, mark: Glow, factor: float) -> None:
    """Light is drawn only where it shows, inside the picture."""
    from PIL import Image as pil

    fade = levelled(
        pil.radial_gradient("L"),
        [round(255 * mark.alpha * max(0.0, 1 - level / _RIM) ** 2) for level in range(256)],
    )
    reach = mark.radius * factor
    x, y = mark.centre[0] * factor, mark.centre[1] * factor
    left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
    right, bottom = min(image.width, math.ceil(x + reach)), min(image.height, math.ceil(y + reach))
    if right - left < 1 or bottom - top < 1:
        return
    scale = 128 / reach
    box = tuple(
        min(256.0, max(0.0, 128 + edge * scale))
        for edge in (left - x, top - y, right - x, bottom - y)
    )
    size = (right - left, bottom - top)
    mask = resized(fade, size, pil.Resampling.BILINEAR, (box[0], box[1], box[2], box[3]))
    image.paste(mark.colour, (left, top), mask)


def _veil(image: Image, mark: Veil, factor: float) -> None:
    from PIL import Image as pil

    top, bottom = round(mark.top * factor), round(mark.bottom * factor)
    high = bottom - top
    if high < 1:
        return
    span = (mark.bottom_alpha - mark.top_alpha) / high
    alphas = bytes(round(255 * (mark.top_alpha + span * row)) for row in range(high))
    fade = pil.frombytes("L", (1, high), alphas)
    image.paste(mark.colour, (0, top), resized(fade, (image.width, high), pil.Resampling.NEAREST))
