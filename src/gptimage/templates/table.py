"""Reads one table of a template file key by key; what is wrong is noted, never raised.

So that one load reports every problem of every file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeGuard

from attrs import field, frozen

from gptimage.templates.arguments import did_you_mean, show


@frozen(kw_only=True)
class Table:
    """A table and where it stands.

    Attributes:
        data: The keys and values as the file holds them.
        problems: Receives one sentence per problem.
        where: The table's place, such as ``"arguments.title: "``; empty for the whole file.
    """

    data: Mapping[str, object] = field(kw_only=False)
    problems: list[str]
    where: str = ""

    def only(self, allowed: Iterable[str]) -> None:
        """Note every key that is not among these."""
        names = tuple(allowed)
        for key in self.data.keys() - set(names):
            meant = did_you_mean(key, names)
            self.note(f"unknown key {show(key)}{meant}; the keys are {', '.join(names)}")

    def note(self, problem: str) -> None:
        """Add a problem with its place."""
        self.problems.append(f"{self.where}{problem}")

    def text(self, key: str) -> str | None:
        """Text that is not blank, stripped."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.note(f"{key} must be text that is not empty")
        return None

    def flag(self, key: str) -> bool:
        """``true`` or ``false``; false when absent."""
        value = self.data.get(key, False)
        if isinstance(value, bool):
            return value
        self.note(f"{key} must be true or false")
        return False

    def positive(self, key: str) -> int | None:
        """A whole number above zero."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
            return value
        self.note(f"{key} must be a whole number above zero")
        return None

    def one_of(self, key: str, allowed: Iterable[str]) -> str | None:
        """One of these words."""
        value, names = self.text(key), tuple(allowed)
        if value is None or value in names:
            return value
        self.note(f"{key} {show(value)} is not one of {', '.join(names)}")
        return None

    def table(self, key: str) -> Table:
        """The table under this key; empty when absent."""
        value = self.data.get(key, {})
        where = f"{self.where.removesuffix(': ')}.{key}: ".lstrip(".")
        if is_table(value):
            return Table(value, problems=self.problems, where=where)
        self.note(f"{key} must be a table")
        return Table({}, problems=self.problems, where=where)

    def worded(self, key: str) -> dict[str, str]:
        """A list of values, or a table of value to wording, as the latter."""
        value = self.data.get(key)
        if value is None:
            return {}
        if is_list(value) and value:
            found = {str(item): str(item) for item in value if _is_word(item)}
            if len(found) == len(value):
                return found
        if is_table(value) and value:
            words = {name: text.strip() for name, text in value.items() if _is_word(text)}
            if len(words) == len(value) and all(map(_is_word, words)):
                return words
        self.note(f"{key} must be a list of different words, or a table of word to wording")
        return {}

    def phrase(self, key: str) -> str | None:
        """Text, or a list of texts joined as in a sentence."""
        value = self.data.get(key)
        if is_list(value) and value:
            items = [item.strip() for item in value if _is_word(item)]
            if len(items) == len(value):
                return ", ".join(items[:-1]) + " and " + items[-1] if items[1:] else items[0]
        if value is None or isinstance(value, str):
            return self.text(key)
        self.note(f"{key} must be text or a list of texts")
        return None


def is_table(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a value read from TOML or JSON is a table (whose keys are always text)."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a value read from TOML or JSON is a list."""
    return isinstance(value, list)


def _is_word(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
