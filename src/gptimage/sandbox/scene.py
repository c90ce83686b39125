"""The subject of a prompt, as far as the sandbox reads it: a place, a light, a subject, words."""

from __future__ import annotations

import hashlib
import re
import textwrap
import tomllib
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any, Final

from attrs import frozen

from gptimage._internal.data import data_text


_THERE_ALREADY: Final = re.compile(r"\b(?:behind|around|beside|outside|without|keep|keeping)\b")
_QUOTED: Final = re.compile(
    r'"([^"\n]+)"|“([^”\n]+)”|«([^»\n]+)»|(?<!\w)[\'‘]([^\'’\n]+)[\'’](?!\w)'
)
_MARKER: Final = re.compile(r"\[sandbox:[^\]]*\]")
_MOODS: Final = ("dusk", "day", "dawn", "dusk", "day", "night")
_LATIN: Final = 0x24F
"""Pillow's built-in font draws Latin letters; others would be empty boxes."""


@frozen(kw_only=True)
class Scene:
    """The scene to draw; names are keys of ``scenes.toml``.

    Attributes:
        place: ``hills``, ``sea``, ``city``, ``forest``, ``desert``, ``meadow``, ``room``,
            ``studio`` or ``space``.
        light: ``day``, ``dusk``, ``dawn`` or ``night``.
        weather: ``clear``, ``snow``, ``rain`` or ``autumn``.
        subject: What stands in the scene, or None.
        tint: The colour the prompt names first, as ``#rrggbb``, or None.
        named_place: Whether the prompt itself names a place outdoors, a light or a weather.
        quoted: The words the prompt puts in quotation marks, one quotation to a line.
        seed: The start of all randomness in the image.
    """

    place: str
    light: str
    weather: str
    subject: str | None
    tint: str | None
    named_place: bool
    quoted: str
    seed: int

    def random(self) -> Random:
        """Return a fresh source of randomness: the same scene always gives the same image."""
        return Random(self.seed)


@cache
def scene_data() -> Mapping[str, Any]:
    """Read ``scenes.toml``, which stands beside this file."""
    text = data_text(__name__, "scenes.toml")
    return tomllib.loads(text)


def read_scene(prompt: str, *salt: object) -> Scene:
    """Read a prompt; what it leaves open is decided by its hash and the salt.

    "Mountains behind the cup" is about mountains: what follows such a word is in the
    image already.
    """
    data = scene_data()
    about = _THERE_ALREADY.split(prompt.lower(), maxsplit=1)[0] or prompt.lower()
    words = re.findall(r"[a-z]+", about)
    digest = hashlib.sha256(repr((prompt, salt)).encode()).digest()
    mood = _MOODS[hashlib.sha256(prompt.encode(errors="replace")).digest()[0] % len(_MOODS)]
    subject, place, light, weather, tint, open_air = (
        _first_named(words, data["words"][kind])
        for kind in ("subjects", "places", "lights", "weathers", "colours", "outdoors")
    )
    if weather == "snow" and place in {"room", "studio", "meadow", "desert"}:
        place = "hills"  # snow does not fall in a studio
    return Scene(
        place=place or "hills",
        light=light or ("day" if weather == "snow" or subject else mood),
        weather=weather or "clear",
        subject=subject or ("star" if place == "studio" else None),
        tint=tint,
        named_place=bool(light or weather or open_air),
        quoted=quoted_words(prompt),
        seed=int.from_bytes(digest[:8]),
    )


def _first_named(words: list[str], table: Mapping[str, str]) -> str | None:
    """Return the key one of whose words comes first in the prompt."""
    keys = {word: name for name, known in table.items() for word in known.split()}
    return next((keys[word] for word in words if word in keys), None)


def quoted_words(prompt: str) -> str:
    """Return what a prompt puts in quotation marks, at most five lines of what can be drawn."""
    found = (drawable("".join(match.groups(""))) for match in _QUOTED.finditer(prompt[:4000]))
    return "\n".join([each[:120] for each in found if each][:5])


def drawable(text: str) -> str:
    """Return the text on one line, without sandbox markers or letters the font lacks."""
    text = _MARKER.sub(" ", text)
    letters = (c for c in text if ord(c) <= _LATIN and (c.isprintable() or c.isspace()))
    return " ".join("".join(letters).split()).strip()


def prompt_head(prompt: str, width: int = 60) -> str:
    """Return the first words of a prompt, or nothing if no letter of it can be drawn."""
    text = drawable(prompt[:1000])
    return textwrap.shorten(text, width, placeholder="…") if text.strip(" .,") else ""
