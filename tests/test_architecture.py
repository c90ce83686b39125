"""The folders keep their order: imports, file sizes, public names, and no path of one machine."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gptimage
from tests.sources import nodes_of, tree_of


PACKAGE = Path(gptimage.__file__).parent
REPOSITORY = Path(__file__).parents[1]

FOLDERS = (
    "secrets",
    "errors",
    "_internal",
    "image models cache transport wording",
    "types observers budget limits sandbox config",
    "templates providers",
    "store",
    "engine",
    "conversation bulk",
    "batch checks",
    "compare",
    "checking_client",
    "client async_client",
    "workers service testing agents",
    "studio",
    "pytest_plugin typing",
    "cli",
    "__main__",
)
"""The folders of the package, lowest first: a file imports its own folder and the floors below.

Imports for type checkers and imports inside functions count, too.
"""

UPWARD: dict[str, str] = {}
"""Imports that still point up or sideways, each with its reason."""

CIRCLES = (
    # What is known of a run goes into the checkpoint, whose hook tells the run.
    ("bulk.checkpoint_hook", "bulk.run_state"),
    # `Cache` names its kinds as constructors: `Cache.disk(...)` and the others.
    ("cache.base", "cache.disk"),
    ("cache.base", "cache.memory"),
    ("cache.base", "cache.redis"),
    ("cache.base", "cache.tiered"),
)
"""Imports, of types or in functions, that still close a circle."""

MAX_LINES = 600

MODULES = sorted(PACKAGE.rglob("*.py"))

ADAPTER = PACKAGE.with_name("gptimage_mcp")
ADAPTER_MODULES = sorted(ADAPTER.rglob("*.py"))


def dotted(path: Path) -> str:
    """``sandbox/server.py`` -> ``sandbox.server``; ``__init__.py`` names its package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules of gptimage a file imports at run time, and whether it does so in a function."""
    yield from _imports(tree_of(path), late=False)


def _imports(node: ast.AST, *, late: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # gone at run time
        if isinstance(child, ast.Import):
            yield from ((each.name, late) for each in child.names if own(each.name))
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are written in full"
            if child.module and own(child.module):
                yield from ((target(child.module, each.name), late) for each in child.names)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(child, late=late or inside)


def own(name: str) -> bool:
    """Whether a dotted name belongs to this package."""
    return name.partition(".")[0] == "gptimage"


def target(module: str, name: str) -> str:
    """The module an imported name comes from: the name itself when it is a module."""
    path = PACKAGE.joinpath(*module.split(".")[1:], name)
    is_module = path.with_suffix(".py").is_file() or path.is_dir()
    return f"{module}.{name}" if is_module else module


def floor(folder: str) -> int:
    """Where a folder stands, counted from the ground."""
    return next(level for level, names in enumerate(FOLDERS) if folder in names.split())


def test_every_folder_has_a_floor() -> None:
    """A new folder is placed in the house before anything may import it."""
    found = {dotted(path).partition(".")[0] for path in MODULES} - {""}

    assert found == set(" ".join(FOLDERS).split())


def test_imports_point_down() -> None:
    """A file imports its own folder and lower ones, even for types and inside functions."""
    upward = {
        f"{dotted(path)} -> {name}"
        for path in MODULES
        for name in imported(path)
        # Programs at the top are written like any user's: against the public names.
        if (folder := name.split(".")[1] if "." in name else "")
        and folder != (own_folder := dotted(path).partition(".")[0])
        and floor(folder) >= floor(own_folder)
        and f"{own_folder} -> {folder}" not in UPWARD
    }

    assert upward == set()


def test_exceptions_are_still_needed() -> None:
    """An exception nobody uses any more is taken off the list."""
    used = {
        f"{dotted(path).partition('.')[0]} -> {name.split('.')[1]}"
        for path in MODULES
        for name in imported(path)
        if "." in name
    }

    assert UPWARD.keys() - used == set()


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module of gptimage a file imports: at the top, for types, inside functions."""
    return frozenset(
        target(node.module, each.name)
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and own(node.module or "") and node.module
        for each in node.names
        if dotted(path)
    )


def test_imports_at_the_top_make_no_circle() -> None:
    """Modules of one room may use each other, but never in a circle."""
    graph = {
        dotted(path): {
            name
            for full, late in imports(path)
            if not late and (name := full.partition(".")[2]) != dotted(path)
        }
        for path in MODULES
    }

    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_no_import_of_any_kind_makes_a_circle() -> None:
    """Imports for type checkers and in functions count, too; `CIRCLES` lists what is left."""
    graph = {
        dotted(path): {name.partition(".")[2] for name in imported(path)} - {dotted(path), ""}
        for path in MODULES
    }
    for one, other in CIRCLES:
        assert other in graph[one], "an exception nobody uses any more is taken off the list"
        graph[one].discard(other)

    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_the_library_never_imports_its_adapter() -> None:
    """The library does not know that gptimage_mcp exists."""
    guilty = [dotted(path) for path in MODULES if "gptimage_mcp" in path.read_text("utf-8")]

    assert guilty == []


