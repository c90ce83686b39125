"""Changes the code in small ways and sees whether a test fails: a script, run by `nox -s mutants`.

Usage: ``python -P mutants.py SCORE [FILE ...]``. One run of the tests notes which test runs which
line. Then each change is made in a copy of that process (a fork, with everything imported), which
runs only the tests of the changed line, the quickest first, until one fails. What is not inside a
function happens while importing, so it is changed in a process of its own. A change that no test
notices is printed; the score is the share that was noticed, and must reach SCORE percent in every
file.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from types import CodeType, FunctionType

import coverage
import pytest


TESTS = Path(__file__).parent
FILES = {
    "transport/retry.py": ("transport/test_retry.py", "limits/test_quota.py"),
    "budget/budget.py": (
        "budget/test_accounts.py",
        "budget/test_meter.py",
        "budget/test_wired.py",
        "budget/test_ledger.py",
    ),
    "engine/accounting.py": (
        "budget",
        "client/test_keeping.py",
        "client/test_clients.py",
        "client/test_paying_twice.py",
        "client/test_planted_secrets.py",
        "conversation/test_money.py",
        "engine",
        "observers",
    ),
}
"""What is changed, and the tests that must notice."""

NOT_FOUND = 3
"""Exit code of a process that does not have the function to change."""
LONGEST = 2.0
"""Seconds of a test that notices something: longer ones wait for something, many times over."""

EQUIVALENT = {
    "min(attempt - 1, 64)": "2.0**65 is beyond every longest wait, as 2.0**64 is",
    "frozen(kw_only=True)": "how a value is made is checked by the types",
    "blocks: bool = False": "only which thread does it",
    "secrets.token_hex(16)": "a longer name for a call is as good",
    "if given == (None, None, None)": "one that counts nothing has the same results, only later",
}
"""Places where no change can be seen, by how they begin, with the reason."""

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


class Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace the node, or look further."""
        return self.new if node is self.old else super().visit(node)


class Mutant:
    """One changed version of a file.

    Attributes:
        file: Which file.
        name: The line, and what the place was and became.
        lines: The lines of the changed statement: a test that runs one of them may notice.
        function: The function around it that is no function's own; None while importing.
        tree: The whole changed file.
    """

    def __init__(self, file: str, tree: ast.Module, path: list[ast.AST], change: ast.AST) -> None:
        twin = deepcopy(tree)
        copy = dict(zip(map(id, ast.walk(tree)), ast.walk(twin), strict=True))
        place = path[-1]
        new = ast.copy_location(deepcopy(change), place)
        self.file = file
        self.name = f"{place.lineno}: {ast.unparse(place)} -> {ast.unparse(new)}"  # type: ignore[attr-defined]  # only what has a line is changed
        statement = next(each for each in reversed(path) if isinstance(each, ast.stmt))
        body = getattr(statement, "body", None)
        end = max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno
        self.lines = range(statement.lineno, (end or statement.lineno) + 1)
        self.function = _function(path)
        self.tree = ast.fix_missing_locations(Swap(copy[id(place)], new).visit(twin))


