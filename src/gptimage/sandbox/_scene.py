"""What a prompt is about, as far as the sandbox can tell: a place, a light, a subject, a colour."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Final

from attrs import frozen

from gptimage.sandbox.canvas import Colour


_PLACES: Final = {
    "hills": "mountain mountains hill hills valley alps landscape countryside",
    "space": "space galaxy planet planets nebula cosmos orbit astronaut spaceship rocket",
    "room": "table room desk kitchen cafe coffee tea espresso cup mug interior still shelf wooden",
    "studio": "logo icon product studio portrait headshot bottle packaging badge sticker emblem",
    "city": "city street skyline town building buildings skyscraper skyscrapers downtown urban",
    "sea": "sea ocean beach coast lighthouse boat ship sail harbour harbor wave waves island fish",
    "desert": "desert dune dunes sand sahara canyon camel cactus",
    "forest": "forest woods wood jungle pine pines trees fox owl bear deer",
    "meadow": "meadow field garden flower flowers park lawn farm tulip rose sunflower dog",
}
_LIGHTS: Final = {
    "night": "night midnight moon moonlit stars starry dark nighttime",
    "dusk": "dusk sunset evening golden twilight sundown",
    "dawn": "dawn sunrise morning pastel misty mist fog foggy",
    "day": "day noon sunny bright midday daylight",
}
_WEATHERS: Final = {
    "snow": "snow snowy winter ice icy frost frozen christmas",
    "rain": "rain rainy storm stormy drizzle wet",
    "autumn": "autumn fall october leaves",
}
_SUBJECTS: Final = {
    "fox": "fox foxes",
    "cat": "cat kitten cats",
    "dog": "dog puppy dogs",
    "owl": "owl owls",
    "lighthouse": "lighthouse",
    "boat": "boat sailboat ship yacht",
    "cup": "coffee cup tea espresso mug cappuccino latte",
    "bottle": "bottle perfume product packaging shampoo",
    "house": "house cabin cottage hut home",
    "balloon": "balloon balloons",
    "flower": "flower flowers tulip rose sunflower bouquet",
    "leaf": "leaf leaves",
    "heart": "heart love valentine",
    "star": "star",
    "portrait": "portrait headshot face person man woman astronaut girl boy",
    "robot": "robot android bot",
    "rocket": "rocket spaceship",
    "fish": "fish",
    "tree": "tree oak",
}
_COLOURS: Final[Mapping[str, Colour]] = MappingProxyType(
    {
        "red": (206, 58, 48),
        "orange": (231, 119, 40),
        "yellow": (240, 190, 60),
        "gold": (214, 164, 62),
        "green": (70, 150, 92),
        "teal": (30, 144, 140),
        "turquoise": (46, 180, 176),
        "blue": (56, 112, 196),
        "navy": (34, 54, 108),
        "purple": (126, 78, 176),
        "violet": (126, 78, 176),
        "pink": (232, 128, 160),
        "brown": (128, 84, 56),
        "black": (46, 44, 54),
        "white": (240, 238, 232),
        "grey": (138, 142, 150),
        "gray": (138, 142, 150),
        "silver": (176, 182, 190),
    }
)
_THERE_ALREADY: Final = re.compile(r"\b(?:behind|around|beside|outside|without|keep|keeping)\b")
_MOODS: Final = ("dusk", "day", "dawn", "dusk", "day", "night")


@frozen(kw_only=True)
class Scene:
    """What to draw.

    Attributes:
        place: ``hills``, ``sea``, ``city``, ``forest``, ``desert``, ``meadow``, ``room``,
            ``studio`` or ``space``.
        light: ``day``, ``dusk``, ``dawn`` or ``night``.
        weather: ``clear``, ``snow``, ``rain`` or ``autumn``.
        subject: What stands in the scene, or None.
        tint: The colour the prompt names first, or None.
        named_place: Whether the prompt itself spoke of the place, the light or the weather.
        seed: The start of every chance in the drawing.
    """

    place: str
    light: str
    weather: str
    subject: str | None
    tint: Colour | None
    named_place: bool
    seed: int

    def chance(self) -> Random:
        """A fresh source of chance: the same scene always draws the same picture."""
        return Random(self.seed)


def scene(prompt: str, *salt: object) -> Scene:
    """Read a prompt; what it leaves open is decided by its hash and the salt.

    "Mountains behind the cup" is about mountains: what follows such a word is in the
    picture already.
    """
    about = _THERE_ALREADY.split(prompt.lower(), maxsplit=1)[0] or prompt.lower()
    words = re.findall(r"[a-z]+", about)
    seed = int.from_bytes(hashlib.sha256(repr((prompt, salt)).encode()).digest()[:8], "big")
    subject = _found(words, _SUBJECTS)
    place = _found(words, _PLACES)
    light = _found(words, _LIGHTS)
    weather = _found(words, _WEATHERS)
    mood = _MOODS[hashlib.sha256(prompt.encode(errors="replace")).digest()[0] % len(_MOODS)]
    place = _open_air(place, weather) or "hills"
    if place == "studio":
        subject = subject or "star"
    return Scene(
        place=place,
        light=light or ("day" if weather == "snow" or subject else mood),
        weather=weather or "clear",
        subject=subject,
        tint=next((_COLOURS[word] for word in words if word in _COLOURS), None),
        named_place=_spoken_of(words, light, weather),
        seed=seed,
    )


def _found(words: list[str], table: Mapping[str, str]) -> str | None:
    """The entry one of whose words comes first in the prompt."""
    keys = {word: name for name, known in table.items() for word in known.split()}
    return next((keys[word] for word in words if word in keys), None)


def _open_air(place: str | None, weather: str | None) -> str | None:
    """Snow and rain do not fall in a studio; a fox in snow stands on hills, not under leaves."""
    if weather == "snow" and place in {"room", "studio", "meadow", "desert"}:
        return "hills"
    return place


def _spoken_of(words: list[str], light: str | None, weather: str | None) -> bool:
    outdoors = "sky background view " + " ".join(
        _PLACES[name] for name in ("hills", "space", "city", "sea", "desert", "forest")
    )
    return bool(light or weather or set(outdoors.split()).intersection(words))
