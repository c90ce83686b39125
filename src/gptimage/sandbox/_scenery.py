"""Places the sandbox draws: sky first, then layers towards the viewer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from gptimage.sandbox._scene import Scene
from gptimage.sandbox.canvas import WHITE, Canvas, Colour, Point, lit, mix, turned


@frozen
class Light:
    """The colours of an hour.

    Attributes:
        sky: From the zenith to the horizon.
        sun: The disc of the sun or moon.
        halo: The light around it.
        far: The farthest hills.
        near: The nearest ground.
        night: Whether stars are out and windows lit.
        side: 1 with the sun on the left and the subject on the right, -1 the other way round.
    """

    sky: tuple[Colour, ...]
    sun: Colour
    halo: Colour
    far: Colour
    near: Colour
    night: bool = False
    side: int = 1


_LIGHTS: Final[Mapping[str, Light]] = MappingProxyType(
    {
        "day": Light(
            ((74, 150, 214), (128, 190, 232), (190, 224, 240), (240, 240, 226)),
            (255, 250, 226), (255, 244, 200), (150, 192, 204), (44, 104, 84),
        ),
        "dusk": Light(
            ((44, 36, 84), (124, 62, 110), (222, 104, 100), (255, 176, 104), (255, 222, 160)),
            (255, 238, 196), (255, 206, 130), (206, 118, 116), (40, 26, 58),
        ),
        "dawn": Light(
            ((112, 142, 196), (176, 174, 206), (238, 190, 186), (255, 226, 196)),
            (255, 244, 220), (255, 226, 190), (178, 170, 194), (58, 84, 102),
        ),
        "night": Light(
            ((8, 12, 34), (16, 28, 66), (34, 56, 104), (72, 96, 140)),
            (244, 240, 220), (170, 190, 230), (54, 76, 118), (8, 14, 32), night=True,
        ),
    }
)  # fmt: skip
_SNOW: Final = {"day": (228, 238, 246), "dusk": (214, 186, 204), "dawn": (226, 220, 234)}
_AUTUMN: Final = ((196, 92, 40), (222, 138, 48), (172, 62, 44))


def hour(scene: Scene) -> Light:
    """The light of a scene, its hue turned a little so that no two are quite alike."""
    base = _LIGHTS[scene.light]
    chance = scene.chance()
    turn, side = chance.uniform(-7, 7), chance.choice((-1, 1))
    return Light(
        tuple(turned(c, turn) for c in base.sky), base.sun, base.halo,
        turned(base.far, turn), turned(_ground(base.near, scene), turn / 2), base.night, side,
    )  # fmt: skip


def _ground(near: Colour, scene: Scene) -> Colour:
    """The colour of the nearest ground: the hour's, under snow or fallen leaves."""
    if scene.weather == "snow":
        return _SNOW.get(scene.light, (128, 148, 190))
    if scene.weather == "autumn":
        return mix(near, (150, 84, 40), 0.5)
    return near


def backdrop(canvas: Canvas, light: Light) -> Point:
    """Sky, stars, sun or moon, clouds. Returns where the sun is."""
    canvas.sky(*light.sky)
    chance, w, h = canvas.random, canvas.width, canvas.height
    sun = (w * (0.5 - light.side * chance.uniform(0.12, 0.28)), h * chance.uniform(0.2, 0.34))
    if light.night:
        stars(canvas, 60 + 40 * canvas.detail, h * 0.6)
    canvas.glow(sun, canvas.unit * 0.75, light.halo, 0.5)
    canvas.glow(sun, canvas.unit * 0.28, light.halo, 0.75)
    size = canvas.unit * (0.06 if light.night else 0.075)
    canvas.oval(sun, (size, size), light.sun)
    if light.night:  # craters
        for dx, dy, r in ((-0.3, -0.2, 0.2), (0.3, 0.25, 0.26), (0.15, -0.45, 0.13)):
            spot = (sun[0] + dx * size, sun[1] + dy * size)
            canvas.oval(spot, (size * r, size * r), lit(light.sun, -0.1))
    _clouds(canvas, light)
    return sun


def stars(canvas: Canvas, count: int, below: float) -> None:
    """Stars that twinkle with the phase of an animation."""
    chance = canvas.random
    for _ in range(count):
        x, y = chance.uniform(0, canvas.width), chance.uniform(0, below)
        twinkle = math.sin(math.tau * (canvas.phase + chance.random()))
        size = canvas.unit * chance.uniform(0.0009, 0.0026)
        canvas.oval((x, y), (size, size), WHITE, 0.55 + 0.3 * twinkle)


