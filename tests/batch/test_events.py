"""Observers hear of batches and of their requests, and the ledger's rows say the same."""

from __future__ import annotations

import json
import logging
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.batch import Batch
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.errors import BadRequestError, BudgetExceededError, OutcomeUnknownError
from gptimage.observers.events import Failed, Finished, Retried, Saved, Submitted
from gptimage.observers.logging import JsonFormatter, LogObserver
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.batch.helpers import Damaging, Losing, Meddling, Recorder, fox, line, made


@pytest.fixture
def sandbox() -> Sandbox:
    """The service."""
    return Sandbox()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger."""
    return Ledger(tmp_path / "spend.sqlite")


ASKED: list[dict[str, Any]] = [
    fox(0),
    {**fox(1), "prompt": "[sandbox:moderation] Fox"},
    {**fox(2), "n": 2},
    {**fox(3), "model": "gpt-image-2"},
]


def test_every_batch_and_every_request_is_told(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path
) -> None:
    """Submitted, then finished or failed with costs, and saved; each batch adds up to its row."""
    told = Recorder()
    store = Store(tmp_path / "store")
    client = line(sandbox, store=store, ledger=ledger, observers=[told])
    batch = Batch.submit(client, ASKED, state=tmp_path / "b.json")
    submitted = [event for event in told.events if isinstance(event, Submitted)]
    batch.wait(poll=0)
    items = {item.index: item for item in batch.results()}

    assert told.names[:4] == ["sent", "submitted"] * 2
    assert Counter(told.names[4:]) == {"finished": 3, "saved": 3, "failed": 1}
    assert [event.batch_id for event in submitted] == list(batch.ids)
    assert [(event.requests, event.images) for event in submitted] == [(3, 4), (1, 1)]
    assert sum(event.estimate or 0 for event in submitted) == batch.estimate
    rows = {row.id: row for row in ledger.rows()}
    assert {event.operation for event in told.events} == {"batch"}
    assert rows.keys() == {event.call_id for event in told.events}
    for event in submitted:
        row = rows[event.call_id]
        done = [
            each
            for each in told.events
            if isinstance(each, Finished) and each.call_id == event.call_id
        ]
        assert (row.operation, row.model, row.billing) == ("batch", event.model, "billed")
        assert (row.estimate, row.reserved) == (event.estimate, event.max_cost)
        assert row.cost == sum(each.cost.usd for each in done if each.cost)
        assert row.images == sum(each.images for each in done)
    for event in told.events:
        match event:
            case Finished():
                result = items[event.item].result
                assert result is not None
                assert (event.cost, event.request_id) == (result.cost, result.request_id)
            case Saved():
                result = items[event.item].result
                assert result is not None
                assert event.images == tuple(record.id for record in result.stored)
            case Failed():
                assert (event.item, event.error) == (1, "ModerationError")
                assert (event.code, event.possible_cost) == ("moderation_blocked", 0)
            case _:
                assert event.item is None


def test_results_read_again_are_not_told_again(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path
) -> None:
    """What the store has was told by whoever saved it, so no observer counts it twice."""
    store, file = Store(tmp_path / "store"), tmp_path / "b.json"
    first, second, third = Recorder(), Recorder(), Recorder()
    Batch.submit(line(sandbox), ASKED[:3], state=file).wait(poll=0)

    stopped = Batch.open(line(sandbox, store=store, observers=[first]), file).results()
    next(stopped)
    stopped.close()
    again = line(sandbox, store=store, ledger=ledger, observers=[second])
    list(Batch.open(again, file).results())
    list(Batch.open(line(sandbox, observers=[third]), file).results())  # settled: no store needed

    assert first.names == ["finished", "saved"]
    assert Counter(second.names) == {"finished": 1, "saved": 1, "failed": 1}
    assert third.names == []
    (row,) = ledger.rows()
    assert row.images == 3


@pytest.mark.parametrize("path", ["/files", "/batches"])
def test_a_refusal_is_told_and_gives_the_money_back(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path, path: str
) -> None:
    """A batch the service did not take costs nothing, in the budget and in the ledger."""
    told = Recorder()
    body = b'{"error": {"message": "No.", "code": "invalid_value"}}'
    refusals = [HttpReply(status=400, body=body)]
    way = Meddling(sandbox, lambda sent: refusals.pop() if refusals and sent.path == path else None)
    budget = Budget("0.05", per="total", ledger=ledger)
    client = line(sandbox, transport=way, budget=budget, observers=[told])
    with pytest.raises(BadRequestError):
        Batch.submit(client, [fox(0)], state=tmp_path / "b.json")
    spent, (row,) = ledger.spent(), ledger.rows()
    batch = Batch.submit(client, [fox(0)], state=tmp_path / "b.json")
    batch.wait(poll=0)
    list(batch.results())

    assert (spent, row.billing, row.cost) == (0, "not_billed", 0)
    (failed,) = [event for event in told.events if isinstance(event, Failed)]
    assert (failed.item, failed.error, failed.possible_cost) == (None, "BadRequestError", 0)
    (row,) = ledger.rows()
    assert (row.billing, row.images, row.cost) == ("billed", 1, ledger.spent())


def test_a_batch_in_doubt_goes_on_counting(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may have been made stays reserved, and observers hear what it may cost."""
    monkeypatch.setattr("gptimage.batch.submit._SEARCH_DELAYS", (0.0,))
    told = Recorder()
    way = Losing(sandbox, path="/batches", served=False)
    client = line(sandbox, transport=way, ledger=ledger, observers=[told])
    with pytest.raises(OutcomeUnknownError):
        Batch.submit(client, [fox(0)], state=tmp_path / "b.json")

    (row,) = ledger.rows()
    assert (row.billing, row.counted) == ("sent", row.reserved)
    failed = told.events[-1]
    assert isinstance(failed, Failed)
    assert failed.possible_cost == row.reserved > 0


