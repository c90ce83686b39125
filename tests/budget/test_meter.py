"""The meter's rules: which failures may be billed, and what happens when a call is given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import ImageClient
from gptimage._internal.threads import to_thread_shielded
from gptimage.budget.ledger import Ledger
from gptimage.engine.accounting import CallAccounting, CallTracker
from gptimage.engine.plan import plan
from gptimage.engine.runtime import AsyncRuntime
from gptimage.engine.send import run_accounting
from gptimage.errors import (
    ApiError,
    BadRequestError,
    ConfigurationError,
    InvalidRequestError,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)
from gptimage.models.catalog import Models
from gptimage.models.pricing import FREE, Cost
from gptimage.observers.events import Event, Failed, Finished, Retried, Waiting
from gptimage.sandbox import AsyncSandboxTransport, Sandbox
from gptimage.transport.billing import Billing, may_be_billed
from gptimage.transport.http import HttpReply
from gptimage.types.request import generate_request


def moderation(stage: str) -> ModerationError:
    """A refusal at one stage."""
    return ModerationError(
        "no", status=400, body={"moderation_details": {"moderation_stage": stage}}
    )


PARTIAL: Any = object()


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (TransportError("no way"), False),
        (ConfigurationError("no key"), False),
        (InvalidRequestError("no", field="size"), False),
        (BadRequestError("no", status=400), False),
        (RateLimitError("no", status=429), False),
        (QuotaExceededError("no", status=429), False),
        (moderation("input"), False),
        (moderation("unknown"), False),
        (ServerError("busy", status=503), True),
        (ServerError("busy", status=502, body={"message": "upstream"}), True),
        (ServerError("busy", status=503, body={"message": "overloaded"}), False),
        (ServerError("busy", status=429, body={"message": "no"}), False),
        (ServerError("no such thing", status=501), False),
        (ServerError("busy", status=503, body={"usage": 1, "type": "image_generation"}), True),
        (ServerError("broken", status=500), True),
        (ServerError("in a stream", status=200), True),
        (moderation("output"), True),
        (ApiError("after a preview", status=200, partials=[PARTIAL]), True),
        (OutcomeUnknownError("silence"), True),
        (MalformedReplyError("html"), True),
        (KeyboardInterrupt(), True),
        (GeneratorExit(), True),
        (RuntimeError("a bug"), True),
    ],
)
def test_what_may_be_billed(error: BaseException, billed: bool) -> None:
    """A refusal is not; work that was begun, or an answer nobody could read, may be."""
    assert may_be_billed(error) is billed


class Noted(list[Event]):
    """An observer that keeps the events."""

    notify = list[Event].append


def tracked(path: Path) -> tuple[CallTracker, Ledger, Noted]:
    """A call that may cost something, its ledger, and its events."""
    ledger, noted = Ledger(path / "spend.sqlite"), Noted()
    meter = CallAccounting.of({"ledger": ledger, "observers": [noted]}, lambda: datetime.now(UTC))
    options: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
    request = generate_request("A fox", options, default_model="gpt-image-2.5-flare")
    made = plan(
        request, models=Models.load(), today=date(2026, 11, 20), endpoint="https://a.invalid"
    )
    return meter.call(made), ledger, noted


def test_a_call_given_up_cannot_be_reserved(tmp_path: Path) -> None:
    """A cancelled call whose reservation still waits for a thread never gets one."""
    call, ledger, _ = tracked(tmp_path)
    call.refused(asyncio.CancelledError())

    with pytest.raises(RuntimeError, match="given up"):
        call.reserve()
    assert ledger.rows() == ()


def test_observers_see_what_a_call_waits_for(tmp_path: Path) -> None:
    """The wait for a limit is told before it begins, and costs nothing."""
    call, ledger, noted = tracked(tmp_path)
    call.waiting("images per minute", 12.0)

    event = noted[-1]
    assert isinstance(event, Waiting)
    assert (event.reason, event.seconds) == ("images per minute", 12.0)
    assert ledger.rows() == ()


def test_a_call_given_up_is_not_repeated(tmp_path: Path) -> None:
    """What is reserved for a try that will not be sent would never be released."""
    call, ledger, _ = tracked(tmp_path)
    call.reserve()
    call.sent(1)
    call.refused(asyncio.CancelledError())

    with pytest.raises(RuntimeError, match="given up"):
        call.repeated(0.5, OutcomeUnknownError("silence"))
    assert [row.billing for row in ledger.rows()] == [Billing.UNKNOWN]


def test_a_refusal_carries_what_the_ledger_could_not_write(tmp_path: Path) -> None:
    """The error of the service is raised, and a note says what goes on counting."""
    call, ledger, _ = tracked(tmp_path)
    call.reserve()
    ledger.close()
    ledger.path.write_bytes(b"somebody wrote something else here" * 100)
    error = BadRequestError("no", status=400)
    call.refused(error)

    assert len(error.__notes__) == 1
    assert "ledger" in error.__notes__[0]


@pytest.mark.parametrize(
    ("between", "billings"),
    [
        (lambda _: None, [Billing.UNKNOWN]),
        (lambda call: call.retried(0.5, TransportError("away")), [Billing.NOT_BILLED]),
        (lambda call: call.unbilled(), [Billing.NOT_BILLED]),
        (
            lambda call: call.repeated(0.5, OutcomeUnknownError("silence")),
            [Billing.NOT_BILLED, Billing.UNKNOWN],
        ),
    ],
    ids=["sent", "retried", "unbilled", "repeated"],
)
def test_a_call_interrupted_while_it_waits_was_not_billed(
    tmp_path: Path, between: Callable[[CallTracker], None], billings: list[Billing]
) -> None:
    """Between two tries nothing is on its way; only what was sent counts."""
    call, ledger, noted = tracked(tmp_path)
    call.reserve()
    before = call.posted
    call.sent(1)
    assert (before, call.posted) == (False, True)
    between(call)
    call.refused(KeyboardInterrupt())
    call.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    call.__exit__(GeneratorExit, GeneratorExit(), None)  # the stream is closed as well

    failed = [each for each in noted if isinstance(each, Failed)]
    assert sorted(row.billing for row in ledger.rows()) == billings
    assert [bool(each.possible_cost) for each in failed] == [Billing.UNKNOWN in billings]


def test_a_retry_is_told_with_its_reason(tmp_path: Path) -> None:
    """An error is named by its class, a reply by its status."""
    call, _, noted = tracked(tmp_path)
    call.retried(0.5, TransportError("away"))
    call.retried(0.5, HttpReply(status=429, body=b""))

    reasons = [each.reason for each in noted if isinstance(each, Retried)]
    assert reasons == ["TransportError", "HTTP 429"]


@pytest.mark.parametrize("ends", ["finished", "cache_hit"])
def test_what_fails_after_the_end_costs_no_more(tmp_path: Path, ends: str) -> None:
    """A loop that stops closes quietly; what fails later may have cost nothing besides."""
    result = ImageClient.sandbox(Sandbox(draw="plain")).generate("A fox", size="1024x640")
    call, _, noted = tracked(tmp_path)
    call.reserve()
    call.sent(1)
    getattr(call, ends)(result)
    call.__exit__(GeneratorExit, GeneratorExit(), None)
    quiet = [each for each in noted if isinstance(each, Failed)]
    if ends == "finished":
        call.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    costs = [each.possible_cost for each in noted if isinstance(each, Failed)]
    assert (quiet, costs) == ([], [0] if ends == "finished" else [])


@pytest.mark.parametrize(
    ("extra", "total"),
    [
        (FREE, Decimal("0.010")),
        (Cost(usd=Decimal("0.002"), is_upper_bound=True), Decimal("0.012")),
        (None, None),
    ],
)
def test_what_a_chat_model_cost_is_added(
    tmp_path: Path, extra: Cost | None, total: Decimal | None
) -> None:
    """The ledger has the whole call, and nothing where a part of it is not known."""
    result = ImageClient.sandbox(Sandbox(draw="plain")).generate("A fox", size="1024x640")
    paid = Cost(usd=Decimal("0.010"), is_upper_bound=False)
    call, ledger, noted = tracked(tmp_path)
    call.reserve()
    call.finished(evolve(result, cost=paid), extra=extra)

    (done,) = (each for each in noted if isinstance(each, Finished))
    assert [row.cost for row in ledger.rows()] == [total]
    assert (done.cost and done.cost.is_upper_bound) == (extra and extra.is_upper_bound)


def test_what_waits_for_a_thread_is_done_after_all() -> None:
    """A cancelled task's note in the ledger is written first, even when no thread was free yet."""
    busy, done = threading.Event(), threading.Event()

    class Blocking(CallTracker):
        blocks = True

        def __init__(self) -> None:
            """It never fails: no plan is looked at."""

    transport = AsyncSandboxTransport(Sandbox())
    runtime = AsyncRuntime(lambda _: transport)

    async def main() -> None:
        blockers = [asyncio.create_task(to_thread_shielded(busy.wait)) for _ in range(50)]
        task = asyncio.create_task(run_accounting(runtime, Blocking(), done.set))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        busy.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()
        await asyncio.gather(*blockers)

    asyncio.run(main())
