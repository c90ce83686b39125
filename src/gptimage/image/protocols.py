"""Protocols of the sources of images: PIL images and binary files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Protocol


class PilImage(Protocol):
    """The part of ``PIL.Image.Image`` this library uses, so that Pillow is not in its types."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    @property
    def width(self) -> int:
        """Pixels across."""
        ...

    @property
    def height(self) -> int:
        """Pixels down."""
        ...

    @property
    def mode(self) -> str:
        """Pillow's name of the pixel layout, such as ``RGBA``."""
        ...

    @property
    def info(self) -> Mapping[Any, Any]:
        """What the file holds besides pixels, such as ``duration`` or ``icc_profile``."""
        ...

    def convert(self, mode: str) -> PilImage:
        """Return the same image in another pixel layout."""
        ...

    def copy(self) -> PilImage:
        """Return an independent copy."""
        ...

    def crop(self, box: tuple[float, float, float, float]) -> PilImage:
        """Return the part inside ``(left, top, right, bottom)``, in pixels."""
        ...

    def resize(self, size: tuple[int, int]) -> PilImage:
        """Return the whole image at another pixel size."""
        ...

    def save(self, fp: IO[bytes], format: str | None = None, **params: Any) -> None:
        """Write it to a binary file in Pillow's format of that name."""
        ...


class BinaryFile(Protocol):
    """A source of bytes: an open file, ``io.BytesIO``, an upload."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes from the current position on; all of them when negative."""
        ...
