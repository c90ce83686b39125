"""From the table of one template file to a `PromptTemplate`, with every problem it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import evolve, frozen

from gptimage.errors import TemplateError
from gptimage.templates.arguments import (
    ARGUMENT_TYPES,
    BRAND_FIELDS,
    Brand,
    TemplateArgument,
    TomlReader,
    did_you_mean,
    is_list,
    is_table,
)
from gptimage.templates.language import (
    NAME,
    RESERVED,
    Branches,
    Condition,
    Part,
    Section,
    Text,
    Variable,
    normalise,
    parse,
)
from gptimage.templates.template import PromptTemplate, read_settings


# What can be known wrong about a template before anyone renders it.
#
# A template that passes renders cleanly with every subset of its optional arguments: whatever may
# be missing stands in a section or a branch that goes with it.


def validate(
    parts: tuple[Part, ...], arguments: Mapping[str, TemplateArgument], brand: frozenset[str]
) -> list[str]:
    """Return every problem, one sentence each.

    Args:
        parts: The parsed template.
        arguments: Its arguments by name.
        brand: Names such as ``brand.name`` that the folder's brand gives.
    """
    always = frozenset(
        name for name, spec in arguments.items() if spec.required or spec.default is not None
    )
    return list(_walk(parts, arguments, always | brand))


def used(parts: tuple[Part, ...]) -> Iterator[str]:
    """Yield every name the template mentions, in variables and conditions."""
    for part in parts:
        if isinstance(part, Variable):
            yield part.name
        elif isinstance(part, Section):
            yield from used(part.parts)
        elif isinstance(part, Branches):
            for condition, inner in part.cases:
                if condition is not None:
                    yield condition.name
                yield from used(inner)


def _walk(
    parts: tuple[Part, ...], arguments: Mapping[str, TemplateArgument], given: frozenset[str]
) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            continue
        if isinstance(part, Variable):
            yield from _variable(part, arguments, given)
        elif isinstance(part, Section):
            yield from _walk(part.parts, arguments, given | part.needs)
        else:
            yield from _branches(part, arguments, given)


def _branches(
    part: Branches, arguments: Mapping[str, TemplateArgument], given: frozenset[str]
) -> Iterator[str]:
    for condition, inner in part.cases:
        if condition is None:
            yield from _walk(inner, arguments, given)
            continue
        yield from _condition(condition, arguments)
        name = frozenset({condition.name})
        yield from _walk(inner, arguments, given if condition.negated else given | name)
        if condition.negated:
            given |= name


def _variable(
    part: Variable, arguments: Mapping[str, TemplateArgument], given: frozenset[str]
) -> Iterator[str]:
    problem = _unknown(part.name, arguments)
    if problem:
        yield f"line {part.line}: {problem}"
    elif (spec := arguments.get(part.name)) and spec.type == "boolean":
        yield (
            f"line {part.line}: {part.name} is true or false and has no text; "
            f"write {{if {part.name}}} ... {{end}}"
        )
    elif part.name not in given:
        yield (
            f"line {part.line}: {{{part.name}}} may be missing; put the words that go with it in "
            f"[brackets], such as [ with {{{part.name}}}], or give it a default or make it required"
        )


def _condition(condition: Condition, arguments: Mapping[str, TemplateArgument]) -> Iterator[str]:
    if not condition.name:
        return
    problem = _unknown(condition.name, arguments)
    if problem:
        yield f"line {condition.line}: {problem}"
        return
    spec = arguments.get(condition.name)
    known = {normalise(value) for value in spec.values} if spec else set[str]()
    if condition.values and (spec is None or spec.type == "boolean" or not known):
        yield (
            f"line {condition.line}: {condition.name} has no choices or suggestions to compare "
            f"with; write {{if {condition.name}}}"
        )
        return
    for value in condition.values:
        if value not in known:
            yield (
                f"line {condition.line}: {condition.name} is never '{value}'"
                f"{did_you_mean(value, known)}; it is one of {', '.join(sorted(known))}"
            )


def _unknown(name: str, arguments: Mapping[str, TemplateArgument]) -> str | None:
    brand = [f"brand.{field}" for field in BRAND_FIELDS]
    if name in arguments or name in brand:
        return None
    meant = did_you_mean(name, (*arguments, *brand))
    declared = ", ".join(arguments) or "none"
    return f"no argument is called '{name}'{meant}; declared are {declared}"


TEMPLATE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What a template's name looks like."""

