"""How much two images differ, pixel by pixel, and whether one is the other, moved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Final

from attrs import frozen


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

Shift = tuple[int, int]
"""Pixels to the right and down."""

TOLERANCE: Final = 8
"""Of 255: a pixel that differs less in every channel looks the same; JPEG alone changes more than
nothing."""

_REACH: Final = 4
"""Steps in each direction in which a move is searched on the smallest copy."""

_SMALLEST_COPY: Final = 128
"""Longest edge in pixels of that copy: of 1024 pixels, moves of up to 32 are found."""

_STRIP: Final = 1024
"""Rows of pixels that are compared at once."""

_TILE: Final = 128
"""Edge in pixels of the parts that are compared at full size."""

_SAME: Final = 0.8
"""An image counts as moved where this share of the difference is left after moving it back."""

_TEXTURE: Final = 4
"""Mean strength of the edges, of 255, below which nothing shows whether an image was moved."""


def changes(one: Pil, other: Pil) -> Pil:
    """Return how much each pixel differs, 0 to 255: the most of its channels.

    Both have one size. Pixels that nobody sees, being transparent in both, are equal.
    """
    from PIL import Image as pil

    width, height = one.size
    if height <= _STRIP:
        return _changes(one, other)
    # In strips: the copies that are compared take twice the memory of both images.
    found = pil.new("L", one.size)
    for top in range(0, height, _STRIP):
        box = (0, top, width, min(height, top + _STRIP))
        found.paste(_changes(one.crop(box), other.crop(box)), box)
    return found


def _changes(one: Pil, other: Pil) -> Pil:
    from PIL import ImageChops

    # RGBa: colours multiplied by their opacity, so that hidden ones count for nothing.
    mode = "RGBa" if "A" in one.mode + other.mode else "RGB"
    one, other = (
        each.convert("RGBA").convert(mode) if mode == "RGBa" else in_mode(each, mode)
        for each in (one, other)
    )
    return reduce(ImageChops.lighter, ImageChops.difference(one, other).split())


def in_mode(image: Pil, mode: str) -> Pil:
    """Return the image in a mode; Pillow's `convert` would copy one that has it already."""
    return image if image.mode == mode else image.convert(mode)


@frozen(kw_only=True)
class Shares:
    """What `changes` come to, within a region or in all.

    Attributes:
        changed: Share of the pixels that differ by more than the tolerance, 0 to 1.
        mean: Mean difference, 0 to 255.
        largest: Largest difference, 0 to 255.
    """

    changed: float
    mean: float
    largest: int


def shares(difference: Pil, tolerance: int, region: Pil | None = None) -> Shares:
    """Count the pixels that changed; only those where ``region`` is not 0."""
    counts = difference.histogram(region)
    total = sum(counts) or 1
    return Shares(
        changed=sum(counts[tolerance + 1 :]) / total,
        mean=_mean(counts),
        largest=max((level for level, count in enumerate(counts) if count), default=0),
    )


