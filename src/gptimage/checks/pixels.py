"""Checks of pixels: transparency, colours, margins, size, what an edit changed, and likeness.

They need Pillow alone, send nothing and cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self, cast

from attrs import evolve, field, frozen

from gptimage.checks.check import CheckResult, PixelCheck, cannot_pass
from gptimage.checks.checkerboard import checkerboard_share, nearest
from gptimage.errors import InvalidRequestError
from gptimage.image.codecs import decode, on_white
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.image.outside import drift
from gptimage.image.perceptual_hash import differing
from gptimage.models.sizes import Size
from gptimage.types.request import Edit, Generate


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


_PAINTED: Final = 0.03
"""Share of an image from which on a checkerboard is one that a model painted for transparency."""

_SMALL: Final = 512
"""Longest edge in pixels of the copy that colours and margins are measured on."""

_EDGE: Final = 24
"""Levels of 255 from which on a step between two pixels is an outline, and not a shade."""


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _share(name: str, value: object, *, below: float = 1.0) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= below
    if not good:
        raise InvalidRequestError(
            f"{name}={value!r}: it is a share, 0 to {below:g}", field=name, value=value
        )


@frozen(kw_only=True)
class Transparent(PixelCheck):
    """Whether the background is really transparent, and no painted checkerboard.

    Attributes:
        least: Share of the pixels that must be fully transparent, 0 to 1.
    """

    least: float = 0.02
    name: str = field(default="transparent", init=False)

    def __attrs_post_init__(self) -> None:
        _share("least", self.least)

    def of(self, request: Generate) -> Self:
        """Refuse formats without transparency.

        Raises:
            InvalidRequestError: A jpeg or an svg is to be drawn.
        """
        if request.format == "jpeg":
            raise cannot_pass(self.name, "a jpeg is opaque", "png or webp")
        return super().of(request)

    def __call__(self, image: Image) -> CheckResult:
        """Measure the alpha channel, and look for a checkerboard among what is opaque."""
        pixels = decode(image.data, image.format)
        clear = pixels.getchannel("A").histogram()[0] if "A" in pixels.mode else 0
        share = clear / (pixels.width * pixels.height)
        painted = checkerboard_share(pixels)
        if painted >= _PAINTED:
            says = f"a checkerboard is painted on {painted:.0%} of it, in place of transparency"
            return CheckResult(name=self.name, passed=False, reason=says, score=0.0)
        passed = share >= self.least and clear > 0
        says = f"{share:.1%} of it is transparent" if clear else "every pixel is opaque"
        if clear and not passed:
            says += f", and {self.least:.1%} is wanted"
        return CheckResult(name=self.name, passed=passed, reason=says, score=min(1.0, share))


@frozen
class Palette(PixelCheck):
    """Whether the colours are those of a palette.

    Attributes:
        colors: Colours that Pillow knows, such as ``#d00000`` or ``white``.
        least: Share of the pixels that must be near one of them, 0 to 1.
        tolerance: How far a pixel may be from its colour, 0 to 765 (black to white), as people see
            it: 60 takes in the shades of soft edges.
    """

    colors: Sequence[str] = field(converter=_texts)
    least: float = field(default=0.9, kw_only=True)
    tolerance: float = field(default=60.0, kw_only=True)
    name: str = field(default="palette", init=False)

    def __attrs_post_init__(self) -> None:
        _share("least", self.least)
        self._wanted()

    def __call__(self, image: Image) -> CheckResult:
        """Count the pixels near a colour, on a copy of at most 128 pixels."""
        whole = on_white(decode(image.data, image.format, at_least=128)).convert("RGB")
        pixels = nearest(whole, 128)
        wanted = self._wanted()
        near, total, strangest, most = 0, 0, (0, 0, 0), 0
        for count, found in cast(
            "list[tuple[int, tuple[int, int, int]]]", pixels.getcolors(pixels.width * pixels.height)
        ):
            total += count
            if min(_distance(found, each) for each in wanted) <= self.tolerance:
                near += count
            elif count > most:
                strangest, most = found, count
        share = near / total
        says = f"{share:.0%} of it has the palette's colours"
        if share < self.least:
            says += f", and {self.least:.0%} is wanted; #{bytes(strangest).hex()} is not among them"
        return CheckResult(name=self.name, passed=share >= self.least, reason=says, score=share)

    def _wanted(self) -> list[tuple[int, int, int]]:
        from PIL import ImageColor

        try:
            found = [ImageColor.getrgb(each)[:3] for each in self.colors]
        except (ValueError, AttributeError, TypeError) as error:
            raise InvalidRequestError(
                f"palette: {error}", field="colors", value=self.colors, allowed="such as '#d00000'"
            ) from error
        if not found:
            raise InvalidRequestError("palette: it has no colour", field="colors")
        return found


def _distance(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Return how different two colours look, 0 to 765 (https://www.compuphase.com/cmetric.htm)."""
    red = (one[0] + other[0]) / 2
    r, g, b = (a - b for a, b in zip(one, other, strict=True))
    return float(((2 + red / 256) * r * r + 4 * g * g + (2 + (255 - red) / 256) * b * b) ** 0.5)