def _clouds(canvas: Canvas, light: Light) -> None:
    chance, w = canvas.random, canvas.width
    colour = light.sky[-1] if light.night else mix(light.sky[-1], light.sun, 0.5)
    for _ in range(2 + canvas.detail):
        x, y = chance.uniform(0, w), canvas.height * chance.uniform(0.06, 0.36)
        x = (x + canvas.phase * w * 0.12 + w * 0.2) % (w * 1.4) - w * 0.2
        long, high = (
            canvas.unit * chance.uniform(0.1, 0.24),
            canvas.unit * chance.uniform(0.018, 0.04),
        )
        tops = [(x + long * (k / 3 - 1), y - high * chance.uniform(0.3, 1.6)) for k in range(7)]
        belly = [(x + long * 0.6, y + high * 0.25), (x - long * 0.5, y + high * 0.25)]
        outline = [(x - long * 1.25, y), *tops, (x + long * 1.3, y), *belly]
        canvas.blob(outline, colour, 0.16 if light.night else 0.36)


def ridge(canvas: Canvas, level: float, swing: float, jagged: float = 0.0) -> list[Point]:
    """The contour of a hill range around ``level`` (0 top, 1 bottom), left to right."""
    chance, w, h = canvas.random, canvas.width, canvas.height
    waves = [
        (chance.uniform(0.6, 1.4) * k * w / canvas.unit, chance.uniform(0, math.tau), 1 / k)
        for k in (1, 2.3, 4.7)
    ]
    points: list[Point] = []
    for i in range(97):
        t = i / 96
        y = sum(size * math.sin(math.tau * t * many * 0.5 + start) for many, start, size in waves)
        y += jagged * chance.uniform(-1, 1)
        points.append((t * w, (level + swing * y / 1.7) * h))
    return points


def ground(canvas: Canvas, contour: list[Point], fill: Colour) -> None:
    """Everything below a contour."""
    canvas.shape([*contour, (canvas.width, canvas.height), (0, canvas.height)], fill)


