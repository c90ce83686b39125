"""OpenTelemetry spans and measurements."""

from __future__ import annotations

from typing import Any

import pytest

from tests.observers.factories import EVENTS, of


pytest.importorskip("opentelemetry")
trace_sdk = pytest.importorskip("opentelemetry.sdk.trace")
metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics")

KINDS = {event.name: event for event in EVENTS}


class Spans:
    """Keeps finished spans; stands in for an exporter."""

    def __init__(self) -> None:
        self.finished: list[Any] = []

    def on_start(self, span: object, parent_context: object = None) -> None:
        """Nothing to do."""

    def _on_ending(self, span: object) -> None:
        """Nothing to do."""

    def on_end(self, span: object) -> None:
        """Keep it."""
        self.finished.append(span)

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 0) -> bool:  # noqa: ARG002  # the SDK names it
        """Nothing to do."""
        return True


class Set:
    """An observer with an SDK behind it."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        from gptimage.observers.opentelemetry import OpenTelemetryObserver

        self.spans = Spans()
        self.provider = trace_sdk.TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.spans)
        self._reader = InMemoryMetricReader()
        metrics = metrics_sdk.MeterProvider([self._reader], shutdown_on_exit=False)
        self.observer = OpenTelemetryObserver(self.provider, metrics)

    def notify(self, *names: str) -> None:
        """Send these events."""
        for name in names:
            self.observer.notify(KINDS[name])

    def sums(self) -> dict[str, float]:
        """What was measured, by name."""
        data = self._reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        points = {each.name: each.data.data_points[0] for each in metrics}
        return {
            name: point.sum if hasattr(point, "sum") else point.value
            for name, point in points.items()
        }


def test_a_call_is_a_span() -> None:
    """A span has the call's model, money and tokens, and what happened on the way."""
    found = Set()
    found.notify("planned", "waiting", "sent", "retried", "partial_arrived", "finished", "saved")
    (span,) = found.spans.finished

    assert span.name == "generate flare"
    assert span.attributes["gen_ai.request.model"] == "flare"
    assert span.attributes["gen_ai.usage.output_tokens"] == 200
    assert span.attributes["gptimage.cost_usd"] == pytest.approx(0.0131)
    assert span.attributes["gptimage.request_id"] == "req_1"
    assert [event.name for event in span.events] == [
        "waiting",
        "sent",
        "retried",
        "partial_arrived",
    ]
    assert found.sums() == {
        "gen_ai.client.operation.duration": 6.25,
        "gptimage.cost": pytest.approx(0.0131),
    }


def test_a_failed_call_is_a_failed_span() -> None:
    """A failure ends the span with the class of its error."""
    found = Set()
    found.notify("planned", "sent", "failed")
    (span,) = found.spans.finished

    assert span.status.status_code.name == "ERROR"
    assert span.attributes["error.type"] == "RateLimitError"
    assert span.attributes["http.response.status_code"] == 429


def test_a_span_has_the_callers_for_parent() -> None:
    """It is a child of the span the caller is in."""
    found = Set()
    with found.provider.get_tracer("app").start_as_current_span("page") as page:
        found.notify("planned", "cache_hit")
    (span, _) = found.spans.finished

    assert span.parent.span_id == page.get_span_context().span_id
    assert span.attributes["gptimage.cached"] is True


def test_late_events_do_no_harm() -> None:
    """Events after the end, or of a call nobody planned, are let pass."""
    from gptimage.observers.events import Finished

    found = Set()
    found.notify("planned", "failed", "finished", "partial_arrived")
    found.observer.notify(Finished(**of("never planned"), images=1, seconds=1.0))

    assert len(found.spans.finished) == 1
