"""What can be done to a picture: thumbnail, conversion, the exact size, to and from PIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image.codecs import (
    MAX_EDGE,
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
from gptimage.image.formats import MAX_PIXELS, gif_blocks, resized, riff_chunks
from gptimage.image.image import Image, PilImage


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


# Scaling: to cover a size exactly, or to have fewer pixels.


def cover(picture: Pil, width: int, height: int) -> Pil:
    """Scale to cover ``width`` x ``height`` pixels and cut off the rest evenly."""
    scale = max(width / picture.width, height / picture.height)
    if scale == 1:
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))
    across, down = min(width / scale, picture.width), min(height / scale, picture.height)
    x, y = (picture.width - across) / 2, (picture.height - down) / 2
    box = (x, y, min(x + across, picture.width), min(y + down, picture.height))
    return scaled(picture, (width, height), box)


def scaled(
    picture: Pil, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Pil:
    """The whole picture, or the part in ``box``, at another pixel size."""
    from PIL.Image import Resampling

    return picture.resize(  # pyright: ignore[reportUnknownMemberType]  # Pillow names numpy, which need not be there
        size, Resampling.LANCZOS, box=box
    )


# Animated gifs: reading their frames and fitting them to a size.

_FRAMES_HELD: Final = 3
"""How often every frame is in memory at once: as read, as scaled, and as written."""

_MAX_FRAMES: Final = 10_000
"""The service draws 16 at most, and all are in memory at once."""


@frozen(kw_only=True)
class Animation:
    """The frames of a gif as whole pictures.

    Attributes:
        frames: Each frame as it is shown, in mode L, RGB or RGBA.
        durations: Milliseconds each one is shown.
        loop: How often it repeats, 0 for ever; None when it plays once.
    """

    frames: tuple[Pil, ...]
    durations: tuple[int, ...]
    loop: int | None = None


def frame_count(data: bytes) -> int:
    """How many frames a gif has, without decoding any."""
    return sum(marker == 0x2C for marker, _ in gif_blocks(data))


def decode_animation(image: Image) -> Animation:
    """Every frame of a gif.

    Raises:
        ImageDecodeError: It is broken, or has more pixels in all than a still picture may have.
    """
    from PIL import ImageSequence

    picture = open_header(image)
    count = frame_count(image.data)
    frames: list[Pil] = []
    durations: list[int] = []
    with decode_errors(image.format):
        for frame in islice(ImageSequence.Iterator(picture), count):
            # Each time, as a later frame may enlarge the canvas.
            _check_total(count, *frame.size, held=_FRAMES_HELD)
            durations.append(int(frame.info.get("duration", 0)))
            frames.append(to_rgb_or_rgba(frame.copy()))
    if not frames:
        raise ImageDecodeError("this gif has no frames")
    loop = picture.info.get("loop")
    return Animation(frames=tuple(frames), durations=tuple(durations), loop=loop)


def check_frames(image: Image) -> None:
    """Decode every frame, one after the other.

    Raises:
        ImageDecodeError: One is broken, or there are too many pixels in all.
    """
    from PIL import ImageSequence

    picture = open_header(image)
    count = frame_count(image.data)
    found = 0
    with decode_errors(image.format):
        for frame in islice(ImageSequence.Iterator(picture), count):
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


def fit_animation(image: Image, width: int, height: int) -> bytes:
    """Every frame scaled and cut to this size, in pixels; durations and loop stay.

    Neighbouring frames that have become identical are merged into one of their total duration.
    """
    gif = decode_animation(image)
    frames = [cover(frame, width, height) for frame in gif.frames]
    return encode_gif(frames, gif.durations, gif.loop)


# `previews`: small versions of several pictures that fit into one number of bytes together.
#
# For messages that carry pictures and may only be so long. Nothing of a file but its pixels goes
# into its preview: no text, no location, no provenance.

_QUALITY: Final = 80
_LOWER_QUALITY: Final = 65
"""Below this, fewer pixels look better."""

_FAR_TOO_MUCH: Final = 3
"""So many times too large, and only fewer pixels help: encoding at full size takes long."""

_SMALLEST: Final = 32
"""Pixels on the long edge; a smaller picture shows nothing."""


def previews(
    images: Iterable[Image | None], *, max_px: int, max_bytes: int
) -> tuple[Image | None, ...]:
    """A small version of each picture; all of them together have at most ``max_bytes`` bytes.

    They are JPEG, or WebP where that must be: for transparency, and where JPEG is too large.
    Where there is not enough room for all, the large ones get equal parts of what the small
    ones leave. Of an animation the first frame is shown; EXIF rotation is applied.

    Args:
        images: The pictures, each let go before the next is taken; None for one that is not at
            hand, which has no preview.
        max_px: Pixels of the longest edge, at most; pictures are never enlarged.
        max_bytes: Bytes of all previews together, at most.

    Returns:
        A preview for each picture; None for an svg (which is never drawn here), for a broken
        picture, and where there is no room for anything that could be recognised.

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
    best = [None if picture is None else _best(picture) for picture in small]
    room = allowance([len(data) for data in best if data is not None], max_bytes)
    fitted = (
        data
        if picture is None or data is None or len(data) <= room
        else _squeezed(picture, len(data), room)
        for picture, data in zip(small, best, strict=True)
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
    """The pixels of the preview; RGBA only where something really is transparent."""
    if image is None:
        return None
    try:
        picture = decode(image, at_least=max_px)
    except ImageDecodeError:
        return None
    picture.thumbnail((max_px, max_px))
    return picture if has_transparency(picture) else picture.convert("RGB")


def _best(picture: Pil) -> bytes:
    return _encoded(picture, "webp" if picture.mode == "RGBA" else "jpeg", _QUALITY)


def _squeezed(picture: Pil, length: int, max_bytes: int) -> bytes | None:
    """At most so many bytes: WebP, then less quality, then fewer pixels; None when nothing fits.

    Args:
        picture: The pixels.
        length: What the best preview has, in bytes; it is too much.
        max_bytes: What this one may have.
    """
    scale = 1.0
    if length <= _FAR_TOO_MUCH * max_bytes:
        for quality in (_QUALITY, _LOWER_QUALITY):
            data = _encoded(picture, "webp", quality)
            if len(data) <= max_bytes:
                return data
            length = len(data)
    while True:
        # The next size is guessed from how much is too much; halving always ends it.
        scale *= min(0.9, max(0.5, 0.95 * math.sqrt(max_bytes / length)))
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        if max(size) < _SMALLEST:
            return None
        data = _encoded(scaled(picture, size), "webp", _LOWER_QUALITY)
        if len(data) <= max_bytes:
            return data
        length = len(data)


def _encoded(picture: Pil, format: str, quality: int) -> bytes:
    return encode(picture, format, quality=quality, keep_profile=False)


# Making a picture fit a limit of bytes: first less quality, then fewer pixels.

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
    if image.format == "gif" and frame_count(image.data) > 1:
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
    gif = decode_animation(image)

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


FIT_QUALITY: Final = 95
"""For a picture cut to size: it is paid for, and the untouched one stays in `original`."""


def to_pil(image: Image) -> PilImage:
    """See `Image.to_pil`."""
    try:
        return _loaded(image, whole=True)
    except ImageDecodeError:
        return _loaded(image, whole=False)


def _loaded(image: Image, *, whole: bool) -> PilImage:
    picture = open_header(image, whole=whole)
    with decode_errors(image.format):
        load(picture)
    return picture


def from_pil(picture: PilImage) -> Image:
    """See `Image.from_pil`."""
    import PIL.Image

    if not isinstance(picture, PIL.Image.Image):
        raise InvalidRequestError(
            f"a {type(picture).__name__} is no picture: give a path, bytes, a binary file or a PIL "
            "image (PIL.Image.fromarray makes one from an array)",
            field="source",
            value=type(picture).__name__,
            allowed="a path, bytes, a binary file, a PIL image or a data: URL",
        )
    if 0 in picture.size:
        raise ImageDecodeError(f"this PIL image has no pixels: it is {picture.size} large")
    with decode_errors("PIL image"):
        picture.load()
        turned = to_rgb_or_rgba(upright(picture.copy()))  # a copy: `picture` is not ours
    return Image.from_bytes(encode(turned, "png"))


def thumbnail(image: Image, max_px: int) -> Image:
    """See `Image.thumbnail`."""
    if isinstance(max_px, bool) or not isinstance(max_px, int) or max_px < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InvalidRequestError(
            f"max_px must be a whole number of pixels from 1 up, not {max_px!r}",
            field="max_px",
            value=max_px,
            allowed="1 or more",
        )
    size = image.size
    if size is not None and max(size) <= max_px and image.format != "svg":
        return image
    picture = decode(image, at_least=max_px)
    picture.thumbnail((max_px, max_px))
    format = image.format if image.format in {"png", "jpeg", "webp"} else "png"
    return Image.from_bytes(encode(picture, format))


def convert(image: Image, format: str, quality: int | None) -> Image:
    """See `Image.convert`."""
    target = "jpeg" if format == "jpg" else format
    if target not in {"png", "jpeg", "webp", "gif"}:
        allowed = ("png", "jpeg", "webp", "gif")
        raise InvalidRequestError(
            f"cannot convert to {format!r}: choose one of {', '.join(allowed)}",
            field="format",
            value=format,
            allowed=allowed,
        )
    _check_quality(target, quality)
    if target == image.format and quality is None:
        return image
    return Image.from_bytes(encode(decode(image), target, quality=quality))


def fit(image: Image, width: int, height: int, *, quality: int | None = None) -> Image:
    """The picture at exactly this size: scaled to cover it, the rest cut off evenly.

    Nothing is resampled when cutting alone is enough. The format stays (formats the service
    does not make become png), so do transparency and, in a gif, every frame with its duration.
    A lossless WebP stays lossless.

    Args:
        image: The picture; returned as it is when it has this size.
        width: Pixels across.
        height: Pixels down.
        quality: 0 to 100 for jpeg and webp, as the service's compression; `FIT_QUALITY` when
            left out.

    Returns:
        The picture, with ``original`` set to the one given.

    Raises:
        ImageDecodeError: It is broken.
    """
    if image.format == "svg":
        return evolve(Image.from_bytes(resized(image.data, width, height)), original=image)
    if oriented_size(image) == (width, height):
        return image
    if image.format == "gif":
        data = fit_animation(image, width, height)
    else:
        format = image.format if image.format in {"png", "jpeg", "webp"} else "png"
        lossless = quality is None and format == "webp" and _is_lossless_webp(image.data)
        picture = cover(decode(image), width, height)
        wanted = FIT_QUALITY if quality is None else max(quality, 1)  # Pillow's 0 means 75
        data = encode(picture, format, quality=wanted, lossless=lossless)
    return evolve(Image.from_bytes(data), original=image)


def _is_lossless_webp(data: bytes) -> bool:
    """Whether a still WebP keeps every pixel."""
    return any(name == b"VP8L" for name, _, _ in riff_chunks(data))


def _check_quality(format: str, quality: int | None) -> None:
    if quality is None:
        return
    if format not in {"jpeg", "webp"}:
        raise InvalidRequestError(
            f"{format} has no quality: it belongs to jpeg and webp",
            field="quality",
            value=quality,
            allowed=None,
        )
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InvalidRequestError(
            f"quality must be a whole number from 1 to 100, not {quality!r}",
            field="quality",
            value=quality,
            allowed="1 to 100",
        )
