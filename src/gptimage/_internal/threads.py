"""Threads of the library's own, for work an event loop must not wait for.

asyncio's own pool is small and open to everybody. A program may fill it with calls that wait for
a request of this library (a waiting client in ``asyncio.to_thread``, say); a request that needed
a thread of the same pool to be finished would then never be.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar


if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


T = TypeVar("T")
P = ParamSpec("P")

IO_POOL: Final = "gptimage"
"""Files, downloads, decoding: each may take a while."""

CACHE_POOL: Final = "gptimage-quick"
"""Caches, ledgers and limits, which others wait for: nothing that takes long may fill it."""

_SIZES: Final = {IO_POOL: 32, CACHE_POOL: 8}
_pools: Final[dict[tuple[int, str], ThreadPoolExecutor]] = {}
"""By process, too: the threads of a forked parent are not there any more."""


async def to_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """`asyncio.to_thread`, with a thread of the library's own. Cancelling does not wait for it."""
    import asyncio

    return await asyncio.wrap_future(_submit(IO_POOL, work, *args, **options))


async def to_thread_shielded(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run quick work in a thread; cancelling takes effect once it is done."""
    return await _shielded(_submit(CACHE_POOL, work, *args, **options))


async def to_io_thread_shielded(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """`to_thread_shielded` for work that may take a while, and must not be left half done."""
    return await _shielded(_submit(IO_POOL, work, *args, **options))


async def _shielded(future: Future[T]) -> T:
    import asyncio

    job = asyncio.wrap_future(future)
    cancelled: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait((job,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        job.exception()  # looked at, so that asyncio does not complain
        raise cancelled
    return job.result()


def _submit(pool: str, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
    """Begin work in a thread that sees the caller's context variables."""
    from contextvars import copy_context

    return _pool(pool).submit(partial(copy_context().run, work, *args, **options))


def _pool(name: str) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    key = (os.getpid(), name)
    if key not in _pools:
        made = ThreadPoolExecutor(_SIZES[name], thread_name_prefix=name)
        _pools.setdefault(key, made)  # unused threads are never started
    return _pools[key]
