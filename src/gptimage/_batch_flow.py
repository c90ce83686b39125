"""What a batch job sends, step by step: generators that yield requests and pauses in seconds.

A driver sends each request and gives the reply back, or throws what went wrong; the blocking
and the async handle drive the same generators. The order of writing and sending decides that
nothing is submitted twice: the intent to make a batch is on disk before its request is sent, and
a batch whose answer was lost is looked for among the service's batches, never sent again blindly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar, cast

from attrs import frozen

from gptimage._batch_state import Kept, Part, State, Status, write_kept
from gptimage._core import Core
from gptimage._http import HttpReply, HttpRequest
from gptimage._many_rules import Asked, planned
from gptimage._plan import Plan, plan
from gptimage._reply import parse
from gptimage.errors import (
    ConfigurationError,
    GptImageError,
    InvalidRequestError,
    MalformedReplyError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.providers import openai_batch
from gptimage.providers.openai_batch import BatchPart
from gptimage.providers.openai_errors import error_from_reply
from gptimage.retry import retry_after


ReturnT = TypeVar("ReturnT")
Flow: TypeAlias = Generator[HttpRequest | float, Any, ReturnT]
"""Yields a request and is sent its reply, or yields seconds to wait and is sent None."""

SETTLED: Final = timedelta(minutes=10)
"""A batch that the service does not list this long after its request was never accepted."""

_LOOKS: Final = (2.0, 5.0, 10.0)
"""Seconds before each look for a batch whose answer was lost."""


@frozen(kw_only=True)
class Limits:
    """How large one batch may be.

    Attributes:
        lines: Requests.
        size: Bytes of its file.
    """

    lines: int = openai_batch.MAX_LINES
    size: int = openai_batch.MAX_BYTES

    def __attrs_post_init__(self) -> None:
        """Refuse what the service would refuse."""
        for field, value, most in (
            ("max_lines", self.lines, openai_batch.MAX_LINES),
            ("max_bytes", self.size, openai_batch.MAX_BYTES),
        ):
            if not 1 <= value <= most:
                raise InvalidRequestError(
                    f"{field} is 1 to {most:,}", field=field, value=value, allowed=f"1 to {most:,}"
                )


def prepare(core: Core, state: State, requests: Iterable[Asked], limits: Limits) -> Flow[None]:
    """Check and write down every request, and upload its pictures. Costs nothing yet.

    Raises:
        InvalidRequestError: A request is wrong; nothing was submitted.
    """
    uploaded: dict[str, str] = {}
    digest, estimate = hashlib.sha256(), Decimal(0)
    known: bool = True
    state.save()
    with state.writing() as file:
        for number, asked in enumerate(requests):
            ready, tags = _batchable(core, asked, number)
            digest.update(ready.key.encode())
            ids: list[str] = []
            for part in openai_batch.pictures(ready.wire):
                key = hashlib.sha256(part.data).hexdigest()
                if key not in uploaded:
                    request = openai_batch.upload(
                        part.data, part.filename, part.content_type, "vision"
                    )
                    uploaded[key] = yield from _file_id(core, request)
                ids.append(uploaded[key])
            body = openai_batch.body_of(ready.wire, ids)
            line = openai_batch.line(str(number), ready.wire.path, body)
            kept = Kept(
                custom_id=str(number),
                part=_place(state, ready, line, limits),
                body=body,
                size=None if ready.exact is None else "x".join(map(str, ready.exact)),
                template=ready.request.template,
                tags=tags,
            )
            file.write(write_kept(kept))
            known = known and ready.estimate is not None
            estimate += ready.estimate.usd if ready.estimate else 0
    if not state.parts:
        raise InvalidRequestError("a batch needs at least one request", field="requests", value=())
    state.ready, state.digest = True, digest.hexdigest()
    state.estimate = str(estimate) if known else None
    state.save()


def digest_of(core: Core, requests: Iterable[Asked]) -> str:
    """The digest of requests, to see whether a state file belongs to them."""
    digest = hashlib.sha256()
    for number, asked in enumerate(requests):
        digest.update(_batchable(core, asked, number)[0].key.encode())
    return digest.hexdigest()


def submit(core: Core, state: State) -> Flow[None]:
    """Submit what is not submitted yet.

    Raises:
        OutcomeUnknownError: A batch may or may not have been made; later it can be told.
        ApiError: The service refused.
    """
    if not state.ready:
        raise ConfigurationError(
            f"{state.path} was still being written when its process ended, nothing was "
            "submitted: call submit_batch() again with the requests"
        )
    for number, part in enumerate(state.parts):
        if part.batch_id is None:
            yield from _submit(core, state, number, part)


def look(core: Core, ids: Iterable[str], total: int) -> Flow[Status]:
    """How far the batches are."""
    parts: list[BatchPart] = []
    for batch_id in ids:
        request = HttpRequest(method="GET", path=f"/batches/{batch_id}")
        parts.append(_part(_good(core, (yield from _ask(core, request)))))
    return Status(parts=tuple(parts), total=total or sum(part.total for part in parts))


def cancel(core: Core, status: Status) -> Flow[None]:
    """Cancel whatever has not ended."""
    for part in status.parts:
        if not part.ended and part.status != "cancelling":
            request = HttpRequest(method="POST", path=f"/batches/{part.id}/cancel")
            reply = yield from _ask(core, request)
            if reply.status != 409:  # it ended in the meantime
                _good(core, reply)


def adopt(core: Core, state: State, batch_id: str, fetched: bytes, part: BatchPart) -> None:
    """Take over a batch of which there is no state, from its own input file."""
    del core
    with state.writing() as file:
        for text in fetched.splitlines():
            value = parse(text).value
            path = str(value["url"]).removeprefix("/v1")
            body: dict[str, Any] = value["body"]
            if not state.parts:
                state.parts.append(Part(path=path, model=str(body.get("model")), batch_id=batch_id))
            state.parts[0].add(text, None)
            file.write(write_kept(Kept(custom_id=str(value["custom_id"]), part=0, body=body)))
    state.ready = True
    state.parts[0].file_id = part.input_file_id


def _batchable(core: Core, asked: Asked, number: int) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a request with the prices of a batch."""
    try:
        ready, tags = planned(core, asked)
    except InvalidRequestError as error:
        error.args = (f"request {number}: {error}",)
        raise
    request = ready.request
    if request.stream or request.partial_images is not None:
        raise InvalidRequestError(
            f"request {number}: a batch cannot stream", field="partial_images", value=None
        )
    today = core.clock().date()
    again = plan(request, models=core.models, today=today, endpoint=core.endpoint, batch=True)
    return again, tags


