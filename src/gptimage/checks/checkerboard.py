"""Finds checkerboards that a model painted in place of transparency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


_COPY: Final = 384
"""Longest edge in pixels of the copy that is searched."""

_SQUARES: Final = range(3, 49)
"""Edges in pixels of the squares that are looked for, on that copy."""

_CONTRAST: Final = (8, 110)
"""Levels of 255 between the two greys: less is grain, and more is a real board of chess."""

_NEUTRAL: Final = 14
"""Levels of 255 by which the channels of a grey may differ."""

_DARKEST: Final = 24
"""Editors paint light squares, or dark ones on black; pure black is neither."""

_SAME: Final = 7
"""Levels of 255 by which squares of one grey may differ: models paint them with grain."""


def checkerboard_share(image: Pil) -> float:
    """Return the share of an image that is a checkerboard of two greys, 0 to 1.

    On a checkerboard of squares of ``s`` pixels, each pixel differs by the same contrast from those
    ``s`` to the right and below, and by nothing from those ``s`` away on both diagonals and ``2s``
    to the right. Stripes, gradients, textures and photographs break one of these rules.

    Args:
        image: The image, in mode L, RGB or RGBA.
    """
    small = nearest(image, _COPY)
    grey, valid = small.convert("RGB").convert("L"), _neutral(small)
    return max((_share(grey, valid, square) for square in _SQUARES), default=0.0)


def nearest(image: Pil, edge: int) -> Pil:
    """Return a small copy whose colours are all in the image: none is a mean of two."""
    from PIL.Image import Resampling

    small = image.copy()
    small.thumbnail((edge, edge), resample=Resampling.NEAREST)
    return small


def _neutral(image: Pil) -> Pil:
    """Return 255 where a pixel is an opaque grey, else 0."""
    from PIL import ImageChops

    red, green, blue = image.convert("RGB").split()
    spread = ImageChops.subtract(
        ImageChops.lighter(ImageChops.lighter(red, green), blue),
        ImageChops.darker(ImageChops.darker(red, green), blue),
    )
    valid = spread.point([255] * (_NEUTRAL + 1) + [0] * (255 - _NEUTRAL))
    valid = ImageChops.darker(valid, green.point([0] * _DARKEST + [255] * (256 - _DARKEST)))
    if "A" in image.mode:
        valid = ImageChops.darker(valid, image.getchannel("A").point([0] * 250 + [255] * 6))
    return valid


def _share(grey: Pil, valid: Pil, square: int) -> float:
    """Return the share of pixels that keep the rules for squares of this size."""
    from PIL import ImageChops

    width, height = grey.size
    if min(width, height) < 4 * square:
        return 0.0
    here = (square, 0, width - 2 * square, height - square)

    def moved(image: Pil, x: int, y: int) -> Pil:
        return image.crop((here[0] + x, here[1] + y, here[2] + x, here[3] + y))

    one = moved(grey, 0, 0)
    same = [0] * (_SAME + 1) + [255] * (255 - _SAME)
    broken = ImageChops.invert(moved(valid, 0, 0))
    for x, y in ((square, square), (-square, square), (2 * square, 0)):
        unlike = ImageChops.difference(one, moved(grey, x, y)).point(same)
        broken = ImageChops.lighter(broken, unlike)
    contrast = ImageChops.darker(
        ImageChops.difference(one, moved(grey, square, 0)),
        ImageChops.difference(one, moved(grey, 0, square)),
    )
    counts = contrast.histogram(ImageChops.invert(broken).point([0] * 255 + [255]))
    low, high = _CONTRAST
    middle = max(range(low, high), key=lambda level: counts[level])
    near = sum(counts[max(low, middle - _SAME) : middle + _SAME + 1])
    return near / (width * height)
