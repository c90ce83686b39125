"""A budget is never crossed: whatever is asked for, the sandbox's bills add up to no more."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage

import gptimage
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.observers.events import Event, Finished
from gptimage.sandbox import drawing


PROMPTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(
    lambda text: bool(text.strip()) and "[" not in text
)
KINDS = ("generate", "edit", "stream", "many", "talk", "stateless")


def flat() -> bytes:
    """An image that takes no time to draw."""
    file = io.BytesIO()
    PilImage.new("RGB", (1024, 640), "teal").save(file, "png")
    return file.getvalue()


FLAT = flat()


@pytest.fixture(scope="module", autouse=True)
def quick_drawing() -> Iterator[None]:
    """What is billed does not depend on what is drawn, so nothing is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "paint", lambda *_: FLAT)
        patch.setattr(drawing, "stages", lambda job, *_: iter([FLAT] * (job.partials + 1)))
        yield


class Bills:
    """Adds up what the service's usage costs, apart from any ledger."""

    def __init__(self) -> None:
        self.costs: list[Decimal] = []

    def notify(self, event: Event) -> None:
        """Take note of a bill."""
        if isinstance(event, Finished):
            assert event.cost is not None
            self.costs.append(event.cost.usd)


def ask(client: Any, kind: str, prompt: str, n: int, asked: dict[str, Any]) -> None:
    """One job of a kind, as far as the budget lets it go."""
    match kind:
        case "generate":
            client.generate(prompt, n=n, **asked)
        case "edit":
            client.edit(prompt, FLAT, n=n, **asked)
        case "stream":
            list(client.stream(prompt, partial_images=n, **asked))
        case "many":
            list(
                client.generate_many([{"prompt": f"{prompt}{each}", **asked} for each in range(n)])
            )
        case _:
            chat = client.conversation(stateless=kind == "stateless")
            for _ in range(n):
                chat.send(prompt, max_images=n, **asked)


@given(
    limit=st.integers(5, 300).map(lambda mills: Decimal(mills) / 1000),
    jobs=st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            PROMPTS,
            st.integers(1, 3),
            st.sampled_from(["low", "medium", "high", None]),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_bills_never_add_up_to_more_than_the_budget(
    limit: Decimal, jobs: list[tuple[str, str, int, str | None]]
) -> None:
    """Calls of every kind, until the budget refuses; each costs at most what it reserved."""
    bills = Bills()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "spend.sqlite")
        budget = Budget(limit, per="total", ledger=ledger)
        client = gptimage.ImageClient.sandbox(budget=budget, observers=[bills])
        for kind, prompt, n, quality in jobs:
            with suppress(gptimage.BudgetExceededError):
                ask(client, kind, prompt, n, {"size": "1024x640", "quality": quality})
        client.close()
        rows = list(ledger.rows())

        assert sum(bills.costs) <= limit
        assert [row for row in rows if row.cost is None or row.cost > row.reserved] == []
        assert sorted(row.cost or 0 for row in rows) == sorted(bills.costs)
        ledger.close()


def test_the_budget_lets_through_what_fits() -> None:
    """A budget that refused everything would never be crossed, either."""
    bills = Bills()
    budget = Budget(Decimal("0.3"), per="total")
    client = gptimage.ImageClient.sandbox(budget=budget, observers=[bills])
    for kind in KINDS:
        ask(client, kind, "A fox", 1, {"size": "1024x640", "quality": "low"})

    assert len(bills.costs) == len(KINDS)
    assert budget.remaining() == Decimal("0.3") - sum(bills.costs)
