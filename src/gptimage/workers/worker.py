"""`run_job`: what a worker does with a job it was handed, once or for the tenth time."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from attrs import frozen

from gptimage.cache import Cache, CacheEntry
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
from gptimage.models.pricing import Cost, cost_of
from gptimage.store import PendingReplies, PendingReply, Store
from gptimage.transport.billing import may_be_billed
from gptimage.types.record import Record
from gptimage.types.request import Prompt
from gptimage.types.result import Result
from gptimage.workers import state_machine
from gptimage.workers.job import Job, JobAnswer, JobRecord, JobResult
from gptimage.workers.job_store import JobStore, JobStoreError, change
from gptimage.workers.state_machine import Worker


# Where the pictures of a job come from: the service, or wherever an earlier reply was kept.
#
# A reply is kept in this order: on the worker's own disk (the spool) as soon as it arrived, in
# the cache, as pictures in the store. A worker may be killed after any of these steps.

_MOST: Final = 1000


def call_service(client: ImageClient, job: Job) -> JobAnswer:
    """Ask for the pictures of a job, and save them.

    Raises:
        GptImageError: As `ImageClient.generate` and `ImageClient.edit`.
    """
    result = _result(client, job)
    return _answer(result.stored, result.cost, result.warnings)


def _result(client: ImageClient, job: Job) -> Result:
    options = dict(job.request)
    prompt = Prompt(options.pop("prompt"), template=options.pop("template", None))
    images = options.pop("images", None)
    tags = (*options.pop("tags", ()), job.tag)
    if images is None:
        return client.generate(prompt, tags=tags, **options)
    return client.edit(prompt, images, tags=tags, **options)


def find_existing_result(client: ImageClient, job: Job, entry: JobRecord) -> JobAnswer | None:
    """What an earlier worker brought home, wherever it is; nothing is asked for it.

    Args:
        client: The worker's client.
        job: The job.
        entry: What the desk knows of it.

    Raises:
        CacheError: The cache cannot be read, so that nobody can tell.
        StoreError: The store cannot be read, or not take the pictures that were found.
    """
    if entry.attempt == 1 and entry.key is None:
        return None
    answer = _stored(client.store, job) if client.store is not None else None
    return answer or (_kept(client, job, entry.key) if entry.key else None)


def _stored(store: Store, job: Job) -> JobAnswer | None:
    """What is in the store, if it is everything one call returned."""
    store.refresh()
    calls: dict[object, dict[int, Record]] = {}
    for record in store.history(_MOST, tag=job.tag):
        calls.setdefault((record.created_at_service, record.request_id), {}).setdefault(
            record.index, record
        )
    for found in calls.values():  # the newest first
        records = [found[index] for index in sorted(found)]
        if len(records) == records[0].batch_count:
            return _answer(records, records[0].cost, records[0].warnings)
    return None


def _kept(client: ImageClient, job: Job, key: str) -> JobAnswer | None:
    """What is in the cache or in the spool of this machine, saved in the store."""
    entry = client.cache.get(key) if client.cache is not None else None
    answer = _replayed(client, job) if entry is not None else None
    return answer or _spooled(client, job, key)


def _spooled(client: ImageClient, job: Job, key: str) -> JobAnswer | None:
    """A reply that arrived on this machine and could not be saved by whoever asked."""
    for left in _leftovers(client, key):
        twin = client.with_send_hook(_Closed())
        twin.cache = Cache.memory(max_bytes=None)
        try:
            twin.cache.put(key, CacheEntry(body=left.read()))
        except OSError:  # another process recovers it right now
            continue
        if answer := _replayed(twin, job):
            with suppress(OSError):
                left.path.unlink()
            return answer
    return None


def waits(client: ImageClient, key: str | None) -> bool:
    """Whether a reply to this request waits in the cache or in the spool of this machine."""
    if key is None:
        return False
    with suppress(CacheError):  # one that cannot be read keeps nothing for the next worker
        if client.cache is not None and client.cache.get(key) is not None:
            return True
    return any(True for _ in _leftovers(client, key))


def _leftovers(client: ImageClient, key: str) -> Iterator[PendingReply]:
    """Replies to this request that wait for recovery. Their processes may live: saving failed."""
    try:
        found = PendingReplies().abandoned(older_than=timedelta(0))
    except StoreError:  # a folder nobody can read is no reason to wait for it
        return iter(())
    own = (None, client.store.name if client.store is not None else None)
    return (left for left in found if left.key == key and left.store in own)


def _replayed(client: ImageClient, job: Job) -> JobAnswer | None:
    """The answer without sending anything; None when that does not work."""
    try:
        result = _result(client.with_send_hook(_Closed()), job)
    except StoreError as error:
        if error.result is not None:
            raise
        return None
    except (GptImageError, OSError):
        return None  # a source is gone, or the request is planned otherwise here
    spec = client.models().get(result.model)
    cost = cost_of(spec, result.usage, result.created.date())
    return _answer(result.stored, cost, result.warnings)


def _answer(records: Iterable[Record], cost: Cost | None, warnings: Iterable[str]) -> JobAnswer:
    return JobAnswer(
        images=tuple(record.id for record in records),
        cost=None if cost is None else cost.usd,
        warnings=tuple(warnings),
    )


class _Closed:
    """A gate that nothing passes."""

    def before_send(self, key: str, ceiling: Decimal | None) -> NoReturn:
        del key, ceiling
        raise ConfigurationError("this request is not to be sent again")

    def not_billed(self) -> None:
        pass


# `JobLease`: a job in the hands of a live worker, and the gate its request has to pass.

LEASE: Final = timedelta(seconds=30)
"""A worker that gave no sign of life for so long counts as dead."""

_HEARTBEATS: Final = 3
"""Signs of life in one lease: all but one of them may be lost."""


class LeaseLostError(JobStoreError):
    """The job is somebody else's now, or finished. Nothing was sent."""


