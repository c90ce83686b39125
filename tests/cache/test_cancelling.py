"""When the one who asks is interrupted, cancelled, or loses its event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from gptimage.cache import Cache
from gptimage.cache.base import FlightResult, NewReply
from gptimage.cache.single_flight import asingle_flight, single_flight
from gptimage.errors import (
    OutcomeUnknownError,
)
from tests.cache.single_flight_helpers import (
    KEY,
    Maker,
    Service,
    body,
    turned_away,
    until_waiting,
)


def test_ctrl_c_after_sending_pays_nothing_twice(cache: Cache) -> None:
    """The one who is interrupted is; those who waited are told that it may have been billed."""
    service = Service(KeyboardInterrupt())
    service.crowd = 2
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(single_flight, cache, KEY, service)
        service.begun.wait()
        waiter = pool.submit(single_flight, cache, KEY, service)

        with pytest.raises(KeyboardInterrupt):
            leader.result()
        with pytest.raises(OutcomeUnknownError, match=r"KeyboardInterrupt.*usage page"):
            waiter.result()
    assert service.asked == 1


def test_ctrl_c_before_sending_lets_somebody_else_ask(cache: Cache) -> None:
    """What was certainly not sent is sent by the next."""
    service = Service(KeyboardInterrupt())
    service.crowd = 2
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(single_flight, cache, KEY, service, sent=lambda: False)
        service.begun.wait()
        waiter = pool.submit(single_flight, cache, KEY, service)

        with pytest.raises(KeyboardInterrupt):
            leader.result()
        assert body(waiter.result()) == b"reply 2"


def test_a_cancelled_leader_lets_another_process_lead_if_nothing_was_sent(
    elsewhere: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was given up before sending is no failure of those who wait elsewhere."""
    first, second, service = elsewhere(), elsewhere(), Service(KeyboardInterrupt(), delay=0)
    service.go = turned_away(second, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(single_flight, first, KEY, service, sent=lambda: False)
        service.begun.wait()
        shared = single_flight(second, KEY, service)

        assert isinstance(leader.exception(), KeyboardInterrupt)
    assert body(shared) == b"reply 2"


def test_a_cancelled_leader_leaves_its_flight_in_the_air(cache: Cache) -> None:
    """Those who wait get the reply, and so does the cache: it is paid for."""
    service = Service(delay=0)
    service.go.clear()

    async def main() -> list[FlightResult]:
        leader = asyncio.ensure_future(asingle_flight(cache, KEY, service.awaited))
        await asyncio.to_thread(service.begun.wait)
        waiters = [
            asyncio.ensure_future(asingle_flight(cache, KEY, service.awaited)) for _ in range(3)
        ]
        await until_waiting(3)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        service.go.set()
        return await asyncio.gather(*waiters)

    found = asyncio.run(main())

    assert {body(each) for each in found} == {b"reply 1"}
    assert service.asked == 1
    assert body(single_flight(cache, KEY, service)) == b"reply 1"


def test_a_paid_reply_reaches_the_cache_although_nobody_waits(cache: Cache) -> None:
    """A caller that gives up on a request that was sent finds the reply next time."""
    service = Service(delay=0)
    service.go.clear()

    async def main() -> FlightResult:
        task = asyncio.ensure_future(asingle_flight(cache, KEY, service.awaited))
        await asyncio.to_thread(service.begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        service.go.set()
        return await asingle_flight(cache, KEY, service.awaited)

    assert body(asyncio.run(main())) == b"reply 1"
    assert service.asked == 1


def test_what_nobody_wants_is_not_sent(cache: Cache) -> None:
    """A caller that gives up before sending, with nobody waiting, never pays."""
    sent: list[bool] = []
    begun, turn = asyncio.Event(), asyncio.Event()

    async def call() -> NewReply:
        begun.set()
        await turn.wait()  # as a rate limit makes it
        sent.append(True)
        return NewReply(body=b"unwanted")

    async def main() -> None:
        task = asyncio.ensure_future(asingle_flight(cache, KEY, call, sent=lambda: bool(sent)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        turn.set()
        await asyncio.sleep(0.05)

    asyncio.run(main())

    assert sent == []
    assert body(single_flight(cache, KEY, Service())) == b"reply 1"


def test_the_last_passenger_to_leave_ends_what_was_not_sent() -> None:
    """A flight goes on for its passengers, and no longer."""
    cache, sent, turn = Cache.memory(), list[bool](), asyncio.Event()

    async def call() -> NewReply:
        await turn.wait()
        sent.append(True)
        return NewReply(body=b"unwanted")

    async def main() -> None:
        flights = [
            asyncio.ensure_future(asingle_flight(cache, KEY, call, sent=lambda: bool(sent)))
            for _ in range(3)
        ]
        await until_waiting(2)
        for task in flights:
            task.cancel()
            await asyncio.wait([task])
        turn.set()
        await asyncio.sleep(0.05)

    asyncio.run(main())

    assert sent == []


def test_an_event_loop_that_ends_tells_those_who_wait_elsewhere() -> None:
    """A request broken off by the end of its loop may have been billed; a thread learns that."""
    cache, service = Cache.memory(), Service(delay=30)

    async def main() -> None:
        task = asyncio.ensure_future(asingle_flight(cache, KEY, service.awaited))
        await asyncio.to_thread(service.begun.wait)
        jobs.append(pool.submit(single_flight, cache, KEY, service))
        await until_waiting(1)
        task.cancel()

    jobs: list[object] = []
    with ThreadPoolExecutor(1) as pool:
        asyncio.run(main())
        (job,) = jobs
        with pytest.raises(OutcomeUnknownError, match="CancelledError"):
            job.result()  # type: ignore[attr-defined]  # a future
    assert service.asked == 1


def test_a_flight_whose_loop_was_closed_is_not_waited_for(cache: Cache) -> None:
    """A loop thrown away with its tasks pending does not block a key for ever."""
    service = Service(delay=30)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it would complain about the task thrown away
    task = loop.create_task(asingle_flight(cache, KEY, service.awaited))
    while not service.begun.is_set():
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    with ThreadPoolExecutor(1) as pool:
        shared = pool.submit(single_flight, cache, KEY, Service(delay=0)).result()

    assert (body(shared), shared.warnings) == (b"reply 1", ())
    assert not task.done()


def test_a_flight_cancelled_before_it_began_is_not_waited_for(cache: Cache) -> None:
    """Cancelling a flight that has not taken its first step leaves nothing behind."""

    async def main() -> FlightResult:
        task = asyncio.ensure_future(asingle_flight(cache, KEY, Service().awaited))
        await asyncio.sleep(0)  # it has made its flight
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asingle_flight(cache, KEY, Service(delay=0).awaited)

    shared = asyncio.run(main())

    assert (body(shared), shared.cached, shared.warnings) == (b"reply 1", False, ())
