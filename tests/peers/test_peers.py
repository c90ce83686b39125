"""The matrix of other libraries counts what reaches the service, and says where ours is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from tests.budget.failures import FAILURES, Failure
from tests.peers.peers import Cell, attempt, measure, mistakes, table


BY_NAME = {failure.name: failure for failure in FAILURES}
BAD_GATEWAY, MODERATION = BY_NAME["502 of a gateway"], BY_NAME["moderation"]


def test_ours_and_the_sdk_are_counted() -> None:
    """A bare 502 may follow work that was done: one request of ours, three of the SDK."""
    cells = measure(["gptimage", "openai"], [BAD_GATEWAY], ["generate"])

    assert [(cell.library, cell.requests) for cell in cells] == [
        ("gptimage", 1),
        ("gptimage", 1),
        ("openai", 3),
        ("openai", 3),
    ]
    assert mistakes(cells) == []


@pytest.mark.parametrize("operation", ["stream", "edit", "turn", "batch"])
def test_every_call_reaches_the_service(operation: str) -> None:
    """No call of ours or the SDK's ends before it sends."""
    counts = [
        attempt(library, MODERATION, operation, kind).requests
        for library in ("gptimage", "openai")
        for kind in ("sync", "async")
    ]

    assert counts == [1, 1, 1, 1]


def test_a_request_too_many_is_a_mistake() -> None:
    """Where the work may be billed, or where nothing should be sent again."""
    cell = Cell("gptimage", BAD_GATEWAY, "generate", "sync", 2)

    assert mistakes([cell, evolve(cell, requests=1), evolve(cell, library="openai")]) == [
        "502 of a gateway, generate sync: 2 requests"
    ]


def test_the_table_has_ranges_and_sums() -> None:
    """A row for each failure, and what may be billed twice at the end."""

    def cells(library: str, failure: Failure, *counts: int | None) -> list[Cell]:
        return [Cell(library, failure, "generate", "sync", count) for count in counts]

    found = [
        *cells("gptimage", BAD_GATEWAY, 1, 1),
        *cells("openai", BAD_GATEWAY, 1, 3, None),
        *cells("gptimage", MODERATION, 1, 1),
        *cells("openai", MODERATION, 2, 2),
    ]

    assert table(found, {"gptimage": "1", "openai": "3"}, "2026-11-28").splitlines() == [
        "| requests sent per call (2026-11-28) | may it be billed? | gptimage 1 | openai 3 |",
        "|---|---|---|---|",
        "| 502 of a gateway | yes | 1 | 1 to 3 |",
        "| moderation | no | 1 | 2 |",
        "| **calls that may be billed twice or more** | | 0 of 2 | 1 of 2 |",
    ]


def test_what_is_measured_is_installed_by_nox() -> None:
    """The session names every library that is not this one's own dependency."""
    text = (Path(__file__).parents[2] / "noxfile.py").read_text(encoding="utf-8")

    assert all(name in text for name in ("litellm", "pydantic-ai-slim[openai]"))
