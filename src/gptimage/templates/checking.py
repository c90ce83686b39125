"""What can be known wrong about a template before anyone renders it.

A template that passes renders cleanly with every subset of its optional arguments: whatever may
be missing stands in a section or a branch that goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gptimage.templates.arguments import TemplateArgument, did_you_mean
from gptimage.templates.brand import BRAND_FIELDS
from gptimage.templates.language import Branches, Condition, Part, Section, Text, Variable, fold


def check(
    parts: tuple[Part, ...], arguments: Mapping[str, TemplateArgument], brand: frozenset[str]
) -> list[str]:
    """Every problem, one sentence each.

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
    """Every name the template mentions, in variables and conditions."""
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
    known = {fold(value) for value in spec.values} if spec else set[str]()
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
