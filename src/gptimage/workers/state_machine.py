"""What may happen to a job, as pure functions: an entry before, and the entry after.

A job that is ``open``, ``failed`` (when retryable) or unknown may be claimed. A claim whose worker
died before its request left is claimed anew. One whose request left, or was about to, is
inherited: the heir looks for the reply and parks the job if there is none; it never asks.

A worker counts as dead when its time ran out. One that only slept is kept from sending by its
name, which is no longer on the entry; what it brings home late is taken all the same, and then
the gate is closed to whoever has the job meanwhile.

None says: that is not yours to do.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from gptimage.errors import InvalidRequestError
from gptimage.models.pricing import format_usd
from gptimage.workers.job import Job, JobAnswer, JobRecord, JobState


MAX_CRASHES: Final = 5
"""A job that took so many workers with it before anything was sent is not given to another."""


@frozen(kw_only=True)
class Worker:
    """Who does something, and when.

    Attributes:
        name: ``machine:process:random``; nobody else has it.
        now: The time, by the desk's clock.
        lease: Seconds until it counts as dead.
    """

    name: str
    now: float
    lease: float


def claim(entry: JobRecord | None, job: Job, worker: Worker) -> JobRecord:
    """The entry after a worker asked for a job; it has it if its name is on it.

    Raises:
        InvalidRequestError: The id belongs to another request.
    """
    if entry is None:
        return _taken(JobRecord(id=job.id, request=job.text, state="open", at=worker.now), worker)
    if entry.request != job.text:
        raise InvalidRequestError(
            f"id: {job.id} is the id of another request already; a new request needs a new id",
            field="id",
            value=job.id,
            allowed="an id that was not used before",
        )
    if entry.abandoned(worker.now):
        return _inherited(entry, worker)
    if entry.state == "open" or (entry.state == "failed" and entry.retryable):
        return _taken(evolve(entry, attempt=entry.attempt + 1), worker)
    return entry


def heartbeat(entry: JobRecord | None, worker: Worker) -> JobRecord | None:
    """The worker is alive."""
    if entry is None or entry.holder != worker.name or not entry.held:
        return None
    return evolve(entry, until=worker.now + worker.lease)


def before_send(
    entry: JobRecord | None, worker: Worker, key: str, ceiling: Decimal | None
) -> JobRecord | None:
    """The request is about to leave."""
    alive = heartbeat(entry, worker)
    if alive is None:
        return None
    return evolve(alive, state="sending", key=key, possible_cost=ceiling, at=worker.now)


def not_billed(entry: JobRecord | None, worker: Worker) -> JobRecord | None:
    """What left was not billed."""
    alive = heartbeat(entry, worker)
    if alive is None:
        return None
    return evolve(alive, state="claimed", key=None, possible_cost=Decimal(0), at=worker.now)


def done(entry: JobRecord | None, answer: JobAnswer, now: float) -> JobRecord | None:
    """The pictures are in the store, whoever brought them and whoever has the job by now."""
    if entry is None or entry.state in ("done", "dropped"):
        return None
    return evolve(
        _let_go(entry, now),
        state="done",
        images=answer.images,
        cost=answer.cost,
        possible_cost=Decimal(0),
        reason=None,
        warnings=answer.warnings,
    )


def failed(
    entry: JobRecord | None, worker: Worker, reason: str, *, retryable: bool
) -> JobRecord | None:
    """It failed, and nothing was billed."""
    if heartbeat(entry, worker) is None or entry is None:
        return None
    return evolve(
        _let_go(entry, worker.now),
        state="failed",
        key=None,
        possible_cost=Decimal(0),
        reason=reason,
        retryable=retryable,
    )


def needs_review(entry: JobRecord | None, worker: Worker, reason: str) -> JobRecord | None:
    """It may have been billed, and there is no picture; the reason says up to how much."""
    if heartbeat(entry, worker) is None or entry is None:
        return None
    told = reason if entry.state == "claimed" else f"{reason}: {may_cost(entry.possible_cost)}"
    return evolve(_let_go(entry, worker.now), state="parked", reason=told)


def released(entry: JobRecord | None, worker: Worker, reason: str) -> JobRecord | None:
    """The worker lets go before the end; what left is looked for again by whoever is next."""
    if heartbeat(entry, worker) is None or entry is None:
        return None
    state: JobState = "sending" if entry.state == "sending" else "open"
    return evolve(_let_go(entry, worker.now), state=state, reason=reason)


def reopened(entry: JobRecord | None, id: str, now: float) -> JobRecord:
    """A person decided: it may be asked again, even if that pays a second time.

    Raises:
        InvalidRequestError: There is nothing to decide.
    """
    entry = _undecided(entry, id, now, "retried")
    return evolve(_let_go(entry, now), state="open", deaths=0, retryable=False)


def discarded(entry: JobRecord | None, id: str, now: float) -> JobRecord:
    """A person decided: it is given up.

    Raises:
        InvalidRequestError: There is nothing to decide.
    """
    return evolve(_let_go(_undecided(entry, id, now, "dropped"), now), state="dropped")


def may_cost(usd: Decimal | None) -> str:
    """What an unanswered request may have cost, in words."""
    if usd is None:
        return "it may have been billed, how much is not known"
    return f"it may have been billed up to {format_usd(usd)}"


def _taken(entry: JobRecord, worker: Worker) -> JobRecord:
    return evolve(
        entry,
        state="claimed",
        holder=worker.name,
        until=worker.now + worker.lease,
        at=worker.now,
        reason=None,
        retryable=False,
    )


def _inherited(entry: JobRecord, worker: Worker) -> JobRecord:
    """The job of a worker that died."""
    if entry.state == "sending":
        reason = entry.reason or f"its worker ({entry.holder}) was gone after the request had left"
        return evolve(entry, holder=worker.name, until=worker.now + worker.lease, reason=reason)
    deaths = entry.deaths + 1
    if deaths >= MAX_CRASHES:
        reason = f"{deaths} workers died with this job before anything was sent"
        return evolve(_let_go(entry, worker.now), state="failed", deaths=deaths, reason=reason)
    return _taken(evolve(entry, attempt=entry.attempt + 1, deaths=deaths), worker)


def _let_go(entry: JobRecord, now: float) -> JobRecord:
    return evolve(entry, holder="", until=0.0, at=now)


def _undecided(entry: JobRecord | None, id: str, now: float, what: str) -> JobRecord:
    if entry is None:
        problem = "the desk knows no such job"
    elif entry.state == "done":
        problem = f"it is done: {', '.join(entry.images)}"
    elif entry.held and not entry.abandoned(now):
        problem = f"{entry.holder} has it right now"
    else:
        return entry
    raise InvalidRequestError(
        f"id: {id} cannot be {what}: {problem}",
        field="id",
        value=id,
        allowed="a job that is parked, failed, dropped, or whose worker is gone",
    )
