"""The sandbox's tiny drawing model: a list of marks that both pixels and SVG are made from.

Coordinates are pixels of the finished picture, as floats, y pointing down.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field, frozen


if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from PIL.ImageDraw import ImageDraw


Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
INK: Final[Colour] = (28, 26, 36)


@frozen
class Sky:
    """A vertical gradient over the whole picture: ``(position 0 to 1, colour)`` from the top."""

    stops: tuple[tuple[float, Colour], ...]


@frozen
class Shape:
    """A filled outline."""

    points: tuple[Point, ...]
    fill: Colour
    alpha: float = 1.0


@frozen
class Glow:
    """Light that fades from a centre to nothing at its radius."""

    centre: Point
    radius: float
    colour: Colour
    alpha: float = 1.0


@frozen
class Veil:
    """A band of mist across the picture, its opacity changing from top to bottom."""

    top: float
    bottom: float
    colour: Colour
    top_alpha: float
    bottom_alpha: float


Mark: TypeAlias = Sky | Shape | Glow | Veil


@define
class Canvas:
    """What a scene is drawn on: a size in pixels and the marks made so far.

    Attributes:
        width: Pixels across.
        height: Pixels down.
        random: The only source of chance, seeded by the request.
        detail: 0 (few layers) to 4.
        phase: 0 to 1 through an animation.
        marks: What was drawn, back to front.
    """

    width: int
    height: int
    random: Random = field(repr=False)
    detail: int = 2
    phase: float = 0.0
    marks: list[Mark] = field(factory=list[Mark], repr=False)

    @property
    def unit(self) -> float:
        """The shorter edge: what sizes of things are measured in."""
        return min(self.width, self.height)

    def sky(self, *colours: Colour) -> None:
        """Fill the picture with evenly spaced colours, top to bottom."""
        last = max(1, len(colours) - 1)
        self.marks.append(Sky(tuple((i / last, c) for i, c in enumerate(colours))))

    def shape(self, points: Iterable[Point], fill: Colour, alpha: float = 1.0) -> None:
        """Fill a polygon."""
        self.marks.append(Shape(tuple(points), fill, alpha))

    def blob(self, points: Sequence[Point], fill: Colour, alpha: float = 1.0) -> None:
        """Fill the smooth closed curve through the points."""
        self.shape(smooth(points), fill, alpha)

    def oval(
        self, centre: Point, radii: Point, fill: Colour, alpha: float = 1.0, turn: float = 0.0
    ) -> None:
        """Fill an ellipse, turned clockwise by ``turn`` radians."""
        self.shape(ellipse(centre, radii, turn), fill, alpha)

    def line(self, points: Sequence[Point], thick: float, fill: Colour, alpha: float = 1.0) -> None:
        """Draw a line of constant thickness."""
        self.shape(stroke(points, thick), fill, alpha)

    def glow(self, centre: Point, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """Add light around a point."""
        self.marks.append(Glow(centre, radius, colour, alpha))

    def veil(
        self, top: float, bottom: float, colour: Colour, top_alpha: float, bottom_alpha: float
    ) -> None:
        """Add a band of mist."""
        self.marks.append(Veil(top, bottom, colour, top_alpha, bottom_alpha))


@frozen
class Pen:
    """Draws one thing in its own coordinates: x around 0, y from 0 (top) to 1 (where it stands).

    Attributes:
        canvas: Where to draw.
        x: Pixels: the middle of the thing.
        y: Pixels: where it stands.
        size: Pixels: its height.
    """

    canvas: Canvas
    x: float
    y: float
    size: float

    def at(self, point: Point) -> Point:
        """Pixels of a point given in the thing's coordinates."""
        return self.x + point[0] * self.size, self.y + (point[1] - 1) * self.size

    def shape(self, points: Iterable[Point], fill: Colour, alpha: float = 1.0) -> None:
        """Fill a polygon."""
        self.canvas.shape([self.at(p) for p in points], fill, alpha)

    def blob(self, points: Sequence[Point], fill: Colour, alpha: float = 1.0) -> None:
        """Fill the smooth closed curve through the points."""
        self.canvas.blob([self.at(p) for p in points], fill, alpha)

    def pair(self, points: Sequence[Point], fill: Colour, alpha: float = 1.0) -> None:
        """Fill a smooth curve and its mirror image."""
        self.blob(points, fill, alpha)
        self.blob([(-x, y) for x, y in points], fill, alpha)

    def oval(
        self, centre: Point, radii: Point, fill: Colour, alpha: float = 1.0, turn: float = 0.0
    ) -> None:
        """Fill an ellipse."""
        across, down = radii[0] * self.size, radii[1] * self.size
        self.canvas.oval(self.at(centre), (across, down), fill, alpha, turn)

    def ovals(self, centre: Point, radii: Point, fill: Colour, turn: float = 0.0) -> None:
        """Fill an ellipse and its mirror image."""
        self.oval(centre, radii, fill, turn=turn)
        self.oval((-centre[0], centre[1]), radii, fill, turn=-turn)

    def line(self, points: Sequence[Point], thick: float, fill: Colour, alpha: float = 1.0) -> None:
        """Draw a smooth line."""
        path = smooth([self.at(p) for p in points], closed=False)
        self.canvas.line(path, thick * self.size, fill, alpha)

    def shadow(self, across: float = 0.4, alpha: float = 0.22) -> None:
        """The soft dark patch a thing stands on."""
        for grow in (1.0, 0.72):
            self.oval((0, 0.99), (across * grow, across * 0.16 * grow), INK, alpha / 1.6)


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 7) -> tuple[Point, ...]:
    """A Catmull-Rom curve through the points, as a polyline."""
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    ring = [*ends[0], *points, *ends[1]]
    path = [
        _between(ring[i - 1], ring[i], ring[i + 1], ring[i + 2], step / steps)
        for i in range(1, len(ring) - 2)
        for step in range(steps)
    ]
    return tuple(path if closed else [*path, points[-1]])


