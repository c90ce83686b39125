"""Every code block of the README and the docs runs, and so does every example.

Each page is run like a reader would: its Python blocks one after the other as one program,
then its shell blocks in one shell in the same folder, against a sandbox over HTTP. A block that
cannot be run here has a comment with the reason in front: ``<!-- not run: reason -->``. The README
runs in new processes, the pages in forked ones (`tests/processes.py`).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gptimage
from gptimage.cli.parser import build_parser
from gptimage.sandbox import Sandbox, SandboxServer
from tests.processes import can_fork, forking_command, run_python


REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
SOURCE = "https://github.com/gptimage/gptimage"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
BLOCK = re.compile(
    r"(?P<mark><!-- not run: (?P<reason>[^\n]*) -->\n+)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PRINTED = re.compile(r"^```\n\nprints\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""What a page says that the block before it prints."""
RUNNABLE = {"python", "sh"}
COMMANDS = ("gptimage", "gptimage-mcp")
KNOWN = RUNNABLE | {"toml", "text", "json", "yaml"}


def module(path: Path) -> ModuleType:
    """A program of the docs as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found  # NamedTuple looks its own module up
    spec.loader.exec_module(found)
    return found


finish_site = module(DOCS / "finish_site.py")


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
    """The environment of a reader: an empty folder, keys, and services that are sandboxes."""
    google = Sandbox(provider="gemini")
    with SandboxServer() as server, SandboxServer(sandbox=google) as gemini:
        yield {
            **{name: text for name, text in os.environ.items() if not name.startswith("GPTIMAGE_")},
            "HOME": str(tmp_path),
            "GEMINI_API_KEY": "reader",
            "GOOGLE_GEMINI_BASE_URL": gemini.base_url,
            "OPENAI_API_KEY": "sk-reader",
            "OPENAI_BASE_URL": server.base_url,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONWARNINGS": "error",
        }


def run(program: Path, folder: Path, environment: dict[str, str], *, anew: bool = False) -> str:
    """Run a program in a folder; what it printed, or a failed test that shows it.

    Unless it is run anew, it is a fork that has imported everything, and so is each command of a
    shell.
    """
    options: dict[str, Any] = {
        "cwd": folder,
        "env": environment,
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    if program.suffix == ".sh":
        command = ["bash", "-euo", "pipefail", program]
        if not anew and can_fork(environment):
            commands = folder / ".commands"
            commands.mkdir()
            options["pass_fds"] = {forking_command(commands / each) for each in COMMANDS}
            environment = {**environment, "PATH": f"{commands}{os.pathsep}{environment['PATH']}"}
        done = subprocess.run(command, **{**options, "env": environment}, check=False)
    elif anew:
        done = subprocess.run([sys.executable, program], **options, check=False)
    else:
        assert not_imported(program.read_text(encoding="utf-8")) == set()
        done = run_python([program], **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def not_imported(code: str) -> set[str]:
    """The modules that a program takes from their package, though it does not import them.

    A fork finds them, but a new process may not.
    """
    nodes = list(ast.walk(ast.parse(code)))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    taken = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    packages = {name for name in imported if hasattr(importlib.import_module(name), "__path__")}
    return {
        each
        for each in taken - imported
        if each.rpartition(".")[0] in packages and importlib.util.find_spec(each) is not None
    }


def test_a_missing_import_would_be_noticed() -> None:
    """The check of programs that are forked sees a module that is only there by chance."""
    code = "import gptimage, os\nos.path\ngptimage.ImageClient\ngptimage.store.Store"

    assert not_imported(code) == {"gptimage.store"}
    assert not_imported(f"import gptimage.store\n{code}") == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_run(page: Path, tmp_path: Path, reader: dict[str, str]) -> None:
    """A page's Python blocks are one program that works, and so are then its shell blocks."""
    python, shell = program(page, "python"), program(page, "sh")
    anew = page == PAGES[0]
    if python.strip():
        file = tmp_path / f"page_{page.stem}.py"  # `mcp.py` would be in the way of `import mcp`
        file.write_text(python, encoding="utf-8")
        output = run(file, tmp_path, reader, anew=anew)
        promised = PRINTED.findall(page.read_text(encoding="utf-8"))
        assert [each for each in promised if each not in output] == []
    if shell.strip():
        file = tmp_path / f"page_{page.stem}.sh"
        file.write_text(shell, encoding="utf-8")
        run(file, tmp_path, reader, anew=anew)


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
    run(example, tmp_path, reader)

    assert [path for path in tmp_path.rglob("*") if path.suffix in {".png", ".jpg", ".webp"}]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_notebooks_run(notebook: Path, tmp_path: Path, reader: dict[str, str]) -> None:
    """The cells of a notebook are one program that works."""
    file = tmp_path / f"notebook_{notebook.stem}.py"
    file.write_text("\n".join(source for source, _ in cells(notebook)), encoding="utf-8")

    run(file, tmp_path, reader)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_notebooks_show_what_their_cells_made(notebook: Path) -> None:
    """A notebook was executed in order, without an error, and is small enough for GitHub."""
    executed = cells(notebook)

    assert [cell["execution_count"] for _, cell in executed] == [*range(1, len(executed) + 1)]
    outputs = [output for _, cell in executed for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 3
    assert notebook.stat().st_size < 300_000


def cells(notebook: Path) -> list[tuple[str, dict[str, Any]]]:
    """The code cells of a notebook, each with its source as one text."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [("".join(each["source"]), each) for each in found if each["cell_type"] == "code"]


def test_links_lead_somewhere() -> None:
    """Every link of a page into the repository names a file that is there."""
    broken = [
        f"{name(page)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if (target := file_of(page, link)) is not None and not target.exists()
    ]

    assert broken == []


def file_of(page: Path, link: str) -> Path | None:
    """The file that a link names; None where it leads out of the repository."""
    for address in (
        f"{SOURCE}/blob/main/",
        "https://raw.githubusercontent.com/gptimage/gptimage/main/",
    ):
        if link.startswith(address):
            return REPOSITORY / link.removeprefix(address)
    return None if "://" in link or link.startswith("mailto:") else page.parent / link


def test_every_example_is_listed() -> None:
    """The page of the examples has a line on each, and its links lead somewhere."""
    page = REPOSITORY / "examples" / "README.md"
    links = re.findall(r"\]\(([^)\s]+)", page.read_text(encoding="utf-8"))

    assert [each.name for each in EXAMPLES if each.name not in links] == []
    assert [each for each in links if not (page.parent / each).exists()] == []


def test_links_of_the_readme_work_anywhere() -> None:
    """The README is shown on PyPI, too, where a relative link leads nowhere."""
    readme = PAGES[0].read_text(encoding="utf-8")

    assert [link for link in re.findall(r"\]\(([^)\s]+)", readme) if "://" not in link] == []


def test_every_page_is_in_the_navigation() -> None:
    """A reader finds every page from the site's navigation, once."""
    listed = [page.path for page in finish_site.navigation(finish_site.CONFIG.read_text("utf-8"))]

    assert sorted(listed) == [page.relative_to(DOCS).as_posix() for page in PAGES[1:]]


def test_anchors_exist() -> None:
    """A link to a heading of a page names one that is there."""
    broken = [
        f"{name(page)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", page.read_text(encoding="utf-8"))
        if (target := file_of(page, link.partition("#")[0])) is not None
        and link.partition("#")[2] not in anchors(page if target == page.parent else target)
    ]

    assert broken == []


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {"-".join(each.split()) for each in words}


