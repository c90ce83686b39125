"""Places with water, houses or walls: sea, city, room, studio, space; and the weather."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gptimage.sandbox._scene import Scene
from gptimage.sandbox._scenery import Light, backdrop, ground, peaks, ridge, stars
from gptimage.sandbox.canvas import INK, WHITE, Canvas, Colour, Point, lit, mix, turned


_LAMPS: Final[tuple[Colour, ...]] = ((255, 214, 130), (255, 190, 96), (190, 220, 255))


def sea(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Water to the horizon, an island, the sun's path on the waves, a shore."""
    sun = backdrop(canvas, light)
    w, h = canvas.width, canvas.height
    horizon = 0.56 * h
    peaks(canvas, light, 0.53, snow=False)
    deep = scene.tint if scene.tint and not scene.subject else (18, 74, 110)
    deep = mix(deep, light.near, 0.6 if light.night else 0.3)
    pale = mix(light.sky[-1], deep, 0.3)
    canvas.shape([(0, horizon), (w, horizon), (w, h), (0, h)], pale)
    canvas.veil(horizon, h, deep, 0.0, 1.0)
    _sun_path(canvas, sun, horizon, light)
    _waves(canvas, horizon, mix(pale, WHITE, 0.4))
    shore = mix(light.near, (60, 56, 62), 0.4)
    contour = [(x, y + (0.05 * math.cos(x / w * math.pi * 1.3)) * h)
               for x, y in ridge(canvas, 0.92, 0.008)]  # fmt: skip
    ground(canvas, [(x, y - h * 0.006) for x, y in contour], mix(pale, WHITE, 0.6))
    ground(canvas, contour, shore)


def _sun_path(canvas: Canvas, sun: Point, horizon: float, light: Light) -> None:
    chance, rows = canvas.random, 26 + 10 * canvas.detail
    for i in range(rows):
        depth = (i / rows) ** 1.6
        y = horizon + (canvas.height - horizon) * depth + 1
        wide = canvas.unit * (0.05 + 0.17 * depth) * chance.uniform(0.35, 1.0)
        sway = math.sin(math.tau * (canvas.phase + chance.random())) * wide * 0.25
        x = sun[0] + chance.uniform(-0.4, 0.4) * wide + sway
        thick = canvas.unit * (0.0012 + 0.005 * depth)
        canvas.oval((x, y), (wide / 2, thick), light.sun, 0.6 - 0.3 * depth)


def _waves(canvas: Canvas, horizon: float, crest: Colour) -> None:
    chance = canvas.random
    for _ in range(40 + 40 * canvas.detail):
        depth = chance.random() ** 1.5
        y = horizon + (canvas.height - horizon) * (0.03 + 0.95 * depth)
        long = canvas.unit * (0.015 + 0.07 * depth)
        x = (chance.random() + canvas.phase * 0.08 + 0.02 * math.sin(depth * 40)) % 1.0
        canvas.oval(
            (x * canvas.width, y), (long, canvas.unit * (0.0006 + 0.002 * depth)), crest, 0.25
        )


