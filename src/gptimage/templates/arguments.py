"""One argument of a template: its type, what it accepts and how a value reads in the prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, TypeGuard

from attrs import asdict, field, fields, frozen

from gptimage._internal.keywords import plain_int
from gptimage._internal.text import closest
from gptimage.errors import TemplateError, truncated_repr
from gptimage.templates.language import normalise
from gptimage.templates.render import ArgumentValue
from gptimage.types.request import Prompt, ReferenceImage


ArgumentType: TypeAlias = Literal["string", "choice", "boolean", "integer"]
ARGUMENT_TYPES: Final[tuple[ArgumentType, ...]] = ("string", "choice", "boolean", "integer")

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


@frozen(kw_only=True)
class TemplateArgument:
    """One argument of a template.

    Attributes:
        name: The keyword to pass it by.
        type: ``"string"``, ``"choice"``, ``"boolean"`` or ``"integer"``.
        required: Whether the template cannot be rendered without it.
        default: The value used when it is not given, or None.
        choices: The only values a choice accepts.
        suggestions: Good values of a string that also accepts any other text.
        description: What it is for, in one sentence.
        max_length: Longest text accepted, in characters, or None for no limit of its own.
        if_true: The text that ``True`` stands for, in a string that may also be switched on.
        from_brand: The field of the brand used when it is not given, such as ``"name"``.
        wording: How choices and suggestions read in the prompt, where that differs.
    """

    name: str
    type: ArgumentType = "string"
    required: bool = False
    default: str | bool | int | None = None
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    description: str = ""
    max_length: int | None = None
    if_true: str | None = None
    from_brand: str | None = None
    wording: Mapping[str, str] = field(factory=dict[str, str], repr=False, hash=False)

    @property
    def values(self) -> tuple[str, ...]:
        """Return values worth offering for completion: choices, suggestions, or true and false."""
        return ("true", "false") if self.type == "boolean" else self.choices or self.suggestions

    def read(self, value: object) -> str | bool | int | None:
        """Check a value and bring it into this argument's type; None when nothing was given.

        Text is accepted for every type, since MCP prompts and command lines send only text.
        None and text of white space alone mean "not given".

        Raises:
            TemplateError: It has the wrong type, is not among the choices, or is too long.
        """
        value = plain_int(value)
        if isinstance(value, str):
            value = value.replace("\r\n", "\n").strip()
        if value is None or value == "":
            return None
        if isinstance(value, int) and value.bit_length() > 64:
            raise self._wrong("the number is too large", allowed="at most 64 bits")
        if self.type == "boolean":
            return self._boolean(value)
        if self.type == "integer":
            return self._integer(value)
        return self._text(value)

    def given(self, value: str | bool | int) -> ArgumentValue:
        """Return a checked value with its wording."""
        text = str(value)
        return ArgumentValue(value, self.wording.get(text, text))

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema (2020-12) of this argument."""
        kind = {"choice": "string"}.get(self.type, self.type)
        found: dict[str, object] = {"type": [kind, "boolean"] if self.if_true else kind}
        if self.description:
            found["description"] = self.description
        if self.type == "string" and self.required:
            found["minLength"] = 1
        if self.max_length is not None:
            found["maxLength"] = self.max_length
        if self.choices:
            found["enum"] = list(self.choices)
        if self.suggestions:
            found["examples"] = list(self.suggestions)
        if self.default is not None:
            found["default"] = self.default
        return found

    def describe(self) -> dict[str, object]:
        """Describe everything a form or a completion needs, as JSON values."""
        hidden = {"if_true", "from_brand", "wording"}
        found = asdict(self, filter=lambda field, _: field.name not in hidden)
        return {**found, "choices": list(self.choices), "suggestions": list(self.suggestions)}

    def _boolean(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).lower() if isinstance(value, (str, int)) else ""
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise self._wrong(
            f"{short_repr(value)} is neither true nor false", allowed=("true", "false")
        )

    def _integer(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
            return int(value)
        if isinstance(value, str) and len(value) < 20:
            try:
                return int(value)
            except ValueError:
                pass
        raise self._wrong(f"{short_repr(value)} is not a whole number", allowed="a whole number")

    def _text(self, value: object) -> str | None:
        if self.if_true is not None and str(value).lower() in {"true", "false"}:
            return self.if_true if str(value).lower() == "true" else None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self._wrong(
                f"it takes text, not {short_repr(value)}", allowed=self.values or "text"
            )
        text = self._canonical(str(value))
        if self.max_length is not None and len(text) > self.max_length:
            raise self._wrong(
                f"it has {len(text)} characters and at most {self.max_length} are allowed",
                allowed=f"at most {self.max_length} characters",
            )
        return text

    def _canonical(self, text: str) -> str:
        """Return the choice or suggestion meant, however it is cased and hyphenated."""
        if text in self.values:
            return text
        for value in self.choices or self.suggestions:
            if normalise(text) == normalise(value):
                return value
        if self.choices:
            meant = did_you_mean(normalise(text), self.choices)
            raise self._wrong(
                f"{short_repr(text)} is not allowed{meant}; use one of {', '.join(self.choices)}",
                allowed=self.choices,
            )
        return text

    def _wrong(self, problem: str, *, allowed: object) -> TemplateError:
        return TemplateError(f"{self.name}: {problem}", argument=self.name, allowed=allowed)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"``, or nothing when no known name is close."""
    close = closest(word, known)
    return f" (did you mean '{close}'?)" if close else ""


def short_repr(value: object) -> str:
    """Return a wrong value, short enough for one line of an error."""
    plain = isinstance(value, (str, bool, int, float))
    return truncated_repr(value, 40) if plain else f"a {type(value).__name__}"


# A brand that templates can share: its name, palette, tone and what it avoids.


@frozen(kw_only=True)
class Brand:
    """A brand, which every template of a folder may use as ``{brand.name}``, ``{brand.palette}``...

    Attributes:
        name: The brand's name, spelled as it should appear.
        palette: Its colours in words, such as ``"deep navy (#0B1F3A), coral and white"``.
        tone: How it looks and speaks, such as ``"calm, precise, a little dry"``.
        avoid: What its images never show, such as ``"clip art or stock-photo handshakes"``.
        images: Its logo, products, people: templates and `prompt` name them.
    """

    name: str | None = None
    palette: str | None = None
    tone: str | None = None
    avoid: str | None = None
    images: tuple[ReferenceImage, ...] = ()

    def prompt(self, text: str, /, *names: str) -> Prompt:
        """Return a prompt to which images of the brand belong.

        A call with it is an edit of these images, whose sentences are added to the text.

        Args:
            text: What to draw.
            *names: The images, in order.

        Raises:
            TemplateError: The brand has no such image, or one is named twice.
        """
        problems: list[str] = []
        found = self.named(names, problems)
        if problems:
            raise TemplateError(f"brand: {'; '.join(problems)}", problems=problems)
        return Prompt(text, images=found)

    def named(self, names: Iterable[str], problems: list[str]) -> tuple[ReferenceImage, ...]:
        """Return its images of these names, in this order; what is wrong is noted."""
        known = {each.name: each for each in self.images}
        wanted = tuple(names)
        for name in wanted:
            if name not in known:
                there = ", ".join(known) or "none"
                problems.append(
                    f"there is no image {short_repr(name)}{did_you_mean(name, known)}; "
                    f"brand.toml has {there}"
                )
        if len(set(wanted)) < len(wanted):
            problems.append("an image is named twice")
        return tuple(known[name] for name in wanted if name in known)

    def known(self) -> Iterator[tuple[str, ArgumentValue]]:
        """Yield the fields that are set, as the template language names them."""
        for name in BRAND_FIELDS:
            words = getattr(self, name)
            if words:
                yield f"brand.{name}", ArgumentValue(words, words)


BRAND_FIELDS: Final[tuple[str, ...]] = tuple(
    field.name for field in fields(Brand) if field.name != "images"
)
"""The keys of ``brand.toml`` that are text; beside them it has tables, ``[images.NAME]``."""


# Reads one table of a template file key by key; what is wrong is noted, never raised.
#
# So that one load reports every problem of every file.


@frozen(kw_only=True)
class TomlReader:
    """A table and where it stands.

    Attributes:
        data: The keys and values as the file holds them.
        problems: Receives one sentence per problem.
        where: The table's place, such as ``"arguments.title: "``; empty for the whole file.
    """

    data: Mapping[str, object] = field(kw_only=False)
    problems: list[str]
    where: str = ""

    def only(self, allowed: Iterable[str]) -> None:
        """Note every key that is not among these."""
        names = tuple(allowed)
        for key in self.data.keys() - set(names):
            meant = did_you_mean(key, names)
            self.note(f"unknown key {short_repr(key)}{meant}; the keys are {', '.join(names)}")

    def note(self, problem: str) -> None:
        """Add a problem with its place."""
        self.problems.append(f"{self.where}{problem}")

    def text(self, key: str) -> str | None:
        """Read text that is not blank, stripped."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.note(f"{key} must be text that is not empty")
        return None

    def flag(self, key: str) -> bool:
        """Read ``true`` or ``false``; false when absent."""
        value = self.data.get(key, False)
        if isinstance(value, bool):
            return value
        self.note(f"{key} must be true or false")
        return False

    def positive(self, key: str) -> int | None:
        """Read a whole number above zero."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
            return value
        self.note(f"{key} must be a whole number above zero")
        return None

    def one_of(self, key: str, allowed: Iterable[str]) -> str | None:
        """Read one of these words."""
        value, names = self.text(key), tuple(allowed)
        if value is None or value in names:
            return value
        self.note(f"{key} {short_repr(value)} is not one of {', '.join(names)}")
        return None

    def table(self, key: str) -> TomlReader:
        """Return the table under this key; empty when absent."""
        value = self.data.get(key, {})
        where = f"{self.where.removesuffix(': ')}.{key}: ".lstrip(".")
        if is_table(value):
            return TomlReader(value, problems=self.problems, where=where)
        self.note(f"{key} must be a table")
        return TomlReader({}, problems=self.problems, where=where)

    def worded(self, key: str) -> dict[str, str]:
        """Read a list of values, or a table of value to wording, as the latter."""
        value = self.data.get(key)
        if value is None:
            return {}
        if is_list(value) and value:
            found = {str(item): str(item) for item in value if _is_word(item)}
            if len(found) == len(value):
                return found
        if is_table(value) and value:
            words = {name: text.strip() for name, text in value.items() if _is_word(text)}
            if len(words) == len(value) and all(map(_is_word, words)):
                return words
        self.note(f"{key} must be a list of different words, or a table of word to wording")
        return {}

    def phrase(self, key: str) -> str | None:
        """Read text, or a list of texts joined as in a sentence."""
        value = self.data.get(key)
        if is_list(value) and value:
            items = [item.strip() for item in value if _is_word(item)]
            if len(items) == len(value):
                return ", ".join(items[:-1]) + " and " + items[-1] if items[1:] else items[0]
        if value is None or isinstance(value, str):
            return self.text(key)
        self.note(f"{key} must be text or a list of texts")
        return None


def is_table(value: object) -> TypeGuard[Mapping[str, object]]:
    """Return whether a value of TOML or JSON is a table (whose keys are always text)."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Return whether a value of TOML or JSON is a list."""
    return isinstance(value, list)


def _is_word(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
