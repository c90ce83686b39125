"""The parser of the ``gptimage`` command; only the command that is named is imported."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from gptimage._internal.data import data_text
from gptimage.cli import values as readers


class UsageError(Exception):
    """Arguments that the parser does not take.

    Attributes:
        usage: How the command, or its sub-command, is called; the whole help when none is named.
        program: The command with its sub-commands.
    """

    def __init__(self, message: str, parser: argparse.ArgumentParser) -> None:
        unnamed = message.endswith((": COMMAND", ": ACTION"))
        self.usage: str = parser.format_help() if unnamed else parser.format_usage()
        self.program: str = parser.prog
        super().__init__(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in which every command has one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=18)


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations: a later option could give one another meaning."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`, so that the message may be JSON."""
        raise UsageError(message, self)

    def unrecognized(self, words: Sequence[str]) -> UsageError:
        """Return the error about unknown arguments, with the option that was meant."""
        from gptimage._internal.text import closest

        names = [name for action in self._actions for name in action.option_strings]
        first = next((each.partition("=")[0] for each in words if each.startswith("-")), "")
        close = closest(first, names)
        meant = f" (did you mean {close}?)" if close else ""
        return UsageError(f"unrecognized arguments: {' '.join(words)}{meant}", self)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the choice that was probably meant: a list of twenty hides it."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from gptimage._internal.text import closest

            choices = [str(each) for each in action.choices or ()]
            close = _ELSEWHERE.get(str(value)) if "generate" in choices else None
            close = close or closest(str(value), choices)
            if close is not None:
                error.message = f"{value!r} is not known (did you mean {close}?)"
            raise


_ELSEWHERE: Final = {
    "sync": "images sync",
    "duplicates": "store duplicates",
    "similar": "store similar",
    "submit": "batch submit",
    "cost": "estimate, or spend",
}
"""What people type where the command belongs to a group, or has another name."""


@cache
def command_table() -> dict[str, Any]:
    """Read ``commands.toml``, which stands beside this file."""
    return tomllib.loads(data_text(__name__, "commands.toml"))


def build_parser(words: Sequence[str] | None = None) -> Parser:
    """Build the parser.

    Args:
        words: The arguments: of the commands, only the one they name gets its own arguments,
            because those of all take longer than some commands. Every command when left out.
    """
    table = command_table()
    parser = Parser(
        prog="gptimage",
        description=table["description"],
        epilog=table["epilog"],
        formatter_class=_Formatter,
    )
    _add_argument(parser, "--version", help="show the version and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND")
    named = None if words is None else next((word for word in words if word[:1] != "-"), "")
    commands: dict[str, Any] = table["commands"]
    for name, command in commands.items():
        each = subparsers.add_parser(name, help=command["help"])
        if named in {None, name}:
            _fill(each, command)
    for name in commands["store"]["short"]:
        each = subparsers.add_parser(name)  # without a line in the help
        if named in {None, name}:
            _fill(each, commands["store"]["actions"][name])
    return parser


_ABOUT: Final = {"help", "run", "examples", "may_be_empty", "short", "actions", "group"}
"""The keys of a command or a part that are no arguments."""


def _fill(parser: argparse.ArgumentParser, command: Mapping[str, Any]) -> None:
    """Add what a command has: its arguments, or sub-commands, of which one must be given."""
    parser.description = f"{command['help'][0].upper()}{command['help'][1:]}."
    if "examples" in command:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = f"examples:\n{command['examples']}"
    if "run" in command:
        parser.set_defaults(func=_late(command["run"]))
    if "may_be_empty" in command:
        parser.set_defaults(may_be_empty=command["may_be_empty"])
    _add_arguments(parser, command)
    if "actions" in command:
        subparsers = parser.add_subparsers(metavar="ACTION", required=True)
        for name, action in command["actions"].items():
            _fill(subparsers.add_parser(name, help=action["help"]), action)


@cache
def _late(target: str) -> Callable[..., Any]:
    """Return a function of the command line, imported when it is called: most are not."""
    module, _, function = target.partition(":")

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(f"gptimage.cli.{module}"), function)(*args, **options)

    return call


def _add_arguments(
    parser: Any,
    table: Mapping[str, Any],
    *,
    without: Sequence[str] = (),
    required: Sequence[str] = (),
) -> None:
    """Add the arguments of a command or a part.

    Args:
        parser: A parser, or a group of one; what they have in common has no public name.
        table: The arguments, as in ``commands.toml``.
        without: Options to leave out.
        required: Options that must be given.
    """
    for words, row in table.items():
        name = words.partition("--")[2].partition(" ")[0]
        if words in _ABOUT or name in without:
            continue
        given: dict[str, Any] = {"help": row} if isinstance(row, str) else {**row}
        if name in required:
            given["required"] = True
        if words[0] != "@":
            _add_argument(parser, words, **given)
        elif ":" in words:
            _late(words[1:])(parser, **given)
        else:
            part = command_table()["parts"][words[1:]]
            group = parser.add_argument_group(part["group"]) if "group" in part else parser
            _add_arguments(group, part, **given)


def _add_argument(parser: Any, words: str, **given: Any) -> None:
    """Add an argument: the name of a value, or flags and the names of the values behind them."""
    flags = [word for word in words.split() if word[0] == "-"]
    values = words.split()[len(flags) :]
    if "type" in given:
        plain = {"int": int, "float": float, "Path": Path}
        given["type"] = plain.get(given["type"]) or getattr(readers, given["type"])
    if not flags:
        (name,) = values
        given |= {"metavar": name} if name.isupper() else {}
        parser.add_argument(given.pop("dest", name.lower()), **given)
    elif values:
        metavar = tuple(values) if len(values) > 1 else values[0]
        parser.add_argument(*flags, metavar=metavar, **given)
    else:
        usual = {} if "choices" in given else {"action": "store_true"}
        parser.add_argument(*flags, **{**usual, **given})
