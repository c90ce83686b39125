"""Writes the reference half of ``docs/templates.md`` from the built-in templates themselves.

``python docs/generate_templates.py`` rewrites the page, ``--check`` only says whether it is old.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gptimage.templates import PromptTemplate, PromptTemplates, TemplateArgument


PAGE: Final = Path(__file__).with_name("templates.md")
MARK: Final = "<!-- From here on written by docs/generate_templates.py; do not edit. -->\n"


def main(arguments: list[str]) -> int:
    """Rewrite the page, or check it; the exit code is 1 when a checked page is old."""
    text = PAGE.read_text(encoding="utf-8")
    fresh = page(text)
    if "--check" in arguments:
        return int(text != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


def page(text: str) -> str:
    """The page with its hand-written half kept and the other made anew."""
    by_hand, mark, _ = text.partition(MARK)
    if not mark:
        message = f"{PAGE.name} has lost its mark: {MARK}"
        raise SystemExit(message)
    return by_hand + mark + "\n".join(_reference()) + "\n"


def _reference() -> Iterator[str]:
    yield "\n## The ten"
    for template in PromptTemplates.builtin().values():
        yield from _section(template)


def _section(template: PromptTemplate) -> Iterator[str]:
    yield f"\n### {template.name}\n"
    yield f"{template.description} Recommends {_recommendations(template)}.\n"
    yield "| argument | type | what it is for |\n|---|---|---|"
    yield from map(_row, template.arguments)
    yield "\n```python"
    yield f'templates.render(\n    "{template.name}",'
    yield from (f"    {name}={_literal(value)}," for name, value in template.example.items())
    yield ")\n```\n"
    yield "> " + template.render(template.example).text.replace("\n\n", "\n>\n> ")


def _row(argument: TemplateArgument) -> str:
    kind = argument.type if argument.max_length is None else f"text up to {argument.max_length}"
    needed = ", required" if argument.required else ""
    if argument.default not in {None, False}:
        needed = f", `{argument.default}` by default"
    values = argument.choices or argument.suggestions
    listed = ", ".join(f"`{value}`" for value in values)
    such = "One of" if argument.choices else "Such as"
    more = f" {such} {listed}." if listed else ""
    return f"| `{argument.name}` | {kind}{needed} | {argument.description}{more} |"


def _recommendations(template: PromptTemplate) -> str:
    return ", ".join(
        f"{name} {_setting(value)}" for name, value in template.recommendations.items()
    )


def _setting(value: str | dict[str, dict[str, str]]) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    argument, choices = next(iter(value.items()))
    each = ", ".join(f"`{setting}` for {choice}" for choice, setting in choices.items())
    return f"by `{argument}` ({each.replace('for else', 'otherwise')})"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
