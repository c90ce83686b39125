"""A service that draws: images over HTTP, with ``/health``, ``/metrics`` and traces.

``uvicorn --factory service:create --port 8080`` serves it; `gptimage config` shows its settings.
``SERVICE_TOKEN`` is what callers send as ``Authorization: Bearer``: who draws spends your money.

* ``WEBHOOK_URL`` and ``WEBHOOK_SECRET``: failures and costs are posted there, signed.
* Traces are sent where OpenTelemetry's own variables say, when it is started with
  ``opentelemetry-instrument`` (`pip install opentelemetry-distro opentelemetry-exporter-otlp`).
* ``BROKER_URL``: ``POST /jobs`` puts jobs into the queue that ``worker.py`` works off.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import prometheus_client
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import gptimage
from gptimage import AsyncImageClient
from gptimage.observers import Observer
from gptimage.observers.opentelemetry import OpenTelemetryObserver
from gptimage.observers.prometheus import PrometheusObserver
from gptimage.observers.webhook import WebhookObserver
from gptimage.service.http import ASGIApp, BodyLimitMiddleware, image_response
from gptimage.workers import Job


LARGEST = 100_000
"""Bytes of a request: a prompt has at most 32,000 characters."""

SENT_NOTHING = (gptimage.BudgetExceededError, gptimage.RateLimitError, gptimage.TransportError)

REFUSED = JSONResponse({"message": "the token is missing or wrong"}, 401)


def create() -> Starlette:
    """Make the service of the environment."""
    broker = os.environ.get("BROKER_URL")
    return Service(
        os.environ["SERVICE_TOKEN"],
        registry=prometheus_client.REGISTRY,
        submit=submit_to(broker) if broker else None,
    ).app


def submit_to(broker: str) -> Callable[[Mapping[str, Any]], object]:
    """Return what puts a job into the queue of ``worker.py``."""
    from celery import Celery  # type: ignore[import-untyped]  # no types  # pyright: ignore[reportMissingTypeStubs]

    queue: Any = Celery("service", broker=broker)
    return lambda job: queue.send_task("gptimage.image", [dict(job)])


class Service:
    """The service.

    Args:
        token: What callers send.
        registry: Where the metrics are.
        submit: Puts a job into a queue; without it there is no ``/jobs``.
        open_client: Makes the client, with these observers.
    """

    def __init__(
        self,
        token: str,
        *,
        registry: prometheus_client.CollectorRegistry,
        submit: Callable[[Mapping[str, Any]], object] | None = None,
        open_client: Callable[..., AsyncImageClient] = AsyncImageClient.from_config,
    ) -> None:
        self._token = f"Bearer {token}".encode()
        self._registry, self._submit, self._open = registry, submit, open_client
        self._metrics = PrometheusObserver(registry)
        self._client: AsyncImageClient
        routes = [
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/images", self.draw, methods=["POST"]),
            Route("/images/{id}", self.show),
            Route("/jobs", self.queue, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes, lifespan=self.lifespan)
        self.app.add_middleware(BodyLimitMiddleware, most=LARGEST)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """Open the client when the service starts, and close it with what it has begun."""
        with ExitStack() as opened:
            observers: list[Observer] = [
                self._metrics,
                OpenTelemetryObserver(),
            ]
            if url := os.environ.get("WEBHOOK_URL"):
                webhook = WebhookObserver(url, os.environ["WEBHOOK_SECRET"])
                observers.append(opened.enter_context(webhook))
            async with self._open(observers=observers) as self._client:
                yield

    async def health(self, _: Request) -> Response:
        """Whether images can be saved: where they cannot, none should be paid for."""
        store = self._client.store
        try:
            if store is None:
                raise gptimage.StoreError("there is no store: set GPTIMAGE_STORE")
            await asyncio.to_thread(store.stats)
        except gptimage.StoreError as error:
            return JSONResponse({"status": "unavailable", "reason": type(error).__name__}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """What Prometheus reads."""
        text = prometheus_client.generate_latest(self._registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def draw(self, request: Request) -> Response:
        """Draw at once: the answer comes when the image is saved."""
        if not self._is_allowed(request):
            return REFUSED
        try:
            wanted = Job.from_dict({"id": "now", **await request.json()}).request
        except (TypeError, ValueError) as error:
            return JSONResponse({"message": str(error)}, 400)
        tracer = trace.get_tracer("service")
        try:
            # The client's own span becomes a child of this one.
            with tracer.start_as_current_span("POST /images"):
                result = await self._draw(**wanted)
        except gptimage.InvalidRequestError as error:
            return JSONResponse({"field": error.field, "message": str(error)}, 400)
        except gptimage.BadRequestError as error:  # refused, for its content perhaps
            return JSONResponse({"message": str(error)}, 422)
        except SENT_NOTHING as error:
            return JSONResponse({"message": str(error)}, 503, {"retry-after": "60"})
        except gptimage.GptImageError as error:
            # It may be billed: a caller that sends it again may pay twice.
            return JSONResponse({"message": str(error), "try_again": False}, 502)
        return JSONResponse(result.to_dict())

    async def _draw(self, prompt: str, images: Any = None, **options: Any) -> gptimage.Result:
        if images is None:
            return await self._client.generate(prompt, **options)
        return await self._client.edit(prompt, images, **options)

    async def show(self, request: Request) -> ASGIApp:
        """The bytes of an image."""
        if self._client.store is None or not self._is_allowed(request):
            return REFUSED
        return await image_response(request.scope, self._client.store)

    async def queue(self, request: Request) -> Response:
        """Put a job into the queue; the same id again is the same job, and is paid for once."""
        if not self._is_allowed(request):
            return REFUSED
        if self._submit is None:
            return JSONResponse({"message": "there is no queue: set BROKER_URL"}, 404)
        try:
            job = Job.from_dict(await request.json())
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 400)
        await asyncio.to_thread(self._submit, job.to_dict())
        return JSONResponse({"id": job.id}, 202)

    def _is_allowed(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return hmac.compare_digest(given, self._token)