def test_architecture_names_what_there_is() -> None:
    """The page about the source names every folder, and no file that is not there."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    source = REPOSITORY / "src" / "gptimage"
    folders = [each.parent.name for each in source.glob("*/__init__.py")]
    files = re.findall(r"(?:\w+/)+\w+\.(?:py|toml)", text)

    assert [each for each in folders if f"`{each}/`" not in text] == []
    assert len(files) > 15
    roots = (source, REPOSITORY, source.parent)
    assert [each for each in files if not any((root / each).exists() for root in roots)] == []


def test_every_public_name_is_in_the_reference() -> None:
    """A name of the root or of a package that exports names is on a page of the reference."""
    pages = (DOCS / "reference").glob("*.md")
    listed = "\n".join(page.read_text(encoding="utf-8") for page in pages)

    assert [each for each in gptimage.__all__ if f"::: gptimage.{each}\n" not in listed] == []


def test_llms_txt_names_every_page_in_little() -> None:
    """The index for language models has one line with a sentence for each page, in 16 kB."""
    pages = list(finish_site.navigation(finish_site.CONFIG.read_text("utf-8")))
    lines = [line for line in "\n".join(finish_site.index(pages)).splitlines() if line]
    links = [line for line in lines if line.startswith("- ")]

    assert len(links) == len(pages)
    assert [
        line for line in links if not re.fullmatch(r"- \[.+\]\(https://\S+\.md\): .{12,}", line)
    ] == []
    assert len("\n".join(lines)) < 16_000


def test_variables_exist() -> None:
    """A variable that a page names is a documented setting, or is in the source."""
    pattern = re.compile(r"\bGPTIMAGE_[A-Z_]+[A-Z]\b")
    tables = [(DOCS / page).read_text("utf-8") for page in ("mcp.md", "configuration.md")]
    known = {each for text in tables for each in re.findall(r"^\|.*", text, re.MULTILINE)}
    settings = set(pattern.findall("\n".join(known)))
    source = "\n".join(each.read_text("utf-8") for each in (REPOSITORY / "src").rglob("*.py"))
    named = {each for page in PAGES for each in pattern.findall(page.read_text("utf-8"))}

    assert len(settings) > 30
    assert sorted(named - settings - set(pattern.findall(source))) == []


def test_prose_for_models_has_no_comments() -> None:
    """What a language model reads as a whole has no remark about blocks that do not run."""
    pages = list(finish_site.navigation(finish_site.CONFIG.read_text("utf-8")))

    assert "<!--" not in finish_site.everything(pages)


def test_tables_are_those_of_the_library() -> None:
    """The tables of models, prices and client settings are what the library says today."""
    done = run_python([DOCS / "generate_tables.py", "--check"], text=True)

    assert done.returncode == 0, f"run docs/generate_tables.py\n{done.stderr}"


def test_every_command_is_documented() -> None:
    """``docs/cli.md`` has a word on every command and every option."""
    text = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    usage = build_parser().format_help()

    commands = re.findall(r"^    (\w+) ", usage, re.MULTILINE)
    assert len(commands) >= 6
    assert [each for each in commands if f"gptimage {each}" not in text] == []