def hills(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Mountains and hills in fading layers, trees on the nearer ones."""
    backdrop(canvas, light)
    peaks(canvas, light, 0.47, snow=scene.weather == "snow")
    layers = 3 + min(2, canvas.detail)
    for i in range(layers):
        share = (i + 1) / layers
        fill = mix(light.far, light.near, share**1.3)
        level = 0.52 + 0.36 * share
        contour = ridge(canvas, level, 0.045 * (1.2 - share / 2))
        ground(canvas, contour, fill)
        if share > 0.3:
            _pines_along(canvas, scene, contour, fill, share)
        canvas.veil((level - 0.01) * canvas.height, (level + 0.16) * canvas.height,
                    light.sky[-1], 0.0, 0.2 * (1 - share))  # fmt: skip


def peaks(canvas: Canvas, light: Light, level: float, *, snow: bool) -> None:
    """A far mountain range with lit flanks."""
    chance, w, h = canvas.random, canvas.width, canvas.height
    fill = mix(light.sky[-1], light.far, 0.75)
    cap = mix(fill, WHITE, 0.75 if snow else 0.45)
    for i in range(3 + round(w / canvas.unit)):
        x, wide = w * (i + chance.uniform(0, 0.8)) / (2.6 + w / canvas.unit), canvas.unit * 0.42
        top, base = (level - chance.uniform(0.1, 0.22)) * h, (level + 0.12) * h
        canvas.shape([(x, top), (x + wide, base), (x - wide, base)], fill)
        lean = chance.uniform(-0.06, 0.1) * wide
        canvas.shape([(x, top), (x + wide, base), (x + lean, base)], lit(fill, -0.13))
        drop = (base - top) * 0.28
        jag = [(x + wide * 0.28, top + drop), (x + wide * 0.12, top + drop * 0.75),
               (x, top + drop * 1.15), (x - wide * 0.13, top + drop * 0.8),
               (x - wide * 0.28, top + drop)]  # fmt: skip
        canvas.shape([(x, top), *jag], cap)
    ground(canvas, [(0, (level + 0.119) * h), (w, (level + 0.119) * h)], fill)
    canvas.veil((level - 0.1) * h, (level + 0.3) * h, light.sky[-1], 0.0, 1.0)


def _pines_along(
    canvas: Canvas, scene: Scene, contour: list[Point], fill: Colour, share: float
) -> None:
    chance = canvas.random
    count = round((5 + 5 * canvas.detail) * canvas.width / canvas.unit * (1.3 - share))
    dark = _needles(scene, fill)
    for _ in range(count):
        x, y = contour[chance.randrange(1, len(contour) - 1)]
        tall = canvas.unit * (0.03 + 0.075 * share) * chance.uniform(0.7, 1.25)
        pine(canvas, (x, y + tall * 0.12), tall, mix(dark, fill, chance.uniform(0, 0.3)), scene)


def _needles(scene: Scene, fill: Colour) -> Colour:
    """Trees are darker than the ground they stand on, the more so in snow."""
    return mix(fill, (40, 70, 88), 0.7) if scene.weather == "snow" else lit(fill, -0.28)


def pine(canvas: Canvas, foot: Point, tall: float, fill: Colour, scene: Scene) -> None:
    """A fir of three tiers, white on the weather side when it snows."""
    x, y = foot
    if scene.weather == "autumn":
        leaf = mix(fill, _AUTUMN[canvas.random.randrange(3)], 0.75)
        canvas.line([(x, y), (x, y - tall * 0.5)], tall * 0.07, lit(fill, -0.3))
        canvas.oval((x, y - tall * 0.62), (tall * 0.26, tall * 0.36), leaf)
        canvas.oval((x - tall * 0.06, y - tall * 0.7), (tall * 0.14, tall * 0.2), lit(leaf, 0.14))
        return
    for tier in range(3):
        top, wide = y - tall * (1 - 0.26 * tier), tall * (0.15 + 0.075 * tier)
        low = top + tall * 0.44
        canvas.shape([(x, top), (x + wide, low), (x - wide, low)], fill)
        if scene.weather == "snow":
            canvas.shape([(x, top), (x - wide, low), (x - wide * 0.1, top + tall * 0.3)],
                         mix(fill, WHITE, 0.8))  # fmt: skip
        elif tall > canvas.unit * 0.06:
            canvas.shape([(x, top), (x - wide, low), (x - wide * 0.3, low)], lit(fill, 0.1))


def forest(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Firs in layers, lost in the mist behind."""
    backdrop(canvas, light)
    h, chance = canvas.height, canvas.random
    layers = 3 + min(2, canvas.detail)
    for i in range(layers):
        share = (i + 1) / layers
        fill = mix(light.far, light.near, share)
        level = 0.5 + 0.34 * share
        contour = ridge(canvas, level, 0.02)
        trees = round((30 - 20 * share) * canvas.width / canvas.unit)
        for place in range(trees):
            middle = abs(place / trees - 0.5) * 2
            if i == layers - 1 and middle < 0.55:
                continue  # a clearing in front
            x = canvas.width * (place + chance.uniform(-0.2, 0.8)) / trees
            tall = canvas.unit * (0.16 + 0.34 * share) * chance.uniform(0.7, 1.15)
            tree = mix(_needles(scene, fill), fill, chance.uniform(0, 0.3))
            pine(canvas, (x, (level + 0.02) * h), tall, tree, scene)
        ground(canvas, contour, fill)
        canvas.veil((level - 0.2) * h, (level + 0.05) * h, light.sky[-1], 0.0, 0.36 * (1 - share))


def meadow(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Green hills and a field of flowers."""
    green = mix((96, 158, 74), light.near, 0.5 if light.night else 0.15)
    soft = Light(light.sky, light.sun, light.halo, mix(light.far, green, 0.3), green,
                 light.night, light.side)  # fmt: skip
    hills(canvas, scene, soft)
    chance, unit = canvas.random, canvas.unit
    petals = scene.tint or (236, 120, 140), (250, 210, 90), (244, 240, 236)
    for i in range(60 + 60 * canvas.detail):
        depth = math.sqrt((i + 1) / (61 + 60 * canvas.detail))
        x, y = chance.uniform(0, canvas.width), canvas.height * (0.86 + 0.15 * depth)
        size = unit * 0.008 * (0.5 + depth)
        canvas.line([(x, y), (x, y - size * 3)], size * 0.3, lit(green, -0.25))
        bloom = mix(petals[i % 3], light.near, 0.5 if light.night else 0.0)
        canvas.oval((x, y - size * 3), (size, size * 0.8), bloom)


def desert(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Dunes with a lit and a shaded side."""
    sun = backdrop(canvas, light)
    warm = scene.tint or (226, 160, 96)
    chance, w, h = canvas.random, canvas.width, canvas.height
    far = mix(mix(warm, light.sky[-1], 0.6), light.near, 0.35 if light.night else 0.05)
    near = mix(warm, light.near, 0.55 if light.night else 0.16)
    layers = 3 + min(2, canvas.detail)
    for i in range(layers):
        share = (i + 1) / layers
        fill = mix(far, near, share)
        level = 0.5 + 0.3 * share
        ground(canvas, ridge(canvas, level, 0.02), fill)
        x, wide = w * chance.uniform(0.1, 0.9), canvas.unit * (0.45 + 0.5 * share)
        top = (level - 0.05 - 0.07 * share) * h
        base = (level + 0.06) * h
        bright, shaded = lit(fill, 0.14), lit(fill, -0.2)
        left, right = (bright, shaded) if sun[0] < x else (shaded, bright)
        crest = [(x, top), (x + wide * 0.05, top + (base - top) * 0.4),
                 (x - wide * 0.1, base), (x - wide * 0.02, base)]  # fmt: skip
        canvas.blob([(x - wide, base), (x - wide * 0.4, (top + base) / 2), (x, top),
                     (x + wide * 0.4, (top + base) / 2), (x + wide, base)], right)  # fmt: skip
        canvas.blob([(x - wide, base), (x - wide * 0.4, (top + base) / 2), *crest], left)
        canvas.veil((level + 0.02) * h, (level + 0.16) * h, fill, 0.0, 0.9)
    foreground = ridge(canvas, 0.86, 0.02)
    ground(canvas, foreground, near)


DRAWN: Final[Mapping[str, Callable[[Canvas, Scene, Light], None]]] = MappingProxyType(
    {"hills": hills, "forest": forest, "meadow": meadow, "desert": desert}
)
"""The landscapes of this file, by place."""
