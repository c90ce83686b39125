"""Many requests at once: `many` in threads, `amany` in tasks; both yield items as they finish.

At most twice as many requests as ``concurrency`` are alive at any time, counting those that are
sent, those that wait, and results you have not taken. So a million requests need no more
memory than a hundred, and a slow reader slows the asking down.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import Protocol, Self

from gptimage._core import Core
from gptimage._threads import in_thread
from gptimage.bulk.items import Asked, Book, Item, Leaving, Ready, reads_pictures
from gptimage.bulk.runs import CheckpointPath, Run, in_tasks, in_threads
from gptimage.bulk.tally import Watcher
from gptimage.gate import Gate
from gptimage.ports import CachePort
from gptimage.requests import Generate
from gptimage.results import Result


class Runs(Protocol):
    """A client that sends requests and waits."""

    @property
    def cache(self) -> CachePort | None:
        """Where answers are kept, or None."""
        ...

    def run(self, request: Generate, *, refresh: bool = ..., tags: Iterable[str] = ...) -> Result:
        """Send a request."""
        ...

    def gated(self, gate: Gate) -> Self:
        """The same client, which asks before a request leaves."""
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

    def gated(self, gate: Gate) -> Self:
        """The same client, which asks before a request leaves."""
        ...


def many(
    client: Runs,
    core: Core,
    requests: Iterable[Asked],
    *,
    concurrency: int = 8,
    progress: Watcher = False,
    checkpoint: CheckpointPath = None,
    retry_unknown: bool = False,
    refresh: bool = False,
    tags: Iterable[str] = (),
) -> Generator[Item]:
    """Send many requests from threads; see ``ImageClient.generate_many``.

    Args:
        client: Who sends them.
        core: The client's settings.
        requests: The requests; read as they are needed, in the thread that takes the items.
        concurrency: How many are asked at the same time.
        progress: Show the progress on standard error, or call something after every item.
        checkpoint: A file that lets a second run do only what is missing.
        retry_unknown: Ask again what an earlier run may have been billed for.
        refresh: Ask even if the cache knows the answer.
        tags: Tags for the store.

    Raises:
        InvalidRequestError: ``concurrency`` is below 1.
        ConfigurationError: The checkpoint is in use, or belongs to other requests.
    """
    run = Run.of(
        core,
        requests,
        cache=client.cache,
        concurrency=concurrency,
        watcher=progress,
        path=checkpoint,
        retry_unknown=retry_unknown,
        tags=tags,
    )

    def work(book: Book, index: int, asked: Asked) -> Item | None:
        ready = book.prepare(index, asked)
        if not isinstance(ready, Ready):
            return ready
        gate = Leaving(book, ready)
        sender = client.gated(gate) if book.checkpoint else client
        try:
            result = sender.run(ready.plan.request, refresh=refresh, tags=ready.tags)
        except Exception as error:
            if gate.failure is not None:
                raise
            return book.failed(ready, error)  # one that fails never loses the others
        return book.answered(ready, result)

    return in_threads(run, requests, work)


def amany(
    client: AsyncRuns,
    core: Core,
    requests: Iterable[Asked] | AsyncIterable[Asked],
    *,
    concurrency: int = 8,
    progress: Watcher = False,
    checkpoint: CheckpointPath = None,
    retry_unknown: bool = False,
    refresh: bool = False,
    tags: Iterable[str] = (),
) -> AsyncGenerator[Item]:
    """Send many requests from tasks; the twin of `many`, whose requests may be async, too.

    Raises:
        InvalidRequestError: ``concurrency`` is below 1.
        ConfigurationError: The checkpoint is in use, or belongs to other requests.
    """
    run = Run.of(
        core,
        requests,
        cache=client.cache,
        concurrency=concurrency,
        watcher=progress,
        path=checkpoint,
        retry_unknown=retry_unknown,
        tags=tags,
    )

    async def work(book: Book, index: int, asked: Asked) -> Item | None:
        if reads_pictures(asked):
            ready = await in_thread(book.prepare, index, asked)
        else:  # a fraction of a millisecond, less than the way to a thread and back
            ready = book.prepare(index, asked)
        if not isinstance(ready, Ready):
            return ready
        gate = Leaving(book, ready)
        sender = client.gated(gate) if book.checkpoint else client
        try:
            result = await sender.run(ready.plan.request, refresh=refresh, tags=ready.tags)
        except Exception as error:
            if gate.failure is not None:
                raise
            return book.failed(ready, error)  # one that fails never loses the others
        return book.answered(ready, result)

    return in_tasks(run, requests, work)