@frozen(kw_only=True)
class Margins(PixelCheck):
    """Whether nothing with an outline comes near the edges, which platforms crop or cover.

    A plain or soft background may go to the edge; text, logos and subjects may not.

    Attributes:
        share: Width of each margin, as a share of that edge, 0 to 0.4.
        most: Share of a margin's pixels that may be outlines, 0 to 1.
    """

    share: float = 0.05
    most: float = 0.005
    name: str = field(default="margins", init=False)

    def __attrs_post_init__(self) -> None:
        _share("share", self.share, below=0.4)
        _share("most", self.most)

    def __call__(self, image: Image) -> CheckResult:
        """Measure the outlines within each margin, on a copy of at most 512 pixels."""
        edges = _edges(decode(image.data, image.format, at_least=_SMALL))
        width, height = edges.size
        across, down = max(1, round(width * self.share)), max(1, round(height * self.share))
        margins = {
            "left": (0, 0, across, height),
            "top": (0, 0, width, down),
            "right": (width - across, 0, width, height),
            "bottom": (0, height - down, width, height),
        }
        found = {name: _busy(edges.crop(box)) for name, box in margins.items()}
        over = [name for name, share in found.items() if share > self.most]
        worst = max(found.values())
        says = (
            f"something comes within {self.share:.0%} of the edge: {', '.join(over)}"
            if over
            else f"nothing comes within {self.share:.0%} of an edge"
        )
        return CheckResult(name=self.name, passed=not over, reason=says, score=1 - worst)


def _edges(pixels: Pil) -> Pil:
    """Return how strong the outline at each pixel is, those of its opacity included."""
    from PIL import ImageChops, ImageFilter

    pixels.thumbnail((_SMALL, _SMALL))
    bands = [*on_white(pixels).convert("RGB").split()]
    if "A" in pixels.mode:
        bands.append(pixels.getchannel("A"))
    found: list[Pil] = []
    for band in bands:
        soft = band.filter(ImageFilter.BoxBlur(1))  # grain is no outline
        found.append(soft.filter(ImageFilter.FIND_EDGES))
    strongest = found[0]
    for each in found[1:]:
        strongest = ImageChops.lighter(strongest, each)
    # Pillow's filter leaves the outermost pixels as they are, which are no outlines.
    if min(strongest.size) <= 4:
        return strongest.point([0] * 256)
    return strongest.crop((2, 2, strongest.width - 2, strongest.height - 2))


def _busy(margin: Pil) -> float:
    counts = margin.histogram()
    return sum(counts[_EDGE:]) / max(1, sum(counts))


@frozen
class Pixels:
    """Whether an image has a size.

    Attributes:
        size: The size, as `Options` takes it: ``1200x630``, a pair, or a name such as ``og_image``.
    """

    size: str | Sequence[int] | Size
    name: str = field(default="pixels", init=False)

    def __attrs_post_init__(self) -> None:
        if Size.parse(self.size).dimensions is None:
            raise InvalidRequestError("pixels: auto is no size", field="size", value=self.size)

    def __call__(self, image: Image) -> CheckResult:
        """Compare the size; the pixels are not decoded."""
        wanted = Size.parse(self.size)
        has = "no size" if image.size is None else f"{image.width}x{image.height}"
        passed = image.size == wanted.dimensions
        says = f"it has {has}" + ("" if passed else f", and {wanted} is wanted")
        return CheckResult(name=self.name, passed=passed, reason=says)


