"""Drives the flows of a batch job, waiting or awaiting, and reads files of results."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from attrs import field, frozen

from gptimage._internal.threads import to_io_thread_shielded
from gptimage.batch.steps import RetryState, ReturnT, Steps
from gptimage.engine.accounting import CallAccounting
from gptimage.engine.save import ResultSaver
from gptimage.errors import NotFoundError, OutcomeUnknownError, TransportError
from gptimage.providers.openai.errors import error_from_reply
from gptimage.transport.base64_body import Base64Extractor, reassemble
from gptimage.transport.blocking import AwaitedStream
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.protocols import AsyncDownload, Download


# Cuts a file of results into lines as it arrives, and takes the images out of them.
#
# A line holds whole images as base64. They are decoded piece by piece, so a line never takes
# more memory than its images.

_NAME: Final = re.compile(rb'(?<!\\)"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')
_REQUEST_ID: Final = re.compile(rb'(?<!\\)"request_id"\s*:\s*"([\w-]{1,100})"')


@frozen
class ResultLine:
    """One line of a file of results.

    Attributes:
        rest: The line, with a number in place of each image.
        images: The images, decoded.
    """

    rest: bytes = field(repr=False)
    images: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def raw(self) -> bytes:
        """The line as it arrived."""
        return reassemble(self.rest, self.images)

    @property
    def name(self) -> str | None:
        """Whose it is, also when the line is damaged behind it."""
        found = _NAME.search(self.rest)
        try:
            return None if found is None else str(json.loads(found[1]))
        except ValueError:
            return None

    @property
    def request_id(self) -> str | None:
        """The service's id of the request, also when the line is damaged behind it."""
        found = _REQUEST_ID.search(self.rest)
        return None if found is None else found[1].decode("ascii", "replace")


class LineSplitter:
    """Feed it pieces of a file; it gives the lines that are whole."""

    def __init__(self) -> None:
        self._current = Base64Extractor()

    def feed(self, piece: bytes) -> Iterator[ResultLine]:
        """Yield the lines that are whole now, empty ones left out."""
        start = 0
        # JSON has no bare newline inside of a value, so each one ends a line.
        while (end := piece.find(b"\n", start)) >= 0:
            self._take(piece, start, end)
            yield from self.close()
            start = end + 1
        self._take(piece, start, len(piece))

    def close(self) -> Iterator[ResultLine]:
        """Yield a last line that has no newline."""
        rest, images = self._current.close()
        self._current = Base64Extractor()
        if rest.strip():
            yield ResultLine(rest, images)

    def _take(self, piece: bytes, start: int, end: int) -> None:
        if end > start:
            self._current.feed(memoryview(piece)[start:end])


T = TypeVar("T")
P = ParamSpec("P")

_OK: Final = 200
_NOT_FOUND: Final = 404


@frozen(kw_only=True)
class BatchParts:
    """The parts of a client that a `Batch` uses.

    Attributes:
        saver: Its settings, and its store.
        accounting: Its budget, ledger and observers.
        send: Sends a request once.
        download: Sends a request and returns at the head of the reply.
    """

    saver: ResultSaver
    accounting: CallAccounting
    send: Callable[[HttpRequest], HttpReply]
    download: Callable[[HttpRequest], Download]

    async def do(self, step: HttpRequest | float) -> HttpReply | None:
        """Send a request, or wait so many seconds."""
        if isinstance(step, HttpRequest):
            return self.send(step)
        time.sleep(step)  # noqa: ASYNC251  # there is no event loop to keep waiting
        return None

    async def open(self, request: HttpRequest) -> AsyncDownload:
        """Send a request and return at the head of the reply."""
        return AwaitedStream(self.download(request))

    async def work(self, do: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Do what reads or writes files."""
        return do(*args, **options)


@frozen(kw_only=True)
class AsyncBatchParts:
    """`BatchParts` for an `AsyncBatch`; files are read and written in threads."""

    saver: ResultSaver
    accounting: CallAccounting
    send: Callable[[HttpRequest], Awaitable[HttpReply]]
    download: Callable[[HttpRequest], Awaitable[AsyncDownload]]

    async def do(self, step: HttpRequest | float) -> HttpReply | None:
        """Send a request, or wait so many seconds."""
        import asyncio

        if isinstance(step, HttpRequest):
            return await self.send(step)
        await asyncio.sleep(step)
        return None

    async def open(self, request: HttpRequest) -> AsyncDownload:
        """Send a request and return at the head of the reply."""
        return await self.download(request)

    async def work(self, do: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Do what reads or writes files; it is never left half done."""
        return await to_io_thread_shielded(do, *args, **options)


Parts: TypeAlias = BatchParts | AsyncBatchParts


async def drive(flow: Steps[ReturnT], parts: Parts) -> ReturnT:
    """Do what a flow asks for, and give it what comes back."""
    reply: HttpReply | None = None
    error: Exception | None = None
    try:
        while True:
            step, value = await parts.work(_step, flow, reply, error)
            if step is None:
                found: ReturnT = value
                return found
            reply, error = None, None
            try:
                reply = await parts.do(step)
            except (TransportError, OutcomeUnknownError) as failure:
                error = failure
    finally:
        flow.close()


async def lines_of(parts: Parts, file_id: str) -> AsyncGenerator[ResultLine]:
    """Yield the lines of a file; it is fetched again when it breaks off, so some may come twice.

    Raises:
        ApiError: The service refused.
        TransportError: It broke off again and again.
    """
    retries = RetryState(parts.saver.core)
    furthest = 0
    while True:
        lines, arrived = LineSplitter(), 0
        try:
            async with aclosing(await parts.open(content(file_id))) as download:
                outcome: HttpReply | TransportError | OutcomeUnknownError = download.reply
                if download.reply.status == _OK:
                    async for piece in download:
                        for each in lines.feed(piece):
                            yield each
                        arrived += len(piece)
                    for each in lines.close():
                        yield each
                    return
        except (OutcomeUnknownError, TransportError) as error:
            outcome = error
        if arrived > furthest:
            furthest = arrived
            retries.renew()
        await parts.do(_again(retries, file_id, outcome))


def content(file_id: str) -> HttpRequest:
    """Return the content of a file."""
    return HttpRequest(method="GET", path=f"/files/{file_id}/content")


def _again(
    retries: RetryState, file_id: str, outcome: HttpReply | TransportError | OutcomeUnknownError
) -> float:
    """Return seconds until a file is fetched again.

    Raises:
        ApiError: The service refused.
        TransportError: It broke off too often.
    """
    delay = retries.after(outcome)
    if delay is not None:
        return delay
    if not isinstance(outcome, HttpReply):
        raise TransportError(
            f"the file {file_id} breaks off again and again ({outcome}); images that came are "
            "saved, and results() reads the rest"
        ) from outcome
    if outcome.status == _NOT_FOUND:
        message = f"the service has no file {file_id}: it keeps those of a batch for 30 days"
        raise NotFoundError(message, status=_NOT_FOUND, request_id=outcome.request_id)
    raise error_from_reply(outcome)


def _step(
    flow: Steps[ReturnT], reply: HttpReply | None, error: Exception | None
) -> tuple[HttpRequest | float | None, Any]:
    """Return the next step, or None and the flow's value; a StopIteration cannot leave a thread."""
    try:
        return (flow.send(reply) if error is None else flow.throw(error)), None
    except StopIteration as stop:
        return None, stop.value
