"""OpenTelemetry: one span and two measurements for each call; needs the extra ``otel``.

Names follow OpenTelemetry's conventions for generative AI (``gen_ai.*``) where there are any.
Nothing is set up here: without an SDK of your choice the API does nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gptimage._internal.locks import ForkSafeLock
from gptimage.errors import ConfigurationError
from gptimage.observers.events import (
    CacheHit,
    Event,
    Failed,
    Finished,
    PartialArrived,
    Planned,
    Retried,
    Sent,
    Submitted,
    Waiting,
)


try:
    from opentelemetry import metrics, trace
except ImportError as _missing:
    raise ConfigurationError(
        "OpenTelemetry needs another package: pip install 'gptimage[otel]'"
    ) from _missing

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class OpenTelemetryObserver:
    """Makes a span of each call, as a child of whatever span the caller is in.

    A span has operation, model, request id, tokens and cost, and events for what happened on
    the way: sent, retried, waiting, previews. The measurements are
    ``gen_ai.client.operation.duration`` in seconds and ``gptimage.cost`` in USD. A batch has a
    short span when it is submitted; its requests are only measured, as they end hours later.

    Args:
        tracer_provider: An ``opentelemetry.trace.TracerProvider``; the global one when left out.
        meter_provider: An ``opentelemetry.metrics.MeterProvider``; the global one when left out.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        self._tracer = trace.get_tracer("gptimage", tracer_provider=tracer_provider)
        meter = metrics.get_meter("gptimage", meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="From planning to the response",
        )
        self._cost = meter.create_counter(
            "gptimage.cost", unit="USD", description="Known costs of calls"
        )
        self._lock = ForkSafeLock()
        self._spans: dict[str, Span] = {}

    def notify(self, event: Event) -> None:
        """Add an event to the span of its call."""
        match event:
            case Planned():
                self._start(event)
            case Waiting() | Sent() | Retried() | PartialArrived():
                self._note(event)
            case Submitted():
                self._submit(event)
            case CacheHit():
                self._end(event, {"gptimage.cached": True, "gptimage.images": event.images})
            case Finished():
                self._finish(event)
            case Failed():
                self._fail(event)
            case _:
                pass

    def _start(self, event: Planned) -> None:
        span = self._span(event)
        with self._lock:
            self._spans[event.call_id] = span

    def _submit(self, event: Submitted) -> None:
        span = self._span(event)
        span.set_attribute("gptimage.batch_id", event.batch_id)
        span.set_attribute("gptimage.requests", event.requests)
        span.end(_nanoseconds(event.at))

    def _span(self, event: Planned | Submitted) -> Span:
        attributes = {**_attributes(event), "gptimage.images_asked": event.images}
        if event.estimate is not None:
            attributes["gptimage.estimate_usd"] = float(event.estimate)
        return self._tracer.start_span(
            f"{event.operation} {event.model}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=_nanoseconds(event.at),
        )

    def _note(self, event: Waiting | Sent | Retried | PartialArrived) -> None:
        match event:
            case Waiting():
                details: dict[str, Any] = {"reason": event.reason, "seconds": event.seconds}
            case Sent():
                details = {"attempt": event.attempt}
            case Retried():
                details = {"reason": event.reason, "delay": event.delay}
            case PartialArrived():
                details = {"index": event.index}
        with self._lock:
            span = self._spans.get(event.call_id)
        if span is not None:
            span.add_event(event.name, details, timestamp=_nanoseconds(event.at))

    def _finish(self, event: Finished) -> None:
        found: dict[str, Any] = {"gptimage.images": event.images}
        if event.request_id is not None:
            found["gptimage.request_id"] = event.request_id
        if event.usage is not None:
            found["gen_ai.usage.input_tokens"] = event.usage.input_tokens
            found["gen_ai.usage.output_tokens"] = event.usage.output_tokens
        if event.cost is not None:
            found["gptimage.cost_usd"] = float(event.cost.usd)
            self._cost.add(float(event.cost.usd), _attributes(event))
        self._duration.record(event.seconds, _attributes(event))
        self._end(event, found)

    def _fail(self, event: Failed) -> None:
        found: dict[str, Any] = {"error.type": event.error}
        if event.request_id is not None:
            found["gptimage.request_id"] = event.request_id
        if event.status is not None:
            found["http.response.status_code"] = event.status
        if event.possible_cost is not None:
            found["gptimage.possible_cost_usd"] = float(event.possible_cost)
        self._duration.record(event.seconds, {**_attributes(event), "error.type": event.error})
        self._end(event, found, failed=event.error)

    def _end(self, event: Event, found: dict[str, Any], *, failed: str | None = None) -> None:
        with self._lock:
            span = self._spans.pop(event.call_id, None)
        if span is None:  # it has ended already
            return
        span.set_attributes(found)
        if failed is not None:
            span.set_status(trace.StatusCode.ERROR, failed)
        span.end(_nanoseconds(event.at))


def _attributes(event: Event) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": event.operation,
        "gen_ai.provider.name": event.provider,
        "gen_ai.request.model": event.model,
    }


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1_000
