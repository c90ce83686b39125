"""Transformations of an image: thumbnail, conversion, the exact size, to and from PIL."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage._internal.keywords import as_int
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image.codecs import (
    MAX_EDGE,
    XMP,
    check_memory,
    decode,
    decode_errors,
    encode,
    encode_gif,
    has_transparency,
    load,
    open_header,
    oriented_size,
    to_rgb_or_rgba,
    upright,
)
from gptimage.image.formats import (
    MAX_PIXELS,
    gif_blocks,
    resized_svg,
    riff_chunks,
    with_svg_xmp,
)
from gptimage.image.protocols import PilImage


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


# Scaling: to cover a size exactly, or to have fewer pixels.


def cover(image: Pil, width: int, height: int) -> Pil:
    """Scale to cover ``width`` x ``height`` pixels and cut off the rest evenly."""
    scale = max(width / image.width, height / image.height)
    if scale == 1:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))
    across, down = min(width / scale, image.width), min(height / scale, image.height)
    x, y = (image.width - across) / 2, (image.height - down) / 2
    box = (x, y, min(x + across, image.width), min(y + down, image.height))
    return scaled(image, (width, height), box)


def scaled(
    image: Pil, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Pil:
    """Return the whole image, or the part in ``box``, at another pixel size."""
    from PIL.Image import Resampling

    return image.resize(  # pyright: ignore[reportUnknownMemberType]  # Pillow names numpy, which need not be there
        size, Resampling.LANCZOS, box=box
    )


# Animated gifs: reading their frames and fitting them to a size.

_FRAMES_HELD: Final = 3
"""How often every frame is in memory at once: as read, as scaled, and as written."""

_MAX_FRAMES: Final = 10_000
"""The service draws 16 at most, and all are in memory at once."""


@frozen(kw_only=True)
class Animation:
    """The frames of a gif as whole images.

    Attributes:
        frames: Each frame as it is shown, in mode L, RGB or RGBA.
        durations: Milliseconds each one is shown.
        loop: How often it repeats, 0 for ever; None when it plays once.
    """

    frames: tuple[Pil, ...]
    durations: tuple[int, ...]
    loop: int | None = None


def frame_count(data: bytes) -> int:
    """Return how many frames a gif has, without decoding any."""
    return sum(marker == 0x2C for marker, _ in gif_blocks(data))


def decode_animation(data: bytes, xmp: bytes | None = None) -> Animation:
    """Return every frame of a gif, the first one with the XMP for the gif that is made of it.

    Raises:
        ImageDecodeError: It is broken, or has more pixels in all than a still image may have.
    """
    from PIL import ImageSequence

    image = open_header(data, "gif")
    count = frame_count(data)
    frames: list[Pil] = []
    durations: list[int] = []
    with decode_errors("gif"):
        for frame in islice(ImageSequence.Iterator(image), count):
            # Each time, as a later frame may enlarge the canvas.
            _check_total(count, *frame.size, held=_FRAMES_HELD)
            durations.append(int(frame.info.get("duration", 0)))
            frames.append(to_rgb_or_rgba(frame.copy()))
    if not frames:
        raise ImageDecodeError("this gif has no frames")
    if xmp is not None:
        frames[0].info[XMP] = xmp
    loop = image.info.get("loop")
    return Animation(frames=tuple(frames), durations=tuple(durations), loop=loop)


def check_frames(data: bytes) -> None:
    """Decode every frame, one after the other.

    Raises:
        ImageDecodeError: One is broken, or there are too many pixels in all.
    """
    from PIL import ImageSequence

    image = open_header(data, "gif")
    count = frame_count(data)
    found = 0
    with decode_errors("gif"):
        for frame in islice(ImageSequence.Iterator(image), count):
            _check_total(count, *frame.size, held=0)
            frame.load()
            found += 1
    if not found:
        raise ImageDecodeError("this gif has no frames")


def _check_total(count: int, width: int, height: int, *, held: int) -> None:
    if count > _MAX_FRAMES or count * width * height > MAX_PIXELS:
        raise ImageDecodeError(
            f"this gif has {count} frames of {width}x{height} pixels: at most "
            f"{_MAX_FRAMES:,} frames with {MAX_PIXELS:,} pixels in all are unpacked"
        )
    frames = count if held else 1
    check_memory("gif", "RGBA", frames * width * height, copies=max(held, 1))


def fit_animation(data: bytes, width: int, height: int, xmp: bytes | None = None) -> bytes:
    """Return every frame scaled and cut to this size, in pixels; durations and loop stay.

    Neighbouring frames that have become identical are merged into one of their total duration.
    """
    gif = decode_animation(data, xmp)
    frames = [cover(frame, width, height) for frame in gif.frames]
    return encode_gif(frames, gif.durations, gif.loop)


# Making an image fit a limit of bytes: first less quality, then fewer pixels.

_LOWEST_QUALITY: Final = 60
"""Below this, fewer pixels look better than more artefacts."""

_BETTER_QUALITIES: Final = (90, 85, 80, 75, 70, 65)


def shrink(data: bytes, format: str, max_bytes: int, xmp: bytes | None = None) -> bytes:
    """Return the file with at most so many bytes, itself if it fits; see `Image.shrink`."""
    max_bytes = as_int(max_bytes)
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise _refused(f"max_bytes must be a whole number from 1 up, not {max_bytes!r}", max_bytes)
    if len(data) <= max_bytes:
        return data
    if format == "svg":
        raise _refused(f"an svg of {len(data)} bytes cannot be made smaller here", max_bytes)
    if format == "gif" and frame_count(data) > 1:
        return _smaller_animation(data, max_bytes, xmp)
    return _smaller_still(data, format, max_bytes, xmp)


def _smaller_still(data: bytes, format: str, max_bytes: int, xmp: bytes | None) -> bytes:
    image = decode(data, format, xmp=xmp)
    webp = format == "webp" or has_transparency(image)
    format = "webp" if webp else "jpeg"
    profile = image.info.get("icc_profile", b"")
    keep_profile = len(profile) * 4 < max_bytes  # a profile must not crowd out the image

    def attempt(size: tuple[int, int], quality: int) -> bytes:
        small = image if size == image.size else scaled(image, size)
        return encode(small, format, quality=quality, keep_profile=keep_profile)

    largest = min(1.0, MAX_EDGE[format] / max(image.size))
    size, data = _largest_that_fits(
        lambda size: attempt(size, _LOWEST_QUALITY), image.size, largest, max_bytes
    )
    for quality in _BETTER_QUALITIES:
        if len(better := attempt(size, quality)) <= max_bytes:
            return better
    return data


def _smaller_animation(data: bytes, max_bytes: int, xmp: bytes | None) -> bytes:
    gif = decode_animation(data, xmp)

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
                f"this image cannot be made smaller than {len(data)} bytes", max_bytes, len(data)
            )
        scale *= min(0.9, max(0.1, 0.97 * math.sqrt(max_bytes / len(data))))


def _refused(message: str, max_bytes: object, least: int = 1) -> InvalidRequestError:
    return InvalidRequestError(
        message, field="max_bytes", value=max_bytes, allowed=f"{least} or more"
    )


FIT_QUALITY: Final = 95
"""For an image cut to size: it is paid for, and the untouched one stays in `original`."""


def to_pil(data: bytes, format: str) -> Pil:
    """Return a decoded PIL image; see `Image.to_pil`."""
    try:
        return _loaded(data, format, whole=True)
    except ImageDecodeError:
        return _loaded(data, format, whole=False)


def _loaded(data: bytes, format: str, *, whole: bool) -> Pil:
    image = open_header(data, format, whole=whole)
    with decode_errors(format):
        load(image)
    return image


def from_pil(image: PilImage) -> bytes:
    """Return a PIL image as PNG; see `Image.from_pil`."""
    import PIL.Image

    if not isinstance(image, PIL.Image.Image):
        raise InvalidRequestError(
            f"a {type(image).__name__} is no image: give a path, bytes, a binary file or a PIL "
            "image (PIL.Image.fromarray makes one from an array)",
            field="source",
            value=type(image).__name__,
            allowed="a path, bytes, a binary file, a PIL image or a data: URL",
        )
    if 0 in image.size:
        raise ImageDecodeError(f"this PIL image has no pixels: it is {image.size} large")
    with decode_errors("PIL image"):
        image.load()
        turned = to_rgb_or_rgba(upright(image.copy()))  # a copy: `image` is not ours
    return encode(turned, "png")


def thumbnail(
    data: bytes,
    format: str,
    size: tuple[int, int] | None,
    max_px: int,
    xmp: bytes | None = None,
) -> bytes:
    """Return a small version, or the file itself if it is small; see `Image.thumbnail`."""
    max_px = as_int(max_px)
    if isinstance(max_px, bool) or not isinstance(max_px, int) or max_px < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InvalidRequestError(
            f"max_px must be a whole number of pixels from 1 up, not {max_px!r}",
            field="max_px",
            value=max_px,
            allowed="1 or more",
        )
    if size is not None and max(size) <= max_px and format != "svg":
        return data
    image = decode(data, format, at_least=max_px, xmp=xmp)
    image.thumbnail((max_px, max_px))
    return encode(image, format if format in {"png", "jpeg", "webp"} else "png")


def convert(
    data: bytes, format: str, wanted: str, quality: int | None, xmp: bytes | None = None
) -> bytes:
    """Return the file in another format, itself if it has that one; see `Image.convert`."""
    target = "jpeg" if wanted == "jpg" else wanted
    allowed = ("png", "jpeg", "webp", "avif", "gif")
    if target not in allowed:
        raise InvalidRequestError(
            f"cannot convert to {wanted!r}: choose one of {', '.join(allowed)}",
            field="format",
            value=wanted,
            allowed=allowed,
        )
    _check_quality(target, quality)
    if target == format and quality is None:
        return data
    return encode(decode(data, format, xmp=xmp), target, quality=quality)


def fit(
    data: bytes,
    format: str,
    width: int,
    height: int,
    *,
    quality: int | None = None,
    xmp: bytes | None = None,
) -> bytes:
    """Return the file at exactly this size, itself if it has it; see `Image.fit`."""
    if format == "svg":
        resized = resized_svg(data, width, height)
        return resized if xmp is None else with_svg_xmp(resized, xmp)
    if oriented_size(data, format) == (width, height):
        return data
    if format == "gif":
        return fit_animation(data, width, height, xmp)
    target = format if format in {"png", "jpeg", "webp"} else "png"
    lossless = quality is None and format == "webp" and is_lossless_webp(data)
    image = cover(decode(data, format, xmp=xmp), width, height)
    wanted = FIT_QUALITY if quality is None else max(quality, 1)  # Pillow's 0 means 75
    return encode(image, target, quality=wanted, lossless=lossless)


def is_lossless_webp(data: bytes) -> bool:
    """Return whether a still WebP keeps every pixel."""
    return any(name == b"VP8L" for name, _, _ in riff_chunks(data))


def _check_quality(format: str, quality: int | None) -> None:
    if quality is None:
        return
    if format not in {"jpeg", "webp", "avif"}:
        raise InvalidRequestError(
            f"{format} has no quality: it belongs to jpeg, webp and avif",
            field="quality",
            value=quality,
            allowed=None,
        )
    quality = as_int(quality)
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InvalidRequestError(
            f"quality must be a whole number from 1 to 100, not {quality!r}",
            field="quality",
            value=quality,
            allowed="1 to 100",
        )
