"""`run_job`: do a job that was delivered, once or for the tenth time."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from attrs import frozen

from gptimage._internal.keywords import duration, flag
from gptimage.client import ImageClient
from gptimage.errors import (
    ApiError,
    BadRequestError,
    CacheError,
    ConfigurationError,
    GptImageError,
    ImageDecodeError,
    ImageNotFoundError,
    InvalidRequestError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
    StoreError,
    TransportError,
)
from gptimage.transport.billing import may_be_billed
from gptimage.types.result import Result
from gptimage.workers import state_machine
from gptimage.workers.job import Job, JobOutput, JobRecord, JobResult
from gptimage.workers.job_store import JobStore, JobStoreError, change
from gptimage.workers.outputs import Previews, call_service, find_existing_result, has_reply
from gptimage.workers.state_machine import Worker


class UnsavedImagesError(StoreError):
    """The images of a job are paid, and neither the store nor any disk of this machine has them.

    They are in ``result`` and nowhere else: save them before this error is dropped.

    Attributes:
        job: How the job stands, with the images in ``unsaved``.
    """

    def __init__(self, message: str, *, result: Result, job: JobResult) -> None:
        super().__init__(message, result=result)
        self.job = job


LEASE: Final = timedelta(seconds=30)
"""A worker that sent no heartbeat for so long counts as dead."""

_HEARTBEATS: Final = 3
"""Heartbeats in one lease: all but one of them may be lost."""


class LeaseLostError(JobStoreError):
    """Another worker has the job now, or finished it. Nothing was sent."""


class JobLease:
    """A job that this worker has, from `__enter__` to `__exit__` with heartbeats.

    It is the send hook of the job's request: that it is about to be sent is in the job store first.

    Args:
        job_store: The job store.
        record: The job, with this worker's name on it.
        lease: Seconds until this worker counts as dead.

    Attributes:
        record: The job as it was when this worker got it.
        sent: Whether a request was sent, or was about to be, that may be billed.
        key: The cache key of that request; None when there was none.
    """

    def __init__(self, job_store: JobStore, record: JobRecord, lease: float) -> None:
        self.record: JobRecord = record
        self.sent: bool = record.state == "sending"
        self.key: str | None = record.key
        self._job_store = job_store
        self._lease = lease
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._heartbeats, name="gptimage-job", daemon=True)

    @classmethod
    def acquire(cls, job_store: JobStore, job: Job, lease: timedelta) -> JobLease | JobRecord:
        """Claim a job; return its record if this worker may not have it.

        Raises:
            InvalidRequestError: The id belongs to another request.
            JobStoreError: The job store cannot be used.
        """
        name = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(8)}"
        seconds = lease.total_seconds()
        worker = Worker(name=name, now=job_store.now(), lease=seconds)
        record = change(job_store, job.id, lambda found: state_machine.claim(found, job, worker))
        assert record is not None  # noqa: S101  # a claim returns one or raises
        return cls(job_store, record, seconds) if record.owner == name else record

    def __enter__(self) -> Self:
        """Start the heartbeats."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the heartbeats."""
        self._over.set()

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        """Record that the request is about to be sent; it is not when that fails.

        Raises:
            LeaseLostError: Another worker has the job.
            JobStoreError: The job store cannot be written.
        """
        record = self._change(partial(state_machine.before_send, key=key, max_cost=max_cost))
        if record is None:
            raise LeaseLostError(
                f"the job {self.record.id} is not this worker's any more: another one finished "
                f"it, or has it because there was no heartbeat for {self._lease:.0f} s; "
                "nothing was sent"
            )
        self.sent, self.key = True, key

    def not_billed(self) -> None:
        """Record that nothing was billed; if that fails, the record says that it may be."""
        with suppress(JobStoreError):
            self._change(state_machine.not_billed)
            self.sent = False

    def done(self, output: JobOutput) -> JobRecord | None:
        """Record that the images are in the store."""
        now = self._job_store.now()
        return change(
            self._job_store, self.record.id, lambda found: state_machine.done(found, output, now)
        )

    def failed(self, reason: str, *, retryable: bool) -> JobRecord | None:
        """Record that nothing was billed."""
        return self._change(partial(state_machine.failed, reason=reason, retryable=retryable))

    def needs_review(self, reason: str) -> JobRecord | None:
        """Record that it may have been billed, and there is no image."""
        return self._change(partial(state_machine.needs_review, reason=reason))

    def released(self, reason: str) -> JobRecord | None:
        """Leave the job to the next worker, which looks for the reply first."""
        return self._change(partial(state_machine.released, reason=reason))

    def current(self) -> JobRecord | None:
        """Return the record in the job store."""
        return self._job_store.read(self.record.id)

    def _change(
        self, rule: Callable[[JobRecord | None, Worker], JobRecord | None]
    ) -> JobRecord | None:
        worker = Worker(name=self.record.owner, now=self._job_store.now(), lease=self._lease)
        return change(self._job_store, self.record.id, lambda record: rule(record, worker))

    def _heartbeats(self) -> None:
        """Extend the lease until the end, or until another worker has the job."""
        while not self._over.wait(self._lease / _HEARTBEATS):
            try:
                if self._change(state_machine.heartbeat) is None:
                    return
            except Exception:  # noqa: BLE001, S112  # whatever it is, the next one may get through
                continue