class JobLease:
    """A job that this worker has, from `__enter__` to `__exit__` with signs of life.

    It is the `gptimage.engine.send.SendHook` of the job's request: that it leaves is on the desk first.

    Args:
        desk: The desk.
        entry: The job, with this worker's name on it.
        lease: Seconds until this worker counts as dead.

    Attributes:
        entry: The job as it was when this worker got it.
        sent: Whether a request left, or was about to, that may be billed.
        key: The cache key of what left, or was about to; None when nothing did.
    """

    def __init__(self, desk: JobStore, entry: JobRecord, lease: float) -> None:
        self.entry: JobRecord = entry
        self.sent: bool = entry.state == "sending"
        self.key: str | None = entry.key
        self._desk = desk
        self._lease = lease
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._live, name="gptimage-job", daemon=True)

    @classmethod
    def of(cls, desk: JobStore, job: Job, lease: timedelta) -> JobLease | JobRecord:
        """The job, if this worker may have it, or else what the desk knows of it.

        Raises:
            InvalidRequestError: The id belongs to another request.
            DeskError: The desk cannot be used.
        """
        name = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(8)}"
        seconds = lease.total_seconds()
        worker = Worker(name=name, now=desk.now(), lease=seconds)
        entry = change(desk, job.id, lambda entry: state_machine.claim(entry, job, worker))
        assert entry is not None  # noqa: S101  # the rule always gives one
        return cls(desk, entry, seconds) if entry.holder == name else entry

    def __enter__(self) -> Self:
        """Begin to give signs of life."""
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them."""
        self._over.set()

    def before_send(self, key: str, ceiling: Decimal | None) -> None:
        """Note that the request is about to leave; it does not when that fails.

        Raises:
            ClaimLostError: Somebody else has the job.
            DeskError: The desk cannot be written.
        """
        if (
            self._change(
                lambda entry, worker: state_machine.before_send(entry, worker, key, ceiling)
            )
            is None
        ):
            raise LeaseLostError(
                f"the job {self.entry.id} is not this worker's any more: somebody else finished "
                f"it, or has it because there was no sign of life for {self._lease:.0f} s; "
                "nothing was sent"
            )
        self.sent, self.key = True, key

    def not_billed(self) -> None:
        """Note that what left was not billed; if that fails, it stays noted as sent."""
        with suppress(JobStoreError):
            self._change(state_machine.not_billed)
            self.sent = False

    def done(self, answer: JobAnswer) -> JobRecord | None:
        """The pictures are in the store."""
        now = self._desk.now()
        return change(
            self._desk, self.entry.id, lambda entry: state_machine.done(entry, answer, now)
        )

    def failed(self, reason: str, *, retryable: bool) -> JobRecord | None:
        """Nothing was billed."""
        return self._change(
            lambda entry, worker: state_machine.failed(entry, worker, reason, retryable=retryable)
        )

    def parked(self, reason: str) -> JobRecord | None:
        """It may have been billed, and there is no picture."""
        return self._change(lambda entry, worker: state_machine.needs_review(entry, worker, reason))

    def released(self, reason: str) -> JobRecord | None:
        """Whoever gets it next looks again for what left, if anything did."""
        return self._change(lambda entry, worker: state_machine.released(entry, worker, reason))

    def known(self) -> JobRecord | None:
        """What the desk knows of the job."""
        return self._desk.read(self.entry.id)

    def _change(
        self, rule: Callable[[JobRecord | None, Worker], JobRecord | None]
    ) -> JobRecord | None:
        worker = Worker(name=self.entry.holder, now=self._desk.now(), lease=self._lease)
        return change(self._desk, self.entry.id, lambda entry: rule(entry, worker))

    def _live(self) -> None:
        """Give signs of life until the end, or until the job is somebody else's."""
        while not self._over.wait(self._lease / _HEARTBEATS):
            try:
                if self._change(state_machine.heartbeat) is None:
                    return
            except Exception:  # noqa: BLE001, S112  # whatever it is, the next sign may get through
                continue


