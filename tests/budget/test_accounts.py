"""What counts against a budget, with a ledger and without."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptimage.budget.accounts import CallRecord
from gptimage.budget.budget import Budget, Reservation
from gptimage.budget.ledger import Ledger
from gptimage.errors import BudgetExceededError, ConfigurationError


NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
CENT = Decimal("0.01")
ids = itertools.count()

Make = Callable[..., Budget]


def entry(at: datetime = NOON) -> CallRecord:
    """A call."""
    return CallRecord(call_id=f"call{next(ids)}", at=at, operation="generate", model="m")


def reserve(budget: Budget, usd: str | None, at: datetime = NOON) -> Reservation:
    """Reserve an amount."""
    return budget.reserve(None if usd is None else Decimal(usd), on=at, note=entry(at))


@pytest.fixture(params=["purse", "ledger"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes budgets of one kind."""

    def budget(*arguments: Any, **options: Any) -> Budget:
        ledger = Ledger(tmp_path / "spend.sqlite") if request.param == "ledger" else None
        return Budget(*arguments, ledger=ledger, **options)

    return budget


def test_a_call_that_could_cross_it_is_refused(make: Make) -> None:
    """The limit may be reached, not crossed; what is reserved counts as spent."""
    budget = make(1, per="day")
    reserve(budget, "0.60")
    reserve(budget, "0.40")

    with pytest.raises(BudgetExceededError, match="nothing was sent") as caught:
        reserve(budget, "0.000000001")
    assert (caught.value.limit, caught.value.spent) == (1, 1)
    assert caught.value.estimate == Decimal("0.000000001")


def test_settling_counts_what_it_cost(make: Make) -> None:
    """After the answer the cost counts, and the rest can be spent."""
    budget = make("1.00", per="total")
    reserve(budget, "0.90").settle(Decimal("0.30"))

    assert budget.remaining(NOON) == Decimal("0.70")
    reserve(budget, "0.70")


def test_an_unknown_cost_counts_as_reserved(make: Make) -> None:
    """Where the cost is not known, the reserved amount stays counted."""
    budget = make("1.00", per="total")
    reserve(budget, "0.90").settle(None)

    assert budget.remaining(NOON) == Decimal("0.10")


def test_a_refused_call_counts_nothing(make: Make) -> None:
    """A released reservation is free again."""
    budget = make("1.00", per="total")
    reserve(budget, "0.90").release()

    assert budget.remaining(NOON) == 1


def test_an_unknown_outcome_stays_counted(make: Make) -> None:
    """What may have been billed counts, until it is known after all."""
    budget = make("1.00", per="total")
    reservation = reserve(budget, "0.90")
    reservation.unknown()
    assert budget.remaining(NOON) == Decimal("0.10")

    reservation.settle(Decimal("0.20"))
    assert budget.remaining(NOON) == Decimal("0.80")


def test_ending_twice_counts_once(make: Make) -> None:
    """A second ending replaces the first."""
    budget = make("1.00", per="total")
    reservation = reserve(budget, "0.90")
    reservation.settle(Decimal("0.20"))
    reservation.settle(Decimal("0.20"))

    assert budget.remaining(NOON) == Decimal("0.80")


def test_a_cost_above_the_reservation_counts_whole(make: Make) -> None:
    """An estimate that was too low is not hidden."""
    budget = make("1.00", per="total")
    reserve(budget, "0.10").settle(Decimal("1.50"))

    assert budget.remaining(NOON) == 0
    with pytest.raises(BudgetExceededError):
        reserve(budget, "0.01")


@pytest.mark.parametrize(
    ("per", "same", "next_"),
    [
        ("hour", "2026-11-20T12:59:59", "2026-11-20T13:00:00"),
        ("day", "2026-11-20T23:59:59", "2026-11-21T00:00:00"),
        ("month", "2026-11-30T23:59:59", "2026-12-01T00:00:00"),
    ],
)
def test_periods_begin_anew(make: Make, per: str, same: str, next_: str) -> None:
    """Hours, days and months of the calendar (UTC) each have the whole limit."""
    budget = make(1, per=per)
    reserve(budget, "1").settle(Decimal(1))

    with pytest.raises(BudgetExceededError):
        reserve(budget, "1", datetime.fromisoformat(same).replace(tzinfo=UTC))
    reserve(budget, "1", datetime.fromisoformat(next_).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "text", ["2026-02-28T23:59:59", "2028-02-29T23:59:59", "2026-12-31T23:59:59"]
)
def test_a_month_is_over_at_its_end(make: Make, text: str) -> None:
    """Months of every length end with their last second, and the next one counts for itself."""
    budget = make(1, per="month")
    last = datetime.fromisoformat(text).replace(tzinfo=UTC)
    reserve(budget, "1", last + timedelta(seconds=1))

    assert budget.remaining(last) == budget.remaining(last.replace(day=1, hour=0)) == 1
    assert budget.remaining(last + timedelta(seconds=1)) == 0
    reserve(budget, "1", last.replace(day=1, hour=0, minute=0, second=0))
    assert budget.remaining(last) == 0


