"""When to send again, as a pure function: only what cannot have been billed.

Sent again: a connection that was never made, a 429 for going too fast, and a 502 or
503 whose body shows no work was done. Everything else is left to the caller, because
sending it again could pay twice or cannot help.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import frozen

from gptimage._http import HttpReply
from gptimage._keywords import seconds, strict_class, whole
from gptimage.errors import TransportError


_BUSY: Final = frozenset({502, 503})
QUOTA_CODES: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes and types of an error that no waiting mends: there is no credit left."""

_WORK: Final = ("image_generation", '"data"', '"usage"', "b64_json")
"""Signs in an error body that the model had started; such a call may be billed."""


@strict_class
@frozen(kw_only=True)
class Retry:
    """How often and how patiently to send again.

    Attributes:
        attempts: Tries in all, the first included; 1 never sends again.
        first_delay: Seconds before the second try when the service names no time; it doubles.
        max_delay: The longest wait in seconds; when the service asks for more, the
            error is raised at once and says how long.

    Raises:
        ConfigurationError: A number makes no sense.
    """

    attempts: int = 4
    first_delay: float = 0.5
    max_delay: float = 60.0

    def __attrs_post_init__(self) -> None:
        """Refuse what makes no sense."""
        whole("attempts", self.attempts, 1)
        seconds("first_delay", self.first_delay, zero=True)
        seconds("max_delay", self.max_delay, zero=True)

    def delay(
        self, attempt: int, outcome: HttpReply | TransportError, *, jitter: float, now: datetime
    ) -> float | None:
        """Seconds to wait before the next try, or None to give up.

        Args:
            attempt: How many tries have been made, from 1.
            outcome: What came of the last one.
            jitter: A random number from 0 to 1, so that many clients do not return together.
            now: The time, to read a ``retry-after`` given as a date.
        """
        if attempt >= self.attempts or not _safe(outcome):
            return None
        asked = retry_after(outcome.headers, now) if isinstance(outcome, HttpReply) else None
        if asked is not None:
            return asked if asked <= self.max_delay else None
        backoff = self.first_delay * 2.0 ** min(attempt - 1, 64)
        return min(self.max_delay, backoff) * (1 - jitter / 4)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the service asks to wait (``retry-after-ms``, ``retry-after``), or None."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return max(0.0, seconds * scale)
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, (date - now).total_seconds())
    except (ValueError, TypeError, IndexError, ArithmeticError):
        return None


def _safe(outcome: HttpReply | TransportError) -> bool:
    """Whether this outcome cannot have been billed and may pass by itself."""
    if isinstance(outcome, TransportError):
        return outcome.retryable
    text = bytes(outcome.body[:4096]).decode("utf-8", "replace")
    if outcome.status == 429:
        # Wherever the body says so: proxies put the code into type, message or plain text.
        return not any(code in text for code in QUOTA_CODES)
    return outcome.status in _BUSY and not shows_work(text)


def shows_work(text: str) -> bool:
    """Whether the text of an error shows that the model had started to draw."""
    return any(sign in text for sign in _WORK)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None
