"""One clock for each object: nothing that was given a clock asks the machine's."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage import Budget, ConfigurationError
from gptimage._internal.clock import files_now
from gptimage.cache.disk import DiskCache
from gptimage.cache.memory import MemoryCache
from gptimage.limits import WindowLimiter
from gptimage.sandbox import Sandbox, SandboxTransport
from gptimage.store import PendingReplies, Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sources import nodes_of


DAYS = [datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2031, 5, 1, 12, tzinfo=UTC)]
"""A day that is over and one that is far away: no real day lies beside either of them."""

SMALL: dict[str, Any] = {"size": "1024x640", "quality": "low"}
SOURCES = [
    path
    for name in ("gptimage", "gptimage_mcp")
    for path in sorted(Path(gptimage.__file__).parents[1].joinpath(name).rglob("*.py"))
]
ASKS = {
    "gptimage/_internal/clock.py": {"datetime.now", "time.time"},
    "gptimage_mcp/content/records.py": {"datetime.now"},
}
"""Where this machine is asked for the time; the server uses only public names of the library."""


CLOCKS = {
    ("date", "today"), ("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow"),
    ("time", "gmtime"), ("time", "localtime"), ("time", "time"), ("time", "time_ns"),
}  # fmt: skip
"""How a module asks this machine."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now


def asked(path: Path) -> Iterator[str]:
    """The machine's clocks a file names, also where it only hands them on."""
    for node in nodes_of(path):
        if isinstance(node, ast.Attribute) and node.attr in {each[1] for each in CLOCKS}:
            name = ast.unparse(node)
            if tuple(name.split(".")[-2:]) in CLOCKS:
                yield name


def test_one_file_asks_the_machine() -> None:
    """A module that takes a clock cannot forget it: none but these knows another one."""
    source = Path(gptimage.__file__).parents[1]
    found = {
        path.relative_to(source).as_posix(): names
        for path in SOURCES
        if (names := set(asked(path)))
    }

    assert found == ASKS


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_a_budget_is_asked_about_the_day_of_its_client(day: datetime) -> None:
    """What was spent on the client's day is missing from that day, whatever day it is."""
    clock = Clock(day)
    budget = gptimage.Budget("1.00", per="day")
    client = gptimage.ImageClient.sandbox(budget=budget, clock=clock)
    result = client.generate("A fox", **SMALL)
    assert result.cost is not None
    left = budget.remaining()
    clock.now += timedelta(days=1)

    assert (left, budget.remaining()) == (Decimal("1.00") - result.cost.usd, Decimal("1.00"))


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_a_call_is_overdue_by_the_clock_that_dated_it(tmp_path: Path, day: datetime) -> None:
    """A call that waits is open within its hour, and unknown after it, by the client's clock."""
    clock = Clock(day)
    ledger = gptimage.Ledger(tmp_path / "spend.sqlite")
    seen: list[str] = []

    class Looking(SandboxTransport):
        def send(self, request: HttpRequest) -> HttpReply:
            seen.extend(row.billing for row in ledger.rows())
            clock.now += timedelta(hours=2)
            seen.extend(row.billing for row in ledger.rows())
            return super().send(request)

    client = gptimage.ImageClient(
        transport=Looking(Sandbox(clock=clock)), base_url="http://sandbox.invalid/v1",
        ledger=ledger, clock=clock,
    )  # fmt: skip
    client.generate("A fox", **SMALL)

    assert seen == ["sent", "unknown"]


def test_a_clock_of_its_own_stays(tmp_path: Path) -> None:
    """A budget and a ledger that were given a clock go by it, whoever uses them."""
    own = Clock(DAYS[0])
    ledger = gptimage.Ledger(tmp_path / "spend.sqlite", clock=own)
    budget = gptimage.Budget("1.00", per="day", clock=own)
    client = gptimage.ImageClient.sandbox(budget=budget, ledger=ledger, clock=lambda: DAYS[1])
    client.generate("A fox", **SMALL)

    assert budget.remaining() == Decimal("1.00")
    assert [row.at for row in ledger.rows()] == [DAYS[1]]


