"""The requests of a batch job, step by step: generators that yield requests and pauses.

A driver sends each request and gives the reply back, or throws what went wrong; the blocking
and the async handle drive the same generators. They also read and write files: an async client
runs each step in a thread. Everything in this file costs nothing, so it is sent again after a lost
response, too, as the client's `Retry` says.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, TypeAlias, TypeVar, cast

from gptimage.batch.status import BatchStatus
from gptimage.engine.config import ClientConfig
from gptimage.errors import (
    ConfigurationError,
    MalformedReplyError,
    NotFoundError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.providers.openai import batches as openai_batch
from gptimage.providers.openai.batches import BatchPart
from gptimage.providers.openai.errors import error_from_reply
from gptimage.transport.base64_body import parse
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.protocols import SANDBOX_URL
from gptimage.transport.retry import waiting_time


ReturnT = TypeVar("ReturnT")
Steps: TypeAlias = Generator[HttpRequest | float, Any, ReturnT]
"""Yields a request and is sent its reply, or yields seconds to wait and is sent None."""

RetryCallback: TypeAlias = Callable[[float, HttpReply | TransportError], None]
"""Is called before a request is sent again: after how many seconds, and what came of it."""

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409


def ignore(delay: float, outcome: HttpReply | TransportError) -> None:
    """Do nothing."""
    del delay, outcome


class RetryState:
    """The retries of something that costs nothing.

    Args:
        core: The client's settings.
        callback: Called before each further try.
    """

    def __init__(self, core: ClientConfig, callback: RetryCallback = ignore) -> None:
        self._core = core
        self._callback = callback
        self._tries = 0

    def renew(self) -> None:
        """Start to count anew, because there was progress."""
        self._tries = 0

    def after(self, outcome: HttpReply | TransportError | OutcomeUnknownError) -> float | None:
        """Return the seconds before the next try, or None when this was the last one."""
        self._tries += 1
        if isinstance(outcome, OutcomeUnknownError):
            outcome = as_transport_error(outcome)
        delay = self._core.delay(self._tries, outcome, costs_nothing=True)
        if delay is not None:
            self._callback(delay, outcome)
        return delay


def ask(
    core: ClientConfig, request: HttpRequest, callback: RetryCallback = ignore
) -> Steps[HttpReply]:
    """Send what costs nothing with the client's retries.

    Raises:
        TransportError: The service was not reached, or its response did not arrive.
    """
    retries = RetryState(core, callback)
    while True:
        outcome: HttpReply | TransportError = yield from tried(request)
        delay = retries.after(outcome)
        if delay is not None:
            yield delay
        elif isinstance(outcome, TransportError):
            raise outcome
        else:
            return outcome


def tried(request: HttpRequest) -> Steps[HttpReply | TransportError]:
    """Send what costs nothing once."""
    try:
        reply: HttpReply = yield request
    except OutcomeUnknownError as error:
        return as_transport_error(error)
    except TransportError as error:
        return error
    return reply


def upload(
    core: ClientConfig, request: HttpRequest, callback: RetryCallback = ignore
) -> Steps[str]:
    """Upload a file; return its id.

    Raises:
        ConfigurationError: The response is not that of a service with files.
        ApiError: The service refused.
    """
    value = json_of(good(core, (yield from ask(core, request, callback))))
    file_id = value.get("id")
    if not isinstance(file_id, str):
        raise ConfigurationError(
            "the service's response to an upload names no file: is it OpenAI's?"
        )
    return file_id


def get_status(
    core: ClientConfig, ids: Iterable[str], total: int, callbacks: Iterable[RetryCallback] = ()
) -> Steps[BatchStatus]:
    """Get the status of the batches."""
    parts: list[BatchPart] = []
    listeners = iter(callbacks)
    for batch_id in ids:
        request = HttpRequest(method="GET", path=f"/batches/{batch_id}")
        reply = yield from ask(core, request, next(listeners, ignore))
        if reply.status == _NOT_FOUND:
            hint = "does the key belong to its project?"
            if core.endpoint == SANDBOX_URL:
                hint = "a sandbox forgets its batches when its process ends"
            message = f"the service knows no batch {batch_id}: {hint}"
            raise NotFoundError(message, status=_NOT_FOUND, request_id=reply.request_id)
        parts.append(_part(good(core, reply)))
    return BatchStatus(parts=tuple(parts), total=total or sum(part.total for part in parts))


def cancel(core: ClientConfig, status: BatchStatus) -> Steps[None]:
    """Cancel whatever has not ended."""
    for part in status.parts:
        if not part.ended and part.status != "cancelling":
            request = HttpRequest(method="POST", path=f"/batches/{part.id}/cancel")
            reply = yield from ask(core, request)
            if reply.status != _CONFLICT:  # it ended in the meantime
                good(core, reply)


def listed(core: ClientConfig, since: float) -> Steps[list[dict[str, Any]]]:
    """List the service's batches made since then, newest first.

    Args:
        core: The client's settings.
        since: Seconds since 1970; a few older ones may be among them.
    """
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        request = HttpRequest(method="GET", path=f"/batches?limit=100{cursor}")
        page = json_of(good(core, (yield from ask(core, request))))
        data = page.get("data")
        batches = cast("list[dict[str, Any]]", data if isinstance(data, list) else [])
        found += batches
        oldest = batches[-1].get("created_at") if batches else None
        if not page.get("has_more") or not isinstance(oldest, int) or oldest < since:
            return found
        cursor = f"&after={batches[-1]['id']}"


def good(core: ClientConfig, reply: HttpReply) -> HttpReply:
    """Return the reply, if it is no error.

    Raises:
        ApiError: It is one.
    """
    if not 200 <= reply.status < 300:
        raise error_from_reply(reply, waiting_time(reply, core.clock()))
    return reply


def json_of(reply: HttpReply) -> dict[str, Any]:
    """Return the JSON object of a reply; an empty one when it is something else."""
    try:
        value = parse(reply.body, reply.images).value
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_transport_error(error: OutcomeUnknownError) -> TransportError:
    """Return the error of a lost response to something that costs nothing: it is sent again."""
    return TransportError(str(error))


def _part(reply: HttpReply) -> BatchPart:
    part = openai_batch.part_of(json_of(reply))
    if part is None:
        raise MalformedReplyError(
            "the service's response is no batch", reply=bytes(reply.body), status=reply.status
        )
    return part
