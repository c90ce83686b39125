"""The states of a job as pure functions: a record before, and the record after.

A job that is ``open``, ``failed`` (when retryable) or new may be claimed. A claim whose worker
died before its request was sent is claimed anew. One whose request was sent, or was about to be,
is taken over: the next worker looks for the reply, and the job needs review if there is none; the
request is never sent again by itself.

A worker counts as dead when its lease is over. One that only slept cannot send any more, because
the record no longer has its name; what it delivers late is accepted all the same, and then the
send hook stops whoever has the job meanwhile.

A function returns None if the transition is not allowed for this worker.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from gptimage.errors import InvalidRequestError
from gptimage.models.pricing import may_have_cost
from gptimage.workers.job import Job, JobOutput, JobRecord, JobState


MAX_CRASHES: Final = 5
"""A job that killed so many workers before anything was sent is not given to another."""


@frozen(kw_only=True)
class Worker:
    """The worker that acts, and the time.

    Attributes:
        name: ``machine:process:random``; no other worker has it.
        now: The time, by the job store's clock.
        lease: Seconds until it counts as dead.
    """

    name: str
    now: float
    lease: float


def claim(record: JobRecord | None, job: Job, worker: Worker) -> JobRecord:
    """Return the record after a worker wanted a job; it has it if the record has its name.

    Raises:
        InvalidRequestError: The id belongs to another request.
    """
    if record is None:
        new = JobRecord(id=job.id, request=job.text, state="open", at=worker.now)
        return _claimed(new, worker)
    if record.request != job.text:
        raise InvalidRequestError(
            f"id: {job.id} is the id of another request already; a new request needs a new id",
            field="id",
            value=job.id,
            allowed="an id that was not used before",
        )
    if record.abandoned(worker.now):
        return _taken_over(record, worker)
    if record.state == "open" or (record.state == "failed" and record.retryable):
        return _claimed(evolve(record, attempt=record.attempt + 1), worker)
    return record


def heartbeat(record: JobRecord | None, worker: Worker) -> JobRecord | None:
    """Extend the lease."""
    if record is None or record.owner != worker.name or not record.owned:
        return None
    return evolve(record, until=worker.now + worker.lease)


def before_send(
    record: JobRecord | None, worker: Worker, key: str, max_cost: Decimal | None
) -> JobRecord | None:
    """Record that the request is about to be sent."""
    alive = heartbeat(record, worker)
    if alive is None:
        return None
    # From here on it may be billed: a crash between this line and the reply needs review.
    return evolve(alive, state="sending", key=key, possible_cost=max_cost, at=worker.now)


def not_billed(record: JobRecord | None, worker: Worker) -> JobRecord | None:
    """Record that the request that was sent was not billed."""
    alive = heartbeat(record, worker)
    if alive is None:
        return None
    return evolve(alive, state="claimed", key=None, possible_cost=Decimal(0), at=worker.now)


def done(record: JobRecord | None, output: JobOutput, now: float) -> JobRecord | None:
    """Record that the images are in the store, whichever worker saved them."""
    # No owner is asked for: images are paid, and a late worker's are as good as any.
    if record is None or record.state in ("done", "discarded"):
        return None
    return evolve(
        _released(record, now),
        state="done",
        images=output.images,
        cost=output.cost,
        possible_cost=Decimal(0),
        reason=None,
        warnings=output.warnings,
    )


def failed(
    record: JobRecord | None, worker: Worker, reason: str, *, retryable: bool
) -> JobRecord | None:
    """Record that it failed, and nothing was billed."""
    if heartbeat(record, worker) is None or record is None:
        return None
    return evolve(
        _released(record, worker.now),
        state="failed",
        key=None,
        possible_cost=Decimal(0),
        reason=reason,
        retryable=retryable,
    )


def needs_review(record: JobRecord | None, worker: Worker, reason: str) -> JobRecord | None:
    """Record that it may have been billed, and there is no image."""
    if heartbeat(record, worker) is None or record is None:
        return None
    if record.state != "claimed":
        cost = may_have_cost(record.possible_cost)
        reason = reason if cost in reason else f"{reason}: {cost}"
    return evolve(_released(record, worker.now), state="needs_review", reason=reason)


def released(record: JobRecord | None, worker: Worker, reason: str) -> JobRecord | None:
    """Record that the worker stops before the end; the next one looks for the reply first."""
    if heartbeat(record, worker) is None or record is None:
        return None
    state: JobState = "sending" if record.state == "sending" else "open"
    return evolve(_released(record, worker.now), state=state, reason=reason)


def reopened(record: JobRecord | None, id: str, now: float) -> JobRecord:
    """Record a person's decision: it may be sent again, even if that pays a second time.

    Raises:
        InvalidRequestError: There is nothing to decide.
    """
    record = _undecided(record, id, now, "retried")
    return evolve(_released(record, now), state="open", crash_count=0, retryable=False)


def discarded(record: JobRecord | None, id: str, now: float) -> JobRecord:
    """Record a person's decision: it is given up.

    Raises:
        InvalidRequestError: There is nothing to decide.
    """
    return evolve(_released(_undecided(record, id, now, "discarded"), now), state="discarded")


def _claimed(record: JobRecord, worker: Worker) -> JobRecord:
    return evolve(
        record,
        state="claimed",
        owner=worker.name,
        until=worker.now + worker.lease,
        at=worker.now,
        reason=None,
        retryable=False,
    )


def _taken_over(record: JobRecord, worker: Worker) -> JobRecord:
    """Return the record of a job whose worker died, with this worker's name."""
    if record.state == "sending":
        reason = record.reason or f"its worker ({record.owner}) died after the request was sent"
        return evolve(record, owner=worker.name, until=worker.now + worker.lease, reason=reason)
    crashes = record.crash_count + 1
    if crashes >= MAX_CRASHES:
        reason = f"{crashes} workers died with this job before anything was sent"
        return evolve(
            _released(record, worker.now), state="failed", crash_count=crashes, reason=reason
        )
    return _claimed(evolve(record, attempt=record.attempt + 1, crash_count=crashes), worker)


def _released(record: JobRecord, now: float) -> JobRecord:
    return evolve(record, owner="", until=0.0, at=now)


def _undecided(record: JobRecord | None, id: str, now: float, what: str) -> JobRecord:
    if record is None:
        problem = "the job store has no such job"
    elif record.state == "done":
        problem = f"it is done: {', '.join(record.images)}"
    elif record.owned and not record.abandoned(now):
        problem = f"{record.owner} has it right now"
    else:
        return record
    raise InvalidRequestError(
        f"id: {id} cannot be {what}: {problem}",
        field="id",
        value=id,
        allowed="a job that needs review, failed, was discarded, or whose worker died",
    )