def _place(state: State, ready: Plan, line: bytes, limits: Limits) -> int:
    """The number of the part a request goes to: one endpoint and one model each."""
    if len(line) > limits.size:
        raise InvalidRequestError(
            f"a request of {len(line):,} bytes is too large for a batch",
            field="requests",
            allowed=f"{limits.size:,} bytes",
        )
    for number in reversed(range(len(state.parts))):
        part = state.parts[number]
        if (part.path, part.model) != (ready.wire.path, ready.request.model):
            continue
        if part.lines < limits.lines and part.size + len(line) <= limits.size:
            part.add(line, ready.ceiling)
            return number
        break
    part = Part(path=ready.wire.path, model=ready.request.model)
    part.add(line, ready.ceiling)
    state.parts.append(part)
    return len(state.parts) - 1


def _submit(core: Core, state: State, number: int, part: Part) -> Flow[None]:
    if part.intended is not None:  # an earlier process was interrupted while it asked
        found = yield from _find(core, state, part)
        if found is None and core.clock() - datetime.fromisoformat(part.intended) < SETTLED:
            raise _undecided(state)
        part.batch_id = found
        if found is not None:
            state.save()
            return
    if part.file_id is None:
        name = f"gptimage-{state.name[:8]}-{number}.jsonl"
        file = openai_batch.upload(state.input_of(number), name, "application/jsonl", "batch")
        part.file_id = yield from _file_id(core, file)
    part.intended = core.clock().isoformat()
    state.save()
    metadata = {**state.metadata, "gptimage": f"{state.name}-{number}"}
    request = openai_batch.create(part.file_id, part.path, metadata)
    try:
        reply = yield from _ask(core, request)
    except OutcomeUnknownError:
        reply = None
    except GptImageError:  # never sent
        _take_back(state, part)
        raise
    if reply is not None and reply.status < 500:
        if reply.status >= 300:
            _take_back(state, part)
            raise error_from_reply(reply, retry_after(reply.headers, core.clock()))
        if (made := openai_batch.part_of(_json(reply))) is not None:
            part.batch_id = made.id
            state.save()
            return
    yield from _look_again(core, state, part)


