"""Edit JSON with comments in place: what does not change stays, byte for byte.

Editors and agents keep their settings in JSON with ``//`` and ``/* */`` comments and commas before
a closing bracket. Writing such a file anew would lose them, so only the values that differ are
replaced, and what is missing is inserted after what is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

from attrs import frozen

import gptimage


_SPACE: Final = re.compile(r"(?:[ \t\r\n]++|//[^\n]*+|/\*.*?\*/)*+", re.DOTALL)
_SCALAR: Final = re.compile(
    r'"(?:[^"\\\x00-\x1f]|\\.)*+"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?'
    r"|true|false|null"
)


@frozen(kw_only=True)
class Node:
    """A value and where it stands in the text.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        value: What it means.
        children: The values in it, by key or by number; None for a scalar.
        has_trailing_comma: Whether a comma follows the last of them.
    """

    start: int
    end: int
    value: Any
    children: Mapping[str | int, Node] | None = None
    has_trailing_comma: bool = False


@frozen
class _Edit:
    start: int
    end: int
    text: str


def parse(text: str) -> Node:
    """Parse JSON with comments and trailing commas.

    Raises:
        ConfigurationError: It is something else, or has a key twice.
    """
    try:
        return _Parser(text).document()
    except RecursionError:
        raise gptimage.ConfigurationError("it is nested too deeply") from None


def rewrite(text: str, wanted: Mapping[str, Any]) -> str:
    """Return `text`, changed as little as possible to mean `wanted`.

    Raises:
        ConfigurationError: It is no JSON, with comments or without.
    """
    root = parse(text)
    parts: list[str] = []
    done = 0
    # Equal positions keep their order: a comma comes before what it separates.
    for edit in sorted(_edits(text, root, wanted, _unit(text)), key=lambda edit: edit.start):
        parts += [text[done : edit.start], edit.text]
        done = edit.end
    after = "".join([*parts, text[done:]])
    if not _is_same(parse(after).value, wanted):  # a wrong edit must never reach the file
        raise gptimage.ConfigurationError("it has a form that cannot be edited here")
    return after


class _Parser:
    """A recursive descent over the text; every method takes and returns positions."""

    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> Node:
        node = self._value(self._skip(0))
        if (end := self._skip(node.end)) != len(self._text):
            self._fail(end, "something follows its end")
        return node

    def _value(self, at: int) -> Node:
        if self._text[at : at + 1] in {"{", "["}:
            return self._container(at)
        found = _SCALAR.match(self._text, at)
        if found is None:
            self._fail(at, "a value is missing or not JSON")
        try:
            return Node(start=at, end=found.end(), value=json.loads(found[0]))
        except ValueError as error:  # an escape that does not exist, a number of 5,000 digits
            self._fail(at, str(error))

    def _container(self, start: int) -> Node:
        is_object = self._text[start] == "{"
        closing = "}" if is_object else "]"
        children: dict[str | int, Node] = {}
        at, has_comma = self._skip(start + 1), True
        while self._text[at : at + 1] != closing:
            if not has_comma:
                self._fail(at, "a comma or a closing bracket is missing")
            key: str | int = len(children)
            if is_object:
                key, at = self._key(at)
                if key in children:  # which of the two counts depends on the client
                    self._fail(at, f"the key {key!r} is there twice")
            children[key] = self._value(at)
            at = self._skip(children[key].end)
            if has_comma := self._text[at : at + 1] == ",":
                at = self._skip(at + 1)
        values = {key: node.value for key, node in children.items()}
        return Node(
            start=start,
            end=at + 1,
            value=values if is_object else [*values.values()],
            children=children,
            has_trailing_comma=has_comma and bool(children),
        )

    def _key(self, at: int) -> tuple[str, int]:
        """Return a key, and where its value begins."""
        node = self._value(at)
        colon = self._skip(node.end)
        if not isinstance(node.value, str) or self._text[colon : colon + 1] != ":":
            self._fail(at, "a key is missing")
        return node.value, self._skip(colon + 1)

    def _skip(self, at: int) -> int:
        """Return where the spaces and comments at `at` end."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _fail(self, at: int, problem: str) -> NoReturn:
        line = self._text.count("\n", 0, at) + 1
        raise gptimage.ConfigurationError(f"it is no JSON (line {line}: {problem})")


def _edits(text: str, node: Node, wanted: Any, unit: str) -> Iterator[_Edit]:
    """Yield what makes `node` mean `wanted`."""
    if _is_same(node.value, wanted):
        return
    if node.children is not None and type(node.value) is type(wanted):
        pairs: dict[str | int, Any] = {**cast("Mapping[Any, Any]", _by_key(wanted))}
        if node.children.keys() <= pairs.keys():
            for key, child in node.children.items():
                yield from _edits(text, child, pairs[key], unit)
            new = {key: pairs[key] for key in pairs if key not in node.children}
            if new:
                yield from _insertion(text, node, new, unit)
            return
    margin = _indentation(text, node.start)
    yield _Edit(node.start, node.end, _dump(wanted, unit, margin))


def _insertion(text: str, node: Node, new: Mapping[str | int, Any], unit: str) -> Iterator[_Edit]:
    children = [*(node.children or {}).values()]
    margin = _indentation(text, node.start)
    on_lines = not children or "\n" in text[node.start : node.end]
    inner = margin + unit
    if children and "\n" in text[node.start : children[0].start]:
        inner = _indentation(text, children[0].start)
    if children and node.children and not node.has_trailing_comma:
        yield _Edit(children[-1].end, children[-1].end, ",")
    items: list[str] = []
    for key, value in new.items():
        name = "" if isinstance(key, int) else f"{json.dumps(key, ensure_ascii=False)}: "
        items.append(name + (_dump(value, unit, inner) if on_lines else _dump(value)))
    # After the last thing in it, a comment included; only space is left before the bracket.
    at = len(text[: node.end - 1].rstrip(" \t\r\n"))
    between = f"\n{inner}" if on_lines else " "
    body = between + f",{between}".join(items) + ("," if node.has_trailing_comma else "")
    if on_lines and "\n" not in text[at : node.end - 1]:
        yield _Edit(at, node.end - 1, f"{body}\n{margin}")
    else:
        yield _Edit(at, at, body)


def _by_key(value: Any) -> Any:
    """Return what a list holds by number, and a dictionary as it is."""
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        return dict(enumerate(items))
    return value


def _dump(value: Any, unit: str | None = None, margin: str = "") -> str:
    written = json.dumps(value, indent=unit, ensure_ascii=False)
    return written.replace("\n", f"\n{margin}")


def _indentation(text: str, at: int) -> str:
    """Return the space at the beginning of the line of `at`."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """Return what one level is indented by; two spaces if the text does not show it."""
    found = re.search(r"^([ \t]+)[\"{\[]", text, re.MULTILINE)
    return found[1] if found else "  "


def _is_same(one: Any, other: Any) -> bool:
    """Return whether both are the same JSON; in Python, 1, 1.0 and True are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
