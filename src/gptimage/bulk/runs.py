"""Running many at once, in threads or in tasks: bounded memory, and a clean end."""

from __future__ import annotations

import enum
import itertools
import queue
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sized,
)
from contextlib import contextmanager, nullcontext
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from gptimage._core import Core
from gptimage._threads import in_thread
from gptimage.bulk.checkpoint import Checkpoint
from gptimage.bulk.items import Asked, Book, Item
from gptimage.bulk.tally import Tally, Watcher
from gptimage.errors import InvalidRequestError
from gptimage.ports import CachePort


if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


CheckpointPath: TypeAlias = str | PathLike[str] | None
"""The file of a run, or None."""

_Outcome: TypeAlias = Item | BaseException | None
"""None is an item an earlier run handed over; an exception ends the run."""


class _Mark(enum.Enum):
    END = enum.auto()


@frozen(kw_only=True)
class Run:
    """What both ways of running open, count and close."""

    core: Core
    cache: CachePort | None
    concurrency: int
    total: int | None
    watcher: Watcher
    path: CheckpointPath
    retry_unknown: bool
    tags: tuple[str, ...]

    @classmethod
    def of(
        cls,
        core: Core,
        requests: object,
        *,
        cache: CachePort | None,
        concurrency: int,
        watcher: Watcher,
        path: CheckpointPath,
        retry_unknown: bool,
        tags: Iterable[str],
    ) -> Run:
        """The run for what a caller passed.

        Raises:
            InvalidRequestError: ``concurrency`` is below 1, or the requests are one request.
        """
        if concurrency < 1:
            raise InvalidRequestError(
                "concurrency must be 1 or more",
                field="concurrency",
                value=concurrency,
                allowed="1 or more",
            )
        if isinstance(requests, str):
            raise InvalidRequestError(
                "requests is a list of prompts, not one prompt", field="requests", value=requests
            )
        return cls(
            core=core,
            cache=cache,
            concurrency=concurrency,
            total=len(requests) if isinstance(requests, Sized) else None,
            watcher=watcher,
            path=path,
            retry_unknown=retry_unknown,
            tags=(tags,) if isinstance(tags, str) else tuple(tags),
        )

    @property
    def room(self) -> int:
        """How many requests and results may be alive."""
        return 2 * self.concurrency

    @contextmanager
    def opened(self) -> Generator[tuple[Book, Tally]]:
        """The book and the tally, closed at the end of the run."""
        with nullcontext() if self.path is None else Checkpoint(self.path) as file:
            book = Book(
                core=self.core,
                cache=self.cache,
                checkpoint=file,
                retry_unknown=self.retry_unknown,
                tags=self.tags,
            )
            tally = Tally(self.total, self.watcher, per_minute=self.core.per_minute)
            try:
                yield book, tally
            finally:
                tally.close()


def in_threads(
    run: Run, requests: Iterable[Asked], work: Callable[[Book, int, Asked], Item | None]
) -> Generator[Item]:
    """Yield items as threads finish them; when closed, wait for those that were sent."""
    done: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def job(index: int, asked: Asked) -> None:
        try:
            done.put(work(book, index, asked))
        except BaseException as error:  # noqa: BLE001  # it ends the run, in the caller's thread
            done.put(error)

    jobs: Iterator[tuple[int, Asked]] | None = enumerate(requests)
    alive = 0
    with run.opened() as (book, tally), _pool(run.concurrency) as pool:
        while jobs is not None or alive:
            if jobs is not None and alive < run.room:
                following = next(jobs, None)
                if following is None:
                    jobs = None
                    continue
                pool.submit(job, *following)
                alive += 1
                if alive < run.room and done.empty():
                    continue
            item = _settled(done.get(), tally)
            if item is not None:
                yield item
                book.handed_over(item)
            alive -= 1


async def in_tasks(
    run: Run,
    requests: Iterable[Asked] | AsyncIterable[Asked],
    work: Callable[[Book, int, Asked], Awaitable[Item | None]],
) -> AsyncGenerator[Item]:
    """Yield items as tasks finish them.

    When closed, it waits for those that were sent; when cancelled, it cancels them. It is no
    `asyncio.TaskGroup`, which must not be left open where a generator yields.
    """
    import asyncio

    done: asyncio.Queue[_Outcome | _Mark] = asyncio.Queue()
    room, gate = asyncio.Semaphore(run.room), asyncio.Semaphore(run.concurrency)
    tasks: set[asyncio.Task[None]] = set()
    closing = False

    async def job(index: int, asked: Asked) -> None:
        try:
            async with gate:
                if not closing:
                    done.put_nowait(await work(book, index, asked))
        except BaseException as error:
            done.put_nowait(error)  # it ends the run, in the caller's task
            if not isinstance(error, Exception):
                raise

    async def feed() -> None:
        source = _as_async(requests)
        try:
            for index in itertools.count():
                await room.acquire()
                asked = await anext(source, _Mark.END)
                if isinstance(asked, _Mark):
                    break
                task = asyncio.create_task(job(index, asked))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks, return_exceptions=True)
            done.put_nowait(_Mark.END)
        except Exception as error:  # noqa: BLE001  # the requests themselves failed
            done.put_nowait(error)

    opened = run.opened()
    book, tally = await in_thread(opened.__enter__)
    feeder = asyncio.create_task(feed())
    try:
        while not isinstance(found := await done.get(), _Mark):
            item = _settled(found, tally)
            if item is not None:
                yield item
                book.handed_over(item)
            room.release()
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    finally:
        closing = True
        feeder.cancel()
        await asyncio.gather(feeder, *tasks, return_exceptions=True)
        opened.__exit__(None, None, None)


@contextmanager
def _pool(threads: int) -> Generator[ThreadPoolExecutor]:
    """A pool that, at its end, forgets what was not begun and waits for the rest."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="gptimage-many")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _settled(outcome: _Outcome, tally: Tally) -> Item | None:
    """Count what became of an item.

    Raises:
        BaseException: Whatever ends the run.
    """
    if isinstance(outcome, BaseException):
        raise outcome
    if outcome is None or (outcome.resumed and outcome.error is None):
        tally.resumed()
    elif outcome.error is not None or outcome.result is None:
        tally.failed()
    else:
        tally.done(outcome.result.cost)
    return outcome


async def _as_async(requests: Iterable[Asked] | AsyncIterable[Asked]) -> AsyncIterator[Asked]:
    if isinstance(requests, AsyncIterable):
        async for asked in requests:
            yield asked
    else:
        for asked in requests:
            yield asked
