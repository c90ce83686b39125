"""The service's limits as a reply reports them, in its headers and in the body of a 429."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from attrs import frozen

from gptimage.transport.billing import duration, text_of, verdict, wait_in
from gptimage.transport.http import HttpReply


Kind = Literal["images", "requests", "tokens"]
KINDS: Final[tuple[Kind, ...]] = ("images", "requests", "tokens")

_NAMES: Final[Mapping[str, Kind]] = {
    "requests": "requests",
    "tokens": "tokens",
    "images": "images",
    "input-images": "images",
}
_STATED: Final = re.compile(
    r"\bon (?P<name>[a-z][a-z -]{0,40}?) per (?P<period>\w+)\b[^:]{0,20}: "
    r"Limit (?P<limit>\d{1,12})(?:, Used (?P<used>\d{1,12}))?"
)


@frozen(kw_only=True)
class ReportedLimits:
    """One limit as the service states it.

    Attributes:
        kind: What is counted.
        limit: How many a minute; None when it counts over another time.
        used: How many it has counted, or None.
        reset: Seconds until none of them counts, or None.
    """

    kind: Kind
    limit: int | None
    used: int | None = None
    reset: float | None = None


@frozen(kw_only=True)
class RateLimited:
    """A 429 for going too fast.

    Attributes:
        again: Seconds until the next request may be sent, or None.
        reported: The limit that was reached, if it says.
    """

    again: float | None
    reported: ReportedLimits | None


def reported_limits(headers: Mapping[str, str]) -> tuple[ReportedLimits, ...]:
    """Return the limits in ``x-ratelimit-*`` headers."""
    found: list[ReportedLimits] = []
    for name, kind in _NAMES.items():
        limit, remaining = (
            _count(headers.get(f"x-ratelimit-{part}-{name}")) for part in ("limit", "remaining")
        )
        if limit is None:
            continue
        used = None if remaining is None else max(0, limit - remaining)
        reset = duration(headers.get(f"x-ratelimit-reset-{name}", ""))
        found.append(ReportedLimits(kind=kind, limit=limit, used=used, reset=reset))
    return tuple(found)


def refusal(reply: HttpReply, wait: float | None) -> RateLimited | None:
    """Read a 429; None for every other reply, and when waiting is no use.

    Args:
        reply: Any reply.
        wait: Seconds its headers ask to wait, or None.
    """
    if reply.status != 429 or verdict(reply) != "free":
        return None
    text = text_of(reply)
    waits = [each for each in (wait, wait_in(text)) if each is not None]
    return RateLimited(again=max(waits, default=None), reported=_limit_in(text))


def age(headers: Mapping[str, str]) -> float:
    """Return seconds the service worked on the reply, so that old its headers may be."""
    return (_count(headers.get("openai-processing-ms")) or 0) / 1000


def _limit_in(text: str) -> ReportedLimits | None:
    match = _STATED.search(text)
    kind = _NAMES.get(match["name"].replace(" ", "-")) if match else None
    if match is None or kind is None:
        return None
    by_minute = match["period"].startswith("min")
    return ReportedLimits(
        kind=kind,
        limit=int(match["limit"]) if by_minute else None,
        used=int(match["used"]) if by_minute and match["used"] else None,
    )


def _count(text: str | None) -> int | None:
    """Return a plain number of at most twelve digits, or None."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,12}", text) else None
