"""The job behind both batch handles, and its steps between the waits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from gptimage._internal.keywords import file_path, one_of, refuse_unknown
from gptimage.batch.driver import Parts, ResultLine
from gptimage.batch.events import BatchEvents, entry_of
from gptimage.batch.prepare import FileLimits, check_metadata, digest_of, prepare
from gptimage.batch.results import Collector
from gptimage.batch.state import Part, State, private
from gptimage.batch.status import BatchStatus
from gptimage.batch.steps import Steps, get_status
from gptimage.batch.submit import submit
from gptimage.batch.uploads import RequestLine
from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome
from gptimage.budget.budget import Reservation
from gptimage.bulk.items import RequestInput, check_requests
from gptimage.engine.accounting import CallAccounting
from gptimage.engine.config import ClientConfig
from gptimage.engine.save import ResultSaver
from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.providers.openai.batches import MAX_BYTES, MAX_LINES, BatchPart
from gptimage.transport.base64_body import parse
from gptimage.types.request import BatchOptions


StatePath: TypeAlias = str | os.PathLike[str]


@frozen(kw_only=True)
class BatchJob:
    """One job: its state, and what is reserved for it."""

    saver: ResultSaver
    accounting: CallAccounting
    state: State
    reservations: dict[int, Reservation] = field(factory=dict[int, Reservation], repr=False)

    @property
    def core(self) -> ClientConfig:
        """The client's settings."""
        return self.saver.core

    @property
    def events(self) -> BatchEvents:
        """The client's observers."""
        return BatchEvents(self.accounting, self.state)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its batches; of those that are submitted."""
        return tuple(part.batch_id for part in self.state.parts if part.batch_id)

    def submit_rest(self) -> Steps[None]:
        """Reserve the money, then submit what is not submitted yet; nobody else does so meanwhile.

        Raises:
            BudgetExceededError: It could cross the budget; nothing was submitted.
        """
        self._reserve()
        try:
            yield from submit(self.core, self.state, self.events)
        except BaseException:
            self._release()
            raise

    def refresh_status(self) -> Steps[BatchStatus]:
        """Return how far it is; whatever is not submitted yet is submitted first."""
        if len(self.ids) < len(self.state.parts) or not self.state.ready:
            with self.state.exclusive():
                fresh = State.load(self.state.path)  # another process may have been here
                self.state.parts, self.state.ready = fresh.parts, fresh.ready
                yield from self.submit_rest()
        parts = self.state.parts
        total = sum(part.lines for part in parts)
        callbacks = map(self.events.retrying, range(len(parts)))
        return (yield from get_status(self.core, self.ids, total, callbacks))

    def collector(self, status: BatchStatus) -> Collector:
        """Return what reads its results.

        Raises:
            InvalidRequestError: It has not ended.
        """
        if not status.ended:
            raise InvalidRequestError(
                f"the batch has not ended ({status}): wait for it first",
                field="batch",
                value=status.state,
                allowed="completed, failed, expired or cancelled",
            )
        return Collector(self.saver, self.state, status, self.events)

    def settle(self, collector: Collector) -> None:
        """Settle what each part cost, once everything was read."""
        for number, (part, entry, ending) in enumerate(collector.endings()):
            if part.settled or not part.entered:  # a batch known by its id alone has no row
                continue
            if self.accounting.ledger is not None:
                self.accounting.ledger.end(entry, ending)
            elif number in self.reservations:
                self.reservations.pop(number).end(ending)
            part.settled = True
        self.state.save()

    def _reserve(self) -> None:
        """Enter every part that is to be submitted, or none."""
        made: dict[int, Reservation] = {}
        try:
            for number, part in enumerate(self.state.parts):
                if not (part.entered or part.batch_id or part.unconfirmed_since):
                    made |= self._entered(number)
        except BaseException:
            for reservation in made.values():
                reservation.release()
            raise
        self.reservations.update(made)
        for part in self.state.parts:
            part.entered = True
        self.state.save()

    def _entered(self, number: int) -> dict[int, Reservation]:
        entry, accounting = entry_of(self.state, number), self.accounting
        reserved = self.state.parts[number].reserved
        if accounting.budget is not None:
            return {number: accounting.budget.reserve(reserved, on=self.core.clock(), note=entry)}
        if accounting.ledger is None:
            return {}
        accounting.ledger.begin(entry)
        return {number: Reservation(accounting.ledger, entry)}

    def _release(self) -> None:
        """Give back what is reserved for parts that were surely not made."""
        for number, part in enumerate(self.state.parts):
            if part.entered and part.batch_id is None and part.unconfirmed_since is None:
                reservation = self.reservations.pop(number, None)
                if reservation is not None:
                    reservation.release()
                elif self.accounting.ledger is not None:
                    self.accounting.ledger.end(
                        entry_of(self.state, number), CallOutcome(billing=Billing.NOT_BILLED)
                    )
                part.entered = False
        if self.state.ready:
            self.state.save()


def create_or_resume(
    parts: Parts,
    requests: Iterable[RequestInput],
    options: BatchOptions,
) -> Steps[BatchJob]:
    """Return the job for these requests, submitted: a new one, or the one of the state file.

    Raises:
        ConfigurationError: The state file belongs to other requests, or is in use; or an option is
            unknown, or of the wrong kind.
    """
    refuse_unknown("submit_batch", options, BatchOptions.__annotations__)
    path, metadata = options.get("state"), options.get("metadata")
    if path is not None:
        file_path("state", path)
    if metadata is not None:
        one_of("metadata", metadata, Mapping, "a dict of texts")
    metadata = metadata or {}
    limits = FileLimits(
        lines=options.get("max_lines", MAX_LINES), size=options.get("max_bytes", MAX_BYTES)
    )
    core = parts.saver.core
    check_requests(requests)
    check_metadata(metadata)
    new = State.new(path, core.clock(), core.endpoint, dict(metadata))
    with new.exclusive():  # two processes that begin the same job must not both submit it
        old = State.load(new.path) if new.path.exists() else None
        if old is None or not old.ready:
            state = new
            yield from prepare(core, new, requests, limits)
        else:
            state = old
            _check_same(state, core, requests, metadata)
        job = BatchJob(saver=parts.saver, accounting=parts.accounting, state=state)
        yield from job.submit_rest()
    return job


def load(parts: Parts, path: StatePath) -> BatchJob:
    """Return the job of a state file.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It belongs to another service.
    """
    file_path("where", path)
    state = State.load(path)
    _check_endpoint(state, parts.saver.core)
    return BatchJob(saver=parts.saver, accounting=parts.accounting, state=state)


def is_id(where: StatePath) -> bool:
    """Return whether this is a batch's id rather than a state file."""
    return isinstance(where, str) and where.startswith("batch_") and not Path(where).suffix


