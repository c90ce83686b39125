"""A worker with arq: each job is paid for once, however often it is delivered.

``arq arq_worker.WorkerSettings`` does jobs; `enqueue` puts one into the queue. arq wants an older
redis than the extra ``gptimage[redis]``, so the jobs lie in a file here: workers of several
machines share ``BlobJobStore(ObjectBlobs.from_url("s3://bucket/jobs"))`` and a store in the bucket.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from arq import Retry, create_pool, func
from arq.connections import RedisSettings

from gptimage import ImageClient
from gptimage.store import Store
from gptimage.workers import Job, SqliteJobStore, run_job


LONGEST = 1200
"""Seconds of a job, at most; the client's own time limit is 600. arq's 300 would end paid calls."""

SETTINGS = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost"))


async def open_all(context: dict[Any, Any]) -> None:
    """Open what all jobs of a worker share."""
    context["client"] = ImageClient(store=Store("images"))
    context["job_store"] = SqliteJobStore("jobs.sqlite")


async def close_all(context: dict[Any, Any]) -> None:
    """Close it."""
    context["client"].close()
    context["job_store"].close()


async def draw(context: dict[Any, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Do a job, or come back to it when that helps; what may be billed waits for a person."""
    result = await asyncio.to_thread(
        run_job, spec, client=context["client"], job_store=context["job_store"]
    )
    if result.retryable and result.retry_after is not None:
        raise Retry(defer=result.retry_after)
    return result.to_dict()


class WorkerSettings:
    """What ``arq`` reads."""

    functions = (func(draw, timeout=LONGEST, max_tries=10),)
    on_startup = open_all
    on_shutdown = close_all
    redis_settings = SETTINGS
    max_jobs = 8
    job_completion_wait = LONGEST  # told to stop, it finishes what is being paid for


async def enqueue(job: Job) -> None:
    """Put a job into the queue; under its own id, so that arq, too, knows it again."""
    pool = await create_pool(SETTINGS)
    await pool.enqueue_job("draw", job.to_dict(), _job_id=job.id)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(enqueue(Job.of("order-17", "A red fox in fresh snow", size="1024x1024")))
