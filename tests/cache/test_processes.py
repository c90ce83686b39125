"""Requests that are alike are one call across processes, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.cache import Cache
from gptimage.cache.redis import RedisCache
from tests.processes import start_python


WORKER = Path(__file__).with_name("worker.py")
WORKER_KEY = "g1:" + "c" * 64


class Worker:
    """A process that asks through a cache, once it is told to go."""

    def __init__(self, mode: str, kind: str, place: str, url: str, count: int, prefix: str) -> None:
        self.process = start_python(
            [WORKER, mode, kind, place, prefix, url, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        """Wait until everything is imported."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Let it ask."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        """What it got."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        """End it as the system does when memory is short: it gets no last word."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


Start = Callable[..., Worker]


@pytest.fixture(params=["disk", "tiered", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """A cache that processes can share."""
    return str(request.param)


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where that cache is."""
    return request.getfixturevalue("redis_url") if kind == "redis" else str(tmp_path / "cache")


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Keeps the tests apart that share a Redis."""
    return f"{request.node.name}:"


@pytest.fixture
def cache(kind: str, place: str, prefix: str) -> Iterator[Cache]:
    """The cache, as the test sees it."""
    cache = (
        RedisCache(place, prefix=prefix, timeout=timedelta(seconds=10))
        if kind == "redis"
        else Cache.disk(place)
    )
    yield cache
    cache.close()


@pytest.fixture
def start(kind: str, place: str, prefix: str, service: Any) -> Iterator[Start]:
    """Starts workers, ready to go."""
    workers: list[Worker] = []

    def build(mode: str, count: int = 1, copies: int = 1) -> list[Worker]:
        made = [Worker(mode, kind, place, service.url, count, prefix) for _ in range(copies)]
        workers.extend(made)
        for worker in made:
            worker.ready()
        return made

    yield build
    for worker in workers:
        worker.kill()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, for as long as the test session has patience."""
    while not condition():
        time.sleep(0.01)


def test_four_processes_make_one_request(cache: Cache, start: Start, service: Any) -> None:
    """Fifty requests in each of four processes are one on the wire; all get its reply."""
    service.delay = 1.0
    workers = start("many", count=50, copies=4)
    for worker in workers:
        worker.go()
    found = [worker.result() for worker in workers]

    assert service.asked == ["/"]
    assert {text for each in found for text in each["bodies"]} == {"reply 1 to /"}
    assert sum(each["fresh"] for each in found) == 1
    assert [each["warnings"] for each in found] == [[]] * 4
    stats = cache.stats()
    assert (stats.misses, stats.hits, stats.entries) == (1, 199, 1)
    assert stats.saved_usd == 199 * Decimal("0.04")


def test_a_killed_leader_is_replaced(
    start: Start, service: Any, kind: str, cache: Any, prefix: str
) -> None:
    """The lease outlasts a slow call, and is free soon after its process was killed."""
    service.delay = 3600.0
    (leader,) = start("many")
    (waiter,) = start("many", count=3)
    leader.go()
    wait_until(lambda: len(service.asked) == 1)
    waiter.go()
    lease = f"{prefix}lease:{WORKER_KEY}"
    if kind == "redis":  # a lease lasts eight seconds by itself, and begins anew meanwhile
        assert cache._redis.pexpire(lease, 3_600_000)  # else it would be another key
        wait_until(lambda: cache._redis.pttl(lease) <= 8_000)
    time.sleep(0.5)
    assert len(service.asked) == 1

    service.delay = 0.0
    leader.kill()
    if kind == "redis":
        cache._redis.pexpire(lease, 1)  # as if the eight seconds were over

    assert waiter.result() == {"bodies": ["reply 2 to /"], "fresh": 1, "warnings": []}
    assert len(service.asked) == 2


def test_the_error_of_one_process_is_everybodys(start: Start, service: Any) -> None:
    """A refusal reaches waiting processes whole, and nobody asks again."""
    service.go.clear()
    leader, *waiters = start("fail", copies=3)
    leader.go()
    wait_until(lambda: len(service.asked) == 1)
    for waiter in waiters:
        waiter.go()
        assert waiter.result() == "waits"
    service.go.set()
    expected, *found = [worker.result() for worker in (leader, *waiters)]

    assert len(service.asked) == 1
    assert expected["kind"] == "ModerationError"
    assert found == [expected, expected]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_goes_on_by_itself(start: Start, service: Any) -> None:
    """After a fork both processes use the cache, and the child waits for its parent's flight."""
    service.delay = 0.5
    (worker,) = start("fork")
    worker.go()

    assert worker.result() == {
        "status": 0,
        "body": "reply 1 to /",
        "warnings": [],
        "kept": "from the child",
        "count": 1,
    }
    assert len(service.asked) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kind", ["disk"], indirect=True)
def test_a_child_does_not_keep_its_dead_parents_lease(start: Start, service: Any) -> None:
    """A leader's forked child that lives on does not hold up those who wait."""
    service.delay = 3600.0
    (leader,) = start("orphan")
    (waiter,) = start("many", count=2)
    leader.go()
    child = leader.result()
    try:
        waiter.go()
        time.sleep(0.3)
        assert len(service.asked) == 1
        service.delay = 0.0
        leader.kill()

        assert waiter.result() == {"bodies": ["reply 2 to /"], "fresh": 1, "warnings": []}
    finally:
        os.kill(child, signal.SIGKILL)
