"""Sizes the way people say them, and the legal size that covers each one.

A model draws only some sizes; people ask for any. `Size.parse` understands what
they ask, `SizeRule` knows what a model draws, and `SizeRule.covering` finds the
legal size that, scaled down and cropped, gives exactly the pixels asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

from attrs import evolve, field, frozen

from gptimage._internal.keywords import as_int
from gptimage.errors import InvalidRequestError, truncated_repr


_LONG_EDGE: Final = 1536
"""Long edge of an image asked for by ratio: that of OpenAI's own landscape size."""

PRESETS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "square": (1024, 1024),
        "landscape": (1536, 1024),
        "portrait": (1024, 1536),
        "hd": (1280, 720),
        "full_hd": (1920, 1080),
        "2k": (2560, 1440),
        "square_2k": (2048, 2048),
        "landscape_2k": (2048, 1152),
        "portrait_2k": (1152, 2048),
        "4k": (3840, 2160),
        "og_image": (1200, 630),
        "blog_header": (1200, 400),
        "hero_banner": (1920, 1080),
        "email_header": (600, 200),
        "infographic": (1080, 1620),
        "thumbnail": (1280, 720),
        "youtube_thumbnail": (1280, 720),
        "instagram_post": (1080, 1080),
        "instagram_portrait": (1080, 1350),
        "instagram_story": (1080, 1920),
        "facebook_post": (1200, 630),
        "facebook_cover": (1640, 624),
        "twitter_post": (1600, 900),
        "twitter_header": (1500, 500),
        "x_post": (1600, 900),
        "x_header": (1500, 500),
        "linkedin_post": (1200, 627),
        "linkedin_banner": (1584, 396),
        "pinterest_pin": (1000, 1500),
        "tiktok_video": (1080, 1920),
    }
)
"""Named sizes in pixels; names of networks give what each recommends for that place.

The networks publish these figures and change them; they are conventions, not API limits.
"""

_LARGEST_EDGE: Final = 999_999
_PIXELS: Final = re.compile(r"(\d{1,6})\s*[x×*]\s*(\d{1,6})", re.IGNORECASE)
_RATIO: Final = re.compile(r"(\d{1,5}(?:\.\d{1,4})?)\s*[:/]\s*(\d{1,5}(?:\.\d{1,4})?)")


@frozen
class Size:
    """An image size in pixels, or ``auto`` when both edges are None.

    Attributes:
        width: Pixels across, or None for ``auto``.
        height: Pixels down, or None for ``auto``.
    """

    width: int | None = None
    height: int | None = None

    def __attrs_post_init__(self) -> None:
        edges = (self.width, self.height)
        if edges != (None, None) and not all(_is_edge(edge) for edge in edges):
            raise _not_a_size(edges)

    @classmethod
    def parse(cls, value: str | Sequence[int] | Size) -> Size:
        """Understand ``auto``, ``1920x1080``, ``16:9``, ``landscape`` or a preset name.

        Raises:
            InvalidRequestError: The text is none of these.
        """
        if isinstance(value, Size):
            return value
        if isinstance(value, (tuple, list)):
            return cls._from_pixels(tuple(map(as_int, cast("Sequence[int]", value))), value)
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise _not_a_size(value)
        text = value.strip()
        if text.lower() == "auto":
            return cls()
        if match := _PIXELS.fullmatch(text):
            return cls._from_pixels((int(match[1]), int(match[2])), value)
        if match := _RATIO.fullmatch(text):
            return _from_ratio(float(match[1]), float(match[2]), value)
        if pixels := PRESETS.get(re.sub(r"[\s-]+", "_", text.lower())):
            return cls(*pixels)
        raise _not_a_size(value)

    @classmethod
    def _from_pixels(cls, pixels: tuple[int, ...], value: object) -> Size:
        if len(pixels) != 2 or not all(_is_edge(edge) for edge in pixels):
            raise _not_a_size(value)
        return cls(*pixels)

    @property
    def dimensions(self) -> tuple[int, int] | None:
        """``(width, height)``, or None for ``auto``."""
        if self.width is None or self.height is None:
            return None
        return self.width, self.height

    def __str__(self) -> str:
        """Return the wire form: ``auto`` or ``1920x1080``."""
        return "auto" if self.dimensions is None else f"{self.width}x{self.height}"


_GRIDS: Final = ((4, 2), (3, 3), (4, 3), (4, 4))
"""Sheets of gif frames, across and down."""

