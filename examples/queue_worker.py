"""A queue worker that may be killed at any time: each job is paid for once.

``python queue_worker.py`` does two jobs here, each delivered twice as queues do at times.
``celery -A queue_worker worker`` does jobs from the broker in ``BROKER_URL``.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery  # type: ignore[import-untyped]  # no types  # pyright: ignore[reportMissingTypeStubs]

from gptimage import ImageClient
from gptimage.store import Store
from gptimage.workers import Job, SqliteJobStore
from gptimage.workers.celery import configure, image_task


app: Any = Celery("queue_worker", broker=os.environ.get("BROKER_URL", "memory://"))
configure(app)


def client() -> ImageClient:
    """The client of each worker process; workers of several machines share a bucket instead."""
    return ImageClient(store=Store("pictures"))


def job_store() -> SqliteJobStore:
    """Remembers the jobs; workers of several machines share a `RedisJobStore` instead."""
    return SqliteJobStore("jobs.sqlite")


draw = image_task(app, client=client, job_store=job_store)


def main() -> None:
    """Do two jobs in this process, without a broker."""
    app.conf.task_always_eager = True
    jobs = [
        Job.of("order-17", "A red fox in fresh snow", size="1024x1024", quality="low"),
        Job.of("order-18", "A lighthouse at dusk", size="1200x630", quality="low"),
    ]
    for job in [*jobs, *jobs]:
        result = draw.delay(job.to_dict()).get()
        print(result["id"], result["status"], *result["images"], result["cost_usd"])


if __name__ == "__main__":
    main()
