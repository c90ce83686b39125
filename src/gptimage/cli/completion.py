"""``gptimage completion``: prints a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, cast

from gptimage.cli.parser import argument, build_parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    argument(parser, "shell", "which shell reads it", choices=("bash", "zsh", "fish"))
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    words = dict(_words(build_parser(), ""))
    print(_fish(words) if args.shell == "fish" else _bash(words, zsh=args.shell == "zsh"))
    return 0


def _words(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every command's path, such as ``batch submit``, and the words that may follow it."""
    actions: list[Any] = parser._actions  # argparse lists its options nowhere else
    options = [flag for action in actions for flag in action.option_strings if flag[:2] == "--"]
    found: dict[str, argparse.ArgumentParser] = {}
    values: list[str] = []
    for action in actions:
        choices: Any = action.choices
        if isinstance(choices, dict):
            found |= cast("dict[str, argparse.ArgumentParser]", choices)
        elif choices and not action.option_strings:
            values += choices
    yield path, [*found, *values, *options]
    for name, each in found.items():
        yield from _words(each, f"{path} {name}".strip())


def _bash(words: dict[str, list[str]], *, zsh: bool) -> str:
    """Write a script whose table has the words by path; the words typed so far choose the row."""
    cases = "\n".join(
        f"        {path.replace(' ', '/') or 'gptimage'}) words='{' '.join(found)}' ;;"
        for path, found in words.items()
    )
    head = "autoload -U +X bashcompinit && bashcompinit\n" if zsh else ""
    return f"""{head}_gptimage() {{
    local path=gptimage words= word next
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        next="${{path#gptimage}}"; next="${{next:+$next/}}$word"
        case "$next" in
            {"|".join(path.replace(" ", "/") for path in words if path)}) path="$next" ;;
        esac
    done
    case "$path" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o bashdefault -o default -F _gptimage gptimage"""


def _fish(words: dict[str, list[str]]) -> str:
    lines: list[str] = []
    for path, found in words.items():
        parents = path.split()
        names = [word for word in found if word[:2] != "--"]
        seen = " and ".join(f"__fish_seen_subcommand_from {name}" for name in parents)
        if parents and names:
            seen += f"; and not __fish_seen_subcommand_from {' '.join(names)}"
        condition = seen.replace(" and ", "; and ") or "__fish_use_subcommand"
        if names:
            lines.append(f"complete -c gptimage -f -n '{condition}' -a '{' '.join(names)}'")
        lines += [
            f"complete -c gptimage -n '{condition}' -l {word[2:]}"
            for word in found
            if word[:2] == "--"
        ]
    return "\n".join(lines)
