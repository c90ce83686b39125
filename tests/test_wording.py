"""Messages fit their reader: every command they name exists, and no Python where there is none."""

from __future__ import annotations

import argparse
import ast
import functools
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import gptimage
import gptimage_mcp.__main__ as server
from gptimage.cli import main, parser
from gptimage.wording import for_assistant, for_command_line
from gptimage_mcp.content.errors import to_tool_error
from tests.sources import nodes_of


PACKAGE = Path(gptimage.__file__).parent
SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.with_name("gptimage_mcp").rglob("*.py")])
TABLES = sorted([*PACKAGE.rglob("*.toml"), *PACKAGE.with_name("gptimage_mcp").rglob("*.toml")])
REPOSITORY = Path(__file__).parents[1]
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])

PYTHON = re.compile(
    r"""\b(?:[A-Z]\w+|[a-z_]\w*)(?:\.\w+)*\([^)]*\) | \b\w+=(?:True|False|None)\b
    | (?<=\ )\.[a-z]\w+\b | \b(?:client|gptimage|store|Image)\.[a-z_]\w+ | \b[a-z]\w*=(?=[,)\s:])
    | \b(?:Async)?ImageClient\b | \bPIL\b | \bbase_url\b
    | \bfile\ object\b | \btimedelta\b | \bpass\ (?!it)""",
    re.VERBOSE,
)
"""What looks like Python in a sentence."""

NEVER = {
    "count()": "cannot happen",
    "p.key": "is SQL",
    "use Sandbox(provider": "is about values a program passes",
    "providers= has two": "is about values a program passes",
    "Provider(name=": "is about values a program passes",
    "module 'gptimage.providers'": "is about the code of a program",
    "http(s)": "is no Python",
    "AsyncImageClient": "is about a program's own event loop",
    "a PIL image (PIL.Image.fromarray makes one": "is about values a program passes",
    "this PIL image has no pixels": "is about values a program passes",
    "PIL image": "names such a value",
    "Limits(": "is about values a program passes",
    "Retry(unknown": "is about values a program passes",
    "a Ledger, such as": "is about values a program passes",
    "caches, such as": "is about values a program passes",
    "a gptimage.bulk.Stop": "is about values a program passes",
    "azure() takes one of": "is about values a program passes",
    "would have to be awaited": "is about values a program passes",
    "must be awaited": "is about values a program passes",
    "a function goes to openai=": "is about values a program passes",
    "the client given as openai=": "is about a program's own event loops",
    "save the images of .items": "is about the loop of a program",
    "run() takes a Generate": "is about values a program passes",
    "find_identical takes an Image": "is about values a program passes",
    "from_file takes an open file": "is about values a program passes",
    "refresh=True sends again and replaces": "is about values a program passes",
    "clock= gives": "is about values a program passes",
    "the budget has counted calls without": "is about values a program passes",
    "image_tools needs": "is about values a program passes",
    "the images of the last attempt are in .result": "is carried by what ends a program's call",
    "such as [Transparent()": "is about values a program passes",
    "compare() needs a cache": "is about a program: the command has its cache",
    "secrets.token_urlsafe": "is about values a program passes",
    "result.image.save(...) writes": "is about values a program passes",
    "mismatched_(": "is a regular expression",
    "PRAGMA": "is SQL",
    "background:url(": "is CSS",
    "FileBlobs(": "is about values a program passes",
    "Store(ObjectBlobs.from_url": "is what the doors do themselves for an address",
    "Models(": "is a repr",
    "RedisCache(": "is a repr",
    "attrs.evolve(": "is about values a program passes",
    "substr(": "is SQL",
    "strftime(": "is SQL",
    "resume: {}; pass {}": "is said of values a program passes",
}
"""Sentences neither door can show, each with its reason."""

NOT_TOLD = ("sandbox", "cli", "workers", "pytest_plugin.py")
"""Folders whose sentences are the doors' own, imitate the service, or are for programs."""


def strings(path: Path, *, docstrings: bool) -> Iterator[str]:
    """Every text of a source file; what an f-string fills in is a pair of braces."""
    nodes = nodes_of(path)
    skip = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    if not docstrings:
        skip |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skip
        ):
            yield node.value


@functools.cache
def sentences() -> tuple[str, ...]:
    """What the library may say to whoever uses it by one of the doors."""
    return tuple(_sentences())


