"""The template language: text in, a small tree out. It must never run code.

    {name}                        the argument's text
    {a name}  {A name}            the same with "a" or "an" before it
    [, lit by {name}]             an optional section: gone when `name` was not given
    {if name} ... {else} ... {end}
    {if name is gold or silver} ... {else if not name} ... {end}
    {{ }} {[} {]}                 the four special characters themselves

Text of arguments is never parsed, so it cannot be mistaken for any of these.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from attrs import field, frozen


RESERVED: Final = frozenset({"a", "an", "base", "else", "end", "if", "is", "not", "or"})
"""Words of the language, which no argument can have as its name."""

NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
"""What an argument's name looks like."""

_DEEPEST: Final = 16
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{\[\}|\{\]\}|\{[^{}]*\}|[\[\]{}]|[^\[\]{}]+")
_LITERAL: Final = {"{{": "{", "}}": "}", "{[}": "[", "{]}": "]"}
_VARIABLE: Final = re.compile(r"(?:(a|an|A|An)\s+)?([a-z][a-z0-9_]*(?:\.[a-z]+)?)")
_CONDITION: Final = re.compile(
    r"if\s+(not\s+)?([a-z][a-z0-9_]*(?:\.[a-z]+)?)(?:\s+is\s+(not\s+)?(\S.*))?", re.DOTALL
)
_GAP: Final = re.compile(r"[ \t\r\n]+(?=(- )?)")


@frozen
class Text:
    """Words of the template itself.

    Attributes:
        text: The words, with line ends turned into spaces and blank lines preserved.
    """

    text: str


@frozen(kw_only=True)
class Variable:
    """A place where an argument's text goes.

    Attributes:
        name: The argument, or ``brand.`` and a field of the brand.
        article: ``"a"``, ``"A"`` or nothing.
        quoted: Whether it stands between straight double quotes.
        line: Line of the template, from 1.
    """

    name: str = field(kw_only=False)
    article: str = ""
    quoted: bool = False
    line: int = 1


@frozen
class Section:
    """Words that disappear when an argument directly inside was not given.

    Attributes:
        parts: What is inside.
        line: Line of the template, from 1.
    """

    parts: tuple[Part, ...]
    line: int = 1

    @property
    def needs(self) -> frozenset[str]:
        """Names of the variables directly inside, not those of inner sections or branches."""
        return frozenset(part.name for part in self.parts if isinstance(part, Variable))


@frozen(kw_only=True)
class Condition:
    """A question about one argument.

    Attributes:
        name: The argument, or ``brand.`` and a field of the brand.
        values: Values it is compared with; empty to ask whether it was given (or is true).
        negated: Whether the condition is turned round.
        line: Line of the template, from 1.
    """

    name: str = field(kw_only=False)
    values: tuple[str, ...] = ()
    negated: bool = False
    line: int = 1


@frozen
class Branches:
    """Alternatives: the first whose condition holds, or the one without a condition.

    Attributes:
        cases: Condition (None for ``{else}``) and what stands in that branch.
    """

    cases: tuple[tuple[Condition | None, tuple[Part, ...]], ...]


Part: TypeAlias = Text | Variable | Section | Branches


class _BrokenError(Exception):
    """The structure is broken, so reading on would only add misleading problems."""


def parse(text: str, problems: list[str]) -> tuple[Part, ...]:
    """Read a template, adding a line to ``problems`` for everything that is wrong.

    Args:
        text: The template as its author wrote it.
        problems: Receives one sentence per problem, each with its line.
    """
    try:
        return _Parser(text, problems).whole()
    except _BrokenError as broken:
        problems.append(str(broken))
        return ()


def normalise(value: str) -> str:
    """Return the form in which values are compared: case, spaces and underscores do not matter."""
    return re.sub(r"[\s_-]+", "-", value.strip()).lower()


