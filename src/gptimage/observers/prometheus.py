"""Prometheus metrics of all calls; needs the extra ``prometheus``."""

from __future__ import annotations

import threading
from typing import Any

from gptimage.errors import ConfigurationError
from gptimage.observers.events import CacheHit, Event, Failed, Finished, Planned, Retried, Waiting


try:
    import prometheus_client
except ImportError as _missing:
    raise ConfigurationError(
        "metrics for Prometheus need another package: pip install 'gptimage[prometheus]'"
    ) from _missing


_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class PrometheusObserver:
    """An observer that counts calls, images, tokens, money, retries and waiting.

    All names begin with ``gptimage_``; labels are operation, model and outcome (``ok``,
    ``cached``, or the name of an error class). Nothing a user types becomes a label, except
    the name of the model. Each request of a batch counts as a call once its result is read.

    Args:
        registry: A ``prometheus_client.CollectorRegistry``; the default one when left out.
            Make one observer per registry, and give it to every client.
    """

    def __init__(self, registry: Any = None) -> None:
        where: dict[str, Any] = {} if registry is None else {"registry": registry}
        what = ("operation", "model")
        counter = prometheus_client.Counter
        self._calls = counter(
            "gptimage_calls_total", "Calls that ended", (*what, "outcome"), **where
        )
        self._images = counter("gptimage_images_total", "Images that were generated", what, **where)
        self._cost = counter("gptimage_cost_usd_total", "Known costs in USD", what, **where)
        self._unpriced = counter(
            "gptimage_unpriced_calls_total", "Calls paid for whose cost is not known", what, **where
        )
        self._possible = counter(
            "gptimage_possible_cost_usd_total",
            "What failed calls may have cost in USD, as far as it is known",
            what,
            **where,
        )
        self._tokens = counter(
            "gptimage_tokens_total", "Tokens, by direction", (*what, "direction"), **where
        )
        self._retries = counter(
            "gptimage_retries_total", "Requests sent again", (*what, "reason"), **where
        )
        self._waited = counter(
            "gptimage_waiting_seconds_total", "Waiting before sending", ("reason",), **where
        )
        self._seconds = prometheus_client.Histogram(
            "gptimage_call_seconds",
            "From planning to the response",
            what,
            buckets=_SECONDS,
            **where,
        )
        self._busy = prometheus_client.Gauge(
            "gptimage_calls_in_progress", "Calls that have not ended", **where
        )
        self._lock = threading.Lock()
        self._open: set[str] = set()

    def notify(self, event: Event) -> None:
        """Count an event."""
        what = (event.operation, event.model)
        match event:
            case Planned():
                self._begin(event)
            case CacheHit():
                self._end(event, "cached")
            case Finished():
                self._paid(event)
                self._end(event, "ok")
            case Failed():
                self._possible.labels(*what).inc(float(event.possible_cost or 0))
                self._end(event, event.error)
            case Retried():
                self._retries.labels(*what, event.reason).inc()
            case Waiting():
                self._waited.labels(event.reason).inc(event.seconds)
            case _:
                pass

    def _begin(self, event: Event) -> None:
        # A counter that first appears with a 1 has not risen for Prometheus: `increase()` of an
        # alert would miss the first call of its kind. From now until the response it shows 0.
        what = (event.operation, event.model)
        for counter in (self._images, self._cost, self._unpriced, self._possible):
            counter.labels(*what)
        for outcome in ("ok", "OutcomeUnknownError"):
            self._calls.labels(*what, outcome)
        with self._lock:
            self._open.add(event.call_id)
            self._busy.set(len(self._open))

    def _end(self, event: Event, outcome: str) -> None:
        self._calls.labels(event.operation, event.model, outcome).inc()
        with self._lock:
            self._open.discard(event.call_id)
            self._busy.set(len(self._open))

    def _paid(self, event: Finished) -> None:
        what = (event.operation, event.model)
        self._seconds.labels(*what).observe(event.seconds)
        self._images.labels(*what).inc(event.images)
        if event.usage is not None:
            self._tokens.labels(*what, "input").inc(event.usage.input_tokens)
            self._tokens.labels(*what, "output").inc(event.usage.output_tokens)
        if event.cost is None:
            self._unpriced.labels(*what).inc()
        else:
            self._cost.labels(*what).inc(float(event.cost.usd))
