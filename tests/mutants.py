"""Changes the code in small ways and sees whether a test fails: a script, run by `nox -s mutants`.

Usage: ``python -P mutants.py SOURCE SCORE [FILE ...]``. It copies the packages in SOURCE to a
temporary folder, changes one place of one file at a time, and runs the tests of that file on it.
A change that no test notices is printed; the score is the share that was noticed, and must reach
SCORE percent in every file.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from queue import SimpleQueue


TESTS = Path(__file__).parent
FILES = {
    "gptimage/transport/retry.py": ("transport/test_retry.py",),
    "gptimage/budget/budget.py": (
        "budget/test_accounts.py",
        "budget/test_meter.py",
        "budget/test_wired.py",
        "budget/test_ledger.py",
    ),
    "gptimage/engine/accounting.py": (
        "budget/test_wired.py",
        "budget/test_accounts.py",
        "client/test_keeping.py",
        "client/test_clients.py",
        "engine",
        "observers",
    ),
}
"""What is changed, and the tests that must notice."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What one place of the code is changed into."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            yield ast.Compare(node.left, [COMPARISONS[type(operator)]()], node.comparators)
        case ast.BoolOp(op=ast.And()):
            yield ast.BoolOp(ast.Or(), node.values)
        case ast.BoolOp(op=ast.Or()):
            yield ast.BoolOp(ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp(op=operator) if type(operator) in OPERATORS:
            yield ast.BinOp(node.left, OPERATORS[type(operator)](), node.right)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(node.value + 1)
        case ast.If():
            yield ast.If(ast.Constant(value=False), node.body, node.orelse)
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(value=None))
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield ast.Pass()
        case _:
            pass


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Each changed version of a file: the line, what the place was, and the whole text."""
    tree = ast.parse(source)
    places = list(ast.walk(tree))
    for number, place in enumerate(places):
        if not hasattr(place, "lineno"):
            continue
        for change in changes(place):
            copy = deepcopy(tree)
            old = list(ast.walk(copy))[number]
            new = ast.copy_location(deepcopy(change), old)
            replaced = ast.fix_missing_locations(Swap(old, new).visit(copy))
            yield place.lineno, f"{ast.unparse(place)} -> {ast.unparse(new)}", ast.unparse(replaced)


class Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace the node, or look further."""
        return self.new if node is self.old else super().visit(node)


def survives(folder: Path, file: str, text: str) -> bool:
    """Whether all tests of a file pass on its changed version."""
    before = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(TESTS.parent)]
    command += ["-m", "not slow", "--hypothesis-profile", "brief"]
    command += [str(TESTS / each) for each in FILES[file]]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        # A change may make a loop endless: a test that never ends has noticed it.
        return subprocess.run(command, env=env, capture_output=True, timeout=600).returncode == 0  # noqa: PLW1510  # the code is read
    except subprocess.TimeoutExpired:
        return False
    finally:
        (folder / file).write_text(before, encoding="utf-8")


def say(line: str) -> None:
    """Print a line at once: the whole takes long."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Change everything in turn, one worker for each core."""
    source, least = Path(sys.argv[1]), float(sys.argv[2])
    failed = False
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folders: SimpleQueue[Path] = SimpleQueue()
        for number in range(os.cpu_count() or 1):
            for package in ("gptimage", "gptimage_mcp"):
                shutil.copytree(source / package, Path(name) / str(number) / package)
            folders.put(Path(name) / str(number))

        def tried(file: str, text: str) -> bool:
            folder = folders.get()
            try:
                return survives(folder, file, text)
            finally:
                folders.put(folder)

        for file in sys.argv[3:] or FILES:
            text = (source / file).read_text(encoding="utf-8")
            assert tried(file, text), f"the tests of {file} fail as it is"
            found = list(mutants(text))
            results = list(pool.map(lambda each, file=file: tried(file, each[2]), found))
            for (line, change, _), survived in zip(found, results, strict=True):
                if survived:
                    say(f"{file}:{line}: nobody noticed {change}"[:200])
            score = 100 * results.count(False) / len(results)
            failed |= score < least
            say(f"{file}: {score:.1f} % of {len(results)} changes noticed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
