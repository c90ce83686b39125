"""Prometheus metrics count calls, money, tokens and waiting."""

from __future__ import annotations

import pytest

from gptimage.observers.events import Finished, Planned
from tests.observers.factories import EVENTS, of


prometheus_client = pytest.importorskip("prometheus_client")

WHAT = {"operation": "generate", "model": "flare"}


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    """A registry of our own."""
    return prometheus_client.CollectorRegistry()


def test_counts(registry: prometheus_client.CollectorRegistry) -> None:
    """One event of every kind leaves its mark."""
    from gptimage.observers.prometheus import PrometheusObserver

    observer = PrometheusObserver(registry)
    for event in EVENTS:
        observer.notify(event)
    value = registry.get_sample_value

    calls = {
        outcome: value("gptimage_calls_total", {**WHAT, "outcome": outcome})
        for outcome in ("ok", "cached", "RateLimitError")
    }
    assert calls == {"ok": 1, "cached": 1, "RateLimitError": 1}
    assert value("gptimage_images_total", WHAT) == 2
    assert value("gptimage_cost_usd_total", WHAT) == pytest.approx(0.0131)
    assert value("gptimage_possible_cost_usd_total", WHAT) == pytest.approx(0.05)
    assert value("gptimage_tokens_total", {**WHAT, "direction": "input"}) == 10
    assert value("gptimage_tokens_total", {**WHAT, "direction": "output"}) == 200
    assert value("gptimage_retries_total", {**WHAT, "reason": "HTTP 429"}) == 1
    assert value("gptimage_waiting_seconds_total", {"reason": "images per minute"}) == 12
    assert value("gptimage_call_seconds_sum", WHAT) == 6.25
    assert value("gptimage_calls_in_progress") == 0


def test_calls_in_progress(registry: prometheus_client.CollectorRegistry) -> None:
    """The gauge goes up with a plan and down with its end, once for each call."""
    from gptimage.observers.prometheus import PrometheusObserver

    observer = PrometheusObserver(registry)
    for call in ("a", "b", "c"):
        observer.notify(Planned(**of(call)))
    for _ in range(2):
        observer.notify(Finished(**of("a"), images=1, seconds=1.0))

    assert registry.get_sample_value("gptimage_calls_in_progress") == 2
    assert registry.get_sample_value("gptimage_unpriced_calls_total", WHAT) == 2