def _look_again(core: Core, state: State, part: Part) -> Flow[None]:
    """Look for a batch whose answer was lost."""
    for seconds in _LOOKS:
        yield seconds
        try:
            part.batch_id = yield from _find(core, state, part)
        except GptImageError as error:
            raise _undecided(state) from error
        if part.batch_id is not None:
            state.save()
            return
    raise _undecided(state)


def _find(core: Core, state: State, part: Part) -> Flow[str | None]:
    """The batch made of a part's file, among those made since the job was begun."""
    since = (state.on - timedelta(hours=1)).timestamp()
    cursor = ""
    while True:
        request = HttpRequest(method="GET", path=f"/batches?limit=100{cursor}")
        page = _json(_good(core, (yield from _ask(core, request))))
        data = page.get("data")
        listed = cast("list[dict[str, Any]]", data if isinstance(data, list) else [])
        for batch in listed:
            if batch.get("input_file_id") == part.file_id:
                return str(batch["id"])
        oldest = listed[-1].get("created_at") if listed else None
        if not page.get("has_more") or not isinstance(oldest, int) or oldest < since:
            return None
        cursor = f"&after={listed[-1]['id']}"


def _undecided(state: State) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        "a batch was submitted but its answer was lost, and the service does not list it (yet): "
        f"open {state.path.name} again in {SETTLED.seconds // 60} minutes; it is looked for then, "
        "and submitted only if it was never accepted"
    )


def _take_back(state: State, part: Part) -> None:
    """It was surely not accepted."""
    part.intended = None
    state.save()


def _file_id(core: Core, request: HttpRequest) -> Flow[str]:
    """Upload a file; a second copy, after a lost answer, costs nothing."""
    value = _json(_good(core, (yield from _ask(core, request, free=True))))
    file_id = value.get("id")
    if not isinstance(file_id, str):
        raise ConfigurationError("the service's answer to an upload names no file: is it OpenAI's?")
    return file_id


def _ask(core: Core, request: HttpRequest, *, free: bool = False) -> Flow[HttpReply]:
    """Send with the client's patience; what is free may be sent again after a lost answer."""
    attempt = 0
    while True:
        attempt += 1
        outcome: HttpReply | TransportError
        try:
            outcome = yield request
        except OutcomeUnknownError as error:
            if not free and request.method != "GET":
                raise
            outcome = TransportError(str(error))
        except TransportError as error:
            outcome = error
        delay = core.delay(attempt, outcome)
        if delay is None:
            if isinstance(outcome, TransportError):
                raise outcome
            return outcome
        yield delay


def _good(core: Core, reply: HttpReply) -> HttpReply:
    if not 200 <= reply.status < 300:
        raise error_from_reply(reply, retry_after(reply.headers, core.clock()))
    return reply


def _part(reply: HttpReply) -> BatchPart:
    part = openai_batch.part_of(_json(reply))
    if part is None:
        raise MalformedReplyError(
            "the service's answer is no batch", reply=bytes(reply.body), status=reply.status
        )
    return part


def _json(reply: HttpReply) -> dict[str, Any]:
    try:
        value = parse(reply.body, reply.pictures).value
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
