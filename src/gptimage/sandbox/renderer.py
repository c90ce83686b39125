"""Scenes of ``scenes.toml`` as polygons and glows, and those as pixels.

Coordinates are pixels of the finished image, as floats, y pointing down.
"""
# pyright: reportUnknownMemberType=false
# (Pillow's signatures name numpy, which need not be there.)

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from PIL import Image as pil
from PIL import ImageDraw, ImageFilter
from PIL.Image import Image

from gptimage.sandbox.scene import Scene, scene_data


Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
_COLOUR: Final = re.compile(r"([#\w]+)(?:~([.\d]+)~([#\w]+))?([+-][.\d]+)?(?:@([.\d]+))?")
_TWICE_PIXELS: Final = 2_400_000
"""Up to this size images are drawn twice as large and scaled down, so that edges are soft."""
_STRIPS: Final = 9
"""Of a hill, each a little less hazy than the one above."""


class Shape(NamedTuple):
    """A filled polygon; with a radius, light around its only point that fades to nothing there."""

    points: Sequence[Point]
    fill: Colour
    alpha: float = 1.0
    radius: float = 0.0


class Canvas:
    """The drawing so far: a sky, light in front of it, and shapes, back to front."""

    def __init__(self, scene: Scene, size: tuple[int, int], detail: int, phase: float) -> None:
        """Take the colours of the scene's hour; ``phase`` is 0 to 1 through an animation."""
        self.scene: Scene = scene
        self.random: Random = scene.random()
        self.width: int = size[0]
        self.height: int = size[1]
        self.unit: int = min(size)
        self.detail: int = detail
        self.phase: float = phase
        self.glows: list[Shape] = []
        self.shapes: list[Shape] = []
        self.horizon: list[Point] = []
        data = scene_data()
        light, place = data["lights"][scene.light], data["places"][scene.place]
        subject = data["subjects"][scene.subject or "star"]
        self.sky: list[Colour] = [from_hex(each) for each in light["sky"]]
        near = light.get(f"near_{scene.weather}", light["near"])
        named = {**data["colours"], **light, "near": near, "tint": scene.tint or subject["tint"]}
        self.palette: dict[str, Colour] = {
            name: from_hex(value) for name, value in named.items() if str(value).startswith("#")
        }
        self.palette |= {"top": self.sky[0], "high": self.sky[1], "pale": self.sky[-1]}
        own = self.random.choice(place["tints"])
        here = from_hex(scene.tint if scene.tint and not scene.subject else own)
        self.palette["here"] = mix(here, from_hex(light["near"]), light["shade"])
        # The sun is on one side, the subject on the other.
        self.side: int = self.random.choice((-1, 1))
        share = self.random.random()
        across, down = 0.5 - self.side * (0.12 + 0.16 * share), 0.24 + 0.1 * share
        self.sun: Point = (across * self.width, down * self.height)

    def colour(self, text: str) -> tuple[Colour, float]:
        """Read a colour of ``scenes.toml``: its RGB value and how opaque it is."""
        names, share, light, alpha = parse_colour(text)
        fill, other = (self.palette.get(name) or from_hex(name) for name in names)
        return lit(mix(fill, other, share), light), alpha

    def draw(self, marks: str, foot: Point, size: float) -> None:
        """Draw lines of ``scenes.toml``; figures have (0, 1) at ``foot``, 1 is ``size`` pixels."""
        for line in marks.strip().splitlines():
            kind, *arguments = line.split()
            if kind in _LAYERS:
                _LAYERS[kind](self, *arguments)
                continue
            left, top, (fill, alpha) = foot[0], foot[1] - size, self.colour(arguments[0])
            for figure in parse_figure(line):
                points = [(left + x * size, top + y * size) for x, y in figure]
                if kind == "glow":
                    self.glows.append(Shape(points[:1], fill, alpha, points[1][0] - left))
                else:
                    self.shapes.append(Shape(points, fill, alpha))

    def stamp(self, name: str, foot: Point, size: float) -> None:
        """Draw what ``scenes.toml`` has under this name for the weather or the light."""
        stamps: dict[str, str] = scene_data()["stamps"]
        scene = self.scene
        found = (stamps.get(f"{name}_{each}") for each in (scene.weather, scene.light))
        self.draw(next(filter(None, found), stamps[name]), foot, size)

    def compose(self) -> None:
        """Draw the whole scene: the place, the subject in it, the weather in front."""
        data, scene = scene_data(), self.scene
        place = data["places"][scene.place]
        self.draw(place["marks"], (self.width / 2, self.height), self.unit)
        if scene.subject:
            subject = {**place, **data["subjects"][scene.subject]}
            lean = 0.0 if subject.get("centred") else self.side * self.random.uniform(0.08, 0.17)
            foot = (self.width * (0.5 + lean), self.height * subject["foot"])
            self.subject(foot, self.unit * subject["size"])
        self.stamp("weather", (0, 0), 1)

    def subject(self, foot: Point, size: float) -> None:
        """Draw the scene's subject alone, standing at ``foot``; a star when it has none."""
        subject = scene_data()["subjects"][self.scene.subject or "star"]
        sway = subject.get("sway", 0.0) * size * math.sin(math.tau * self.phase)
        self.draw(subject["marks"], (foot[0], foot[1] + sway), size)


