"""A still of an svg: pixels for a service that takes none, drawn by resvg (extra ``svg``).

resvg runs no script and loads nothing from the network; files beside the svg are ruled out here.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Final

from attrs import evolve

from gptimage.errors import ConfigurationError, ImageDecodeError
from gptimage.image.formats import svg_text
from gptimage.image.image import Image


_EDGE: Final = 1024
"""Longest edge of the still in pixels: what the service looks at of an input image."""

_MAX_BYTES: Final = 5_000_000
_ELSEWHERE: Final = re.compile(r"""href\s*=\s*["']?\s*(?!data:|["'#]|\s)[^\s"'>]""", re.IGNORECASE)
"""A reference that leads out of the file."""


def svg_renderer() -> Any:
    """Return the package that draws an svg.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module("resvg_py")
    except ImportError as error:
        raise ConfigurationError(
            "drawing an svg needs another package: pip install 'gptimage[svg]'"
        ) from error


def still_of(image: Image) -> Image:
    """Draw an svg as png, its longest edge 1024 pixels; ``original`` is the svg.

    Raises:
        ConfigurationError: resvg is not installed.
        ImageDecodeError: It cannot be drawn: broken, over 5 MB, or made of other files.
    """
    renderer = svg_renderer()
    text = svg_text(image.data)
    if image.nbytes > _MAX_BYTES:
        raise ImageDecodeError(f"an svg of {image.nbytes:,} bytes is not drawn: 5 MB is the most")
    if _ELSEWHERE.search(text):
        raise ImageDecodeError("the svg refers to other files, which are not read: embed them")
    wide = image.size is None or image.size[0] >= image.size[1]
    try:
        data = renderer.svg_to_bytes(
            svg_string=text, width=_EDGE if wide else None, height=None if wide else _EDGE
        )
    except ValueError as error:
        raise ImageDecodeError(f"the svg cannot be drawn: {error}") from error
    return evolve(Image.from_bytes(bytes(data)), original=image)
