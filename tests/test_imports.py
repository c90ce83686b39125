"""Importing gptimage costs almost nothing: what is heavy is loaded when it is used."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gptimage
import gptimage_mcp
from tests.processes import run_python


HEAVY = (
    "PIL",
    "asyncio",
    "cattrs",
    "httpx2",
    "mcp",
    "obstore",
    "openai",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "redis",
    "rich",
    "sqlite3",
)


def loaded_after(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter holds after a statement."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-W", "error", "-c", code]
    # Where coverage is measured, its own modules would be there as well.
    env = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import gptimage",
        "import gptimage.cli",
        "import gptimage.pytest_plugin",
        "import gptimage.templates",
        "from gptimage import *",
    ],
)
def test_import_stays_light(statement: str) -> None:
    """No heavy package is loaded by an import."""
    assert loaded_after(statement) & set(HEAVY) == set()


def test_catalogue_needs_nothing_heavy() -> None:
    """Prices and capabilities can be read without the SDK, Pillow or a key."""
    statement = "import gptimage; gptimage.ImageClient.sandbox().models()"

    heavy = {"openai", "PIL", "pydantic", "httpx2", "http", "ssl", "email"}

    assert loaded_after(statement) & heavy == set()


def test_help_is_light() -> None:
    """Asking for help loads neither SQLite nor anything else that is heavy."""
    statement = "from gptimage.cli.parser import build_parser; build_parser()"

    assert loaded_after(statement) & {"sqlite3", "obstore", "PIL", "openai"} == set()


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="the system is asked for proxies")
@pytest.mark.parametrize("name", ["ImageClient", "AsyncImageClient"])
def test_making_a_client_needs_nothing_heavy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop stands still meanwhile: certificates and proxies wait for the first call."""
    for variable in [each for each in os.environ if each.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    statement = f"import gptimage; gptimage.{name}(api_key='sk-x', base_url='http://127.0.0.1:1')"

    assert loaded_after(statement) & {*HEAVY, "ssl", "http", "email", "zipfile"} == set()


def test_making_a_client_loads_no_part_that_few_calls_need() -> None:
    """Each costs a short program time: they are imported by the calls that need them."""
    code = (
        "import sys, gptimage; gptimage.ImageClient; gptimage.AsyncImageClient; "
        "print(*{name.split('.')[1] for name in sys.modules if name.startswith('gptimage.')})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    loaded = {*done.stdout.split()}
    assert "engine" in loaded
    assert {"checks", "compare", "conversation", "batch", "sandbox"} & loaded == set()


def test_public_names_are_found() -> None:
    """Each public name is there when it is first used, and shown before that."""
    statement = "import gptimage as g; assert {*g.__all__} <= {*dir(g)}"

    assert "attr" not in loaded_after(statement)
    assert "attr" in loaded_after(f"{statement}; assert all(getattr(g, n) for n in g.__all__)")
    with pytest.raises(AttributeError, match="has no attribute 'Picture'"):
        gptimage.Picture  # noqa: B018  # looking is enough


def test_what_a_program_begins_with_can_be_imported_first() -> None:
    """Each package, and each file of a command: none needs another one to be there before it.

    The programs of most tests are forks that have imported everything, and would not notice.
    """
    code = (
        "import importlib, pkgutil, sys, gptimage\n"
        "each = [m.name for m in pkgutil.walk_packages(gptimage.__path__, 'gptimage.')]\n"
        "each = [n for n in each if n.count('.') == 1 or n.startswith('gptimage.cli.')]\n"
        "for name in each:\n"
        "    if not name.endswith(('__main__', 'pytest_plugin')):\n"
        "        for old in [m for m in sys.modules if m.partition('.')[0] == 'gptimage']:\n"
        "            del sys.modules[old]\n"
        "        importlib.import_module(name)\n"
        "print(len(each))"
    )
    done = run_python(["-c", code], text=True)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_check_would_notice() -> None:
    """The probe sees a heavy module when there is one."""
    assert "sqlite3" in loaded_after("import sqlite3")


def test_the_web_files_of_an_image_are_loaded_with_their_first_use() -> None:
    """The package names them all the same."""
    code = (
        "import sys, gptimage; gptimage.ImageClient; early = 'gptimage.image.web' in sys.modules; "
        "from gptimage.image import WebFile, WebImage; print(early, WebFile.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["False", "WebFile"]


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("gptimage.studio", "sse_starlette", "studio"),
        ("gptimage.observers.opentelemetry", "opentelemetry", "otel"),
    ],
)
def test_an_optional_part_names_its_extra(module: str, package: str, extra: str) -> None:
    """Who imports it without its packages reads what to install."""
    code = f"import sys; sys.modules[{package!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert f"pip install 'gptimage[{extra}]'" in done.stderr.splitlines()[-1]


FROM_A_ZIP = """
import asyncio, pathlib, sys
import gptimage, gptimage_mcp
from gptimage.cli.main import main
from gptimage.studio.app import create_app
from gptimage_mcp.server import build_server
from gptimage_mcp.config.settings import Settings

assert main(["generate", "A fox", "--sandbox", "--store", "store", "-o", "fox.png"]) == 0
assert main(["search", "fox", "--store", "store"]) == 0
assert main(["templates", "list"]) == main(["completion", "bash"]) == 0
store, ledger = (pathlib.Path(name).absolute() for name in ("store", "ledger.sqlite"))
settings = Settings(store=store, ledger=ledger, sandbox=True)
assert asyncio.run(build_server(settings).list_tools())
own = [module for name, module in sys.modules.items() if name.partition(".")[0] in {
    "gptimage", "gptimage_mcp"}]
assert {True} == {module.__file__.startswith(sys.argv[1]) for module in own}
"""


def test_everything_runs_from_a_zip(tmp_path: Path) -> None:
    """As some hosts of functions keep packages: no data file is read by its path."""
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for package in (gptimage, gptimage_mcp):
            folder = Path(str(package.__file__)).parent
            for path in folder.rglob("*"):
                if path.is_file() and path.suffix != ".pyc":
                    file.write(path, path.relative_to(folder.parent))
    done = subprocess.run(
        [sys.executable, "-c", FROM_A_ZIP, str(archive)],
        env={**os.environ, "PYTHONPATH": str(archive), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
