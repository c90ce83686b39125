"""A Celery app whose workers kill themselves where a job's id says; run by the tests.

Everything it needs to know is in the environment. A job kills one worker only: the first that
comes to the place.
"""

from __future__ import annotations

import os
import signal
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai  # noqa: F401  # once, before the fork, and not in each child
from celery import Celery

from gptimage import ImageClient
from gptimage.cache.redis import RedisCache
from gptimage.store import Store
from gptimage.workers import JobRecord
from gptimage.workers.celery import configure, image_task
from gptimage.workers.redis_store import RedisJobStore


warnings.filterwarnings("error", module=r"gptimage\.")  # Celery's own are its own affair

REDIS = os.environ["FLEET_REDIS"]
FOLDER = Path(os.environ["FLEET_FOLDER"])


def die(place: str, id: str) -> None:
    """Die here, if this is where the job's id says, and nobody died of it before."""
    if id.startswith(place):
        try:
            (FOLDER / f"died-{id}").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class Table(RedisJobStore):
    """A job store that is deadly to some jobs' workers."""

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        if after.state == "sending":
            die("unsent", after.id)
        if after.state == "done":
            die("saved", after.id)
        done = super().compare_and_swap(before, after)
        if after.state == "done":
            die("noted", after.id)
        return done


class Shelf(Store):
    """A store that is deadly to some jobs' workers."""

    def save(self, result: Any, **options: Any) -> Any:
        die("cached", next((tag[4:] for tag in options["tags"] if tag.startswith("job:")), ""))
        return super().save(result, **options)


def client() -> ImageClient:
    """What each worker process asks with."""
    store = Shelf(FOLDER / "pictures", fsync=False)
    return ImageClient(store=store, cache=RedisCache(REDIS))


def job_store() -> RedisJobStore:
    """What each worker process notes its jobs on."""
    return Table(REDIS)


app = Celery("fleet", broker=REDIS, backend=REDIS)
app.conf.broker_transport_options = {"unacked_restore_interval": 1}
configure(app, longest=timedelta(seconds=float(os.environ.get("FLEET_LONGEST", "1800"))))
draw = image_task(app, client=client, job_store=job_store, lease=timedelta(seconds=2))