def city(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Rows of towers, lit windows after dark, and a street that mirrors them when wet."""
    backdrop(canvas, light)
    lit_up = light.night or scene.light == "dusk"
    street = canvas.height * 0.84
    for row in range(3):
        fill = mix(mix(light.sky[-1], light.far, 0.8), light.near, (row + 0.4) / 3)
        _towers(canvas, row, street, fill, lit_up=lit_up)
        canvas.veil(street - canvas.height * 0.3, street, light.sky[-1], 0.0, 0.28 - 0.1 * row)
    w, h = canvas.width, canvas.height
    asphalt = mix(light.near, (44, 46, 58), 0.5)
    canvas.shape([(0, street), (w, street), (w, h), (0, h)], asphalt)
    canvas.veil(street, h, lit(asphalt, -0.4), 0.0, 0.8)
    if lit_up or scene.weather == "rain":
        _mirrored(canvas, street)


def _towers(canvas: Canvas, row: int, street: float, fill: Colour, *, lit_up: bool) -> None:
    chance, unit = canvas.random, canvas.unit
    x = -unit * 0.05
    while x < canvas.width:
        wide = unit * chance.uniform(0.07, 0.13) * (0.75 + 0.3 * row)
        tall = canvas.height * chance.uniform(0.2, 0.46) * (1.08 - 0.2 * row)
        top = street - tall
        tone = mix(fill, lit(fill, 0.12), chance.random())
        canvas.shape([(x, top), (x + wide, top), (x + wide, street), (x, street)], tone)
        side = x + wide * 0.78
        canvas.shape([(side, top), (x + wide, top), (x + wide, street), (side, street)],
                     lit(tone, -0.18))  # fmt: skip
        if chance.random() < 0.3:
            canvas.line(
                [(x + wide / 2, top), (x + wide / 2, top - unit * 0.05)], unit * 0.004, tone
            )
        if row or canvas.detail:
            _windows(canvas, (x, top), (wide * 0.78, tall), tone, lit_up=lit_up)
        x += wide * chance.uniform(0.92, 1.25)


def _windows(canvas: Canvas, corner: Point, size: Point, tone: Colour, *, lit_up: bool) -> None:
    chance, step = canvas.random, canvas.unit * (0.019 if canvas.detail > 1 else 0.026)
    across, down = int(size[0] / step), int(size[1] / step / 1.25)
    for i in range(across):
        for j in range(down):
            glowing = lit_up and chance.random() < 0.42
            if not glowing and not chance.random() < (0.2 if lit_up else 0.75):
                continue
            lamp = _LAMPS[chance.choices((0, 1, 2), (6, 3, 1))[0]]
            fill = mix(tone, lamp, 0.9) if glowing else lit(tone, 0.1)
            x = corner[0] + size[0] * (i + 0.28) / across
            y = corner[1] + step * (0.5 + 1.25 * j)
            wide, tall = size[0] / across * 0.5, step * 0.62
            canvas.shape([(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)], fill)


def _mirrored(canvas: Canvas, street: float) -> None:
    chance = canvas.random
    for _ in range(50 + 25 * canvas.detail):
        x, lamp = chance.uniform(0, canvas.width), _LAMPS[chance.randrange(3)]
        long = (canvas.height - street) * chance.uniform(0.3, 1.0)
        thick = canvas.unit * chance.uniform(0.002, 0.008)
        y = street + chance.uniform(0, 0.3) * long
        canvas.oval((x, y + long / 2), (thick, long / 2), lamp, chance.uniform(0.08, 0.3))


def room(canvas: Canvas, scene: Scene, light: Light) -> None:
    """A wall, a window with the hour outside, and a wooden table top."""
    w, h, unit = canvas.width, canvas.height, canvas.unit
    wall = mix(scene.tint or (214, 190, 166), (58, 48, 62), 0.62 if light.night else 0.1)
    if scene.tint and scene.subject:
        wall = mix((214, 190, 166), (58, 48, 62), 0.62 if light.night else 0.1)
    canvas.sky(lit(wall, -0.22), wall, lit(wall, 0.12))
    _window(canvas, (w * 0.5 + unit * 0.1, h * 0.08), (unit * 0.34, h * 0.46), light, wall)
    canvas.glow((w * 0.5 + unit * 0.3, h * 0.3), unit * 0.7, light.sky[-1], 0.35)
    _shelf(canvas, (w * 0.5 - unit * 0.42, h * 0.36), wall)
    edge = h * 0.66
    wood = mix((146, 92, 56), (36, 24, 32), 0.5 if light.night else 0.05)
    canvas.shape([(0, edge), (w, edge), (w, h), (0, h)], wood)
    _grain(canvas, edge, wood)
    canvas.veil(edge, h, lit(wood, -0.55), 0.0, 0.65)
    canvas.shape([(0, edge), (w, edge), (w, edge + h * 0.012), (0, edge + h * 0.012)],
                 lit(wood, 0.22))  # fmt: skip
    canvas.glow((w * 0.56, edge + h * 0.12), unit * 0.6, light.halo, 0.28)


def _window(canvas: Canvas, corner: Point, size: Point, light: Light, wall: Colour) -> None:
    (x, y), (wide, tall) = corner, size
    frame = lit(wall, 0.45)
    bar = canvas.unit * 0.012
    canvas.shape([(x - bar, y - bar), (x + wide + bar, y - bar), (x + wide + bar, y + tall + bar),
                  (x - bar, y + tall + bar)], frame)  # fmt: skip
    steps = len(light.sky) * 16
    for i in range(steps):
        place = i / (steps - 1) * (len(light.sky) - 1)
        low = min(int(place), len(light.sky) - 2)
        fill = mix(light.sky[low], light.sky[low + 1], place - low)
        top, bottom = y + tall * i / steps, y + tall * (i + 1) / steps
        canvas.shape([(x, top), (x + wide, top), (x + wide, bottom), (x, bottom)], fill)
    canvas.oval((x + wide * 0.68, y + tall * 0.36), (wide * 0.09, wide * 0.09), light.sun)
    outline = ((0, 1), (0, 0.78), (0.3, 0.66), (0.62, 0.8), (1, 0.7), (1, 1))
    hill = [(x + wide * across, y + tall * down) for across, down in outline]
    canvas.shape(hill, mix(light.far, light.near, 0.5))
    canvas.line([(x + wide / 2, y), (x + wide / 2, y + tall)], bar * 0.8, frame)
    canvas.line([(x, y + tall / 2), (x + wide, y + tall / 2)], bar * 0.8, frame)


def _shelf(canvas: Canvas, corner: Point, wall: Colour) -> None:
    (x, y), unit, chance = corner, canvas.unit, canvas.random
    place, board = x + unit * 0.02, lit(wall, -0.45)
    while place < x + unit * 0.32:
        wide, tall = unit * chance.uniform(0.016, 0.032), unit * chance.uniform(0.09, 0.15)
        cover = mix(wall, ((150, 70, 60), (60, 92, 110), (196, 152, 84), (90, 110, 84))[
            chance.randrange(4)], 0.7)  # fmt: skip
        canvas.shape(
            [(place, y - tall), (place + wide, y - tall), (place + wide, y), (place, y)], cover
        )
        place += wide + unit * 0.002
    canvas.shape([(x, y), (x + unit * 0.38, y), (x + unit * 0.38, y + unit * 0.016),
                  (x, y + unit * 0.016)], board)  # fmt: skip


def _grain(canvas: Canvas, edge: float, wood: Colour) -> None:
    chance, w, h = canvas.random, canvas.width, canvas.height
    for i in range(14 + 12 * canvas.detail):
        y = edge + (h - edge) * ((i + chance.random()) / (14 + 12 * canvas.detail)) ** 1.3
        bend = chance.uniform(-0.006, 0.006) * h
        path = [(w * t / 6, y + bend * math.sin(t + i)) for t in range(7)]
        tone = lit(wood, chance.uniform(-0.3, 0.12))
        canvas.line(path, canvas.unit * chance.uniform(0.001, 0.005), tone, 0.5)


def studio(canvas: Canvas, scene: Scene, light: Light) -> None:
    """A plain backdrop with a soft spotlight."""
    pastel = turned((210, 168, 150), canvas.random.choice((0, 40, 110, 190, 230, 310)))
    base = mix(pastel, (236, 234, 230), 0.25)
    if light.night:
        base = mix(base, (20, 22, 40), 0.75)
    canvas.sky(lit(base, -0.1), base, lit(base, 0.3), lit(base, 0.05))
    middle = (canvas.width / 2, canvas.height * 0.46)
    canvas.glow(middle, canvas.unit * 0.75, lit(base, 0.7), 0.75)
    canvas.veil(canvas.height * 0.74, canvas.height, lit(base, -0.25), 0.0, 0.55)


def space(canvas: Canvas, scene: Scene, light: Light) -> None:
    """Stars, nebulae and a ringed planet."""
    chance, w, h, unit = canvas.random, canvas.width, canvas.height, canvas.unit
    canvas.sky((6, 6, 20), (16, 12, 44), (34, 18, 62), (14, 12, 40))
    for tone in (scene.tint or (190, 70, 140), (60, 110, 210), (120, 70, 200), (230, 140, 90)):
        spot = (w * chance.uniform(0.1, 0.9), h * chance.uniform(0.1, 0.8))
        canvas.glow(spot, unit * chance.uniform(0.4, 0.8), tone, 0.34)
    stars(canvas, 180 + 80 * canvas.detail, h)
    planet, size = (w * 0.5 - unit * 0.22, h * 0.34), unit * 0.15
    tone = mix(scene.tint or (222, 150, 96), light.sun, 0.2)
    _ring(canvas, planet, size, tone, front=False)
    canvas.oval(planet, (size, size), tone)
    for i, share in enumerate((-0.5, -0.16, 0.2, 0.52)):
        wide = size * math.sqrt(1 - share * share) * 0.97
        canvas.oval((planet[0], planet[1] + share * size), (wide, size * 0.07),
                    lit(tone, 0.18 if i % 2 else -0.14))  # fmt: skip
    canvas.oval(
        (planet[0] + size * 0.3, planet[1] + size * 0.16), (size * 0.78, size * 0.86), INK, 0.22
    )
    _ring(canvas, planet, size, tone, front=True)
    moon = (w * 0.5 + unit * 0.36, h * 0.74)
    canvas.oval(moon, (unit * 0.03, unit * 0.03), (206, 204, 214))


def _ring(canvas: Canvas, planet: Point, size: float, tone: Colour, *, front: bool) -> None:
    start = 0.0 if front else math.pi
    arc = [start + math.pi * i / 30 for i in range(31)]
    for reach, shade in ((1.75, 0.35), (1.55, 0.1)):
        path = [(planet[0] + size * reach * math.cos(a), planet[1] + size * 0.42 * reach / 1.75
                 * math.sin(a) - size * 0.12 * math.cos(a)) for a in arc]  # fmt: skip
        canvas.line(path, size * 0.09, lit(tone, shade), 0.85)


def weather(canvas: Canvas, scene: Scene) -> None:
    """Falling snow or rain, in front of everything."""
    chance, w, h, unit = canvas.random, canvas.width, canvas.height, canvas.unit
    if scene.weather == "snow":
        for _ in range(70 + 70 * canvas.detail):
            size = unit * chance.uniform(0.0012, 0.0045)
            y = (chance.random() + canvas.phase * (1 if size < unit * 0.003 else 2)) % 1.0
            x = chance.random() * w + math.sin(math.tau * (canvas.phase + y)) * unit * 0.01
            canvas.oval((x, y * h), (size, size), WHITE, 0.8)
    if scene.weather == "rain":
        for _ in range(90 + 70 * canvas.detail):
            x, y = chance.random() * w, (chance.random() + canvas.phase * 2) % 1.0 * h
            long = unit * chance.uniform(0.02, 0.06)
            canvas.line([(x, y), (x - long * 0.22, y + long)], unit * 0.0016, (214, 228, 244), 0.3)


BUILT: Final[Mapping[str, Callable[[Canvas, Scene, Light], None]]] = MappingProxyType(
    {"sea": sea, "city": city, "room": room, "studio": studio, "space": space}
)
"""The places of this file, by name."""
