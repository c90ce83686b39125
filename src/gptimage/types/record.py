"""`Record`: everything the store knows about one saved picture; on disk it is the sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from gptimage.image.formats import FORMATS
from gptimage.models.pricing import Cost, Usage


FORMAT: Final = 1
"""The version of the sidecar's layout; fields may be added to it, never change their meaning."""


@frozen(kw_only=True)
class Original:
    """The untouched picture as the service sent it, kept beside one that was cropped.

    Attributes:
        key: Its name in the store.
        format: What the bytes are, such as ``png``.
        width: Pixels across; None only for an svg that states no size.
        height: Pixels down; None only for an svg that states no size.
        bytes: Its length.
        sha256: SHA-256 of the bytes, in hex.
    """

    key: str
    format: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str


@frozen(kw_only=True)
class Record:
    """One saved picture.

    Attributes:
        id: Its id: ``img_``, the UTC time of saving, and 128 random bits.
        created: When it was saved (UTC); the same time as in the id.
        created_at_service: When the service says it made the picture (UTC).
        operation: ``generate`` or ``edit``; ``recovered`` when only the picture survived a crash.
        request: Every parameter that was asked for, as JSON; pictures are named by SHA-256.
        model: The model that was asked.
        usage: Tokens of the call that made the picture, or None.
        cost: What the whole call cost, or None when unknown; `cost_share` is this picture's part.
        key: The picture's name in the store.
        format: What the bytes are, such as ``png``.
        width: Pixels across; None only for an svg that states no size.
        height: Pixels down; None only for an svg that states no size.
        bytes: Length of the picture's file.
        sha256: SHA-256 of the picture's file, in hex.
        original: The untouched picture, when this one was cut to the size asked for.
        sources: SHA-256 of every input picture, mask and markup.
        parent: Id of the picture this one refines, or None.
        response_id: Id of the service's response, to go on with a conversation.
        call_id: Id of the image call within that response.
        index: Which picture of the call this is, from 1.
        batch_count: How many pictures the call returned.
        tags: Your words, sorted.
        pinned: Whether `prune` and `delete` must leave it alone.
        provenance: Whether the file carries a C2PA manifest.
        template: Name of the prompt template, or None.
        version: The version of this library that saved it.
        warnings: What the caller was told about the result.
        request_id: The service's id of the call.
        sandbox: Whether the sandbox drew it, which cost nothing.
        path: The picture's file, when the store is a local folder.
        extra: Fields written by a newer version of this library; kept when tags change.
    """

    id: str
    created: datetime = field(repr=False)
    created_at_service: datetime = field(repr=False)
    operation: str
    request: Mapping[str, object] = field(repr=False)
    model: str
    usage: Usage | None = field(default=None, repr=False)
    cost: Cost | None = None
    key: str = field(repr=False)
    format: str
    width: int | None
    height: int | None
    bytes: int = field(repr=False)
    sha256: str = field(repr=False)
    original: Original | None = field(default=None, repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    parent: str | None = field(default=None, repr=False)
    response_id: str | None = field(default=None, repr=False)
    call_id: str | None = field(default=None, repr=False)
    index: int = field(default=1, repr=False)
    batch_count: int = field(default=1, repr=False)
    tags: tuple[str, ...] = ()
    pinned: bool = False
    provenance: bool = field(default=False, repr=False)
    template: str | None = field(default=None, repr=False)
    version: str = field(default="", repr=False)
    warnings: tuple[str, ...] = field(default=(), repr=False)
    request_id: str | None = field(default=None, repr=False)
    sandbox: bool = field(default=False, repr=False)
    path: Path | None = field(default=None, repr=False, eq=False)
    extra: Mapping[str, object] = field(factory=dict[str, object], repr=False)

    @property
    def prompt(self) -> str:
        """What the model was asked to draw; empty when only the picture survived a crash."""
        prompt = self.request.get("prompt")
        return prompt if isinstance(prompt, str) else ""

    @property
    def size(self) -> tuple[int, int] | None:
        """``(width, height)`` in pixels; None for an svg that states none."""
        if self.width is None or self.height is None:
            return None
        return self.width, self.height

    @property
    def mime_type(self) -> str:
        """MIME type of the picture's file, such as ``image/png``."""
        return FORMATS.get(self.format, FORMATS[""]).mime_type

    @property
    def cost_share(self) -> Cost | None:
        """This picture's equal part of what the call cost, or None when that is unknown."""
        if self.cost is None or self.batch_count == 1:
            return self.cost
        return Cost(usd=self.cost.usd / self.batch_count, upper_bound=self.cost.upper_bound)

    def to_json(self) -> dict[str, object]:
        """The record as JSON values, with the field names of the sidecar."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **self.extra,
            "gptimage": FORMAT,
            **plain,
            "created": to_text(self.created),
            "made": to_text(self.created_at_service),
            "of": self.batch_count,
            "request": dict(self.request),
            "usage": _usage(self.usage),
            "cost_usd": None if self.cost is None else str(self.cost.usd),
            "cost_is_upper_bound": None if self.cost is None else self.cost.upper_bound,
            "file": _name(self.key),
            "original": _original(self.original),
            "sources": list(self.sources),
            "tags": list(self.tags),
            "warnings": list(self.warnings),
        }


_PLAIN: Final = (
    "id",
    "operation",
    "model",
    "format",
    "width",
    "height",
    "bytes",
    "sha256",
    "parent",
    "response_id",
    "call_id",
    "index",
    "pinned",
    "provenance",
    "template",
    "version",
    "request_id",
    "sandbox",
)


def to_text(moment: datetime) -> str:
    """A UTC time as the sidecar writes it: ``2026-11-20T11:42:05.123456Z``."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _usage(usage: Usage | None) -> dict[str, object] | None:
    if usage is None:
        return None
    return {name: getattr(usage, name) for name in USAGE_FIELDS}


USAGE_FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "text_tokens",
    "image_tokens",
    "output_text_tokens",
    "svg_tokens",
)
"""What a sidecar keeps of `Usage`."""


def _original(original: Original | None) -> dict[str, object] | None:
    if original is None:
        return None
    names = ("format", "width", "height", "bytes", "sha256")
    return {
        "file": _name(original.key),
        **{name: getattr(original, name) for name in names},
    }


def _name(key: str) -> str:
    """A sidecar names its files without their folder, so that folders can be moved."""
    return key.rpartition("/")[2]
