"""`RedisCache` (extra ``redis``): replies that several machines share."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final, TypeVar

from gptimage._internal.clock import unix_now
from gptimage._internal.keywords import one_of, strict_class, text
from gptimage._internal.redis import address, connect
from gptimage.cache.counters import dollars, nanodollars
from gptimage.cache.limits import Limits
from gptimage.cache.renewal import LEASE_SECONDS, Renewable, Renewal
from gptimage.cache.scripts import BOOK, RELEASE, TAKE
from gptimage.cache.tickets import NOTE_SECONDS, Ticket
from gptimage.cached import Body, CacheEntry, CacheStats, Held
from gptimage.errors import CacheError, ConfigurationError
from gptimage.transport.protocols import Lease


T = TypeVar("T")

_CHUNK_BYTES: Final = 256 * 1024
"""Each piece has the whole timeout to itself, so a big reply passes a slow network."""

_REST_SECONDS: Final = 5.0
"""How long a server that did not answer is left alone."""


@strict_class
class RedisCache:
    """Keeps replies in one Redis server (6 or newer, not a cluster) that machines share.

    A server that does not answer costs ``timeout`` once; then it is left alone for five
    seconds, and calls go on without the cache. A lease is renewed while its call lasts,
    and is free again eight seconds after its process or its network died.

    Args:
        url: Such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
        ttl: How long a reply lasts; None is for ever.
        max_bytes: How many bytes the bodies may have together; None leaves that to Redis.
        prefix: Put before every key; caches with different ones know nothing of each other.
        timeout: How long to wait for a connection, and for each answer.

    Raises:
        ConfigurationError: The package ``redis`` is missing, the URL is none, or a limit is
            zero or less.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: timedelta | None = timedelta(days=7),
        max_bytes: int | None = None,
        prefix: str = "gptimage:",
        timeout: timedelta = timedelta(seconds=1),
    ) -> None:
        one_of("timeout", timeout, timedelta, "a datetime.timedelta, such as timedelta(seconds=1)")
        if timeout <= timedelta(0):
            raise ConfigurationError("timeout must be longer than nothing")
        text("prefix", prefix)
        self._limits = Limits.of(ttl, max_bytes)
        self._prefix = prefix
        self._redis: Any = connect(
            url, timeout=timeout.total_seconds(), retries=0, user="RedisCache"
        )
        self._renewal = Renewal(self._redis)
        self._resting_until = 0.0

    def __repr__(self) -> str:
        return f"RedisCache({self._where()!r}, prefix={self._prefix!r})"

    def get(self, key: str) -> CacheEntry | None:
        """The reply under this key, proved by its hash."""
        head, chunks = self._ask(partial(self._read, key))
        if not head:
            return None
        try:
            return _entry(head, b"".join(chunks))
        except (KeyError, ValueError, InvalidOperation):  # damaged: absent, whatever comes
            with suppress(CacheError):
                self.delete(key)
            return None

    def put(self, key: str, entry: CacheEntry) -> None:
        """Keep a reply: all of it at once, as far as anybody else can see."""
        body = memoryview(entry.body).cast("B")
        now = unix_now()
        entry = self._limits.dated(entry, now)
        left = None if entry.expires is None else entry.expires - now
        if not self._limits.admits(len(body)) or (left is not None and left <= 0):
            self.delete(key)
            return
        self._ask(partial(self._write, key, entry, body, left))

    def delete(self, key: str) -> None:
        """Forget a reply."""
        self._book("forget", key)

    def count(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note that a key was used just now, and add to the statistics all machines share."""
        self._book("count", key, hits, misses)

    def stats(self) -> CacheStats:
        """What it holds now, and the counts so far."""
        found = self._book("stats", "")
        counts = {name.decode(): int(value) for name, value in _pairs(found)}
        return CacheStats(
            entries=counts.get("entries", 0),
            bytes=counts.get("bytes", 0),
            hits=counts.get("hits", 0),
            misses=counts.get("misses", 0),
            evictions=counts.get("evictions", 0),
            saved_usd=dollars(counts.get("nanos", 0)),
        )

    def clear(self, older_than: timedelta | None = None) -> int:
        """Forget all replies, or those kept longer ago; gives how many. Counts stay."""
        self._book("stats", "")  # takes out what has expired
        before = float("inf") if older_than is None else unix_now() - older_than.total_seconds()
        return sum(
            int(self._book("forget", key))
            for key, created in self._ask(self._ages)
            if created < before
        )

    def lease(self, key: str, token: str) -> Lease | Held:
        """Become the one who asks, among all machines that use this server and prefix."""
        mine = Renewable(
            lease=self._name("lease", key), note=self._name("note", token), token=token
        )
        milliseconds = int(LEASE_SECONDS * 1000)
        holder: bytes = self._ask(
            lambda redis: redis.eval(TAKE, 1, mine.lease, token, milliseconds)
        )
        if holder != token.encode():
            return Held(holder.decode("utf-8", "replace"))
        self._renewal.add(mine)
        return Ticket(partial(self._release, mine))

    def outcome(self, token: str) -> str | None:
        """How a flight ended."""
        found: bytes | None = self._ask(lambda redis: redis.get(self._name("note", token)))
        return None if found is None else found.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the connections; using the cache again opens new ones."""
        self._redis.close()

    def _release(self, lease: Renewable, outcome: str) -> None:
        self._renewal.remove(lease.token)
        note = int(NOTE_SECONDS * 1000)
        self._ask(
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
            pipe.eval(BOOK, 0, self._prefix, "forget", key)
            for start in range(0, len(body), _CHUNK_BYTES):
                pipe.rpush(self._name("body", key), body[start : start + _CHUNK_BYTES])
            pipe.hset(self._name("head", key), mapping=_head(entry, body))
            limits = ("" if left is None else left, self._limits.max_bytes or "")
            pipe.eval(BOOK, 0, self._prefix, "keep", key, len(body), *limits)
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

    def _book(self, operation: str, key: str, *values: int) -> Any:
        return self._ask(lambda redis: redis.eval(BOOK, 0, self._prefix, operation, key, *values))

    def _name(self, kind: str, key: str) -> str:
        return f"{self._prefix}{kind}:{key}" if key else f"{self._prefix}{kind}"

    def _ask(self, work: Callable[[Any], T]) -> T:
        """Ask the server, unless it did not answer a moment ago.

        Raises:
            CacheError: It does not answer, or refuses.
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


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
