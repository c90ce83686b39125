"""Makes batches, each one once: the intention is on disk before the request is sent.

Creating a batch is the one request of a job that costs money, and the service has no key that
would make it harmless to send twice. So a lost response is looked for among the service's batches,
by the id of its file and by our mark in its metadata. What is there was made. What is not there
stays in doubt until `SETTLED` after our connection was over: how soon the list shows a batch is
not documented, and a proxy may hold a request back. Then it is looked for once more, and only if
it is still not there it is requested again.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Final

from gptimage._internal.json import table
from gptimage.batch.events import BatchEvents
from gptimage.batch.prepare import MARK
from gptimage.batch.state import Part, State
from gptimage.batch.steps import Steps, good, json_of, listed, upload
from gptimage.batch.uploads import input_file
from gptimage.engine.config import DEFAULT_TIMEOUT, ClientConfig
from gptimage.errors import (
    ConfigurationError,
    GptImageError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.providers.openai import batches
from gptimage.transport.billing import verdict
from gptimage.transport.http import FilePart, HttpReply, HttpRequest


SETTLED: Final = timedelta(minutes=10)
"""A batch the service does not list so long after our connection was over was never made."""

_CONNECTION: Final = timedelta(seconds=DEFAULT_TIMEOUT)
"""How long our connection may have been open, when the process that sent is gone."""

_SEARCH_DELAYS: Final = (2.0, 5.0, 10.0)
"""Seconds before each look for a batch whose response was lost."""


def submit(core: ClientConfig, state: State, events: BatchEvents) -> Steps[None]:
    """Submit what is not submitted yet.

    Raises:
        OutcomeUnknownError: A batch may or may not have been made; a later call finds out.
        ApiError: The service refused.
    """
    if not state.ready:
        raise ConfigurationError(
            f"{state.path} was still being written when its process ended, nothing was "
            "submitted: submit the same requests again with this file"
        )
    for number, part in enumerate(state.parts):
        if part.batch_id is None:
            try:
                yield from _submit(core, state, events, number)
            except GptImageError as error:
                events.not_submitted(number, error)
                _emit_rest(state, error)
                raise


def _submit(core: ClientConfig, state: State, events: BatchEvents, number: int) -> Steps[None]:
    part = state.parts[number]
    if part.unconfirmed_since is not None:  # an earlier process was interrupted while it sent
        found = yield from _find(core, state, number)
        if found is not None:
            _made(state, events, number, found)
            return
        if core.clock() < part.unconfirmed_since + SETTLED:
            raise _unconfirmed(core, state, part)
        _settle(state, part)
    if part.file_id is None:
        part.file_id = yield from _upload(core, state, events, number)
    yield from _create(core, state, events, number)


def _upload(core: ClientConfig, state: State, events: BatchEvents, number: int) -> Steps[str]:
    name = f"gptimage-{state.name[:8]}-{number}.jsonl"
    with input_file(state, number) as path:
        file = FilePart(name="file", filename=name, content_type="application/jsonl", path=path)
        request = batches.upload(file, "batch")
        return (yield from upload(core, request, events.retrying(number)))


def _create(core: ClientConfig, state: State, events: BatchEvents, number: int) -> Steps[None]:
    """Ask for a batch; again only when it surely was not made."""
    part = state.parts[number]
    metadata = {**state.metadata, MARK: _mark(state, number)}
    request = batches.create(part.file_id or "", part.path, metadata)
    for attempt in itertools.count(1):
        _mark_unconfirmed(state, part, core.clock() + _CONNECTION)
        events.sent(number, attempt)
        outcome = yield from _once(request)
        found = _id(outcome)
        if found is None and _may_exist(outcome):
            _mark_unconfirmed(state, part, core.clock())
            found = yield from _search(core, state, number)
            if found is None and not _is_turned_away(outcome):
                raise _unconfirmed(core, state, part)
        if found is not None:
            _made(state, events, number, found)
            return
        _settle(state, part)
        yield _retry_delay(core, events, number, attempt, outcome)


def _once(request: HttpRequest) -> Steps[HttpReply | TransportError | None]:
    """Send what costs money once; None when the response was lost."""
    try:
        reply: HttpReply = yield request
    except OutcomeUnknownError:
        return None
    except TransportError as error:  # never sent
        return error
    return reply


def _may_exist(outcome: HttpReply | TransportError | None) -> bool:
    """Return whether a batch may have been made although no batch came back."""
    if isinstance(outcome, HttpReply):
        return verdict(outcome) in ("answered", "unknown", "free") and outcome.status != 429
    return outcome is None


def _is_turned_away(outcome: HttpReply | TransportError | None) -> bool:
    """Return whether the service refused because it is overloaded."""
    return isinstance(outcome, HttpReply) and verdict(outcome) == "free"


def _retry_delay(
    core: ClientConfig,
    events: BatchEvents,
    number: int,
    attempt: int,
    outcome: HttpReply | TransportError | None,
) -> float:
    """Return seconds until a batch that was surely not made is asked for again.

    Raises:
        ApiError: The service refused for good.
        TransportError: It was not reached.
    """
    if outcome is None:
        raise AssertionError("unreachable: it is in doubt")
    delay = core.delay(attempt, outcome)
    if delay is not None:
        events.retrying(number)(delay, outcome)
        return delay
    if isinstance(outcome, TransportError):
        raise outcome
    good(core, outcome)
    raise AssertionError("unreachable: it is a refusal")


def _search(core: ClientConfig, state: State, number: int) -> Steps[str | None]:
    """Look for a batch whose response was lost."""
    for seconds in _SEARCH_DELAYS:
        yield seconds
        try:
            found = yield from _find(core, state, number)
        except GptImageError as error:
            raise _unconfirmed(core, state, state.parts[number]) from error
        if found is not None:
            return found
    return None


def _find(core: ClientConfig, state: State, number: int) -> Steps[str | None]:
    """Return the batch made of a part's file, among those made since the job was begun."""
    since = (state.created - timedelta(hours=1)).timestamp()
    mark, file_id = _mark(state, number), state.parts[number].file_id
    for batch in (yield from listed(core, since)):
        is_ours = table(batch.get("metadata")).get(MARK) == mark
        if is_ours or (file_id is not None and batch.get("input_file_id") == file_id):
            return str(batch["id"])
    return None


