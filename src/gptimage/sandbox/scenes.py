"""A scene composed on a canvas: the place, the subject in it, the weather in front."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gptimage.sandbox._built import BUILT, weather
from gptimage.sandbox._creatures import CREATURES
from gptimage.sandbox._scene import Scene
from gptimage.sandbox._scenery import DRAWN, Light, hour
from gptimage.sandbox._things import THINGS
from gptimage.sandbox.canvas import Canvas, Pen, lit, mix


_SUBJECTS: Final = MappingProxyType({**CREATURES, **THINGS})
_PLACES: Final = MappingProxyType({**DRAWN, **BUILT})
_STANDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"room": (0.87, 0.46), "studio": (0.84, 0.6), "space": (0.8, 0.5), "sea": (0.9, 0.5)}
)
"""Where a subject's foot is (share of the height) and its size (share of the shorter edge)."""
_ELSEWHERE: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"balloon": (0.5, 0.34), "boat": (0.74, 0.26), "fish": (0.86, 0.26), "portrait": (0.98, 0.74),
     "lighthouse": (0.86, 0.56), "house": (0.88, 0.3), "tree": (0.9, 0.5), "rocket": (0.72, 0.5)}
)  # fmt: skip


def compose(canvas: Canvas, scene: Scene) -> None:
    """Draw the whole scene."""
    light = hour(scene)
    _PLACES[scene.place](canvas, scene, light)
    if scene.subject:
        _place_subject(canvas, scene, light)
    weather(canvas, scene)


def alone(canvas: Canvas, seen: Scene) -> None:
    """Draw the subject with nothing around it."""
    size = min(canvas.height * 0.8, canvas.width * 0.62)
    foot = canvas.height / 2 + size * 0.5
    draw_subject(Pen(canvas, canvas.width / 2, foot, size), seen)


def draw_subject(pen: Pen, scene: Scene) -> None:
    """Draw the scene's subject alone; a star when it has none."""
    _SUBJECTS[scene.subject or "star"](pen, scene.tint)


def _place_subject(canvas: Canvas, scene: Scene, light: Light) -> None:
    name = scene.subject or ""
    foot, size = _ELSEWHERE.get(name) or _STANDS.get(scene.place, (0.9, 0.46))
    centred = scene.place in {"room", "studio"} or name == "portrait"
    lean = 0.0 if centred else light.side * canvas.random.uniform(0.08, 0.17)
    x = canvas.width * 0.5 + lean * canvas.width
    pen = Pen(canvas, x, canvas.height * foot, canvas.unit * size)
    if scene.place in {"hills", "forest"} and name != "balloon":
        _mound(pen, scene, light)
    draw_subject(pen, scene)


def _mound(pen: Pen, scene: Scene, light: Light) -> None:
    """A rise of the ground for the subject to stand on."""
    fill = mix(light.near, light.far, 0.12) if scene.weather != "snow" else lit(light.near, 0.3)
    w, h, y = pen.canvas.width, pen.canvas.height, pen.y
    pen.canvas.blob([(-w * 0.1, h * 1.1), (-w * 0.05, y + h * 0.05), (pen.x - pen.size, y),
                     (pen.x, y - pen.size * 0.05), (pen.x + pen.size, y), (w * 1.05, y + h * 0.06),
                     (w * 1.1, h * 1.1)], fill)  # fmt: skip
