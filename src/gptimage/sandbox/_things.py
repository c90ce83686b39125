"""Things the sandbox can draw, each in its own coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gptimage.sandbox.canvas import INK, WHITE, Colour, Pen, ellipse, lit, mix


_PAPER: Final[Colour] = (248, 244, 236)
_WARM: Final[Colour] = (255, 224, 150)


# Points read better in rows than one to a line.
# fmt: off


def cup(pen: Pen, tint: Colour | None) -> None:
    """A cup of coffee on its saucer, steaming."""
    glaze = tint or (238, 232, 222)
    shade = lit(glaze, -0.16)
    pen.shadow(0.62, 0.3)
    pen.oval((0, 0.93), (0.56, 0.085), shade)
    pen.oval((0, 0.915), (0.56, 0.08), lit(glaze, 0.1))
    pen.oval((0, 0.915), (0.38, 0.05), lit(glaze, -0.1))
    pen.line([(0.28, 0.5), (0.5, 0.48), (0.53, 0.62), (0.42, 0.74), (0.24, 0.78)], 0.06, shade)
    pen.blob([(-0.38, 0.42), (-0.375, 0.55), (-0.31, 0.76), (-0.19, 0.9), (0, 0.925), (0.19, 0.9),
              (0.31, 0.76), (0.375, 0.55), (0.38, 0.42), (0, 0.4)], glaze)
    pen.blob([(0.38, 0.43), (0.375, 0.55), (0.31, 0.76), (0.19, 0.9), (0.06, 0.92), (0.2, 0.78),
              (0.25, 0.6), (0.25, 0.46)], shade)
    pen.line([(-0.27, 0.56), (-0.23, 0.7), (-0.17, 0.8)], 0.035, lit(glaze, 0.55), 0.8)
    pen.oval((0, 0.42), (0.38, 0.088), lit(glaze, 0.25))
    pen.oval((0, 0.428), (0.345, 0.073), (92, 54, 34))
    pen.oval((0, 0.434), (0.31, 0.06), (168, 112, 66))
    pen.oval((0.02, 0.437), (0.2, 0.034), (222, 182, 134))
    pen.oval((0.03, 0.437), (0.1, 0.017), (172, 116, 70))
    sway = math.sin(math.tau * pen.canvas.phase) * 0.03
    for i, x in enumerate((-0.15, 0.01, 0.17)):
        bend, top = 0.045 + sway * (-1) ** i, 0.1 - 0.06 * (i % 2)
        pen.blob([(x, 0.4), (x - bend, 0.31), (x - bend * 0.2, 0.24), (x + bend, 0.17), (x, top),
                  (x + bend * 1.7, 0.17), (x + bend * 0.7, 0.25), (x + bend * 0.1, 0.32)],
                  WHITE, 0.26)


def bottle(pen: Pen, tint: Colour | None) -> None:
    """A glass bottle with a plain label."""
    glass = tint or (58, 118, 108)
    pen.shadow(0.32)
    pen.blob([(-0.075, 0.14), (0.075, 0.14), (0.085, 0.3), (0.2, 0.42), (0.22, 0.7), (0.2, 0.97),
              (0, 0.99), (-0.2, 0.97), (-0.22, 0.7), (-0.2, 0.42), (-0.085, 0.3)], glass)
    pen.blob([(0.05, 0.15), (0.075, 0.3), (0.2, 0.44), (0.215, 0.7), (0.195, 0.965), (0.1, 0.97),
              (0.12, 0.6), (0.04, 0.36)], lit(glass, -0.25))
    pen.line([(-0.15, 0.48), (-0.165, 0.7), (-0.15, 0.9)], 0.03, lit(glass, 0.6), 0.7)
    pen.shape([(-0.09, 0.04), (0.09, 0.04), (0.09, 0.155), (-0.09, 0.155)], lit(glass, -0.55))
    pen.shape([(-0.214, 0.56), (0.214, 0.56), (0.214, 0.82), (-0.214, 0.82)], _PAPER)
    pen.oval((0, 0.65), (0.045, 0.045), glass)
    for y, wide in ((0.73, 0.12), (0.765, 0.08)):
        pen.line([(-wide, y), (wide, y)], 0.012, lit(glass, -0.2))


def lighthouse(pen: Pen, tint: Colour | None) -> None:
    """A striped lighthouse on its rock, the lamp burning."""
    band = tint or (200, 62, 54)
    turn = math.cos(math.tau * pen.canvas.phase)
    for side in (-1, 1):
        far = side * (3 + 0.4 * turn)
        pen.shape([(0, 0.105), (far, -0.32), (far, 0.3)], _WARM, 0.16)
        pen.shape([(0, 0.105), (far, -0.14), (far, 0.14)], _WARM, 0.2)
    pen.blob([(-0.95, 1.4), (-0.62, 1.08), (-0.36, 0.94), (-0.16, 0.86), (0.14, 0.85), (0.34, 0.93),
              (0.62, 1.1), (0.95, 1.4)], (58, 54, 64))
    pen.blob([(-0.5, 1.1), (-0.24, 0.92), (-0.1, 0.9), (-0.16, 1.02), (-0.3, 1.2)], (84, 80, 92))
    pen.blob([(0.02, 1.06), (0.12, 0.93), (0.26, 0.97), (0.3, 1.1)], (72, 68, 78))
    for i in range(5):
        top, low = 0.2 + 0.136 * i, 0.2 + 0.136 * (i + 1)
        wide, wider = 0.082 + 0.1 * (top - 0.2), 0.082 + 0.1 * (low - 0.2)
        fill = band if i % 2 == 0 else _PAPER
        pen.shape([(-wide, top), (wide, top), (wider, low), (-wider, low)], fill)
        pen.shape([(wide * 0.3, top), (wide, top), (wider, low), (wider * 0.3, low)],
                   lit(fill, -0.2))
    for y in (0.4, 0.62):
        pen.shape([(-0.025, y), (0.01, y), (0.01, y + 0.06), (-0.025, y + 0.06)], INK)
    pen.shape([(-0.12, 0.185), (0.12, 0.185), (0.12, 0.215), (-0.12, 0.215)], INK)
    pen.shape([(-0.062, 0.06), (0.062, 0.06), (0.062, 0.185), (-0.062, 0.185)], _WARM)
    pen.canvas.glow(pen.at((0, 0.12)), pen.size * 0.26, _WARM, 0.85)
    pen.oval((0, 0.12), (0.034, 0.045), WHITE)
    pen.shape([(-0.085, 0.065), (0, -0.01), (0.085, 0.065)], lit(band, -0.25))
    pen.line([(0, 0.0), (0, -0.045)], 0.012, INK)


def boat(pen: Pen, tint: Colour | None) -> None:
    """A small sailing boat."""
    hull = tint or (178, 66, 58)
    rock = 0.02 * math.sin(math.tau * pen.canvas.phase)
    pen.oval((0, 0.985), (0.42, 0.02), WHITE, 0.35)
    pen.line([(rock, 0.84), (rock, 0.03)], 0.018, (96, 70, 56))
    pen.blob([(rock + 0.02, 0.06), (0.3, 0.5), (0.4, 0.76), (rock + 0.02, 0.78)], _PAPER)
    pen.blob([(rock + 0.02, 0.06), (0.12, 0.4), (0.14, 0.76), (rock + 0.02, 0.78)],
              lit(_PAPER, -0.08))
    pen.shape([(rock - 0.02, 0.14), (-0.3, 0.76), (rock - 0.02, 0.76)], lit(hull, 0.35))
    pen.blob([(-0.4, 0.82), (0.44, 0.82), (0.32, 0.97), (-0.26, 0.97)], hull)
    pen.line([(-0.38, 0.84), (0.42, 0.84)], 0.022, _PAPER)


def house(pen: Pen, tint: Colour | None) -> None:
    """A cabin with lit windows and a smoking chimney."""
    wall = tint or (150, 96, 64)
    pen.shadow(0.6)
    for i, (x, y, r) in enumerate(((0.24, 0.06, 0.05), (0.3, -0.04, 0.07), (0.22, -0.16, 0.09))):
        drift = 0.03 * math.sin(math.tau * (pen.canvas.phase + i / 3))
        pen.oval((x + drift, y), (r, r * 0.8), WHITE, 0.28)
    pen.shape([(0.19, 0.1), (0.29, 0.1), (0.29, 0.42), (0.19, 0.42)], lit(wall, -0.4))
    pen.shape([(-0.44, 0.46), (0.44, 0.46), (0.44, 0.99), (-0.44, 0.99)], wall)
    for y in (0.56, 0.66, 0.76, 0.86, 0.95):
        pen.line([(-0.44, y), (0.44, y)], 0.01, lit(wall, -0.22))
    pen.shape([(-0.54, 0.5), (0, 0.08), (0.54, 0.5), (0.46, 0.52), (0, 0.17), (-0.46, 0.52)],
               lit(wall, -0.5))
    pen.shape([(-0.44, 0.5), (0, 0.16), (0.44, 0.5)], lit(wall, -0.12))
    pen.shape([(-0.07, 0.66), (0.09, 0.66), (0.09, 0.99), (-0.07, 0.99)], lit(wall, -0.45))
    for x in (-0.33, 0.2):
        pen.shape([(x, 0.62), (x + 0.15, 0.62), (x + 0.15, 0.8), (x, 0.8)], _WARM)
        pen.line([(x + 0.075, 0.62), (x + 0.075, 0.8)], 0.012, lit(wall, -0.4))
        pen.line([(x, 0.71), (x + 0.15, 0.71)], 0.012, lit(wall, -0.4))
    pen.oval((0, 0.36), (0.06, 0.06), _WARM)
    pen.canvas.glow(pen.at((-0.1, 0.74)), pen.size * 0.5, _WARM, 0.35)


def balloon(pen: Pen, tint: Colour | None) -> None:
    """A hot-air balloon."""
    one = tint or (220, 84, 66)
    bob = 0.012 * math.sin(math.tau * pen.canvas.phase)
    gores = (one, _PAPER, one, (240, 186, 84), one)
    edges = (-1, -0.66, -0.25, 0.25, 0.66, 1)
    for left, right, fill in zip(edges, edges[1:], gores, strict=False):
        pen.blob([(left * 0.08, 0.72 + bob), (left * 0.34, 0.46 + bob), (left * 0.36, 0.22 + bob),
                  (left * 0.18, 0.04 + bob), (right * 0.18, 0.04 + bob), (right * 0.36, 0.22 + bob),
                  (right * 0.34, 0.46 + bob), (right * 0.08, 0.72 + bob)], fill)
    for x in (-0.07, 0.07):
        pen.line([(x, 0.72 + bob), (x * 0.8, 0.86 + bob)], 0.008, INK)
    pen.blob([(-0.075, 0.86 + bob), (0.075, 0.86 + bob), (0.06, 0.98 + bob), (-0.06, 0.98 + bob)],
              (142, 98, 62))


def flower(pen: Pen, tint: Colour | None) -> None:
    """Three flowers in a vase."""
    petal = tint or (232, 110, 128)
    pen.shadow(0.3)
    for x, y, size in ((-0.24, 0.26, 0.105), (0.22, 0.2, 0.115), (0.0, 0.12, 0.13)):
        pen.line([(0, 0.72), (x * 0.5, 0.5), (x, y)], 0.018, (66, 118, 72))
        pen.blob([(x * 0.4, 0.56), (x * 0.4 + 0.1, 0.44), (x * 0.4 + 0.16, 0.5)], (84, 140, 84))
        tone = mix(petal, (250, 214, 120), abs(x))
        for i in range(8):
            turn = math.tau * i / 8 + x
            spot = (x + math.cos(turn) * size * 0.62, y + math.sin(turn) * size * 0.62)
            pen.oval(spot, (size * 0.46, size * 0.27), lit(tone, 0.1 * (i % 2)), turn=turn)
        pen.oval((x, y), (size * 0.32, size * 0.32), (246, 196, 74))
    pen.blob([(-0.1, 0.6), (0.1, 0.6), (0.12, 0.68), (0.19, 0.82), (0.13, 0.98), (-0.13, 0.98),
              (-0.19, 0.82), (-0.12, 0.68)], (112, 150, 168))
    pen.line([(-0.11, 0.72), (-0.135, 0.82), (-0.1, 0.92)], 0.026, WHITE, 0.5)


def leaf(pen: Pen, tint: Colour | None) -> None:
    """A leaf, half of it in the light, as a logo would have it."""
    green = tint or (66, 150, 92)
    tip, foot = (0.3, 0.04), (-0.26, 0.96)
    right = [tip, (0.4, 0.3), (0.34, 0.58), (0.12, 0.78), (-0.14, 0.84)]
    left = [(-0.14, 0.84), (-0.3, 0.62), (-0.28, 0.38), (-0.08, 0.16), tip]
    pen.blob([*right, *left[1:-1]], green)
    pen.blob([tip, (0.12, 0.34), (-0.04, 0.6), (-0.14, 0.84), *left[1:-1]], lit(green, 0.28))
    pen.line([(0.26, 0.12), (0.08, 0.42), (-0.1, 0.74), foot], 0.026, lit(green, -0.35))
    for y, out, back in ((0.34, 0.3, -0.14), (0.5, 0.24, -0.2), (0.65, 0.08, -0.22)):
        stem = (0.13 - (y - 0.34) * 0.72, y)
        pen.line([stem, (out, y - 0.09)], 0.014, lit(green, -0.3))
        pen.line([stem, (back, y - 0.1)], 0.014, lit(green, 0.05))


def heart(pen: Pen, tint: Colour | None) -> None:
    """A heart."""
    red = tint or (214, 62, 78)
    pen.blob([(0, 0.3), (0.1, 0.16), (0.27, 0.12), (0.42, 0.24), (0.42, 0.44), (0.24, 0.7),
              (0, 0.92), (-0.24, 0.7), (-0.42, 0.44), (-0.42, 0.24), (-0.27, 0.12), (-0.1, 0.16)],
              red)
    pen.oval((-0.22, 0.28), (0.1, 0.055), lit(red, 0.45), turn=-0.7)


def star(pen: Pen, tint: Colour | None) -> None:
    """A faceted star, for badges, emblems and icons."""
    gold = tint or (238, 182, 66)
    rays = [(r * math.sin(math.tau * i / 10),
              0.52 - r * math.cos(math.tau * i / 10)) for i, r in enumerate((0.48, 0.2) * 5)]
    for i, ray in enumerate(rays):
        pen.shape([ray, rays[(i + 1) % 10], (0, 0.52)], lit(gold, 0.2 if i % 2 else -0.16))


def rocket(pen: Pen, tint: Colour | None) -> None:
    """A rocket under power."""
    fin = tint or (212, 74, 64)
    flare = 0.06 * math.sin(math.tau * pen.canvas.phase)
    pen.blob([(-0.1, 0.78), (0, 1.02 + flare), (0.1, 0.78)], (248, 150, 60))
    pen.blob([(-0.055, 0.78), (0, 0.94 + flare), (0.055, 0.78)], _WARM)
    pen.pair([(-0.12, 0.52), (-0.3, 0.74), (-0.27, 0.86), (-0.1, 0.76)], fin)
    pen.blob([(0, 0.02), (0.13, 0.2), (0.17, 0.46), (0.11, 0.79), (-0.11, 0.79), (-0.17, 0.46),
              (-0.13, 0.2)], _PAPER)
    pen.blob([(0.03, 0.06), (0.13, 0.2), (0.17, 0.46), (0.11, 0.79), (0.03, 0.79), (0.08, 0.46)],
              lit(_PAPER, -0.16))
    pen.blob([(0, 0.0), (0.075, 0.1), (0.12, 0.2), (-0.12, 0.2), (-0.075, 0.1)], fin)
    pen.oval((0, 0.37), (0.078, 0.078), (70, 84, 110))
    pen.oval((0, 0.37), (0.056, 0.056), (150, 206, 230))


def tree(pen: Pen, tint: Colour | None) -> None:
    """A broad old tree."""
    green = tint or (72, 130, 76)
    pen.shadow(0.5)
    pen.blob([(-0.06, 0.5), (0.06, 0.5), (0.075, 0.86), (0.16, 0.99), (-0.16, 0.99),
              (-0.075, 0.86)], (92, 66, 54))
    for x, y, r, tone in (
        (-0.26, 0.46, 0.2, -0.2),
        (0.27, 0.46, 0.2, -0.22),
        (0.0, 0.5, 0.22, -0.14),
        (-0.16, 0.3, 0.22, 0.0),
        (0.18, 0.28, 0.22, -0.06),
        (0.0, 0.18, 0.19, 0.1),
        (-0.12, 0.24, 0.12, 0.2),
    ):
        pen.shape(ellipse((x, y), (r, r * 0.86)), lit(green, tone))


# fmt: on
THINGS: Final[Mapping[str, Callable[[Pen, Colour | None], None]]] = MappingProxyType(
    {
        "cup": cup,
        "bottle": bottle,
        "lighthouse": lighthouse,
        "boat": boat,
        "house": house,
        "balloon": balloon,
        "flower": flower,
        "leaf": leaf,
        "heart": heart,
        "star": star,
        "rocket": rocket,
        "tree": tree,
    }
)
"""The subjects of this file, by name."""
