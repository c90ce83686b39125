"""Celery (extra ``celery``): a task that does jobs, and the settings that a broker needs.

Celery may deliver a task twice, and with late acknowledgement it means to: a task whose worker
died is delivered again. `run_job` makes that harmless. This module imports no Celery: it uses
the app that is passed in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

from gptimage._internal.keywords import duration, flag, whole
from gptimage.client import ImageClient
from gptimage.errors import ConfigurationError, StoreError
from gptimage.workers.job import JobResult
from gptimage.workers.job_store import JobStore, JobStoreError
from gptimage.workers.worker import LEASE, UnsavedImagesError, run_job


T = TypeVar("T")

LONGEST: Final = timedelta(minutes=30)
"""Longer than any job: ten minutes for a response, some retries, and waiting for rate limits."""

_REDIS: Final = ("redis", "sentinel", "valkey")
_JOB_STORE_PAUSE: Final = 30.0
_VISIBILITY: Final = 3600.0
"""Seconds; Celery's own setting for Redis."""


class CeleryApp(Protocol):
    """The part of ``celery.Celery`` that is used."""

    @property
    def conf(self) -> Any:
        """Return the app's settings."""
        ...

    def task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function."""
        ...


class ImageTask(Protocol):
    """The task as callers use it: it takes `Job.to_json` and returns `JobResult.to_json`."""

    name: str

    def delay(self, spec: Mapping[str, Any], /) -> Any:
        """Put a job into the queue."""
        ...

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Put a job into a queue, with Celery's options."""
        ...


def configure(app: CeleryApp, *, longest: timedelta = LONGEST) -> None:
    """Set what a broker and its workers need for long jobs that are acknowledged late.

    A worker takes no job it cannot begin; one that loses the broker goes on with its jobs. On
    Redis, a job whose machine died is delivered again after ``longest``; Celery's own
    settings would add up to 100 s to an hour. RabbitMQ delivers it again at once (see the docs
    for its ``consumer_timeout``). Options you have set for the broker stay.

    Args:
        app: The app; call this before its workers start.
        longest: Longer than any job. A job that takes longer is delivered to a second worker,
            which finds it busy and retries it later.
    """
    app.conf.update(
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
    )
    if str(app.conf.broker_url or "").startswith(_REDIS):
        ours = {
            "visibility_timeout": longest.total_seconds(),
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        }
        app.conf.broker_transport_options = {**ours, **(app.conf.broker_transport_options or {})}


def image_task(
    app: CeleryApp,
    *,
    client: Callable[[], ImageClient],
    job_store: Callable[[], JobStore],
    name: str = "gptimage.image",
    lease: timedelta = LEASE,
    paths: bool = False,
    attempts: int = 10,
) -> ImageTask:
    """Make a task that does a job, and is retried when it is busy or may work later.

    It is acknowledged when the job is settled, and delivered again when its worker is killed.
    Images that no disk could save are in ``unsaved`` of its result, as ``data:`` URLs: keep
    Celery's result backend on, or they are lost.

    Args:
        app: The app.
        client: Makes the client: once in each worker process, when its first job comes,
            because connections and threads do not survive a fork.
        job_store: Makes the job store, likewise.
        name: The task's name.
        lease: See `run_job`.
        paths: See `run_job`.
        attempts: How often a job is begun before it is retried no more.

    Raises:
        ConfigurationError: ``client`` or ``job_store`` is no function, or another argument
            makes no sense.
    """
    duration("lease", lease)
    flag("paths", paths)
    whole("attempts", attempts, 1)
    clients, job_stores = PerProcess(client, "client"), PerProcess(job_store, "job_store")

    def image(task: Any, spec: Mapping[str, Any]) -> dict[str, Any]:
        try:
            result = run_job(
                spec, client=clients(), job_store=job_stores(), lease=lease, paths=paths
            )
        except UnsavedImagesError as error:
            # A retry would drop the exception and the paid images with it, and no delivery could
            # find them again: the result backend is the one place left that outlives this task.
            return error.job.to_dict()
        except (JobStoreError, StoreError) as error:  # on a disk, where the next delivery looks
            raise task.retry(exc=error, countdown=_JOB_STORE_PAUSE) from error
        pause = _pause(result, attempts)
        if pause is None:
            return result.to_dict()
        raise task.retry(countdown=min(pause, _visibility(app) / 2))

    made: ImageTask = app.task(
        bind=True,
        name=name,
        serializer="json",
        acks_late=True,
        reject_on_worker_lost=True,
        max_retries=None,  # the job store counts how often it is begun
    )(image)
    return made


class PerProcess(Generic[T]):
    """A value made once in each process, when it is first needed.

    Args:
        make: Makes it.
        what: The name of the argument, for the message when it is no function.
    """

    def __init__(self, make: Callable[[], T], what: str) -> None:
        if not callable(make):
            raise ConfigurationError(
                f"{what} must be a function that makes one: each worker process needs its own, "
                "made after the fork"
            )
        self._make = make
        self._made: dict[int, T] = {}
        self._locks: dict[int, threading.Lock] = {}

    def __call__(self) -> T:
        """Return the one of this process."""
        process = os.getpid()
        with self._locks.setdefault(process, threading.Lock()):
            if process not in self._made:
                self._made[process] = self._make()
            return self._made[process]


def _pause(result: JobResult, attempts: int) -> float | None:
    """Return the seconds until the job is to be delivered again; None when it is settled."""
    if result.status == "busy":
        return result.retry_after or 1.0
    final = result.status != "failed" or result.attempt >= attempts
    return None if final else result.retry_after


def _visibility(app: CeleryApp) -> float:
    """Return the seconds after which a broker delivers an unacknowledged message again."""
    options: Mapping[str, Any] = app.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout", _VISIBILITY))
