"""``GET /metrics``: what the library's Prometheus observer counted, and a few figures of now."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

import gptimage
from gptimage.service.http import JsonError


if TYPE_CHECKING:
    from gptimage.observers.protocol import Observer
    from gptimage_mcp.app import App


class Metrics:
    """A Prometheus registry of one server.

    Raises:
        ImportError: The extra ``prometheus`` is not installed.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._registry: Any = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    @classmethod
    def make(cls) -> Self | None:
        """Metrics, or None when the extra ``prometheus`` is not installed."""
        return cls() if importlib.util.find_spec("prometheus_client") else None

    @cached_property
    def observer(self) -> Observer:
        """Counts the calls of a client it is given to; unless it is, no calls are shown."""
        from gptimage.observers.prometheus import PrometheusObserver

        return PrometheusObserver(self._registry)

    def watch(self, app: App) -> None:
        """Also report what a server does and has saved; read at each scrape."""
        self._registry.register(_Now(app))

    def text(self) -> tuple[bytes, str]:
        """All metrics as text, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class MetricsRoute:
    """Answers with the metrics, or 501 with what to do to have some."""

    def __init__(self, app: App) -> None:
        self._metrics = app.metrics
        if self._metrics is not None:
            self._metrics.watch(app)

    async def respond(self, _: Request) -> Response:
        """Return the response."""
        if self._metrics is None:
            return JsonError(
                501,
                "no_metrics",
                "metrics need another package (pip install 'gptimage[prometheus]') and "
                "GPTIMAGE_TRANSPORT=http when the server is built",
            )
        body, kind = await run_sync(self._metrics.text)
        return Response(body, headers={"content-type": kind, "cache-control": "no-store"})


class _Now:
    """Collects figures of a server; what cannot be read is left out."""

    def __init__(self, app: App) -> None:
        self._app = app

    def describe(self) -> list[Any]:
        """Return nothing beforehand, so that registering reads no store."""
        return []

    def collect(self) -> Iterator[Any]:
        """The figures of now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        running = len(self._app.jobs.running)
        yield GaugeMetricFamily("gptimage_jobs_running", "Calls that draw now", running)
        try:
            saved = self._app.store.stats()
            yield GaugeMetricFamily("gptimage_store_images", "Images saved", saved.images)
            yield GaugeMetricFamily("gptimage_store_bytes", "What they take", saved.bytes)
        except gptimage.StoreError:
            pass
        if self._app.cache is None:
            return
        try:
            held = self._app.cache.stats()
        except gptimage.CacheError:
            return
        yield GaugeMetricFamily("gptimage_cache_entries", "Responses saved", held.entries)
        yield GaugeMetricFamily("gptimage_cache_bytes", "What they take", held.bytes)
        yield CounterMetricFamily("gptimage_cache_hits", "Calls it answered", held.hits)
        yield CounterMetricFamily("gptimage_cache_misses", "Calls it could not answer", held.misses)