def _id(outcome: HttpReply | TransportError | None) -> str | None:
    if not isinstance(outcome, HttpReply) or not 200 <= outcome.status < 300:
        return None
    made = batches.part_of(json_of(outcome))
    return made.id if made else None


def _mark(state: State, number: int) -> str:
    return f"{state.name}-{number}"


def _mark_unconfirmed(state: State, part: Part, until: datetime) -> None:
    """From now on it may have been made."""
    part.unconfirmed_since = until
    state.save()


def _settle(state: State, part: Part) -> None:
    """Note that the batch was not made."""
    part.unconfirmed_since = None
    state.save()


def _made(state: State, events: BatchEvents, number: int, batch_id: str) -> None:
    state.parts[number].batch_id = batch_id
    state.save()
    events.submitted(number, batch_id)


def _unconfirmed(core: ClientConfig, state: State, part: Part) -> OutcomeUnknownError:
    state.make_permanent()
    left = (part.unconfirmed_since or core.clock()) + SETTLED - core.clock()
    minutes = max(1, -(-int(left.total_seconds()) // 60))
    return OutcomeUnknownError(
        "a batch was submitted but its response was lost, and the service does not list it (yet): "
        f"go on with {state.path} in {minutes} minutes; it is looked for then, and submitted "
        "again only if it was never accepted"
    )


def _emit_rest(state: State, error: GptImageError) -> None:
    """Add to an error which batches were made, so that they are not lost."""
    made = sum(part.batch_id is not None for part in state.parts)
    if made:
        state.make_permanent()
        progress = f"{made} of {len(state.parts)} batches are submitted, go on with {state.path}"
        error.args = (f"{error}; {progress}",)