_PAUSE: Final = 30.0
"""Seconds before something is tried again that may pass by itself."""

_LONGEST_PAUSE: Final = 600.0
_OF_THE_SERVICE: Final = (ApiError, OutcomeUnknownError)
"""What may be billed to somebody else, whose like request this one waited for (see `flights`)."""

_FOR_GOOD: Final = (InvalidRequestError, ImageDecodeError, BadRequestError)
"""What is wrong with the request itself, and will be wrong the next time."""


def run_job(
    spec: Job | Mapping[str, Any],
    *,
    client: ImageClient,
    desk: JobStore,
    lease: timedelta = LEASE,
    paths: bool = False,
) -> JobResult:
    """Do a job, however often it is delivered: its request is paid for once.

    Delivered again, a job that is done gives the same result. One whose worker died before its
    request left is begun anew. One whose worker died after that gets the reply from the store,
    the cache, or this machine's spool; when it is nowhere, the job is parked for a person (see
    `retry` and `drop`) and never asked again by itself. One that a live worker has is busy.

    Args:
        spec: The job, or what `Job.to_json` gave.
        client: Who asks. It needs a store, which all workers share; with a cache they share,
            more replies outlive their worker.
        desk: Remembers the jobs; all workers share it.
        lease: After so long without a sign of life a worker counts as dead.
        paths: Also take pictures named by a path of this machine.

    Returns:
        How the job stands. What is wrong with the request, the service or the store is in it,
        not raised.

    Raises:
        StoreError: The images are paid, and neither the store nor this machine's spool could keep
            them, or the desk could not be told: they are in its ``result``.
        InvalidRequestError: This is no job, or its id belongs to another request.
        ConfigurationError: The client has no store.
        DeskError: The desk cannot be used; deliver the job again later.
    """
    job = spec if isinstance(spec, Job) else Job.from_json(spec, paths=paths)
    if not paths:
        job.without_paths()
    if client.store is None:
        raise ConfigurationError(
            "a worker's client needs a store: the pictures must be somewhere when the worker is "
            "gone; for instance ImageClient(store=Store('pictures'))"
        )
    found = JobLease.of(desk, job, lease)
    if isinstance(found, JobRecord):
        return JobResult.of(_late(found, job, client, desk), now=desk.now())
    with found as claim:
        return _Work(job=job, client=client, desk=desk, claim=claim).run()


