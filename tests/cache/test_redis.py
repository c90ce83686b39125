"""Redis, as it is found in practice: dead, slow, restarted, full of other people's data."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis

from gptimage.cache import Cache, CacheEntry
from gptimage.cache import redis as module
from gptimage.cache.base import LeaseHeld, NewReply
from gptimage.cache.redis import RedisCache
from gptimage.cache.single_flight import single_flight
from gptimage.errors import CacheError, ConfigurationError
from tests.cache.single_flight_helpers import turned_away


KEY = "g1:" + "a" * 64


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Keeps the tests apart that share a Redis."""
    return f"{request.node.name}:"


@pytest.fixture
def cache(redis_url: str, prefix: str) -> Iterator[RedisCache]:
    """A cache of the test's own on the shared server."""
    cache = patient(redis_url, prefix=prefix)
    yield cache
    cache.close()


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    """The server, as somebody else sees it."""
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed ten times a second: nobody has to wait long for it."""
    monkeypatch.setattr(module, "_EVERY_SECONDS", 0.1)


def wait_for_renewal(raw: Any, lease: str) -> None:
    """Wait until a lease lasts as long as after its start, which it does once it was renewed."""
    assert raw.pexpire(lease, 3_600_000)  # else nobody has it
    while raw.pttl(lease) > 1000 * module.LEASE_SECONDS:
        time.sleep(0.02)


def patient(url: str, **options: Any) -> RedisCache:
    """A cache that does not take a busy machine for a dead server."""
    return RedisCache(url, timeout=timedelta(seconds=60), **options)


def ask(cache: Any, body: bytes = b"fresh", **options: bool) -> Any:
    """A call through the cache."""
    return single_flight(cache, KEY, lambda: NewReply(body=body, usd=Decimal("0.04")), **options)


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 20_000_000])
def test_large_replies_are_kept_whole(cache: RedisCache, size: int) -> None:
    """Replies of many pieces come back in one."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    cache.put(KEY, CacheEntry(body=body))
    found = cache.get(KEY)

    assert found is not None
    assert found.body == body


