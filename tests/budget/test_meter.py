"""The meter's rules: which failures may be billed, and what happens when a call is given up."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

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
from gptimage.sandbox import AsyncSandboxTransport, Sandbox
from gptimage.transport.billing import may_be_billed
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


def test_a_call_given_up_cannot_be_reserved(tmp_path: Path) -> None:
    """A cancelled call whose reservation still waits for a thread never gets one."""
    ledger = Ledger(tmp_path / "spend.sqlite")
    meter = CallAccounting.of({"ledger": ledger}, lambda: datetime.now(UTC))
    request = generate_request("A fox", {}, default_model="gpt-image-2.5-flare", stream=False)
    made = plan(
        request, models=Models.load(), today=date(2026, 11, 20), endpoint="https://a.invalid"
    )
    call = meter.call(made)
    call.refused(asyncio.CancelledError())

    with pytest.raises(RuntimeError, match="given up"):
        call.reserve()
    assert ledger.rows() == ()


def test_what_waits_for_a_thread_is_done_after_all() -> None:
    """A cancelled task's note in the ledger is written first, even when no thread was free yet."""
    busy, done = threading.Event(), threading.Event()

    class Blocking(CallTracker):
        blocks = True

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
