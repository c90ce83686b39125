"""The one place that decides whether a request that was sent may have been billed.

Everything that sends again, settles a reservation or words an error asks here. Where it cannot
be known, the outcome is "unknown": a wrong "unknown" costs a look at the usage page, a wrong
"nothing was billed" costs money twice.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from gptimage.errors import (
    ApiError,
    ConfigurationError,
    InvalidRequestError,
    ModerationError,
    ServerError,
    TransportError,
)
from gptimage.transport.http import NO_HEADERS, HttpReply


class Billing(StrEnum):
    """The billing state of one request.

    Ledger, checkpoint, batch state, worker jobs and the MCP server's journal each write words of
    their own to their files, and translate them into these where they read and write them.
    """

    NOT_SENT = "not_sent"
    """Nothing has left this machine."""
    SENT = "sent"
    """It left, or is about to, and there is no response yet."""
    BILLED = "billed"
    """A response came that is paid for, whether its cost is known or not."""
    NOT_BILLED = "not_billed"
    """It ended, and nothing was done for it."""
    UNKNOWN = "unknown"
    """It ended without a usable response, and may have been billed."""

    @property
    def may_be_billed(self) -> bool:
        """Whether its cost counts, or what was reserved for it."""
        return self in (Billing.SENT, Billing.BILLED, Billing.UNKNOWN)

    def can_become(self, later: Billing) -> bool:
        """Return whether this may be followed by ``later``; to repeat a state is always allowed."""
        return later is self or later in _NEXT[self]


_NEXT: Final[dict[Billing, frozenset[Billing]]] = {
    # Given up before it was sent, it costs nothing.
    Billing.NOT_SENT: frozenset({Billing.SENT, Billing.NOT_BILLED}),
    Billing.SENT: frozenset({Billing.BILLED, Billing.NOT_BILLED, Billing.UNKNOWN}),
    # It may be sent again. A response is proof, whatever was believed before.
    Billing.NOT_BILLED: frozenset({Billing.SENT, Billing.BILLED}),
    # Found later (a saved reply, a batch by its id, the usage page); sent again only because the
    # user says so (`Retry.unknown`, `retry_unknown`, `gptimage jobs retry`).
    Billing.UNKNOWN: frozenset({Billing.SENT, Billing.BILLED, Billing.NOT_BILLED}),
    # What is paid stays paid: no later failure takes it back, and it is never sent again.
    Billing.BILLED: frozenset(),
}

Verdict: TypeAlias = Literal["answered", "free", "refused", "unknown"]
"""``answered``: 2xx. ``free``: nothing was done, and it may pass by itself. ``refused``: nothing
was done, and the same request is refused again. ``unknown``: it may have been billed."""

STOPPED_WAITING: Final = frozenset({408, 460, 499, 504, 524, 598, 599})
"""Somebody between us and the model stopped waiting; the model may have gone on.

408 is a slow upload by RFC 9110, but LiteLLM and Azure answer it when the model took too long.
460 is AWS's load balancer and 499 nginx or Envoy: the client, here another gateway, hung up.
504 and 524 (Cloudflare) are a gateway's own time limit, 598 and 599 those of some proxies.
"""

_MOVED_FOR_GOOD: Final = frozenset({301, 308})
"""A permanent redirect is a property of the address, given before anybody looks at the request.
303 says that the work is done and its result elsewhere, and so do many servers with 302; who
answers 307 has had the whole request. Those are unknown."""

_NOT_OFFERED: Final = frozenset({501, 505, 511})
"""No such function, no such HTTP version, a captive portal: no model was asked."""

_NOTHING_SENT: Final = (ConfigurationError, InvalidRequestError, TransportError)
_READ: Final = 20_000
"""Bytes of an error that are looked at."""

QUOTA_CODES: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes and types of an error that no waiting mends: there is no credit left."""

# Gateways keep the sentence and lose the code (LiteLLM sets it to "400" or "429").
_NO_CREDIT: Final = re.compile(
    "|".join(QUOTA_CODES) + r"|billing hard limit|credit balance is too low"
    r"|insufficient (?:credit|balance|fund)|\bout of credits?\b"
    r"|budget has been exceeded|budget_exceeded",
    re.IGNORECASE,
)
_OVER_QUOTA: Final = re.compile(r"exceeded (?:your|the) (?:current )?quota", re.IGNORECASE)
_NO_LIMIT: Final = re.compile(r"\bLimit:? 0(?![\d.])", re.IGNORECASE)
_LIMIT_HEADER: Final = re.compile(r"x-ratelimit-limit-[\w-]+")
_WORK: Final = ("image_generation", '"data"', '"usage"', "b64_json")
"""Signs in an error body that the model had started; such a call may be billed."""

_OVERLOADED: Final = re.compile(
    r"overloaded|over capacity|at capacity|no_capacity|high demand|slow[ _]down"
    r"|too many requests|rate[ _-]?limit|server is busy|model (?:is )?too busy"
    r"|is currently loading",
    re.IGNORECASE,
)
"""How services say that they took nothing on: OpenAI "The server is currently overloaded" and
``slow_down``, Azure ``no_capacity`` and "high demand", Anthropic and Gemini "overloaded", xAI "at
capacity", vLLM "server is busy", Hugging Face "is currently loading"."""