# Figures: their outlines in coordinates of their own, read once.


@cache
def parse_colour(text: str) -> tuple[tuple[str, str], float, float, float]:
    """Read a colour: two names, how much of the second, how much lighter, and how opaque."""
    found: list[tuple[str, ...]] = _COLOUR.findall(text)
    name, share, other, light, alpha = found[0]
    return (name, other or name), float(share or 0), float(light or 0), float(alpha or 1)


@cache
def parse_figure(line: str) -> list[list[Point]]:
    """Read one figure of ``scenes.toml``: its outline, and the mirrored one of a pair."""
    kind, _, *rest = line.split()
    points = [(float(x), float(y)) for x, y in (each.split(",") for each in rest)]
    if kind in {"blob", "pair"}:
        points = smooth(points)
    elif kind in {"oval", "ovals"}:
        turn = points[2][0] if len(points) > 2 else 0.0
        points = ellipse(points[0], points[1], 20 if max(points[1]) < 0.06 else 48, turn)
    return [points, [(-x, y) for x, y in points]][: 2 if kind in {"pair", "ovals"} else 1]


def smooth(points: Sequence[Point], steps: int = 7) -> list[Point]:
    """Return the closed Catmull-Rom curve through the points, as a polygon."""
    ring, path = [*points[-1:], *points, *points[:2]], list[Point]()
    for i in range(len(points)):
        for t in (step / steps for step in range(steps)):
            x, y = (
                q + (r - p + (2 * p - 5 * q + 4 * r - s + (3 * (q - r) + s - p) * t) * t) * t / 2
                for p, q, r, s in zip(*ring[i : i + 4], strict=True)
            )
            path.append((x, y))
    return path


def ellipse(centre: Point, radii: Point, corners: int = 0, turn: float = 0.0) -> list[Point]:
    """Return an ellipse, turned clockwise by ``turn`` radians, with as many corners as it needs."""
    corners, cos, sin = corners or 4 + round(3 * max(radii) ** 0.5), math.cos(turn), math.sin(turn)
    angles = [math.tau * i / corners for i in range(corners)]
    spots = [(radii[0] * math.cos(a), radii[1] * math.sin(a)) for a in angles]
    return [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in spots]


def from_hex(text: str) -> Colour:
    """Read ``#rrggbb``."""
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return ``share`` of the other colour in the one."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def lit(colour: Colour, amount: float) -> Colour:
    """Return a lighter colour for a positive amount (to 1), a darker one for a negative."""
    return mix(colour, WHITE if amount > 0 else (10, 8, 24), abs(amount))


# Layers: what only places and the weather have.


def _stamp(canvas: Canvas, name: str, top: str = "sun", size: str = ".15") -> None:
    """A stamp below the sun, its top at this share of the height; or where the sun is."""
    high = float(size) * canvas.unit
    y = canvas.sun[1] - high / 2 if top == "sun" else float(top) * canvas.height
    canvas.stamp(name, (canvas.sun[0], y + high), high)


def _wall(canvas: Canvas, *colours: str) -> None:
    """A background of colours from top to bottom instead of the sky's."""
    canvas.sky = [canvas.colour(each)[0] for each in colours]


