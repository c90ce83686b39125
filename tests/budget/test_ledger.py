"""The ledger: a row for each call, sums over them, and a file nobody may harm."""

from __future__ import annotations

import os
import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.budget.ledger_db import HOST, check_whole, is_abandoned
from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.models.pricing import Usage


NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
USAGE = Usage(input_tokens=10, output_tokens=200, total_tokens=210, text_tokens=10, image_tokens=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "spend.sqlite"


def entry(**fields: object) -> CallRecord:
    """A call."""
    whole = {"at": NOON, "operation": "generate", "model": "flare", "prompt": "A secret fox"}
    return CallRecord(**{"call_id": os.urandom(16).hex(), **whole, **fields})  # type: ignore[arg-type]  # checked by attrs


def paid(ledger: Ledger, usd: str | None, **fields: object) -> CallRecord:
    """A call that was answered."""
    made = entry(reserved=Decimal("0.50"), **fields)
    ledger.begin(made)
    cost = None if usd is None else Decimal(usd)
    ledger.end(
        made,
        CallOutcome(billing=Billing.BILLED, cost=cost, usage=USAGE, images=2, request_id="req_1"),
    )
    return made


def test_a_call_is_one_row(path: Path) -> None:
    """Time, operation, model, usage, cost, estimate, request id and outcome are kept."""
    ledger = Ledger(path)
    # Open for as long as this test is kept: after its time a call counts as unknown.
    until = datetime(9000, 1, 1, tzinfo=UTC)
    made = entry(estimate=Decimal("0.02"), reserved=Decimal("0.05"), until=until)
    ledger.begin(made)
    (waiting,) = ledger.rows()
    ledger.end(
        made,
        CallOutcome(
            billing=Billing.BILLED,
            cost=Decimal("0.0131"),
            usage=USAGE,
            images=1,
            request_id="req_7",
            seconds=2.5,
        ),
    )
    (row,) = ledger.rows()

    assert (waiting.billing, waiting.counted) == ("sent", Decimal("0.05"))
    assert (row.id, row.at, row.operation, row.model) == (made.call_id, NOON, "generate", "flare")
    assert (row.billing, row.cached, row.images) == ("billed", False, 1)
    assert (row.estimate, row.reserved) == (Decimal("0.02"), Decimal("0.05"))
    assert row.cost == row.counted == Decimal("0.0131")
    assert (row.usage, row.request_id, row.seconds) == (USAGE, "req_7", 2.5)
    assert (row.prompt, row.error) == (None, None)


def test_prompts_are_not_kept_unless_asked(path: Path, tmp_path: Path) -> None:
    """No byte of a prompt is in the file, unless the ledger was told to keep them."""
    ledger = Ledger(path)
    paid(ledger, "0.01")
    ledger.close()
    files = [each.read_bytes() for each in tmp_path.iterdir()]
    assert files
    assert [data for data in files if b"secret fox" in data] == []

    telling = Ledger(tmp_path / "other.sqlite", prompts=True)
    paid(telling, "0.01")
    assert [row.prompt for row in telling.rows()] == ["A secret fox"]


def test_summary_adds_up(path: Path) -> None:
    """Groups by model, day and operation, and the total, add up calls, costs and tokens."""
    ledger = Ledger(path)
    paid(ledger, "0.10")
    paid(ledger, "0.20", operation="edit")
    paid(ledger, "0.40", model="sunburst", at=NOON + timedelta(days=1))
    paid(ledger, None, model="mystery")
    ledger.begin(lost := entry(reserved=Decimal("0.07")))
    ledger.end(lost, CallOutcome(billing=Billing.UNKNOWN, error="OutcomeUnknownError"))
    ledger.begin(refused := entry(reserved=Decimal("0.09")))
    ledger.end(refused, CallOutcome(billing=Billing.NOT_BILLED, error="RateLimitError"))
    ledger.end(entry(), CallOutcome(billing=Billing.NOT_BILLED, images=1, cached=True))
    by_model = ledger.summary("model")

    assert [(each.name, each.calls, each.cost) for each in by_model] == [
        ("flare", 5, Decimal("0.30")),
        ("mystery", 1, 0),
        ("sunburst", 1, Decimal("0.40")),
    ]
    assert [(each.name, each.cost) for each in ledger.summary("day")] == [
        ("2026-11-20", Decimal("0.30")),
        ("2026-11-21", Decimal("0.40")),
    ]
    assert [(each.name, each.cost) for each in ledger.summary("operation")] == [
        ("edit", Decimal("0.20")),
        ("generate", Decimal("0.50")),
    ]
    total = by_model.total
    assert (total.calls, total.cached, total.images) == (7, 1, 9)
    assert (total.failed, total.unknown, total.unpriced, total.waiting) == (1, 1, 1, 0)
    assert (total.cost, total.reserved) == (Decimal("0.70"), Decimal("0.57"))
    assert (total.input_tokens, total.output_tokens) == (40, 800)
    assert total.cost + total.reserved == ledger.spent()


def test_summary_of_a_span(path: Path) -> None:
    """``since`` is included, ``until`` is not; nothing at all is an empty summary."""
    ledger = Ledger(path)
    days = [NOON + timedelta(days=number) for number in range(3)]
    for day in days:
        paid(ledger, "0.10", at=day)

    assert ledger.summary(since=days[1], until=days[2]).total.calls == 1
    assert ledger.summary(since=days[1]).total.calls == 2
    empty = ledger.summary(since=days[2] + timedelta(days=1))
    assert (empty.groups, empty.total.calls, empty.total.cost) == ((), 0, 0)
    assert [row.at for row in ledger.rows(until=days[1])] == days[:1]


def test_an_unknown_grouping_is_refused(path: Path) -> None:
    """Only known ways to group are accepted; nothing of it reaches the SQL."""
    with pytest.raises(InvalidRequestError, match="no way to group"):
        Ledger(path).summary("prompt; DROP TABLE calls")  # type: ignore[arg-type]  # what is tested


def test_an_overdue_call_is_unknown(path: Path) -> None:
    """After an hour nobody waits for an answer any more, whoever has the process number now."""
    ledger = Ledger(path)
    ledger.begin(entry(reserved=Decimal("0.07"), at=datetime.now(UTC) - timedelta(hours=2)))
    ledger.begin(entry(reserved=Decimal("0.05"), at=datetime.now(UTC)))
    total = ledger.summary().total

    assert (total.unknown, total.waiting, total.reserved) == (1, 1, Decimal("0.12"))


def test_a_long_call_outlives_its_process(path: Path) -> None:
    """A call with a time of its own, such as a batch, is not given up before."""
    ledger = Ledger(path)
    at = datetime.now(UTC) - timedelta(hours=2)
    ledger.begin(entry(reserved=Decimal("0.07"), at=at, until=at + timedelta(days=1)))

    assert ledger.summary().total.waiting == 1


def test_a_late_answer_settles_after_all(path: Path) -> None:
    """A call taken for lost that is answered later counts with its cost."""
    ledger = Ledger(path)
    made = entry(reserved=Decimal("0.07"), at=datetime.now(UTC) - timedelta(hours=2))
    ledger.begin(made)
    assert ledger.summary().total.unknown == 1
    ledger.end(made, CallOutcome(billing=Billing.BILLED, cost=Decimal("0.02"), images=1))

    total = ledger.summary().total
    assert (total.unknown, total.reserved, ledger.spent()) == (0, 0, Decimal("0.02"))


@pytest.mark.parametrize(("usd", "outcome"), [("0.03", "billed"), ("0", "not_billed")])
def test_an_unknown_outcome_can_be_resolved(path: Path, usd: str, outcome: str) -> None:
    """After a look at the usage page a user says what it cost."""
    ledger = Ledger(path)
    ledger.begin(made := entry(reserved=Decimal("0.07")))
    ledger.end(made, CallOutcome(billing=Billing.UNKNOWN))
    ledger.set_cost(made.call_id, Decimal(usd))

    (row,) = ledger.rows()
    assert (row.billing, row.cost, ledger.spent()) == (outcome, Decimal(usd), Decimal(usd))
    with pytest.raises(InvalidRequestError, match="no call"):
        ledger.set_cost(made.call_id, Decimal(1))


def test_budgets_count_what_others_spent(path: Path) -> None:
    """Every budget of the same ledger counts all its calls, from whatever client."""
    paid(Ledger(path), "0.40")

    assert Budget(1, per="day", ledger=Ledger(path)).remaining(NOON) == Decimal("0.60")


@pytest.mark.skipif(os.name != "posix", reason="this system has no such rights")
def test_the_file_is_private(tmp_path: Path) -> None:
    """What was spent is readable to its owner alone."""
    ledger = Ledger(tmp_path / "deep" / "spend.sqlite")
    paid(ledger, "0.01")

    modes = {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "deep").iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one. " * 40, b"x"])
def test_a_file_that_is_no_ledger_is_left_alone(path: Path, content: bytes) -> None:
    """A file that is something else is refused and keeps every byte."""
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="ledger"):
        Ledger(path).begin(entry())
    assert path.read_bytes() == content


