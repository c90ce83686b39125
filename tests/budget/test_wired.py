"""Both clients reserve, settle and tell: what is counted and told for every way a call can go."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger, LedgerRow
from gptimage.cache import Cache
from gptimage.engine.accounting import CallTracker
from gptimage.observers.events import Event, Failed, Finished, Planned, Saved
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.cache.single_flight_helpers import until_waiting


OPTIONS: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


class Keeps:
    """Keeps the events it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        """The kinds of events, in order."""
        return [event.name for event in self.events]

    def one(self, kind: type[Any]) -> Any:
        """The only event of a kind."""
        (found,) = [event for event in self.events if isinstance(event, kind)]
        return found


class Bench:
    """A sandbox, a client of one kind, and everything that watches it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.sandbox = Sandbox()
        self.ledger = Ledger(folder / "spend.sqlite")
        self.seen = Keeps()

    def client(self, **settings: Any) -> Any:
        """A client whose calls are watched."""
        kind = gptimage.ImageClient if self.kind == "sync" else gptimage.AsyncImageClient
        watched = {"ledger": self.ledger, "observers": [self.seen]}
        return kind.sandbox(self.sandbox, **{**watched, **settings})

    def generate(self, client: Any, prompt: str = "A fox", **options: Any) -> Any:
        """Draw, waiting."""
        made = client.generate(prompt, **{**OPTIONS, **options})
        return made if self.kind == "sync" else asyncio.run(_waited(made))

    def stream(self, client: Any, *, steps: int | None = None) -> list[Any]:
        """Stream; stop reading after some steps."""
        events = client.stream("A fox", partial_images=2, **OPTIONS)
        if self.kind == "async":
            return asyncio.run(_steps(events, steps))
        found = []
        for event in events:
            found.append(event)
            if len(found) == steps:
                break
        events.close()
        return found

    @property
    def row(self) -> LedgerRow:
        """The only row of the ledger."""
        (row,) = self.ledger.rows()
        return row


async def _waited(made: Any) -> Any:
    return await made


async def _steps(events: Any, steps: int | None) -> list[Any]:
    found = []
    async for event in events:
        found.append(event)
        if len(found) == steps:
            break
    await events.aclose()
    return found


@pytest.fixture(params=["sync", "async"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Both clients, one after the other."""
    return Bench(request.param, tmp_path)


def test_an_answer(bench: Bench) -> None:
    """An ordinary call: four events, one row, and what it cost counts."""
    result = bench.generate(bench.client(budget=Budget(1, per="day")))
    row, finished = bench.row, bench.seen.one(Finished)

    assert bench.seen.names == ["planned", "sent", "finished"]
    assert {event.call_id for event in bench.seen.events} == {row.id}
    assert (row.billing, row.operation, row.model) == ("billed", "generate", result.model)
    assert row.cost == row.counted == result.cost.usd == finished.cost.usd
    assert (row.usage, row.request_id) == (result.usage, result.request_id)
    assert row.reserved == bench.seen.one(Planned).max_cost
    assert result.request_id == finished.request_id


def test_the_ledger_is_the_clients(bench: Bench) -> None:
    """``client.ledger`` is the one given, or the budget's; there is none without."""
    assert bench.client().ledger is bench.ledger
    budget = Budget(1, per="day", ledger=bench.ledger)
    assert bench.client(ledger=None, budget=budget).ledger is bench.ledger
    assert bench.client(ledger=None).ledger is None
    with pytest.raises(gptimage.ConfigurationError, match="same ledger"):
        bench.client(ledger=Ledger("other.sqlite"), budget=budget)


def test_a_budget_beside_a_ledger_is_the_caller_s_own(bench: Bench) -> None:
    """With both given, the object the caller holds counts, together with the ledger's calls."""
    budget = Budget(1, per="total")
    client = bench.client(budget=budget)
    result = bench.generate(client)
    assert result.cost is not None

    assert budget.remaining() == 1 - result.cost.usd == 1 - bench.ledger.spent()


def test_a_budget_that_has_counted_is_not_moved(bench: Bench) -> None:
    """What a budget counted without a ledger is not forgotten for the sake of one."""
    budget = Budget(1, per="total")
    bench.generate(bench.client(ledger=None, budget=budget))
    with pytest.raises(gptimage.ConfigurationError, match="would forget them"):
        bench.client(budget=budget)