@pytest.mark.parametrize(
    ("status", "body", "counts"),
    [
        (400, {"error": {"message": "no", "code": "moderation_blocked"}}, False),
        (429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, False),
        (500, {"error": {"message": "failed", "code": "image_generation_failed"}}, True),
        (504, {"error": {"message": "upstream timeout"}}, True),
        (504, None, True),
        (200, {"error": {"message": "failed"}}, True),
        (200, None, True),
    ],
)
def test_a_line_that_may_be_billed_counts(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path, status: int, body: object, counts: bool
) -> None:
    """Its batch stays counted with what was reserved, by the rule of all other calls."""

    def meddler(request: HttpRequest) -> HttpReply | None:
        if not request.path.endswith("/content"):
            return None
        output = json.loads(sandbox.send(request).body)
        output["response"] |= {"status_code": status, "body": body}
        return HttpReply(status=200, body=json.dumps(output).encode())

    client = line(sandbox, transport=Meddling(sandbox, meddler), ledger=ledger)
    batch = Batch.submit(client, [fox(0)], state=tmp_path / "b.json")
    batch.wait(poll=0)
    (item,) = batch.results()

    (row,) = ledger.rows()
    assert (row.counted == row.reserved > 0) == counts
    assert ("may have been billed" in str(item.error)) == counts


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"error": {"code": "batch_expired", "message": "too late"}}, False),
        ({"error": {"code": "batch_cancelled", "message": "cancelled"}}, False),
        ({"error": {"code": "request_timeout", "message": "The model timed out."}}, True),
        ({"error": None}, True),
    ],
)
def test_a_line_without_a_response_counts_unless_it_was_not_executed(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path, changes: dict[str, object], counts: bool
) -> None:
    """Only the service's word that the batch did not come to a request makes it free."""

    def meddler(request: HttpRequest) -> HttpReply | None:
        if not request.path.endswith("/content"):
            return None
        output = json.loads(sandbox.send(request).body) | {"response": None} | changes
        return HttpReply(status=200, body=json.dumps(output).encode())

    client = line(sandbox, transport=Meddling(sandbox, meddler), ledger=ledger)
    batch = Batch.submit(client, [fox(0)], state=tmp_path / "b.json")
    batch.wait(poll=0)
    (item,) = batch.results()

    (row,) = ledger.rows()
    assert (row.counted == row.reserved > 0) == counts
    assert ("may have been billed" in str(item.error)) == counts


