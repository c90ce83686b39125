"""Images for the tests of this folder, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import PIL.Image
import pytest


Encode = Callable[..., bytes]

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><circle r="9"/></svg>'


def scene(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> PIL.Image.Image:
    """A colourful image without any two equal rows or columns; A falls from left to right."""
    across = PIL.Image.linear_gradient("L").rotate(90).resize(size)
    down = PIL.Image.linear_gradient("L").resize(size)
    round_ = PIL.Image.radial_gradient("L").resize(size)
    picture = PIL.Image.merge("RGBA", (across, down, round_, across))
    if mode == "P":
        return picture.convert("RGB").quantize(200)
    return picture if mode == "RGBA" else picture.convert("RGB").convert(mode)


def encode(
    format: str, size: tuple[int, int] = (48, 32), mode: str = "RGB", **options: Any
) -> bytes:
    """A `scene` as a file that Pillow wrote."""
    buffer = io.BytesIO()
    scene(size, mode).save(buffer, format, **options)
    return buffer.getvalue()


def encode_gif(
    frames: int = 3, size: tuple[int, int] = (48, 32), *, clear: bool = False, **options: Any
) -> bytes:
    """A gif in which a square moves; 100 ms for the first frame, 10 more for each that follows.

    With ``clear`` its ground is transparent.
    """
    pictures: list[PIL.Image.Image] = []
    for number in range(frames):
        picture = PIL.Image.new("P", size, 0)
        picture.putpalette([0, 0, 0, 250, 120, 30, 20, 90, 200])
        picture.paste(1, (number * 4, 4, number * 4 + 12, 16))
        picture.putpixel((0, number % size[1]), 2)
        pictures.append(picture)
    if clear:
        options |= {"transparency": 0, "disposal": 2}
    durations = [100 + 10 * number for number in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "gif", save_all=True, append_images=pictures[1:], duration=durations, **options
    )
    return buffer.getvalue()


@pytest.fixture(scope="session", name="scene")
def _scene() -> Callable[..., PIL.Image.Image]:
    """The function `scene`."""
    return scene


@pytest.fixture(scope="session", name="encode")
def _encode() -> Encode:
    """The function `encode`."""
    return encode


@pytest.fixture(scope="session", name="encode_gif")
def _encode_gif() -> Encode:
    """The function `encode_gif`."""
    return encode_gif


@pytest.fixture(scope="session")
def samples() -> Mapping[str, bytes]:
    """One small file of every kind the library reads."""
    return {
        "png": encode("png"),
        "png with palette": encode("png", mode="P"),
        "transparent png": encode("png", mode="RGBA"),
        "jpeg": encode("jpeg"),
        "progressive jpeg": encode("jpeg", progressive=True),
        "webp": encode("webp"),
        "lossless webp": encode("webp", lossless=True),
        "transparent webp": encode("webp", mode="RGBA"),
        "gif": encode("gif"),
        "animated gif": encode_gif(loop=0),
        "svg": SVG,
        "bmp": encode("bmp"),
        "tiff": encode("tiff"),
        "avif": encode("avif"),
        "ico": encode("ico"),
        "jpeg2000": encode("jpeg2000"),
        "ppm": encode("ppm"),
    }
