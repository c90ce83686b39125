"""An image brought into the format and to the pixels that were asked for."""

from __future__ import annotations

from attrs import evolve

from gptimage.errors import GptImageError
from gptimage.image.codecs import oriented_size
from gptimage.image.image import Image


def made_exact(
    image: Image, size: tuple[int, int] | None, *, quality: int | None
) -> tuple[Image, list[str]]:
    """Return the image with exactly the pixels asked for, and what was done to it.

    Args:
        image: The image as it came.
        size: Its width and height in pixels; None leaves it as it is.
        quality: 0 to 100 per cent, for jpeg and webp.
    """
    if size is None or image.size == size:
        return image, []
    asked = "x".join(map(str, size))
    came = "without a size" if image.size is None else f"at {image.width}x{image.height}"
    try:
        fitted = image.fit(*size, quality=quality)
    except Exception as error:  # noqa: BLE001  # a paid image is never dropped for its size
        return image, [f"the image came {came}, not at {asked}: it could not be fitted ({error})"]
    if fitted is image:  # its EXIF data turns it to the size asked for
        return image, []
    done = _done(image, size)
    return fitted, [f"drawn {came} and {done} to {asked}; image.original is the whole image"]


def made_as_asked(
    image: Image,
    size: tuple[int, int] | None,
    *,
    format: str | None,
    quality: int | None,
    service: str,
) -> tuple[Image, list[str]]:
    """Return the image of a service that chooses the format, in the one asked for.

    Args:
        image: The image as it came.
        size: Its width and height in pixels; None leaves them as they are.
        format: The format asked for, or None.
        quality: 0 to 100 per cent, for jpeg and webp.
        service: The service's name, for what is said of it.
    """
    if format is None or (image.format == format and quality is None):
        return made_exact(image, size, quality=quality)
    try:
        converted = image.convert(format, None if quality is None else max(1, quality))
    except GptImageError as error:  # a paid image is never dropped for its format
        exact, notes = made_exact(image, size, quality=quality)
        return exact, [f"the image came as {image.format} and stays so: {error}", *notes]
    note = f"{service} chose {image.format}; it is converted to {format} here"
    exact, notes = made_exact(converted, size, quality=quality)
    return evolve(exact, original=image), [f"{note}, and image.original is what it sent", *notes]


def _done(image: Image, asked: tuple[int, int]) -> str:
    """Return what brought an image to the size asked: scaling, cutting, or both."""
    if image.size is None:
        return "set"
    came = image.size if image.format == "svg" else oriented_size(image.data, image.format)
    scale = max(asked[0] / came[0], asked[1] / came[1])
    cut = any(round(edge * scale) > wanted for edge, wanted in zip(came, asked, strict=True))
    steps = [] if scale == 1 else ["enlarged" if scale > 1 else "scaled down"]
    return " and ".join([*steps, *(["cropped"] if cut else [])])
