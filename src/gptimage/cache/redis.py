"""`RedisCache` (extra ``redis``): replies that several machines share."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final, TypeVar

from attrs import frozen

from gptimage._internal.clock import unix_now
from gptimage._internal.data import data_text
from gptimage._internal.keywords import duration, strict_class, text
from gptimage._internal.locks import ForkSafeLock
from gptimage._internal.redis import address, connect
from gptimage.cache.base import (
    OUTCOME_TTL,
    REDIS_TTL,
    Body,
    Cache,
    CacheEntry,
    CacheStats,
    CallbackLease,
    EntryLimits,
    Lease,
    LeaseHeld,
    age_of,
    dollars,
    nanodollars,
)
from gptimage.errors import CacheError


# What Redis does in one step, in its own language (https://redis.io/docs/latest/develop/programmability/eval-intro/).

CACHE_OPS: Final = data_text(__name__, "redis.lua")
"""ARGV: prefix, operation, key, and what the operation takes.

``head:KEY`` and ``body:KEY`` hold a reply, ``size`` its bytes, ``used`` the order of use (counted,
not timed), ``ends`` when it expires. Redis removes expired replies by itself; ``sweep`` then
corrects the sums. Keys are built here, so all of them must live on one server.
"""

ACQUIRE: Final = """
local owner = redis.call('GET', KEYS[1])
if owner then return owner end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
"""KEYS: lease. ARGV: token, milliseconds. Returns the token of the owner."""

RENEW: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""KEYS: lease, note. ARGV: token, milliseconds. Returns 0 when it is lost or was released.

A lease that is gone but not taken is taken again: Redis was restarted, the call is not over.
"""

RELEASE: Final = """
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
"""KEYS: lease, note. ARGV: token, outcome, milliseconds of the note."""


LEASE_SECONDS: Final = 8.0
"""A lease whose machine died is free after this long."""

_EVERY_SECONDS: Final = 2.0
"""Three renewals in a row may fail before a lease is lost."""


@frozen(kw_only=True)
class Renewable:
    """A lease as Redis knows it.

    Attributes:
        lease: The key that holds the token while the lease lasts.
        note: The key that holds the outcome once it is over.
        token: Names the attempt.
    """

    lease: str
    note: str
    token: str


