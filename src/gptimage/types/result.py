"""The response as values: a `Result`, and the events of a stream."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, evolve, field, frozen

from gptimage._internal.keywords import path as check_path
from gptimage._internal.keywords import refused
from gptimage.errors import GptImageError, ImageDecodeError
from gptimage.image.files import IMAGE_EXTENSIONS
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.image.outside import drift
from gptimage.models.pricing import Cost, Usage
from gptimage.types.request import Edit, Generate


if TYPE_CHECKING:
    from gptimage.types.record import Record


@frozen(kw_only=True, repr=False)
class Result:
    """The images of one call and everything known about it.

    ``len(result)``, ``result[0]`` and iteration give its images.

    Attributes:
        images: The images, in the order the service sent them.
        request: What was asked.
        model: The model that was asked.
        usage: Tokens as the service counted them; None when it did not say.
        cost: What it cost in USD; None when that cannot be known; 0 for a cache hit.
        warnings: What you should know, one sentence each: a crop, a shutdown date, a lost image.
        created: When the service made them (UTC).
        request_id: The service's id of the call.
        headers: Headers of the response under lower-case names, without cookies; empty for a cache
            hit.
        reported_by_service: Size, quality, format and background as its response says; it can err.
        cached: Whether the answer came from the cache and no request was sent.
        sandbox: Whether the sandbox drew them, which costs nothing.
        stored: The records of the store, one for each image, when the client has a store.
    """

    images: tuple[Image, ...]
    request: Generate
    model: str
    usage: Usage | None = None
    cost: Cost | None = None
    warnings: tuple[str, ...] = ()
    created: datetime
    request_id: str | None = None
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False, eq=False)
    reported_by_service: Mapping[str, object] = field(factory=dict[str, object])
    cached: bool = False
    sandbox: bool = False
    stored: tuple[Record, ...] = ()

    @property
    def image(self) -> Image:
        """The first image."""
        return self.images[0]

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.images)

    def __iter__(self) -> Iterator[Image]:
        """Iterate over the images."""
        return iter(self.images)

    def __getitem__(self, index: int) -> Image:
        """Return one image; the first is 0."""
        return self.images[index]

    def __repr__(self) -> str:
        """Return what came and what it cost, on one line; the prompt is not in it."""
        images = ", ".join(f"{_pixels(image)} {image.format}" for image in self.images)
        cost = "unknown" if self.cost is None else str(self.cost)
        more = [f"warnings={len(self.warnings)}"] if self.warnings else []
        more += [name for name in ("cached", "sandbox") if getattr(self, name)]
        return f"<Result {', '.join([f'[{images}]', self.model, f'cost={cost}', *more])}>"

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write every image into a folder, which is made when missing.

        The names are those of `Image.save`: ``image-<first 8 of sha256>.<extension>``, so saving
        the same result twice writes the same files.

        Returns:
            The paths, in the order of the images.

        Raises:
            ConfigurationError: It is no path, or that of a file: ``result.image.save("fox.png")``
                writes one.
            OSError: One cannot be written; the images are still here.
        """
        check_path("folder", folder)
        if Path(folder).suffix.lower() in IMAGE_EXTENSIONS and not Path(folder).is_dir():
            wanted = "a folder: result.image.save(...) writes a file with a name of yours"
            raise refused("folder", folder, wanted)
        Path(folder).mkdir(parents=True, exist_ok=True)
        return tuple(image.save(Path(folder)) for image in self.images)

    def to_dict(self, *, data: bool = False) -> dict[str, object]:
        """Return everything known as JSON values, with the names of the command line's ``--json``.

        Costs are in USD, as text that no program rounds; ``requested`` and ``effective`` are the
        main parameters and what they came to; ``drift`` is measured for an edit with ``outside``,
        and null otherwise or where an image is broken.

        Args:
            data: Whether the images themselves are in it, as base64 text.
        """
        return {
            "prompt": self.request.prompt,
            "operation": self.request.operation,
            "model": self.model,
            "images": [image.to_dict(data=data) for image in self.images],
            "ids": [record.id for record in self.stored],
            "cost_usd": None if self.cost is None else str(self.cost.usd),
            "cost_is_upper_bound": None if self.cost is None else self.cost.is_upper_bound,
            "usage": None if self.usage is None else asdict(self.usage),
            "warnings": list(self.warnings),
            "created": self.created.isoformat(),
            "request_id": self.request_id,
            "requested": dict(self.requested),
            "effective": dict(self.effective),
            "cached": self.cached,
            "sandbox": self.sandbox,
            "drift": self._measured_drift(),
        }

    def to_json(self, *, data: bool = False) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(data=data))

    @property
    def requested(self) -> Mapping[str, object]:
        """The main parameters as they were requested, under the names of `effective`.

        None for what was left to the service.
        """
        request, size = self.request, self.request.size
        return {
            "model": request.model,
            "n": request.effective_n,
            "size": None if size is None else str(size),
            "format": request.format,
            "quality": request.quality,
            "background": request.background,
        }

    @property
    def effective(self) -> Mapping[str, object]:
        """The main parameters as they took effect, beside `requested`.

        ``size``, ``format`` and ``n`` are measured on the images. ``quality`` and ``background``
        are what the service reports, or else what was asked for; None when neither is known, or
        when it was left to the service, which did not say.
        """
        asked = {name: getattr(self.request, name) for name in ("quality", "background")}
        chosen = {name: None if value == "auto" else value for name, value in asked.items()}
        size = self.image.size
        return {
            "model": self.model,
            "n": len(self.images),
            "size": None if size is None else f"{size[0]}x{size[1]}",
            "format": self.image.format,
            **{name: self.reported_by_service.get(name) or chosen[name] for name in chosen},
        }

    @cached_property
    def drift(self) -> float | None:
        """Share of the pixels outside the mask that the service changed, 0 to 1.

        Of several images the largest. None for what was no edit with a mask, or whose images are
        not at hand. Measured when it is read: some 40 ms of CPU for 1024x1024.

        Raises:
            ImageDecodeError: An image is broken.
        """
        request = self.request
        if not isinstance(request, Edit) or not isinstance(request.mask, Mask):
            return None
        first, mask = request.images[0], request.mask
        if not isinstance(first, Image) or self.image.format in ("gif", "svg"):
            return None
        return max(
            drift(image.original or image, first, mask, size=image.size) for image in self.images
        )

    def _measured_drift(self) -> float | None:
        # What was paid for is described also when an image cannot be decoded.
        with suppress(GptImageError):
            return self.drift if self.request.keeps_outside else None
        return None

    def with_warnings(self, *sentences: str) -> Result:
        """Return the same result with more warnings."""
        return evolve(self, warnings=(*self.warnings, *sentences))

    def _repr_html_(self) -> str:
        """Return all images side by side with prompt, size and cost, for notebooks."""
        import html

        figures = "".join(_figure(image) for image in self.images)
        cost = "cost unknown" if self.cost is None else str(self.cost)
        caption = f"{html.escape(self.request.prompt[:200])} · {html.escape(self.model)} · {cost}"
        return f"<div><div>{figures}</div><small>{caption}</small></div>"


@frozen(kw_only=True)
class PartialImage:
    """A preview of an image that is still being drawn; never the final one.

    Attributes:
        image: The preview.
        index: 0 for the first preview.
    """

    image: Image
    index: int

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return the preview, for notebooks."""
        return self.image._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol


@frozen(kw_only=True)
class Completed:
    """The end of a stream: the finished images.

    Attributes:
        result: The same value `generate` and `edit` return.
    """

    result: Result

    @property
    def image(self) -> Image:
        """The first finished image."""
        return self.result.image

    def _repr_html_(self) -> str:
        """Return the images, for notebooks."""
        return self.result._repr_html_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol


def _pixels(image: Image) -> str:
    return "?" if image.size is None else f"{image.width}x{image.height}"


def _figure(image: Image) -> str:
    try:
        preview = image if image.format == "svg" else image.thumbnail(512)
    except ImageDecodeError:  # a broken image must not hide the others
        preview = image
    pixels = f"{_pixels(image)} {image.format}".replace("x", "×", 1)
    style = "display:inline-block;margin:4px;text-align:center"
    tag = f'<img src="{preview.data_url}" style="max-width:320px" alt="">'
    return f'<figure style="{style}">{tag}<figcaption>{pixels}</figcaption></figure>'
