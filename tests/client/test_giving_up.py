"""A call that is given up before it is sent is never sent; one that was sent is not wasted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.cache import Cache
from gptimage.observers.events import Event, Retried
from gptimage.transport.http import HttpReply
from tests.cache.single_flight_helpers import waiting
from tests.client.harness import AsyncFakeTransport, FakeTransport, answer, failure, picture


DRAWN = answer(picture())
BUSY = failure(429, {"retry-after": "30"}, code="rate_limit_exceeded")
LOW: dict[str, Any] = {"quality": "low", "size": "1024x1024"}


class HeldLimiter:
    """A limiter that lets nobody through until it is opened, and says when somebody waits."""

    def __init__(self, waits: Callable[[], object]) -> None:
        self.open = False
        self._waits = waits

    def acquire(self, n_images: int, tokens: int | None) -> float:
        """0 when it is open."""
        del n_images, tokens
        if self.open:
            return 0.0
        self._waits()
        return 0.01

    def learn(self, reply: HttpReply) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Retries:
    """Says when a call waits to be sent again."""

    def __init__(self, waits: Callable[[], object]) -> None:
        self._waits = waits

    def notify(self, event: Event) -> None:
        """Say so."""
        if isinstance(event, Retried):
            self._waits()


def waiting_for(what: str, waits: Callable[[], object]) -> tuple[list[Any], dict[str, Any]]:
    """Answers and settings with which a call waits for a limit, or to be sent again."""
    if what == "limit":
        return [DRAWN], {"limits": HeldLimiter(waits)}
    again = {"observers": [Retries(waits)]}
    return [BUSY], again


async def pending_tasks() -> set[asyncio.Task[Any]]:
    """Tasks that are still there although everybody should have gone."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return (await asyncio.wait(others, timeout=60))[1] if others else set()


@pytest.mark.parametrize("what", ["limit", "retry"])
@pytest.mark.parametrize("counted", [False, True], ids=["plain", "counted"])
def test_a_cancelled_call_that_waits_is_given_up(what: str, counted: bool, tmp_path: Path) -> None:
    """It does not go out later, and what was reserved for it is free again."""
    ledger = Ledger(tmp_path / "spend.sqlite")
    money = {"budget": Budget(1, per="total", ledger=ledger)} if counted else {}

    async def main() -> FakeTransport:
        waits = asyncio.Event()
        loop = asyncio.get_running_loop()
        answers, settings = waiting_for(what, lambda: loop.call_soon_threadsafe(waits.set))
        fake = FakeTransport(answers)
        client = gptimage.AsyncImageClient(
            transport=AsyncFakeTransport(fake), cache=Cache.memory(), **settings, **money
        )
        task = asyncio.ensure_future(client.generate("A fox", **LOW))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pending_tasks() == set()
        fake.answers[:] = [DRAWN]
        return fake

    fake = asyncio.run(main())

    assert len(fake.requests) == (0 if what == "limit" else 1)
    assert [(row.billing, row.counted) for row in ledger.rows()] == [("not_billed", 0)] * counted


def test_a_call_somebody_else_waits_for_goes_on() -> None:
    """The one who asked is cancelled; the one who joined gets the image of the only request."""

    async def main() -> tuple[FakeTransport, gptimage.Result]:
        waits = asyncio.Event()
        loop = asyncio.get_running_loop()
        limiter = HeldLimiter(lambda: loop.call_soon_threadsafe(waits.set))
        fake = FakeTransport([DRAWN])
        client = gptimage.AsyncImageClient(
            transport=AsyncFakeTransport(fake), cache=Cache.memory(), limits=limiter
        )
        leader = asyncio.ensure_future(client.generate("A fox", **LOW))
        await waits.wait()
        joined = asyncio.ensure_future(client.generate("A fox", **LOW))
        while not waiting():  # noqa: ASYNC110  # nothing tells when somebody has joined
            await asyncio.sleep(0)
        leader.cancel()
        await asyncio.wait((leader,))
        limiter.open = True
        return fake, await joined

    fake, result = asyncio.run(main())

    assert len(fake.requests) == 1
    assert (result.cached, result.cost) == (True, 0)


def test_a_call_that_was_sent_is_kept_for_the_next() -> None:
    """It is paid for: cancelled or not, its image is in the cache."""

    class Slow(AsyncFakeTransport):
        async def send(self, request: Any) -> HttpReply:
            sent.set()
            await go_on.wait()
            return self.inner.send(request)

    sent, go_on = asyncio.Event(), asyncio.Event()

    async def main() -> gptimage.Result:
        client = gptimage.AsyncImageClient(
            transport=Slow(FakeTransport([DRAWN])), cache=Cache.memory()
        )
        task = asyncio.ensure_future(client.generate("A fox", **LOW))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        return await client.generate("A fox", **LOW)

    assert asyncio.run(main()).cached


@pytest.mark.parametrize("what", ["limit", "retry"])
def test_ctrl_c_while_waiting_lets_the_next_thread_ask(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was billed, so whoever waited for the same request asks, and is not put off."""
    waits = threading.Event()
    answers, settings = waiting_for(what, waits.set)
    fake = FakeTransport(answers)
    client = gptimage.ImageClient(transport=fake, cache=Cache.memory(), **settings)

    def interrupted(seconds: float) -> None:
        """The pause of a call that waits, until somebody has joined it; then Ctrl-C."""
        if not threading.current_thread().name.startswith("caller"):
            return nap(seconds)  # a thread another test left behind
        while not waiting():
            nap(0.001)
        fake.answers[:] = [DRAWN]
        if what == "limit":
            settings["limits"].open = True
        raise KeyboardInterrupt

    nap = time.sleep
    monkeypatch.setattr(time, "sleep", interrupted)
    with ThreadPoolExecutor(2, "caller") as pool:
        leader = pool.submit(client.generate, "A fox", **LOW)
        waits.wait()
        joined = pool.submit(client.generate, "A fox", **LOW)

        assert isinstance(leader.exception(), KeyboardInterrupt)
        assert joined.result().cost > Decimal(0)
    assert len(fake.requests) == (1 if what == "limit" else 2)