class LeaseRenewer:
    """A background thread that renews leases while their calls last."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._lock = ForkSafeLock()
        self._process = os.getpid()
        self._held: dict[str, Renewable] = {}
        self._thread: threading.Thread | None = None

    def add(self, lease: Renewable) -> None:
        """Keep this lease alive until it is removed."""
        with self._lock:
            if self._process != os.getpid():  # those are our parent's, and so was the thread
                self._process = os.getpid()
                self._held.clear()
                self._thread = None
            self._held[lease.token] = lease
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="gptimage-lease", daemon=True
                )
                self._thread.start()

    def remove(self, token: str) -> None:
        """Let this lease end."""
        with self._lock:
            self._held.pop(token, None)

    def _work(self) -> None:
        while True:
            time.sleep(_EVERY_SECONDS)
            with self._lock:
                held = list(self._held.values())
                if not held:
                    self._thread = None
                    return
            try:
                renewed = self._renew(held)
            except Exception:  # noqa: BLE001, S112  # whatever it is, the next round may do better
                continue
            for lease, still_ours in zip(held, renewed, strict=True):
                if not still_ours:
                    self.remove(lease.token)

    def _renew(self, held: list[Renewable]) -> list[int]:
        with self._redis.pipeline(transaction=False) as pipe:
            for each in held:
                milliseconds = int(LEASE_SECONDS * 1000)
                pipe.eval(RENEW, 2, each.lease, each.note, each.token, milliseconds)
            found: list[int] = pipe.execute()
        return found


T = TypeVar("T")

_CHUNK_BYTES: Final = 256 * 1024
"""Each piece has the whole timeout to itself, so a big reply passes a slow network."""

_REST_SECONDS: Final = 5.0
"""How long a server that did not respond is left alone."""


@strict_class
class RedisCache(Cache):
    """A cache in one Redis server (6 or newer, not a cluster) that machines share.

    A server that does not respond costs ``timeout`` once; then it is left alone for five
    seconds, and calls go on without the cache. A lease is renewed while its call lasts,
    and is free again eight seconds after its process or its network died.

    Args:
        url: Such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
        ttl: How long a reply lasts; None is for ever.
        max_bytes: How many bytes the bodies may have together; None leaves that to Redis.
        prefix: Put before every key; caches with different ones know nothing of each other.
        timeout: How long to wait for a connection, and for each response.

    Raises:
        ConfigurationError: The package ``redis`` is missing, the URL is none, or a limit is
            zero or less.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: timedelta | None = REDIS_TTL,
        max_bytes: int | None = None,
        prefix: str = "gptimage:",
        timeout: timedelta = timedelta(seconds=1),
    ) -> None:
        duration("timeout", timeout)
        text("prefix", prefix)
        self._limits = EntryLimits.of(ttl, max_bytes)
        self._prefix = prefix
        self._redis: Any = connect(
            url, timeout=timeout.total_seconds(), retries=0, user="Cache.redis"
        )
        self._renewal = LeaseRenewer(self._redis)
        self._resting_until = 0.0

    def __repr__(self) -> str:
        return f"RedisCache({self._where()!r}, prefix={self._prefix!r})"

    def get(self, key: str) -> CacheEntry | None:
        """Return the reply under this key, proved by its hash."""
        head, chunks = self._send(partial(self._read, key))
        if not head:
            return None
        try:
            return _entry(head, b"".join(chunks))
        except (KeyError, ValueError, InvalidOperation):  # damaged: absent, whatever comes
            with suppress(CacheError):
                self.delete(key)
            return None

    def put(self, key: str, entry: CacheEntry) -> None:
        """Save a reply: all of it at once, as far as others can see."""
        body = memoryview(entry.body).cast("B")
        now = unix_now()
        entry = self._limits.dated(entry, now)
        left = None if entry.expires is None else entry.expires - now
        if not self._limits.admits(len(body)) or (left is not None and left <= 0):
            self.delete(key)
            return
        self._send(partial(self._write, key, entry, body, left))

    def delete(self, key: str) -> None:
        """Remove a reply."""
        self._run("forget", key)

    def record_use(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note that a key was used just now, and add to the statistics all machines share."""
        self._run("count", key, hits, misses)

    def stats(self) -> CacheStats:
        """Return what it holds now, and the counts so far."""
        found = self._run("stats", "")
        pairs = zip(found[::2], found[1::2], strict=True)
        counts = {name.decode(): int(value) for name, value in pairs}
        return CacheStats(
            entries=counts.get("entries", 0),
            bytes=counts.get("bytes", 0),
            hits=counts.get("hits", 0),
            misses=counts.get("misses", 0),
            evictions=counts.get("evictions", 0),
            saved_usd=dollars(counts.get("nanos", 0)),
        )

    def clear(self, older_than: timedelta | None = None) -> int:
        """Remove all replies, or those saved longer ago; returns how many. Counts stay."""
        before = unix_now() - age_of(older_than)
        self._run("stats", "")  # takes out what has expired
        return sum(
            int(self._run("forget", key))
            for key, created in self._send(self._ages)
            if created < before
        )

    def lease(self, key: str, token: str) -> Lease | LeaseHeld:
        """Become the one that sends, among all machines that use this server and prefix."""
        mine = Renewable(
            lease=self._name("lease", key), note=self._name("note", token), token=token
        )
        milliseconds = int(LEASE_SECONDS * 1000)
        owner: bytes = self._send(
            lambda redis: redis.eval(ACQUIRE, 1, mine.lease, token, milliseconds)
        )
        if owner != token.encode():
            return LeaseHeld(owner.decode("utf-8", "replace"))
        self._renewal.add(mine)
        return CallbackLease(partial(self._release, mine))

    def lease_outcome(self, token: str) -> str | None:
        """Return how the attempt of this token ended."""
        found: bytes | None = self._send(lambda redis: redis.get(self._name("note", token)))
        return None if found is None else found.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the connections; using the cache again opens new ones."""
        self._redis.close()

    def _release(self, lease: Renewable, outcome: str) -> None:
        self._renewal.remove(lease.token)
        note = int(OUTCOME_TTL * 1000)
        self._send(
            lambda redis: redis.eval(
                RELEASE, 2, lease.lease, lease.note, lease.token, outcome, note
            )
        )

    def _read(self, key: str, redis: Any) -> tuple[dict[bytes, bytes], list[bytes]]:
        with redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self._name("head", key))
            pipe.lrange(self._name("body", key), 0, -1)
            head, chunks = pipe.execute()
        return head, chunks

    def _write(
        self, key: str, entry: CacheEntry, body: memoryview, left: float | None, redis: Any
    ) -> None:
        with redis.pipeline(transaction=True) as pipe:
            pipe.eval(CACHE_OPS, 0, self._prefix, "forget", key)
            for start in range(0, len(body), _CHUNK_BYTES):
                pipe.rpush(self._name("body", key), body[start : start + _CHUNK_BYTES])
            pipe.hset(self._name("head", key), mapping=_head(entry, body))
            limits = ("" if left is None else left, self._limits.max_bytes or "")
            pipe.eval(CACHE_OPS, 0, self._prefix, "save", key, len(body), *limits)
            pipe.execute()

    def _ages(self, redis: Any) -> list[tuple[str, float]]:
        keys: list[bytes] = redis.zrange(self._name("used", ""), 0, -1)
        with redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(self._name("head", key.decode()), "created")
            found: list[bytes | None] = pipe.execute()
        return [
            (key.decode(), float(created or 0)) for key, created in zip(keys, found, strict=True)
        ]

    def _run(self, operation: str, key: str, *values: int) -> Any:
        return self._send(
            lambda redis: redis.eval(CACHE_OPS, 0, self._prefix, operation, key, *values)
        )

    def _name(self, kind: str, key: str) -> str:
        return f"{self._prefix}{kind}:{key}" if key else f"{self._prefix}{kind}"

    def _send(self, work: Callable[[Any], T]) -> T:
        """Send something to the server, unless it did not respond a moment ago.

        Raises:
            CacheError: It does not respond, or refuses.
        """
        from redis import exceptions

        left = self._resting_until - time.monotonic()
        if left > 0:
            raise CacheError(
                f"Redis at {self._where()} did not answer and is left alone for {left:.0f} s more"
            )
        try:
            return work(self._redis)  # an idle connection the server closed is replaced by itself
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            self._resting_until = time.monotonic() + _REST_SECONDS
            raise CacheError(f"Redis at {self._where()} does not answer: {error}") from error
        except exceptions.RedisError as error:
            raise CacheError(f"Redis at {self._where()} refuses: {error}") from error

    def _where(self) -> str:
        return address(self._redis)


def _head(entry: CacheEntry, body: Body) -> dict[str, str | float | int]:
    return {
        "sha256": hashlib.sha256(body).hexdigest(),
        "usd": "" if entry.usd is None else str(entry.usd),
        "nanos": nanodollars(entry.usd),
        "created": entry.created or 0.0,
        "expires": "" if entry.expires is None else entry.expires,
    }


def _entry(head: dict[bytes, bytes], body: bytes) -> CacheEntry:
    if hashlib.sha256(body).hexdigest().encode() != head[b"sha256"]:
        raise ValueError("the body is not what was written")
    usd, expires = head[b"usd"], head[b"expires"]
    return CacheEntry(
        body=body,
        usd=Decimal(usd.decode()) if usd else None,
        created=float(head[b"created"]),
        expires=float(expires) if expires else None,
    )
