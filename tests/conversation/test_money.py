"""What a turn may cost: both models, the words and turns before, and what nobody can know."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import BudgetExceededError, OutcomeUnknownError
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.models.pricing import DEFAULT_CHAT_MODEL, ChatUsage, chat_cost, chat_max_cost
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.transport.http import HttpReply
from tests.conversation.helpers import LOW, Talks, call, picture, reply, response


DRAWN = reply(response(call(picture())))
LOST = OutcomeUnknownError("timed out")
ON = date(2026, 11, 20)


def possible(talks: Talks, *before: Any, resume: Any = None, how: Any = None, **said: Any) -> Any:
    """What a turn may have cost whose answer was lost, after some that were answered."""
    talk, service = talks.fake(*before, LOST, **(how or {}))
    for _ in before:
        talk.send("A cabin", **LOW)
    with pytest.raises(OutcomeUnknownError) as caught:
        talk.send("A cabin", **LOW, **said)
    assert len(service.requests) == len(before) + 1
    return caught.value.possible_cost


def read(tokens: int) -> Decimal:
    """What so many tokens cost that the chat model reads, at the dearest price."""
    return tokens * Decimal("0.125") / 1_000_000


def test_the_turns_before_are_read_again(talks: Talks) -> None:
    """Their tokens, which the service has told, count for both times the model reads."""
    first, second = possible(talks), possible(talks, DRAWN)

    seen = Decimal(1024) * 8 / 1_000_000  # the image of the turn before, as an input
    assert second == first + 2 * read(1_100) + seen


def test_pictures_and_extra_fields_are_read(talks: Talks) -> None:
    """Whatever is sent along has its tokens."""
    plain = possible(talks)
    shown = possible(talks, images=[picture()])
    told = possible(talks, extra_body={"instructions": "Be brief."})

    assert shown == plain + 2 * read(4_000) + Decimal(1024) * 8 / 1_000_000
    assert told == plain + 2 * read(len('{"instructions":"Be brief."}'))


def test_a_limit_on_words_is_the_most_that_is_written(talks: Talks) -> None:
    """With it the allowance is a real bound; without, it is one for 4,096 tokens."""
    plain = possible(talks)
    short = possible(talks, extra_body={"max_output_tokens": 96})

    extra = read(len('{"max_output_tokens":96}'))
    assert short == plain - 2 * read(4_000) + 2 * extra - 4_000 * Decimal("0.5") / 1_000_000


def test_a_history_nobody_knows_counts_as_the_longest(talks: Talks) -> None:
    """A conversation resumed by an id counts with the longest prompt of the listed price."""
    known = possible(talks)
    unknown = possible(talks, how={"resume": "resp_1"})

    fresh = 512 + 7 + 4_000 + 4_096
    assert unknown == known + 2 * read(272_000 - fresh)


def test_a_stateless_turn_has_no_history(talks: Talks) -> None:
    """The service remembers nothing, so nothing is read again: only the image sent along."""
    carried = Decimal(1024) * 8 / 1_000_000 + 2 * read(4_000)

    assert possible(talks, DRAWN, how={"stateless": True}) == possible(talks) + carried


@pytest.mark.parametrize(
    "how",
    [
        {"how": {"chat_model": "gpt-6.1-sol"}},
        {"extra_body": {"service_tier": "priority"}},
        {"how": {"image_model": "gpt-image-2.6-flare"}},
    ],
    ids=str,
)
def test_one_unknown_price_is_enough(talks: Talks, how: dict[str, Any]) -> None:
    """Part of a maximum would be no maximum."""
    assert possible(talks, **how) is None


@pytest.mark.parametrize(
    ("model", "on", "history"),
    [
        ("gpt-6.1-sol", ON, 0),
        (DEFAULT_CHAT_MODEL, date(2026, 9, 1), 0),
        (DEFAULT_CHAT_MODEL, ON, 270_000),
    ],
)
def test_no_chat_max_cost_without_a_price(model: str, on: date, history: int) -> None:
    """No row, another day, or a prompt that costs more than the row says."""
    assert chat_max_cost(model, on, text=10, images=0, history=history) is None


@given(
    text=st.integers(0, 30_000),
    pictures=st.integers(0, 4),
    history=st.integers(0, 50_000),
    drawn=st.integers(1, 4),
    shares=st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_the_chat_max_cost_holds_what_it_allows_for(
    text: int, pictures: int, history: int, drawn: int, shares: list[float]
) -> None:
    """Whatever is used of each allowance, and however it was cached, it costs no more."""
    most = chat_max_cost(
        DEFAULT_CHAT_MODEL, ON, text=text, images=pictures, history=history, drawn=drawn
    )
    written = int(4_096 * shares[0])
    each = history + int(text * shares[1]) + 512 + int(4_000 * shares[2]) * (pictures + drawn)
    entered = (drawn + 1) * (each + written)
    cached = int(entered * shares[3])
    usage = ChatUsage(
        input_tokens=entered,
        output_tokens=written,
        total_tokens=entered + written,
        cached_tokens=cached,
        cache_write_tokens=int((entered - cached) * shares[4]),
    )
    cost = chat_cost(DEFAULT_CHAT_MODEL, usage, ON)

    assert most is not None
    assert cost is None or cost.usd <= most


def test_a_budget_refuses_a_turn_whose_words_have_no_price(tmp_path: Path) -> None:
    """It refuses by name unless it is told what such a call counts with; nothing is sent."""
    sandbox = Sandbox()
    ledger = Ledger(tmp_path / "spend.sqlite")
    strict = Budget(5, per="day", ledger=ledger)
    told = Budget(5, per="day", ledger=ledger, unknown="0.50")

    with pytest.raises(BudgetExceededError):
        Talks("sync").sandbox(sandbox, chat_model="gpt-6.1-sol", budget=strict).send(
            "A cabin", **LOW
        )
    assert sandbox.requests == []

    Talks("sync").sandbox(sandbox, chat_model="gpt-6.1-sol", budget=told).send("A cabin", **LOW)
    (row,) = ledger.rows()
    assert (row.cost, row.counted) == (None, Decimal("0.50"))


def test_what_was_reserved_holds_what_a_turn_costs(talks: Talks, tmp_path: Path) -> None:
    """First turns, later ones, and ones resumed by the id of a stored image."""
    ledger, store = Ledger(tmp_path / "spend.sqlite"), Store(tmp_path / "pictures")
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox, store=store, ledger=ledger)
    talk.send("A cabin", **LOW)
    last = talk.send("Add snow", **LOW)
    resumed = talks.sandbox(sandbox, store=store, ledger=ledger, resume=last.result.stored[0].id)
    resumed.send("At night", **LOW)
    rows = list(ledger.rows())

    assert len(rows) == 3
    assert [row for row in rows if row.cost is None or row.cost > row.reserved] == []


def test_a_turn_counts_all_it_may_draw(talks: Talks) -> None:
    """A limit on images lets it through only when there is room for ``max_images``."""
    asked: list[int] = []

    class Counts:
        def acquire(self, n_images: int, tokens: int | None) -> float:
            del tokens
            asked.append(n_images)
            return 0.0

        def learn(self, reply: HttpReply) -> None:
            pass

        def close(self) -> None:
            pass

    talk, _ = talks.fake(DRAWN, limits=Counts())
    talk.send("A cabin", **LOW)
    talk.send("Two cabins", max_images=2, **LOW)

    assert asked == [1, 2]
