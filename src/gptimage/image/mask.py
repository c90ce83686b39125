"""`Mask`: where an edit may change the first image, made into what the service takes.

The service wants a PNG with transparency of exactly the image's size and less than 4 MB,
fully transparent where it may draw. People bring boxes, black-and-white drawings and
images of other sizes; `Mask.normalized` makes a legal mask of them, and says what it changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from attrs import frozen

from gptimage._internal.keywords import plain_int
from gptimage.errors import InvalidRequestError
from gptimage.image.codecs import decode, encode_png, has_transparency, on_or_off, oriented_size
from gptimage.image.image import Image, ImageSource


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

__all__ = ["MAX_BYTES", "Box", "Mask", "check_markup", "oriented_size"]

Box = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in pixels from the top left; right and bottom are outside."""

MAX_BYTES: Final = 4_000_000
"""The service says "less than 4MB"; this is below every reading of that."""

_BOX_RULE: Final = "whole numbers (left, top, right, bottom), 0 <= left < right, 0 <= top < bottom"


@frozen(kw_only=True)
class Mask:
    """The area an edit may change. Make one with `from_box`, `from_boxes` or `open`.

    Attributes:
        boxes: Rectangles that may change, in pixels of the first input image.
        image: A drawn mask. If any of its pixels is transparent, transparent means "change
            here" (the service's own rule); otherwise white means "change here" and black "keep".
    """

    boxes: tuple[Box, ...] = ()
    image: Image | None = None

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return a drawn mask, for notebooks; boxes are shown as text."""
        return {} if self.image is None else self.image._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol

    @classmethod
    def from_box(cls, box: Box) -> Mask:
        """Allow changes inside one rectangle.

        Args:
            box: ``(left, top, right, bottom)`` in pixels of the first input image.

        Raises:
            InvalidRequestError: The box is empty, negative or not four whole numbers.
        """
        return cls.from_boxes([box])

    @classmethod
    def from_boxes(cls, boxes: Iterable[Box]) -> Mask:
        """Allow changes inside several rectangles.

        Raises:
            InvalidRequestError: There is none, or one is empty or negative.
        """
        checked = tuple(_checked(tuple(box)) for box in boxes)
        if not checked:
            raise _refused("a mask needs at least one box", (), "one box or more")
        return cls(boxes=checked)

    @classmethod
    def open(cls, source: ImageSource) -> Mask:
        """Read a drawn mask from a path, bytes, a binary file, a PIL image, or an `Image`.

        Raises:
            ImageDecodeError: It is no image.
            OSError: The file cannot be read.
        """
        return cls(image=Image.open(source))

    def normalized(self, size: tuple[int, int] | None) -> tuple[Image, list[str]]:
        """Return the mask as the service takes it.

        Args:
            size: Width and height in pixels of the first input image, as a viewer shows it
                (see `oriented_size`); None when it is not known, which boxes cannot do without.

        Returns:
            An RGBA PNG of that size with less than 4 MB, and a sentence for everything that had
            to be changed.

        Raises:
            InvalidRequestError: It marks nothing, or a box lies outside the image.
            ImageDecodeError: The drawn mask is broken.
        """
        alpha = opacity(self, size)
        notes: list[str] = []
        drawn = (
            alpha.size if self.image is None else oriented_size(self.image.data, self.image.format)
        )
        if alpha.size != drawn:
            notes.append(
                f"the mask was {drawn[0]}x{drawn[1]} and has been scaled to the image's "
                f"{alpha.width}x{alpha.height}"
            )
        _check_marks(alpha)
        data = _png(alpha, level=1)
        if len(data) >= MAX_BYTES:
            alpha = on_or_off(alpha)
            _check_marks(alpha)
            data = _png(alpha, level=6)
            notes.append("the mask's soft edges were made hard to keep it below 4 MB")
        if len(data) >= MAX_BYTES:
            raise _refused(
                f"the mask has {len(data):,} bytes as PNG and the service takes less than 4 MB: "
                "draw it simpler, or make the image smaller",
                len(data),
                f"less than {MAX_BYTES:,} bytes",
            )
        return Image.from_bytes(data), notes


def opacity(mask: Mask, size: tuple[int, int] | None) -> Pil:
    """Return where nothing may change, as 255, and where it may, as 0.

    Args:
        mask: The mask.
        size: Width and height of the result in pixels; None for that of a drawn mask.

    Raises:
        InvalidRequestError: A box lies outside the image, or its size is not known.
        ImageDecodeError: The drawn mask is broken.
    """
    if mask.image is None:
        return _from_boxes(mask.boxes, size)
    alpha = _alpha(mask.image)
    return alpha if size is None or alpha.size == size else _resized(alpha, size)


def check_markup(image: Image, width: int, height: int) -> None:
    """Check drawn hints for an edit: a PNG of the image's size, partly transparent.

    Args:
        image: The markup.
        width: Pixels across of the first input image, as a viewer shows it.
        height: Pixels down.

    Raises:
        InvalidRequestError: It is no PNG, has another size, or is all opaque or all transparent.
        ImageDecodeError: It is broken.
    """
    if image.format != "png":
        raise _bad_markup("markup must be a png", image.format, "png")
    if oriented_size(image.data, image.format) != (width, height):
        came, wanted = "{}x{}".format(*oriented_size(image.data, image.format)), f"{width}x{height}"
        raise _bad_markup(f"markup must have the image's size, {wanted}, not {came}", came, wanted)
    pixels = decode(image.data, image.format)
    if not has_transparency(pixels):
        raise _bad_markup(
            "markup must be transparent where nothing is drawn; this png is all opaque",
            "opaque",
            "a png with transparent pixels",
        )
    if _extremes(pixels.getchannel("A"))[1] == 0:
        raise _bad_markup(
            "nothing is drawn on this markup: every pixel is transparent",
            "transparent",
            "a png with something drawn",
        )


def _checked(box: tuple[object, ...]) -> Box:
    box = tuple(plain_int(edge) for edge in box)
    whole = len(box) == 4 and all(isinstance(edge, int) and edge is not True for edge in box)
    if whole:
        left, top, right, bottom = cast("Box", box)
        if 0 <= left < right and 0 <= top < bottom:
            return left, top, right, bottom
    raise _refused(f"the mask's box {box!r} is not {_BOX_RULE}", box, _BOX_RULE)


def _from_boxes(boxes: tuple[Box, ...], size: tuple[int, int] | None) -> Pil:
    """Opacity: 0 inside the boxes, 255 elsewhere."""
    import PIL.Image

    if size is None:
        raise _refused(
            "boxes need the size of the first image, and of an uploaded file it is not known: "
            "give the image itself, or a mask drawn at its size",
            boxes,
            "Mask.open(...)",
        )
    width, height = size
    alpha = PIL.Image.new("L", size, 255)
    for box in boxes:
        if box[2] > width or box[3] > height:
            raise _refused(
                f"the mask's box {box} reaches outside the image, which is {width}x{height}",
                box,
                f"right at most {width}, bottom at most {height}",
            )
        alpha.paste(0, box)
    return alpha


def _alpha(image: Image) -> Pil:
    """Opacity of a drawn mask: its own, or else the inverse of its brightness."""
    from PIL import ImageChops

    pixels = decode(image.data, image.format)
    if has_transparency(pixels):
        return pixels.getchannel("A")
    return ImageChops.invert(pixels.convert("L"))


def _resized(alpha: Pil, size: tuple[int, int]) -> Pil:
    from PIL.Image import Resampling

    return alpha.resize(size, Resampling.NEAREST)  # pyright: ignore[reportUnknownMemberType]  # names numpy


def _check_marks(alpha: Pil) -> None:
    if _extremes(alpha)[0] == 255:
        raise _refused(
            "the mask marks nothing: make transparent, or white, what may change",
            None,
            "a mask with a transparent or white area",
        )


def _extremes(alpha: Pil) -> tuple[int, int]:
    """Lowest and highest opacity, 0 to 255."""
    return cast("tuple[int, int]", alpha.getextrema())


def _png(alpha: Pil, *, level: int) -> bytes:
    """Black with this opacity."""
    import PIL.Image

    image = PIL.Image.new("RGBA", alpha.size)
    image.putalpha(alpha)
    return encode_png(image, level=level)


def _refused(message: str, value: object, allowed: object) -> InvalidRequestError:
    return InvalidRequestError(message, field="mask", value=value, allowed=allowed)


def _bad_markup(message: str, value: object, allowed: object) -> InvalidRequestError:
    return InvalidRequestError(message, field="markup", value=value, allowed=allowed)
