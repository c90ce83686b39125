"""A shared budget is never crossed, however many processes race and whoever is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.budget.accounts import CallRecord
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.errors import BudgetExceededError
from tests.processes import start_python


WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A process that spends, once it is told to go."""

    def __init__(self, mode: str, path: Path, limit: str, count: int, seed: int) -> None:
        self.process = start_python(
            [WORKER, mode, path, limit, str(count), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Let it spend."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill(self) -> str:
        """End it as the system does when memory is short; what it had printed until then."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        return self.process.stdout.read()


Start = Callable[..., list[Worker]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the shared ledger is; nobody has made it yet."""
    return tmp_path / "money" / "spend.sqlite"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Starts workers, and waits until all are ready."""
    workers: list[Worker] = []

    def build(mode: str, *, limit: str, count: int = 1, copies: int = 1) -> list[Worker]:
        made = [Worker(mode, path, limit, count, seed) for seed in range(copies)]
        workers.extend(made)
        assert [worker.line() for worker in made] == ["ready"] * copies
        return made

    yield build
    for worker in workers:
        worker.kill()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()


def race(workers: list[Worker]) -> list[Any]:
    """Let all go at once; what each did."""
    for worker in workers:
        worker.go()
    return [json.loads(worker.line()) for worker in workers]


def sums_agree(path: Path) -> bool:
    """Whether the file is whole and its hourly sums are those of its rows."""
    with sqlite3.connect(path) as connection:
        checked = connection.execute("PRAGMA integrity_check").fetchall()
        rows = connection.execute("SELECT SUM(counted_nanos) FROM calls").fetchone()
        hours = connection.execute("SELECT SUM(nanos) FROM hours").fetchone()
    connection.close()
    return checked == [("ok",)] and rows == hours


def test_eight_processes_never_cross_it(path: Path, start: Start) -> None:
    """In each of 20 hours eight processes race for a cent, and exactly five get one."""
    workers = start("hours", limit="0.05", count=20, copies=8)
    for _ in range(20):
        for worker in workers:
            worker.go()
        assert [worker.line() for worker in workers] == ["set"] * 8
    paid = race(workers)
    by_hour = Counter(row.at for row in Ledger(path).rows())

    assert list(by_hour.values()) == [5] * 20
    assert sum(paid) == 100
    assert Ledger(path).spent() == Ledger(path).summary().total.cost == 1
    assert sums_agree(path)


def test_six_clients_never_cross_it(path: Path, start: Start) -> None:
    """Whole clients in six processes stop in time, too."""
    found = race(start("draw", limit="0.20", count=9, copies=6))
    paid = sum(Decimal(each["paid"]) for each in found)

    assert Decimal("0.19") < paid <= Decimal("0.20")  # an image costs 0.0059
    assert sum(each["stopped"] for each in found) > 16
    assert Ledger(path).spent() == paid


def test_killed_processes_never_free_money(path: Path, start: Start) -> None:
    """Processes killed anywhere leave a whole ledger that counts at least what was paid."""
    paid = Decimal(0)
    for round_ in range(2):
        workers = start("for_ever", limit="100", copies=8)
        for worker in workers:
            worker.go()
        paid += sum(Decimal(worker.line()) for worker in workers)  # all are at work
        time.sleep(0.3 + 0.07 * round_)
        paid += sum(Decimal(line) for worker in workers for line in worker.kill().split())
    ledger = Ledger(path)
    total = ledger.summary().total

    assert paid > 0
    assert paid <= ledger.spent() == total.cost + total.reserved
    assert total.waiting == 0
    assert total.unknown <= 16
    assert sums_agree(path)


def test_a_killed_call_goes_on_counting(path: Path, start: Start) -> None:
    """A call whose process was killed after sending is of unknown outcome, not free."""
    (worker,) = start("reserve", limit="0.50")
    worker.go()
    assert worker.line() == "sent"
    ledger = Ledger(path)
    assert ledger.summary().total.waiting == 1
    worker.kill()

    total = ledger.summary().total
    assert (total.waiting, total.unknown, total.reserved) == (0, 1, Decimal("0.30"))
    now = datetime.now(UTC)
    note = CallRecord(call_id="next", at=now, operation="generate", model="m")
    budget = Budget("0.50", per="total", ledger=ledger)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal("0.30"), on=now, note=note)
    (row,) = ledger.rows(since=now - timedelta(hours=1))
    ledger.set_cost(row.id, Decimal(0))
    budget.reserve(Decimal("0.30"), on=now, note=note)
