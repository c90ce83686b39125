"""Reads parameters strictly: JSON types from JSON, text from forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from attrs import frozen

from gptimage.sandbox import _refusal


_WHOLE: Final = re.compile(r"-?\d{1,18}")


@frozen
class Reader:
    """The parameters of one request, or of an object inside it.

    Attributes:
        body: The values as they were sent.
        form: Whether they came from a multipart form, where everything is text.
        prefix: The path of the object, such as ``svg.``.
    """

    body: Mapping[str, object]
    form: bool
    prefix: str = ""

    def only(self, known: Iterable[str]) -> None:
        """Refuse parameters that are not known, and those given twice."""
        allowed = frozenset(known)
        for name, value in self.body.items():
            if name not in allowed:
                raise _refusal.unknown(f"{self.prefix}{name}"[:200])
            if self.form and isinstance(value, list):
                raise _refusal.duplicate(f"{self.prefix}{name}")

    def given(self, name: str) -> bool:
        """Whether a parameter was sent with a value other than null."""
        return self.body.get(name) is not None

    def text(self, name: str, *, limit: int | None = None, required: bool = False) -> str | None:
        """A string; None when left out."""
        param = self.prefix + name
        if required and name not in self.body:
            raise _refusal.missing(param)
        value = self.body.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, str):
            raise _refusal.wrong_type(param, "a string", value)
        if required and not value:
            raise _refusal.empty(param)
        if limit is not None and len(value) > limit:
            raise _refusal.too_long(param, len(value), limit)
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        """A string from a list; None when left out."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise _refusal.not_one_of(self.prefix + name, value, allowed)
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """An integer within limits; None when left out."""
        value, param = self.body.get(name), self.prefix + name
        if value is None:
            return None
        if self.form and isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refusal.wrong_type(param, "an integer", value)
        if not low <= value <= high:
            raise _refusal.out_of_range(param, value, low, high)
        return value

    def flag(self, name: str) -> bool:
        """A boolean; False when left out."""
        value = self.body.get(name)
        if self.form and isinstance(value, str):
            value = {"true": True, "false": False}.get(value, value)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise _refusal.wrong_type(self.prefix + name, "a boolean", value)
        return value

    def object(self, name: str) -> Reader | None:
        """A nested object; None when left out."""
        value = self.body.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _refusal.wrong_type(self.prefix + name, "an object", value)
        return Reader(cast("dict[str, object]", value), self.form, f"{self.prefix}{name}.")
