"""One argument of a template: its type, what it accepts and how a value reads in the prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from gptimage.errors import TemplateError
from gptimage.templates.language import fold
from gptimage.templates.render import Given, with_article


ArgumentType: TypeAlias = Literal["string", "choice", "boolean", "integer"]
ARGUMENT_TYPES: Final[tuple[ArgumentType, ...]] = ("string", "choice", "boolean", "integer")

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


@frozen(kw_only=True)
class TemplateArgument:
    """What a template takes under one name.

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
        """Values worth offering for completion: choices, suggestions, or true and false."""
        return ("true", "false") if self.type == "boolean" else self.choices or self.suggestions

    def read(self, value: object) -> str | bool | int | None:
        """Check a value and bring it into this argument's type; None when nothing was given.

        Text is accepted for every type, since MCP prompts and command lines send only text.
        None and text of white space alone mean "not given".

        Raises:
            TemplateError: It has the wrong type, is not among the choices, or is too long.
        """
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

    def given(self, value: str | bool | int) -> Given:
        """A checked value with its wording."""
        text = str(value)
        return Given(value, self.wording.get(text, text))

    def schema(self) -> dict[str, object]:
        """JSON Schema (2020-12) of this argument."""
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
        """Everything a form or a completion needs, as JSON values."""
        return {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "default": self.default,
            "choices": list(self.choices),
            "suggestions": list(self.suggestions),
            "description": self.description,
            "max_length": self.max_length,
        }

    def _boolean(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).lower() if isinstance(value, (str, int)) else ""
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise self._wrong(f"{show(value)} is neither true nor false", allowed=("true", "false"))

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
        raise self._wrong(f"{show(value)} is not a whole number", allowed="a whole number")

    def _text(self, value: object) -> str | None:
        if self.if_true is not None and str(value).lower() in {"true", "false"}:
            return self.if_true if str(value).lower() == "true" else None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self._wrong(f"it takes text, not {show(value)}", allowed=self.values or "text")
        text = self._canonical(str(value))
        if self.max_length is not None and len(text) > self.max_length:
            raise self._wrong(
                f"it has {len(text)} characters and at most {self.max_length} are allowed",
                allowed=f"at most {self.max_length} characters",
            )
        return text

    def _canonical(self, text: str) -> str:
        """The choice or suggestion meant, however it is cased and hyphenated."""
        for value in self.choices or self.suggestions:
            if fold(text) == fold(value):
                return value
        if self.choices:
            meant = did_you_mean(fold(text), self.choices)
            raise self._wrong(
                f"{show(text)} is not allowed{meant}; use one of {', '.join(self.choices)}",
                allowed=self.choices,
            )
        return text

    def _wrong(self, problem: str, *, allowed: object) -> TemplateError:
        return TemplateError(f"{self.name}: {problem}", argument=self.name, allowed=allowed)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"``, or nothing when no known name is close."""
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def show(value: object) -> str:
    """A wrong value, short enough for one line of an error."""
    if not isinstance(value, (str, bool, int, float)):
        return with_article(type(value).__name__)
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}…{text[-1]}"