_PAUSE: Final = 30.0
"""Seconds before something is tried again that may pass by itself."""

_LONGEST_PAUSE: Final = 600.0
_OF_THE_SERVICE: Final = (ApiError, OutcomeUnknownError)
"""May be billed although this worker sent nothing: another one's like request was shared."""

_PERMANENT: Final = (InvalidRequestError, ImageDecodeError, BadRequestError)
"""The request itself is wrong, and will be the next time."""


_REDIS: Final = ("redis://", "rediss://", "unix://")


def open_job_store(where: str) -> JobStore:
    """Open the job store of workers that run already.

    Args:
        where: Its file, which must be there, or the URL of a Redis server.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: The package for Redis is missing, or the URL is none.
    """
    if where.startswith(_REDIS):
        from gptimage.workers.redis_store import RedisJobStore

        return RedisJobStore(where)
    from gptimage.workers.sqlite_store import SqliteJobStore

    if not Path(where).expanduser().is_file():
        raise FileNotFoundError(f"there is no job store {where}")
    return SqliteJobStore(where)


def run_job(
    spec: Job | Mapping[str, Any],
    *,
    client: ImageClient,
    job_store: JobStore,
    lease: timedelta = LEASE,
    paths: bool = False,
    previews: Previews | None = None,
) -> JobResult:
    """Do a job, however often it is delivered: its request is paid for once.

    Delivered again, a job that is done gives the same result. One whose worker died before its
    request was sent is begun anew. One whose worker died after that gets the reply from the
    store, the cache, or this machine's spool; when it is nowhere, the job needs a person's review
    (see `retry` and `discard`) and is never sent again by itself. One that a live worker has is
    busy.

    Args:
        spec: The job, or what `Job.to_json` returned.
        client: Sends the request. It needs a store, which all workers share; with a cache they
            share, more replies outlive their worker.
        job_store: Where the state of every job is; all workers share it.
        lease: After so long without a heartbeat a worker counts as dead.
        paths: Also accept images named by a path of this machine.
        previews: Show partial images while it is drawn; none when left out.

    Returns:
        How the job stands. What is wrong with the request, the service or the store is in it,
        not raised.

    Raises:
        UnsavedImagesError: The images are paid, and neither the store nor this machine's spool
            could save them: they are in its ``result`` alone. The job needs review.
        StoreError: They are on a disk of this machine, and the job store could not be written.
        InvalidRequestError: This is no job, or its id belongs to another request.
        ConfigurationError: The client has no store, or an argument makes no sense.
        JobStoreError: The job store cannot be used; deliver the job again later.
    """
    duration("lease", lease)  # with none at all two workers would have a job, and pay it twice
    flag("paths", paths)
    job = spec if isinstance(spec, Job) else Job.from_dict(spec, paths=paths)
    if not paths:
        job.without_paths()
    if client.store is None:
        raise ConfigurationError(
            "a worker's client needs a store: the images must be somewhere when the worker is "
            "gone; for instance ImageClient(store=Store('images'))"
        )
    found = JobLease.acquire(job_store, job, lease)
    if isinstance(found, JobRecord):
        return JobResult.of(_late_reply(found, job, client, job_store), now=job_store.now())
    with found as held:
        return _Delivery(
            job=job, client=client, job_store=job_store, lease=held, previews=previews
        ).run()


def _late_reply(record: JobRecord, job: Job, client: ImageClient, job_store: JobStore) -> JobRecord:
    """Finish a job that needs review if its images have turned up since."""
    if record.state != "needs_review":
        return record
    try:
        output = find_existing_result(client, job, record)
    except (CacheError, StoreError):
        return record
    if output is None:
        return record
    now = job_store.now()
    return change(job_store, job.id, lambda found: state_machine.done(found, output, now)) or record