class _Parser:
    def __init__(self, text: str, problems: list[str]) -> None:
        self._problems = problems
        self._tokens = list(_numbered(text))
        self._next = 0
        self._quoted = False

    def whole(self) -> tuple[Part, ...]:
        parts, closer, line = self._parts(0)
        if closer:
            raise _BrokenError(f"line {line}: {closer} closes nothing that is open")
        if self._quoted:
            raise _BrokenError('a quotation mark (") is opened and never closed')
        return parts

    def _parts(self, depth: int) -> tuple[tuple[Part, ...], str, int]:
        """Return everything up to a closing token, which is returned with its line."""
        parts: list[Part] = []
        while self._next < len(self._tokens):
            token, line = self._tokens[self._next]
            self._next += 1
            if token == "]" or _tag(token) in {"else", "end", "else if"}:
                return tuple(parts), token, line
            if depth > _DEEPEST:
                raise _BrokenError(f"line {line}: nested deeper than {_DEEPEST} levels")
            part = self._part(token, line, depth)
            if part is not None:
                parts.append(part)
        return tuple(parts), "", 0

    def _part(self, token: str, line: int, depth: int) -> Part | None:
        if token == "[":
            return self._section(line, depth)
        if _tag(token) == "if":
            return self._branches(token, line, depth)
        if token in _LITERAL:
            return Text(_LITERAL[token])
        if token in {"{", "}"}:
            self._note(line, f"a lone {token} means nothing; write {token * 2} for the character")
            return None
        if token.startswith("{"):
            return self._variable(token, line)
        if token.count('"') % 2:
            self._quoted = not self._quoted
        return Text(_GAP.sub(_reflow, token))

    def _section(self, line: int, depth: int) -> Section:
        parts, closer = self._enclosed(line, depth, "[")
        if closer != "]":
            found = f"before {closer}" if closer else "at all"
            raise _BrokenError(f"line {line}: '[' is not closed {found}; write {{[}} for a bracket")
        section = Section(parts, line)
        if not section.needs:
            self._note(
                line,
                "a [section] must name an argument, such as {mood}, whose absence removes it; "
                "write {[} and {]} for brackets in the text",
            )
        return section

    def _branches(self, token: str, line: int, depth: int) -> Branches:
        cases: list[tuple[Condition | None, tuple[Part, ...]]] = []
        opened = line
        while True:
            if cases and cases[-1][0] is None:
                raise _BrokenError(f"line {line}: nothing but {{end}} can follow {{else}}")
            condition = None if _tag(token) == "else" else self._condition(token, line)
            parts, closer = self._enclosed(opened, depth, "{if}")
            cases.append((condition, parts))
            if _tag(closer) == "end":
                return Branches(tuple(cases))
            if closer in {"]", ""}:
                found = f"before {closer}" if closer else "at all"
                raise _BrokenError(f"line {opened}: {{if}} is not closed with {{end}} {found}")
            token, line = closer, self._tokens[self._next - 1][1]

    def _enclosed(self, line: int, depth: int, opener: str) -> tuple[tuple[Part, ...], str]:
        quoted = self._quoted
        parts, closer, _ = self._parts(depth + 1)
        if closer and quoted != self._quoted:
            raise _BrokenError(
                f'line {line}: a quotation mark (") inside {opener} has no partner there'
            )
        return parts, closer

    def _condition(self, token: str, line: int) -> Condition:
        words = token[1:-1].strip().removeprefix("else").strip()
        match = _CONDITION.fullmatch(words)
        if match is None:
            self._note(
                line,
                f"{token} is not understood; write {{if name}} or {{if name is value or other}}",
            )
            return Condition("", line=line)
        values = tuple(
            normalise(value.strip().strip('"'))
            for value in re.split(r"\s+or\s+", match[4] or "")
            if value
        )
        return Condition(
            match[2], values=values, negated=bool(match[1]) != bool(match[3]), line=line
        )

    def _variable(self, token: str, line: int) -> Variable | None:
        match = _VARIABLE.fullmatch(token[1:-1].strip())
        if match is None or match[2] in RESERVED:
            self._note(
                line,
                f"{token} is not understood; write {{name}}, {{a name}} or {{if name}}, "
                "and {{ or }} for a brace in the text",
            )
            return None
        return Variable(match[2], article=(match[1] or "")[:1], quoted=self._quoted, line=line)

    def _note(self, line: int, problem: str) -> None:
        self._problems.append(f"line {line}: {problem}")


def _numbered(text: str) -> list[tuple[str, int]]:
    """Return every token with the line it starts in."""
    found: list[tuple[str, int]] = []
    line = 1
    for match in _TOKEN.finditer(text):
        found.append((match[0], line))
        line += match[0].count("\n")
    return found


def _tag(token: str) -> str:
    """Which word of the language a token is: ``if``, ``else``, ``else if``, ``end`` or none."""
    words = token[1:-1].split() if token.startswith("{") else []
    if words[:2] == ["else", "if"]:
        return "else if"
    if words[:1] == ["if"] or words in (["else"], ["end"]):
        return words[0]
    return ""


def _reflow(gap: re.Match[str]) -> str:
    """A blank line starts a paragraph, a line of ``- `` stays a line, other ends are spaces."""
    ends = gap[0].count("\n")
    if ends > 1:
        return "\n\n"
    return "\n" if ends and gap[1] else " "
