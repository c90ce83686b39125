"""The table of other people's clients says what they managed, and what they never came to."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks import run


HERE = Path(__file__).parent


def lines(*cases: Any, total: int | None = None) -> list[str]:
    """What a script prints."""
    head = {"cases": len(cases) if total is None else total, "versions": "fox 1.0"}
    names = ("case", "not_ours", "error")
    return [
        json.dumps(each)
        for each in (head, *(dict(zip(names, case, strict=True)) for case in cases))
    ]


def test_cases_are_counted() -> None:
    """Passed, failed, and not possible with the framework itself."""
    found = run.read(
        "Fox",
        ["a warning", *lines(("a", "", None), ("b", "", "No: x"), ("c", "it has no streams", "y"))],
    )

    assert (found.passed, found.served, found.total) == (1, 2, 3)
    assert found.failed == ("b: No: x",)
    assert found.not_ours == ("c: it has no streams",)


def test_what_a_framework_can_do_by_now_counts() -> None:
    """A case with a reason why it cannot pass, that passes."""
    found = run.read("Fox", lines(("c", "it has no streams", None)))

    assert (found.passed, found.served, found.not_ours) == (1, 1, ())


@pytest.mark.parametrize("printed", [[], lines(("a", "", None), total=3)])
def test_a_script_that_dies_has_failed(printed: list[str]) -> None:
    """Before its first line, or half-way."""
    assert len(run.read("Fox", printed).failed) == 1


def test_the_table_is_markdown() -> None:
    """One row for each framework, with the day in its head."""
    found = run.read("Fox", lines(("a", "", None), ("c", "no streams", "y")))

    assert run.table([found], "2026-11-28").splitlines() == [
        "| framework (2026-11-28) | versions | passed | not possible there |",
        "|---|---|---|---|",
        "| Fox | fox 1.0 | 1/1 | c: no streams |",
    ]


def test_a_run_fails_with_its_worst_framework(tmp_path: Path, capfd: Any) -> None:
    """A script that finds the sandbox passes; one that prints no outcome does not."""
    good, silent, dies = (tmp_path / f"{name}.py" for name in ("good", "silent", "dies"))
    good.write_text(
        "import json, os, urllib.request\n"
        "url = os.environ['OPENAI_BASE_URL'].removesuffix('/v1') + '/__sandbox/requests'\n"
        "urllib.request.urlopen(url)\n"
        "print(json.dumps({'cases': 1, 'versions': ''}))\n"
        "print(json.dumps({'case': 'a', 'not_ours': '', 'error': None}))\n"
    )
    silent.write_text("print('{}')")
    dies.write_text("raise SystemExit(1)")
    commands = {each.stem: [sys.executable, str(each)] for each in (good, silent, dies)}

    assert run.main({"good": commands["good"]}) == 0
    assert "FAILED" not in capfd.readouterr().out
    assert run.main(commands) == 1
    assert capfd.readouterr().out.count("FAILED") == 2


def test_every_framework_has_its_script() -> None:
    """Each row of the list names a script, and each script is in the list."""
    table = tomllib.loads((HERE / "frameworks.toml").read_text(encoding="utf-8"))
    kinds = ("agent", "client", "queue", "reader")
    scripts = {path for kind in kinds for path in HERE.glob(f"{kind}_*")}
    scripts -= {HERE / "agent_cases.py", HERE / "reader_cases.py"}

    assert {HERE / each["script"] for each in table.values()} == scripts
