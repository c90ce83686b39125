"""The handles of a batch job: two thin shells over it, one that waits and one that is awaited.

Everything a job must remember is in its state file, so another process can go on with it, even
after a kill, and nothing is submitted twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, closing
from decimal import Decimal
from pathlib import Path
from typing import Final, Self, Unpack

from gptimage._internal.coroutines import iterate_blocking, run_blocking
from gptimage.batch.driver import AsyncBatchParts, BatchParts, Parts, drive, lines_of
from gptimage.batch.job import (
    BatchJob,
    BatchRecovery,
    StatePath,
    create_or_resume,
    is_id,
    load,
    recover_by_id,
)
from gptimage.batch.results import BatchItem
from gptimage.batch.status import BatchStatus, StatusCallback, StatusPoller
from gptimage.batch.steps import cancel
from gptimage.bulk.items import RequestInput
from gptimage.errors import GptImageError
from gptimage.types.request import BatchOptions


POLL: Final = 30.0
"""Seconds between two looks; a batch takes minutes to hours."""


class _Handle:
    """A job at hand."""

    def __init__(self, parts: Parts, job: BatchJob) -> None:
        self._parts = parts
        self._job = job

    @classmethod
    async def _open(cls, parts: Parts, where: StatePath) -> Self:
        if not is_id(where):
            return cls(parts, load(parts, where))
        part = await drive(recover_by_id(parts, str(where)), parts)
        with closing(BatchRecovery(parts, part)) as recovery:
            async with aclosing(lines_of(parts, str(part.input_file_id))) as lines:
                async for text in lines:
                    recovery.take(text)
            return cls(parts, await parts.work(recovery.job))

    async def _status(self) -> BatchStatus:
        return await drive(self._job.refresh_status(), self._parts)

    async def _wait(self, waiting: StatusPoller) -> BatchStatus:
        while True:
            try:
                status = await self._status()
            except GptImageError as error:
                await self._parts.do(waiting.failed(error))
                continue
            pause = waiting.saw(status)
            if pause is None:
                return status
            await self._parts.do(pause)

    async def _results(self) -> AsyncGenerator[BatchItem]:
        parts = self._parts
        collector = await parts.work(self._job.collector, await self._status())
        with closing(collector):
            for file_id in collector.files():
                async with aclosing(lines_of(parts, file_id)) as lines:
                    async for text in lines:
                        item = await parts.work(collector.take, text)
                        if item is not None:
                            yield item
            for item in collector.missing():
                yield item
        await parts.work(self._job.settle, collector)

    async def _cancel(self) -> BatchStatus:
        await drive(cancel(self._job.core, await self._status()), self._parts)
        return await self._status()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its batches at the service, ``batch_...``; a large job has several."""
        return self._job.ids

    @property
    def estimate(self) -> Decimal | None:
        """The estimated cost at batch prices, in USD; None when that cannot be known."""
        return self._job.state.estimate

    @property
    def state(self) -> Path | None:
        """The file another process can go on from, or None when it has none."""
        return None if self._job.state.temporary else self._job.state.path

    def __repr__(self) -> str:
        """Return its ids and where its state is."""
        return f"{type(self).__name__}({', '.join(self.ids)}, state={self.state})"


class Batch(_Handle):
    """A batch job; made by ``ImageClient.submit_batch()`` and ``ImageClient.open_batch()``."""

    @classmethod
    def submit(
        cls, parts: BatchParts, requests: Iterable[RequestInput], **options: Unpack[BatchOptions]
    ) -> Self:
        """Submit requests, or go on with the job of the state file; see `submit_batch`."""
        steps = create_or_resume(parts, requests, options)
        return cls(parts, run_blocking(drive(steps, parts)))

    @classmethod
    def open(cls, parts: BatchParts, where: StatePath) -> Self:
        """Return the job of a state file, or the batch of an id."""
        return run_blocking(cls._open(parts, where))

    def status(self) -> BatchStatus:
        """Return how far it is now; a submission that was interrupted is completed first.

        Raises:
            OutcomeUnknownError: A batch may or may not have been made; ask again later.
            ApiError: The service refused.
        """
        return run_blocking(self._status())

    def wait(
        self, *, progress: StatusCallback = False, poll: float = POLL, timeout: float | None = None
    ) -> BatchStatus:
        """Wait until it has ended, whatever the end.

        A look that fails for a while (no network, the service is busy) does not end the wait;
        an hour of nothing but that does.

        Args:
            progress: True shows each change on standard error; or call this with each status.
            poll: Seconds between two looks.
            timeout: The most seconds to wait; None waits for the end, a day at most.

        Raises:
            TimeoutError: It has not ended in time; it goes on at the service.
            ApiError: The service refused.
            TransportError: The service was not reached; it goes on there.
        """
        return run_blocking(self._wait(StatusPoller(progress, poll, timeout)))

    def results(self) -> Generator[BatchItem]:
        """Yield every request's images or error, in the order the service gives them.

        The images are saved in the client's store as they are read, and no more than one
        response is in memory at a time. Calling it again saves nothing twice.

        Raises:
            InvalidRequestError: The batch has not ended.
        """
        return iterate_blocking(self._results())

    def cancel(self) -> BatchStatus:
        """Cancel what is not drawn yet; what is drawn is paid and stays in `results`."""
        return run_blocking(self._cancel())


class AsyncBatch(_Handle):
    """`Batch`, awaited; files are read and written in worker threads."""

    @classmethod
    async def submit(
        cls,
        parts: AsyncBatchParts,
        requests: Iterable[RequestInput],
        **options: Unpack[BatchOptions],
    ) -> Self:
        """Submit requests, or go on with the job of the state file; see `submit_batch`."""
        steps = create_or_resume(parts, requests, options)
        return cls(parts, await drive(steps, parts))

    @classmethod
    async def open(cls, parts: AsyncBatchParts, where: StatePath) -> Self:
        """Return the job of a state file, or the batch of an id."""
        return await cls._open(parts, where)

    async def status(self) -> BatchStatus:
        """Return how far it is now; see `Batch.status`."""
        return await self._status()

    async def wait(
        self,
        *,
        progress: StatusCallback = False,
        poll: float = POLL,
        timeout: float | None = None,  # noqa: ASYNC109  # the same arguments as its twin
    ) -> BatchStatus:
        """Wait until it has ended, whatever the end; see `Batch.wait`.

        Raises:
            TimeoutError: It has not ended in time; it goes on at the service.
        """
        return await self._wait(StatusPoller(progress, poll, timeout))

    def results(self) -> AsyncGenerator[BatchItem]:
        """Yield every request's images or error, as they come; see `Batch.results`.

        Raises:
            InvalidRequestError: The batch has not ended.
        """
        return self._results()

    async def cancel(self) -> BatchStatus:
        """Cancel what is not drawn yet; see `Batch.cancel`."""
        return await self._cancel()