DEFAULT_FRAMES: Final = 9
"""Frames of a gif when none are asked for."""

NO_NAMES: Final[Mapping[tuple[int, int], tuple[str, str]]] = {}


@frozen(kw_only=True)
class SizeRule:
    """The sizes a model draws: a fixed list, or any size within limits.

    Attributes:
        values: The only sizes allowed, in pixels; empty when the limits below decide.
        multiple: Both edges are multiples of this many pixels.
        max_edge: The longest edge, in pixels.
        max_ratio: The longest edge divided by the shortest, at most.
        min_pixels: Width times height, at least.
        max_pixels: Width times height, at most.
        experimental_pixels: Above this many pixels the service calls results experimental.
        across: Images side by side on the sheet that edge and pixel limits hold for.
        down: Images below each other on it.
        named: The ratio and the tier, such as ``("16:9", "2K")``, of each of the ``values``,
            where a service takes these instead of pixels.
    """

    values: tuple[tuple[int, int], ...] = ()
    multiple: int = 1
    max_edge: int = 0
    max_ratio: float = 0
    min_pixels: int = 0
    max_pixels: int = 0
    experimental_pixels: int | None = None
    across: int = 1
    down: int = 1
    named: Mapping[tuple[int, int], tuple[str, str]] = field(default=NO_NAMES, hash=False)

    def for_frames(self, frames: int) -> SizeRule:
        """The rule for one frame of a gif: all frames are drawn on one sheet, which obeys this.

        The sheet has 8, 9, 12 or 16 places, so a square frame has at most 960 pixels on an edge
        up to 9 frames, 816 up to 12, and 720 up to 16 (measured at the service by a third party).
        """
        if self.values:
            return self
        across, down = next(grid for grid in _GRIDS if frames <= grid[0] * grid[1])
        return evolve(self, across=across, down=down)

    def sheet(self, width: int, height: int) -> tuple[int, int]:
        """Return pixels of the sheet for images of this size."""
        return width * self.across, height * self.down

    def problem(self, width: int, height: int) -> str | None:
        """Return the rule this size breaks, as a sentence, or None when it is legal."""
        if self.values:
            return None if (width, height) in self.values else f"only {self} are drawn"
        if width % self.multiple or height % self.multiple:
            return f"both edges must be multiples of {self.multiple}"
        if max(width, height) > self.max_ratio * min(width, height):
            return f"the ratio must be between 1:{self.max_ratio:g} and {self.max_ratio:g}:1"
        sheet = self.sheet(width, height)
        all_of_it = "" if sheet == (width, height) else f" ({sheet[0]}x{sheet[1]} for all frames)"
        if max(sheet) > self.max_edge:
            return f"the longest edge must be at most {self.max_edge} pixels{all_of_it}"
        if sheet[0] * sheet[1] < self.min_pixels:
            return f"it must have at least {self.min_pixels:,} pixels{all_of_it}"
        if sheet[0] * sheet[1] > self.max_pixels:
            return f"it must have at most {self.max_pixels:,} pixels{all_of_it}"
        return None

    def covering(self, width: int, height: int) -> tuple[int, int]:
        """Return the legal size that gives exactly ``width`` x ``height`` with the least waste.

        It is at least as large on both edges. Just rounding up is preferred, since then
        hardly anything is rescaled; otherwise the closest ratio wins, then the fewest pixels.

        Raises:
            InvalidRequestError: No legal size is large enough; names the nearest legal ones.
        """
        rounded = tuple(math.ceil(edge / self.multiple) * self.multiple for edge in (width, height))
        if self.problem(*rounded) is None:
            return rounded[0], rounded[1]
        legal = [size for size in self._candidates(width, height) if self.problem(*size) is None]
        if not legal:
            raise self._uncoverable(width, height)
        return min(legal, key=lambda size: (_mismatch(size, (width, height)), size[0] * size[1]))

    @property
    def largest(self) -> tuple[tuple[int, int], ...]:
        """The sizes of which one uses the most tokens: all of a list, or the largest square.

        With a published formula tokens grow with the pixels and with the shorter edge.
        """
        edge = min(self.max_edge, math.isqrt(self.max_pixels))
        return self.values or ((edge, edge),)

    def nearest(self, width: int, height: int, count: int = 3) -> tuple[str, ...]:
        """Return the ``count`` legal sizes closest to this one, best first, as ``WxH``."""
        legal = (size for size in self._grid() if self.problem(*size) is None)
        ranked = sorted(legal, key=lambda size: _distance(size, (width, height)))
        return tuple(f"{w}x{h}" for w, h in ranked[:count])

    def __str__(self) -> str:
        """Return the rule in words, for error messages."""
        if self.named:
            ratios, tiers = (dict.fromkeys(part) for part in zip(*self.named.values(), strict=True))
            return f"ratios {', '.join(ratios)}, each at {', '.join(tiers)}"
        if self.values:
            return ", ".join(f"{w}x{h}" for w, h in self.values)
        rule = (
            f"multiples of {self.multiple}, edges up to {self.max_edge}, "
            f"ratio up to {self.max_ratio:g}:1, {self.min_pixels:,} to {self.max_pixels:,} pixels"
        )
        if self.across * self.down == 1:
            return rule
        return f"{rule}, for a sheet of {self.across}x{self.down} frames"

    def _grid(self) -> Iterator[tuple[int, int]]:
        if self.values:
            return iter(self.values)
        wide = range(self.multiple, self.max_edge // self.across + 1, self.multiple)
        high = range(self.multiple, self.max_edge // self.down + 1, self.multiple)
        return ((w, h) for w in wide for h in high)

    def _candidates(self, width: int, height: int) -> Iterator[tuple[int, int]]:
        """Sizes no smaller than asked, with a height near the asked ratio or at its limit."""
        if self.values:
            yield from ((w, h) for w, h in self.values if w >= width and h >= height)
            return
        step = self.multiple
        lowest = math.ceil(height / step) * step
        for w in range(math.ceil(width / step) * step, self.max_edge // self.across + 1, step):
            ideal = w * height / width
            floor = math.floor(ideal / step) * step
            flattest = math.ceil(w / self.max_ratio / step) * step
            tallest = math.floor(w * self.max_ratio / step) * step
            for h in {floor, floor + step, flattest, tallest, lowest}:
                if h >= lowest:
                    yield w, h

    def _uncoverable(self, width: int, height: int) -> InvalidRequestError:
        nearest = self.nearest(width, height)
        return InvalidRequestError(
            f"size {width}x{height} is larger than this model draws ({self}); "
            f"the nearest it can draw: {', '.join(nearest)}",
            field="size",
            value=f"{width}x{height}",
            allowed=nearest,
        )


def _from_ratio(across: float, down: float, value: str) -> Size:
    """Exactly this ratio in multiples of 16 when one is near the usual size, else rounded."""
    if not across or not down or not 1 / 50 <= across / down <= 50:
        raise _not_a_size(value)
    long, short = max(across, down), min(across, down)
    edge = 1024 if long == short else _LONG_EDGE
    whole = long.is_integer() and short.is_integer()
    other = _exact_multiple(int(long), int(short), edge) if whole else None
    pixels = other or (edge, max(1, round(edge * short / long)))
    return Size(*(pixels if across >= down else pixels[::-1]))


def _exact_multiple(long: int, short: int, edge: int) -> tuple[int, int] | None:
    common = math.gcd(long, short)
    step = 16 * long // common
    times = round(edge / step)
    exact = step * times
    if not times or abs(exact - edge) > edge / 8:
        return None
    return exact, exact * short // long


def _mismatch(size: tuple[int, int], wanted: tuple[int, int]) -> float:
    """Share of the drawn image that is cropped away, in steps of one per cent."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    shown = wanted[0] * wanted[1] * scale * scale / (size[0] * size[1])
    return round(1 - shown, 2)


def _distance(size: tuple[int, int], wanted: tuple[int, int]) -> float:
    return math.hypot(math.log(size[0] / wanted[0]), math.log(size[1] / wanted[1]))


def _is_edge(value: object) -> bool:
    """A whole number of pixels; beyond six digits it is a slip, and arithmetic would overflow."""
    return type(value) is int and 1 <= value <= _LARGEST_EDGE


def _not_a_size(value: object) -> InvalidRequestError:
    allowed = ("auto", "WIDTHxHEIGHT", "RATIO such as 16:9", *PRESETS)
    return InvalidRequestError(
        f"size {truncated_repr(value)} is not understood: use pixels ('1920x1080'), a ratio "
        "('16:9'), 'auto', 'square', 'landscape', 'portrait' or a preset such as 'og_image'",
        field="size",
        value=value,
        allowed=allowed,
    )
