"""``gptimage spend`` prints what a ledger says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.budget.ledger import Ledger
from gptimage.cli.parser import build_parser
from gptimage.errors import InvalidRequestError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with a few calls."""
    ledger = Ledger(tmp_path / "spend.sqlite")
    for number, (model, cost) in enumerate([("flare", "0.10"), ("flare", "0.2"), ("new", None)]):
        at = datetime(2026, 11, 18 + number, tzinfo=UTC)
        entry = CallRecord(
            call_id=str(number), at=at, operation="edit", model=model, reserved=Decimal("0.5")
        )
        ledger.begin(entry)
        ledger.end(
            entry,
            CallOutcome(billing=Billing.BILLED, cost=Decimal(cost) if cost else None, images=1),
        )
    ledger.close()
    return ledger.path


def run(*arguments: str) -> int:
    """Run the sub-command."""
    args = build_parser().parse_args(["spend", *arguments])
    code: int = args.func(args)
    return code


def test_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each group, the total, and what the sums do not say."""
    assert run("--ledger", str(path)) == 0
    head, flare, new, total, note = capsys.readouterr().out.splitlines()

    assert head.split() == ["model", "calls", "cached", "images", "cost", "reserved"]
    assert flare.split() == ["flare", "2", "0", "2", "$0.3000", "$0.0000"]
    assert new.split() == ["new", "1", "0", "1", "$0.0000", "$0.5000"]
    assert total.split() == ["total", "3", "0", "3", "$0.3000", "$0.5000"]
    assert note.startswith("1 were answered")


def test_json_since(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, only with calls since a time (UTC)."""
    assert run("--ledger", str(path), "--by", "day", "--since", "2026-11-19", "--json") == 0
    found = json.loads(capsys.readouterr().out)

    assert (found["by"], [group["name"] for group in found["groups"]]) == (
        "day",
        ["2026-11-19", "2026-11-20"],
    )
    assert (found["total"]["calls"], found["total"]["cost_usd"]) == (2, "0.2")
    assert (found["total"]["unpriced"], found["total"]["reserved_usd"]) == (1, "0.5")


def test_no_ledger_is_made(tmp_path: Path) -> None:
    """A misspelt path is an error, not a new empty ledger."""
    with pytest.raises(FileNotFoundError, match="no ledger"):
        run("--ledger", str(tmp_path / "nowhere.sqlite"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"a list of expenses"])
def test_another_file_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    """A file that is empty or something else is refused by name, and stays as it is."""
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(InvalidRequestError, match="is no ledger"):
        run("--ledger", str(path))
    assert path.read_bytes() == content


def test_a_time_that_is_none(path: Path) -> None:
    """A time nobody can read is refused by name."""
    with pytest.raises(InvalidRequestError, match="--since"):
        run("--ledger", str(path), "--since", "yesterday")
