"""Scaling: to cover a size exactly, or to have fewer pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from PIL.Image import Image as Pil


def cover(picture: Pil, width: int, height: int) -> Pil:
    """Scale to cover ``width`` x ``height`` pixels and cut off the rest evenly."""
    scale = max(width / picture.width, height / picture.height)
    if scale == 1:
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))
    across, down = min(width / scale, picture.width), min(height / scale, picture.height)
    x, y = (picture.width - across) / 2, (picture.height - down) / 2
    box = (x, y, min(x + across, picture.width), min(y + down, picture.height))
    return scaled(picture, (width, height), box)


def scaled(
    picture: Pil, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Pil:
    """The whole picture, or the part in ``box``, at another pixel size."""
    from PIL.Image import Resampling

    return picture.resize(  # pyright: ignore[reportUnknownMemberType]  # Pillow names numpy, which need not be there
        size, Resampling.LANCZOS, box=box
    )
