"""Jobs for many machines: delivered twice or killed half-way, each is paid for once.

`run_job` does a job, a `JobStore` remembers what became of it. Redis and Celery are extras and have
their own modules: ``from gptimage.workers.redis_store import RedisDesk`` and
``from gptimage.workers.celery import job_task``.
"""

from __future__ import annotations

from gptimage.workers.job import Job, JobRecord, JobResult, JobState, JobStatus
from gptimage.workers.job_store import JobStore, JobStoreError, discard, retry
from gptimage.workers.sqlite_store import SqliteJobStore
from gptimage.workers.worker import run_job


__all__ = [
    "JobStore",
    "JobStoreError",
    "JobRecord",
    "Job",
    "JobResult",
    "SqliteJobStore",
    "JobState",
    "JobStatus",
    "discard",
    "retry",
    "run_job",
]