def _scatter(canvas: Canvas, count: str, *places: str) -> None:
    """Ovals in a band of the image; an animation moves them across and down.

    After their number: top and bottom of the band, radii, movement, colours.
    """
    chance, unit, phase = canvas.random, canvas.unit, canvas.phase
    (top, bottom), (rx, ry), (across, down) = (map(float, each.split(",")) for each in places[:3])
    for i in range(int(count) * (2 + canvas.detail) // 2):
        x, y, size = chance.random(), chance.random(), chance.uniform(0.45, 1.2) * unit
        y = (top + (bottom - top) * ((y + down * phase) % 1.0)) * canvas.height
        x = ((x + across * phase + 0.1) % 1.2 - 0.1) * canvas.width
        oval, colour = ellipse((x, y), (rx * size, ry * size)), places[3 + i % len(places[3:])]
        canvas.shapes.append(Shape(oval, *canvas.colour(colour)))


def _row(canvas: Canvas, names: str, colour: str, count: str, level: str, size: str) -> None:
    """Stamps side by side, of a height, or (level ``on``) along the top of the hill before."""
    chance, unit, fill = canvas.random, canvas.unit, canvas.colour(colour)[0]
    many = math.ceil(float(count) * canvas.width / unit)
    for i in range(many):
        x, pick, tall = (i + chance.random()) / many, chance.choice(names.split(",")), float(size)
        across, down = canvas.horizon[int(x * 41)] if level == "on" else (
            x * canvas.width, float(level) * canvas.height)  # fmt: skip
        canvas.palette["stamp"] = lit(fill, chance.uniform(-0.08, 0.08))
        canvas.stamp(pick, (across, down), tall * unit * chance.uniform(0.75, 1.2))


def _ridge(
    canvas: Canvas, colour: str, level: str, swing: str, haze: str, deep: str = ".16"
) -> None:
    """A hill, or water, down to the bottom edge; hazy along its top, and so far down."""
    chance, w, h, fill = canvas.random, canvas.width, canvas.height, canvas.colour(colour)[0]
    waves = [(many * w / canvas.unit, chance.uniform(0, math.tau), 1 / many) for many in (1, 2.3)]
    canvas.horizon = []
    for t in (i / 40 for i in range(41)):
        rise = sum(size * math.sin(math.pi * many * t + start) for many, start, size in waves)
        canvas.horizon.append((w * t, h * (float(level) + float(swing) * rise)))
    step = float(deep) * h / _STRIPS
    for strip in range(_STRIPS):
        tone = mix(fill, canvas.palette["pale"], float(haze) * (1 - strip / _STRIPS))
        edge = [(x, y + step * strip) for x, y in canvas.horizon]
        end = step + (1 if strip < _STRIPS - 1 else h * 0.2)  # the next hill begins above that
        canvas.shapes.append(Shape([*edge, *((x, y + end) for x, y in reversed(edge))], tone))


_LAYERS: Final[Mapping[str, Callable[..., None]]] = MappingProxyType(
    {"stamp": _stamp, "wall": _wall, "scatter": _scatter, "row": _row, "ridge": _ridge}
)


# Shapes to pixels, with Pillow.


def rasterise(canvas: Canvas) -> Image:
    """Return the canvas as an RGB image of exactly its size."""
    # Sky and light change slowly: half the size, enlarged by `drawn_over`, looks the same.
    size = (math.ceil(canvas.width / 2), math.ceil(canvas.height / 2))
    column, last = pil.new("RGB", (1, size[1])), len(canvas.sky) - 1
    for row in range(size[1]):
        low, share = divmod(row / size[1] * last, 1.0)
        column.putpixel((0, row), mix(canvas.sky[int(low)], canvas.sky[int(low) + 1], share))
    image = column.resize(size, pil.Resampling.NEAREST)
    for glow in canvas.glows:
        (x, y), reach = glow.points[0], max(1, round(glow.radius / 2))
        # The gradient's level is 180 in the middle of its edges.
        fades = [round(255 * glow.alpha * max(0.0, 1 - level / 180) ** 2) for level in range(256)]
        fade = pil.radial_gradient("L").point(fades)
        fade = fade.resize((2 * reach, 2 * reach), pil.Resampling.BILINEAR)
        image.paste(glow.fill, (round(x / 2) - reach, round(y / 2) - reach), fade)
    return drawn_over(image, canvas)


def drawn_over(image: Image, canvas: Canvas) -> Image:
    """Return an RGB image, at the canvas's size, with the canvas's shapes on it, edges soft."""
    factor = 2 if canvas.width * canvas.height <= _TWICE_PIXELS else 1
    large = image.resize((canvas.width * factor, canvas.height * factor), pil.Resampling.NEAREST)
    solid, blended = ImageDraw.Draw(large), ImageDraw.Draw(large, "RGBA")
    for points, fill, alpha, _ in canvas.shapes:
        scaled = [(x * factor, y * factor) for x, y in points]
        if alpha >= 1:
            solid.polygon(scaled, fill=fill)
        else:
            blended.polygon(scaled, fill=(*fill, round(alpha * 255)))
    return large.reduce(factor)


def cut_out(canvas: Canvas) -> Image:
    """Return the shapes as a sticker: RGBA, with a white rim, and clear around it."""
    image = drawn_over(pil.new("RGB", (1, 1), WHITE), canvas)
    canvas.shapes = [Shape(each.points, WHITE) for each in canvas.shapes if each.alpha == 1]
    mask = drawn_over(pil.new("RGB", (1, 1)), canvas).convert("L")
    mask = mask.filter(ImageFilter.GaussianBlur(canvas.unit * 0.007))
    image.putalpha(mask.point([min(255, max(0, (level - 12) * 12)) for level in range(256)]))
    return image