def heat_map(image: Pil, difference: Pil, tolerance: int) -> Pil:
    """Return the image in pale grey with what changed in yellow to red."""
    from PIL import Image as pil
    from PIL import ImageOps

    grey = image.convert("RGB").convert("L").point([160 + level * 3 // 8 for level in range(256)])
    strength = [0] * (tolerance + 1) + [
        min(255, 96 + 2 * level) for level in range(255 - tolerance)
    ]
    hot = difference.point(strength)
    colours = ImageOps.colorize(hot, "white", "#d00000", mid="#ffb000")
    return pil.composite(colours, grey.convert("RGB"), hot.point([0] + [255] * 255))


def moved_by(first: Pil, second: Pil, region: Pil) -> Shift | None:
    """Return how far the second image is the first one, moved; None where it is not.

    Edges are compared, not colours, so that new light is not taken for a move: first on small
    copies, in every direction, then at full size in four parts with clear edges. When the parts
    moved differently, as in an image that was scaled, the largest move is returned.

    Args:
        first: The image.
        second: What was made of it, of the same size.
        region: Where both are compared: 255, and 0 elsewhere; of the same size.
    """
    one, two = (in_mode(each, "RGB").convert("L") for each in (first, second))
    factor = 1
    while factor < _TILE and max(one.size) / factor > _SMALLEST_COPY * 1.5:
        factor *= 2
    view = _View(one, two, region)
    whole = view.at((0, 0, *one.size), factor)
    # Every second step, and then the steps around the best: edges are wider than one.
    start = whole.descend(whole.best((0, 0), _REACH, step=2))
    if factor == 1:
        return start if whole.confirms(start) else None
    tiles = list(view.tiles(whole, factor))
    needed = max(1, (len(tiles) + 1) // 2)  # half of them: one part may look moved by chance
    moved: list[Shift] = []
    for left, box in zip(range(len(tiles), 0, -1), tiles, strict=True):
        if len(moved) + left < needed:
            break  # the rest cannot make it one that moved
        # From a start of its own: the corners of an image that was scaled move apart.
        shift, level = view.at(box, factor).descend(start), factor
        while level > 1:
            level //= 2
            edges = view.at(box, level)
            shift = edges.descend((shift[0] * 2, shift[1] * 2))
            if level == 1 and edges.confirms(shift):
                moved.append(shift)
    if len(moved) < needed:
        return None
    return max(moved, key=lambda shift: abs(shift[0]) + abs(shift[1]))


@frozen
class _View:
    """Two grey images, and where they are compared."""

    first: Pil
    second: Pil
    region: Pil

    def at(self, box: tuple[int, int, int, int], factor: int) -> _Edges:
        """Return the edges within a box, on copies that are so many times smaller."""
        from PIL import ImageFilter

        soft = ImageFilter.BoxBlur(2 if factor == 1 else 1)  # grain is no edge
        first, second, region = (
            each.crop(box).reduce(factor) if factor > 1 else each.crop(box)
            for each in (self.first, self.second, self.region)
        )
        return _Edges(
            first.filter(soft).filter(ImageFilter.FIND_EDGES),
            second.filter(soft).filter(ImageFilter.FIND_EDGES),
            _inner(region.point([0] * 255 + [255])),
        )

    def tiles(self, whole: _Edges, factor: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the part of each quarter in which the edges that count are clearest."""
        from PIL import ImageChops

        step = _TILE // factor
        strengths = ImageChops.multiply(whole.first, whole.region).reduce(step)
        pixels = strengths.tobytes()
        across, down = strengths.size
        middle = (across // 2, down // 2)
        for columns in (range(middle[0]), range(middle[0], across)):
            for rows in (range(middle[1]), range(middle[1], down)):
                found = [(pixels[y * across + x], x, y) for x in columns for y in rows]
                strength, x, y = max(found, default=(0, 0, 0))
                if strength > _TEXTURE:
                    left, top = x * _TILE, y * _TILE
                    margin = 4 * factor  # room for the moves that are tried
                    yield (
                        max(0, left - margin),
                        max(0, top - margin),
                        min(self.first.width, left + _TILE + margin),
                        min(self.first.height, top + _TILE + margin),
                    )


@frozen
class _Edges:
    """The edges of two images, and where they are compared."""

    first: Pil
    second: Pil
    region: Pil

    def descend(self, start: Shift) -> Shift:
        """Return the move that leaves least, one pixel after another from ``start`` on.

        In each round one direction after the other: where nothing moved, four tries are enough.
        """
        shift, left = start, self._left(start)
        for _ in range(2):
            before = shift
            for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                tried = (shift[0] + x, shift[1] + y)
                if (less := self._left(tried)) < left:
                    shift, left = tried, less
            if shift == before:
                break
        return shift

    def best(self, start: Shift, reach: int, *, step: int = 1) -> Shift:
        """Return the move around ``start`` that leaves least, the shortest of several."""
        steps = range(-reach, reach + 1, step)
        tried = [(start[0] + x, start[1] + y) for x in steps for y in steps]
        return min(tried, key=lambda each: (self._left(each), abs(each[0]) + abs(each[1])))

    def confirms(self, shift: Shift) -> bool:
        """Return whether much less differs once the second image is moved back."""
        return shift != (0, 0) and self._left(shift) < _SAME * self._left((0, 0))

    def _left(self, shift: Shift) -> float:
        """Return the mean difference once the second image is moved back."""
        from PIL import ImageChops

        x, y = shift
        width, height = self.first.size
        # What both show: the rest of one was moved out of the other.
        here = (max(0, -x), max(0, -y), width - max(0, x), height - max(0, y))
        there = (here[0] + x, here[1] + y, here[2] + x, here[3] + y)
        if here[2] - here[0] < 8 or here[3] - here[1] < 8:
            return 255.0
        difference = ImageChops.difference(self.first.crop(here), self.second.crop(there))
        counts = difference.histogram(self.region.crop(here))
        return _mean(counts, default=255.0)


def _inner(region: Pil) -> Pil:
    """Return the region without its outermost pixels, where Pillow's filters find no edges."""
    from PIL import ImageOps

    border = 3
    if min(region.size) <= 2 * border:
        return region
    width, height = region.size
    return ImageOps.expand(region.crop((border, border, width - border, height - border)), border)


def _mean(counts: list[int], *, default: float = 0.0) -> float:
    total = sum(counts)
    return sum(map(mul, counts, range(256))) / total if total else default
