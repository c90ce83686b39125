"""Put one server into a YAML configuration: a block of lines of its own, and nothing else changes.

YAML is not read here: a whole parser for one client's file would weigh more than the entry. A file
whose lines could mean something else (other documents in it, braces around it, the server already
there in other words) is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

import gptimage


if TYPE_CHECKING:
    from gptimage_mcp.install.merge import ServerEntry

_MEMBER: Final = re.compile(r"[A-Za-z_][\w.-]*\s*:(\s|$)", re.ASCII)
"""A line of the outermost mapping; a list below it may begin without indentation, too."""

_WORDS: Final = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def merge_yaml(text: str, added: ServerEntry) -> str:
    """Return a YAML configuration with the server in it; every other line stays as it is.

    Raises:
        ConfigurationError: It has a form that is not understood here.
    """
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")] if text.strip() else []
    content = _content(lines)
    outermost = [line for line in content if not line.startswith((" ", "- "))]
    if not all(map(_MEMBER.match, [*content[:1], *outermost])):
        raise gptimage.ConfigurationError("it is no plain YAML mapping")
    unclear = gptimage.ConfigurationError(f"its {added.table!r} has a form not understood here")
    heads = [at for at, line in enumerate(lines) if re.match(rf"{added.table}\s*:", line)]
    if not heads:
        return "".join([*lines, f"{added.table}:\n", *_block(added, "  ")])
    head = re.fullmatch(rf"({added.table}\s*:)\s*(\{{\s*\}})?\s*(#.*)?\n", lines[heads[0]])
    if len(heads) > 1 or head is None:
        raise unclear
    before, inside = lines[: heads[0]], _inside(lines[heads[0] + 1 :])
    rest = lines[heads[0] + 1 :]
    members = _content(inside)
    # A list may have no indentation; and nothing stands below empty braces.
    if (not members and _content(rest)[:1] and _content(rest)[0].startswith("-")) or (
        head[2] and members
    ):
        raise unclear
    indent = members[0][: len(members[0]) - len(members[0].lstrip(" "))] if members else "  "
    block = _block(added, indent)
    name = re.compile(rf"{indent}(['\"]?){re.escape(added.name)}\1\s*:")
    known = [number for number, line in enumerate(inside) if name.match(line)]
    if known and inside[known[0] : known[0] + len(block)] == block:
        return text
    if known:
        raise gptimage.ConfigurationError(f"it has another {added.table}.{added.name} already")
    first = f"{head[1]} {head[3] or ''}".rstrip() + "\n" if head[2] else head[0]
    return "".join([*before, first, *block, *rest])


def _content(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _inside(lines: list[str]) -> list[str]:
    """Return the lines that belong to the mapping above them."""
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith((" ", "#")):
            return lines[:number]
    return lines


def _block(added: ServerEntry, indent: str) -> list[str]:
    step = " " * max(2, len(indent))
    lines = [f"{indent}{_name(added.name)}:\n"]
    for key, value in added.merged(None).items():
        if isinstance(value, dict):
            lines.append(f"{indent}{step}{key}:\n")
            pairs = cast("dict[str, Any]", value).items()
            lines += [f"{indent}{step}{step}{name}: {_scalar(each)}\n" for name, each in pairs]
        else:
            lines.append(f"{indent}{step}{key}: {_scalar(value)}\n")
    return lines


def _name(name: str) -> str:
    """Return a name as a key; YAML takes some words for something else."""
    return json.dumps(name) if name.lower() in _WORDS else name


def _scalar(value: Any) -> str:
    """Return a value as JSON, which is YAML, too; what YAML takes for line ends is escaped."""
    written = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", written)
