"""Making a picture fit a limit of bytes: first less quality, then fewer pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from gptimage import _gif
from gptimage._encoding import MAX_EDGE, encode, encode_gif, has_transparency
from gptimage._scaling import scaled
from gptimage.errors import InvalidRequestError
from gptimage.image.codecs import decode
from gptimage.image.image import Image


_LOWEST_QUALITY: Final = 60
"""Below this, fewer pixels look better than more artefacts."""

_BETTER_QUALITIES: Final = (90, 85, 80, 75, 70, 65)


def shrink(image: Image, max_bytes: int) -> Image:
    """See `Image.shrink`."""
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise _refused(f"max_bytes must be a whole number from 1 up, not {max_bytes!r}", max_bytes)
    if image.nbytes <= max_bytes:
        return image
    if image.format == "svg":
        raise _refused(f"an svg of {image.nbytes} bytes cannot be made smaller here", max_bytes)
    if image.format == "gif" and _gif.frame_count(image.data) > 1:
        return Image.from_bytes(_smaller_animation(image, max_bytes))
    return Image.from_bytes(_smaller_still(image, max_bytes))


def _smaller_still(image: Image, max_bytes: int) -> bytes:
    picture = decode(image)
    webp = image.format == "webp" or has_transparency(picture)
    format = "webp" if webp else "jpeg"
    profile = picture.info.get("icc_profile", b"")
    keep_profile = len(profile) * 4 < max_bytes  # a profile must not crowd out the picture

    def attempt(size: tuple[int, int], quality: int) -> bytes:
        small = picture if size == picture.size else scaled(picture, size)
        return encode(small, format, quality=quality, keep_profile=keep_profile)

    largest = min(1.0, MAX_EDGE[format] / max(picture.size))
    size, data = _largest_that_fits(
        lambda size: attempt(size, _LOWEST_QUALITY), picture.size, largest, max_bytes
    )
    for quality in _BETTER_QUALITIES:
        if len(better := attempt(size, quality)) <= max_bytes:
            return better
    return data


def _smaller_animation(image: Image, max_bytes: int) -> bytes:
    gif = _gif.decode(image)

    def attempt(size: tuple[int, int]) -> bytes:
        frames = [scaled(frame, size) for frame in gif.frames]
        return encode_gif(frames, gif.durations, gif.loop)

    _, data = _largest_that_fits(attempt, gif.frames[0].size, 1.0, max_bytes)
    return data


def _largest_that_fits(
    encode: Callable[[tuple[int, int]], bytes],
    full: tuple[int, int],
    scale: float,
    max_bytes: int,
) -> tuple[tuple[int, int], bytes]:
    """Try smaller pixel sizes until one fits; the next one is guessed from how much is too much.

    Raises:
        InvalidRequestError: Not even one pixel fits.
    """
    while True:
        size = (max(1, int(full[0] * scale)), max(1, int(full[1] * scale)))
        data = encode(size)
        if len(data) <= max_bytes:
            return size, data
        if size == (1, 1):
            raise _refused(
                f"this picture cannot be made smaller than {len(data)} bytes", max_bytes, len(data)
            )
        scale *= min(0.9, max(0.1, 0.97 * math.sqrt(max_bytes / len(data))))


def _refused(message: str, max_bytes: object, least: int = 1) -> InvalidRequestError:
    return InvalidRequestError(
        message, field="max_bytes", value=max_bytes, allowed=f"{least} or more"
    )
