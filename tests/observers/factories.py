"""One event of every kind."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gptimage.models.pricing import Cost, Usage
from gptimage.observers.events import (
    CacheHit,
    Event,
    Failed,
    Finished,
    PartialArrived,
    Planned,
    Retried,
    Saved,
    Sent,
    Submitted,
    Waiting,
)


NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


def of(call_id: str, at: datetime = NOON) -> dict[str, Any]:
    """What all events of a call have."""
    return {"call_id": call_id, "at": at, "operation": "generate", "model": "flare"}


C1 = of("c1")
EVENTS: tuple[Event, ...] = (
    Planned(**C1, estimate=Decimal("0.01"), max_cost=Decimal("0.05"), images=1),
    Waiting(**C1, reason="images per minute", seconds=12.0),
    Sent(**C1, attempt=1),
    Submitted(
        **C1,
        batch_id="batch_1",
        requests=3,
        images=4,
        estimate=Decimal("0.02"),
        max_cost=Decimal("0.1"),
    ),
    Retried(**C1, delay=0.5, reason="HTTP 429"),
    PartialArrived(**C1, index=0),
    Finished(
        **C1,
        images=2,
        seconds=6.25,
        request_id="req_1",
        usage=Usage(input_tokens=10, output_tokens=200, total_tokens=210),
        cost=Cost(usd=Decimal("0.0131")),
    ),
    Saved(**C1, images=("img_1",)),
    CacheHit(**C1, images=1),
    Failed(**C1, error="RateLimitError", seconds=1.0, status=429, possible_cost=Decimal("0.05")),
)