@pytest.mark.parametrize("left", [0, 60, 4_096])
def test_a_ledger_cut_short_is_told(path: Path, left: int) -> None:
    """A ledger that lost its rows is not taken for a new one: its budget would begin anew."""
    for _ in range(60):
        paid(Ledger(path), "0.40")
    os.truncate(path, left)

    with pytest.raises(ConfigurationError, match="left as it is"):
        Budget(1, per="total", ledger=Ledger(path)).remaining()
    with pytest.raises(ConfigurationError, match="left as it is"):
        Ledger(path).begin(entry())
    assert path.stat().st_size == left


def test_an_empty_file_is_no_ledger(path: Path) -> None:
    """An empty file is refused by name, and what to do is said."""
    path.touch()

    with pytest.raises(ConfigurationError, match=r"is no ledger.*it is empty.*name another file"):
        Ledger(path).summary()


def test_another_database_is_left_alone(path: Path) -> None:
    """Somebody else's SQLite file is refused, and no byte of it changes."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match="no ledger"):
        Ledger(path).begin(entry())
    assert path.read_bytes() == before


def test_a_newer_ledger_is_left_alone(path: Path) -> None:
    """What a newer version wrote is not read wrongly by an older one."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(ConfigurationError, match="newer version"):
        Ledger(path).summary()


