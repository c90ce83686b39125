"""`run_job`: what a worker does with a job it was handed, once or for the tenth time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

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
from gptimage.workers.answers import ask, earlier, waits
from gptimage.workers.claim import LEASE, Claim, ClaimLostError
from gptimage.workers.entry import Answer, Entry
from gptimage.workers.job import Job
from gptimage.workers.job_store import Desk, DeskError, change
from gptimage.workers.result import JobResult


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
    desk: Desk,
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
    found = Claim.of(desk, job, lease)
    if isinstance(found, Entry):
        return JobResult.of(_late(found, job, client, desk), now=desk.now())
    with found as claim:
        return _Work(job=job, client=client, desk=desk, claim=claim).run()


def _late(entry: Entry, job: Job, client: ImageClient, desk: Desk) -> Entry:
    """A parked job is done after all when its pictures have turned up since."""
    if entry.state != "parked":
        return entry
    try:
        answer = earlier(client, job, entry)
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
    desk: Desk
    claim: Claim

    def run(self) -> JobResult:
        try:
            answer = earlier(self.client, self.job, self.claim.entry)
            if answer is None and self.claim.sent:
                lost = f"{self.claim.entry.reason}, and its reply is nowhere to be found"
                return self._told(self.claim.parked(lost))
        except (CacheError, StoreError) as error:
            return self._wait(f"{type(error).__name__}: {error}")
        try:
            answer = answer or ask(self.client.gated(self.claim), self.job)
        except ClaimLostError:
            return self._told(None)
        except GptImageError as error:
            return self._broke(error)
        except BaseException as error:
            with suppress(DeskError):  # what happened is told in any case
                self._broke(error)
            raise
        return self._done(answer)

    def _done(self, answer: Answer) -> JobResult:
        """The pictures are in the store; if the desk cannot be told, they are found there later."""
        try:
            entry = self.claim.done(answer)
        except DeskError as error:
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
        copies = f" (copies: {', '.join(error.rescued)})" if error.rescued else ""
        copied = len(error.rescued) + len(result.stored) >= len(result.images)
        kept = copied or waits(self.client, self.claim.key)
        told = f"the pictures are there, but not saved: {reason}{copies}"
        try:
            answer = self._wait(told)
        except DeskError as broken:
            error.add_note(f"the job {self.job.id} could not be noted as not saved: {broken}")
            raise error from broken
        if not kept:
            error.add_note("no copy is on any disk of this machine: save .result yourself")
            raise error
        return answer

    def _wait(self, reason: str) -> JobResult:
        """Whoever gets the job next looks again for what was paid."""
        return self._told(self.claim.released(reason), retry_after=_PAUSE)

    def _told(self, entry: Entry | None, *, retry_after: float | None = None) -> JobResult:
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
    passing = (RateLimitError, ServerError, DeskError, StoreError)
    return isinstance(error, passing) and not isinstance(error, ImageNotFoundError)
