"""`RetryQuota`: how many retries a client may still make while a service is down.

After the standard mode of AWS's SDKs: a retry takes tokens and a response gives some back, so that
many threads before a service that is down do not multiply its load. A 429 takes none: such a
service is up, names its own pace, and `Limits` follows it.
"""

from __future__ import annotations

from typing import Final

from gptimage._internal.locks import ForkSafeLock


_CAPACITY: Final = 100
_RETRY: Final = 5
_FIRST_TRY: Final = 1


class RetryQuota:
    """Tokens for the retries of one client: 20 in a row without any response of one service.

    Args:
        attempts: Tries of one call; the quota is at least enough for one call.
    """

    def __init__(self, attempts: int = 1) -> None:
        self._capacity = max(_CAPACITY, _RETRY * (attempts - 1))
        # By the name of the service: one that is down takes no retries from another.
        self._left: dict[str, int] = {}
        # Threads share a client, and a forked child must not inherit a lock that is held.
        self._lock = ForkSafeLock()

    def take(self, service: str = "") -> bool:
        """Take the tokens of one retry; False when there are not enough."""
        with self._lock:
            left = self._left.get(service, self._capacity)
            if left < _RETRY:
                return False
            self._left[service] = left - _RETRY
            return True

    def answered(self, service: str = "", *, retried: bool) -> None:
        """Give back what a retry took, if it got a response."""
        with self._lock:
            left = self._left.get(service, self._capacity) + (_RETRY if retried else _FIRST_TRY)
            self._left[service] = min(self._capacity, left)