def full(path: Path) -> str:
    """``gptimage_mcp/tools/drawing.py`` -> ``gptimage_mcp.tools.drawing``."""
    parts = path.relative_to(ADAPTER.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ON_DEMAND = {
    "gptimage.cache.redis",  # needs an extra
    "gptimage.image.allowed_folders",  # loaded only by whoever reads files for others
    "gptimage.image.transform",  # needs Pillow
    "gptimage.observers.prometheus",  # needs an extra
    "gptimage.store.object_blobs",  # needs an extra
    # Their folders export no name yet.
    "gptimage.observers.protocol",
    "gptimage.types.parameters",
}
"""Public modules whose names no ``__init__`` exports, each with its reason."""


def is_public(module: str, name: str) -> bool:
    """Whether any other program may import this name of the library, too."""
    if re.search(r"\._(?!_)", f"{module}.{name}"):
        return False
    place = PACKAGE.joinpath(*module.split(".")[1:])
    if not place.is_dir():  # a file of the root, such as gptimage.errors, is public as a whole
        return place.parent == PACKAGE or module in ON_DEMAND
    return name in exports(place) or (place == PACKAGE and hasattr(gptimage, name))


@cache
def exports(place: Path) -> frozenset[str]:
    """The names that a folder gives out."""
    nodes, top = nodes_of(place / "__init__.py"), tree_of(place / "__init__.py").body
    return frozenset(
        each.asname or each.name
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    ) | {node.name for node in top if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_the_adapter_uses_public_names_only() -> None:
    """What gptimage_mcp imports of the library is exported by the folder it comes from."""
    guilty = [
        f"{full(path)}: {node.module}.{each.name}"
        for path in ADAPTER_MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and own(node.module or "")
        for each in node.names
        if not is_public(node.module or "", each.name)
    ]
    guilty += [
        f"{full(path)}: {each.name}"
        for path in ADAPTER_MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.Import)
        for each in node.names
        if own(each.name) and each.name != "gptimage"
    ]

    assert guilty == []


def touched(path: Path) -> Iterator[str]:
    """The attributes with an underscore that a file takes of what is not its own."""
    own_names = {
        each.name
        for each in nodes_of(path)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    } | {
        each.attr
        for each in nodes_of(path)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id in {"self", "cls"}
    }
    for each in nodes_of(path):
        if (
            isinstance(each, ast.Attribute)
            and re.match(r"_(?!_)", each.attr)
            and not (isinstance(each.value, ast.Name) and each.value.id in {"self", "cls"})
            and each.attr not in own_names
        ):
            yield ast.unparse(each)


def test_the_adapter_touches_nobody_s_private_parts() -> None:
    """An underscore belongs to the class it is written in, the SDK's included."""
    # The one type that argparse gives out without a public name, and a documented function.
    allowed = {"argparse._SubParsersAction", "os._exit"}

    assert {
        full(path): left for path in ADAPTER_MODULES if (left := {*touched(path)} - allowed)
    } == {}


def test_the_adapter_s_imports_make_no_circle() -> None:
    """Its modules may use each other, but never in a circle."""
    graph: dict[str, set[str]] = {}
    for path in ADAPTER_MODULES:
        found = graph.setdefault(full(path), set())
        for node in tree_of(path).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gptimage_mcp"):
                for each in node.names:
                    inner = ADAPTER.parent.joinpath(*(node.module or "").split("."), each.name)
                    is_module = inner.with_suffix(".py").is_file() or inner.is_dir()
                    found.add(f"{node.module}.{each.name}" if is_module else node.module or "")
    for name, found in graph.items():
        found.discard(name)

    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_files_stay_readable() -> None:
    """No file passes the cap; one that would is two ideas."""
    lines = {
        full(path): path.read_text(encoding="utf-8").count("\n")
        for path in (*MODULES, *ADAPTER_MODULES)
    }

    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_files_say_what_they_are() -> None:
    """Every file opens with a sentence."""
    files = (*MODULES, *ADAPTER_MODULES)

    assert [full(path) for path in files if not ast.get_docstring(tree_of(path))] == []


def test_every_test_says_what_it_shows() -> None:
    """A test's first line is a sentence for the reader of its failure."""
    silent = [
        f"{path.name}: {node.name}"
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
        if not (ast.get_docstring(node) or "").strip()
    ]

    assert silent == []


def test_public_names_are_sorted_and_importable() -> None:
    """``__all__`` is sorted, without doubles, and each name is there."""
    names: list[str] = vars(gptimage)["__all__"]

    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(gptimage, name)] == []