def test_a_path_that_cannot_be_a_file(tmp_path: Path) -> None:
    """A folder in its place is an error that names it."""
    with pytest.raises(ConfigurationError, match="ledger"):
        Ledger(tmp_path).begin(entry())


def test_a_deleted_file_starts_anew(path: Path) -> None:
    """When somebody deletes the file, the next call is entered in a new one, not in the old."""
    ledger = Ledger(path)
    paid(ledger, "0.10")
    made = entry(reserved=Decimal("0.50"))
    ledger.begin(made)
    path.unlink()
    ledger.end(made, CallOutcome(billing=Billing.BILLED, cost=Decimal("0.20")))

    assert ledger.spent() == Decimal("0.20")
    assert [row.id for row in Ledger(path).rows()] == [made.call_id]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_it_survives_a_fork(path: Path) -> None:
    """Parent and child both go on with the object they share."""
    ledger = Ledger(path)
    paid(ledger, "0.10")
    child = os.fork()
    if child == 0:
        try:
            paid(ledger, "0.20")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    paid(ledger, "0.40")

    assert ledger.spent() == Decimal("0.70")


def test_what_guards_the_money_says_what_it_is(tmp_path: Path) -> None:
    """A log shows the limits of a budget and the file of a ledger, and nothing of its calls."""
    ledger = Ledger(tmp_path / "calls.sqlite")
    budget = Budget("0.50", per="day", ledger=ledger)

    assert repr(budget) == "Budget($0.50 per day)"
    assert repr(ledger) == f"Ledger({str(tmp_path / 'calls.sqlite')!r})"


def test_who_reads_keeps_no_call_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proving a large ledger takes seconds: calls are entered meanwhile, and read the next time."""
    ledger, other = Ledger(path), Ledger(path)
    paid(ledger, "0.01")

    def slowly(connection: sqlite3.Connection) -> None:
        check_whole(connection)
        paid(other, "0.02")

    monkeypatch.setattr("gptimage.budget.ledger.check_whole", slowly)

    assert [ledger.summary().total.calls, len(ledger.rows())] == [1, 2]


def test_a_ledger_that_did_not_change_is_proved_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that asks for four sums need not wait four times."""
    proved: list[sqlite3.Connection] = []
    monkeypatch.setattr("gptimage.budget.ledger.check_whole", proved.append)
    ledger = Ledger(path)
    counts: list[int] = []
    for _ in range(2):
        paid(ledger, "0.01")
        ledger.summary("day")
        ledger.summary("model")
        ledger.rows()
        counts.append(len(proved))

    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("answer", "abandoned"),
    [(None, False), (PermissionError("another user's"), False), (ProcessLookupError("gone"), True)],
    ids=["alive", "of another user", "gone"],
)
def test_whose_response_can_still_come(
    monkeypatch: pytest.MonkeyPatch, answer: OSError | None, abandoned: bool
) -> None:
    """A process that runs as another user counts as alive, although no signal reaches it."""

    def kill(pid: int, signal: int) -> None:
        assert (pid, signal) == (4_000_000, 0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(os, "kill", kill)

    assert is_abandoned(HOST, 4_000_000, until=2.0, now=1.0) is (abandoned and os.name == "posix")


def test_a_time_of_another_kind_is_refused(path: Path) -> None:
    """A date as text is not read, and not taken for no limit."""
    wrong: Any = "2026-11-20"
    ledger = Ledger(path)
    for read in (ledger.rows, ledger.summary):
        with pytest.raises(ConfigurationError, match=r"^since="):
            read(since=wrong)
