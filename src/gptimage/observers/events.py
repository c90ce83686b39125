"""The events of a call, as plain values that observers receive; never a prompt or a key.

An ordinary call gives Planned, Sent, Finished and, with a store, Saved. Every Planned is
followed by at least one of CacheHit, Finished and Failed. Failed may come after Finished,
when saving failed; Finished may come after Failed, when a caller gave up and its request,
already sent, still got its response and was paid.

A batch gives Sent and Submitted when it is made. When its results are read, perhaps by another
process, each of its requests gives Finished or Failed, and Saved; ``item`` says which it was.
Results that are read again tell again only what no store has and no ledger has settled.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from attrs import frozen

from gptimage.models.pricing import Cost, Usage


@frozen(kw_only=True)
class Event:
    """The common part of all events.

    Attributes:
        name: The kind of event in lower case, such as ``finished``.
        call_id: Random, the same for all events of one call, and the row's id in a ledger.
        at: When it happened (UTC).
        operation: ``generate``, ``edit``, ``turn``, ``question`` or ``batch``.
        model: The model of the request.
        item: Which request of a batch it is about, from 0; None outside of batches.
        provider: The service that is asked, such as ``openai`` or ``gemini``.
    """

    name: ClassVar[str] = "event"

    call_id: str
    at: datetime
    operation: str
    model: str
    item: int | None = None
    provider: str = "openai"


@frozen(kw_only=True)
class Planned(Event):
    """A request was checked; nothing is sent yet.

    Attributes:
        estimate: What it may cost, in USD, or None.
        max_cost: The most it should cost, in USD, or None.
        images: How many images are requested.
    """

    name: ClassVar[str] = "planned"

    estimate: Decimal | None = None
    max_cost: Decimal | None = None
    images: int = 1


@frozen(kw_only=True)
class CacheHit(Event):
    """A reply from the cache, or of the same request in flight: it costs nothing.

    Attributes:
        images: How many images it has.
    """

    name: ClassVar[str] = "cache_hit"

    images: int = 1


@frozen(kw_only=True)
class Waiting(Event):
    """A request is held back before it is sent.

    Attributes:
        reason: What for, such as ``images per minute``.
        seconds: How long.
    """

    name: ClassVar[str] = "waiting"

    reason: str
    seconds: float


@frozen(kw_only=True)
class Sent(Event):
    """A request goes out now.

    Attributes:
        attempt: Which try it is, from 1.
    """

    name: ClassVar[str] = "sent"

    attempt: int = 1


@frozen(kw_only=True)
class Submitted(Event):
    """The service has taken a batch, and draws it within a day.

    Attributes:
        batch_id: Its id at the service.
        requests: How many requests it has.
        images: How many images they request.
        estimate: What it may cost at batch prices, in USD, or None.
        max_cost: The most it should cost, in USD, or None.
    """

    name: ClassVar[str] = "submitted"

    batch_id: str
    requests: int
    images: int
    estimate: Decimal | None = None
    max_cost: Decimal | None = None


@frozen(kw_only=True)
class Retried(Event):
    """The event of a call that will be sent again.

    Attributes:
        delay: Seconds until then.
        reason: Why: ``HTTP 429``, or the name of an error class.
        possible_cost: What the try before may have cost, in USD: 0, unless `Retry.unknown` asks
            to send again what may have been billed; None when that is not known.
    """

    name: ClassVar[str] = "retried"

    delay: float
    reason: str
    possible_cost: Decimal | None = Decimal(0)


@frozen(kw_only=True)
class PartialArrived(Event):
    """A preview arrived.

    Attributes:
        index: 0 for the first.
    """

    name: ClassVar[str] = "partial_arrived"

    index: int


@frozen(kw_only=True)
class Finished(Event):
    """A response with images, which is paid.

    Attributes:
        images: How many images came.
        seconds: From planning to the response being read.
        request_id: The service's id of the request, or None.
        usage: Tokens as the service counted them, or None.
        cost: What it cost in USD, or None when that cannot be known.
    """

    name: ClassVar[str] = "finished"

    images: int
    seconds: float
    request_id: str | None = None
    usage: Usage | None = None
    cost: Cost | None = None


@frozen(kw_only=True)
class Saved(Event):
    """The images are in the store.

    Attributes:
        images: The ids of their records.
    """

    name: ClassVar[str] = "saved"

    images: tuple[str, ...]


@frozen(kw_only=True)
class Failed(Event):
    """The caller got an exception.

    Attributes:
        error: The name of its class; its message may hold the service's own words, so it is not
            here.
        seconds: From planning until then.
        request_id: The service's id of the request, or None.
        status: The HTTP status code, when the service refused.
        code: The service's machine-readable code, such as ``moderation_blocked``.
        possible_cost: What it may have cost in USD although it failed; 0 when nothing was
            billed, None when that cannot be known.
    """

    name: ClassVar[str] = "failed"

    error: str
    seconds: float
    request_id: str | None = None
    status: int | None = None
    code: str | None = None
    possible_cost: Decimal | None = None
