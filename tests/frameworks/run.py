"""Run other people's clients against `gptimage sandbox`, and print what they managed as a table.

``python run.py COMMANDS.json``: the file has the command of each framework, by its name. `nox -s
frameworks` makes an environment for each one and calls this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import field, frozen


PROVIDERS = ("azure", "gemini", "openrouter", "together")
"""Services whose dialect the sandbox speaks for their own clients."""
MOST_SECONDS = 900
"""A framework that takes longer hangs; its cases so far are reported."""


@frozen(kw_only=True)
class Outcome:
    """What one framework managed.

    Attributes:
        framework: Its name.
        versions: Its packages with their versions.
        total: How many cases it has.
        passed: How many of them passed.
        failed: Cases that failed, with their errors.
        not_ours: Cases that the framework itself cannot do, with its reasons.
    """

    framework: str
    versions: str = ""
    total: int = 0
    passed: int = 0
    failed: Sequence[str] = field(default=(), converter=tuple)
    not_ours: Sequence[str] = field(default=(), converter=tuple)

    @property
    def served(self) -> int:
        """How many cases the service would serve."""
        return self.total - len(self.not_ours)


def read(framework: str, lines: Iterable[str]) -> Outcome:
    """Read what a script printed; cases it never came to count as failed."""
    values: list[Any] = [json.loads(line) for line in lines if line.startswith("{")]
    head = values[0] if values and "cases" in values[0] else {"cases": 1, "versions": ""}
    cases = [each for each in values if "case" in each]
    failed = [f"{each['case']}: {each['error']}" for each in cases if is_failure(each)]
    missing = head["cases"] - len(cases)
    if missing:
        failed.append(f"the script ended before {missing} of its cases")
    return Outcome(
        framework=framework,
        versions=head["versions"],
        total=head["cases"],
        passed=sum(each["error"] is None for each in cases),
        failed=failed,
        not_ours=[
            f"{each['case']}: {each['not_ours']}"
            for each in cases
            if each["not_ours"] and each["error"] is not None
        ],
    )


def is_failure(case: Mapping[str, Any]) -> bool:
    """Whether a case failed that the service would serve."""
    return case["error"] is not None and not case["not_ours"]


def table(outcomes: Sequence[Outcome], day: str) -> str:
    """Return the outcomes as Markdown."""
    lines = [
        f"| framework ({day}) | versions | passed | not possible there |",
        "|---|---|---|---|",
    ]
    for each in outcomes:
        row = (
            each.framework,
            each.versions,
            f"{each.passed}/{each.served}",
            "; ".join(each.not_ours) or "-",
        )
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """Run `gptimage sandbox`; yield its base URL."""
    command = [sys.executable, "-m", "gptimage", "sandbox", "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2]  # it prints its address once it listens
        finally:
            process.terminate()


def run(framework: str, command: Sequence[str], environment: Mapping[str, str]) -> Outcome:
    """Run the script of one framework."""
    started = time.monotonic()
    folder = Path(command[-1]).parent
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
    outcome = read(framework, printed.splitlines())
    seconds = round(time.monotonic() - started)
    print(f"{framework}: {outcome.passed}/{outcome.served} in {seconds} s", flush=True)
    for each in outcome.failed:
        print(f"  FAILED {each}", flush=True)
    return outcome


def main(commands: Mapping[str, Sequence[str]]) -> int:
    """Run every framework; 1 if one of them failed where the service would not."""
    plain = ("--draw", "plain")
    with ExitStack() as opened:
        environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}},
            **{
                f"{name.upper()}_URL": opened.enter_context(sandbox(*plain, "--provider", name))
                for name in PROVIDERS
            },
            "OPENAI_API_KEY": "sk-any",
            "OPENAI_BASE_URL": opened.enter_context(sandbox(*plain)),
            "SLOW_BASE_URL": opened.enter_context(sandbox(*plain, "--latency", "3")),
            "MCP_COMMAND": json.dumps([sys.executable, "-m", "gptimage_mcp"]),
            "PYTHONWARNINGS": "ignore",
        }
        outcomes = [run(name, command, environment) for name, command in commands.items()]
    print(table(outcomes, f"{datetime.now(UTC):%Y-%m-%d}"))
    return 1 if any(each.failed for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
