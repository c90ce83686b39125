"""Each caller has things of their own, opened when first needed."""

from __future__ import annotations

import asyncio
import threading

from gptimage.service import Tenants, as_caller, current_caller


def tenants(closed: list[str | None], busy: tuple[str, ...] = (), idle: int = 2) -> Tenants[str]:
    """Tenants whose things are words."""
    return Tenants(
        lambda name: f"of {name}",
        is_idle=lambda each: each not in busy,
        close=closed.append,
        idle=idle,
    )


def test_what_a_request_starts_has_its_caller() -> None:
    """Tasks and threads that a request starts know who sent it; the next request does not."""

    async def ask(name: str) -> tuple[str | None, str | None]:
        with as_caller(name):
            task = asyncio.create_task(asyncio.to_thread(current_caller))
        return await task, current_caller()

    async def both() -> list[tuple[str | None, str | None]]:
        return [*await asyncio.gather(ask("a"), ask("b"))]

    assert asyncio.run(both()) == [("a", None), ("b", None)]


def test_each_caller_has_their_own() -> None:
    """The same caller gets the same thing again, another caller another one."""
    found = tenants([], idle=10)
    with as_caller("a"):
        first, again = found.current, found.current
    with as_caller("b"):
        other = found.current

    assert (first, again, other, found.current) == ("of a", "of a", "of b", "of None")
    assert found.opened == ("of a", "of b", "of None")


def test_what_is_idle_is_closed_when_too_many_are_open() -> None:
    """The one not used for longest is closed, unless it is in use or belongs to no caller."""
    closed: list[str | None] = []
    found = tenants(closed, busy=("of a",))
    for name in (None, "a", "b", "a", "c"):
        found.of(name)

    assert closed == ["of b"]
    assert found.of("b") == "of b"
    assert closed == ["of b", "of c"]


def test_threads_do_not_open_the_same_twice() -> None:
    """Requests of one caller at the same moment share what one of them opened."""
    opened: list[str | None] = []
    found: Tenants[object] = Tenants(opened.append, is_idle=lambda _: True, close=lambda _: None)
    threads = [threading.Thread(target=found.of, args=("a",)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert opened == ["a"]
