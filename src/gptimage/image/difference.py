"""How much two images differ, pixel by pixel, and whether one is the other, moved."""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

Shift = tuple[int, int]
"""Pixels to the right and down."""

_Box = tuple[int, int, int, int]

TOLERANCE: Final = 8
"""Of 255: a pixel that differs less in every channel looks the same; JPEG alone changes more than
nothing."""

_FACTOR: Final = 4
"""How much smaller the copies are, at most, on which a move is measured: finer than a pixel, so
that one of a pixel in full size shows."""

_COPY: Final = 384
"""Longest edge in pixels of such a copy, unless it is four times smaller already."""

_SMALLEST_COPY: Final = 96
"""Longest edge in pixels of the copy on which the search for a move begins."""

_REACH: Final = 2
"""Pixels in each direction in which is searched there."""

_FARTHEST: Final = 1 / 28
"""Share of the longest edge by which an image moves at most, 36 pixels of 1024: farther away
something similar is found in any image."""

_SMALLEST_EDGE: Final = 16
"""Pixels an edge of a copy has at least, for edges in it to be compared."""

_STRIP: Final = 1024
"""Rows of pixels that are compared at once."""

_SAME: Final = 0.8
"""A part counts as moved where this share of the difference is left after moving it back."""

_FAINT: Final = 0.1
"""Share of the strongest part's edges, squared, below which a part says nothing."""

_AGREEMENT: Final = 0.6
"""Pixels by which parts may differ from their mean to have moved together."""

_LEAST_GAIN: Final = 0.25
"""Mean of the squares, of differences of edges, below which it says nothing that less is left."""

_OPAQUE: Final = [0] * 255 + [255]
"""A table for `point`: what is not fully white is black."""

_SQUARES: Final = [level * level for level in range(256)]


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

    Edges are compared, not colours, so that new light is not taken for a move: on small copies
    in every direction, and then in the four quarters to a fraction of a pixel, by the parabola
    through what is left at the best place and beside it. It moved when moving it back explains
    most of the difference in two quarters, or when all agree on a move. When quarters moved
    differently, as in an image that was scaled, the largest move is returned.

    Args:
        first: The image.
        second: What was made of it, of the same size.
        region: Where both are compared: 255, and 0 elsewhere; of the same size.
    """
    factor = 1
    while (
        factor < _FACTOR
        and max(first.size) > factor * _COPY
        and min(first.size) >= 2 * factor * _SMALLEST_EDGE
    ):
        factor *= 2
    if min(first.size) < _SMALLEST_EDGE * factor:
        return None
    copies = [_edges(first, second, region, factor)]
    while max(copies[-1].size) > _SMALLEST_COPY and min(copies[-1].size) >= 2 * _SMALLEST_EDGE:
        copies.append(copies[-1].halved())
    shift = copies[-1].best()
    for copy in copies[-2:0:-1]:
        shift = copy.descend((shift[0] * 2, shift[1] * 2))
    if len(copies) > 1:
        shift = (shift[0] * 2, shift[1] * 2)
    parts = [part.move(shift, factor) for part in copies[0].quarters() if part.comparable]
    # A surface without edges shows no move: there grain would be compared with grain.
    least = max((part.strength for part in parts), default=0) * _FAINT
    parts = [part for part in parts if part.strength >= least]
    limit = max(first.size) * _FARTHEST
    clear = [part for part in parts if part.gain >= _LEAST_GAIN and 0.5 < part.length < limit]
    if len(parts) > 1 and len(clear) == len(parts):
        mean = (
            sum(part.x for part in parts) / len(parts),
            sum(part.y for part in parts) / len(parts),
        )
        whole = (round(mean[0]), round(mean[1]))
        if any(whole) and all(part.near(mean) for part in parts):
            return whole
    moved = [part for part in clear if part.gain > (1 - _SAME) * part.before]
    if not moved or 2 * len(moved) < len(parts):
        return None
    largest = max(moved, key=lambda part: part.length)
    return (round(largest.x), round(largest.y))


@frozen
class _Move:
    """How far a part moved, in pixels of the image.

    Attributes:
        x: To the right.
        y: Down.
        strength: Mean square of the first image's edges.
        before: Mean square of the difference.
        gain: How much less it is once the part is moved back.
    """

    x: float
    y: float
    strength: float
    before: float
    gain: float

    @property
    def length(self) -> float:
        """The larger of both distances."""
        return max(abs(self.x), abs(self.y))

    def near(self, mean: tuple[float, float]) -> bool:
        """Return whether it is the move that all parts made on average."""
        return max(abs(self.x - mean[0]), abs(self.y - mean[1])) <= _AGREEMENT


def _edges(first: Pil, second: Pil, region: Pil, factor: int) -> _Edges:
    """Return the edges of two images, made equally strong, on copies so many times smaller."""
    from PIL import ImageFilter

    first, second, region = (
        each.reduce(factor) if factor > 1 else each for each in (first, second, region)
    )
    one, two = (_gradient(_on_grey(each)) for each in (first, second))
    # Without what the gradient sees of pixels that may change; it has no outermost pixels.
    inner = region.filter(ImageFilter.BoxBlur(2)).point(_OPAQUE)
    inner = inner.crop((1, 1, inner.width - 1, inner.height - 1))
    strengths = [_mean(each.histogram(inner)) or 1 for each in (one, two)]
    one, two = (
        each.point([min(255, round(level * min(4, max(strengths) / own))) for level in range(256)])
        for each, own in zip((one, two), strengths, strict=True)
    )
    return _Edges(one, two, inner)


def _on_grey(image: Pil) -> Pil:
    """Return what is seen of an image: black on a clear ground has edges, hidden colours none."""
    from PIL import Image as pil

    if "A" in image.mode:
        ground = pil.new("RGBA", image.size, "grey")
        image = pil.alpha_composite(ground, in_mode(image, "RGBA"))
    return in_mode(image, "RGB").convert("L")


def _gradient(grey: Pil) -> Pil:
    """Return how much each pixel's neighbours differ; an image two pixels smaller."""
    from PIL import ImageChops, ImageFilter

    grey = grey.filter(ImageFilter.BoxBlur(1))  # grain is no edge
    width, height = grey.size
    right, left, below, above = (
        grey.crop((x, y, x + width - 2, y + height - 2))
        for x, y in ((2, 1), (0, 1), (1, 2), (1, 0))
    )
    across, down = ImageChops.difference(right, left), ImageChops.difference(below, above)
    return ImageChops.add(across, down)


