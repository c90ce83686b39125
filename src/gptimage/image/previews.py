"""Small versions of several images that fit into one number of bytes together.

For messages that carry images and may only be so long. Nothing of a file but its pixels goes
into its preview, no text and no location; one of a model's image is labelled as such.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image.codecs import MAX_EDGE, decode, encode, has_transparency
from gptimage.image.image import Image
from gptimage.image.transform import scaled


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


_QUALITY: Final = 80
_LOWER_QUALITY: Final = 65
"""Below this, fewer pixels look better."""

_FAR_TOO_MUCH: Final = 3
"""So many times too large, and only fewer pixels help: encoding at full size takes long."""

_SMALLEST: Final = 32
"""Pixels on the long edge; a smaller image shows nothing."""


def previews(
    images: Iterable[Image | None], *, max_px: int, max_bytes: int
) -> tuple[Image | None, ...]:
    """Return a small version of each image; all of them together have at most ``max_bytes`` bytes.

    They are JPEG, or WebP where that must be: for transparency, and where JPEG is too large.
    Where there is not enough room for all, the large ones get equal parts of what the small
    ones leave. Of an animation the first frame is shown; EXIF rotation is applied.

    Args:
        images: The images, each let go before the next is taken; None for one that is not at
            hand, which has no preview.
        max_px: Pixels of the longest edge, at most; images are never enlarged.
        max_bytes: Bytes of all previews together, at most.

    Returns:
        A preview for each image; None for an svg (which is never drawn here), for a broken
        image, and where there is no room for anything that could be recognised.

    Raises:
        InvalidRequestError: ``max_px`` is not 1 to 16,383, more than which no WebP has.
    """
    if not 1 <= max_px <= MAX_EDGE["webp"]:
        raise InvalidRequestError(
            f"max_px must be 1 to {MAX_EDGE['webp']} pixels, not {max_px!r}",
            field="max_px",
            value=max_px,
            allowed=f"1 to {MAX_EDGE['webp']}",
        )
    small = [_small(image, max_px) for image in images]
    best = [None if pixels is None else _best(pixels) for pixels in small]
    room = allowance([len(data) for data in best if data is not None], max_bytes)
    fitted = (
        data
        if pixels is None or data is None or len(data) <= room
        else _squeezed(pixels, len(data), room)
        for pixels, data in zip(small, best, strict=True)
    )
    return tuple(None if data is None else Image.from_bytes(data) for data in fitted)


def allowance(lengths: Sequence[int], total: int) -> int:
    """The most each may have so that all fit: what the small ones leave is for the others."""
    left = max(0, total)
    ascending = sorted(lengths)
    for done, length in enumerate(ascending):
        share = left // (len(ascending) - done)
        if length > share:
            return share
        left -= length
    return max(0, total)


def _small(image: Image | None, max_px: int) -> Pil | None:
    """Return the pixels of the preview; RGBA only where something really is transparent."""
    if image is None:
        return None
    try:
        xmp = None if image.ai_label is None else image.ai_label.to_xmp()
        pixels = decode(image.data, image.format, at_least=max_px, xmp=xmp)
    except ImageDecodeError:
        return None
    pixels.thumbnail((max_px, max_px))
    return pixels if has_transparency(pixels) else pixels.convert("RGB")


def _best(pixels: Pil) -> bytes:
    return _encoded(pixels, "webp" if pixels.mode == "RGBA" else "jpeg", _QUALITY)


def _squeezed(pixels: Pil, length: int, max_bytes: int) -> bytes | None:
    """At most so many bytes: WebP, then less quality, then fewer pixels; None when nothing fits.

    Args:
        pixels: What is to be encoded.
        length: What the best preview has, in bytes; it is too much.
        max_bytes: What this one may have.
    """
    scale = 1.0
    if length <= _FAR_TOO_MUCH * max_bytes:
        for quality in (_QUALITY, _LOWER_QUALITY):
            data = _encoded(pixels, "webp", quality)
            if len(data) <= max_bytes:
                return data
            length = len(data)
    while True:
        # The next size is guessed from how much is too much; halving always ends it.
        scale *= min(0.9, max(0.5, 0.95 * math.sqrt(max_bytes / length)))
        size = (max(1, int(pixels.width * scale)), max(1, int(pixels.height * scale)))
        if max(size) < _SMALLEST:
            return None
        data = _encoded(scaled(pixels, size), "webp", _LOWER_QUALITY)
        if len(data) <= max_bytes:
            return data
        length = len(data)


def _encoded(pixels: Pil, format: str, quality: int) -> bytes:
    return encode(pixels, format, quality=quality, keep_profile=False)
