"""`Record`: everything the store knows about one saved image; on disk it is the sidecar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import field, fields, frozen

from gptimage.image.formats import FORMATS
from gptimage.image.label import COMPOSITE, TRAINED, Label
from gptimage.models.pricing import Cost, Usage


FORMAT: Final = 1
"""The version of the sidecar's layout; fields may be added to it, never change their meaning."""


@frozen(kw_only=True)
class Original:
    """The untouched image as the service sent it, saved beside one that was cropped.

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


@frozen(kw_only=True, repr=False)
class Record:
    """One saved image.

    Attributes:
        id: Its id: ``img_``, the UTC time of saving, and 128 random bits.
        created: When it was saved (UTC); the same time as in the id.
        created_at_service: When the service says it made the image (UTC).
        operation: ``generate`` or ``edit``; ``recovered`` when only the image survived a crash.
        request: Every parameter that was asked for, as JSON; images are named by SHA-256.
        effective: What the main parameters of the request came to, as `Result.effective`; empty for
            images saved by earlier versions and recovered ones.
        model: The model that was asked.
        usage: Tokens of the call that made the image, or None.
        cost: What the whole call cost, or None when unknown; `cost_share` is this image's part.
        key: The image's name in the store.
        format: What the bytes are, such as ``png``.
        width: Pixels across; None only for an svg that states no size.
        height: Pixels down; None only for an svg that states no size.
        bytes: Length of the image's file.
        sha256: SHA-256 of the image's file, in hex.
        original: The untouched image, when this one was cut to the size asked for.
        sources: SHA-256 of every input image, mask and markup.
        parent: Id of the image this one refines, or None.
        response_id: Id of the service's response, to go on with a conversation.
        call_id: Id of the image call within that response.
        message: The model's message that the image came in, without its bytes, where a
            conversation goes on by sending that again; else None.
        index: Which image of the call this is, from 1.
        batch_count: How many images the call returned.
        tags: Your words, sorted.
        pinned: Whether `prune` and `delete` must leave it alone.
        provenance: Whether the file carries a C2PA manifest.
        digital_source: IPTC's name of what it was made from, such as ``trainedAlgorithmicMedia``;
            None when that is not known.
        perceptual_hash: 32 hex digits by which `Store.similar` compares it; empty for what has
            none (an svg, an empty surface). None until ``reindex(hashes=True)`` has made it:
            `Store.similar` remembers those that it makes in the index alone.
        alt: The text alternative for web pages, empty for an image that only decorates; None when
            nobody wrote one. `Store.set_alt` changes it.
        template: Name of the prompt template, or None.
        version: The version of this library that saved it.
        warnings: The warnings of the result.
        request_id: The service's id of the call.
        sandbox: Whether the sandbox drew it, which cost nothing.
        path: The image's file, when the store is a local folder.
        extra: Fields written by a newer version of this library; kept when tags change.
    """

    id: str
    created: datetime
    created_at_service: datetime
    operation: str
    request: Mapping[str, object]
    effective: Mapping[str, object] = field(factory=dict[str, object])
    model: str
    usage: Usage | None = None
    cost: Cost | None = None
    key: str
    format: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str
    original: Original | None = None
    sources: tuple[str, ...] = ()
    parent: str | None = None
    response_id: str | None = None
    call_id: str | None = None
    message: Mapping[str, object] | None = None
    index: int = 1
    batch_count: int = 1
    tags: tuple[str, ...] = ()
    pinned: bool = False
    provenance: bool = False
    digital_source: str | None = None
    perceptual_hash: str | None = None
    alt: str | None = None
    template: str | None = None
    version: str = ""
    warnings: tuple[str, ...] = ()
    request_id: str | None = None
    sandbox: bool = False
    path: Path | None = field(default=None, eq=False)
    extra: Mapping[str, object] = field(factory=dict[str, object])

    def __repr__(self) -> str:
        """Return the id and the main facts, on one line; the prompt is not in it."""
        pixels = "?" if self.size is None else f"{self.width}x{self.height}"
        cost = "unknown" if self.cost_share is None else str(self.cost_share)
        tags = f", tags={list(self.tags)}" if self.tags else ""
        return f"<Record {self.id} {pixels} {self.format}, {self.model}, cost={cost}{tags}>"

    @property
    def prompt(self) -> str:
        """The prompt; empty when only the image survived a crash."""
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
        """MIME type of the image's file, such as ``image/png``."""
        return FORMATS.get(self.format, FORMATS[""]).mime_type

    @property
    def cost_share(self) -> Cost | None:
        """This image's equal part of what the call cost, or None when that is unknown."""
        if self.cost is None or self.batch_count == 1:
            return self.cost
        return Cost(usd=self.cost.usd / self.batch_count, is_upper_bound=self.cost.is_upper_bound)

    @property
    def requested(self) -> Mapping[str, object]:
        """The main parameters as they were requested, under the names of `effective`."""
        return {name: self.request.get(name, _UNSAID.get(name)) for name in self.effective}

    @property
    def ai_label(self) -> Label:
        """What says in files made of this image that a model made it.

        Of an image saved by an earlier version it is not known what an edit started from, so a
        photograph is supposed.
        """
        usual = COMPOSITE if self.operation == "edit" else TRAINED
        source = self.digital_source or usual
        model = None if self.model == "unknown" else self.model
        return Label(source=source, model=model, created=self.created_at_service, id=self.id)

    def to_dict(self) -> dict[str, object]:
        """Return the record as JSON values: the fields of the sidecar, with key and path.

        ``message`` is left out: only the service reads it, and it can be long.
        """
        path = None if self.path is None else str(self.path)
        found = {**self.to_sidecar(), "key": self.key, "path": path}
        found.pop("message", None)
        return found

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), default=str)

    def _repr_html_(self) -> str:
        """Return a small version of the image with its facts, for notebooks."""
        import html

        from gptimage.errors import ImageDecodeError
        from gptimage.image.image import Image

        shown = ""
        try:
            if self.path is not None:
                image = Image.from_path(self.path)
                shown = (image if image.format == "svg" else image.thumbnail(512)).data_url
        except (OSError, ImageDecodeError):  # gone or broken: its facts are still shown
            pass
        cost = "cost unknown" if self.cost_share is None else str(self.cost_share)
        facts = f"{self.id} · {self.prompt[:200]} · {self.model} · {cost}"
        figure = f'<img src="{shown}" style="max-width:320px" alt=""><br>' if shown else ""
        return f"<div>{figure}<small>{html.escape(facts)}</small></div>"

    def to_sidecar(self) -> dict[str, object]:
        """Return what the sidecar holds; where the files lie is not in it."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **self.extra,
            "gptimage": FORMAT,
            **plain,
            "created": to_text(self.created),
            "made": to_text(self.created_at_service),
            "of": self.batch_count,
            "request": dict(self.request),
            "effective": dict(self.effective),
            "usage": _usage(self.usage),
            "cost_usd": None if self.cost is None else str(self.cost.usd),
            "cost_is_upper_bound": None if self.cost is None else self.cost.is_upper_bound,
            "file": _name(self.key),
            "original": _original(self.original),
            "sources": list(self.sources),
            "tags": list(self.tags),
            "warnings": list(self.warnings),
            **({} if self.message is None else {"message": dict(self.message)}),
        }


_UNSAID: Final[Mapping[str, object]] = {"n": 1}
"""What leaving a parameter out requests."""

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
    "digital_source",
    "perceptual_hash",
    "alt",
    "template",
    "version",
    "request_id",
    "sandbox",
)


MAX_ALT: Final = 1000
"""Characters of a text alternative, at most."""


def to_text(moment: datetime) -> str:
    """Return a UTC time as the sidecar writes it: ``2026-11-20T11:42:05.123456Z``."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _usage(usage: Usage | None) -> dict[str, object] | None:
    if usage is None:
        return None
    return {name: getattr(usage, name) for name in USAGE_FIELDS}


USAGE_FIELDS: Final = tuple(each.name for each in fields(Usage))
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
    """Return the file name alone: sidecars hold no folder, so that folders can be moved."""
    return key.rpartition("/")[2]
