"""`JobStore`: the state of every job, for as many workers as can reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from attrs import evolve

from gptimage.errors import ConfigurationError
from gptimage.workers import state_machine
from gptimage.workers.job import JobRecord


class JobStoreError(ConfigurationError):
    """The job store cannot be read or written. No request is sent meanwhile; try again later.

    It is a class of its own because waiting helps, as it does with no other configuration.
    """


def read_record(text: str | bytes, where: object) -> JobRecord:
    """Read the record of a job.

    Args:
        text: As it lies in the job store.
        where: What the job store is called in an error.

    Raises:
        JobStoreError: It is damaged.
    """
    try:
        return JobRecord.from_text(text)
    except ValueError as error:
        raise JobStoreError(f"{where} has a damaged record: {error}") from error


@runtime_checkable
class JobStore(Protocol):
    """Storage of one `JobRecord` for each job; it decides nothing.

    Safe for many threads, processes and, where it says so, machines; an object may be used
    after a fork, in both processes. Whatever fails is a `JobStoreError`. What `compare_and_swap`
    has written is there after a crash of any worker.
    """

    def now(self) -> float:
        """Return the Unix time in seconds, by a clock that all workers agree on."""
        ...

    def read(self, id: str) -> JobRecord | None:
        """Return the record of a job, or None."""
        ...

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write a record unless another one was written meanwhile.

        Writing the very same record twice succeeds, so that a lost response does no harm.

        Args:
            before: What was read; None when nothing was there.
            after: What to write; its revision is one higher, or 1.

        Returns:
            Whether it is written.
        """
        ...

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """Return the records of all jobs that are not settled, those changed longest ago first.

        Args:
            settled: Also those that are done, failed or discarded, after the others.
        """
        ...

    def close(self) -> None:
        """Release files and connections; the job store may still be used."""
        ...


def change(
    job_store: JobStore, id: str, rule: Callable[[JobRecord | None], JobRecord | None]
) -> JobRecord | None:
    """Apply a transition to a job, again when another worker was quicker.

    Args:
        job_store: The job store.
        id: The job's id.
        rule: Returns the record that follows; the same one or None writes nothing.

    Returns:
        What the rule returned.

    Raises:
        JobStoreError: The job store cannot be read or written.
    """
    # Optimistic locking: a worker that dies here leaves no lock behind.
    while True:
        before = job_store.read(id)
        after = rule(before)
        if after is None or after == before:
            return after
        after = evolve(after, revision=before.revision + 1 if before else 1)
        if job_store.compare_and_swap(before, after):
            return after


def retry(job_store: JobStore, id: str) -> JobRecord:
    """Let a job be sent again when it is delivered next, even if that pays a second time.

    Should its images turn up after all, in the store or in the cache, they are used, and nothing
    is paid.

    Args:
        job_store: The job store.
        id: The job's id.

    Raises:
        InvalidRequestError: It is done, a worker has it, or there is no such job.
        JobStoreError: The job store cannot be read or written.
    """
    return _decide(job_store, id, state_machine.reopened)


def discard(job_store: JobStore, id: str) -> JobRecord:
    """Give a job up: delivered again, it is not sent.

    Args:
        job_store: The job store.
        id: The job's id.

    Raises:
        InvalidRequestError: It is done, a worker has it, or there is no such job.
        JobStoreError: The job store cannot be read or written.
    """
    return _decide(job_store, id, state_machine.discarded)


def _decide(
    job_store: JobStore, id: str, rule: Callable[[JobRecord | None, str, float], JobRecord]
) -> JobRecord:
    record = change(job_store, id, lambda record: rule(record, id, job_store.now()))
    assert record is not None  # noqa: S101  # both rules return one or raise
    return record
