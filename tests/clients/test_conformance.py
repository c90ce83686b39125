"""The conformance suite of the protocol, in both protocols."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest


PROTOCOLS = ("2025-11-25", "2026-07-28")
WITHOUT_FIXTURES = {
    "2025-11-25": (
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "completion-complete",
        "tools-list",
        "resources-list",
        "prompts-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
    ),
    "2026-07-28": (
        "completion-complete",
        "tools-list",
        "resources-list",
        "prompts-list",
        "caching",
        "http-header-validation",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "input-required-result-unsupported-methods",
    ),
}
"""Scenarios that need no tools of given names: the bare product must pass them."""


TASKS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-mrtr-composition",
)
"""Scenarios of the Tasks extension. Left out: input during a task (``tasks-mrtr-input``), which no
job asks for; tools that need the extension (``tasks-required-task-error``), as none does; and
``tasks-status-notifications``, which the suite has no check for yet."""


def suite(
    node: str, modules: Path, url: str, protocol: str, *which: str, out: Path
) -> subprocess.CompletedProcess[str]:
    """Run scenarios against a server."""
    program = modules / "@modelcontextprotocol/conformance/dist/index.js"
    command = [
        node,
        str(program),
        "server",
        "--url",
        url,
        "--spec-version",
        protocol,
        "-o",
        str(out),
    ]
    return subprocess.run(
        [*command, *which], check=False, capture_output=True, text=True, timeout=280
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_whole_suite(
    node: str, modules: Path, overlay: str, protocol: str, tmp_path: Path
) -> None:
    """With the suite's fixtures on it, the real server passes every check of the protocol."""
    done = suite(node, modules, overlay, protocol, "--suite", "all", out=tmp_path)
    total = re.search(r"Total: (\d+) passed, (\d+) failed", done.stdout)

    assert total is not None, done.stdout
    assert (total[2], done.returncode) == ("0", 0), failures(done.stdout)
    assert int(total[1]) > 80


@pytest.mark.parametrize("scenario", TASKS)
def test_the_tasks_extension(
    node: str, modules: Path, overlay: str, scenario: str, tmp_path: Path
) -> None:
    """Calls that go on are tasks as SEP-2663 has them."""
    which = ("--scenario", scenario, "--force")  # extensions belong to no protocol's own list
    done = suite(node, modules, overlay, "2026-07-28", *which, out=tmp_path)

    passed = re.search(r"Passed: (\d+)/(\d+), 0 failed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) == int(passed[2]) > 0


@pytest.mark.parametrize(
    ("protocol", "scenario"),
    [(protocol, each) for protocol in PROTOCOLS for each in WITHOUT_FIXTURES[protocol]],
)
def test_the_bare_product(
    node: str, modules: Path, server: str, protocol: str, scenario: str, tmp_path: Path
) -> None:
    """The server as it is shipped passes every scenario that needs no fixture."""
    done = suite(node, modules, server, protocol, "--scenario", scenario, out=tmp_path)

    assert done.returncode == 0, done.stdout


def failures(report: str) -> str:
    """The lines of a report that tell what failed."""
    return "\n".join(line for line in report.splitlines() if line.startswith("✗"))
