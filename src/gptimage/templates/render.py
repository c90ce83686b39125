"""From the tree of a template and the given arguments to clean prose.

White space and full stops between the parts are joined so that a section can vanish without
leaving a double space, a space before a comma or a second full stop. Only the template's own
words are adjusted; the text of an argument goes in as it was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from gptimage.templates.language import (
    Branches,
    Condition,
    Part,
    Section,
    Text,
    Variable,
    normalise,
)


_GAPS: Final = ("", " ", "\n", "\n\n")
_AROUND: Final = re.compile(r"([ \n]*)(.*?)([ \n]*)", re.DOTALL)
_VOWEL_SOUND: Final = re.compile(
    r"(?!uni(?!n|m|d)|use|usu|uti|uto|ubiq|eu|ewe|one\b|once\b|u-)[aeiou]"
    r"|hour|honest|honou?r|heir|(?:8|11|18)(?!\d)|8\d(?!\d)"
)
_SPELLED: Final = re.compile(r"[AEFHILMNORSX](?:[^AEIOUa-z\W]*|[A-Z0-9]{1,2})(?![A-Za-z])")
_SPELLED_U: Final = re.compile(r"U(?![a-z])")
_OPENING: Final = re.compile(r'(?:(?<=\s)|(?<=[(\[{“‘\'—–/-])|^)"')


@frozen
class ArgumentValue:
    """The facts about one argument.

    Attributes:
        value: The checked value, for conditions.
        words: How it reads in the prompt.
    """

    value: str | bool | int
    words: str


class MissingError(Exception):
    """A variable outside every section has no value; the message is its name."""


def render(parts: tuple[Part, ...], known: Mapping[str, ArgumentValue]) -> str:
    """Return the prompt's text.

    Args:
        parts: The parsed template.
        known: The arguments that have a value, by name.

    Raises:
        MissingError: A variable outside every section has no value.
    """
    prose = _Prose()
    _write(parts, known, prose)
    return prose.text()


def evaluate(condition: Condition, known: Mapping[str, ArgumentValue]) -> bool:
    """Return whether a condition is true of these arguments."""
    given = known.get(condition.name)
    if given is None:
        found = False
    elif condition.values:
        found = normalise(str(given.value)) in condition.values
    else:
        found = given.value is not False
    return found != condition.negated


def _write(parts: tuple[Part, ...], known: Mapping[str, ArgumentValue], prose: _Prose) -> None:
    for part in parts:
        if isinstance(part, Text):
            prose.literal(part.text)
        elif isinstance(part, Variable):
            prose.argument(_words(part, known))
        elif isinstance(part, Section):
            if part.needs <= known.keys():
                _write(part.parts, known, prose)
        else:
            _write(_chosen(part, known), known, prose)


def _chosen(branches: Branches, known: Mapping[str, ArgumentValue]) -> tuple[Part, ...]:
    for condition, parts in branches.cases:
        if condition is None or evaluate(condition, known):
            return parts
    return ()


def _words(variable: Variable, known: Mapping[str, ArgumentValue]) -> str:
    given = known.get(variable.name)
    if given is None:
        raise MissingError(variable.name)
    words = inside_quotes(given.words) if variable.quoted else given.words
    return with_article(words, capital=variable.article == "A") if variable.article else words


def inside_quotes(words: str) -> str:
    """Put words on one line; straight double quotes become typographic, so that none closes it."""
    line = " ".join(words.split())
    return _OPENING.sub("“", line).replace('"', "”")


def with_article(words: str, *, capital: bool = False) -> str:
    """Put ``a`` or ``an`` before the words, unless they bring an article of their own."""
    if re.match(r"(?:an?|the)\s", words, re.IGNORECASE):
        return words[0].upper() + words[1:] if capital else words
    first = words.lstrip("\"'“‘(")
    vowel = _SPELLED.match(first) or _VOWEL_SOUND.match(first.lower())
    article = "an" if vowel and not _SPELLED_U.match(first) else "a"
    return f"{article.capitalize() if capital else article} {words}"


class _Prose:
    """Joins literal words and argument text, keeping only the strongest gap between them."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._gap = ""
        self._after_argument = False

    def literal(self, text: str) -> None:
        match = _AROUND.fullmatch(text)
        leading, core, trailing = match.groups() if match else ("", text, "")
        self._widen(leading)
        if core[:1] == "." and self._after_argument and self._ends_sentence():
            self.literal(core[1:] + trailing)
            return
        if core:
            if core[0] in ",.;:!?":
                self._gap = ""
            self._append(core)
            self._after_argument = False
            self._widen(trailing)

    def argument(self, words: str) -> None:
        self._append(words)
        self._after_argument = True

    def text(self) -> str:
        return "".join(self._pieces)

    def _append(self, words: str) -> None:
        if self._pieces:
            self._pieces.append(self._gap)
        self._pieces.append(words)
        self._gap = ""

    def _widen(self, gap: str) -> None:
        kind = "\n\n" if "\n\n" in gap else "\n" if "\n" in gap else gap[:1]
        self._gap = max(self._gap, kind, key=_GAPS.index)

    def _ends_sentence(self) -> bool:
        return self._pieces[-1].endswith((".", "!", "?", "…"))
