"""`RedisJobStore` (extra ``redis``): a desk that machines share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from gptimage._internal.redis import address, connect
from gptimage.errors import ConfigurationError
from gptimage.workers.job import JobRecord
from gptimage.workers.job_store import JobStoreError


T = TypeVar("T")

_LOG: Final = logging.getLogger("gptimage.workers")
_PAGE: Final = 500

_SWAP: Final = """
local revision = redis.call('HGET', KEYS[1], 'revision') or ''
if revision ~= ARGV[1] then
  if redis.call('HGET', KEYS[1], 'entry') == ARGV[2] then return 1 end
  return 0
end
redis.call('HSET', KEYS[1], 'entry', ARGV[2], 'revision', ARGV[3])
if ARGV[6] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[4])
  if ARGV[7] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[7]) end
else
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
  redis.call('PERSIST', KEYS[1])
end
return 1
"""
"""KEYS: the job, the jobs that are not settled. ARGV: revision before (empty: none), entry,
revision after, id, time of the change, whether it is settled, milliseconds to keep it then."""


class RedisJobStore:
    """A desk in one Redis server (6 or newer, not a cluster) that machines share.

    What the desk forgets may be paid for twice. So a server that throws keys out when its memory
    is full is refused (``maxmemory-policy`` must be ``noeviction``); one that keeps nothing over
    a restart (``appendonly no``) is used, and a warning is logged. Requests are in it, prompts
    and all.

    Args:
        url: Such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
        prefix: Put before every key; desks with different ones know nothing of each other.
        keep: How long jobs that are done, failed or dropped are remembered; None is for ever.
            One that is delivered again after that is a new job.
        timeout: How long to wait for a connection, and for each answer.

    Raises:
        ConfigurationError: The package ``redis`` is missing, or the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "gptimage:jobs:",
        keep: timedelta | None = timedelta(days=30),
        timeout: timedelta = timedelta(seconds=5),
    ) -> None:
        self._redis: Any = connect(
            url, timeout=timeout.total_seconds(), retries=1, user="RedisJobStore"
        )  # writing twice does no harm: see `Desk.swap`
        self._prefix = prefix
        self._keep = "" if keep is None else str(int(keep.total_seconds() * 1000))
        self._looked = False

    def __repr__(self) -> str:
        """Where it is, without a password."""
        return f"RedisDesk({self._where()!r}, prefix={self._prefix!r})"

    def now(self) -> float:
        """The time of the server."""
        seconds, microseconds = self._ask(lambda redis: redis.time())
        return int(seconds) + int(microseconds) / 1_000_000

    def read(self, id: str) -> JobRecord | None:
        """What is known of a job."""
        text: bytes | None = self._ask(lambda redis: redis.hget(self._key(id), "entry"))
        return None if text is None else self._entry(text)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write an entry if nobody wrote another one meanwhile."""
        values = (
            "" if before is None else before.revision,
            after.to_text(),
            after.revision,
            after.id,
            after.at,
            int(after.settled),
            self._keep,
        )
        keys = (self._key(after.id), f"{self._prefix}unsettled")
        return bool(self._ask(lambda redis: redis.eval(_SWAP, len(keys), *keys, *values)))

    def entries(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """What is known of jobs, those changed longest ago first; settled ones at the end."""
        names: list[bytes] = self._ask(
            lambda redis: redis.zrange(f"{self._prefix}unsettled", 0, -1)
        )
        keys = [self._key(name.decode()) for name in names]
        yield from (entry for entry in self._several(keys) if not entry.settled)
        if settled:
            found = [entry for entry in self._several(self._all()) if entry.settled]
            yield from sorted(found, key=lambda entry: (entry.at, entry.id))

    def close(self) -> None:
        """Close the connections; using the desk again opens new ones."""
        self._redis.close()

    def _several(self, keys: list[str]) -> Iterator[JobRecord]:
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            yield from map(self._entry, filter(None, self._ask(partial(_texts, page))))

    def _all(self) -> list[str]:
        pattern = re.sub(r"([*?^\[\]\\])", r"\\\1", self._key("")) + "*"
        found: set[bytes] = self._ask(lambda redis: set(redis.scan_iter(pattern, count=_PAGE)))
        return [name.decode() for name in found]

    def _key(self, id: str) -> str:
        return f"{self._prefix}job:{id}"

    def _entry(self, text: bytes) -> JobRecord:
        try:
            return JobRecord.from_text(text)
        except ValueError as error:
            raise JobStoreError(
                f"the desk in {self._where()} holds a damaged entry: {error}"
            ) from error

    def _where(self) -> str:
        return address(self._redis)

    def _ask(self, work: Callable[[Any], T]) -> T:
        """Ask the server.

        Raises:
            DeskError: It does not answer, or refuses.
        """
        from redis import exceptions

        try:
            if not self._looked:
                self._look()
            return work(self._redis)
        except (exceptions.RedisError, OSError) as error:
            raise JobStoreError(
                f"the desk in Redis at {self._where()} cannot be used: {error}; "
                "nothing is sent until it answers"
            ) from error

    def _look(self) -> None:
        """See once whether this server can be trusted to remember.

        Raises:
            ConfigurationError: It throws out what it has no room for.
        """
        from redis import exceptions

        try:
            found: Mapping[str, Any] = self._redis.info()
        except exceptions.ResponseError:
            found = {}  # some do not let us ask
        policy = found.get("maxmemory_policy", "noeviction")
        if found.get("maxmemory") and policy != "noeviction":
            raise ConfigurationError(
                f"Redis at {self._where()} throws keys out when it is full (maxmemory-policy "
                f"{policy}), and a job it forgets may be paid twice: set noeviction, or give "
                "the desk a server of its own"
            )
        if found.get("aof_enabled") == 0:
            _LOG.warning(
                "Redis at %s forgets what it was told last when it is restarted (appendonly no): "
                "a job delivered again after that may be paid twice",
                self._where(),
            )
        self._looked = True


def _texts(keys: list[str], redis: Any) -> list[bytes | None]:
    with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hget(key, "entry")
        found: list[bytes | None] = pipe.execute()
    return found
