"""Jobs for many machines: delivered twice or killed half-way, each is paid for once.

`run_job` does a job, a `JobStore` has the state of all jobs. Redis and Celery are extras and have
their own modules: ``from gptimage.workers.redis_store import RedisJobStore`` and
``from gptimage.workers.celery import image_task``.
"""

from __future__ import annotations

from gptimage.workers.blob_store import BlobJobStore as BlobJobStore
from gptimage.workers.job import Job as Job
from gptimage.workers.job import JobRecord as JobRecord
from gptimage.workers.job import JobResult as JobResult
from gptimage.workers.job import JobState as JobState
from gptimage.workers.job import JobStatus as JobStatus
from gptimage.workers.job_store import JobStore as JobStore
from gptimage.workers.job_store import JobStoreError as JobStoreError
from gptimage.workers.job_store import discard as discard
from gptimage.workers.job_store import retry as retry
from gptimage.workers.outputs import Previews as Previews
from gptimage.workers.sqlite_store import SqliteJobStore as SqliteJobStore
from gptimage.workers.worker import UnsavedImagesError as UnsavedImagesError
from gptimage.workers.worker import open_job_store as open_job_store
from gptimage.workers.worker import run_job as run_job
