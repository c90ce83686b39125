"""Counting together with other processes, over pyrate-limiter: in an SQLite file or in Redis."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gptimage._internal.clock import unix_now
from gptimage._internal.locks import ForkSafeLock
from gptimage.errors import ConfigurationError
from gptimage.limits.headers import Kind
from gptimage.limits.window import SPAN
from gptimage.secrets import guard_logs, remember_url, scrub_error


if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket


_LOG: Final = logging.getLogger("gptimage.limits")
_REDIS: Final = ("redis://", "rediss://", "unix://")
_MOST_ROWS: Final = 1000
"""A bucket keeps one row for each unit, so tokens are counted in thousandths of their limit."""

_CREDIT_SECONDS: Final = 50.0
_REST_SECONDS: Final = 5.0
"""How long a place that failed is left alone; meanwhile each process counts for itself."""

_TIDY_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 0.5

_INHERITED: Final[list[object]] = []
"""What a parent process had open, see `gptimage._internal.sqlite`."""


class _Shared:
    """One limit in a shared place."""

    def __init__(self, bucket: AbstractBucket, unit: int, most: int) -> None:
        self.bucket, self.unit, self.most = bucket, unit, most
        self.credit = 0
        self.credit_until = 0.0


class SharedWindows:
    """Limits several processes count together.

    Args:
        where: A file, or the URL of a Redis server.
        name: What this account is called there.
        limits: How many a minute of each kind.
        clock: Tells the Unix time in seconds; all who share must agree on it.

    Raises:
        ConfigurationError: A package is missing, or the place cannot be used.
    """

    def __init__(
        self,
        where: str,
        name: str,
        limits: Mapping[Kind, int],
        *,
        clock: Callable[[], float] = unix_now,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ConfigurationError("the name of shared limits is letters, digits, - and _")
        remember_url(where)
        guard_logs()
        self._clock = clock
        self._where, self._name, self._asked = where, name, dict(limits)
        self._resting_until = 0.0
        self._tidied = clock()
        self._lock = ForkSafeLock()
        self._process = os.getpid()
        self._close: Callable[[], object] = lambda: None
        try:
            self._limits = self._open()
        except ImportError as error:
            raise ConfigurationError(
                "shared limits need more packages: pip install 'gptimage[limits]'"
            ) from error
        except Exception as error:
            scrub_error(error)
            raise ConfigurationError(
                f"{where} cannot be used for shared limits: {error}"
            ) from error

    def take(self, needs: Mapping[Kind, int]) -> float:
        """Count a request for everybody; 0, or how many seconds to wait before asking again.

        A place that fails is left alone for a while, and lets everything through.
        """
        with self._lock:
            now = self._clock()
            if now < self._resting_until:
                return 0.0
            try:
                if self._process != os.getpid():
                    # A copy of the parent's SQLite connection may be neither used nor closed here.
                    _INHERITED.append(self._limits)
                    self._limits, self._process = {}, os.getpid()
                if not self._limits:
                    self._limits = self._open()
                return self._take(needs, now)
            except Exception as error:  # noqa: BLE001  # whatever SQLite, Redis or a lock file raise
                self._resting_until = now + _REST_SECONDS
                self._forget()
                kind = type(error).__name__
                _LOG.warning("the shared limits failed (%s); counting alone for a while", kind)
                return 0.0

    def close(self) -> None:
        """Release the file or the connection."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        """Close what is open; it is opened anew when needed (a new server knows no scripts)."""
        self._limits = {}
        if self._process == os.getpid():
            with suppress(Exception):
                self._close()

    def _take(self, needs: Mapping[Kind, int], now: float) -> float:
        """Ask limit by limit; what one has granted while another has not stays as credit."""
        self._tidy(now)
        wanted = {kind: self._units(kind, needs[kind]) for kind in self._limits}
        for kind, shared in self._limits.items():
            if now > shared.credit_until:
                shared.credit = 0
            missing = wanted[kind] - shared.credit
            if missing <= 0:
                continue
            if (wait := _put(shared.bucket, kind, missing, now)) > 0:
                return wait
            shared.credit += missing
            shared.credit_until = now + _CREDIT_SECONDS
        for kind, shared in self._limits.items():
            shared.credit -= wanted[kind]
        return 0.0

    def _units(self, kind: Kind, count: int) -> int:
        shared = self._limits[kind]
        return min(shared.most, -(-count // shared.unit))

    def _tidy(self, now: float) -> None:
        """Remove what no longer counts; the library's own way takes a thread for it."""
        if now - self._tidied > _TIDY_SECONDS:
            self._tidied = now
            for shared in self._limits.values():
                shared.bucket.leak(int(now * 1000))

    def _open(self) -> dict[Kind, _Shared]:
        from pyrate_limiter import Rate

        make = self._redis() if self._where.startswith(_REDIS) else self._file()
        found: dict[Kind, _Shared] = {}
        for kind, limit in self._asked.items():
            unit = -(-limit // _MOST_ROWS) if kind == "tokens" else 1
            most = limit // unit
            rate = Rate(most, int(SPAN * 1000))
            found[kind] = _Shared(make(f"{self._name}_{kind}", rate), unit, most)
        return found

    def _file(self) -> Callable[[str, Any], Any]:
        from pyrate_limiter import SQLiteBucket

        opened: list[Any] = []
        self._close = lambda: [bucket.close() for bucket in opened]

        def make(table: str, rate: Any) -> Any:
            bucket = SQLiteBucket.init_from_file(
                [rate], table=table, db_path=self._where, use_file_lock=True
            )
            opened.append(bucket)
            return bucket

        return make

    def _redis(self) -> Callable[[str, Any], Any]:
        import redis
        from pyrate_limiter import RedisBucket

        connect: Any = redis.Redis
        client = connect.from_url(
            self._where, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        )
        self._close = client.close
        return lambda key, rate: RedisBucket.init([rate], client, f"gptimage:limits:{key}")


def _put(bucket: Any, kind: Kind, units: int, now: float) -> float:
    """Count units in a bucket: 0, or how many seconds to wait."""
    from pyrate_limiter import RateItem

    decision = bucket.put_decision(RateItem(kind, int(now * 1000), weight=units))
    if decision.allowed:
        return 0.0
    return max(1, decision.retry_after_ms or 1000) / 1000
