"""`RetryQuota`: how many retries a client may still make while its service is down.

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
    """Tokens for the retries of one client: 20 retries in a row without any response.

    Args:
        attempts: Tries of one call; the quota is at least enough for one call.
    """

    def __init__(self, attempts: int = 1) -> None:
        self._capacity = max(_CAPACITY, _RETRY * (attempts - 1))
        self._left = self._capacity
        # Threads share a client, and a forked child must not inherit a lock that is held.
        self._lock = ForkSafeLock()

    def take(self) -> bool:
        """Take the tokens of one retry; False when there are not enough."""
        with self._lock:
            if self._left < _RETRY:
                return False
            self._left -= _RETRY
            return True

    def answered(self, *, retried: bool) -> None:
        """Give back what a retry took, if it got a response."""
        with self._lock:
            self._left = min(self._capacity, self._left + (_RETRY if retried else _FIRST_TRY))