def test_a_budget_stops_before_sending(bench: Bench) -> None:
    """A call that could cross the budget is not sent and leaves no row."""
    client = bench.client(budget=Budget("0.012", per="total"))
    for number in range(2):
        bench.generate(client, f"Fox {number}")
    with pytest.raises(gptimage.BudgetExceededError):
        bench.generate(client, "One fox too many")

    assert len(bench.sandbox.requests) == len(bench.ledger.rows()) == 2
    assert bench.seen.names[-2:] == ["planned", "failed"]
    failed = bench.seen.one(Failed)
    assert (failed.error, failed.possible_cost) == ("BudgetExceededError", 0)


def test_an_unknown_price(bench: Bench) -> None:
    """A request without published figures is refused, or counts with what the user says."""
    with pytest.raises(gptimage.BudgetExceededError, match="no published figures"):
        bench.generate(bench.client(budget=Budget(1, per="day")), model="gpt-image-2.6-flare")
    assert bench.sandbox.requests == []

    client = bench.client(budget=Budget(1, per="day", unknown="0.50"))
    bench.generate(client, model="gpt-image-2.6-flare")
    assert bench.row.reserved == Decimal("0.50")
    assert bench.row.cost == bench.row.counted < Decimal("0.50")


def test_what_is_left_to_the_service_is_reserved_at_its_dearest(bench: Bench) -> None:
    """Without a size a budget reserves the largest image, and counts what came."""
    with pytest.raises(gptimage.BudgetExceededError, match="name a size and a quality"):
        bench.generate(bench.client(budget=Budget("0.50", per="day")), size="auto", quality="max")
    assert bench.sandbox.requests == []

    bench.generate(bench.client(budget=Budget(1, per="day")), size="auto", quality="max")
    assert bench.row.cost is not None
    assert bench.row.cost == bench.row.counted < bench.row.reserved < 1


def test_a_cache_hit_is_free(bench: Bench) -> None:
    """The second answer is a row that cost nothing; nothing is reserved for it."""
    client = bench.client(cache=Cache.memory(), budget=Budget("0.007", per="total"))
    bench.generate(client)
    bench.generate(client)
    first, second = bench.ledger.rows()

    assert (first.cached, second.cached) == (False, True)
    assert (second.billing, second.cost, second.images) == ("not_billed", 0, 1)
    assert bench.seen.names == ["planned", "sent", "finished", "planned", "cache_hit"]
    assert bench.ledger.spent() == first.cost
    assert len(bench.sandbox.requests) == 1


def test_a_cached_stream_is_free(bench: Bench) -> None:
    """A stream that the cache answers is a hit like any other."""
    client = bench.client(cache=Cache.memory())
    bench.stream(client)
    bench.stream(client)

    assert [row.cached for row in bench.ledger.rows()] == [False, True]
    assert bench.seen.names[-2:] == ["planned", "cache_hit"]


def test_saving_is_told(bench: Bench, tmp_path: Path) -> None:
    """With a store the ids of the records are told."""
    result = bench.generate(bench.client(store=Store(tmp_path / "pictures")))

    assert bench.seen.names == ["planned", "sent", "finished", "saved"]
    assert bench.seen.one(Saved).images == tuple(record.id for record in result.stored)


def test_a_retry_is_one_call(bench: Bench) -> None:
    """Sent twice, paid once: one reservation, one row, and the retry is told."""
    bench.sandbox.fail_next("rate_limit", retry_after=0.01)
    bench.generate(bench.client(budget=Budget("0.007", per="total")))

    assert bench.seen.names == ["planned", "sent", "retried", "sent", "finished"]
    retried = bench.seen.events[2]
    assert (retried.reason, bench.seen.events[3].attempt) == ("HTTP 429", 2)  # type: ignore[attr-defined]  # a Retried and a Sent
    assert bench.row.billing == "billed"


@pytest.mark.parametrize(
    ("scenario", "outcome"),
    [
        ("moderation", "not_billed"),
        ("quota", "not_billed"),
        ("unverified", "not_billed"),
        ("unauthorized", "not_billed"),
        ("overloaded", "not_billed"),
        ("unavailable", "unknown"),
        ("server", "unknown"),
        ("moderation_output", "unknown"),
        ("cut", "unknown"),
        ("html", "unknown"),
        ("empty", "unknown"),
    ],
)
def test_failures(bench: Bench, scenario: Any, outcome: str) -> None:
    """A refusal costs nothing; whatever may have been billed stays counted."""
    bench.sandbox.fail_next(scenario)
    client = bench.client(budget=Budget(1, per="day"), retry=gptimage.Retry(attempts=1))
    with pytest.raises(gptimage.GptImageError) as caught:
        bench.generate(client)
    row, failed = bench.row, bench.seen.one(Failed)

    assert (row.billing, row.error) == (outcome, type(caught.value).__name__)
    assert row.counted == (row.reserved if outcome == "unknown" else 0)
    assert bench.seen.names == ["planned", "sent", "failed"]
    assert failed.possible_cost == row.counted
    assert (failed.error, failed.request_id) == (row.error, row.request_id)