@frozen
class Drift(PixelCheck):
    """Whether an edit left alone what its mask protects.

    Attributes:
        first: The image that was edited; left out, the first one of the edit that is checked by
            ``until`` or ``best_of``.
        mask: Where it was allowed to change; left out, that of the edit.
        most: Share of the protected pixels that may have changed, 0 to 1.
    """

    first: Image | None = field(default=None, repr=False)
    mask: Mask | None = None
    most: float = field(default=0.01, kw_only=True)
    name: str = field(default="drift", init=False)

    def __attrs_post_init__(self) -> None:
        _share("most", self.most)

    def of(self, request: Generate) -> Self:
        """Return the check with what it was not given, taken from an edit.

        Raises:
            InvalidRequestError: An svg is to be drawn.
        """
        super().of(request)
        if not isinstance(request, Edit):
            return self
        found = request.images[0]
        first = self.first or (found if isinstance(found, Image) else None)
        mask = self.mask or (request.mask if isinstance(request.mask, Mask) else None)
        return evolve(self, first=first, mask=mask)

    def prepare(self) -> None:
        """Refuse to check what is no edit with a mask, before anything is paid.

        Raises:
            InvalidRequestError: The image or the mask is not known.
        """
        if not (isinstance(self.first, Image) and isinstance(self.mask, Mask)):
            raise InvalidRequestError(
                "the check drift is of an edit with a mask: it needs the image that was edited and "
                "the mask, as drawn and not as uploaded; nothing was sent",
                field="checks",
                allowed="an edit with a mask",
            )

    def __call__(self, image: Image) -> CheckResult:
        """Compare the image with the first one outside the mask."""
        self.prepare()
        drawn = None if image.original is None else image.original.size
        changed = drift(image, cast("Image", self.first), cast("Mask", self.mask), drawn=drawn)
        says = f"{changed:.1%} of what the mask protects changed"
        passed = changed <= self.most
        if not passed:
            says += f", and at most {self.most:.1%} may"
        return CheckResult(name=self.name, passed=passed, reason=says, score=1 - changed)


def _images(value: Image | Sequence[Image]) -> tuple[Image, ...]:
    return (value,) if isinstance(value, Image) else tuple(value)


@frozen
class Unlike(PixelCheck):
    """Whether an image is not nearly the same as another: as a copy that was cropped or repainted.

    Attributes:
        others: The images it must not look like: one or several.
        distance: Bits of the perceptual hashes' 64 up to which two images count as nearly the
            same, 0 to 32, as in `Store.similar`; about 32 differ between unrelated images.
    """

    others: Sequence[Image] = field(converter=_images, repr=False)
    distance: int = field(default=10, kw_only=True)
    name: str = field(default="unlike", init=False)

    def __attrs_post_init__(self) -> None:
        if not self.others or not all(isinstance(each, Image) for each in self.others):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise InvalidRequestError("unlike: name the images, as Image values", field="others")
        if type(self.distance) is not int or not 0 <= self.distance <= 32:
            raise InvalidRequestError(
                "unlike: distance is 0 to 32 bits", field="distance", value=self.distance
            )

    def __call__(self, image: Image) -> CheckResult:
        """Compare the perceptual hashes; empty surfaces have none and are like nothing."""
        own = image.perceptual_hash
        hashes = [each.perceptual_hash for each in self.others]
        near = min((differing(own, each) for each in hashes if own and each), default=64)
        passed = near > self.distance
        says = f"the nearest of {len(hashes)} differs in {near} of 64 bits"
        if not passed:
            says += f", and more than {self.distance} are wanted: it looks nearly the same"
        return CheckResult(name=self.name, passed=passed, reason=says, score=near / 64)