def test_any_zone_is_read_as_utc(make: Make) -> None:
    """A time in another zone counts for the day it is in UTC."""
    budget = make(1, per="day")
    reserve(budget, "1", datetime(2026, 11, 20, 23, 30, tzinfo=timezone(timedelta(hours=-2))))

    assert budget.remaining(datetime(2026, 11, 20, 23, tzinfo=UTC)) == 1
    assert budget.remaining(datetime(2026, 11, 21, tzinfo=UTC)) == 0


def test_total_never_begins_anew(make: Make) -> None:
    """A total holds for ever."""
    budget = make(1, per="total")
    reserve(budget, "1").settle(Decimal(1))

    with pytest.raises(BudgetExceededError):
        reserve(budget, "1", NOON + timedelta(days=4000))


def test_per_call_looks_at_each_call_alone(make: Make) -> None:
    """Any number of small calls, no large one."""
    budget = make("0.10", per="call")
    for _ in range(20):
        reserve(budget, "0.10")

    with pytest.raises(BudgetExceededError, match="for each call"):
        reserve(budget, "0.11")
    assert budget.remaining(NOON) == Decimal("0.10")


def test_several_limits_hold_at_once(make: Make) -> None:
    """The tightest limit decides, and a refused call counts against none."""
    budget = make({"call": "0.50", "day": 1, "total": 1.2})
    reserve(budget, "0.50").settle(Decimal("0.50"))
    with pytest.raises(BudgetExceededError, match="for each call"):
        reserve(budget, "0.51")
    reserve(budget, "0.50").settle(Decimal("0.40"))
    with pytest.raises(BudgetExceededError, match="for this day"):
        reserve(budget, "0.11")

    tomorrow = NOON + timedelta(days=1)
    assert budget.remaining(NOON) == Decimal("0.1")
    assert budget.remaining(tomorrow) == Decimal("0.3")
    with pytest.raises(BudgetExceededError, match="in all"):
        reserve(budget, "0.31", tomorrow)


def test_an_unknown_price_is_refused(make: Make) -> None:
    """Nothing is sent whose price is not known, unless the user says what it counts as."""
    with pytest.raises(BudgetExceededError, match="cannot be known") as caught:
        reserve(make(5, per="day"), None)
    assert caught.value.estimate is None


def test_an_unknown_price_counts_as_told(make: Make) -> None:
    """The amount the user gives is reserved, and checked like any other."""
    budget = make(1, per="day", unknown="0.60")
    reserve(budget, None).settle(None)

    assert budget.remaining(NOON) == Decimal("0.40")
    with pytest.raises(BudgetExceededError):
        reserve(budget, None)


def test_nothing_is_rounded_down(make: Make) -> None:
    """Fractions below a billionth of a dollar count as one: many of them cannot add up unseen."""
    budget = make("0.000000002", per="total")
    reserve(budget, "0.0000000001")
    reserve(budget, "0.0000000001")

    with pytest.raises(BudgetExceededError):
        reserve(budget, "0.0000000001")


