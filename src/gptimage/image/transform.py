"""What can be done to a picture: thumbnail, conversion, the exact size, to and from PIL."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from gptimage import _gif
from gptimage._encoding import encode
from gptimage._scaling import cover
from gptimage._svg import resized
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image.codecs import decode, hostile, load, open_header, oriented_size, plain, upright
from gptimage.image.formats import riff_chunks
from gptimage.image.image import Image, PilImage


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
    with hostile(image.format):
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
    with hostile("PIL image"):
        picture.load()
        turned = plain(upright(picture.copy()))  # a copy: `picture` is not ours
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
        data = _gif.fit(image, width, height)
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
