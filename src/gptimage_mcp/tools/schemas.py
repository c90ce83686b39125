"""The JSON of tools that return no pixels: typed, so that the SDK publishes and checks its schema.

The roots are objects, which older clients need. Amounts of money are text, so that no digit is
lost; what is not known is null. Field names are those of ``gptimage ... --json``.
"""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict


class Brief(TypedDict, total=False):
    """A saved image in brief; what is not there is not known, empty or usual (a png)."""

    id: str
    prompt: str
    size: str
    format: str
    tags: list[str]


class Listing(TypedDict):
    """A page of images, newest first; ``next`` is the cursor of the next page, or null."""

    records: list[Brief]
    next: str | None


class Alike(Brief):
    """A saved image in brief, and in how many of 64 bits it differs; a copy in 4 at most."""

    distance: int


class Inspection(TypedDict):
    """What an image file says of itself, how it differs from another one, and what looks like it.

    ``intact`` says whether the file is as it was signed, ``trusted`` whether a list has its signer;
    ``changed`` is a share of the pixels; ``unhashed`` images were not compared yet: ask again.
    """

    image: dict[str, Any]
    provenance: dict[str, Any]
    difference: dict[str, Any] | None
    similar: list[Alike]
    unhashed: int


class AltText(TypedDict):
    """The text alternative of a saved image."""

    id: str
    alt: str


class Info(TypedDict):
    """An image, or a call and its images.

    A record is that of ``gptimage show --json``, with ``ancestors``, the images it was made from,
    oldest first, and ``descendants``, those made from it. ``cost_usd`` is of its whole call, which
    drew ``of`` images.

    ``unknown`` means that it was sent, that its outcome is not known, and that it may have been
    billed; ``not_saved`` that it is paid, and its images are not in the store. ``seconds``,
    ``progress`` and ``max_cost_usd`` belong to a call that goes on.
    """

    status: Literal["done", "running", "failed", "unknown", "not_saved"]
    handle: str | None
    records: list[dict[str, Any]]
    seconds: float | None
    progress: str | None
    max_cost_usd: str | None
    error: str | None
    next: str


class Estimated(TypedDict):
    """What a call may cost in USD: an estimate, not a bill; null cannot be known beforehand.

    ``usd`` is the likely amount and ``max_cost_usd`` the most it should cost.
    """

    estimate: Literal[True]
    model: str
    usd: str | None
    max_cost_usd: str | None
    input_tokens: int | None
    output_tokens: int | None
    notes: list[str]


class Catalogue(TypedDict):
    """The models, as `content.records.model` describes one, and what ``advanced`` parameters are.

    ``checked`` is the day the catalogue was last compared with its sources.
    """

    default: str
    checked: str
    advanced: dict[str, str]
    models: list[dict[str, Any]]


class Cache(TypedDict):
    """The cache; ``kind`` is null when there is none, ``cleared`` unless it was cleared.

    ``stats`` are those of `gptimage.CacheStats`; ``hit_rate`` is from 0 to 1.
    """

    kind: str | None
    path: str | None
    cleared: int | None
    stats: dict[str, Any] | None


class Status(TypedDict):
    """How the server is. ``problems`` each say what to do; without any, it can draw.

    ``undecided`` are calls of the caller that left no image, newest first: one that is ``unknown``
    may have been billed, at most ``most_usd``, one that is ``not_sent`` was not. ``settings`` is
    what the server may do. ``store`` and ``cache`` have an ``error`` where they cannot be read.
    ``spend`` is that of today (UTC): ``reserved_usd`` counts for calls whose cost is not known yet,
    ``left_usd`` is what today's limit leaves; null limits do not exist.
    """

    ready: bool
    problems: list[str]
    warnings: list[str]
    sandbox: bool
    transport: str
    running: int
    undecided: list[dict[str, Any]]
    versions: dict[str, Any]
    settings: dict[str, Any]
    store: dict[str, Any]
    cache: dict[str, Any]
    spend: dict[str, Any]


class Cancelled(TypedDict):
    """A cancelled call; ``sent`` when it was too late, as it is paid then."""

    handle: str
    sent: bool
    status: str
    next: str


class Deleted(TypedDict):
    """The image that is gone."""

    deleted: str


class EditedImages(TypedDict):
    """One result for each image, in their order.

    Each has the ``source``, the ``handle``, the ``images`` (ids) and ``cost_usd``; ``status`` is
    ``done``, ``running``, ``failed``, ``unknown`` or ``not_saved`` (drawn and paid, but not in the
    store), and ``error`` says why there is no image, and what to do.
    """

    results: list[dict[str, Any]]
    next: str


class Conversations(TypedDict):
    """Conversations, the turns of one, or the images of one that was ended.

    The ``id`` of a conversation is its newest image, and its ``prompt`` the newest words.
    """

    conversations: list[dict[str, Any]]
    turns: list[dict[str, Any]]
    forgotten: list[str]
    next: str
