"""When to send again, as a pure function: only what cannot have been billed.

What an outcome means for money is decided in `_billing`. Sent again are a connection that was
never made, a 429 for going too fast, and an overload in the service's own words; everything else
is left to the caller, because sending it again could pay twice or cannot help.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from gptimage._internal.keywords import as_int, seconds, strict_class, whole
from gptimage.errors import ConfigurationError, OutcomeUnknownError, TransportError, truncated_repr
from gptimage.transport.billing import text_of, verdict, wait_in
from gptimage.transport.http import HttpReply


_PASSES: Final = frozenset({408, 425, 460, 499})
_NEVER_PASSES: Final = frozenset({501, 505, 511})
_LONGEST: Final = 30 * 86_400.0
"""Seconds; what a service asks for beyond a month is no time to wait but a mistake."""


def _check_unknown(retry: Retry, attribute: object, value: object) -> None:
    del attribute
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(
            f"Retry(unknown=...) is how often a request that may have been billed is sent again, "
            f"0 or more, not {truncated_repr(value)}"
        )
    if value and value >= retry.attempts:
        raise ConfigurationError(
            f"Retry(unknown={value}) would not be reached with attempts={retry.attempts}, which "
            f"counts all tries: set attempts={value + 1} or more"
        )


@strict_class
@frozen(kw_only=True)
class Retry:
    """The number of retries, and the waits between them.

    Attributes:
        attempts: Tries in all, the first included; 1 never sends again.
        first_delay: Seconds before the second try when the service names no time; it doubles.
        max_delay: The longest wait in seconds; when the service asks for more, the
            error is raised at once and says how long.
        unknown: How often a request is sent again although it may have been billed, so that
            you may pay for each try; 0, the default, never does. Each try is a call of its
            own in budget and ledger. The first try is not counted, and ``attempts`` includes
            these.

    Raises:
        ConfigurationError: A number makes no sense.
    """

    attempts: int = field(default=4, converter=as_int)
    first_delay: float = 0.5
    max_delay: float = 60.0
    unknown: int = field(default=0, converter=as_int, validator=_check_unknown)

    def __attrs_post_init__(self) -> None:
        """Refuse what makes no sense."""
        whole("attempts", self.attempts, 1)
        seconds("first_delay", self.first_delay, zero=True)
        seconds("max_delay", self.max_delay, zero=True)

    def delay(
        self,
        attempt: int,
        outcome: HttpReply | TransportError | OutcomeUnknownError,
        *,
        jitter: float,
        now: datetime,
        unknown: int = 0,
        costs_nothing: bool = False,
    ) -> float | None:
        """Return seconds to wait before the next try, or None to give up.

        Args:
            attempt: How many tries have been made, from 1.
            outcome: What came of the last one.
            jitter: A random number from 0 to 1, so that many clients do not return together.
            now: The time, to read a ``retry-after`` given as a date.
            unknown: How many tries before this one may have been billed.
            costs_nothing: Whether the request is one that nobody bills, such as a look at a
                batch, so that also a lost answer is asked for again.
        """
        if attempt >= self.attempts or _says_no(outcome):
            return None
        if is_unknown(outcome) and not costs_nothing:
            # Paying for the same request more than once has to be chosen by name.
            if unknown >= self.unknown:
                return None
        elif not (_passes(outcome) if costs_nothing else _safe(outcome)):
            return None
        asked = waiting_time(outcome, now) if isinstance(outcome, HttpReply) else None
        # A time of 0 or in the past names none: all clients would come back at once.
        if asked:
            return asked if asked <= self.max_delay else None
        backoff = self.first_delay * 2.0 ** min(attempt - 1, 64)
        return min(self.max_delay, backoff) * (1 - jitter / 4)


def waiting_time(reply: HttpReply, now: datetime) -> float | None:
    """Return seconds the service asks to wait, in a header or in the text of its error, or None.

    The longer one holds: coming back too early makes some services wait for longer still.
    """
    in_text = wait_in(text_of(reply)) if reply.status >= 400 else None
    named = [each for each in (retry_after(reply.headers, now), in_text) if each is not None]
    return min(max(named), _LONGEST) if named else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return seconds the headers ask to wait (``retry-after-ms``, ``retry-after``), or None."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return min(max(0.0, seconds * scale), _LONGEST)
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return min(max(0.0, (date - now).total_seconds()), _LONGEST)
    except (ValueError, TypeError, IndexError, ArithmeticError):
        return None


def is_unknown(outcome: HttpReply | TransportError | OutcomeUnknownError) -> bool:
    """Return whether this outcome may have been billed without a usable response."""
    if isinstance(outcome, HttpReply):
        return verdict(outcome) == "unknown"
    return isinstance(outcome, OutcomeUnknownError)


def is_outage(outcome: HttpReply | TransportError | OutcomeUnknownError) -> bool:
    """Return whether the service seems to be down, rather than to ask for a slower pace."""
    if isinstance(outcome, HttpReply):
        return outcome.status != 429 and verdict(outcome) in ("free", "unknown")
    return True


def _says_no(outcome: HttpReply | TransportError | OutcomeUnknownError) -> bool:
    """Return whether the service says that sending again is no use.

    That it is of use is not believed: only what cannot have been billed is sent again.
    """
    return isinstance(outcome, HttpReply) and outcome.headers.get("x-should-retry") == "false"


def _safe(outcome: HttpReply | TransportError | OutcomeUnknownError) -> bool:
    """Return whether this outcome cannot have been billed and may pass by itself."""
    if isinstance(outcome, TransportError):
        return outcome.retryable
    return isinstance(outcome, HttpReply) and verdict(outcome) == "free"


def _passes(outcome: HttpReply | TransportError | OutcomeUnknownError) -> bool:
    """Return whether the failure of something that costs nothing may pass by itself."""
    if isinstance(outcome, TransportError):
        return outcome.retryable
    if isinstance(outcome, OutcomeUnknownError):
        return True
    if outcome.status == 429:
        return verdict(outcome) != "refused"
    return outcome.status in _PASSES or (
        outcome.status >= 500 and outcome.status not in _NEVER_PASSES
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None