_KEYS: Final = (
    "name",
    "title",
    "description",
    "extends",
    "template",
    "arguments",
    "recommended",
    "example",
    "images",
)
_OWN: Final = ("name", "title", "extends")
_ARGUMENT_KEYS: Final = (
    "type",
    "required",
    "default",
    "choices",
    "suggestions",
    "description",
    "max_length",
    "if_true",
    "from_brand",
)
_BASE: Final = re.compile(r"(?<!\{)\{base\}(?!\})")


@frozen(kw_only=True)
class Definition:
    """The content of one template file, not yet understood.

    Attributes:
        name: The template's name.
        data: Its keys and values, in the shape of the TOML files.
        file: Where it came from, or None.
        inherited: Names of arguments that come only from the template it extends.
    """

    name: str
    data: Mapping[str, object]
    file: str | None = None
    inherited: frozenset[str] = frozenset()

    def over(self, base: Definition) -> Definition:
        """This definition with everything it does not say taken from the one it extends."""
        heritage = {key: value for key, value in base.data.items() if key not in _OWN}
        merged: dict[str, object] = {**heritage, **self.data}
        theirs = _tables(base.data.get("arguments"))
        own = self.data.get("arguments", {})
        if is_table(own):
            merged["arguments"] = theirs | {
                name: {**theirs.get(name, {}), **item} if is_table(item) else item
                for name, item in own.items()
            }
        for key in ("recommended", "example"):
            merged[key] = _merged(base.data.get(key), self.data.get(key))
        text, base_text = self.data.get("template"), base.data.get("template")
        if isinstance(text, str) and isinstance(base_text, str):
            merged["template"] = _BASE.sub(lambda _: base_text.strip(), text)
        inherited = frozenset(theirs) - frozenset(own if is_table(own) else ())
        return Definition(name=self.name, data=merged, file=self.file, inherited=inherited)


def build(definition: Definition, brand: Brand | None, problems: list[str]) -> PromptTemplate:
    """Make the template, adding a sentence to ``problems`` for everything that is wrong.

    Args:
        definition: The file's content, already merged with what it extends.
        brand: The brand of its folder, or None.
        problems: Receives the problems; when it grows, the template must not be used.
    """
    table = TomlReader(definition.data, problems=problems)
    table.only(_KEYS)
    source = table.text("template") or ""
    if "template" not in definition.data:
        table.note("key 'template' is missing")
    parts = parse(source, problems)
    names = frozenset(used(parts))
    arguments = _arguments(table.table("arguments"))
    settings, deciding = read_settings(table.table("recommended"), arguments)
    arguments = {
        name: spec
        for name, spec in arguments.items()
        if name in names | deciding or name not in definition.inherited
    }
    if parts:
        for name in arguments.keys() - names - deciding:
            table.note(f"argument '{name}' is declared and never used in the template")
        given = frozenset(name for name, _ in brand.known()) if brand else frozenset[str]()
        problems += validate(parts, arguments, given)
    images = _images(table)
    if images:
        (brand or Brand()).named(images, problems)
    return PromptTemplate(
        images=images,
        name=definition.name,
        title=table.text("title") or definition.name.replace("_", " ").replace("-", " ").title(),
        description=table.text("description") or "",
        arguments=tuple(arguments.values()),
        example=_example(table, arguments, definition.inherited),
        source=source,
        brand=brand,
        file=definition.file,
        parts=parts,
        settings=settings,
    )


