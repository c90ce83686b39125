"""Naming: a template for the file names of pictures, for people who want their own.

Whatever a prompt holds, the rendered name stays inside the dated folder, is short enough
and legal on Linux, macOS, Windows and object stores.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from gptimage.errors import ConfigurationError
from gptimage.store.keys import is_key
from gptimage.types.record import Record


DEFAULT: Final = "{date}/{id}"
"""The name of a picture's files below ``images/``."""

EXPORT: Final = "{date:flat}-{prompt:slug}-{id}"
"""The name of an exported picture."""

_VALUES: Final[Mapping[str, Callable[[Record], str]]] = {
    "date": lambda record: f"{record.created:%Y/%m/%d}",
    "date:flat": lambda record: f"{record.created:%Y-%m-%d}",
    "time": lambda record: f"{record.created:%H%M%S}",
    "id": lambda record: record.id,
    "operation": lambda record: slug(record.operation, 20),
    "index": lambda record: str(record.index),
    "width": lambda record: str(record.width or 0),
    "height": lambda record: str(record.height or 0),
    "prompt:slug": lambda record: slug(record.prompt, 60),
    "model:slug": lambda record: slug(record.model, 40),
    "template:slug": lambda record: slug(record.template or "", 30),
}

_LONGEST: Final[Mapping[str, int]] = {
    "date": 1,  # ends in a folder of its own
    "date:flat": 10,
    "time": 6,
    "id": 58,
    "operation": 20,
    "index": 3,
    "width": 6,
    "height": 6,
    "prompt:slug": 60,
    "model:slug": 40,
    "template:slug": 30,
}
_MAX_TEMPLATE: Final = 200
_MAX_NAME: Final = 220
"""Bytes of a name; every file system takes these, with ``.original.jpeg`` behind them."""


class Naming:
    """A checked naming template.

    Args:
        template: Text with fields: ``{date}`` (2026/11/20, as folders), ``{date:flat}``
            (2026-11-20), ``{time}``, ``{id}``, ``{operation}``, ``{index}``, ``{width}``,
            ``{height}``, ``{prompt:slug}``, ``{model:slug}``, ``{template:slug}``. It must
            contain ``{id}``, so that no two pictures ever want the same name.
        dated: Whether it must start with ``{date}/``, as it must in a store: folders stay
            small, and machines that share a store find what is new by listing few of them.

    Raises:
        ConfigurationError: The template breaks a rule.
    """

    def __init__(self, template: str, *, dated: bool = True) -> None:
        self.template = template
        self._parts = _parse(template)
        fields = [name for _, name in self._parts if name]
        if "id" not in fields:
            raise _wrong(template, "it must contain {id}")
        if dated and not template.startswith("{date}/"):
            raise _wrong(template, "it must start with {date}/")
        if "." in "".join(text for text, _ in self._parts):
            raise _wrong(template, "it must not contain a dot: the extension follows the bytes")
        longest = "".join(text + "x" * _LONGEST.get(name, 0) for text, name in self._parts)
        if any(len(part.encode()) > _MAX_NAME for part in longest.split("/")):
            raise _wrong(template, f"a name could be longer than {_MAX_NAME} bytes")
        if not is_key("".join(text + ("x" if name else "") for text, name in self._parts)):
            raise _wrong(template, "it holds characters or names some systems do not allow")

    def stem(self, record: Record) -> str:
        """The name of the record's files, without an extension."""
        rendered = "".join(
            text + (_VALUES[name](record) if name else "") for text, name in self._parts
        )
        return "/".join(_legal(part) for part in rendered.split("/"))


def slug(text: str, max_bytes: int) -> str:
    """Letters, digits and hyphens of any script, lower case, at most so many UTF-8 bytes."""
    plain = unicodedata.normalize("NFC", text[:1000].lower())
    kept = "".join(char if unicodedata.category(char)[0] in "LMN" else "-" for char in plain)
    short = re.sub("-+", "-", kept).encode()[:max_bytes].decode(errors="ignore")
    return short.strip("-") or "untitled"


def _legal(part: str) -> str:
    """A slug may spell a name Windows reserves, such as ``con``."""
    return part if is_key(part) else f"{part}_"


def _parse(template: str) -> list[tuple[str, str]]:
    if len(template) > _MAX_TEMPLATE:
        raise _wrong(template, f"it may have {_MAX_TEMPLATE} characters")
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise _wrong(template, str(error)) from error
    return [(text, _field(template, name, spec, mark)) for text, name, spec, mark in parsed]


def _field(template: str, name: str | None, spec: str | None, conversion: str | None) -> str:
    if name is None:
        return ""
    full = f"{name}:{spec}" if spec else name
    if conversion or full not in _VALUES:
        allowed = ", ".join(f"{{{each}}}" for each in _VALUES)
        raise _wrong(template, f"{{{full}}} is no field; there are {allowed}")
    return full


def _wrong(template: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"naming {template[:80]!r} cannot be used: {problem}")
