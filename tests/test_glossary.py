"""One word per idea, the field's own: words of an older, private language do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gptimage
from tests.sources import nodes_of


PACKAGE = Path(gptimage.__file__).parent
TESTS = Path(__file__).parent
FOLDERS = (PACKAGE, PACKAGE.with_name("gptimage_mcp"), TESTS)

RETIRED = {
    "adoption": "recovery",
    "bury": "close or mark as abandoned",
    "captain": "leader",
    "crew": "runner",
    "desk": "job store",
    "dialogue": "session",
    "draft": "request or pending image",
    "flying": "in flight",
    "gate": "send hook",
    "heard": "validated or received",
    "holder": "owner",
    "journey": "attempt",
    "keeper": "saver",
    "landed": "result",
    "leftover": "pending or temporary",
    "outer": "chat",
    "painter": "drawing",
    "purse": "memory ledger",
    "spoken": "reply",
    "tally": "progress",
    "unheard": "ignored",
    "watcher": "callback",
}
"""A word that was used for something the field has a name for, and that name."""


def names(path: Path) -> Iterator[str]:
    """The names a file gives: its own, functions, classes, arguments, variables, attributes."""
    yield path.stem
    # Nobody else looks at the trees of all tests, which are too many to be remembered.
    tests = path.is_relative_to(TESTS)
    for node in ast.walk(ast.parse(path.read_bytes())) if tests else nodes_of(path):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case _:
                pass


@cache
def words(name: str) -> set[str]:
    """``LoopCrew`` and ``loop_crews`` hold the same words."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    return {part.removesuffix("s") for part in parts} | set(parts)


def retired(path: Path) -> set[str]:
    """The names of a file that hold a retired word."""
    return {name for name in names(path) if words(name) & RETIRED.keys()}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_name_speaks_the_old_language(folder: Path) -> None:
    """A name uses the field's word, so that nobody has to learn ours."""
    paths = {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": path
        for path in folder.rglob("*.py")
    }
    found = {(where, name) for where, path in paths.items() for name in retired(path)}

    assert found == set()


@pytest.mark.parametrize("name", ["LoopCrew", "loop_crews", "_bury", "Draft", "OUTER_USAGE"])
def test_a_retired_word_is_found_inside_a_name(name: str) -> None:
    """Whatever the case, and in the plural, too."""
    assert words(name) & RETIRED.keys() != set()
