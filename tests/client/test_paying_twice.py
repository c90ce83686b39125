"""`Retry(unknown=...)`: who would rather pay twice than stop, and what ledger and budget say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage._internal.clock import utc_now
from gptimage.observers.events import Event, Failed, Retried
from tests.client.harness import Answer, Harness, answer, failure, picture


BYTES = picture(64, 64)
OK = answer(BYTES)
PLAIN: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
LOST = gptimage.OutcomeUnknownError("cut")
TWICE = gptimage.Retry(unknown=2, first_delay=0)


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """Remember an event."""
        self.events.append(event)


def made(client: Any, operation: str) -> gptimage.Result:
    """One call of a kind."""
    if operation == "edit":
        return client.edit("At night", BYTES, **PLAIN)
    if operation == "stream":
        return list(client.stream("A fox", **PLAIN))[-1].result
    return client.generate("A fox", **PLAIN)


@pytest.mark.parametrize("operation", ["generate", "edit", "stream"])
@pytest.mark.parametrize(
    "lost", [LOST, failure(504), failure(408), failure(503), failure(500)], ids=repr
)
def test_each_try_is_a_call_of_its_own(
    harness: Harness, lost: Answer, operation: str, tmp_path: Path
) -> None:
    """Every lost try keeps its row and its reservation, and the image is there at the end."""
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    budget = gptimage.Budget(1, per="total", ledger=ledger)
    seen = Recorder()
    client, service = harness.fake(
        lost, lost, OK, retry=TWICE, budget=budget, observers=[seen], clock=utc_now
    )
    result = made(client, operation)
    rows = ledger.rows()

    assert len(service.requests) == 3
    assert sorted(row.billing for row in rows) == ["billed", "unknown", "unknown"]
    assert result.cost is not None
    lost_rows = [row for row in rows if row.billing == "unknown"]
    assert [row.counted for row in lost_rows] == [row.reserved for row in lost_rows]
    assert budget.remaining() == 1 - sum(row.reserved for row in lost_rows) - result.cost.usd
    assert any("2 earlier tries" in warning for warning in result.warnings)
    told = [event for event in seen.events if isinstance(event, Retried)]
    assert [event.possible_cost for event in told] == [row.reserved for row in lost_rows]
    assert len({event.call_id for event in seen.events}) == 1


def test_it_ends(harness: Harness, tmp_path: Path) -> None:
    """After the last try the error says what all of them may have cost."""
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    seen = Recorder()
    client, service = harness.fake(LOST, retry=TWICE, ledger=ledger, observers=[seen])
    with pytest.raises(gptimage.OutcomeUnknownError, match="each of 3 tries") as caught:
        client.generate("A fox", **PLAIN)
    rows = ledger.rows()

    assert len(service.requests) == 3
    assert [row.billing for row in rows] == ["unknown"] * 3
    assert caught.value.possible_cost == sum(row.reserved for row in rows)
    (failed,) = (event for event in seen.events if isinstance(event, Failed))
    assert failed.possible_cost == caught.value.possible_cost


def test_a_refusal_at_the_end_takes_nothing_back(harness: Harness, tmp_path: Path) -> None:
    """What came of the last try says nothing of the one before it."""
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    client, _ = harness.fake(LOST, failure(400), retry=TWICE, ledger=ledger)
    with pytest.raises(gptimage.OutcomeUnknownError, match="billed up to") as caught:
        client.generate("A fox", **PLAIN)

    assert sorted(row.billing for row in ledger.rows()) == ["not_billed", "unknown"]
    assert isinstance(caught.value.__cause__, gptimage.BadRequestError)


def test_the_budget_allows_each_try(harness: Harness) -> None:
    """A try the budget has no room for is not made."""
    budget = gptimage.Budget("0.010", per="total")
    client, service = harness.fake(LOST, OK, retry=TWICE, budget=budget)
    with pytest.raises(gptimage.OutcomeUnknownError) as caught:
        client.generate("A fox", **PLAIN)

    assert len(service.requests) == 1
    assert isinstance(caught.value.__cause__, gptimage.BudgetExceededError)
    assert budget.remaining() < 0.010


def test_a_stream_that_breaks_before_its_first_event(harness: Harness) -> None:
    """It gave nothing yet; one that breaks later has given previews and is the caller's."""
    client, service = harness.fake([LOST], OK, retry=TWICE)
    assert len(list(client.stream("A fox", **PLAIN))) == 1
    assert len(service.requests) == 2


def test_a_turn_too(tmp_path: Path) -> None:
    """Conversations go the same way."""

    async def alone() -> None:
        async with gptimage.AsyncImageClient.sandbox(retry=TWICE) as client:
            await client.conversation().send("A fox [sandbox:cut]", **PLAIN)

    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    with (
        gptimage.ImageClient.sandbox(retry=TWICE, ledger=ledger) as client,
        pytest.raises(gptimage.OutcomeUnknownError, match="3 tries"),
    ):
        client.conversation().send("A fox [sandbox:cut]", **PLAIN)
    with pytest.raises(gptimage.OutcomeUnknownError, match="3 tries"):
        asyncio.run(alone())
    assert [row.billing for row in ledger.rows()] == ["unknown"] * 3