@define
class _Edges:
    """The edges of two images, and where they are compared."""

    first: Pil
    second: Pil
    region: Pil
    _found: dict[Shift, float] = field(init=False, factory=dict[Shift, float])

    @property
    def size(self) -> tuple[int, int]:
        return self.first.size

    @property
    def comparable(self) -> bool:
        """Whether enough is protected to tell."""
        return self._left((0, 0)) < _UNKNOWN

    def halved(self) -> _Edges:
        first, second, region = (each.reduce(2) for each in (self.first, self.second, self.region))
        return _Edges(first, second, region.point(_OPAQUE))

    def quarters(self) -> list[_Edges]:
        """Return the four quarters."""
        (width, height), (x, y) = self.size, (self.size[0] // 2, self.size[1] // 2)
        boxes = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        return [
            _Edges(self.first.crop(box), self.second.crop(box), self.region.crop(box))
            for box in boxes
        ]

    def best(self) -> Shift:
        """Return the move that leaves least of all near ones, the shortest of several."""
        steps = range(-_REACH, _REACH + 1)
        tried = [(x, y) for x in steps for y in steps]
        return min(tried, key=lambda each: (self._left(each), abs(each[0]) + abs(each[1])))

    def descend(self, shift: Shift) -> Shift:
        """Return the move that leaves least, at most three pixels from ``shift``."""
        for _ in range(3):
            x, y = shift
            tried = [shift, (x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
            less = min(tried, key=self._left)
            if less == shift:
                break
            shift = less
        return shift

    def move(self, start: Shift, factor: int) -> _Move:
        """Measure how far it moved, to a fraction of a pixel, from near ``start`` on."""
        best = x, y = self.descend(start)
        across, saved = self._beyond(best, (x - 1, y), (x + 1, y))
        down, too = self._beyond(best, (x, y - 1), (x, y + 1))
        before, left = self._left((0, 0)), max(0, self._left(best) - saved - too)
        if left < _UNKNOWN:
            # Of the same pixels: those that the move cuts off may be all that differs.
            here, there = self._overlap(best)
            before = min(_mean_square(self._difference(each, each, here)) for each in (here, there))
        strength = _mean_square(self.first.histogram(self.region))
        return _Move((x + across) * factor, (y + down) * factor, strength, before, before - left)

    def _beyond(self, best: Shift, one: Shift, other: Shift) -> tuple[float, float]:
        """Return where between two neighbours of the best move least is left, and how much less."""
        low, high = self._left(one), self._left(other)
        if max(low, high) >= _UNKNOWN:
            return 0, 0
        bend = low + high - 2 * self._left(best)
        off = max(-0.5, min(0.5, (low - high) / (2 * bend))) if bend > 0 else 0
        return off, off * off * bend / 2

    def _left(self, shift: Shift) -> float:
        """Return the mean square of the difference once the second image is moved back."""
        if shift in self._found:
            return self._found[shift]
        here, there = self._overlap(shift)
        left = _UNKNOWN
        if here[2] - here[0] >= 4 and here[3] - here[1] >= 4:
            counts = self._difference(here, there, here)
            if sum(counts) >= 64:  # fewer pixels may look moved by chance
                left = _mean_square(counts)
        self._found[shift] = left
        return left

    def _overlap(self, shift: Shift) -> tuple[_Box, _Box]:
        """Return what both show, in each: the rest of one was moved out of the other."""
        (x, y), (width, height) = shift, self.size
        here = (max(0, -x), max(0, -y), width - max(0, x), height - max(0, y))
        return here, (here[0] + x, here[1] + y, here[2] + x, here[3] + y)

    def _difference(self, one: _Box, other: _Box, region: _Box) -> list[int]:
        """Count how much a part of the first image differs from one of the second."""
        from PIL import ImageChops

        difference = ImageChops.difference(self.first.crop(one), self.second.crop(other))
        return difference.histogram(self.region.crop(region))


_UNKNOWN: Final = 1e9
"""What is left where too little can be compared."""


def _mean_square(counts: list[int]) -> float:
    squares: int = sum(map(mul, counts, _SQUARES))
    return squares / sum(counts)


def _mean(counts: list[int]) -> float:
    total = sum(counts)
    return sum(map(mul, counts, range(256))) / total if total else 0.0
