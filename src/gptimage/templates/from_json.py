"""JSON templates, brought into the shape of the TOML files.

    {"name", "title", "description", "template",
     "arguments": {"required": [...], "optional": [...]},
     "metadata": {"recommended_size", "quality", "background", "format", "style"}}

A list names arguments that take any text; a table of name to definition gives each the keys of
the TOML files. The image models know no ``style`` parameter, so it becomes a closing sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gptimage.templates.table import Table, is_list, is_table


_KEYS: Final = ("name", "title", "description", "arguments", "template", "metadata")
_METADATA: Final = ("recommended_size", "quality", "background", "format", "style")
_OLD_QUALITIES: Final[Mapping[str, str]] = {"standard": "medium", "hd": "high"}
"""DALL-E's words for quality and what they are called today."""


def from_json(data: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    """The keys and values a TOML file would hold.

    Args:
        data: The file's object.
        problems: Receives one sentence per problem.
    """
    table = Table(data, problems=problems)
    table.only(_KEYS)
    metadata = table.table("metadata")
    metadata.only(_METADATA)
    found = {key: data[key] for key in ("name", "title", "description", "template") if key in data}
    style, template = metadata.text("style"), found.get("template")
    if style and isinstance(template, str):
        found["template"] = f"{template}\n\nThe overall style is {_escaped(style)}."
    found["arguments"] = _arguments(table.table("arguments"))
    found["recommended"] = _recommended(metadata)
    return found


def _arguments(table: Table) -> dict[str, object]:
    table.only(("required", "optional"))
    found: dict[str, object] = {}
    for key in ("required", "optional"):
        for name, definition in _named(key, table).items():
            if name in found:
                table.note(f"'{name}' is declared twice")
            extra = {"required": True} if key == "required" else {}
            found[name] = {**definition, **extra} if is_table(definition) else definition
    return found


def _named(key: str, table: Table) -> Mapping[str, object]:
    """A list of names, or a table of name to definition, as the latter."""
    value = table.data.get(key, [])
    if is_table(value):
        return value
    if is_list(value):
        names = [name for name in value if isinstance(name, str)]
        if len(names) == len(value) == len(set(names)):
            return {name: {} for name in names}
    table.note(f"{key} must be a list of different names, or a table of name to definition")
    return {}


def _recommended(metadata: Table) -> dict[str, object]:
    found = {
        setting: metadata.data[key]
        for key, setting in (
            ("recommended_size", "size"),
            ("quality", "quality"),
            ("background", "background"),
            ("format", "format"),
        )
        if key in metadata.data
    }
    quality = found.get("quality")
    if isinstance(quality, str):
        found["quality"] = _OLD_QUALITIES.get(quality, quality)
    return found


def _escaped(text: str) -> str:
    """Text that the template language reads as itself."""
    doubled = re.sub(r"[{}]", lambda brace: brace[0] * 2, text)
    return re.sub(r"[\[\]]", lambda bracket: f"{{{bracket[0]}}}", doubled).rstrip(".")
