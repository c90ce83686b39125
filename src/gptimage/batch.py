"""Half-price pictures within a day: `Batch` waits, `AsyncBatch` is awaited.

Both are thin shells over one job. Everything a job must remember is in its state file, so
another process can go on with it, even after a kill, and nothing is submitted twice.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import aclosing, closing
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from gptimage._batch_flow import Flow, Limits, ReturnT, cancel
from gptimage._batch_job import (
    AsyncBatchLine,
    BatchLine,
    Job,
    StatePath,
    Watch,
    Watcher,
    adopted,
    adopting,
    beginning,
    content,
    deadline,
    is_id,
    pause,
    reopening,
)
from gptimage._batch_read import BatchItem, Collector, Lines
from gptimage._batch_state import Status
from gptimage._http import HttpReply, HttpRequest
from gptimage._many_rules import Asked
from gptimage.errors import OutcomeUnknownError, TransportError
from gptimage.providers.openai_batch import MAX_BYTES, MAX_LINES, BatchPart
from gptimage.providers.openai_errors import error_from_reply


__all__ = ["AsyncBatch", "AsyncBatchLine", "Batch", "BatchItem", "BatchLine", "BatchPart", "Status"]


POLL: Final = 30.0
"""Seconds between two looks; a batch takes minutes to hours."""

_NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})
_DOWNLOADS: Final = 3
"""How often a file of results is asked for when its connection breaks."""


class _Handle:
    """A job at hand."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its batches at the service, ``batch_...``; a large job has several."""
        return self._job.ids

    @property
    def estimate(self) -> Decimal | None:
        """What it may cost at batch prices, in USD; None when that cannot be known."""
        text = self._job.state.estimate
        return None if text is None else Decimal(text)

    @property
    def state(self) -> Path | None:
        """The file another process can go on from, or None when it has none."""
        return None if self._job.state.temporary else self._job.state.path

    def __repr__(self) -> str:
        """Its ids and where its state is."""
        return f"{type(self).__name__}({', '.join(self.ids)}, state={self.state})"


