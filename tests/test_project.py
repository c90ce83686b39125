"""What is shipped: the wheel's content, its metadata, and the promises of the project files."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackagePath, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gptimage


REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALLED = distribution("gptimage")


def shipped() -> set[str]:
    """Every file the installed distribution brought along."""
    files: list[PackagePath] = INSTALLED.files or []
    return {str(each) for each in files if "__pycache__" not in str(each)}


def test_wheel_holds_what_the_source_holds() -> None:
    """Every source and data file is in the wheel, and nothing else is."""
    source = REPOSITORY / "src"
    expected = {
        path.relative_to(source).as_posix()
        for package in ("gptimage", "gptimage_mcp")
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packages = ("gptimage/", "gptimage_mcp/")
    assert {name for name in shipped() if name.startswith(packages)} == expected


@pytest.mark.parametrize(
    "name",
    [
        "gptimage/py.typed",
        "gptimage/models/models.toml",
        "gptimage/cli/photos/coffee.png",
        "gptimage/cli/photos/README.md",
        "gptimage/templates/builtin/og_image.toml",
        "gptimage_mcp/py.typed",
    ],
)
def test_wheel_holds_data(name: str) -> None:
    """Data the library reads at run time is shipped."""
    assert name in shipped()


def test_wheel_carries_the_licence() -> None:
    """The MIT licence travels with the code."""
    assert [name for name in shipped() if name.endswith("licenses/LICENSE")] != []


def test_version_has_one_source() -> None:
    """``gptimage.__version__`` is the distribution's, which pyproject.toml states."""
    assert gptimage.__version__ == INSTALLED.version == PROJECT["version"]


def test_changelog_knows_this_version() -> None:
    """The version being built has its chapter."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", text, re.MULTILINE)


def test_core_dependencies() -> None:
    """The core needs these eight packages and no more, each with a lower bound."""
    required = [Requirement(each) for each in PROJECT["dependencies"]]

    names = {each.name for each in required}
    assert names == {
        "attrs",
        "cattrs",
        "filelock",
        "httpx2",
        "openai",
        "pillow",
        "platformdirs",
        "pybase64",
    }
    assert [str(each) for each in required if not str(each.specifier).startswith(">=")] == []


def test_extra_all_is_all_extras() -> None:
    """``gptimage[all]`` leaves out what is large and few need, and no other extra."""
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]

    assert Requirement(everything).extras == extras.keys() - {"all", "c2pa", "checks"}


@pytest.mark.parametrize(
    ("group", "names"),
    [("console_scripts", {"gptimage", "gptimage-mcp"}), ("pytest11", {"gptimage"})],
)
def test_entry_points_can_be_loaded(group: str, names: set[str]) -> None:
    """The commands and the pytest plugin are where the metadata says."""
    entries = INSTALLED.entry_points.select(group=group)

    assert {entry.name for entry in entries} == names
    assert [entry.name for entry in entries if entry.load() is None] == []
