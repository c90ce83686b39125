"""Many requests at once: `many` in threads, `amany` in tasks; both yield items as they finish.

At most twice as many requests as ``concurrency`` are alive at any time, counting those that are
sent, those that wait, and results that were not delivered. So a million requests need no more
memory than a hundred, and a slow reader slows the sending down.
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
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypedDict, Unpack

from attrs import field, frozen

from gptimage._internal.coroutines import run_blocking
from gptimage._internal.keywords import as_int, function, refuse_unknown
from gptimage._internal.threads import to_thread
from gptimage.bulk.checkpoint import Checkpoint
from gptimage.bulk.checkpoint_hook import CheckpointHook, RunStoppedError
from gptimage.bulk.items import (
    NO_OPTIONS,
    Item,
    PlannedItem,
    RequestInput,
    check_requests,
    reads_images,
)
from gptimage.bulk.progress import ProgressCallback, ProgressTracker
from gptimage.bulk.run_state import RunState
from gptimage.bulk.stop import Stop
from gptimage.engine.arguments import refuse_in_call
from gptimage.engine.save import ResultSaver
from gptimage.errors import InvalidRequestError, OutcomeUnknownError, truncated_repr
from gptimage.transport.billing import Billing
from gptimage.types.request import EditOptions, Generate
from gptimage.types.result import Result


if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


CheckpointPath: TypeAlias = str | PathLike[str] | None
"""The file of a run, or None."""


class _EndMark(enum.Enum):
    END = enum.auto()
    UNSENT = enum.auto()


UNSENT: Final = _EndMark.UNSENT
"""The outcome of a request that was not sent because the run ended."""

Outcome: TypeAlias = Item | _EndMark | None
"""None is an item that an earlier run delivered."""

_Queued: TypeAlias = Outcome | BaseException
"""An exception ends the run, after everything that was sent is yielded."""


class RunSettings(TypedDict, total=False):
    """The settings of a run; see ``ImageClient.generate_many``."""

    concurrency: int
    progress: ProgressCallback
    checkpoint: CheckpointPath
    retry_unknown: bool
    stop: Stop | None
    refresh: bool
    tags: Iterable[str]
    options: EditOptions


@frozen(kw_only=True)
class Run:
    """A run of many, the same for threads and tasks."""

    saver: ResultSaver
    total: int | None
    tags: tuple[str, ...]
    concurrency: int = field(default=8, converter=as_int)
    progress: ProgressCallback = False
    checkpoint: CheckpointPath = None
    retry_unknown: bool = False
    stop: Stop | None = None
    refresh: bool = False
    options: EditOptions = NO_OPTIONS

    @classmethod
    def of(
        cls,
        saver: ResultSaver,
        requests: object,
        settings: RunSettings,
    ) -> Run:
        """Make the run of a caller's settings.

        Raises:
            InvalidRequestError: ``concurrency`` is below 1, the requests are one request, or
                another setting is of the wrong kind.
        """
        check_requests(requests)
        names = (*RunSettings.__annotations__, *EditOptions.__annotations__)
        refuse_unknown("generate_many", settings.get("options", NO_OPTIONS), names)
        tags = saver.check_saving(settings.get("tags", ()))
        known: dict[str, Any] = {**settings, "tags": tags}
        run = cls(
            saver=saver,
            total=len(requests) if isinstance(requests, Sized) else None,
            **known,
        )
        _check("concurrency", run.concurrency, "1 or more", good=run.concurrency >= 1)
        stops = isinstance(run.stop, (Stop, type(None)))  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        _check("stop", run.stop, "a gptimage.bulk.Stop", good=stops)
        if not isinstance(run.progress, bool):
            with refuse_in_call("progress", run.progress):
                function("progress", run.progress, "True, False or a function")
        return run

    @property
    def room(self) -> int:
        """The number of requests and results that may be in memory."""
        return 2 * self.concurrency

    @contextmanager
    def opened(self) -> Generator[tuple[RunState, ProgressTracker]]:
        """Open the checkpoint and the progress; they are closed at the end of the run."""
        path = self.checkpoint
        with nullcontext() if path is None else Checkpoint(path) as file:
            state = RunState(
                saver=self.saver,
                checkpoint=file,
                retry_unknown=self.retry_unknown,
                tags=self.tags,
                options=self.options,
                stop=self.stop or Stop(),
            )
            tracker = ProgressTracker(
                self.total, self.progress, per_minute=self.saver.core.per_minute
            )
            try:
                yield state, tracker
            finally:
                tracker.close()


def _given_up(error: RunStoppedError, item: PlannedItem) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"{error}, and an earlier try of it may be billed", possible_cost=item.plan.max_cost
    )


def _check(field: str, value: object, allowed: str, *, good: bool) -> None:
    if not good:
        raise InvalidRequestError(
            f"{field}={truncated_repr(value)}: it must be {allowed}",
            field=field,
            value=value,
            allowed=allowed,
        )


async def _process(
    state: RunState,
    index: int,
    request: RequestInput,
    *,
    send: Callable[[CheckpointHook], Awaitable[Result]],
    prepare: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> Outcome:
    """Plan, send and settle one request: the same for threads and tasks.

    Args:
        state: The run.
        index: Which request it is.
        request: The request.
        send: Sends it, with the hook before it.
        prepare: Does what may read files.
    """
    work = partial(state.prepare, index, request)
    # A reply may be in the spool. Without one, planning takes a fraction of a millisecond, less
    # than the way to a thread and back.
    reads = reads_images(request) or state.checkpoint is not None
    planned = await prepare(work) if reads else work()
    if not isinstance(planned, PlannedItem):
        found: Item | None = planned
        return found
    hook = CheckpointHook(state, planned)
    try:
        result = await send(hook)
    except RunStoppedError as error:
        if hook.billing is Billing.SENT:  # an earlier try of it may be billed (`Retry.unknown`)
            return state.failed(hook, _given_up(error, planned))
        return UNSENT
    except Exception as error:
        if hook.failure is not None:
            raise
        return state.failed(hook, error)  # one that fails never loses the others
    finally:
        state.stop.discard(hook)
    return state.arrived(hook, result)


def in_threads(
    run: Run,
    requests: Iterable[RequestInput],
    process: Callable[[RunState, int, RequestInput], Outcome],
) -> Generator[Item]:
    """Yield items as threads finish them.

    Whatever ends the run early, what was sent is waited for: when something fails in here, it is
    yielded first; when the loop is left, it stays in the spool or the store.
    """
    done: queue.SimpleQueue[_Queued] = queue.SimpleQueue()
    failure: BaseException | None = None

    def work(index: int, request: RequestInput) -> None:
        try:
            done.put(UNSENT if state.stopping else process(state, index, request))
        except BaseException as error:  # noqa: BLE001  # it ends the run, in the caller's thread
            state.over.set()
            done.put(error)

    source: Iterator[tuple[int, RequestInput]] | None = enumerate(requests)
    alive = 0
    with run.opened() as (state, tracker):
        try:
            with _pool(run.concurrency, state) as pool:
                while source is not None or alive:
                    if source is not None and state.stopping:
                        source = None
                        continue
                    if source is not None and alive < run.room:
                        try:
                            following = next(source, None)
                        except Exception as error:  # noqa: BLE001  # raised once the rest is yielded
                            failure, following = failure or error, None
                        if following is None:
                            source = None
                            continue
                        pool.submit(work, *following)
                        alive += 1
                        if alive < run.room and done.empty():
                            continue
                    item, broken = _count_outcome(done.get(), tracker, state)
                    failure = failure or broken
                    if item is not None:
                        yield item
                        state.mark_delivered(item)
                    alive -= 1
        except BaseException as error:
            state.close(_drained(done), error)
            raise
        if failure is not None:
            raise failure


async def in_tasks(
    run: Run,
    requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
    process: Callable[[RunState, int, RequestInput], Awaitable[Outcome]],
) -> AsyncGenerator[Item]:
    """Yield items as tasks finish them; see `in_threads`.

    When closed, it waits for those that were sent; when cancelled, it cancels them. It is no
    `asyncio.TaskGroup`, which must not be left open where a generator yields.
    """
    import asyncio

    done: asyncio.Queue[_Queued] = asyncio.Queue()
    room, slots = asyncio.Semaphore(run.room), asyncio.Semaphore(run.concurrency)
    tasks: set[asyncio.Task[None]] = set()
    failure: BaseException | None = None

    async def work(index: int, request: RequestInput) -> None:
        try:
            async with slots:
                done.put_nowait(UNSENT if state.stopping else await process(state, index, request))
        except BaseException as error:
            state.over.set()
            done.put_nowait(error)  # it ends the run, in the caller's task
            if not isinstance(error, Exception):
                raise

    async def feed() -> None:
        source = _as_async(requests)
        try:
            for index in itertools.count():
                await room.acquire()
                request = _EndMark.END if state.stopping else await anext(source, _EndMark.END)
                if isinstance(request, _EndMark):
                    break
                task = asyncio.create_task(work(index, request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except Exception as error:  # noqa: BLE001  # the requests themselves failed
            state.over.set()
            done.put_nowait(error)

    async def end() -> None:
        await asyncio.wait((feeder,))
        await asyncio.gather(*tasks, return_exceptions=True)
        done.put_nowait(_EndMark.END)

    opened = run.opened()
    state, tracker = await to_thread(opened.__enter__)
    feeder = asyncio.create_task(feed())
    ender = asyncio.create_task(end())
    try:
        while (found := await done.get()) is not _EndMark.END:
            item, broken = _count_outcome(found, tracker, state)
            failure = failure or broken
            if item is not None:
                yield item
                state.mark_delivered(item)
            if state.stopping:  # it may wait for a request that takes long to come
                feeder.cancel()
            room.release()
        if failure is not None:
            raise failure
    except BaseException as error:
        state.over.set()
        feeder.cancel()
        if isinstance(error, asyncio.CancelledError):
            for task in tasks:
                task.cancel()
        await asyncio.gather(feeder, ender, *tasks, return_exceptions=True)
        state.close(_drained(done), error)
        raise
    finally:
        opened.__exit__(None, None, None)


def _drained(done: Any) -> Iterator[object]:
    """Return what is left in a queue."""
    while not done.empty():
        yield done.get_nowait()


@contextmanager
def _pool(threads: int, state: RunState) -> Generator[ThreadPoolExecutor]:
    """Make a pool that, at its end, drops what was not sent and waits for the rest."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="gptimage-many")
    try:
        yield pool
    finally:
        state.over.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _count_outcome(
    outcome: _Queued, tracker: ProgressTracker, state: RunState
) -> tuple[Item | None, BaseException | None]:
    """Count an outcome; return the item to yield, if any, and what ends the run, if anything.

    A progress function that fails ends the run, and loses no item.
    """
    if isinstance(outcome, BaseException):
        return None, outcome
    if isinstance(outcome, _EndMark):
        return None, None
    try:
        _count(outcome, tracker)
    except Exception as error:  # noqa: BLE001  # raised once the rest is yielded
        state.over.set()
        return outcome, error
    return outcome, None


