"""`RedisJobStore` (extra ``redis``): a job store that machines share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from gptimage._internal.keywords import duration, strict_class
from gptimage._internal.redis import address, connect
from gptimage.errors import ConfigurationError
from gptimage.workers.job import JobRecord
from gptimage.workers.job_store import JobStoreError, read_record


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
"""KEYS: the job, the jobs that are not settled. ARGV: revision before (empty: none), record,
revision after, id, time of the change, whether it is settled, milliseconds to keep it then."""


@strict_class
class RedisJobStore:
    """Storage in one Redis server (6 or newer, not a cluster) that machines share.

    A job that is forgotten may be paid for twice. So a server that evicts keys when its memory
    is full is refused (``maxmemory-policy`` must be ``noeviction``); one that forgets its data in
    a restart (``appendonly no``) is used, and a warning is logged. Requests are in it, prompts
    and all.

    Args:
        url: Such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
        prefix: Put before every key; different ones do not see each other.
        keep: How long jobs that are done, failed or discarded are remembered; None is for ever.
            One that is delivered again after that is a new job.
        timeout: How long to wait for a connection, and for each response.

    Raises:
        ConfigurationError: The package ``redis`` is missing, or an argument makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "gptimage:jobs:",
        keep: timedelta | None = timedelta(days=30),
        timeout: timedelta = timedelta(seconds=5),
    ) -> None:
        if keep is not None:
            duration("keep", keep)
        duration("timeout", timeout)
        self._redis: Any = connect(
            url, timeout=timeout.total_seconds(), retries=1, user="RedisJobStore"
        )  # writing twice does no harm: see `JobStore.compare_and_swap`
        self._prefix = prefix
        self._keep = "" if keep is None else str(int(keep.total_seconds() * 1000))
        self._checked = False

    def __repr__(self) -> str:
        """Return where it is, without a password."""
        return f"RedisJobStore({self._address()!r}, prefix={self._prefix!r})"

    def now(self) -> float:
        """Return the time of the server."""
        seconds, microseconds = self._call(lambda redis: redis.time())
        return int(seconds) + int(microseconds) / 1_000_000

    def read(self, id: str) -> JobRecord | None:
        """Return the record of a job, or None."""
        text: bytes | None = self._call(lambda redis: redis.hget(self._key(id), "entry"))
        return None if text is None else self._record(text)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write a record unless another one was written meanwhile."""
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
        return bool(self._call(lambda redis: redis.eval(_SWAP, len(keys), *keys, *values)))

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """Return the records, those changed longest ago first; settled ones at the end."""
        names: list[bytes] = self._call(
            lambda redis: redis.zrange(f"{self._prefix}unsettled", 0, -1)
        )
        keys = [self._key(name.decode()) for name in names]
        yield from (record for record in self._several(keys) if not record.settled)
        if settled:
            found = [record for record in self._several(self._all()) if record.settled]
            yield from sorted(found, key=lambda record: (record.at, record.id))

    def close(self) -> None:
        """Close the connections; using the job store again opens new ones."""
        self._redis.close()

    def _several(self, keys: list[str]) -> Iterator[JobRecord]:
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            yield from map(self._record, filter(None, self._call(partial(_texts, page))))

    def _all(self) -> list[str]:
        pattern = re.sub(r"([*?^\[\]\\])", r"\\\1", self._key("")) + "*"
        found: set[bytes] = self._call(lambda redis: set(redis.scan_iter(pattern, count=_PAGE)))
        return [name.decode() for name in found]

    def _key(self, id: str) -> str:
        return f"{self._prefix}job:{id}"

    def _record(self, text: bytes) -> JobRecord:
        return read_record(text, f"the job store in {self._address()}")

    def _address(self) -> str:
        return address(self._redis)

    def _call(self, work: Callable[[Any], T]) -> T:
        """Call the server.

        Raises:
            JobStoreError: It does not respond, or refuses.
        """
        from redis import exceptions

        try:
            if not self._checked:
                self._check_server()
            return work(self._redis)
        except (exceptions.RedisError, OSError) as error:
            raise JobStoreError(
                f"the job store in Redis at {self._address()} cannot be used: {error}; "
                "nothing is sent until it can be"
            ) from error

    def _check_server(self) -> None:
        """Check once whether this server can forget a job.

        Raises:
            ConfigurationError: It evicts keys when it is full.
        """
        from redis import exceptions

        try:
            found: Mapping[str, Any] = self._redis.info()
        except exceptions.ResponseError:
            found = {}  # some servers forbid INFO
        policy = found.get("maxmemory_policy", "noeviction")
        if found.get("maxmemory") and policy != "noeviction":
            raise ConfigurationError(
                f"Redis at {self._address()} evicts keys when it is full (maxmemory-policy "
                f"{policy}), and a job that is forgotten may be paid twice: set noeviction, or "
                "give the job store a server of its own"
            )
        if found.get("aof_enabled") == 0:
            _LOG.warning(
                "Redis at %s forgets its data when it is restarted (appendonly no): "
                "a job delivered again after that may be paid twice",
                self._address(),
            )
        self._checked = True


def _texts(keys: list[str], redis: Any) -> list[bytes | None]:
    with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hget(key, "entry")
        found: list[bytes | None] = pipe.execute()
    return found