def _between(a: Point, b: Point, c: Point, d: Point, t: float) -> Point:
    x, y = (
        0.5
        * (
            2 * q
            + (r - p) * t
            + (2 * p - 5 * q + 4 * r - s) * t * t
            + (3 * q - p - 3 * r + s) * t * t * t
        )
        for p, q, r, s in zip(a, b, c, d, strict=True)
    )
    return x, y


def ellipse(centre: Point, radii: Point, turn: float = 0.0) -> tuple[Point, ...]:
    """An ellipse as a polygon, with as many corners as its size needs."""
    count = max(8, min(72, round(4 * math.sqrt(max(radii)))))
    cos, sin = math.cos(turn), math.sin(turn)
    spots = (
        (radii[0] * math.cos(a), radii[1] * math.sin(a))
        for a in (math.tau * i / count for i in range(count))
    )
    return tuple((centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in spots)


def stroke(points: Sequence[Point], thick: float) -> tuple[Point, ...]:
    """The outline of a line of constant thickness."""
    left: list[Point] = []
    right: list[Point] = []
    for i, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[max(0, i - 1)], points[min(len(points) - 1, i + 1)]
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = (ay - by) / length * thick / 2, (bx - ax) / length * thick / 2
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return (*left, *reversed(right))


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """``share`` of the other colour in the one."""
    red, green, blue = (
        round(a + (b - a) * min(1.0, max(0.0, share))) for a, b in zip(one, other, strict=True)
    )
    return red, green, blue


def lit(colour: Colour, amount: float) -> Colour:
    """Lighter for a positive amount (to 1), darker for a negative one."""
    return mix(colour, WHITE if amount > 0 else (10, 8, 24), abs(amount))


def turned(colour: Colour, degrees: float) -> Colour:
    """The colour with its hue turned around the wheel."""
    hue, light, much = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    rgb = colorsys.hls_to_rgb((hue + degrees / 360) % 1.0, light, much)
    return round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)


# Marks to pixels, with Pillow.

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