class Batch(_Handle):
    """A batch job; made by ``ImageClient.submit_batch()`` and ``ImageClient.batch()``."""

    def __init__(self, line: BatchLine, job: Job) -> None:
        self._line = line
        super().__init__(job)

    @classmethod
    def submit(
        cls,
        line: BatchLine,
        requests: Iterable[Asked],
        *,
        state: StatePath | None = None,
        metadata: Mapping[str, str] = _NO_METADATA,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> Self:
        """Submit requests, or go on with the job of the state file; see `submit_batch`."""
        limits = Limits(lines=max_lines, size=max_bytes)
        return cls(line, _drive(beginning(line, requests, state, metadata, limits), line))

    @classmethod
    def open(cls, line: BatchLine, where: StatePath) -> Self:
        """The job of a state file, or the batch of an id."""
        if not is_id(where):
            return cls(line, reopening(line, where))
        state, part = _drive(adopting(line, str(where)), line)
        data = b"".join(_pieces(line, str(part.input_file_id)))
        return cls(line, adopted(line, state, part, data))

    def status(self) -> Status:
        """How far it is now; a submission that was interrupted is completed first.

        Raises:
            OutcomeUnknownError: A batch may or may not have been made; ask again later.
            ApiError: The service refused.
        """
        return _drive(self._job.looking(), self._line)

    def wait(
        self, *, progress: Watch = False, poll: float = POLL, timeout: float | None = None
    ) -> Status:
        """Wait until it has ended, whatever the end.

        Args:
            progress: True shows each change on standard error; or call this with each status.
            poll: Seconds between two looks.
            timeout: The most seconds to wait; None waits for the end, a day at most.

        Raises:
            TimeoutError: It has not ended in time; it goes on at the service.
        """
        watcher, until = Watcher(progress), deadline(timeout)
        while True:
            watcher(status := self.status())
            if status.ended:
                return status
            time.sleep(pause(poll, until, status))

    def results(self) -> Generator[BatchItem]:
        """Every request's pictures or error, in the order the service gives them.

        The pictures are saved in the client's store as they are read, and no more than one
        answer is in memory at a time. Calling it again saves nothing twice.

        Raises:
            InvalidRequestError: The batch has not ended.
        """
        collector = self._job.collector(self.status())
        with closing(collector):
            for _, file_id in collector.files():
                yield from self._file(collector, file_id)
            yield from collector.missing()
        self._job.settle(collector)

    def cancel(self) -> Status:
        """Cancel what is not drawn yet; what is drawn is paid and stays in `results`."""
        _drive(cancel(self._job.core, self.status()), self._line)
        return self.status()

    def _file(self, collector: Collector, file_id: str) -> Generator[BatchItem]:
        for attempt in range(1, _DOWNLOADS + 1):
            lines = Lines()
            try:
                for piece in _pieces(self._line, file_id):
                    yield from filter(None, map(collector.take, lines.feed(piece)))
            except (OutcomeUnknownError, TransportError) as error:
                if attempt == _DOWNLOADS:
                    raise _broken(error) from error
                continue
            yield from filter(None, map(collector.take, lines.close()))
            return


class AsyncBatch(_Handle):
    """`Batch`, awaited; files are read and written in worker threads."""

    def __init__(self, line: AsyncBatchLine, job: Job) -> None:
        self._line = line
        super().__init__(job)

    @classmethod
    async def submit(
        cls,
        line: AsyncBatchLine,
        requests: Iterable[Asked],
        *,
        state: StatePath | None = None,
        metadata: Mapping[str, str] = _NO_METADATA,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> Self:
        """Submit requests, or go on with the job of the state file; see `submit_batch`."""
        limits = Limits(lines=max_lines, size=max_bytes)
        return cls(line, await _adrive(beginning(line, requests, state, metadata, limits), line))

    @classmethod
    async def open(cls, line: AsyncBatchLine, where: StatePath) -> Self:
        """The job of a state file, or the batch of an id."""
        if not is_id(where):
            return cls(line, reopening(line, where))
        state, part = await _adrive(adopting(line, str(where)), line)
        data = b"".join([piece async for piece in _apieces(line, str(part.input_file_id))])
        return cls(line, adopted(line, state, part, data))

    async def status(self) -> Status:
        """How far it is now; see `Batch.status`."""
        return await _adrive(self._job.looking(), self._line)

    async def wait(
        self,
        *,
        progress: Watch = False,
        poll: float = POLL,
        timeout: float | None = None,  # noqa: ASYNC109  # the same arguments as its twin
    ) -> Status:
        """Wait until it has ended, whatever the end; see `Batch.wait`.

        Raises:
            TimeoutError: It has not ended in time; it goes on at the service.
        """
        import asyncio

        watcher, until = Watcher(progress), deadline(timeout)
        while True:
            watcher(status := await self.status())
            if status.ended:
                return status
            await asyncio.sleep(pause(poll, until, status))

    async def results(self) -> AsyncGenerator[BatchItem]:
        """Every request's pictures or error, as they come; see `Batch.results`.

        Raises:
            InvalidRequestError: The batch has not ended.
        """
        import asyncio

        collector = self._job.collector(await self.status())
        with closing(collector):
            for _, file_id in collector.files():
                async with aclosing(self._file(collector, file_id)) as items:
                    async for item in items:
                        yield item
            for item in collector.missing():
                yield item
        await asyncio.to_thread(self._job.settle, collector)

    async def cancel(self) -> Status:
        """Cancel what is not drawn yet; see `Batch.cancel`."""
        await _adrive(cancel(self._job.core, await self.status()), self._line)
        return await self.status()

    async def _file(self, collector: Collector, file_id: str) -> AsyncGenerator[BatchItem]:
        import asyncio

        for attempt in range(1, _DOWNLOADS + 1):
            lines = Lines()
            try:
                async with aclosing(_apieces(self._line, file_id)) as pieces:
                    async for piece in pieces:
                        for text in lines.feed(piece):
                            if (item := await asyncio.to_thread(collector.take, text)) is not None:
                                yield item
            except (OutcomeUnknownError, TransportError) as error:
                if attempt == _DOWNLOADS:
                    raise _broken(error) from error
                continue
            for text in lines.close():
                if (item := await asyncio.to_thread(collector.take, text)) is not None:
                    yield item
            return


def _drive(flow: Flow[ReturnT], line: BatchLine) -> ReturnT:
    """Do what a flow asks for, and give it what comes back."""
    answer: HttpReply | None = None
    error: Exception | None = None
    while True:
        try:
            step = flow.send(answer) if error is None else flow.throw(error)
        except StopIteration as stop:
            value: ReturnT = stop.value
            return value
        answer, error = None, None
        try:
            if isinstance(step, HttpRequest):
                answer = line.send(step)
            else:
                time.sleep(step)
        except (TransportError, OutcomeUnknownError) as failure:
            error = failure


async def _adrive(flow: Flow[ReturnT], line: AsyncBatchLine) -> ReturnT:
    import asyncio

    answer: HttpReply | None = None
    error: Exception | None = None
    while True:
        step, value = await asyncio.to_thread(_step, flow, answer, error)
        if step is None:
            found: ReturnT = value
            return found
        answer, error = None, None
        try:
            if isinstance(step, HttpRequest):
                answer = await line.send(step)
            else:
                await asyncio.sleep(step)
        except (TransportError, OutcomeUnknownError) as failure:
            error = failure


def _step(
    flow: Flow[ReturnT], answer: HttpReply | None, error: Exception | None
) -> tuple[HttpRequest | float | None, Any]:
    """The next step, or None and the flow's value; a StopIteration cannot leave a thread."""
    try:
        return (flow.send(answer) if error is None else flow.throw(error)), None
    except StopIteration as stop:
        return None, stop.value


def _pieces(line: BatchLine, file_id: str) -> Generator[bytes]:
    with closing(line.download(content(file_id))) as download:
        if download.reply.status != 200:
            raise error_from_reply(download.reply)
        yield from download


async def _apieces(line: AsyncBatchLine, file_id: str) -> AsyncGenerator[bytes]:
    download = await line.download(content(file_id))
    try:
        if download.reply.status != 200:
            raise error_from_reply(download.reply)
        async for piece in download:
            yield piece
    finally:
        await download.aclose()


def _broken(error: Exception) -> TransportError:
    return TransportError(
        f"the file of results broke off {_DOWNLOADS} times ({error}); what was read is saved, and "
        "results() reads the rest"
    )