DAMAGE: dict[str, Any] = {
    "a changed body": lambda raw, p: raw.lset(f"{p}body:{KEY}", 0, b"something else"),
    "no body": lambda raw, p: raw.delete(f"{p}body:{KEY}"),
    "no hash": lambda raw, p: raw.hdel(f"{p}head:{KEY}", "sha256"),
    "no price field": lambda raw, p: raw.hdel(f"{p}head:{KEY}", "usd"),
    "an odd price": lambda raw, p: raw.hset(f"{p}head:{KEY}", "usd", "a lot"),
    "an odd date": lambda raw, p: raw.hset(f"{p}head:{KEY}", "created", "today"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_reply_is_a_miss(cache: RedisCache, raw: Any, prefix: str, damage: str) -> None:
    """It is removed, asked for again, and never handed out."""
    cache.put(KEY, CacheEntry(body=b"the body", usd=Decimal(1)))
    DAMAGE[damage](raw, prefix)

    assert cache.get(KEY) is None
    assert cache.stats().entries == 0
    assert ask(cache).warnings == ()
    assert ask(cache).cached


def test_foreign_data_under_our_keys_is_a_warning(cache: RedisCache, raw: Any, prefix: str) -> None:
    """A key of the wrong type costs a warning, not an image."""
    raw.set(f"{prefix}head:{KEY}", "somebody else's")
    shared = ask(cache)

    assert shared.body == b"fresh"
    assert "refuses" in shared.warnings[0]
    assert "went on without it" in shared.warnings[0]


def test_everything_has_the_prefix_and_clears_completely(
    cache: RedisCache, raw: Any, prefix: str
) -> None:
    """Other data on the server is not touched, and clearing leaves only counts and outcomes."""
    raw.set(f"other{prefix}", "mine")
    ask(cache)
    ask(cache)
    cache.clear()
    kinds = {
        name.decode().removeprefix(prefix).partition(":")[0] for name in raw.keys(f"{prefix}*")
    }

    assert kinds == {"counts", "note"}
    assert raw.get(f"other{prefix}") == b"mine"


def test_what_redis_expired_is_not_counted(cache: RedisCache, redis_url: str, prefix: str) -> None:
    """Redis removes replies by itself; the sums follow, and it is no eviction."""
    short = patient(redis_url, prefix=prefix, ttl=timedelta(milliseconds=50), max_bytes=30)
    short.put(KEY, CacheEntry(body=b"x" * 20))
    short.close()
    time.sleep(0.1)
    lasting = patient(redis_url, prefix=prefix, max_bytes=30)
    lasting.put("g1:other", CacheEntry(body=b"x" * 20))
    found = lasting.stats()
    lasting.close()

    assert (found.entries, found.bytes, found.evictions) == (1, 20, 0)


def test_replies_leave_redis_after_their_time(cache: RedisCache, raw: Any, prefix: str) -> None:
    """Both halves of a reply have a time to live on the server, a week by default."""
    cache.put(KEY, CacheEntry(body=b"x"))
    left = [raw.ttl(f"{prefix}{kind}:{KEY}") for kind in ("head", "body")]

    assert [604_000 < seconds <= 604_800 for seconds in left] == [True, True]


@pytest.mark.usefixtures("hurried")
def test_a_lease_outlasts_a_slow_call(redis_url: str, raw: Any, prefix: str) -> None:
    """A call that takes longer than a lease is still the only one: the lease begins anew."""
    asked: list[float] = []
    begun = threading.Event()

    def slow() -> NewReply:
        asked.append(time.monotonic())
        begun.set()
        for _ in range(3):
            wait_for_renewal(raw, f"{prefix}lease:{KEY}")
        return NewReply(body=b"slow")

    caches = [patient(redis_url, prefix=prefix) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(single_flight, caches[0], KEY, slow)]
        begun.wait()
        jobs += [pool.submit(single_flight, each, KEY, slow) for each in caches[1:]]
        found = [job.result() for job in jobs]
    for each in caches:
        each.close()

    assert [bytes(each.body) for each in found] == [b"slow"] * 3
    assert len(asked) == 1


@pytest.mark.usefixtures("hurried")
def test_a_released_lease_is_not_renewed(cache: RedisCache, raw: Any, prefix: str) -> None:
    """Renewing never brings back what was released, and the thread ends when nothing is held."""
    lease = cache.lease(KEY, "mine")
    assert not isinstance(lease, LeaseHeld)
    wait_for_renewal(raw, f"{prefix}lease:{KEY}")
    assert raw.get(f"{prefix}lease:{KEY}") == b"mine"

    lease.release("over")

    while cache._renewal._thread is not None:
        time.sleep(0.02)
        assert raw.get(f"{prefix}lease:{KEY}") is None


def test_a_renewal_that_comes_too_late_does_nothing(
    cache: RedisCache, raw: Any, prefix: str
) -> None:
    """A renewal that was on its way while the lease was released does not bring it back."""
    lease = cache.lease(KEY, "mine")
    assert not isinstance(lease, LeaseHeld)
    (late,) = cache._renewal._held.values()
    assert cache._renewal._renew([late]) == [1]
    lease.release("over")

    assert cache._renewal._renew([late]) == [0]
    assert raw.get(f"{prefix}lease:{KEY}") is None


@pytest.mark.usefixtures("hurried")
def test_a_lease_that_was_lost_is_not_taken_back(cache: RedisCache, raw: Any, prefix: str) -> None:
    """When somebody else holds it by now, neither renewing nor releasing touches theirs."""
    lease = cache.lease(KEY, "mine")
    assert not isinstance(lease, LeaseHeld)
    raw.set(f"{prefix}lease:{KEY}", "theirs")
    while cache._renewal._held:  # until the next renewal has seen it
        time.sleep(0.02)
    lease.release("over")

    assert raw.get(f"{prefix}lease:{KEY}") == b"theirs"


@pytest.mark.usefixtures("hurried")
def test_a_lease_survives_a_restart_of_redis(own_redis: Any) -> None:
    """A server that forgot everything is told again who is asking."""
    cache, other = patient(own_redis.url), patient(own_redis.url)
    lease = cache.lease(KEY, "mine")
    assert not isinstance(lease, LeaseHeld)
    own_redis.stop()
    own_redis.start()
    client = redis.Redis.from_url(own_redis.url)
    while client.get(f"gptimage:lease:{KEY}") is None:
        time.sleep(0.02)
    client.close()

    assert other.lease(KEY, "theirs") == LeaseHeld("mine")
    lease.release("over")
    cache.close()
    other.close()


def test_a_dead_redis_is_a_warning(own_redis: Any) -> None:
    """Calls go on, warn, and find the cache again when it is back."""
    cache = patient(own_redis.url)
    ask(cache)
    own_redis.stop()
    without = [ask(cache, body) for body in (b"second", b"third")]
    own_redis.start()
    cache._resting_until = 0.0  # as if five seconds had gone by
    back = [ask(cache, b"fourth"), ask(cache)]
    cache.close()

    assert [(each.body, each.cached) for each in without] == [(b"second", False), (b"third", False)]
    for each in without:
        assert f"Redis at 127.0.0.1:{own_redis.port}" in each.warnings[0]
        assert "went on without it" in each.warnings[0]
    assert [(each.body, each.cached) for each in back] == [(b"fourth", False), (b"fourth", True)]


def test_redis_that_dies_during_a_call_costs_no_picture(
    own_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who leads gets the reply; one who waited asks alone; both are warned."""
    leading, waiting = patient(own_redis.url), patient(own_redis.url)
    waits = turned_away(waiting, monkeypatch)
    begun, go = threading.Event(), threading.Event()

    def slow() -> NewReply:
        begun.set()
        go.wait()
        return NewReply(body=b"slow")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(single_flight, leading, KEY, slow)
        begun.wait()
        waiter = pool.submit(single_flight, waiting, KEY, lambda: NewReply(body=b"alone"))
        waits.wait()
        assert not waiter.done()
        own_redis.stop()
        second = waiter.result()
        go.set()
        first = leader.result()

    assert (first.body, second.body) == (b"slow", b"alone")
    for shared in (first, second):
        assert "went on without it" in shared.warnings[0]


def test_a_restarted_redis_is_found_without_a_warning(own_redis: Any) -> None:
    """An idle connection the server closed meanwhile is no failure."""
    cache = patient(own_redis.url)
    ask(cache)
    own_redis.stop()
    own_redis.start()
    shared = ask(cache)
    cache.close()

    assert (shared.cached, shared.warnings) == (False, ())


def test_a_silent_server_is_asked_once() -> None:
    """A server that takes connections and says nothing costs one timeout; then it has a rest."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        port = silent.getsockname()[1]
        cache = RedisCache(f"redis://127.0.0.1:{port}", timeout=timedelta(milliseconds=50))
        shared = ask(cache)
        with pytest.raises(CacheError, match=r"left alone for \d s more"):
            cache.get(KEY)
        silent.settimeout(0.1)
        with silent.accept()[0], pytest.raises(TimeoutError):
            silent.accept()  # nobody connected a second time
        cache.close()

    assert shared.body == b"fresh"
    assert "does not answer" in shared.warnings[0]


def test_memory_in_front_of_a_dead_redis_still_answers(own_redis: Any) -> None:
    """Tiers: the living one serves, and the dead one is mentioned."""
    cache = Cache.tiered(Cache.memory(), patient(own_redis.url))
    ask(cache)
    own_redis.stop()
    shared = ask(cache)
    cache.close()

    assert (shared.body, shared.cached) == (b"fresh", True)
    assert "does not answer" in shared.warnings[0]


def test_no_password_is_shown() -> None:
    """Neither the repr nor a warning shows what is secret in the URL."""
    cache = RedisCache("redis://someone:hunter2@127.0.0.1:1/0")
    shared = ask(cache)

    assert "hunter2" not in repr(cache)
    assert "127.0.0.1:1" in repr(cache)
    assert "hunter2" not in " ".join(shared.warnings)


@pytest.mark.parametrize("url", ["", "http://localhost", "redis://host:port"])
def test_a_wrong_address_is_refused_at_once(url: str) -> None:
    """What is no Redis URL is a mistake in the configuration."""
    with pytest.raises(ConfigurationError, match=r"(?i)url"):
        RedisCache(url)


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """The module can be imported without redis; using it names the extra."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from gptimage.cache.redis import RedisCache\n"
        "from gptimage.errors import ConfigurationError\n"
        "try:\n    RedisCache('redis://localhost')\n"
        "except ConfigurationError as error:\n    sys.stdout.write(str(error))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert found == "Cache.redis needs the package redis: pip install 'gptimage[redis]'"
