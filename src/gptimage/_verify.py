"""Proving that a picture is whole: every checksum and every pixel is read."""

from __future__ import annotations

from gptimage import _gif
from gptimage._svg import check_svg
from gptimage.errors import ImageDecodeError
from gptimage.image.codecs import hostile, load, open_header
from gptimage.image.image import Image


def verify(image: Image) -> None:
    """See `Image.verify`."""
    if image.format == "svg":
        check_svg(image.data)
        return
    header = open_header(image)
    with hostile(image.format):
        header.verify()  # PNG checksums, which decoding skips
    if image.format == "gif":
        _gif.check_frames(image)
        _check_gif_end(image.data)
    else:
        picture = open_header(image)
        with hostile(image.format):
            load(picture)


def _check_gif_end(data: bytes) -> None:
    """Cut between two frames, a gif decodes without complaint; only its last byte tells."""
    if not data.rstrip(b"\0\r\n").endswith(b";"):
        raise ImageDecodeError("this gif is cut short: its end marker is missing")