def test_a_stream(bench: Bench) -> None:
    """Previews are told as they come, and the end is settled."""
    found = bench.stream(bench.client(budget=Budget(1, per="day")))

    assert len(found) == 3
    names = ["planned", "sent", "partial_arrived", "partial_arrived", "finished"]
    assert bench.seen.names == names
    assert bench.row.cost == found[-1].result.cost.usd


def test_a_stream_nobody_reads_to_the_end(bench: Bench) -> None:
    """Who stops after a preview may still be billed."""
    bench.stream(bench.client(budget=Budget(1, per="day")), steps=1)

    assert (bench.row.billing, bench.row.error) == ("unknown", "GeneratorExit")
    assert bench.seen.names == ["planned", "sent", "partial_arrived", "failed"]


def test_a_stream_left_after_its_end(bench: Bench) -> None:
    """Who stops at the finished image has paid for it, and nothing failed."""
    bench.stream(bench.client(), steps=3)

    assert bench.row.billing == "billed"
    assert bench.seen.names[-1] == "finished"


def test_an_observer_that_fails(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The image arrives all the same, and the log says so once."""

    class Broken:
        def notify(self, event: Event) -> None:
            raise RuntimeError(event.name)

    with caplog.at_level(logging.WARNING, logger="gptimage"):
        result = bench.generate(bench.client(observers=[Broken(), bench.seen]))

    assert result.images
    assert bench.seen.names == ["planned", "sent", "finished"]
    assert len(caplog.records) == 1


def test_a_ledger_that_fails_before(bench: Bench, tmp_path: Path) -> None:
    """Without a ledger to enter it in, nothing is sent."""
    with pytest.raises(gptimage.ConfigurationError, match="ledger"):
        bench.generate(bench.client(ledger=Ledger(tmp_path)))
    assert bench.sandbox.requests == []


def test_a_ledger_that_fails_after(bench: Bench, tmp_path: Path) -> None:
    """A ledger that fails once the image is paid costs no image, only a warning."""
    path = bench.ledger.path

    class Spoils(Keeps):
        def notify(self, event: Event) -> None:
            if event.name == "sent":
                bench.ledger.close()
                path.write_bytes(b"somebody wrote something else here" * 100)

    result = bench.generate(bench.client(observers=[Spoils()]))

    assert result.images
    assert [text for text in result.warnings if "ledger" in text] == list(result.warnings)
    assert len(result.warnings) == 1


def test_nothing_configured_meters_nothing(bench: Bench) -> None:
    """A plain client makes no ledger, and its calls count nothing."""
    client = bench.client(ledger=None, observers=())
    plan = client._config.plan_generate("A fox", OPTIONS)

    assert type(client._accounting.call(plan)) is CallTracker
    assert bench.generate(client).images
    assert not bench.ledger.path.exists()


class Slow:
    """A service whose answer comes when it is let."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.arrived = asyncio.Event()
        self.answers = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpReply:
        """Answer when it is time."""
        self.arrived.set()
        await self.answers.wait()
        return self.sandbox.send(request)

    async def stream(self, request: HttpRequest) -> Any:
        """Not used."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to release."""


def test_cancelled_while_the_service_works(tmp_path: Path) -> None:
    """A call that is cancelled after it was sent may be billed, and stays counted."""
    bench = Bench("async", tmp_path)

    async def main() -> None:
        slow = Slow(bench.sandbox)
        client = gptimage.AsyncImageClient(
            transport=slow, budget=Budget(1, per="day", ledger=bench.ledger), observers=[bench.seen]
        )
        task = asyncio.create_task(client.generate("A fox", **OPTIONS))
        await slow.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (bench.row.billing, bench.row.error) == ("unknown", "CancelledError")
    assert bench.row.counted == bench.row.reserved > 0
    assert bench.seen.names == ["planned", "sent", "failed"]


def test_cancelled_while_others_wait(tmp_path: Path) -> None:
    """A cancelled call whose request goes on for others is settled when the answer comes."""
    bench = Bench("async", tmp_path)

    async def main() -> Any:
        slow = Slow(bench.sandbox)
        client = gptimage.AsyncImageClient(
            transport=slow,
            cache=Cache.memory(),
            budget=Budget(1, per="day", ledger=bench.ledger),
            observers=[bench.seen],
        )
        leader = asyncio.create_task(client.generate("A fox", **OPTIONS))
        await slow.arrived.wait()
        waiter = asyncio.create_task(client.generate("A fox", **OPTIONS))
        await until_waiting(1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        slow.answers.set()
        return await waiter

    result = asyncio.run(main())
    paid, shared = sorted(bench.ledger.rows(), key=lambda row: row.cached)

    assert result.images
    assert (paid.billing, shared.billing) == ("billed", "not_billed")
    assert paid.cost == paid.counted == bench.ledger.spent() > 0
    assert (shared.cached, shared.cost) == (True, 0)
    assert sorted(bench.seen.names) == sorted(
        ["planned", "sent", "planned", "failed", "finished", "cache_hit"]
    )


def test_cancelled_while_it_is_reserved(tmp_path: Path) -> None:
    """A call that is cancelled before it was sent leaves nothing reserved."""
    bench = Bench("async", tmp_path)
    entered, go_on = threading.Event(), threading.Event()

    class Slowly(Ledger):
        def begin(self, *arguments: Any) -> None:
            entered.set()
            go_on.wait()
            super().begin(*arguments)

    async def main() -> None:
        ledger = Slowly(bench.ledger.path)
        client = gptimage.AsyncImageClient.sandbox(bench.sandbox, ledger=ledger)
        task = asyncio.create_task(client.generate("A fox", **OPTIONS))
        await asyncio.to_thread(entered.wait)
        task.cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert bench.sandbox.requests == []
    assert (bench.row.billing, bench.row.counted) == ("not_billed", 0)


def test_the_event_loop_goes_on_while_the_ledger_is_locked(tmp_path: Path) -> None:
    """Another process that holds the ledger holds up the call, not the event loop."""
    bench = Bench("async", tmp_path)
    bench.generate(bench.client())

    async def main() -> int:
        client = bench.client()
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            bench.ledger._file.write(lambda _: (held.set(), release.wait()))

        blocker = asyncio.create_task(asyncio.to_thread(hold))
        await asyncio.to_thread(held.wait)
        call = asyncio.create_task(client.generate("Another fox", **OPTIONS))
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.001)
            ticks += 1
        assert not call.done()
        release.set()
        await blocker
        await call
        return ticks

    assert asyncio.run(main()) == 20


def test_threads_never_cross_it(tmp_path: Path) -> None:
    """Many threads with one client stop at the limit."""
    bench = Bench("sync", tmp_path)
    client = bench.client(ledger=None, budget=Budget("0.03", per="total"))

    def draw(number: int) -> Decimal:
        try:
            return Decimal(client.generate(f"Fox {number}", **OPTIONS).cost.usd)
        except gptimage.BudgetExceededError:
            return Decimal(0)

    with ThreadPoolExecutor(8) as pool:
        paid = sum(pool.map(draw, range(16)))
    assert Decimal("0.023") < paid <= Decimal("0.03")


def test_seconds_are_measured(bench: Bench) -> None:
    """The time from plan to answer is told and entered."""
    bench.sandbox.latency = 0.05
    started = time.monotonic()
    bench.generate(bench.client())
    took = time.monotonic() - started

    assert bench.row.seconds is not None
    assert 0.05 <= bench.row.seconds <= took
    assert bench.seen.one(Finished).seconds == bench.row.seconds


def test_the_budget_goes_by_the_clock_of_its_client() -> None:
    """What is left of the day is asked of the clock that dates the calls."""
    budget = Budget(1, per="day")
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    client = gptimage.ImageClient.sandbox(budget=budget, clock=lambda: noon)
    client.generate("A fox", **OPTIONS)

    assert budget.remaining() == budget.remaining(noon) < 1


def test_what_a_call_may_cost_may_be_unknown(bench: Bench) -> None:
    """A model without prices reserves nothing in the ledger, and is entered all the same."""
    with pytest.raises(gptimage.NotFoundError):
        bench.generate(bench.client(), model="gpt-image-9-future")

    assert (bench.row.reserved, bench.row.estimate, bench.row.billing) == (0, None, "not_billed")


def test_a_ledger_that_is_false_while_it_is_empty_counts(tmp_path: Path) -> None:
    """A class of one's own may have a length, which makes an empty one false."""

    class Counted(Ledger):
        def __len__(self) -> int:
            return len(self.rows())

    ledger = Counted(tmp_path / "spend.sqlite")
    with gptimage.ImageClient.sandbox(ledger=ledger) as client:
        client.generate("A fox", **OPTIONS)

    assert len(ledger) == 1
