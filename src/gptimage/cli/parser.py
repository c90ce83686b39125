"""The parser of the ``gptimage`` command; only the command that is named is imported."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn, Protocol


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

            close = closest(str(value), map(str, action.choices or ()))
            if close is not None:
                error.message = f"{value!r} is not known (did you mean {close}?)"
            raise


COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "generate": ("generate:add_generate", "draw new images"),
    "edit": ("generate:add_edit", "change images"),
    "variations": ("generate:add_variations", "draw variations of an image"),
    "refine": ("refine:add_arguments", "change an image turn by turn"),
    "images": ("sync:add_arguments", "a project's images, drawn from a manifest: sync"),
    "many": ("many:add_arguments", "draw every line of a file, several at once"),
    "compare": ("compare:add_arguments", "models on the same prompts: a sheet to vote in"),
    "batch": ("batch:add_arguments", "images at half price within a day"),
    "jobs": ("jobs:add_arguments", "list worker jobs that need a decision; retry or discard them"),
    "estimate": ("generate:add_estimate", "what a call may cost; sends nothing, needs no key"),
    "models": ("info:add_models", "the catalogue of models"),
    "spend": ("info:add_spend", "what a ledger says was spent"),
    "templates": ("templates:add_arguments", "prompt templates: list, show, render, new, gallery"),
    "store": ("store:add_group", "saved images: history, search, show, open, stats, tag, pin..."),
    "inspect": ("images:add_inspect", "what an image file says of where it comes from"),
    "check": ("checks:add_check", "whether images are transparent, legible, in the right colours"),
    "diff": ("images:add_diff", "how much two images differ, and where"),
    "web": ("images:add_web", "an image in several widths and formats, and its HTML"),
    "alt": (
        "images:add_alt",
        "have a chat model write the alt text of an image, for a fraction of a cent",
    ),
    "cache": ("info:add_cache", "look into the cache on disk, or empty it"),
    "config": ("info:add_config", "the settings that apply, and where each comes from"),
    "studio": ("studio:add_arguments", "a local web page: make, edit, gallery, jobs, money"),
    "sandbox": ("info:add_sandbox", "serve the offline service over HTTP"),
    "demo": ("demo:add_arguments", "generate, edit and stream into ./gptimage-demo"),
    "completion": ("completion:add_arguments", "completion of commands for bash, zsh or fish"),
}
"""Every command: the function that adds its arguments, and its line in the help."""

ALIASES: Final = (
    "history",
    "search",
    "show",
    "open",
    "stats",
    "tag",
    "pin",
    "prune",
    "verify",
    "reindex",
    "recover",
    "export",
)
"""The commands of ``gptimage store`` that also work without the word ``store``."""

_EPILOG: Final = """\
history, search, show, open, stats, tag, pin, prune, verify, reindex, recover and export are short
for `gptimage store history`...

exit codes: 0 done; 1 the service refused, failed or was not reached; 2 bad input, nothing
was sent; 3 no key or a missing part; 4 sent, but no usable response: it may have been billed;
5 done and paid, but not written where you asked: standard error says where it is;
6 an image fails a check, and is there all the same;
70 a fault of gptimage itself; 130 interrupted.  The key is read from OPENAI_API_KEY or the file
OPENAI_API_KEY_FILE names, never from an argument."""


def build_parser(words: Sequence[str] | None = None) -> Parser:
    """Build the parser.

    Args:
        words: The arguments: of the commands, only the one they name gets its own arguments,
            because importing all takes longer than most commands. Every command when left out.
    """
    parser = Parser(
        prog="gptimage",
        description="Draw and edit images with OpenAI's image models, or offline.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
    )
    argument(parser, "--version", "show the version and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND")
    named = None if words is None else next((word for word in words if word[:1] != "-"), "")
    for name, (target, help) in COMMANDS.items():
        each = subparsers.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        if named in {None, name}:
            module, _, function = target.partition(":")
            getattr(import_module(f"gptimage.cli.{module}"), function)(each)
    for name in ALIASES:
        each = subparsers.add_parser(name)
        if named in {None, name}:
            import_module("gptimage.cli.store").add_command(each, name)
    return parser


class CanAddArgument(Protocol):
    """A parser, or a group of one, whose common class has a private name."""

    def add_argument(self, *flags: str, **options: Any) -> object:
        """Add an argument."""
        ...


def argument(parser: CanAddArgument, words: str, help: str, **more: Any) -> None:
    """Add an argument.

    Args:
        parser: A parser, or a group of one.
        words: The name of a value, such as ``FILE``, or the flags of an option and the name of its
            value, such as ``-o --output PATH``. An option without a value is a switch.
        help: Its line in the help.
        **more: Whatever else argparse takes; with ``choices``, the value needs no name.
    """
    *flags, last = words.split()
    if last.startswith("-"):
        more = more if "choices" in more else {"action": "store_true", **more}
        flags.append(last)
    elif flags or last.isupper():
        more["metavar"] = last
    parser.add_argument(*(flags or [last.lower()]), help=help, **more)


def add_actions(
    parser: argparse.ArgumentParser, *actions: tuple[str, Any, str]
) -> dict[str, argparse.ArgumentParser]:
    """Add sub-commands, each with its function and its line in the help; one must be given."""
    subparsers = parser.add_subparsers(metavar="ACTION", required=True)
    found: dict[str, argparse.ArgumentParser] = {}
    for name, func, help in actions:
        each = subparsers.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        each.set_defaults(func=func)
        found[name] = each
    return found


def add_json(parser: argparse.ArgumentParser, help: str = "JSON on standard output") -> None:
    """Add ``--json``."""
    argument(parser, "--json", help)
