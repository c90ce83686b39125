"""Reading pixels: the one place that hands foreign bytes to Pillow.

Pillow answers broken files with almost any exception; here all of them become
ImageDecodeError. It is imported inside functions, so that importing gptimage stays light.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from gptimage.errors import ImageDecodeError
from gptimage.image import Image


if TYPE_CHECKING:
    from PIL.Image import Image as Pil
    from PIL.ImageFile import ImageFile

OTHER_FORMATS: Final = ("bmp", "tiff", "avif", "ico", "jpeg2000", "ppm")
"""What users bring besides the service's formats.

Pillow reads more, but some of it runs other programs (eps) or takes any bytes for a picture (tga).
"""

_ORIENTATION: Final = 0x0112
"""The EXIF tag; 5 to 8 swap width and height."""


def peek(data: bytes) -> tuple[str, int, int]:
    """Format, width and height of a file in one of `OTHER_FORMATS`, from its header.

    Raises:
        ImageDecodeError: It is none of them.
    """
    with hostile("picture"):
        picture = _open(data, OTHER_FORMATS)
        format = (picture.format or "").lower()
    return format, picture.width, picture.height


def open_header(image: Image) -> ImageFile:
    """The picture as a PIL file with its header read and no pixels decoded yet.

    Raises:
        ImageDecodeError: The header is broken, or it is an svg.
    """
    if image.format == "svg":
        raise ImageDecodeError(
            "an svg is a drawing program and never run here: it has no pixels to work on; "
            "save it and open it in a browser or a drawing tool"
        )
    with hostile(image.format):
        return _open(image.data, (image.format,))


def decode(image: Image, *, at_least: int | None = None) -> Pil:
    """The first frame, upright, in mode L, RGB or RGBA.

    Args:
        image: The picture.
        at_least: Needed pixels on the longest edge; a JPEG is then decoded at a lower size.

    Raises:
        ImageDecodeError: It is broken, or an svg.
    """
    from PIL import ImageOps

    picture = open_header(image)
    with hostile(image.format):
        if at_least is not None:
            _draft(picture, at_least)
        picture.load()
        turned = picture.getexif().get(_ORIENTATION, 1) != 1
        return plain(ImageOps.exif_transpose(picture) if turned else picture)


def oriented_size(image: Image) -> tuple[int, int]:
    """Width and height in pixels as a viewer shows it, EXIF rotation applied.

    Raises:
        ImageDecodeError: It is broken, or an svg.
    """
    picture = open_header(image)
    with hostile(image.format):
        turned = picture.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def plain(picture: Pil) -> Pil:
    """The same pixels in mode L, RGB or RGBA, where every operation works.

    Of what the file said besides pixels only the ICC profile stays, so that a comment or a
    rotation already applied is not written again.
    """
    picture = _to_plain_mode(picture)
    profile = picture.info.get("icc_profile")
    picture.info = {} if profile is None else {"icc_profile": profile}
    return picture


def _open(data: bytes, formats: tuple[str, ...]) -> ImageFile:
    import PIL.Image

    return PIL.Image.open(io.BytesIO(data), formats=[name.upper() for name in formats])


def _draft(picture: ImageFile, at_least: int) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8, no smaller than twice what is needed."""
    scale = 2 * at_least / max(picture.size)
    if scale < 1:
        wanted = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        picture.draft(None, wanted)


def _to_plain_mode(picture: Pil) -> Pil:
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        return _eight_bits(picture)
    if picture.mode == "La":  # Pillow undoes the premultiplied alpha only this way
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        return picture if picture.mode == "RGBA" else picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")


def _eight_bits(picture: Pil) -> Pil:
    """Grey of 16 or 32 bits as 8 bits; Pillow's own conversion would clip it to white."""
    wide = picture.convert("F")
    _, brightest = cast("tuple[float, float]", wide.getextrema())
    top = 65_535 if picture.mode.startswith("I;16") else max(brightest, 1)
    scale = 1 if top <= 255 and picture.mode == "I" else 255 / top
    narrow = wide.point(lambda value: value * scale)  # pyright: ignore[reportUnknownMemberType]  # names numpy
    return narrow.convert("L")


@contextmanager
def hostile(what: str) -> Generator[None]:
    """Wrap every call that makes Pillow read foreign bytes: whatever it raises is mapped.

    Args:
        what: What is read, as it follows "this": a format, or "picture".

    Raises:
        ImageDecodeError: Pillow gave up.
    """
    try:
        yield
    except ImageDecodeError:
        raise
    except Exception as error:  # Pillow raises nearly any kind on broken bytes
        from PIL import UnidentifiedImageError

        unknown = isinstance(error, UnidentifiedImageError)
        said = " ".join(str(error).split()) or type(error).__name__
        reason = "its format is not known here" if unknown else said
        raise ImageDecodeError(f"this {what} cannot be decoded: {reason}") from error