def _function(path: list[ast.AST]) -> str | None:
    """The qualified name of the outermost function whose body holds the last node."""
    names: list[str] = []
    for each, inner in pairwise(path):
        if isinstance(each, ast.ClassDef):
            names.append(each.name)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            # Defaults and decorators are evaluated where the function is defined.
            return ".".join([*names, each.name]) if inner in each.body else None
    return None


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Each changed version of a file; annotations say nothing at run time."""
    tree = ast.parse(source)

    def walk(path: list[ast.AST]) -> Iterator[Mutant]:
        node = path[-1]
        if hasattr(node, "lineno"):
            for change in changes(node):
                same = ast.dump(change) == ast.dump(node)
                if same or any(ast.unparse(each).startswith((*EQUIVALENT,)) for each in path):
                    continue
                yield Mutant(file, tree, path, change)
        for field, value in ast.iter_fields(node):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST) and field not in {"annotation", "returns"}:
                    yield from walk([*path, each])

    return walk([tree])


class Runner:
    """Plugin that runs the tests once, and then those of each change.

    Args:
        root: The folder of the package.
        files: The files to change.
        least: The score that each must reach.
    """

    def __init__(self, root: Path, files: list[str], least: float) -> None:
        self.root, self.files, self.least = root, files, least
        self.tests: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self.survivors: dict[str, list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure, and try every change."""
        self.measure(session.items)
        if self.failed:
            say(f"these fail as it is: {self.failed}")
            session.shouldfail = "tests fail"
            return True
        items = {each.nodeid: each for each in session.items}
        for file in self.files:
            text = (self.root / file).read_text(encoding="utf-8")
            found = [*mutants(file, text)]
            self.try_all(file, found, items)
            lost = self.survivors[file]
            score = 100 * (1 - len(lost) / len(found))
            say(f"{file}: {score:.1f} % of {len(found)} changes noticed")
            if score < self.least:
                session.shouldfail = f"{file} is below {self.least:g} %"
        return True

    def measure(self, items: list[pytest.Item]) -> None:
        """Run every test once, and note the lines it runs and how long it takes."""
        watched = [str(self.root / each) for each in self.files]
        cover = coverage.Coverage(data_file=None, include=watched, config_file=False)
        say(f"running {len(items)} tests once")
        cover.start()
        for number, item in enumerate(items):
            cover.switch_context(str(number))
            begun = time.monotonic()
            run(item, items[number + 1] if number + 1 < len(items) else None)
            self.seconds[item.nodeid] = time.monotonic() - begun
        cover.stop()
        data = cover.get_data()
        for file, path in zip(self.files, watched, strict=True):
            for line, contexts in data.contexts_by_lineno(path).items():
                names = {items[int(each)].nodeid for each in contexts if each}
                self.tests[file, line] |= {each for each in names if self.seconds[each] < LONGEST}

    def try_all(self, file: str, found: list[Mutant], items: dict[str, pytest.Item]) -> None:
        """Try the changes of a file, one for each core at a time."""
        waiting, running = list(reversed(found)), dict[int, tuple[Mutant, float]]()
        ended = 0
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                mutant = waiting.pop()
                names = set[str]().union(*(self.tests[file, line] for line in mutant.lines))
                if mutant.function is None:
                    names = {
                        name for key, some in self.tests.items() if key[0] == file for name in some
                    }
                chosen = sorted(names, key=self.seconds.__getitem__)
                # A change may make a loop endless: a test that never ends has noticed it.
                end = time.monotonic() + 20 + 3 * sum(self.seconds[name] for name in chosen)
                running[self.start(mutant, [items[name] for name in chosen])] = mutant, end
            time.sleep(0.01)
            for child, (mutant, end) in [*running.items()]:
                gone, status = os.waitpid(child, os.WNOHANG)
                if not gone:
                    if time.monotonic() > end:
                        with suppress(ProcessLookupError):
                            os.killpg(child, signal.SIGKILL)
                    continue
                del running[child]
                ended += 1
                if os.waitstatus_to_exitcode(status) == NOT_FOUND:
                    raise LookupError(f"{mutant.function} of {file} is not in use: {mutant.name}")
                if status == 0:
                    self.survivors[file].append(mutant.name)
                    say(f"{file}:{mutant.name}: nobody noticed"[:300])
                if ended % 25 == 0:
                    say(f"{file}: {ended} of {len(found)}")

    def start(self, mutant: Mutant, chosen: list[pytest.Item]) -> int:
        """Start a process that tries a change; it ends with 0 where nobody notices."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        try:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(quiet, number)
            path = self.root / mutant.file
            if mutant.function is None:
                os._exit(anew(mutant, path, chosen))
            if not put_in(mutant, path):
                os._exit(NOT_FOUND)
            self.failed.clear()
            for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                run(item, following)
                if self.failed:
                    os._exit(1)
            os._exit(0)
        except BaseException:  # noqa: BLE001  # a change that breaks even this was noticed
            os._exit(1)


def run(item: pytest.Item, following: pytest.Item | None) -> None:
    """Run one test."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def put_in(mutant: Mutant, path: Path) -> bool:
    """Give the changed function of the running program its new code; whether there is one."""
    compiled = compile(mutant.tree, str(path), "exec", dont_inherit=True)
    (new,) = (each for each in codes(compiled) if each.co_qualname == mutant.function)
    gc.unfreeze()  # what was there when tests were collected is not among the objects else
    found = [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType)
        and each.__code__.co_filename == str(path)
        and each.__code__.co_qualname == mutant.function
        and each.__code__.co_firstlineno == new.co_firstlineno
    ]
    for each in found:
        each.__code__ = new
    return bool(found)


def codes(code: CodeType) -> Iterator[CodeType]:
    """All code in a compiled file."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from codes(each)


def anew(mutant: Mutant, path: Path, chosen: list[pytest.Item]) -> int:
    """Run tests in a process that imports the changed file; 0 where nobody notices."""
    package = path.parents[1]
    with tempfile.TemporaryDirectory() as name:
        # A package of links, but for the changed file.
        folder = Path(name) / package.name / path.parent.name
        folder.mkdir(parents=True)
        for each in [*package.iterdir(), *path.parent.iterdir()]:
            if each not in (path, path.parent):
                (folder.parent if each.parent == package else folder).joinpath(
                    each.name
                ).symlink_to(each)
        (folder / path.name).write_text(ast.unparse(mutant.tree), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "pytest", "-x", *OPTIONS, *PLACES]
        command += [str(each.path) + each.nodeid.partition(".py")[2] for each in chosen]
        env = {**os.environ, "PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, env=env, check=False).returncode


OPTIONS = ("-q", "-p", "no:cacheprovider", "-m", "not slow", "--hypothesis-profile", "brief")
PLACES = ("-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(TESTS.parent))


def say(line: str) -> None:
    """Print a line at once: the whole takes long."""
    sys.__stderr__.write(f"{line}\n")  # type: ignore[union-attr]  # a script has one
    sys.__stderr__.flush()  # type: ignore[union-attr]  # as above


def main() -> int:
    """Change everything in turn."""
    spec = importlib.util.find_spec("gptimage")
    assert spec is not None
    assert spec.origin is not None
    files = sys.argv[2:] or [*FILES]
    tests = sorted({str(TESTS / each) for file in files for each in FILES[file]})
    runner = Runner(Path(spec.origin).parent, files, float(sys.argv[1]))
    # Output is not captured: its files would be shared by all children.
    return int(pytest.main([*OPTIONS, *PLACES, "-s", *tests], plugins=[runner]))


if __name__ == "__main__":
    sys.exit(main())