def test_a_failure_that_may_be_billed_is_no_free_event(sandbox: Sandbox, tmp_path: Path) -> None:
    """Its cost is not known to observers either, and that of a request not executed is 0."""
    told = Recorder()
    error = {"error": {"message": "failed", "code": "image_generation_failed"}}
    endings: list[dict[str, Any]] = [
        {"response": {"status_code": 500, "request_id": "req_1", "body": error}},
        {"response": None, "error": {"code": "batch_expired", "message": "too late"}},
    ]

    def meddler(request: HttpRequest) -> HttpReply | None:
        if not request.path.endswith("/content"):
            return None
        lines = sandbox.send(request).body.splitlines()
        found = [json.loads(each) | ending for each, ending in zip(lines, endings, strict=True)]
        return HttpReply(status=200, body=b"\n".join(json.dumps(each).encode() for each in found))

    client = line(sandbox, transport=Meddling(sandbox, meddler), observers=[told])
    batch = Batch.submit(client, [fox(0), fox(1)], state=tmp_path / "b.json")
    batch.wait(poll=0)
    list(batch.results())

    costs = {each.item: each.possible_cost for each in told.events if isinstance(each, Failed)}
    assert {0: None, 1: Decimal(0)} == costs


def test_a_refused_file_is_a_failed_row(sandbox: Sandbox, ledger: Ledger, tmp_path: Path) -> None:
    """When the service refuses a whole file, its row says so and costs nothing."""
    client = line(sandbox, transport=Damaging(sandbox), ledger=ledger)
    batch = Batch.submit(client, [fox(0)], state=tmp_path / "b.json")
    batch.wait(poll=0)
    list(batch.results())

    (row,) = ledger.rows()
    assert (row.billing, row.cost, row.counted, row.error) == ("not_billed", 0, 0, "ApiError")


def test_a_budget_that_is_crossed_leaves_no_row_open(
    sandbox: Sandbox, ledger: Ledger, tmp_path: Path
) -> None:
    """Several batches are reserved together or not at all."""
    told = Recorder()
    Batch.submit(line(sandbox, observers=[told]), [fox(0)])
    submitted = told.events.pop()
    assert isinstance(submitted, Submitted)
    assert submitted.max_cost
    budget = Budget(submitted.max_cost * 2, per="total", ledger=ledger)
    client = line(sandbox, budget=budget, observers=[told])
    with pytest.raises(BudgetExceededError):
        Batch.submit(client, [fox(n) for n in range(3)], state=tmp_path / "b.json", max_lines=1)

    assert ledger.spent() == 0
    assert [row.billing for row in ledger.rows()] == ["not_billed"] * 2
    assert len(made(sandbox)) == 1
    assert told.names == ["sent"]


def test_what_is_sent_again_is_told(sandbox: Sandbox) -> None:
    """Observers hear of each retry, with its reason."""
    told = Recorder()
    sandbox.fail_next("unavailable", times=2)
    Batch.submit(line(sandbox, observers=[told]), [fox(0)])

    retried = [event for event in told.events if isinstance(event, Retried)]
    assert [event.reason for event in retried] == ["HTTP 503", "HTTP 503"]


def test_an_observer_that_fails_breaks_nothing(sandbox: Sandbox) -> None:
    """A batch goes through whatever its observers do."""

    class Broken:
        def notify(self, event: object) -> None:
            raise RuntimeError(event)

    batch = Batch.submit(line(sandbox, observers=[Broken()]), [fox(0)])
    batch.wait(poll=0)

    assert [item.error for item in batch.results()] == [None]


