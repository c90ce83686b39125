"""Many requests at once: `many` in threads, `amany` in tasks; both yield items as they finish.

At most twice as many requests as ``concurrency`` are alive at any time, counting those that are
sent, those that wait, and results you have not taken. So a million requests need no more
memory than a hundred, and a slow reader slows the asking down.
"""

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
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from attrs import frozen

from gptimage._internal.threads import to_thread
from gptimage.bulk.checkpoint import Checkpoint
from gptimage.bulk.checkpoint_hook import CheckpointHook, RunStoppedError
from gptimage.bulk.items import Item, PlannedItem, RequestInput, reads_pictures
from gptimage.bulk.progress import ProgressCallback, ProgressTracker
from gptimage.bulk.run_state import RunState
from gptimage.bulk.stop import Stop
from gptimage.cache.base import Cache
from gptimage.engine.save import ResultSaver
from gptimage.errors import InvalidRequestError
from gptimage.types.request import Generate
from gptimage.types.result import Result


if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


# Running many at once, in threads or in tasks: bounded memory, and a clean end.

CheckpointPath: TypeAlias = str | PathLike[str] | None
"""The file of a run, or None."""


class _EndMark(enum.Enum):
    END = enum.auto()
    UNSENT = enum.auto()


UNSENT: Final = _EndMark.UNSENT
"""What becomes of a request that the end of its run came before."""

Outcome: TypeAlias = Item | _EndMark | None
"""None is an item an earlier run handed over."""

_Queued: TypeAlias = Outcome | BaseException
"""An exception ends the run, after everything that was sent is yielded."""


