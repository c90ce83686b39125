"""The converter of JSON files: what it writes it reads, another type it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import pytest
from attrs import frozen

from gptimage._internal.converter import from_json, to_json


class State(StrEnum):
    """A state."""

    OPEN = "open"
    DONE = "done"


@frozen(kw_only=True)
class Part:
    """A value inside another."""

    at: datetime
    cost: Decimal | None = None


@frozen(kw_only=True)
class Whole:
    """A value of every kind that files hold."""

    name: str
    count: int
    share: float
    is_done: bool
    path: Path
    parts: tuple[Part, ...] = ()
    state: State = State.OPEN


WHOLE = Whole(
    name="a fox",
    count=3,
    share=0.5,
    is_done=True,
    path=Path("a") / "b.png",
    parts=(Part(at=datetime(2026, 11, 28, tzinfo=UTC), cost=Decimal("0.040")),),
)


def test_what_is_written_is_read() -> None:
    """A value survives the way through JSON, to the last digit of its cost."""
    assert from_json(to_json(WHOLE), Whole) == WHOLE


def test_an_enum_is_itself() -> None:
    """A member is not a text that only looks like it: code compares members by identity."""
    assert from_json({**to_json(WHOLE), "state": "done"}, Whole).state is State.DONE


def test_json_says_time_and_money_as_text() -> None:
    """Nobody's JSON library rounds an amount or guesses a zone."""
    assert to_json(WHOLE)["parts"] == [{"at": "2026-11-28T00:00:00+00:00", "cost": "0.040"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("count", "3"),
        ("count", True),
        ("count", 3.0),
        ("share", "0.5"),
        ("is_done", 1),
        ("path", 7),
        ("state", "closed"),
        ("parts", "abc"),
        ("parts", [{"at": "2026-11-28T00:00:00"}]),
        ("parts", [{"at": "2026-11-28T00:00:00+00:00", "cost": 0.04}]),
        ("parts", [{"at": "2026-11-28T00:00:00+00:00", "cost": "NaN"}]),
    ],
)
def test_another_type_is_refused_by_name(field: str, value: object) -> None:
    """Nothing is turned into something else in silence."""
    with pytest.raises(ValueError, match=field):
        from_json({**to_json(WHOLE), field: value}, Whole)
