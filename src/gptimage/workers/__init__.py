"""Jobs for many machines: delivered twice or killed half-way, each is paid for once.

`run_job` does a job, a `Desk` remembers what became of it. Redis and Celery are extras and have
their own modules: ``from gptimage.workers.redis_store import RedisDesk`` and
``from gptimage.workers.celery import job_task``.
"""

from __future__ import annotations

from gptimage.workers.job import Entry, Job, JobResult, State, Status
from gptimage.workers.job_store import Desk, DeskError, drop, retry
from gptimage.workers.sqlite_store import SqliteDesk
from gptimage.workers.worker import run_job


__all__ = [
    "Desk",
    "DeskError",
    "Entry",
    "Job",
    "JobResult",
    "SqliteDesk",
    "State",
    "Status",
    "drop",
    "retry",
    "run_job",
]