def test_threads_share_it(make: Make) -> None:
    """Racing threads never cross it, and use all of it."""
    budget = make(1, per="total")
    barrier = threading.Barrier(8)

    def spend() -> int:
        barrier.wait()
        done = 0
        for _ in range(25):
            try:
                reserve(budget, "0.01").settle(CENT)
            except BudgetExceededError:
                continue
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(spend) for _ in range(8)]
    assert sum(each.result() for each in found) == 100
    assert budget.remaining(NOON) == 0


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((5,), {}),
        ((5,), {"per": "week"}),
        ((-1,), {"per": "day"}),
        (("a lot",), {"per": "day"}),
        ((float("nan"),), {"per": "day"}),
        ((float("inf"),), {"per": "day"}),
        ((True,), {"per": "day"}),
        ((None,), {"per": "day"}),
        (({},), {}),
        (({"week": 5},), {}),
        (({"day": 5},), {"per": "day"}),
        ((5,), {"per": "day", "unknown": -1}),
        ((5,), {"per": "day", "unknown": "reject"}),
    ],
)
def test_senseless_limits_are_refused(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """A limit that cannot be kept is refused when it is made."""
    with pytest.raises(ConfigurationError):
        Budget(*arguments, **options)


def test_a_float_means_what_it_says() -> None:
    """0.1 is ten cents, not the nearest binary fraction."""
    assert Budget(0.1, per="call").limits == {"call": Decimal("0.1")}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 60), st.integers(0, 100), st.sampled_from(["settle", "release", "open"])
        ),
        max_size=25,
    )
)
def test_a_ledger_and_a_memory_ledger_agree(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, str]]
) -> None:
    """Whatever happens, both count the same, and never more than the limit."""
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "spend.sqlite")
    budgets = [Budget(1, per="day"), Budget(1, per="day", ledger=ledger)]
    for cents, percent, end in steps:
        amount = CENT * cents
        left = [_try(budget, amount, amount * percent / 100, end) for budget in budgets]

        assert left[0] == left[1]
        assert 0 <= left[0] <= 1
    ledger.close()


def _try(budget: Budget, amount: Decimal, cost: Decimal, end: str) -> Decimal:
    left = budget.remaining(NOON)
    try:
        reservation = budget.reserve(amount, on=NOON, note=entry())
    except BudgetExceededError:
        assert amount > left
    else:
        assert amount <= left
        if end == "settle":
            reservation.settle(cost)
        elif end == "release":
            reservation.release()
    return budget.remaining(NOON)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"limit_usd": 1}, "per= takes one of"),
        ({"limit_usd": 1, "per": 3}, "per"),
        ({"limit_usd": 1, "per": "week"}, "week"),
        ({"limit_usd": True, "per": "day"}, "amount in USD"),
        ({"limit_usd": Path("5"), "per": "day"}, "amount in USD"),
        ({"limit_usd": Decimal("1e9") + 1, "per": "day"}, "amount in USD"),
        ({"limit_usd": 1, "per": "day", "unknown": -1}, "unknown"),
        ({"limit_usd": 1, "per": "day", "ledger": "spend.sqlite"}, "ledger"),
        ({"limit_usd": 1, "per": "day", "clock": "noon"}, "clock"),
    ],
)
def test_what_is_no_budget_is_refused(options: dict[str, Any], named: str) -> None:
    """A limit of the wrong kind or size is refused where it is made, by name."""
    with pytest.raises(ConfigurationError, match=named):
        Budget(**options)


def test_the_largest_budget() -> None:
    """A billion dollars is the most that a limit may be, and nothing is rounded on the way."""
    most = Decimal(10**9)

    assert Budget(most, per="total").remaining() == most  # by this machine's clock


def test_the_first_clock_stays(tmp_path: Path) -> None:
    """What is left of the day is a question to its own clock, or else to its first client's."""
    later = NOON + timedelta(days=1)
    own = Budget(1, per="day", clock=lambda: NOON)
    taken = Budget(1, per="day", ledger=Ledger(tmp_path / "spend.sqlite"))
    for budget in (own, taken):
        budget.set_default_clock((lambda: later) if budget is own else (lambda: NOON))
        budget.set_default_clock(lambda: later)
        reserve(budget, "0.40").settle(Decimal("0.40"))

    assert own.remaining() == taken.remaining() == Decimal("0.60")
    assert (taken.remaining(later), own.remaining(later)) == (1, 1)


def test_its_ledger_takes_the_clock_over(tmp_path: Path) -> None:
    """A call of yesterday's test is not overdue for a client whose clock stands still."""
    budget = Budget(1, per="total", ledger=(ledger := Ledger(tmp_path / "spend.sqlite")))
    budget.use_ledger(ledger)  # the same again: harmless, and so is the same file
    budget.use_ledger(ledger := Ledger(ledger.path))
    budget.set_default_clock(lambda: NOON)
    reserve(budget, "0.40")
    unknown = reserve(budget, "0.10")
    unknown.unknown()

    total = ledger.summary().total
    assert (total.waiting, total.unknown, total.reserved) == (1, 1, Decimal("0.50"))
    assert ledger.spent() == Decimal("0.50")
