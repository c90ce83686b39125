"""A worker of the service's queue: ``celery -A worker worker --pool threads --concurrency 8``.

Its metrics are on port 8081, for Prometheus. With threads they are those of one process; worker
processes (Celery's own choice) would each have a part of them.
"""

from __future__ import annotations

import os
from typing import Any

import prometheus_client
from celery import Celery, signals  # type: ignore[import-untyped]  # no types  # pyright: ignore[reportMissingTypeStubs]

from gptimage import ImageClient
from gptimage.observers.prometheus import PrometheusObserver
from gptimage.workers.celery import configure, image_task
from gptimage.workers.redis_store import RedisJobStore


app: Any = Celery("worker", broker=os.environ["BROKER_URL"])
configure(app)

draw = image_task(
    app,
    client=lambda: ImageClient.from_config(observers=[PrometheusObserver()]),
    job_store=lambda: RedisJobStore(os.environ["JOB_STORE_URL"]),
)


def serve_metrics(**_: object) -> None:
    """Let Prometheus read."""
    prometheus_client.start_http_server(int(os.environ.get("METRICS_PORT", "8081")))


ready: Any = signals.worker_ready
ready.connect(serve_metrics)
