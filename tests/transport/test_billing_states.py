"""The states of a request's money, and which may follow which."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gptimage.budget import Billing, Ledger
from gptimage.budget.accounts import CallOutcome, CallRecord, MemoryLedger
from gptimage.budget.budget import Accounts


NOT_SENT, SENT, BILLED, NOT_BILLED, UNKNOWN = Billing

ALLOWED = {
    (NOT_SENT, SENT),
    (NOT_SENT, NOT_BILLED),
    (SENT, BILLED),
    (SENT, NOT_BILLED),
    (SENT, UNKNOWN),
    (NOT_BILLED, SENT),
    (NOT_BILLED, BILLED),
    (UNKNOWN, SENT),
    (UNKNOWN, BILLED),
    (UNKNOWN, NOT_BILLED),
}


def test_transitions() -> None:
    """Only these states follow one another, apart from a state that is said twice."""
    found = {(one, two) for one, two in itertools.permutations(Billing, 2) if one.can_become(two)}

    assert found == ALLOWED


def test_repeated_states() -> None:
    """To say a state again is never refused."""
    assert all(each.can_become(each) for each in Billing)


def test_what_may_be_billed() -> None:
    """A request that left may be billed until it is proved that it was not."""
    assert [each for each in Billing if each.may_be_billed] == [SENT, BILLED, UNKNOWN]


@pytest.mark.parametrize("later", [NOT_BILLED, UNKNOWN])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_is_billed_stays_counted(tmp_path: Path, kind: str, later: Billing) -> None:
    """No later failure takes back a cost, in memory or in a file."""
    ledger = Ledger(tmp_path / "spend.sqlite")
    accounts: Accounts = MemoryLedger() if kind == "memory" else ledger
    call = CallRecord(
        call_id="1",
        at=datetime(2026, 11, 28, tzinfo=UTC),
        operation="generate",
        model="gpt-image-2",
        reserved=Decimal("0.5"),
    )
    accounts.begin(call)
    accounts.end(call, CallOutcome(billing=BILLED, cost=Decimal("0.25")))

    accounts.end(call, CallOutcome(billing=later))

    assert accounts.spent() == Decimal("0.25")
