"""Keeping what an edit was not to change: the original goes back outside the mask.

The service redraws the whole image, also where the mask lets nothing change: 51.6 % of those
pixels differed in one public measurement (vercel/ai, issue 14360). Here they are put back, with
an edge that blends inside the mask, unless the whole image moved, which would show twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from gptimage.image.codecs import XMP, decode, encode
from gptimage.image.difference import (
    TOLERANCE,
    Shift,
    changes,
    in_mode,
    moved_by,
    shares,
)
from gptimage.image.image import Image
from gptimage.image.label import combined
from gptimage.image.mask import Mask, opacity
from gptimage.image.transform import FIT_QUALITY, cover, is_lossless_webp
from gptimage.image.transform import scaled as resized


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


_FEATHER: Final = 0.008
"""Width of the blended edge, as a share of the shorter edge: 8 pixels of 1024."""

_UNMOVED: Final = 0.002
"""Share of protected pixels that changed, below which no move is looked for."""


@frozen(kw_only=True)
class KeptOutside:
    """An edit whose protected pixels are those of the original again.

    Attributes:
        image: The image; its ``original`` is the one the service sent. When that had moved, it
            is that one, at the size asked for.
        drift: Share of the protected pixels that the service had changed, 0 to 1.
        moved: How far the whole image had moved, in pixels to the right and down; None when it
            had not, and the original was put back.
    """

    image: Image
    drift: float
    moved: Shift | None = None


def keep_outside(
    edited: Image,
    first: Image,
    mask: Mask,
    *,
    size: tuple[int, int] | None = None,
    quality: int | None = None,
) -> KeptOutside:
    """Put the original back where a mask lets nothing change.

    Where the images differ in size, the original is scaled to cover the edited one, and what
    stands over is cut off evenly, as for the input of an edit. Protected pixels of a png or a
    lossless webp are then exactly those of the original; jpeg and webp are written anew.

    Args:
        edited: What the service made of it.
        first: The original.
        mask: Where it may change.
        size: Pixels of the image to return; those of ``edited`` when left out. The edit is scaled
            to it by what the original was scaled by, not merely cut to it.
        quality: 0 to 100 for jpeg and webp; 95 when left out.

    Raises:
        ImageDecodeError: An image is broken, or an svg.
        InvalidRequestError: The mask does not fit the original.
    """
    new, old, scaled, protected = _aligned(edited, first, mask, size)
    solid = protected.point(_ONLY_OPAQUE)
    differs = changes(old, new)
    changed = _changed(differs, new, scaled, solid)
    moved = None
    if shares(differs, TOLERANCE, solid).changed > _UNMOVED:
        moved = moved_by(old, new, solid)
    if moved is not None:
        same = size is None or edited.size == size
        image = edited if same else edited.fit(*size, quality=quality) if size else edited
        return KeptOutside(image=image, drift=changed, moved=moved)
    mode = "RGBA" if "A" in new.mode + old.mode else "RGB"
    whole, painted = (in_mode(each, mode) for each in (old, new))
    _paint(whole, painted, protected, solid)
    whole.info.clear()
    if profile := new.info.get("icc_profile"):
        whole.info["icc_profile"] = profile
    if label := combined([edited.ai_label, first.ai_label]):
        whole.info[XMP] = label.to_xmp()
    format = edited.format if edited.format in {"png", "jpeg", "webp"} else "png"
    wanted = FIT_QUALITY if quality is None else max(quality, 1)  # Pillow's 0 means 75
    lossless = quality is None and format == "webp" and is_lossless_webp(edited.data)
    data = encode(whole, format, quality=wanted, lossless=lossless)
    return KeptOutside(image=evolve(Image.from_bytes(data), original=edited), drift=changed)


def drift(
    edited: Image,
    first: Image,
    mask: Mask,
    *,
    size: tuple[int, int] | None = None,
    drawn: tuple[int, int] | None = None,
) -> float:
    """Return the share of the protected pixels that changed, 0 to 1.

    A pixel changed when a channel differs by more than 8 of 255, from the original and from the
    original scaled to what was drawn and back: scaling alone is no change. Both are compared in
    ``size`` pixels, as `keep_outside` does; in those of ``edited`` when left out.

    Args:
        edited: What the service made of it.
        first: The original.
        mask: Where it may change.
        size: Pixels in which both are compared.
        drawn: Pixels that the service drew; those of ``edited`` when left out.

    Raises:
        ImageDecodeError: An image is broken, or an svg.
        InvalidRequestError: The mask does not fit the original.
    """
    new, old, scaled, protected = _aligned(edited, first, mask, size, drawn)
    return _changed(changes(old, new), new, scaled, protected.point(_ONLY_OPAQUE))


def _changed(differs: Pil, new: Pil, scaled: Pil | None, solid: Pil) -> float:
    from PIL import ImageChops

    if scaled is not None:
        differs = ImageChops.darker(differs, changes(scaled, new))
    return shares(differs, TOLERANCE, solid).changed


def _aligned(
    edited: Image,
    first: Image,
    mask: Mask,
    size: tuple[int, int] | None,
    drawn: tuple[int, int] | None = None,
) -> tuple[Pil, Pil, Pil | None, Pil]:
    """Return the edit, the original, that as drawn and scaled back, and the mask's opacity.

    All have one size; the third is None where nothing was scaled after it was drawn.
    """
    new, old = (decode(each.data, each.format) for each in (edited, first))
    protected = opacity(mask, old.size).point(_CLEAN)
    drawn, scaled = drawn or new.size, None
    frame = old if size is None or size == old.size else cover(old, *size)
    if size is not None and new.size != size:
        scaled = _laid_on(frame, cover(old, *new.size), old.size)
        new = _laid_on(frame, new, old.size)
    elif drawn != new.size:
        scaled = cover(cover(old, *drawn), *new.size)
    if old.size != new.size:
        old, protected = (cover(each, *new.size) for each in (old, protected))
    return new, old, scaled, protected


def _laid_on(frame: Pil, drawn: Pil, original: tuple[int, int]) -> Pil:
    """Return what was drawn of an original, in the size of the frame and where it belongs there.

    Both show the middle of the original, scaled to cover them. What was drawn may end within the
    frame, which is seen around it then.

    Args:
        frame: The original in the size asked for.
        drawn: What the service made of it, in the size it was asked for.
        original: Width and height of the original, in pixels.
    """
    scale, wanted = (
        max(edge / own for edge, own in zip(each.size, original, strict=True))
        for each in (drawn, frame)
    )
    x, y = (
        (edge - own * scale / wanted) / 2 for edge, own in zip(drawn.size, frame.size, strict=True)
    )
    rim = (math.ceil(max(0, -x)), math.ceil(max(0, -y)))
    if any(rim):
        whole = cover(frame, drawn.width + 2 * rim[0], drawn.height + 2 * rim[1])
        whole = in_mode(whole, drawn.mode)
        whole.paste(drawn, rim)
        whole.info.update(drawn.info)
        x, y, drawn = x + rim[0], y + rim[1], whole
    return resized(drawn, frame.size, (x, y, drawn.width - x, drawn.height - y))


_CLEAN: Final = [0] * 8 + list(range(8, 248)) + [255] * 8
"""A mask saved as jpeg is nearly clear, and nearly opaque."""


_ONLY_OPAQUE: Final = [0] * 255 + [255]


def _paint(whole: Pil, painted: Pil, protected: Pil, solid: Pil) -> None:
    """Lay the edit on the original where the mask lets it change.

    The edge blends inside the mask, so that no protected pixel changes. Where the mask is so thin
    that little of the edit would be left, the edge is narrower.
    """
    from PIL import ImageChops, ImageFilter

    radius = min(protected.size) * _FEATHER
    found = ImageChops.invert(solid).getbbox()
    if found is None:
        return
    # With what the blur sees around it; beyond, the original is as it was.
    near = round(radius) + 1
    left, top, right, bottom = found
    box = (
        max(0, left - near),
        max(0, top - near),
        min(protected.width, right + near),
        min(protected.height, bottom + near),
    )
    part = weights = protected.crop(box)
    clear = part.point([255] + [0] * 255)
    while radius >= 1:
        ramp = part.filter(ImageFilter.BoxBlur(radius)).point(
            [min(255, 2 * level) for level in range(256)]
        )
        if shares(ramp, 127, clear).changed < 0.5:
            weights = ImageChops.lighter(part, ramp)
            break
        radius /= 2
    whole.paste(painted.crop(box), box, ImageChops.invert(weights))
