"""How images show themselves in notebooks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

import pytest

from gptimage import Image


Encode = Callable[..., bytes]


@pytest.mark.parametrize("format", ["png", "jpeg", "gif"])
def test_small_pictures_are_shown_as_they_are(samples: Mapping[str, bytes], format: str) -> None:
    """Formats every notebook draws go there byte for byte, under their true type."""
    image = Image.from_bytes(samples[format])

    bundle = image._repr_mimebundle_(include=None, exclude=None)

    assert {image.mime_type: base64.b64encode(image.data).decode()} == bundle


def test_svg_is_shown_as_text(samples: Mapping[str, bytes]) -> None:
    """An svg is text in a notebook."""
    image = Image.from_bytes(samples["svg"])

    assert {"image/svg+xml": samples["svg"].decode()} == image._repr_mimebundle_()


@pytest.mark.parametrize("format", ["webp", "bmp", "tiff", "avif"])
def test_other_formats_are_shown_as_png(samples: Mapping[str, bytes], format: str) -> None:
    """What notebooks cannot draw becomes a PNG for display only."""
    image = Image.from_bytes(samples[format])

    bundle = image._repr_mimebundle_()

    shown = Image.from_bytes(base64.b64decode(bundle["image/png"]))
    assert (["image/png"], "png", image.size) == (list(bundle), shown.format, shown.size)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_large_pictures_are_shown_small(encode: Encode, format: str) -> None:
    """A notebook file keeps what it showed, so at most 1024 pixels go in."""
    ((_, content),) = Image.from_bytes(encode(format, (3000, 1500)))._repr_mimebundle_().items()

    assert Image.from_bytes(base64.b64decode(content)).size == (1024, 512)


def test_png_representation(samples: Mapping[str, bytes], encode: Encode) -> None:
    """Front ends that ask for PNG get it where PNG is what is shown."""
    png = Image.from_bytes(samples["png"])

    assert png.data == png._repr_png_()
    assert Image.from_bytes(samples["jpeg"])._repr_png_() is None
    assert Image.from_bytes(Image.from_bytes(samples["webp"])._repr_png_() or b"").format == "png"


def test_broken_pictures_show_their_repr(encode: Encode) -> None:
    """An image that cannot be drawn shows no traceback in the notebook."""
    broken = Image.from_bytes(encode("png", (2000, 1000))[:-500])

    assert (broken._repr_mimebundle_(), broken._repr_png_()) == ({}, None)
