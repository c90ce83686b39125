"""The first half of the pure core: a request becomes a `Plan`; see ``_finish.py`` for the second.

No I/O, no clock, no randomness: both clients are thin shells over these functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from gptimage._internal.json import canonical
from gptimage._internal.text import closest
from gptimage.image.codecs import oriented_size
from gptimage.image.image import Image
from gptimage.image.mask import Mask, check_markup
from gptimage.models.catalog import Models, ModelSpec
from gptimage.models.pricing import Estimate, estimate, max_cost
from gptimage.models.sizes import DEFAULT_FRAMES
from gptimage.providers import Provider, names, provider_at
from gptimage.providers.openai.images import to_wire
from gptimage.providers.parameters import check_parameters
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.protocols import SANDBOX_URL
from gptimage.types.inputs import API_FORMATS, MAX_BYTES
from gptimage.types.request import Edit, FileRef, Generate
from gptimage.types.validation import SPELLING_CUTOFF, validate


_UNCOUNTED: Final = ("gif", "svg")
"""Formats whose tokens no source gives: frames share one sheet, an svg has an author."""


@frozen(kw_only=True)
class Plan:
    """The decisions made before anything is sent.

    Attributes:
        request: What was asked.
        spec: What is known of the model, or None.
        provider: The service that draws.
        endpoint: Its base URL.
        wire: The HTTP request, as that service reads it.
        key: The cache key: a version tag and the SHA-256 of all that shapes the answer.
        exact: The pixels to return, or None when the service chooses.
        estimate: What it may cost, or None.
        max_cost: The most it should cost in USD, or None.
        warnings: What the caller should know already now.
        on: The day whose prices hold.
        batch: Whether the Batch API's prices hold.
        most: The most images it may draw, where that is not how many were asked for.
        meant: The model of the catalogue that a name it does not have may be a misspelling of.
        sandbox: Whether the sandbox draws.
        elsewhere: Whether another provider draws than the one that the call names.
    """

    request: Generate
    spec: ModelSpec | None
    provider: Provider
    endpoint: str
    wire: HttpRequest
    key: str
    exact: tuple[int, int] | None
    estimate: Estimate | None
    max_cost: Decimal | None
    warnings: tuple[str, ...]
    on: date
    batch: bool = False
    most: int | None = None
    meant: str | None = None
    sandbox: bool = False
    elsewhere: bool = False

    @property
    def images(self) -> int:
        """The number of images it may draw."""
        return self.request.effective_n if self.most is None else self.most

    @property
    def service(self) -> dict[str, object]:
        """What recovery needs to know of the service beside the request; see `note_of`."""
        return {
            "catalogue": self.provider.rows,
            "model": None if self.spec is None else self.spec.id,
            "chooses_format": self.provider.chooses_format,
            "states_cost": self.provider.translates,
            "batch": self.batch,
            "sandbox": self.sandbox,
        }

    def read(self, reply: HttpReply) -> HttpReply:
        """Return a reply of the provider in the form of the Images API."""
        return self.provider.read(self.wire, reply)


def plan(
    request: Generate,
    *,
    models: Models,
    today: date,
    endpoint: str,
    provider: Provider | None = None,
    model: str | None = None,
    batch: bool = False,
) -> Plan:
    """Check a request and decide how it is sent.

    Args:
        request: What was asked, with its images at hand.
        models: The catalogue.
        today: The day, for shutdown dates and prices.
        endpoint: The base URL, part of the cache key.
        provider: The service there; that of the address when left out.
        model: The model as the service names it; as the request does when left out.
        batch: Use the Batch API's prices.

    Raises:
        InvalidRequestError: A documented rule is broken; nothing may be sent.
    """
    provider = provider or provider_at(endpoint)
    rows = models.for_provider(provider.rows)
    known = [each.id for each in rows]
    bare = request if model is None else evolve(request, model=model)
    spec = rows.get(bare.model)
    warnings = list(validate(bare, spec, today, known))
    check_parameters(bare, provider)
    drawn, wire_size = _sizes(request, spec, provider)
    mask, mask_warnings = _legal_mask(request)
    form = provider.form_moderation
    whole = to_wire(bare, size=wire_size, mask=mask, form_moderation=form)
    if not provider.streams:
        whole = evolve(whole, body={k: v for k, v in whole.body.items() if k != "stream"})
    # Two providers may answer at one address, as in the sandbox: the key has the whole name.
    named = evolve(whole, body={**whole.body, "model": request.model})
    likely, most = _costs(request, spec, drawn, today, batch=batch)
    return Plan(
        request=request,
        spec=spec,
        provider=provider,
        endpoint=endpoint,
        wire=provider.to_wire(whole),
        key=cache_key(named, endpoint),
        exact=request.size.dimensions if request.size else None,
        estimate=likely,
        max_cost=most,
        warnings=(*warnings, *_made_fit(request), *mask_warnings),
        on=today,
        meant=None if spec else _meant(bare.model, known, provider),
        batch=batch,
        sandbox=endpoint == SANDBOX_URL,
    )


def _meant(model: str, known: list[str], provider: Provider) -> str | None:
    """Return the model that a name may be a misspelling of; it may begin with another provider."""
    first, slash, rest = model.partition("/")
    if slash and rest and not provider.slashes:
        near = closest(first, names(), cutoff=SPELLING_CUTOFF)
        return f"{near}/{rest}" if near and near != first else None
    return closest(model, known, cutoff=SPELLING_CUTOFF)


def cache_key(wire: HttpRequest, endpoint: str) -> str:
    """Return the same key for the same answer: streaming changes the delivery, not the image."""
    delivery = ("stream", "partial_images")
    parts = {
        "endpoint": endpoint.rstrip("/"),
        "path": wire.path,
        "body": {name: value for name, value in wire.body.items() if name not in delivery},
        "files": [
            [part.name, part.content_type, hashlib.sha256(part.data).hexdigest()]
            for part in wire.files
        ],
    }
    return "g1:" + hashlib.sha256(canonical(parts)).hexdigest()


def _costs(
    request: Generate,
    spec: ModelSpec | None,
    drawn: tuple[int, int] | None,
    on: date,
    *,
    batch: bool,
) -> tuple[Estimate | None, Decimal | None]:
    """Return what a request may cost, likely and at most; None for what cannot be known."""
    if spec is None or request.format in _UNCOUNTED:
        return None, None
    asked: dict[str, Any] = {
        "prompt": request.prompt,
        "size": drawn,
        "n": request.effective_n,
        "partial_images": request.partial_images or 0,
        "inputs": [_known_size(image) for image in request.inputs],
        "on": on,
        "batch": batch,
    }
    quality = request.quality
    return estimate(spec, quality=quality, **asked), max_cost(spec, quality, **asked)


def _known_size(image: Image | FileRef) -> tuple[int, int] | None:
    if isinstance(image, FileRef) or image.width is None or image.height is None:
        return None
    return image.width, image.height


def _sizes(
    request: Generate, spec: ModelSpec | None, provider: Provider
) -> tuple[tuple[int, int] | None, str | None]:
    """Return the size drawn in pixels, and what to call it on the wire."""
    if request.size is None or request.size.dimensions is None:
        return None, None if request.size is None else "auto"
    pixels = request.size.dimensions
    rule = spec.sizes if spec else provider.sizes
    if rule and request.format == "gif":
        rule = rule.for_frames(request.frame_count or DEFAULT_FRAMES)
    drawn = rule.covering(*pixels) if rule else pixels
    return drawn, f"{drawn[0]}x{drawn[1]}"


def _made_fit(request: Generate) -> Iterator[str]:
    """Yield which input images are sent in another form than they were given."""
    for number, image in enumerate(request.inputs, 1):
        given = image.original if isinstance(image, Image) else None
        if given is None or not isinstance(image, Image):
            continue
        if given.format not in API_FORMATS:
            still = "the first frame of " if given.format == "gif" else ""
            article = "an" if given.format[:1] in {"a", "i", "s"} else "a"  # an svg
            yield (
                f"input image {number} is {article} {given.format}, which the service does not "
                f"take: {still}it was sent as {image.format}"
            )
        elif given.nbytes >= MAX_BYTES:
            yield (
                f"input image {number} has {given.nbytes:,} bytes, and the service takes less "
                f"than 50 MB: it was sent with {image.nbytes:,} bytes"
            )
        elif given.size == image.size:  # else it was cut to the size asked for in an earlier call
            yield f"input image {number} is a file of several images: the first was sent"


def _legal_mask(request: Generate) -> tuple[Image | FileRef | None, tuple[str, ...]]:
    """Return the mask as the service takes it, and what was done to make it so."""
    if not isinstance(request, Edit):
        return None, ()
    first = request.images[0]
    if isinstance(request.markup, Image) and isinstance(first, Image):
        check_markup(request.markup, *oriented_size(first.data, first.format))
    if not isinstance(request.mask, Mask):
        return request.mask, ()
    size = oriented_size(first.data, first.format) if isinstance(first, Image) else None
    image, notes = request.mask.normalized(size)
    return image, tuple(notes)
