"""How a picture shows itself in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gptimage._svg import svg_text
from gptimage.errors import ImageDecodeError


if TYPE_CHECKING:
    from gptimage.image.image import Image

_PREVIEW_PX: Final = 1024
"""Longest edge in pixels: a notebook file keeps what it showed, so that must stay small."""


def preview(image: Image) -> Image | None:
    """The picture in a format every notebook draws; None when it is broken."""
    if image.format in {"gif", "svg"}:
        return image
    try:
        small = image.thumbnail(_PREVIEW_PX)
        return small if small.format in {"png", "jpeg"} else small.convert("png")
    except ImageDecodeError:
        return None


def bundle(image: Image) -> dict[str, str]:
    """MIME type and content, base64 for binary formats; empty when it is broken."""
    import pybase64

    shown = preview(image)
    if shown is None:
        return {}
    if shown.format == "svg":
        return {shown.mime_type: svg_text(shown.data)}
    return {shown.mime_type: pybase64.b64encode_as_string(shown.data)}