def texts_in(value: object) -> Iterator[str]:
    """Every text of a table, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)


def _sentences() -> Iterator[str]:
    for path in TABLES:
        if path.name == "advice.toml" and path.is_relative_to(PACKAGE):
            yield from texts_in(tomllib.loads(path.read_text("utf-8")))
    for path in SOURCES:
        parts = path.relative_to(PACKAGE.parent).parts
        # Values that only a program passes to a constructor are refused there, at no other door.
        if path.name in {"arguments.py", "keywords.py"}:
            continue
        if parts[0] == "gptimage" and parts[1] not in (*NOT_TOLD, "wording.py"):
            for text in strings(path, docstrings=False):
                if " " in text and not re.search(
                    r"\b(SELECT|CREATE|INSERT|COALESCE|redis\.call)\b|<\w+ |\\[bw]", text
                ):
                    yield text


@pytest.mark.parametrize("reworded", [for_command_line, for_assistant])
def test_no_message_names_python_where_there_is_none(reworded: object) -> None:
    """What looks like Python in a message is reworded for both doors, or listed with a reason."""
    assert callable(reworded)
    left = [
        text
        for text in sentences()
        if not any(known in text for known in NEVER) and PYTHON.search(str(reworded(text)))
    ]

    assert left == []


def test_no_row_is_left_over() -> None:
    """Advice that no message gives any more is taken off the lists."""
    from gptimage.wording import _phrases

    texts = "\n".join(sentences())

    assert [row[0] for row in _phrases() if row[0] not in texts] == []
    assert [known for known in NEVER if known not in texts] == []


def commands(text: str) -> Iterator[str]:
    """The commands a text quotes."""
    yield from re.findall(r"[`'](gptimage(?:-mcp)?(?: [^`'\n]*)?)[`']", text)


def quoted() -> Iterator[str]:
    """Every command that a message, a docstring or a page names in the middle of a sentence."""
    for path in SOURCES:
        for text in strings(path, docstrings=True):
            yield from commands(text)
    for path in TABLES:
        for text in texts_in(tomllib.loads(path.read_text("utf-8"))):
            yield from commands(text)
    for page in PAGES:
        yield from commands(
            re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        )


def written() -> Iterator[str]:
    """Every command of the pages' blocks, whole."""
    for page in PAGES:
        for block in re.findall(
            r"^```(?:sh|bash|console)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s[|&]+\s|\s>\s", line):
                    words = part.split(" #")[0].strip()
                    if re.match(r"(?:[A-Z_]+=\S+ )*gptimage(-mcp)?\b", words):
                        yield words


@functools.cache
def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one of the two programs."""
    return parser.build_parser() if name == "gptimage" else server.build_parser()


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The sub-commands of a parser."""
    found = [
        each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)
    ]
    return dict(found[0]) if found else {}


def problem(command: str) -> str:
    """What is wrong with a command that may be cut short: a wrong word or an unknown flag."""
    program, *words = shlex.split(command)
    parser = parser_of(program)
    while (actions := actions_of(parser)) and words and not words[0].startswith("-"):
        if words[0] == "...":  # any of them
            return ""
        if words[0] not in actions:
            return f"{command}: there is no {words[0]}"
        parser = actions[words.pop(0)]
    known = {flag for each in parser._actions for flag in each.option_strings}
    flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return next((f"{command}: there is no {flag}" for flag in flags if flag not in known), "")


def test_every_quoted_command_exists() -> None:
    """A command a message, a docstring or a page names is one that runs."""
    found = set(quoted())

    assert len(found) > 20
    assert [why for command in sorted(found) if (why := problem(command))] == []


@pytest.mark.parametrize("command", sorted(set(written())))
def test_every_written_command_is_understood(command: str) -> None:
    """A command of a page's block is taken by its program as it stands."""
    words = list(itertools.dropwhile(re.compile(r"[A-Z_]+=").match, shlex.split(command)))

    assert parser_of(words[0]).parse_args(words[1:])


def test_a_message_on_standard_error_is_reworded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the command line is told of flags, in text and in JSON."""

    def fail(*_: object) -> int:
        raise gptimage.OutcomeUnknownError("it may be paid; retry_unknown=True sends it again")

    monkeypatch.setattr("gptimage.cli.info.run_models", fail)

    assert main.main(["models", "--json"]) == 4
    told = capsys.readouterr()
    assert told.err == "gptimage: it may be paid; --retry-unknown sends it again\n"
    assert "--retry-unknown" in told.out


def test_an_assistant_is_told_of_tools() -> None:
    """An assistant is told what it can do, not what a program could."""
    error = gptimage.InvalidRequestError(
        "a mask belongs to edit()",
        field="mask",
        allowed="a client with that store, or store.open(id)",
    )

    told = str(to_tool_error(error))
    assert "belongs to edit_image" in told
    assert "an id of list_images" in told