def test_checkers_and_python_find_the_same_names() -> None:
    """The imports that checkers read are the names that Python finds, in the same modules."""
    checked = {
        alias.name: (node.module or "").partition(".")[2]
        for node in nodes_of(PACKAGE / "__init__.py")
        if isinstance(node, ast.ImportFrom) and own(node.module or "")
        for alias in node.names
        if alias.asname == alias.name
    }
    modules: dict[str, str] = vars(gptimage)["_MODULES"]

    assert checked == {name: module for module in modules for name in modules[module].split()}


@pytest.mark.parametrize(
    "name",
    [
        "batch.Batch", "batch.BatchItem", "bulk.Item", "bulk.Progress", "cache.Cache",
        "conversation.Conversation", "conversation.Turn", "observers.Finished",
        "observers.Observer", "sandbox.Sandbox", "transport.AsyncTransport",
        "transport.HttpReply", "transport.HttpRequest", "transport.ServerEvent",
        "transport.Transport", "workers.Job",
    ],
)  # fmt: skip
def test_what_users_annotate_is_in_its_package(name: str) -> None:
    """What is no name of the root has one place: the folder it belongs to."""
    folder, _, name = name.partition(".")

    assert hasattr(importlib.import_module(f"gptimage.{folder}"), name)


def test_public_surface_stays_small() -> None:
    """About 45 names: what a newcomer can read in one go."""
    assert 30 <= len(vars(gptimage)["__all__"]) <= 60


def test_repository_names_no_machine() -> None:
    """No absolute path of somebody's machine is written down anywhere."""
    absolute = re.compile(
        r"(?<![\w.:/$~{}-])/(?:tmp|root|work|home|Users|opt|var)/\w"
    )  # a path, not a URL's
    folders = ("src", "tests", "docs", "examples", "benchmarks", ".ci")
    files = [each for folder in folders for each in (REPOSITORY / folder).rglob("*")]
    texts = {".py", ".md", ".toml", ".json", ""}
    texts |= {".css", ".html", ".js", ".sql", ".lua", ".bash", ".zsh", ".txt"}
    guilty = [
        f"{path.relative_to(REPOSITORY)}: {found[0]}"
        for path in [*files, *REPOSITORY.glob("*.*")]
        if path.is_file() and path.suffix in texts and path != Path(__file__)
        for found in absolute.finditer(path.read_text(encoding="utf-8"))
    ]

    assert guilty == []


def given_out() -> list[tuple[Path, str]]:
    """Each public name with the file that defines it: what the root and the folders export."""
    found: set[tuple[Path, str]] = set()
    for path in MODULES:
        if path.name != "__init__.py" or {"_internal", "engine"} & set(path.parts):
            continue
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and own(node.module or ""):
                source = PACKAGE.joinpath(*(node.module or "").split(".")[1:]).with_suffix(".py")
                if source.is_file():
                    found |= {(source, each.name) for each in node.names}
    return sorted(found)


def signatures(node: ast.AST) -> Iterator[ast.expr]:
    """The annotations of a public function, or of a public class's fields and methods."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        yield from (each.annotation for each in arguments if each.annotation is not None)
        if node.returns is not None:
            yield node.returns
    elif isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and not ast.unparse(each.target).startswith("_"):
                yield each.annotation
            elif not getattr(each, "name", "_").startswith("_") or (
                getattr(each, "name", "") == "__init__"
            ):
                yield from signatures(each)


@cache
def foreign(path: Path) -> frozenset[str]:
    """The names that a file imports of other packages."""
    return frozenset(
        alias.asname or alias.name.partition(".")[0]
        for node in nodes_of(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (getattr(node, "module", None) or alias.name).partition(".")[0]
        not in {*sys.stdlib_module_names, "gptimage"}
    )


def test_public_signatures_use_no_type_of_another_package() -> None:
    """A user's type checker needs nothing but this package to understand it."""
    used = {
        (path.stem, name, part.id)
        for path, name in given_out()
        for node in tree_of(path).body
        if getattr(node, "name", None) == name
        for annotation in signatures(node)
        for part in ast.walk(annotation)
        if isinstance(part, ast.Name)
        if part.id in foreign(path) - {"PILImage"}  # `to_pil` gives what Pillow's users expect
    }

    assert len(given_out()) > 250
    assert used == set()


def test_the_root_hides_its_own_imports() -> None:
    """A newcomer who types ``dir(gptimage)`` finds names of the library."""
    others = {"annotations", "importlib", "Final", "TYPE_CHECKING"}

    assert others & {*dir(gptimage)} == set()