def test_two_clocks_on_one_ledger(tmp_path: Path) -> None:
    """Each call has its own client's day; the ledger goes on by the clock of the first one."""
    ledger = gptimage.Ledger(tmp_path / "spend.sqlite")
    budget = gptimage.Budget("1.00", per="day", ledger=ledger)
    for day in DAYS:
        client = gptimage.ImageClient.sandbox(budget=budget, clock=lambda day=day: day)
        client.generate(f"A fox on {day}", **SMALL)
    rows = ledger.rows()

    assert [(row.at, row.billing) for row in rows] == [(day, "billed") for day in DAYS]
    assert budget.remaining() == 1 - rows[0].counted


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_the_sandbox_lives_on_the_day_of_its_client(day: datetime) -> None:
    """A sandbox the client makes knows the client's models and dates its replies likewise."""
    client = gptimage.ImageClient.sandbox(clock=lambda: day)
    result = client.generate("A fox", **SMALL)

    assert (result.created, client.clock()) == (day, day)


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_a_sandbox_dates_everything_it_makes(day: datetime) -> None:
    """Files, batches, images and responses carry the sandbox's own time."""
    sandbox = Sandbox(clock=lambda: day)

    def body(method: str, path: str, **asked: Any) -> Any:
        reply = sandbox.send(HttpRequest(method=method, path=path, body=asked))
        return json.loads(bytes(reply.body))

    picture = body("POST", "/images/generations", model="gpt-image-2", prompt="A fox", **SMALL)
    turn = body(
        "POST", "/responses", model="gpt-6-luna", input="A fox",
        tools=[{"type": "image_generation", **SMALL}],
    )  # fmt: skip

    assert {picture["created"], turn["created_at"]} == {int(day.timestamp())}


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_replies_wait_by_the_spool_s_own_clock(tmp_path: Path, day: datetime) -> None:
    """A reply that waits is left over once it is old enough by the clock that dated it."""
    clock = Clock(day)
    spool = PendingReplies(tmp_path, clock=clock)
    spool.put("g1:abc", b"x", {})
    young = spool.abandoned()
    clock.now += timedelta(hours=2)

    assert ([each.key for each in young], [each.at for each in spool.abandoned()]) == ([], [day])


def test_every_reply_is_left_over_when_no_age_is_asked(tmp_path: Path) -> None:
    """A reply dated by a clock that is ahead is found as well: it was paid for."""
    PendingReplies(tmp_path, clock=lambda: DAYS[1]).put("g1:abc", b"x", {})
    found = PendingReplies(tmp_path, clock=lambda: DAYS[0]).abandoned(timedelta(0))

    assert [each.key for each in found] == ["g1:abc"]


@pytest.mark.parametrize("day", DAYS, ids=str)
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_how_a_call_ended_is_remembered_by_the_cache_s_clock(
    tmp_path: Path, day: datetime, kind: str
) -> None:
    """Whoever waits for a call hears how it ended, for a while, by the cache's own clock."""
    now = [day.timestamp()]
    cache: Any = (
        MemoryCache(clock=lambda: now[0])
        if kind == "memory"
        else DiskCache(tmp_path, clock=lambda: now[0])
    )
    lease = cache.lease("g1:abc", "token")
    lease.release("no")
    outcome = cache.lease_outcome("token")
    now[0] += 86_400

    assert (outcome, cache.lease_outcome("token")) == ("no", None)


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_what_is_being_saved_is_waited_for_by_the_store_s_clock(
    tmp_path: Path, day: datetime
) -> None:
    """A save that was begun is given up an hour later, by the clock that noted its beginning."""
    clock = Clock(day)
    store = Store(tmp_path, fsync=False, clock=clock)
    store._context.index.begin(["images/2026/11/20/being-saved.json"], clock())
    store.refresh()
    begun = len(store._context.index.journal())
    clock.now += timedelta(hours=2)
    store.refresh()

    assert (begun, len(store._context.index.journal())) == (1, 0)


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_a_file_s_age_is_told_by_its_file_system(tmp_path: Path, day: datetime) -> None:
    """A file that was just written is young, and one of 1970 is not, whatever the store's clock."""
    store = Store(tmp_path, fsync=False, clock=lambda: day)
    for name in ("young", "old"):
        path = tmp_path / ".tmp" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    os.utime(tmp_path / ".tmp/old", (0, 0))

    assert [problem.key for problem in store.verify().problems] == [".tmp/old"]
    assert list(tmp_path.glob(".now-*")) == []


def test_the_file_system_s_time_needs_no_right_to_write(tmp_path: Path) -> None:
    """Where no file can be made, this machine's time serves; nothing is raised."""
    before = time.time()

    assert before <= files_now(tmp_path / "missing") <= time.time()


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_a_wait_until_a_date_is_measured_by_the_client_s_clock(day: datetime) -> None:
    """A refusal that names a date holds requests back until then by the client's clock."""
    limiter = WindowLimiter(gptimage.Limits(), clock=lambda: 0.0, utc=lambda: day)
    until = (day + timedelta(seconds=40)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    body = b'{"error": {"message": "Rate limit", "code": "rate_limit_exceeded"}}'
    limiter.learn(HttpReply(status=429, headers={"retry-after": until}, body=body))

    assert limiter.acquire(1, None) == pytest.approx(40)


def test_a_store_and_a_budget_name_a_clock_that_is_far_off(tmp_path: Path) -> None:
    """Their own clock is looked at before it is counted from."""
    far = Clock(datetime(9999, 12, 31, 23, 59, tzinfo=UTC))

    with pytest.raises(ConfigurationError, match="9999-12-31"):
        Store(tmp_path, clock=far)
    with pytest.raises(ConfigurationError, match="9999-12-31"):
        Budget(5, per="day", clock=far).remaining()
