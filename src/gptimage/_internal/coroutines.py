"""Running coroutines that never suspend: what is written once for blocking and async code.

A coroutine waits only through an object it is given. Where that object's methods finish before
they return, the coroutine gets from beginning to end in one step and needs no event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar, cast


T = TypeVar("T")


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its value."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise AssertionError("code for blocking callers must not wait for an event loop")


def iterate_blocking(events: AsyncGenerator[T]) -> Generator[T]:
    """Yield what an async generator yields that never suspends; closing this closes it."""
    try:
        while True:
            try:
                event = run_blocking(anext(events))
            except StopAsyncIteration:
                return
            yield event
    finally:
        # Not left to the garbage collector: a connection is open, and a reservation stands.
        run_blocking(events.aclose())
