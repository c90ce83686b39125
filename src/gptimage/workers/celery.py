"""Celery (extra ``celery``): a task that does jobs, and the settings a broker needs for it.

Celery may deliver a task twice, and with late acknowledgement it means to: a task whose worker
died is delivered again. `run_job` makes that harmless. This module imports no Celery: it works
with the app it is given.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

from gptimage.client import ImageClient
from gptimage.errors import ConfigurationError, StoreError
from gptimage.workers.job import JobResult
from gptimage.workers.job_store import JobStore, JobStoreError
from gptimage.workers.worker import LEASE, run_job


T = TypeVar("T")

LONGEST: Final = timedelta(minutes=30)
"""Longer than any job: ten minutes for an answer, some tries, and waiting for one's turn."""

_REDIS: Final = ("redis", "sentinel", "valkey")
_DESK_PAUSE: Final = 30.0
_VISIBILITY: Final = 3600.0
"""Seconds; Celery's own setting for Redis."""


class CeleryApp(Protocol):
    """What is used of a ``celery.Celery``."""

    @property
    def conf(self) -> Any:
        """The app's settings."""
        ...

    def task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function."""
        ...


class ImageTask(Protocol):
    """What callers use of the task: it takes `Job.to_json` and gives `JobResult.to_json`."""

    name: str

    def delay(self, spec: Mapping[str, Any], /) -> Any:
        """Put a job into the queue."""
        ...

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Put a job into a queue, with Celery's options."""
        ...


def configure(app: CeleryApp, *, longest: timedelta = LONGEST) -> None:
    """Set what a broker and its workers need for long jobs that are acknowledged late.

    A worker takes no job it cannot begin; one that loses the broker goes on with what it has. On
    Redis, a job whose machine died is delivered again after ``longest``; Celery's own
    settings would add up to 100 s to an hour. RabbitMQ delivers it again at once (see the docs
    for its ``consumer_timeout``). Options you have set for the broker stay.

    Args:
        app: The app; call this before its workers start.
        longest: Longer than any job. A job that takes longer is delivered to a second worker,
            which finds it busy and puts it back.
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
    desk: Callable[[], JobStore],
    name: str = "gptimage.image",
    lease: timedelta = LEASE,
    paths: bool = False,
    attempts: int = 10,
) -> ImageTask:
    """A task that does a job, and puts it back when it is busy or may work later.

    It is acknowledged when the job is settled, and delivered again when its worker is killed.

    Args:
        app: The app.
        client: Makes the client: once in each worker process, when its first job comes,
            because connections and threads do not survive a fork.
        desk: Makes the desk, likewise.
        name: The task's name.
        lease: See `run_job`.
        paths: See `run_job`.
        attempts: How often a job is begun before it is put back no more.

    Raises:
        ConfigurationError: ``client`` or ``desk`` is no function.
    """
    clients, desks = PerProcess(client, "client"), PerProcess(desk, "desk")

    def image(task: Any, spec: Mapping[str, Any]) -> dict[str, Any]:
        try:
            result = run_job(spec, client=clients(), desk=desks(), lease=lease, paths=paths)
        except (JobStoreError, StoreError) as error:  # the next delivery looks for what was paid
            raise task.retry(exc=error, countdown=_DESK_PAUSE) from error
        pause = _pause(result, attempts)
        if pause is None:
            return result.to_json()
        raise task.retry(countdown=min(pause, _visibility(app) / 2))

    made: ImageTask = app.task(
        bind=True,
        name=name,
        serializer="json",
        acks_late=True,
        reject_on_worker_lost=True,
        max_retries=None,  # how often it is begun is counted by the desk
    )(image)
    return made


class PerProcess(Generic[T]):
    """Makes something once in each process, when it is first called for.

    Args:
        make: Makes it.
        what: What the argument is called, for the message when it is no function.
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
        """The one of this process."""
        process = os.getpid()
        with self._locks.setdefault(process, threading.Lock()):
            if process not in self._made:
                self._made[process] = self._make()
            return self._made[process]


def _pause(result: JobResult, attempts: int) -> float | None:
    """Seconds until the job is to be delivered again; None when there is an answer."""
    if result.status == "busy":
        return result.retry_after or 1.0
    hopeless = result.status != "failed" or result.attempt >= attempts
    return None if hopeless else result.retry_after


def _visibility(app: CeleryApp) -> float:
    """Seconds after which a broker gives a message that was not acknowledged to somebody else."""
    options: Mapping[str, Any] = app.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout", _VISIBILITY))
