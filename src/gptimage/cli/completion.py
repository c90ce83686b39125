"""``gptimage completion``: prints a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from attrs import frozen

from gptimage._internal.data import data_text
from gptimage.cli.parser import build_parser
from gptimage.types.parameters import PARAMETERS


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    rows = list(_rows(build_parser(), ""))
    print(_fish(rows) if args.shell == "fish" else _case_script(rows, args.shell))
    return 0


@frozen(kw_only=True)
class _Row:
    """A command, such as ``batch submit``, and the words that may follow it.

    Attributes:
        path: The command; empty for ``gptimage`` alone.
        words: Sub-commands and values.
        flags: Options without a value.
        options: Options with a value, and the words it may be; none are files, or anything.
    """

    path: str
    words: tuple[str, ...]
    flags: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]

    @property
    def case(self) -> str:
        """The pattern of a ``case`` that stands for the command."""
        return self.path.replace(" ", "/") or "gptimage"

    @property
    def long_options(self) -> list[str]:
        """All options by their long names."""
        return _long((*self.flags, *self.options))


def _rows(parser: argparse.ArgumentParser, path: str) -> Iterator[_Row]:
    """Yield every command below a parser."""
    found: dict[str, argparse.ArgumentParser] = {}
    words: list[str] = []
    flags: list[str] = []
    options: dict[str, tuple[str, ...]] = {}
    actions: list[Any] = parser._actions  # argparse lists its options nowhere else
    for action in actions:
        choices: Any = action.choices
        if isinstance(choices, dict):
            found |= cast("dict[str, argparse.ArgumentParser]", choices)
        elif not action.option_strings:
            words += choices or ()
        elif action.nargs == 0:
            flags += action.option_strings
        else:
            known = PARAMETERS.get(action.dest)
            values = tuple(map(str, choices or (known.choices if known else ())))
            options |= dict.fromkeys(action.option_strings, values)
    yield _Row(path=path, words=(*found, *words), flags=tuple(flags), options=options)
    for name, each in found.items():
        yield from _rows(each, f"{path} {name}".strip())


def _case_script(rows: Sequence[_Row], shell: str) -> str:
    """Write a script for bash or zsh; the words typed so far choose the row of a table."""
    cases = "\n".join(
        f"        {row.case}) found='{' '.join((*row.words, *row.long_options))}' ;;"
        for row in rows
    )
    values: dict[str, list[str]] = {}
    for row in rows:
        for flag, choices in row.options.items():
            values.setdefault(" ".join(choices), []).append(f"{row.case}/{flag}")
    after = "\n".join(
        f"        {'|'.join(keys)}) found='{choices}' ;;" for choices, keys in values.items()
    )
    paths = "|".join(row.case for row in rows if row.path)
    script = data_text(__name__, f"completion.{shell}")
    for mark, text in {"@PATHS@": paths, "@CASES@": cases, "@VALUES@": after}.items():
        script = script.replace(mark, text)
    return script.rstrip("\n")


def _fish(rows: Sequence[_Row]) -> str:
    lines: list[str] = []
    for row in rows:
        tests = [f"__fish_seen_subcommand_from {name}" for name in row.path.split()]
        if row.path and row.words:
            tests.append(f"not __fish_seen_subcommand_from {' '.join(row.words)}")
        start = f"complete -c gptimage -n '{'; and '.join(tests) or '__fish_use_subcommand'}'"
        if row.words:
            lines.append(f"{start} -f -a '{' '.join(row.words)}'")
        lines += [f"{start} -l {flag[2:]}" for flag in _long(row.flags)]
        for flag in _long(row.options):
            choices = row.options[flag]
            lines.append(
                f"{start} -l {flag[2:]} " + (f"-x -a '{' '.join(choices)}'" if choices else "-r")
            )
    return "\n".join(lines)


def _long(flags: Iterable[str]) -> list[str]:
    return [flag for flag in flags if flag[:2] == "--"]
