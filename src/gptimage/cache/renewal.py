"""A background thread that keeps Redis leases alive for as long as their calls last."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Final

from attrs import frozen

from gptimage.cache.forks import ForkSafeLock
from gptimage.cache.scripts import RENEW


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
        token: Names the flight.
    """

    lease: str
    note: str
    token: str


class Renewal:
    """Renews what is held; its thread runs only while something is."""

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
                kept = self._renew(held)
            except Exception:  # noqa: BLE001, S112  # whatever it is, the next round may do better
                continue
            for lease, still_ours in zip(held, kept, strict=True):
                if not still_ours:
                    self.remove(lease.token)

    def _renew(self, held: list[Renewable]) -> list[int]:
        with self._redis.pipeline(transaction=False) as pipe:
            for each in held:
                milliseconds = int(LEASE_SECONDS * 1000)
                pipe.eval(RENEW, 2, each.lease, each.note, each.token, milliseconds)
            found: list[int] = pipe.execute()
        return found
