"""Many requests at once: `many` in threads, `amany` in tasks; both yield items as they finish.

At most twice as many requests as ``concurrency`` are alive at any time, counting those that are
sent, those that wait, and results you have not taken. So a million requests need no more
memory than a hundred, and a slow reader slows the asking down.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from typing import Protocol

from gptimage._internal.threads import in_thread
from gptimage.bulk.checkpoint_hook import Leaving, RunStoppedError
from gptimage.bulk.items import Asked, Item, Ready, reads_pictures
from gptimage.bulk.progress import Watcher
from gptimage.bulk.run_state import Book
from gptimage.bulk.runs import UNSENT, CheckpointPath, Outcome, Run, in_tasks, in_threads
from gptimage.bulk.stop import Stop
from gptimage.engine.save import Keeper
from gptimage.transport.protocols import CachePort
from gptimage.types.request import Generate
from gptimage.types.result import Result


class Runs(Protocol):
    """A client that sends requests and waits."""

    @property
    def cache(self) -> CachePort | None:
        """Where answers are kept, or None."""
        ...

    def run(self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...) -> Result:
        """Send a request."""
        ...


class AsyncRuns(Protocol):
    """A client whose requests are awaited."""

    @property
    def cache(self) -> CachePort | None:
        """Where answers are kept, or None."""
        ...

    async def run(
        self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...
    ) -> Result:
        """Send a request."""
        ...


def many(
    client: Runs,
    keeper: Keeper,
    noted: Callable[[Leaving], Runs],
    requests: Iterable[Asked],
    *,
    concurrency: int = 8,
    progress: Watcher = False,
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

    def work(book: Book, index: int, asked: Asked) -> Outcome:
        ready = book.prepare(index, asked)
        if not isinstance(ready, Ready):
            return ready
        leaving = Leaving(book, ready)
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
    client: AsyncRuns,
    keeper: Keeper,
    noted: Callable[[Leaving], AsyncRuns],
    requests: Iterable[Asked] | AsyncIterable[Asked],
    *,
    concurrency: int = 8,
    progress: Watcher = False,
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

    async def work(book: Book, index: int, asked: Asked) -> Outcome:
        if reads_pictures(asked) or book.checkpoint is not None:  # a reply may wait in the spool
            ready = await in_thread(book.prepare, index, asked)
        else:  # a fraction of a millisecond, less than the way to a thread and back
            ready = book.prepare(index, asked)
        if not isinstance(ready, Ready):
            return ready
        leaving = Leaving(book, ready)
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