@frozen(kw_only=True)
class _Delivery:
    """One delivery of a job that this worker has."""

    job: Job
    client: ImageClient
    job_store: JobStore
    lease: JobLease
    previews: Previews | None = None

    def run(self) -> JobResult:
        try:
            output = find_existing_result(self.client, self.job, self.lease.record)
            if output is None and self.lease.sent:
                # It may be billed: only a person may decide to pay a second time.
                lost = f"{self.lease.record.reason}, and its reply is nowhere to be found"
                return self._result(self.lease.needs_review(lost))
        except (CacheError, StoreError) as error:
            return self._release(f"{type(error).__name__}: {error}")
        try:
            client = self.client.with_send_hook(self.lease)
            output = output or call_service(client, self.job, self.previews)
        except LeaseLostError:
            return self._result(None)
        except GptImageError as error:
            return self._failed(error)
        except BaseException as error:
            with suppress(JobStoreError):  # the exception itself is raised in any case
                self._failed(error)
            raise
        return self._done(output)

    def _done(self, output: JobOutput) -> JobResult:
        try:
            record = self.lease.done(output)
        except JobStoreError as error:  # the next delivery finds the images in the store
            return JobResult(
                id=self.job.id,
                status="done",
                images=output.images,
                cost=output.cost,
                attempt=self.lease.record.attempt,
                warnings=(*output.warnings, f"{error}; the images are in the store"),
            )
        return self._result(record)

    def _failed(self, error: BaseException) -> JobResult:
        """Settle a job that has no images in the store."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, StoreError) and isinstance(error.result, Result):
            return self._not_saved(error, error.result, reason)
        if may_be_billed(error) and (self.lease.sent or isinstance(error, _OF_THE_SERVICE)):
            return self._result(self.lease.needs_review(reason))
        record = self.lease.failed(reason, retryable=not isinstance(error, _PERMANENT))
        return self._result(record, retry_after=_pause(error, self.lease.record.attempt))

    def _not_saved(self, error: StoreError, result: Result, reason: str) -> JobResult:
        """Leave paid images that are not in the store to the next delivery, if they are on a disk.

        Raises:
            UnsavedImagesError: They are not.
            StoreError: They are, and the job store cannot be written.
        """
        copies = f" (copies: {', '.join(error.recovery_copies)})" if error.recovery_copies else ""
        copied = len(error.recovery_copies) + len(result.stored) >= len(result.images)
        if not copied and not has_reply(self.client, self.lease.key):
            raise self._unsaved(result, reason) from error
        try:
            return self._release(f"the images arrived and are not saved: {reason}{copies}")
        except JobStoreError as broken:
            error.add_note(f"the job {self.job.id} could not be recorded as not saved: {broken}")
            raise error from broken

    def _unsaved(self, result: Result, reason: str) -> UnsavedImagesError:
        """Return the error that has the images; the job needs review, whatever becomes of it."""
        lost = "the images arrived, are paid, and no disk could save them"
        cost = None if result.cost is None else result.cost.usd
        job = JobResult(
            id=self.job.id,
            status="needs_review",
            images=tuple(record.id for record in result.stored),
            cost=cost,
            possible_cost=cost,
            attempt=self.lease.record.attempt,
            reason=f"{lost}: {reason}",
            warnings=result.warnings,
            unsaved=tuple(image.data_url for image in result.images),
        )
        error = UnsavedImagesError(
            f"job {self.job.id}: {lost};  they are in .result of this error alone, save them "
            f"yourself, then discard the job ({reason})",
            result=result,
            job=job,
        )
        try:
            self.lease.needs_review(f"{lost}, so its worker returned them with the error: {reason}")
        except JobStoreError as broken:
            error.add_note(f"the job {self.job.id} could not be recorded as not saved: {broken}")
        return error

    def _release(self, reason: str) -> JobResult:
        """Leave the job to the next delivery, which looks again for what was paid."""
        return self._result(self.lease.released(reason), retry_after=_PAUSE)

    def _result(self, record: JobRecord | None, *, retry_after: float | None = None) -> JobResult:
        """Return how the job stands, by the job store if this worker does not have it any more."""
        record = record or self.lease.current()
        now = self.job_store.now()
        if record is None:  # the job store was emptied
            return JobResult(id=self.job.id, status="busy", retryable=True, retry_after=_PAUSE)
        return JobResult.of(record, now=now, retry_after=retry_after)


def _pause(error: BaseException, attempt: int) -> float | None:
    """Return the seconds after which the same may work; None when waiting does not help."""
    if not _is_passing(error):
        return None
    wanted = error.retry_after if isinstance(error, ApiError) else None
    return max(wanted or 0.0, min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(attempt - 1, 10)))


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, TransportError):
        return error.retryable
    passing = (RateLimitError, ServerError, JobStoreError, StoreError)
    return isinstance(error, passing) and not isinstance(error, ImageNotFoundError)