def _images(table: TomlReader) -> tuple[str, ...]:
    """Return the names of the brand's images that belong to a template."""
    value = table.data.get("images", [])
    names = [name for name in value if isinstance(name, str)] if is_list(value) else []
    if not is_list(value) or len(names) < len(value):
        table.note('images must be a list of names in brand.toml, such as ["logo", "product"]')
    return tuple(names)


def _arguments(table: TomlReader) -> dict[str, TemplateArgument]:
    found: dict[str, TemplateArgument] = {}
    for name in table.data:
        if not NAME.fullmatch(name) or name in RESERVED:
            table.note(f"'{name}' cannot be a name: use lower-case letters, digits and _")
        else:
            found[name] = _argument(name, table.table(name))
    return found


def _argument(name: str, table: TomlReader) -> TemplateArgument:
    table.only(_ARGUMENT_KEYS)
    choices, suggestions = table.worded("choices"), table.worded("suggestions")
    kind = table.one_of("type", ARGUMENT_TYPES) or ("choice" if choices else "string")
    argument = TemplateArgument(
        name=name,
        type=next(item for item in ARGUMENT_TYPES if item == kind),
        required=table.flag("required"),
        choices=tuple(choices),
        suggestions=tuple(suggestions),
        description=table.text("description") or "",
        max_length=table.positive("max_length"),
        if_true=table.text("if_true"),
        from_brand=table.one_of("from_brand", BRAND_FIELDS),
        wording={**choices, **suggestions},
    )
    _consistent(argument, table)
    return _with_default(argument, table)


def _consistent(argument: TemplateArgument, table: TomlReader) -> None:
    """Note keys that contradict the type or each other."""
    kind = argument.type
    if (kind == "choice") != bool(argument.choices) and "choices" not in table.data:
        table.note("type 'choice' needs choices")
    elif argument.choices and kind != "choice":
        table.note(f"choices belong to type 'choice', not '{kind}'")
    for key in ("suggestions", "max_length", "if_true", "from_brand"):
        if key in table.data and kind != "string":
            table.note(f"{key} belongs to type 'string', not '{kind}'")
    folded = {normalise(value) for value in argument.values}
    if len(folded) < len(argument.values):
        table.note("two of its values differ only in case, spaces or hyphens")
    for key in ("default", "from_brand"):
        if argument.required and key in table.data:
            table.note(f"a required argument is always given, so {key} would never be used")


def _with_default(argument: TemplateArgument, table: TomlReader) -> TemplateArgument:
    if "default" not in table.data:
        off = argument.type == "boolean" and not argument.required
        return evolve(argument, default=False) if off else argument
    try:
        return evolve(argument, default=argument.read(table.data["default"]))
    except TemplateError as error:
        table.note(f"default: {str(error).removeprefix(argument.name + ': ')}")
        return argument


def _example(
    table: TomlReader, arguments: Mapping[str, TemplateArgument], inherited: frozenset[str]
) -> dict[str, object]:
    """The example's values, checked; those of arguments that were not inherited are left out."""
    example = table.table("example")
    given = {
        name: value
        for name, value in example.data.items()
        if name in arguments or name not in inherited
    }
    TomlReader(given, problems=table.problems, where="example: ").only(arguments)
    for name, spec in arguments.items():
        try:
            missing = spec.read(given.get(name)) is None
        except TemplateError as error:
            example.note(str(error))
        else:
            if missing and given and spec.required:
                example.note(f"the required argument '{name}' is missing")
    return given


def _tables(value: object) -> dict[str, dict[str, object]]:
    """Return the tables within a table."""
    if not is_table(value):
        return {}
    return {name: dict(item) for name, item in value.items() if is_table(item)}


def _merged(base: object, own: object) -> object:
    if own is None:
        return {} if base is None else base
    return {**base, **own} if is_table(base) and is_table(own) else own