_UNIT: Final = (
    r"(?:ms|milliseconds?|d(?:ays?)?|h(?:(?:ou)?rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)"
)
_TIME: Final = rf"\d{{1,9}}(?:\.\d{{1,9}})?\s?{_UNIT}"
_AGAIN: Final = re.compile(
    r"\b(?:try again|retry|wait|resets?|available)(?:-after)?:?(?:\s[a-z]+){0,4}?\s+"
    rf"((?:{_TIME},?(?:\s(?:and\s)?)?)+)(?![a-z])",
    re.IGNORECASE,
)
_FIELD: Final = re.compile(
    r'"retry[_-]?(?:after|delay)(?P<ms>[_-]?ms)?"\s*:\s*"?'
    r'(?P<number>\d{1,9}(?:\.\d{1,9})?)(?P<unit>ms|s)?"?',
    re.IGNORECASE,
)
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?([a-z]+)", re.IGNORECASE)


def verdict(reply: HttpReply) -> Verdict:
    """Return what a reply says about money; docs/money.md has this as a table."""
    status, text = reply.status, text_of(reply)
    if reply.is_success:
        return "answered"
    if status in STOPPED_WAITING:
        return "unknown"
    if status == 429:
        # Requests are counted before they are passed on; no waiting mends an empty account.
        if shows_work(text):
            return "unknown"
        return "refused" if is_no_credit(text) or is_no_limit(text, reply) else "free"
    if 400 <= status < 500 or status in _MOVED_FOR_GOOD or status in _NOT_OFFERED:
        return "refused"
    # All else: no status of a gateway is trusted, also not those of Cloudflare that say it never
    # connected (521, 523, 525, 526, 530), because it cannot speak for what others between it
    # and the model had tried before: LiteLLM alone asks up to nine times. Only the service's
    # own words count.
    return "free" if says_overloaded(text) else "unknown"


def may_be_billed(error: BaseException) -> bool:
    """Return whether a call that was sent and ended this way may be billed.

    A refusal is not. A failure in the middle of the work may be, and so may an image that
    was drawn and then held back, or an error of unknown meaning inside a success.
    """
    if isinstance(error, _NOTHING_SENT):
        return False
    if isinstance(error, ApiError) and not error.partials:
        if isinstance(error, ServerError):
            nothing_done = error.status == 429 or error.status in _NOT_OFFERED
            return not (nothing_done or says_overloaded(_told(error)))
        if type(error) is ApiError and 200 <= error.status < 300:
            return True
        return isinstance(error, ModerationError) and error.stage == "output"
    return True


def says_overloaded(text: str) -> bool:
    """Return whether an error body is the service's own word that it did nothing, being too busy.

    A page or plain text is a gateway's: it says nothing about what is behind it.
    """
    return (
        text.lstrip()[:1] in ("{", "[") and bool(_OVERLOADED.search(text)) and not shows_work(text)
    )


def shows_work(text: str) -> bool:
    """Return whether the text of an error shows that the model had started to draw."""
    return any(sign in text for sign in _WORK)


def is_no_credit(text: str) -> bool:
    """Return whether an error says that there is no credit left, in whichever field or sentence.

    Gemini uses the sentence about the quota for its limits per minute, too, with a time to wait.
    """
    return bool(_NO_CREDIT.search(text)) or (
        bool(_OVER_QUOTA.search(text)) and wait_in(text) is None
    )


def is_no_limit(text: str, reply: HttpReply | None = None) -> bool:
    """Whether a rate limit is 0: the account may not use the model, and waiting is no use."""
    headers = NO_HEADERS if reply is None else reply.headers
    stated = (value for name, value in headers.items() if _LIMIT_HEADER.fullmatch(name))
    return bool(_NO_LIMIT.search(text)) or any(value.strip() == "0" for value in stated)


def text_of(reply: HttpReply) -> str:
    """Return the beginning of a body, as text."""
    return bytes(reply.body[:_READ]).decode("utf-8", "replace")


def wait_in(text: str) -> float | None:
    """Seconds an error's text asks to wait ("try again in 1m3s", ``"retryDelay": "43s"``)."""
    found = [_seconds(match[1]) for match in _AGAIN.finditer(text)]
    for match in _FIELD.finditer(text):
        in_ms = match["ms"] or (match["unit"] or "").lower() == "ms"
        found.append(float(match["number"]) / (1000 if in_ms else 1))
    return max(found, default=None)


def duration(text: str) -> float | None:
    """Seconds in a duration such as ``12s``, ``240ms`` or ``7m12.5s``; None when it is none."""
    return _seconds(text) if re.fullmatch(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|h|m|s))+", text) else None


def _seconds(text: str) -> float:
    return sum(float(number) / _per_second(unit.lower()) for number, unit in _PART.findall(text))


def _per_second(unit: str) -> float:
    if unit == "ms" or unit.startswith("milli"):
        return 1000.0
    return {"d": 1 / 86_400, "h": 1 / 3600, "m": 1 / 60, "s": 1.0}[unit[0]]


def _told(error: ApiError) -> str:
    """An error's body as JSON, as far as it was kept; a bare message is no word of the service."""
    body: object = error.body
    try:
        return json.dumps(body) if isinstance(body, (dict, list)) else ""
    except (TypeError, ValueError, RecursionError):
        return ""
