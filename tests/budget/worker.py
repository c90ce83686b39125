"""A process of its own that spends from a shared ledger; run by the tests, never imported.

Usage: ``worker.py MODE LEDGER LIMIT COUNT SEED``. It prints ``ready``, waits for a line, and
then prints what it did as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import gptimage
from gptimage.budget.accounts import CallRecord
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.errors import BudgetExceededError
from gptimage.sandbox import Sandbox


CENT = Decimal("0.01")


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def entry() -> CallRecord:
    """A call that begins now."""
    return CallRecord(
        call_id=os.urandom(16).hex(), at=datetime.now(UTC), operation="generate", model="m"
    )


def hours(budget: Budget, count: int) -> object:
    """Try to spend one cent in each of so many hours, when told; how often that was possible."""
    paid = 0
    for hour in range(count):
        say("set")
        sys.stdin.readline()
        at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(hours=hour)
        try:
            budget.reserve(CENT, on=at, note=entry()).settle(CENT)
        except BudgetExceededError:
            continue
        paid += 1
    return paid


def spend(budget: Budget) -> Decimal:
    """Reserve and settle, as a client does; some calls are refused by the service."""
    max_cost = Decimal(random.randrange(1, 100)) / 1000
    reservation = budget.reserve(max_cost, on=datetime.now(UTC), note=entry())
    time.sleep(random.random() / 500)
    if random.random() < 0.2:
        reservation.release()
        return Decimal(0)
    cost = max_cost * random.randrange(1, 101) / 100
    reservation.settle(cost)
    return cost


def for_ever(budget: Budget, count: int) -> object:
    """Spend until killed, and say what was paid after each call."""
    while True:
        say(str(spend(budget)))


def reserve(budget: Budget, count: int) -> object:
    """Reserve 30 cents and be killed while waiting for the answer."""
    budget.reserve(Decimal("0.30"), on=datetime.now(UTC), note=entry())
    say("sent")
    time.sleep(3600)
    return None


def draw(budget: Budget, count: int) -> object:
    """Draw with a client until its budget says no; what it cost, as the service said."""
    costs: list[str] = []
    stopped = 0
    with gptimage.ImageClient.sandbox(Sandbox(draw="plain"), budget=budget) as client:
        for number in range(count):
            try:
                result = client.generate(f"Fox {number}", size="1024x1024", quality="low")
            except BudgetExceededError:
                stopped += 1
            else:
                assert result.cost is not None
                costs.append(str(result.cost.usd))
    return {"paid": str(sum(map(Decimal, costs), Decimal(0))), "stopped": stopped}


def main() -> None:
    """Do what the arguments say."""
    mode, path, limit, count, seed = sys.argv[1:]
    random.seed(int(seed))
    modes = {"hours": hours, "for_ever": for_ever, "reserve": reserve, "draw": draw}
    budget = Budget(limit, per="hour" if mode == "hours" else "total", ledger=Ledger(path))
    say("ready")
    sys.stdin.readline()
    say(json.dumps(modes[mode](budget, int(count))))


main()