def _check_same(
    state: State, core: ClientConfig, requests: Iterable[RequestInput], metadata: Mapping[str, str]
) -> None:
    _check_endpoint(state, core)
    other = "other requests" if state.digest != digest_of(core, requests) else ""
    if other or state.metadata != dict(metadata):
        raise ConfigurationError(
            f"{state.path} belongs to a batch of {other or 'other metadata'}: use another file, "
            "or remove it once its results are collected"
        )


def _check_endpoint(state: State, core: ClientConfig) -> None:
    if state.endpoint != core.endpoint:
        raise ConfigurationError(
            f"{state.path} belongs to a batch at {state.endpoint}, "
            f"and this client asks {core.endpoint}"
        )


# Taking over a batch of which only its id is known: its requests are read from its own file.


def recover_by_id(parts: Parts, batch_id: str) -> Steps[BatchPart]:
    """Return the batch of an id.

    Raises:
        ApiError: The service knows no such batch.
        InvalidRequestError: It names no file of requests.
    """
    status = yield from get_status(parts.saver.core, (batch_id,), 0)
    part = status.parts[0]
    if part.input_file_id is None:
        raise InvalidRequestError(
            f"the batch {batch_id} names no input file", field="batch", value=batch_id
        )
    return part


class BatchRecovery:
    """A batch whose file of requests is being read; close it.

    Args:
        parts: The client's side.
        part: The batch.
    """

    def __init__(self, parts: Parts, part: BatchPart) -> None:
        core = parts.saver.core
        self._parts = parts
        self._part = part
        self._state = State.new(None, core.clock(), core.endpoint, {})
        self._file = private(self._state.requests)
        self._seen: set[str] = set()

    def take(self, text: ResultLine) -> None:
        """One request; a file that was fetched twice brings some twice.

        Raises:
            InvalidRequestError: It is no request of a batch.
        """
        try:
            value = parse(text.raw).value
            name, path = str(value["custom_id"]), str(value["url"]).removeprefix("/v1")
            body: dict[str, Any] = dict(value["body"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._refused(error) from error
        if name not in self._seen:
            self._seen.add(name)
            self._add(path, body, len(text.rest))
            self._file.write(RequestLine(custom_id=name, part=0, body=body).line())

    def job(self) -> BatchJob:
        """Return the job, once everything was taken.

        Raises:
            InvalidRequestError: There was nothing.
        """
        if not self._state.parts:
            raise self._refused("it is empty")
        self._file.close()
        self._state.ready = True
        self._state.save()
        parts = self._parts
        return BatchJob(saver=parts.saver, accounting=parts.accounting, state=self._state)

    def close(self) -> None:
        """Close the file of requests; harmless when done twice."""
        self._file.close()

    def _add(self, path: str, body: dict[str, Any], size: int) -> None:
        if not self._state.parts:
            part = Part(path=path, model=str(body.get("model")), batch_id=self._part.id)
            part.file_id = self._part.input_file_id
            self._state.parts.append(part)
        self._state.parts[0].add(size, 1, None, None)

    def _refused(self, why: object) -> InvalidRequestError:
        return InvalidRequestError(
            f"the batch {self._part.id} is not one of images ({why!r})",
            field="batch",
            value=self._part.id,
        )