def _late(entry: JobRecord, job: Job, client: ImageClient, desk: JobStore) -> JobRecord:
    """A parked job is done after all when its pictures have turned up since."""
    if entry.state != "parked":
        return entry
    try:
        answer = find_existing_result(client, job, entry)
    except (CacheError, StoreError):
        return entry
    if answer is None:
        return entry
    now = desk.now()
    return change(desk, job.id, lambda found: state_machine.done(found, answer, now)) or entry


@frozen(kw_only=True)
class _Work:
    """A job in the hands of a worker."""

    job: Job
    client: ImageClient
    desk: JobStore
    claim: JobLease

    def run(self) -> JobResult:
        try:
            answer = find_existing_result(self.client, self.job, self.claim.entry)
            if answer is None and self.claim.sent:
                lost = f"{self.claim.entry.reason}, and its reply is nowhere to be found"
                return self._told(self.claim.parked(lost))
        except (CacheError, StoreError) as error:
            return self._wait(f"{type(error).__name__}: {error}")
        try:
            answer = answer or call_service(self.client.with_send_hook(self.claim), self.job)
        except LeaseLostError:
            return self._told(None)
        except GptImageError as error:
            return self._broke(error)
        except BaseException as error:
            with suppress(JobStoreError):  # what happened is told in any case
                self._broke(error)
            raise
        return self._done(answer)

    def _done(self, answer: JobAnswer) -> JobResult:
        """The pictures are in the store; if the desk cannot be told, they are found there later."""
        try:
            entry = self.claim.done(answer)
        except JobStoreError as error:
            return JobResult(
                id=self.job.id,
                status="done",
                images=answer.images,
                cost=answer.cost,
                attempt=self.claim.entry.attempt,
                warnings=(*answer.warnings, f"{error}; the pictures are in the store"),
            )
        return self._told(entry)

    def _broke(self, error: BaseException) -> JobResult:
        """There are no pictures in the store."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, StoreError) and error.result is not None:
            return self._unsaved(error, error.result, reason)
        if may_be_billed(error) and (self.claim.sent or isinstance(error, _OF_THE_SERVICE)):
            return self._told(self.claim.parked(reason))
        entry = self.claim.failed(reason, retryable=not isinstance(error, _FOR_GOOD))
        return self._told(entry, retry_after=_pause(error, self.claim.entry.attempt))

    def _unsaved(self, error: StoreError, result: Result, reason: str) -> JobResult:
        """The images are paid and not in the store: whoever gets the job next saves them.

        Raises:
            StoreError: No disk of this machine keeps them, or the desk cannot be told: the error
                is then the only one that has them, or that knows of them.
        """
        copies = f" (copies: {', '.join(error.recovery_copies)})" if error.recovery_copies else ""
        copied = len(error.recovery_copies) + len(result.stored) >= len(result.images)
        kept = copied or waits(self.client, self.claim.key)
        told = f"the pictures are there, but not saved: {reason}{copies}"
        try:
            answer = self._wait(told)
        except JobStoreError as broken:
            error.add_note(f"the job {self.job.id} could not be noted as not saved: {broken}")
            raise error from broken
        if not kept:
            error.add_note("no copy is on any disk of this machine: save .result yourself")
            raise error
        return answer

    def _wait(self, reason: str) -> JobResult:
        """Whoever gets the job next looks again for what was paid."""
        return self._told(self.claim.released(reason), retry_after=_PAUSE)

    def _told(self, entry: JobRecord | None, *, retry_after: float | None = None) -> JobResult:
        """How the job stands; when it was somebody else's to say, what the desk knows."""
        entry = entry or self.claim.known()
        now = self.desk.now()
        if entry is None:  # somebody emptied the desk
            return JobResult(id=self.job.id, status="busy", retryable=True, retry_after=_PAUSE)
        return JobResult.of(entry, now=now, retry_after=retry_after)


def _pause(error: BaseException, attempt: int) -> float | None:
    """Seconds after which the same may work; None when waiting alone does not help."""
    if not _may_pass(error):
        return None
    asked = error.retry_after if isinstance(error, ApiError) else None
    return max(asked or 0.0, min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(attempt - 1, 10)))


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, TransportError):
        return error.retryable
    passing = (RateLimitError, ServerError, JobStoreError, StoreError)
    return isinstance(error, passing) and not isinstance(error, ImageNotFoundError)
