"""A prompt template: arguments in, a `Prompt` out. Rendering never sends or bills anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen

from gptimage.errors import InvalidRequestError, TemplateError
from gptimage.models.sizes import Size
from gptimage.templates.arguments import (
    Brand,
    TemplateArgument,
    TomlReader,
    did_you_mean,
    is_table,
    short_repr,
)
from gptimage.templates.language import Part
from gptimage.templates.render import ArgumentValue, MissingError, render
from gptimage.types.request import Prompt, ReferenceImage


# The settings a template recommends, some of which depend on an argument.

_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "quality": ("low", "medium", "high", "xhigh", "max", "auto"),
    "background": ("opaque", "transparent", "auto"),
    "format": ("png", "jpeg", "webp", "gif", "svg"),
}
SETTINGS: Final = ("size", *_ALLOWED)
"""The settings a template may recommend."""


@frozen(kw_only=True)
class RecommendedOptions:
    """Settings recommended for one set of arguments; None where there is no recommendation.

    Attributes:
        size: A size such as ``"1200x630"``.
        quality: A quality such as ``"high"``.
        background: ``"opaque"``, ``"transparent"`` or ``"auto"``.
        format: A file format such as ``"png"``.
    """

    size: str | None = None
    quality: str | None = None
    background: str | None = None
    format: str | None = None


@frozen(kw_only=True)
class Setting:
    """One recommended setting: a value, or one value per value of an argument.

    Attributes:
        value: The recommendation, or the one for values that are not listed.
        argument: The argument it depends on, or None.
        by_value: The recommendation for each of that argument's values.
    """

    value: str | None = None
    argument: str | None = None
    by_value: Mapping[str, str] = field(factory=dict[str, str], hash=False)

    def choose(self, known: Mapping[str, ArgumentValue]) -> str | None:
        """Return the recommendation for these arguments."""
        given = known.get(self.argument) if self.argument else None
        return self.value if given is None else self.by_value.get(_key(given), self.value)

    def describe(self) -> str | dict[str, dict[str, str]]:
        """Return the recommendation as template files write it."""
        if self.argument is None:
            return self.value or ""
        otherwise = {} if self.value is None else {"else": self.value}
        return {self.argument: {**self.by_value, **otherwise}}


def choose(
    settings: Mapping[str, Setting], known: Mapping[str, ArgumentValue]
) -> RecommendedOptions:
    """Return every setting for these arguments."""
    return RecommendedOptions(**{name: setting.choose(known) for name, setting in settings.items()})


def read_settings(
    table: TomlReader, arguments: Mapping[str, TemplateArgument]
) -> tuple[Mapping[str, Setting], frozenset[str]]:
    """Return the ``[recommended]`` table, and the names of the arguments it depends on."""
    table.only(SETTINGS)
    found = {name: _read_setting(name, table, arguments) for name in SETTINGS if name in table.data}
    by = frozenset(setting.argument for setting in found.values() if setting.argument)
    return found, by


def _read_setting(
    name: str, table: TomlReader, arguments: Mapping[str, TemplateArgument]
) -> Setting:
    if not is_table(table.data[name]):
        value = table.text(name)
        return Setting(value=_checked(name, value, table) if value else None)
    inner = table.table(name)
    if len(inner.data) != 1:
        inner.note("must hold one table, named after the argument it depends on")
        return Setting()
    argument = next(iter(inner.data))
    values = inner.table(argument)
    spec = arguments.get(argument)
    if spec is None or not spec.values:
        values.note(
            f"there is no argument '{argument}' with choices{did_you_mean(argument, arguments)}"
        )
        return Setting()
    values.only((*spec.values, "else"))
    texts = {key: values.text(key) for key in values.data}
    checked = {key: _checked(name, text, values) for key, text in texts.items() if text}
    missing = [value for value in spec.values if value not in texts]
    if missing and "else" not in texts:
        values.note(f"says nothing for {', '.join(missing)}; add them or 'else'")
    otherwise = checked.pop("else", None)
    return Setting(value=otherwise, argument=argument, by_value=checked)


def _checked(name: str, value: str, table: TomlReader) -> str:
    if name == "size":
        try:
            Size.parse(value)
        except InvalidRequestError as error:
            table.note(str(error))
    elif value not in _ALLOWED[name]:
        table.note(f"{name} {short_repr(value)} is not one of {', '.join(_ALLOWED[name])}")
    return value


def _key(given: ArgumentValue) -> str:
    return str(given.value).lower() if isinstance(given.value, bool) else str(given.value)


MAX_PROMPT: Final = 32_000
"""The longest prompt the image models accept, in characters."""


@frozen(kw_only=True)
class PromptTemplate:
    """A prompt with named gaps; call it with arguments to get a `Prompt`.

    Templates come from `PromptTemplates.builtin` and `PromptTemplates.load`.

    Attributes:
        name: What it is called in a collection.
        title: What to call it in front of people.
        description: What it makes, in a sentence or two.
        arguments: What it takes, in the order the file gives them.
        example: Arguments that show it at its best; empty when the file gives none.
        source: The template text as its author wrote it.
        brand: The brand it is rendered for, or None.
        file: The file it was read from, or None.
        images: Names of the brand's images that belong to it, in order.
    """

    name: str
    title: str
    description: str
    arguments: tuple[TemplateArgument, ...]
    example: Mapping[str, object] = field(repr=False, hash=False)
    source: str = field(repr=False)
    brand: Brand | None = field(default=None, repr=False)
    file: str | None = None
    images: tuple[str, ...] = ()
    _parts: tuple[Part, ...] = field(alias="parts", repr=False)
    _settings: Mapping[str, Setting] = field(alias="settings", repr=False, hash=False)

    def __call__(self, /, **arguments: object) -> Prompt:
        """Render with these arguments.

        Raises:
            TemplateError: An argument is unknown, missing, not allowed or too long; all
                problems are reported at once in ``.problems``.
        """
        return self.render(arguments)

    def render(self, arguments: Mapping[str, object]) -> Prompt:
        """Render with a mapping of arguments; None and empty text mean "not given".

        Raises:
            TemplateError: An argument is unknown, missing, not allowed or too long; all
                problems are reported at once in ``.problems``.
        """
        values = self._read(arguments, whole=True)
        known = self._known(values)
        text = self._text(known)
        recommended = choose(self._settings, known)
        return Prompt(
            text,
            size=recommended.size,
            quality=recommended.quality,
            background=recommended.background,
            format=recommended.format,
            template=self.name,
            arguments=values,
            images=self._references(),
        )

    def recommended_options(self, /, **arguments: object) -> RecommendedOptions:
        """Return the settings for these arguments, which need not be complete.

        Raises:
            TemplateError: An argument is unknown, not allowed or too long.
        """
        return choose(self._settings, self._known(self._read(arguments, whole=False)))

    @property
    def recommendations(self) -> dict[str, str | dict[str, dict[str, str]]]:
        """Every recommended setting as template files write it.

        One that depends on an argument looks like
        ``{"size": {"platform": {"instagram": "1080x1080", ...}}}``.
        """
        return {name: setting.describe() for name, setting in self._settings.items()}

    def argument(self, name: str) -> TemplateArgument:
        """Return the argument of this name.

        Raises:
            TemplateError: There is none.
        """
        for argument in self.arguments:
            if argument.name == name:
                return argument
        raise self._unknown(name)

    def schema(self) -> dict[str, object]:
        """JSON Schema (2020-12) of the arguments."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.title,
            "description": self.description,
            "type": "object",
            "properties": {argument.name: argument.schema() for argument in self.arguments},
            "required": [argument.name for argument in self.arguments if argument.required],
            "additionalProperties": False,
        }

    def describe(self) -> dict[str, object]:
        """Return everything about it as JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": [argument.describe() for argument in self.arguments],
            "recommended": self.recommendations,
            "example": dict(self.example),
            **({"images": list(self.images)} if self.images else {}),
            "source": self.source,
        }

    def _read(self, arguments: Mapping[str, object], *, whole: bool) -> dict[str, str | bool | int]:
        """Return the checked values in the template's order, defaults included."""
        names = [argument.name for argument in self.arguments]
        errors = [self._unknown(name) for name in arguments if name not in names]
        found: dict[str, str | bool | int] = {}
        for argument in self.arguments:
            try:
                value = argument.read(arguments.get(argument.name))
            except TemplateError as error:
                errors.append(error)
                continue
            value = argument.default if value is None else value
            if value is not None:
                found[argument.name] = value
            elif argument.required and whole:
                errors.append(_missing(argument))
        if errors:
            raise self._failed(errors)
        return found

    def _known(self, values: Mapping[str, str | bool | int]) -> dict[str, ArgumentValue]:
        known = dict(self.brand.known()) if self.brand else {}
        for argument in self.arguments:
            if argument.name in values:
                known[argument.name] = argument.given(values[argument.name])
            elif argument.from_brand and (given := known.get(f"brand.{argument.from_brand}")):
                known[argument.name] = given
        return known

    def _references(self) -> tuple[ReferenceImage, ...]:
        """Return its images; another brand, of `PromptTemplates.with_brand`, may not have them."""
        problems: list[str] = []
        found = (self.brand or Brand()).named(self.images, problems)
        if problems:
            raise self._failed([TemplateError(each) for each in problems])
        return found

    def _text(self, known: Mapping[str, ArgumentValue]) -> str:
        try:
            text = render(self._parts, known)
        except MissingError as error:
            raise self._failed([_no_brand(str(error))]) from None
        if len(text) > MAX_PROMPT:
            longest = max(known, key=lambda name: len(known[name].words))
            problem = (
                f"the prompt has {len(text):,} characters and models accept {MAX_PROMPT:,}; "
                f"shorten {longest}, which has {len(known[longest].words):,}"
            )
            raise self._failed([TemplateError(problem, argument=longest)])
        return text

    def _unknown(self, name: object) -> TemplateError:
        names = tuple(argument.name for argument in self.arguments)
        meant = did_you_mean(str(name), names)
        takes = ", ".join(names) or "no arguments"
        return TemplateError(
            f"there is no argument '{name}'{meant}; it takes {takes}",
            argument=str(name),
            allowed=names,
        )

    def _failed(self, errors: Iterable[TemplateError]) -> TemplateError:
        """Return one error for all problems, with this template's name and file."""
        found = tuple(errors)
        return TemplateError(
            f"template {self.name}: " + "; ".join(str(error) for error in found),
            template=self.name,
            argument=found[0].argument,
            file=self.file,
            allowed=found[0].allowed,
            problems=[str(error) for error in found],
        )


def _missing(argument: TemplateArgument) -> TemplateError:
    hint = f": {argument.description.rstrip('.')}" if argument.description else ""
    values = f" (such as {', '.join(argument.values[:6])})" if argument.values else ""
    return TemplateError(
        f"{argument.name} is required{hint}{values}",
        argument=argument.name,
        allowed=argument.values or None,
    )


def _no_brand(name: str) -> TemplateError:
    return TemplateError(
        f"it uses {{{name}}} outside of [brackets], and no brand gives it; "
        "add it to brand.toml or put the words around it in brackets"
    )
