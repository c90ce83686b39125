"""The programs of the examples, each in a folder of its own, over the sandbox."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gptimage.store import Store


EXAMPLES = Path(__file__).parents[2] / "examples"


def paid() -> int:
    """How many images were ever drawn."""
    with Store("pictures") as store:
        return store.stats().images


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import a program that publishes; limits are not waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.syspath_prepend(str(EXAMPLES / "publishing"))
    before = {*sys.modules}

    def load(name: str) -> Any:
        found = importlib.import_module(name)
        found.main = partial(found.main, wait=lambda _: None)
        return found

    yield load
    for name in {path.stem for path in (EXAMPLES / "publishing").glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture
def wordpress(program: Callable[[str], Any]) -> Any:
    """The program for WordPress."""
    return program("wordpress")