def _count(outcome: Item | None, tracker: ProgressTracker) -> None:
    # A resumed item is not opened to be counted: that would read every image of an earlier run.
    if outcome is None or (outcome.resumed and outcome.error is None):
        tracker.resumed()
    elif outcome.error is not None or outcome.result is None:
        tracker.failed()
    else:
        tracker.done(outcome.result.cost)


async def _as_async(
    requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
) -> AsyncIterator[RequestInput]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


class SyncRunner(Protocol):
    """A client that sends requests and blocks."""

    def run(self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...) -> Result:
        """Send a request."""
        ...


class AsyncRunner(Protocol):
    """A client whose requests are awaited."""

    async def run(
        self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
    ) -> Result:
        """Send a request."""
        ...


def many(
    saver: ResultSaver,
    with_hook: Callable[[CheckpointHook], SyncRunner],
    requests: Iterable[RequestInput],
    **settings: Unpack[RunSettings],
) -> Generator[Item]:
    """Send many requests from threads; see ``ImageClient.generate_many``.

    Args:
        saver: The client's, which parses and saves replies.
        with_hook: Returns the client, whose one request goes through the hook and whose reply is
            saved by it.
        requests: The requests; read as they are needed, in the thread that takes the items.
        **settings: See `RunSettings`.

    Raises:
        InvalidRequestError: A setting is wrong.
        ConfigurationError: The checkpoint is in use, or belongs to other requests.
    """
    run = Run.of(saver, requests, settings)

    async def send(hook: CheckpointHook) -> Result:
        item = hook.planned
        return with_hook(hook).run(item.plan.request, refresh=run.refresh, tags=item.tags)

    async def prepare(work: Callable[[], Any]) -> Any:
        return work()

    def process(state: RunState, index: int, request: RequestInput) -> Outcome:
        return run_blocking(_process(state, index, request, send=send, prepare=prepare))

    return in_threads(run, requests, process)


def amany(
    saver: ResultSaver,
    with_hook: Callable[[CheckpointHook], AsyncRunner],
    requests: Iterable[RequestInput] | AsyncIterable[RequestInput],
    **settings: Unpack[RunSettings],
) -> AsyncGenerator[Item]:
    """Send many requests from tasks, as `many` does; the requests may be async, too.

    Raises:
        InvalidRequestError: A setting is wrong.
        ConfigurationError: The checkpoint is in use, or belongs to other requests.
    """
    run = Run.of(saver, requests, settings)

    async def send(hook: CheckpointHook) -> Result:
        item = hook.planned
        return await with_hook(hook).run(item.plan.request, refresh=run.refresh, tags=item.tags)

    return in_tasks(run, requests, partial(_process, send=send, prepare=to_thread))