@frozen(kw_only=True)
class Run:
    """What both ways of running open, count and close."""

    keeper: ResultSaver
    cache: Cache | None
    concurrency: int
    total: int | None
    watcher: ProgressCallback
    path: CheckpointPath
    retry_unknown: bool
    stop: Stop | None
    tags: tuple[str, ...]

    @classmethod
    def of(
        cls,
        keeper: ResultSaver,
        requests: object,
        *,
        cache: Cache | None,
        concurrency: int,
        watcher: ProgressCallback,
        path: CheckpointPath,
        retry_unknown: bool,
        stop: Stop | None,
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
        if stop is not None and not isinstance(stop, Stop):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise InvalidRequestError(
                "stop is a gptimage.bulk.Stop", field="stop", value=stop, allowed="Stop()"
            )
        return cls(
            keeper=keeper,
            cache=cache,
            concurrency=concurrency,
            total=len(requests) if isinstance(requests, Sized) else None,
            watcher=watcher,
            path=path,
            retry_unknown=retry_unknown,
            stop=stop,
            tags=(tags,) if isinstance(tags, str) else tuple(tags),
        )

    @property
    def room(self) -> int:
        """How many requests and results may be alive."""
        return 2 * self.concurrency

    @contextmanager
    def opened(self) -> Generator[tuple[RunState, ProgressTracker]]:
        """The book and the tally, closed at the end of the run."""
        with nullcontext() if self.path is None else Checkpoint(self.path) as file:
            book = RunState(
                keeper=self.keeper,
                cache=self.cache,
                checkpoint=file,
                retry_unknown=self.retry_unknown,
                tags=self.tags,
                stop=self.stop or Stop(),
            )
            tally = ProgressTracker(
                self.total, self.watcher, per_minute=self.keeper.core.per_minute
            )
            try:
                yield book, tally
            finally:
                tally.close()


def in_threads(
    run: Run,
    requests: Iterable[RequestInput],
    work: Callable[[RunState, int, RequestInput], Outcome],
) -> Generator[Item]:
    """Yield items as threads finish them.

    Whatever ends the run early, what was sent is waited for: when something fails in here, it is
    yielded first; when the loop is left, it stays in the spool or the store.
    """
    done: queue.SimpleQueue[_Queued] = queue.SimpleQueue()
    failure: BaseException | None = None

    def job(index: int, asked: RequestInput) -> None:
        try:
            done.put(UNSENT if book.stopping else work(book, index, asked))
        except BaseException as error:  # noqa: BLE001  # it ends the run, in the caller's thread
            book.over.set()
            done.put(error)

    jobs: Iterator[tuple[int, RequestInput]] | None = enumerate(requests)
    alive = 0
    with run.opened() as (book, tally):
        try:
            with _pool(run.concurrency, book) as pool:
                while jobs is not None or alive:
                    if jobs is not None and book.stopping:
                        jobs = None
                        continue
                    if jobs is not None and alive < run.room:
                        try:
                            following = next(jobs, None)
                        except Exception as error:  # noqa: BLE001  # raised once the rest is yielded
                            failure, following = failure or error, None
                        if following is None:
                            jobs = None
                            continue
                        pool.submit(job, *following)
                        alive += 1
                        if alive < run.room and done.empty():
                            continue
                    item, broken = _settled(done.get(), tally, book)
                    failure = failure or broken
                    if item is not None:
                        yield item
                        book.mark_delivered(item)
                    alive -= 1
        except BaseException as error:
            book.close(_drained(done), error)
            raise
        if failure is not None:
            raise failure


async def in_tasks(
    run: Run,
    requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
    work: Callable[[RunState, int, RequestInput], Awaitable[Outcome]],
) -> AsyncGenerator[Item]:
    """Yield items as tasks finish them; see `in_threads`.

    When closed, it waits for those that were sent; when cancelled, it cancels them. It is no
    `asyncio.TaskGroup`, which must not be left open where a generator yields.
    """
    import asyncio

    done: asyncio.Queue[_Queued] = asyncio.Queue()
    room, gate = asyncio.Semaphore(run.room), asyncio.Semaphore(run.concurrency)
    tasks: set[asyncio.Task[None]] = set()
    failure: BaseException | None = None

    async def job(index: int, asked: RequestInput) -> None:
        try:
            async with gate:
                done.put_nowait(UNSENT if book.stopping else await work(book, index, asked))
        except BaseException as error:
            book.over.set()
            done.put_nowait(error)  # it ends the run, in the caller's task
            if not isinstance(error, Exception):
                raise

    async def feed() -> None:
        source = _as_async(requests)
        try:
            for index in itertools.count():
                await room.acquire()
                asked = _EndMark.END if book.stopping else await anext(source, _EndMark.END)
                if isinstance(asked, _EndMark):
                    break
                task = asyncio.create_task(job(index, asked))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except Exception as error:  # noqa: BLE001  # the requests themselves failed
            book.over.set()
            done.put_nowait(error)

    async def end() -> None:
        await asyncio.wait((feeder,))
        await asyncio.gather(*tasks, return_exceptions=True)
        done.put_nowait(_EndMark.END)

    opened = run.opened()
    book, tally = await to_thread(opened.__enter__)
    feeder = asyncio.create_task(feed())
    ender = asyncio.create_task(end())
    try:
        while (found := await done.get()) is not _EndMark.END:
            item, broken = _settled(found, tally, book)
            failure = failure or broken
            if item is not None:
                yield item
                book.mark_delivered(item)
            if book.stopping:  # it may wait for a request that takes long to come
                feeder.cancel()
            room.release()
        if failure is not None:
            raise failure
    except BaseException as error:
        book.over.set()
        feeder.cancel()
        if isinstance(error, asyncio.CancelledError):
            for task in tasks:
                task.cancel()
        await asyncio.gather(feeder, ender, *tasks, return_exceptions=True)
        book.close(_drained(done), error)
        raise
    finally:
        opened.__exit__(None, None, None)


def _drained(done: Any) -> Iterator[object]:
    """What is left in a queue."""
    while not done.empty():
        yield done.get_nowait()


@contextmanager
def _pool(threads: int, book: RunState) -> Generator[ThreadPoolExecutor]:
    """A pool that, at its end, forgets what was not sent and waits for the rest."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="gptimage-many")
    try:
        yield pool
    finally:
        book.over.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _settled(
    outcome: _Queued, tally: ProgressTracker, book: RunState
) -> tuple[Item | None, BaseException | None]:
    """Count what became of an item; it, if it is to be yielded, and what ends the run, if anything.

    A function that is told of the progress and fails ends the run, and loses no item.
    """
    if isinstance(outcome, BaseException):
        return None, outcome
    if isinstance(outcome, _EndMark):
        return None, None
    try:
        _count(outcome, tally)
    except Exception as error:  # noqa: BLE001  # raised once the rest is yielded
        book.over.set()
        return outcome, error
    return outcome, None


def _count(outcome: Item | None, tally: ProgressTracker) -> None:
    if outcome is None or (outcome.resumed and outcome.error is None):
        tally.resumed()
    elif outcome.error is not None or outcome.result is None:
        tally.failed()
    else:
        tally.done(outcome.result.cost)


async def _as_async(
    requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
) -> AsyncIterator[RequestInput]:
    if isinstance(requests, AsyncIterable):
        async for asked in requests:
            yield asked
    else:
        for asked in requests:
            yield asked


class SyncRunner(Protocol):
    """A client that sends requests and waits."""

    @property
    def cache(self) -> Cache | None:
        """Where answers are kept, or None."""
        ...

    def run(self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...) -> Result:
        """Send a request."""
        ...


class AsyncRunner(Protocol):
    """A client whose requests are awaited."""

    @property
    def cache(self) -> Cache | None:
        """Where answers are kept, or None."""
        ...

    async def run(
        self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
    ) -> Result:
        """Send a request."""
        ...


def many(
    client: SyncRunner,
    keeper: ResultSaver,
    noted: Callable[[CheckpointHook], SyncRunner],
    requests: Iterable[RequestInput],
    *,
    concurrency: int = 8,
    progress: ProgressCallback = False,
    checkpoint: CheckpointPath = None,
    retry_unknown: bool = False,
    stop: Stop | None = None,
    refresh: bool = False,
    tags: Iterable[str] = (),
) -> Generator[Item]:
    """Send many requests from threads; see ``ImageClient.generate_many``.

    Args:
        client: Who sends them.
        keeper: The client's, which reads and saves replies.
        noted: Gives the same client, whose one request is noted as it leaves and whose reply is
            kept.
        requests: The requests; read as they are needed, in the thread that takes the items.
        concurrency: How many are asked at the same time.
        progress: Show the progress on standard error, or call something after every item.
        checkpoint: A file that lets a second run do only what is missing.
        retry_unknown: Ask again what an earlier run may have been billed for.
        stop: Ends the run early when it is set, without losing what was sent.
        refresh: Ask even if the cache knows the answer.
        tags: Tags for the store.

    Raises:
        InvalidRequestError: ``concurrency`` is below 1.
        ConfigurationError: The checkpoint is in use, or belongs to other requests.
    """
    run = Run.of(
        keeper,
        requests,
        cache=client.cache,
        concurrency=concurrency,
        watcher=progress,
        path=checkpoint,
        retry_unknown=retry_unknown,
        stop=stop,
        tags=tags,
    )

    def work(book: RunState, index: int, asked: RequestInput) -> Outcome:
        ready = book.prepare(index, asked)
        if not isinstance(ready, PlannedItem):
            return ready
        leaving = CheckpointHook(book, ready)
        sender = noted(leaving)
        try:
            result = sender.run(ready.plan.request, refresh=refresh, tags=ready.tags)
        except RunStoppedError:
            return UNSENT
        except Exception as error:
            if leaving.failure is not None:
                raise
            return book.failed(leaving, error)  # one that fails never loses the others
        finally:
            book.stop.discard(leaving)
        return book.answered(leaving, result)

    return in_threads(run, requests, work)


def amany(
    client: AsyncRunner,
    keeper: ResultSaver,
    noted: Callable[[CheckpointHook], AsyncRunner],
    requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
    *,
    concurrency: int = 8,
    progress: ProgressCallback = False,
    checkpoint: CheckpointPath = None,
    retry_unknown: bool = False,
    stop: Stop | None = None,
    refresh: bool = False,
    tags: Iterable[str] = (),
) -> AsyncGenerator[Item]:
    """Send many requests from tasks; the twin of `many`, whose requests may be async, too.

    Raises:
        InvalidRequestError: ``concurrency`` is below 1.
        ConfigurationError: The checkpoint is in use, or belongs to other requests.
    """
    run = Run.of(
        keeper,
        requests,
        cache=client.cache,
        concurrency=concurrency,
        watcher=progress,
        path=checkpoint,
        retry_unknown=retry_unknown,
        stop=stop,
        tags=tags,
    )

    async def work(book: RunState, index: int, asked: RequestInput) -> Outcome:
        if reads_pictures(asked) or book.checkpoint is not None:  # a reply may wait in the spool
            ready = await to_thread(book.prepare, index, asked)
        else:  # a fraction of a millisecond, less than the way to a thread and back
            ready = book.prepare(index, asked)
        if not isinstance(ready, PlannedItem):
            return ready
        leaving = CheckpointHook(book, ready)
        sender = noted(leaving)
        try:
            result = await sender.run(ready.plan.request, refresh=refresh, tags=ready.tags)
        except RunStoppedError:
            return UNSENT
        except Exception as error:
            if leaving.failure is not None:
                raise
            return book.failed(leaving, error)  # one that fails never loses the others
        finally:
            book.stop.discard(leaving)
        return book.answered(leaving, result)

    return in_tasks(run, requests, work)
