"""Reads a folder of template files and reports every problem of every file at once."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, TypeAlias

from attrs import field, frozen

from gptimage._internal.text import reason
from gptimage.errors import TemplateError
from gptimage.templates.arguments import (
    BRAND_FIELDS,
    Brand,
    TomlReader,
    did_you_mean,
    is_list,
    is_table,
    short_repr,
)
from gptimage.templates.definition import TEMPLATE_NAME, Definition, build
from gptimage.templates.language import NAME
from gptimage.templates.template import PromptTemplate
from gptimage.types.request import ReferenceImage


# JSON templates, brought into the shape of the TOML files.
#
#     {"name", "title", "description", "template",
#      "arguments": {"required": [...], "optional": [...]},
#      "metadata": {"recommended_size", "quality", "background", "format", "style"}}
#
# A list names arguments that take any text; a table of name to definition gives each the keys of
# the TOML files. The image models know no ``style`` parameter, so it becomes a closing sentence.

_KEYS: Final = ("name", "title", "description", "arguments", "template", "metadata")
_METADATA: Final = ("recommended_size", "quality", "background", "format", "style")
_OLD_QUALITIES: Final[Mapping[str, str]] = {"standard": "medium", "hd": "high"}
"""DALL-E's words for quality and what they are called today."""


def from_json(data: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    """Return the keys and values a TOML file would hold.

    Args:
        data: The file's object.
        problems: Receives one sentence per problem.
    """
    table = TomlReader(data, problems=problems)
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


def _arguments(table: TomlReader) -> dict[str, object]:
    table.only(("required", "optional"))
    found: dict[str, object] = {}
    for key in ("required", "optional"):
        for name, definition in _named(key, table).items():
            if name in found:
                table.note(f"'{name}' is declared twice")
            extra = {"required": True} if key == "required" else {}
            found[name] = {**definition, **extra} if is_table(definition) else definition
    return found


def _named(key: str, table: TomlReader) -> Mapping[str, object]:
    """Return a list of names, or a table of name to definition, as the latter."""
    value = table.data.get(key, [])
    if is_table(value):
        return value
    if is_list(value):
        names = [name for name in value if isinstance(name, str)]
        if len(names) == len(value) == len(set(names)):
            return {name: {} for name in names}
    table.note(f"{key} must be a list of different names, or a table of name to definition")
    return {}


def _recommended(metadata: TomlReader) -> dict[str, object]:
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
    """Return text that the template language reads as itself."""
    doubled = re.sub(r"[{}]", lambda brace: brace[0] * 2, text)
    return re.sub(r"[\[\]]", lambda bracket: f"{{{bracket[0]}}}", doubled).rstrip(".")


BRAND_FILE: Final = "brand.toml"
_LARGEST: Final = 256 * 1024
_DEEPEST: Final = 16
_PARTS: Final = 32
_PART: Final = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY: Final = re.compile(
    rf"(?:^[ \t\[]*+|[{{,][ \t]*+)(?:{_PART}[ \t]*+\.[ \t]*+){{{_PARTS},}}+{_PART}[ \t]*+[=\]]",
    re.MULTILINE,
)
"""A dotted key whose parsing takes memory by the square of its length: 1.5 GB for 40 kB."""

Stamp: TypeAlias = frozenset[tuple[str, int, int]]
"""Name, time of change in nanoseconds and size in bytes of every file."""


@frozen
class Folder:
    """The contents of a folder of templates.

    Attributes:
        templates: The templates, in the order of their names.
        brand: The brand of ``brand.toml``, or None.
    """

    templates: tuple[PromptTemplate, ...]
    brand: Brand | None


@frozen
class _Problems:
    """Problems by file name."""

    found: dict[str, list[str]] = field(factory=dict[str, list[str]])

    def of(self, file: str) -> list[str]:
        return self.found.setdefault(file, [])

    def lines(self) -> list[str]:
        return [f"{file}: {line}" for file, lines in self.found.items() for line in lines]


@cache
def builtin() -> tuple[PromptTemplate, ...]:
    """Return the templates that come with the library, read once."""
    problems = _Problems()
    templates = _built(_builtin_definitions(), None, problems)
    if lines := problems.lines():
        raise TemplateError(f"built-in templates: {'; '.join(lines)}", problems=lines)
    return templates


def read(folder: Path) -> Folder:
    """Read every ``*.toml`` and ``*.json`` file directly in a folder.

    Raises:
        TemplateError: Anything is wrong with any file; ``.problems`` names each problem.
    """
    problems = _Problems()
    brand: Brand | None = None
    definitions: dict[str, Definition] = {}
    for path in _files(folder):
        if path.name == BRAND_FILE:
            brand = _brand(path, problems.of(path.name))
            continue
        definition = _definition(path, problems.of(path.name))
        if definition is None:
            continue
        if other := definitions.get(definition.name):
            twice = (
                f"the name '{definition.name}' is already taken by {Path(other.file or '').name}"
            )
            problems.of(path.name).append(twice)
        definitions.setdefault(definition.name, definition)
    templates = _built(definitions, brand, problems)
    if lines := problems.lines():
        raise _failed(folder, lines, problems)
    return Folder(templates, brand)


def stamp(folder: Path) -> Stamp:
    """Return what tells whether any file was added, changed or removed."""
    found: set[tuple[str, int, int]] = set()
    for path in _files(folder):
        try:
            status = path.stat()
        except OSError:
            continue
        found.add((path.name, status.st_mtime_ns, status.st_size))
    return frozenset(found)


def _files(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise TemplateError(
            f"cannot read the template folder {folder}: {reason(error)}", file=str(folder)
        ) from error
    return [
        path
        for path in paths
        if path.suffix in {".toml", ".json"} and not path.name.startswith(".")
    ]


def _definition(path: Path, problems: list[str]) -> Definition | None:
    """The content of a file, or None when it cannot be read so far that building makes sense."""
    content = _parsed(path, problems)
    if problems:
        return None
    if not is_table(content):
        problems.append("must hold one JSON object")
        return None
    data = from_json(content, problems) if path.suffix == ".json" else content
    name = data.get("name", path.stem)
    if not isinstance(name, str) or not TEMPLATE_NAME.fullmatch(name):
        problems.append(
            f"the name {short_repr(name)} cannot be used: lower-case letters, digits, _ and -, "
            "at most 64 characters; it is the key 'name' or else the file's own name"
        )
        return None
    return Definition(name=name, data=data, file=str(path))


def _parsed(path: Path, problems: list[str]) -> object:
    if not path.is_file():  # opening a pipe would wait for its writer
        problems.append("cannot be read: it is no file")
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            problems.append(f"is larger than {_LARGEST // 1024} KiB, which no template needs")
            return None
        text = content.decode("utf-8-sig")
        if path.suffix != ".json" and _LONG_KEY.search(text):
            problems.append(f"has a key of more than {_PARTS} parts, which no template needs")
            return None
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        problems.append(f"cannot be read: {reason(error)}")
    except UnicodeDecodeError as error:
        problems.append(f"is not UTF-8 text (byte {error.start})")
    except RecursionError:
        problems.append("is nested too deeply")
    except ValueError as error:
        problems.append(f"is not valid {path.suffix[1:].upper()}: {error}")
    return None


def _brand(path: Path, problems: list[str]) -> Brand | None:
    data = _parsed(path, problems)
    if not is_table(data):
        return None
    table = TomlReader(data, problems=problems)
    table.only((*BRAND_FIELDS, "images"))
    inner = table.table("images")
    images = tuple(
        image for name in inner.data if (image := _image(name, inner.table(name), path.parent))
    )
    return Brand(**{field: table.phrase(field) for field in BRAND_FIELDS}, images=images)


def _image(name: str, table: TomlReader, folder: Path) -> ReferenceImage | None:
    """Return an image of the brand, whose file lies below the folder of ``brand.toml``.

    A folder of templates may be somebody else's: nothing outside it is read and uploaded for it.
    """
    table.only(("file", "about"))
    file, about = table.text("file"), table.phrase("about")
    if not NAME.fullmatch(name):
        table.note("cannot be a name: use lower-case letters, digits and _")
    elif file is None or about is None:
        table.note('needs file = "logo.png" and about = "what it is, and what has to stay"')
    else:
        try:
            place = (folder / file).resolve()
            found = place.is_file()
        except (OSError, ValueError):  # too long, a circle of links, or a null character in it
            table.note(f"file {short_repr(file)} is no name of a file")
            return None
        if not place.is_relative_to(folder.resolve()):
            table.note(f"file {short_repr(file)} lies outside the folder of the templates")
        elif not found:
            table.note(f"file {short_repr(file)} is not there")
        else:
            return ReferenceImage(name=name, file=place, about=about)
    return None


def _built(
    definitions: Mapping[str, Definition], brand: Brand | None, problems: _Problems
) -> tuple[PromptTemplate, ...]:
    found: list[PromptTemplate] = []
    for name in sorted(definitions):
        definition = definitions[name]
        noted = problems.of(Path(definition.file or name).name)
        whole = _extended(definition, definitions, noted)
        if whole is not None:
            found.append(build(whole, brand, noted))
    return tuple(found)


def _extended(
    definition: Definition, others: Mapping[str, Definition], problems: list[str], depth: int = 0
) -> Definition | None:
    """Return the definition with all it extends, or None when that cannot be found."""
    wanted = definition.data.get("extends")
    if wanted is None:
        return definition
    builtins = _builtin_definitions()
    known = sorted(({*others} - {definition.name}) | {*builtins})
    if not isinstance(wanted, str) or wanted not in known:
        problems.append(
            f"extends {short_repr(wanted)}, which does not exist"
            f"{did_you_mean(str(wanted), known)}; there are {', '.join(known)}"
        )
        return None
    if depth == _DEEPEST:
        problems.append("extends a template that in the end extends itself")
        return None
    base = builtins.get(wanted) if wanted == definition.name else others.get(wanted)
    whole = _extended(base or builtins[wanted], others, problems, depth + 1)
    return None if whole is None else definition.over(whole)


@cache
def _builtin_definitions() -> Mapping[str, Definition]:
    files = resources.files("gptimage.templates").joinpath("builtin").iterdir()
    return {
        file.name.removesuffix(".toml"): Definition(
            name=file.name.removesuffix(".toml"), data=tomllib.loads(file.read_text("utf-8"))
        )
        for file in files
        if file.name.endswith(".toml")
    }


def _failed(folder: Path, lines: list[str], problems: _Problems) -> TemplateError:
    """Return one error that names the first problems and carries all."""
    files = [file for file, noted in problems.found.items() if noted]
    more = f"; and {len(lines) - 3} more, see .problems" if len(lines) > 3 else ""
    what = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return TemplateError(
        f"{what} in the templates of {folder}: {'; '.join(lines[:3])}{more}",
        file=str(folder / files[0]) if len(files) == 1 else str(folder),
        problems=lines,
    )
