"""Whether the words in an image can be read and are spelt right, by optical character recognition.

The extra ``checks`` brings RapidOCR, whose models are in its package: nothing is downloaded and
nothing is sent. Any other reader can take its place.
"""

from __future__ import annotations

import difflib
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final, Self, TypeAlias

from attrs import field, frozen

from gptimage.checks.check import CheckResult, PixelCheck
from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.image.codecs import decode, encode, on_white
from gptimage.image.image import Image
from gptimage.types.request import Generate


_EDGE: Final = 1280
"""Longest edge in pixels that is read: more costs time and reads no better."""

_CLOSE: Final = 0.5
"""How alike two words are, 0 to 1, for one to be taken for the other misspelt."""

_READING: Final = threading.Lock()
"""Held while an image is read: the reader is one for all threads, and keeps its input in itself."""


@frozen(kw_only=True)
class Line:
    """A line of text found in an image.

    Attributes:
        text: What it says.
        confidence: How sure the reader is, 0 to 1.
    """

    text: str
    confidence: float = 1.0


Read: TypeAlias = Callable[[Image], Iterable[Line]]
"""A reader: returns the lines in an image, from the top to the bottom."""


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@frozen
class Words(PixelCheck):
    """Whether an image shows these words, legible and spelt right.

    Case, accents' encoding, punctuation and line breaks do not count; other words may be there,
    too. Reading takes about three seconds of CPU for 1024x1024.

    Attributes:
        texts: What must be there: one text or several.
        confidence: How sure the reader must be of each word, 0 to 1, for it to be legible.
        read: Reads the lines of an image; RapidOCR when left out.
    """

    texts: Sequence[str] = field(converter=_texts)
    confidence: float = field(default=0.6, kw_only=True)
    read: Read | None = field(default=None, kw_only=True, repr=False)
    name: str = field(default="words", init=False)

    def __attrs_post_init__(self) -> None:
        if not self.texts or not all(_words(each) for each in self.texts):
            raise InvalidRequestError(
                "words: say which words must be there", field="texts", value=self.texts
            )

    def of(self, request: Generate) -> Self:
        """Refuse to read pixels that there will be none of; a reader of yours may read anything.

        Raises:
            InvalidRequestError: An svg is to be drawn.
        """
        return super().of(request) if self.read is None else self

    def prepare(self) -> None:
        """Import the reader before anything is paid.

        Raises:
            ConfigurationError: It is not installed.
        """
        if self.read is None:
            _engine()

    def __call__(self, image: Image) -> CheckResult:
        """Read the image and look for the words."""
        lines = list((self.read or read_text)(image))
        found = _found(lines)
        wanted = list(dict.fromkeys(word for text in self.texts for word in _words(text)))
        # A reader may take several words for one, or part one in two.
        whole = found.get("".join(wanted), 0.0)
        sure = {word: max(whole, found.get(word, 0.0)) for word in wanted}
        missing = [word for word in wanted if not sure[word]]
        faint = [word for word in wanted if 0 < sure[word] < self.confidence]
        score = 1 - (len(missing) + len(faint) / 2) / len(wanted)
        problems = [_misread(word, found) for word in missing]
        problems += [f'"{word}" is hard to read' for word in faint]
        says = "; ".join(problems) if problems else f'it reads "{" ".join(self.texts)}"'
        return CheckResult(name=self.name, passed=not problems, reason=says, score=score)


def read_text(image: Image) -> list[Line]:
    """Return the lines of text in an image, as RapidOCR reads them.

    Raises:
        ConfigurationError: It is not installed.
        ImageDecodeError: The image is broken, or an svg.
    """
    engine = _engine()
    pixels = on_white(decode(image.data, image.format, at_least=_EDGE)).convert("RGB")
    pixels.thumbnail((_EDGE, _EDGE))
    with _READING:
        found = engine(encode(pixels, "png"))
    texts, scores = found.txts or (), found.scores or ()
    return [
        Line(text=str(text), confidence=float(score))
        for text, score in zip(texts, scores, strict=True)
    ]


@cache
def _engine() -> Any:
    try:
        package: Any = import_module("rapidocr")
    except ImportError as error:
        raise ConfigurationError(
            "reading the words of an image needs another package: pip install 'gptimage[checks]' "
            "(300 MB); nothing was sent"
        ) from error
    return package.RapidOCR(params={"Global.log_level": "error"})


def _words(text: str) -> list[str]:
    """Return the words of a text: letters and digits alone, in lower case."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [word for each in plain.split() if (word := re.sub(r"[\W_]+", "", each))]


def _found(lines: Sequence[Line]) -> dict[str, float]:
    """Return every word that was read, and neighbours as one word, with how sure the reader is."""
    found: dict[str, float] = {}
    words = [(word, line.confidence) for line in lines for word in _words(line.text)]
    for start in range(len(words)):
        joined, sure = "", 1.0
        for word, confidence in words[start : start + 8]:
            joined, sure = joined + word, min(sure, confidence)
            found[joined] = max(sure, found.get(joined, 0.0))
    return found


def _misread(word: str, found: dict[str, float]) -> str:
    close = difflib.get_close_matches(word, found, n=1, cutoff=_CLOSE)
    return f'it reads "{close[0]}" instead of "{word}"' if close else f'"{word}" is not there'