def _through(sandbox: Sandbox, *observers: object) -> Decimal:
    """Submit and collect everything; gives what it cost."""
    batch = Batch.submit(line(sandbox, observers=list(observers)), ASKED)
    batch.wait(poll=0)
    results = [item.result for item in batch.results()]
    return sum((each.cost.usd for each in results if each and each.cost), Decimal(0))


def test_prometheus_counts_requests_of_a_batch(sandbox: Sandbox) -> None:
    """Each request is a call, money is counted once, and nothing stays in progress."""
    prometheus_client = pytest.importorskip("prometheus_client")
    from gptimage.observers.prometheus import PrometheusObserver

    registry = prometheus_client.CollectorRegistry()
    spent = _through(sandbox, PrometheusObserver(registry))

    labels = {"operation": "batch", "model": "gpt-image-2.5-flare"}

    def value(name: str, **more: str) -> float:
        found: float = registry.get_sample_value(name, {**labels, **more}) or 0.0
        return found

    assert value("gptimage_calls_total", outcome="ok") == 2
    assert value("gptimage_calls_total", outcome="ModerationError") == 1
    total = value("gptimage_cost_usd_total") + value("gptimage_cost_usd_total", model="gpt-image-2")
    assert total == pytest.approx(float(spent))
    assert registry.get_sample_value("gptimage_calls_in_progress") == 0


def test_opentelemetry_has_a_span_for_each_batch(sandbox: Sandbox) -> None:
    """A batch is a span of its own; its requests, which end hours later, are measured."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from gptimage.observers.opentelemetry import OpenTelemetryObserver

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    metering = MeterProvider(metric_readers=[reader])
    spent = _through(sandbox, OpenTelemetryObserver(tracing, metering))
    found = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]  # there are some
    metering.shutdown()

    finished = spans.get_finished_spans()
    assert [span.name for span in finished] == ["batch gpt-image-2.5-flare", "batch gpt-image-2"]
    assert [dict(span.attributes or {})["gptimage.requests"] for span in finished] == [3, 1]
    metrics = found["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    points = {each["name"]: each["data"]["data_points"] for each in metrics}
    assert sum(p["count"] for p in points["gen_ai.client.operation.duration"]) == 4
    assert sum(p["value"] for p in points["gptimage.cost"]) == pytest.approx(float(spent))


@pytest.mark.parametrize("submits", [True, False], ids=["here", "elsewhere"])
def test_the_progress_bar_counts_requests(
    sandbox: Sandbox, tmp_path: Path, *, submits: bool
) -> None:
    """Every request moves the bar on by one, also when another process submitted the batch."""
    rich = pytest.importorskip("rich.console")
    from gptimage.observers.progress import ProgressObserver

    with (tmp_path / "screen").open("w") as screen:
        bar = ProgressObserver(console=rich.Console(file=screen, width=120))
        client = line(sandbox, observers=[bar] if submits else [])
        Batch.submit(client, ASKED, state=tmp_path / "b.json").wait(poll=0)
        list(Batch.open(line(sandbox, observers=[bar]), tmp_path / "b.json").results())
        (task,) = bar._bar.tasks  # what is on the screen  # pyright: ignore[reportPrivateUsage]

    assert (task.completed, task.total, bar.failed) == (4, 4, 1)
    assert bar.spent > 0


def test_logs_say_everything_but_the_prompts(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Each event is one JSON line with its request's number; no prompt is in any."""
    with caplog.at_level(logging.DEBUG, "gptimage.calls"):
        _through(sandbox, LogObserver())
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]

    assert sorted(each["item"] for each in lines if "item" in each) == [0, 1, 2, 3]
    assert {each["event"] for each in lines} == {"sent", "submitted", "finished", "failed"}
    assert "Fox" not in caplog.text
