"""`JobStore`: remembers what became of every job, for as many workers as it reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from attrs import evolve

from gptimage.errors import ConfigurationError
from gptimage.workers import state_machine
from gptimage.workers.job import JobRecord


class JobStoreError(ConfigurationError):
    """The desk cannot be read or written. No request leaves meanwhile; try again later.

    It is a class of its own because waiting helps, as it does with no other configuration.
    """


@runtime_checkable
class JobStore(Protocol):
    """Keeps one `JobRecord` for each job. It decides nothing: the rules are in ``rules.py``.

    Safe for many threads, processes and, where it says so, machines; an object may be used
    after a fork, in both processes. Whatever fails is a `JobStoreError`. What `swap` has written is
    there after a crash of any worker.
    """

    def now(self) -> float:
        """The Unix time in seconds, by a clock that all who share the desk agree on."""
        ...

    def read(self, id: str) -> JobRecord | None:
        """What is known of a job; None when nothing is."""
        ...

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write an entry if nobody wrote another one meanwhile.

        Writing the very same entry twice succeeds, so that a lost answer does no harm.

        Args:
            before: What was read; None when nothing was there.
            after: What to write; its revision is one higher, or 1.

        Returns:
            Whether it is written.
        """
        ...

    def entries(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """What is known of all jobs that are not settled, those changed longest ago first.

        Args:
            settled: Also those that are done, failed or dropped, after the others.
        """
        ...

    def close(self) -> None:
        """Release files and connections; the desk may still be used."""
        ...


def change(
    desk: JobStore, id: str, rule: Callable[[JobRecord | None], JobRecord | None]
) -> JobRecord | None:
    """Apply a rule to what a desk knows of a job, again when somebody else was quicker.

    Args:
        desk: The desk.
        id: The job's id.
        rule: Gives the entry that follows; the same one or None writes nothing.

    Returns:
        What the rule gave.

    Raises:
        DeskError: The desk cannot be read or written.
    """
    while True:
        before = desk.read(id)
        after = rule(before)
        if after is None or after == before:
            return after
        after = evolve(after, revision=before.revision + 1 if before else 1)
        if desk.compare_and_swap(before, after):
            return after


def retry(desk: JobStore, id: str) -> JobRecord:
    """Let a job be asked again when it is delivered next, even if that pays a second time.

    Should its pictures turn up after all, in the store or in the cache, they are taken from
    there, and nothing is paid.

    Args:
        desk: The desk.
        id: The job's id.

    Raises:
        InvalidRequestError: It is done, a worker has it, or there is no such job.
        DeskError: The desk cannot be read or written.
    """
    entry = change(desk, id, lambda entry: state_machine.reopened(entry, id, desk.now()))
    assert entry is not None  # noqa: S101  # the rule always gives one
    return entry


def discard(desk: JobStore, id: str) -> JobRecord:
    """Give a job up: delivered again, it is not asked.

    Args:
        desk: The desk.
        id: The job's id.

    Raises:
        InvalidRequestError: It is done, a worker has it, or there is no such job.
        DeskError: The desk cannot be read or written.
    """
    entry = change(desk, id, lambda entry: state_machine.discarded(entry, id, desk.now()))
    assert entry is not None  # noqa: S101  # the rule always gives one
    return entry
