"""Every code block of the README and the docs runs, and so does every example.

Each page is run like a reader would: its Python blocks one after the other as one
program, its shell blocks in one shell, against a sandbox over HTTP. A block that cannot
be run here has a comment with the reason in front: ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptimage.cli.parser import build_parser
from gptimage.sandbox import SandboxServer


REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
BLOCK = re.compile(
    r"(?P<mark><!-- not run: (?P<reason>[^\n]*) -->\n+)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
RUNNABLE = {"python", "sh"}
KNOWN = RUNNABLE | {"toml", "text", "json", "yaml"}


def name(path: Path) -> str:
    """The path below the repository, as a test's name."""
    return path.relative_to(REPOSITORY).as_posix()


def program(page: Path, language: str) -> str:
    """All blocks of a language that run, on the lines they have in the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block["language"] == language and not block["mark"]:
            first = text.count("\n", 0, block.start("code"))
            code = block["code"].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a reader: an empty folder, a key, and a service that is a sandbox."""
    with SandboxServer() as server:
        yield {
            **{name: text for name, text in os.environ.items() if not name.startswith("GPTIMAGE_")},
            "HOME": str(tmp_path),
            "OPENAI_API_KEY": "sk-reader",
            "OPENAI_BASE_URL": server.base_url,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONWARNINGS": "error",
        }


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a program in a folder; what it printed, or a failed test that shows it."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, reader: dict[str, str]) -> None:
    """A page's Python blocks are one program that works."""
    code = program(page, "python")
    if not code.strip():
        return
    file = tmp_path / f"page_{page.stem}.py"  # `mcp.py` would be in the way of `import mcp`
    file.write_text(code, encoding="utf-8")

    run([sys.executable, file.name], tmp_path, reader)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_shell_blocks_run(page: Path, tmp_path: Path, reader: dict[str, str]) -> None:
    """A page's shell blocks work, one after the other."""
    code = program(page, "sh")
    if not code.strip():
        return
    file = tmp_path / f"{page.stem}.sh"
    file.write_text(code, encoding="utf-8")

    run(["bash", "-euo", "pipefail", file.name], tmp_path, reader)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_are_known_kinds(page: Path) -> None:
    """No block escapes by naming no language; one that does not run says why."""
    text = page.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))

    assert len(blocks) * 2 == len(re.findall(r"^```", text, re.MULTILINE))
    assert {block["language"] for block in blocks} <= KNOWN
    assert [block for block in blocks if block["mark"] and len(block["reason"]) < 10] == []
    for block in blocks:
        if block["language"] == "toml":
            assert tomllib.loads(block["code"])


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_examples_run(example: Path, tmp_path: Path, reader: dict[str, str]) -> None:
    """An example works as it stands and leaves images behind."""
    run([sys.executable, str(example)], tmp_path, reader)

    assert [path for path in tmp_path.rglob("*") if path.suffix in {".png", ".jpg", ".webp"}]


def test_links_lead_somewhere() -> None:
    """Every relative link of a page names a file of the repository."""
    broken = [
        f"{name(page)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]

    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    """A reader finds every page from the front door."""
    readme = PAGES[0].read_text(encoding="utf-8")

    assert [name(page) for page in PAGES[1:] if f"({name(page)})" not in readme] == []


def test_every_command_is_documented() -> None:
    """``docs/cli.md`` has a word on every command and every option."""
    text = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    usage = build_parser().format_help()

    commands = re.findall(r"^    (\w+) ", usage, re.MULTILINE)
    assert len(commands) >= 6
    assert [each for each in commands if f"gptimage {each}" not in text] == []
