"""What both batch handles share: a job, its client's side, and the steps between the waits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from attrs import field, frozen

from gptimage._batch_flow import Flow, Limits, adopt, digest_of, look, prepare, submit
from gptimage._batch_read import Collector, entry_of, not_ended
from gptimage._batch_state import State, Status
from gptimage._core import Core
from gptimage._http import HttpReply, HttpRequest
from gptimage._keep import Keeper
from gptimage._many_rules import Asked
from gptimage._meter import Meter
from gptimage.budget import Reservation
from gptimage.errors import ConfigurationError, GptImageError, InvalidRequestError
from gptimage.ports import AsyncDownload, Download
from gptimage.providers.openai_batch import BatchPart


StatePath: TypeAlias = str | os.PathLike[str]
Watch: TypeAlias = bool | Callable[[Status], None]
"""True shows each change on standard error; a function is called with each status."""


@frozen(kw_only=True)
class BatchLine:
    """What a `Batch` needs of its client.

    Attributes:
        keeper: Its settings, and its store.
        meter: Its budget and ledger.
        send: Sends a request once.
        download: Sends a request and returns at the head of the answer.
    """

    keeper: Keeper
    meter: Meter
    send: Callable[[HttpRequest], HttpReply]
    download: Callable[[HttpRequest], Download]


@frozen(kw_only=True)
class AsyncBatchLine:
    """`BatchLine` for an `AsyncBatch`."""

    keeper: Keeper
    meter: Meter
    send: Callable[[HttpRequest], Awaitable[HttpReply]]
    download: Callable[[HttpRequest], Awaitable[AsyncDownload]]


@frozen(kw_only=True)
class Job:
    """One job: its state, and what is reserved for it."""

    keeper: Keeper
    meter: Meter
    state: State
    reservations: dict[int, Reservation] = field(factory=dict[int, Reservation], repr=False)

    @property
    def core(self) -> Core:
        """The client's settings."""
        return self.keeper.core

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its batches; of those that are submitted."""
        return tuple(part.batch_id for part in self.state.parts if part.batch_id)

    def submitting(self) -> Flow[None]:
        """Reserve the money, then submit what is not submitted yet.

        Raises:
            BudgetExceededError: It could cross the budget; nothing was submitted.
        """
        with self.state.alone():
            fresh = State.load(self.state.path)  # another process may have been here
            self.state.parts, self.state.ready = fresh.parts, fresh.ready
            self._reserve()
            yield from submit(self.core, self.state)

    def looking(self) -> Flow[Status]:
        """How far it is; whatever is not submitted yet is submitted first."""
        if len(self.ids) < len(self.state.parts) or not self.state.ready:
            yield from self.submitting()
        total = sum(part.lines for part in self.state.parts)
        return (yield from look(self.core, self.ids, total))

    def collector(self, status: Status) -> Collector:
        """What reads its results.

        Raises:
            InvalidRequestError: It has not ended.
        """
        if not status.ended:
            raise not_ended(status)
        return Collector(self.keeper, self.state, status)

    def settle(self, collector: Collector) -> None:
        """Everything was read: say what each part cost."""
        for number, (part, entry, ending) in enumerate(collector.endings()):
            if part.settled or not part.entered:  # a batch known by its id alone has no row
                continue
            if self.meter.ledger is not None:
                self.meter.ledger.end(entry, ending)
            elif number in self.reservations:
                self.reservations.pop(number).end(ending)
            part.settled = True
        self.state.save()

    def _reserve(self) -> None:
        made: list[Reservation] = []
        for number, part in enumerate(self.state.parts):
            if part.entered or part.batch_id or part.intended:
                continue
            entry = entry_of(self.state, number)
            amount = None if part.reserved is None else Decimal(part.reserved)
            try:
                if self.meter.budget is not None:
                    now = self.core.clock()
                    made.append(self.meter.budget.reserve(amount, on=now, note=entry))
                    self.reservations[number] = made[-1]
                elif self.meter.ledger is not None:
                    self.meter.ledger.begin(entry)
            except GptImageError:
                for reservation in made:
                    reservation.release()
                raise
        for part in self.state.parts:
            part.entered = True
        self.state.save()


def beginning(
    line: BatchLine | AsyncBatchLine,
    requests: Iterable[Asked],
    path: StatePath | None,
    metadata: Mapping[str, str],
    limits: Limits,
) -> Flow[Job]:
    """The job for these requests, submitted: a new one, or the one of the state file.

    Raises:
        ConfigurationError: The state file belongs to other requests.
    """
    core = line.keeper.core
    if path is not None and Path(path).exists() and (state := State.load(path)).ready:
        if state.digest != digest_of(core, requests):
            raise ConfigurationError(
                f"{path} belongs to a batch of other requests: use another file, or remove it "
                "once its results are collected"
            )
    else:
        state = State.new(path, core.clock(), core.endpoint, dict(metadata))
        yield from prepare(core, state, requests, limits)
    job = Job(keeper=line.keeper, meter=line.meter, state=state)
    yield from job.submitting()
    return job


def reopening(line: BatchLine | AsyncBatchLine, path: StatePath) -> Job:
    """The job of a state file.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It belongs to another service.
    """
    state = State.load(path)
    if state.endpoint != line.keeper.core.endpoint:
        raise ConfigurationError(
            f"{path} belongs to a batch at {state.endpoint}, "
            f"and this client asks {line.keeper.core.endpoint}"
        )
    return Job(keeper=line.keeper, meter=line.meter, state=state)


def adopting(line: BatchLine | AsyncBatchLine, batch_id: str) -> Flow[tuple[State, BatchPart]]:
    """A batch by its id alone: where its input file is."""
    core = line.keeper.core
    status = yield from look(core, (batch_id,), 0)
    part = status.parts[0]
    if part.input_file_id is None:
        raise InvalidRequestError(
            f"the batch {batch_id} names no input file", field="batch", value=batch_id
        )
    return State.new(None, core.clock(), core.endpoint, {}), part


def adopted(line: BatchLine | AsyncBatchLine, state: State, part: BatchPart, data: bytes) -> Job:
    """The job for a batch whose input file was fetched.

    Raises:
        InvalidRequestError: Its file holds no requests for pictures.
    """
    try:
        adopt(line.keeper.core, state, part.id, data, part)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidRequestError(
            f"the batch {part.id} is not one of pictures ({error!r})", field="batch", value=part.id
        ) from error
    state.save()
    return Job(keeper=line.keeper, meter=line.meter, state=state)


def content(file_id: str) -> HttpRequest:
    """The content of a file."""
    return HttpRequest(method="GET", path=f"/files/{file_id}/content")


def is_id(where: StatePath) -> bool:
    """Whether this is a batch's id rather than a state file."""
    return isinstance(where, str) and where.startswith("batch_") and not where.endswith(".json")


class Watcher:
    """Shows the progress of a batch.

    Args:
        watch: See `Watch`.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._last = ""

    def __call__(self, status: Status) -> None:
        """Take note of a status."""
        if callable(self._watch):
            self._watch(status)
        elif self._watch and self._last != str(status):
            self._last = str(status)
            sys.stderr.write(f"batch {self._last}\n")
            sys.stderr.flush()


def deadline(timeout: float | None) -> float | None:
    """When waiting ends, on the monotonic clock."""
    return None if timeout is None else time.monotonic() + timeout


def pause(poll: float, until: float | None, status: Status) -> float:
    """Seconds until the next look.

    Raises:
        TimeoutError: The time is up.
    """
    if until is None:
        return poll
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"the batch has not ended yet ({status}); it goes on at the service")
    return min(poll, left)
