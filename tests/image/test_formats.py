"""Telling what a file is from its first bytes."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError


SERVICE: dict[str, dict[str, Any]] = {
    "png": {},
    "jpeg": {},
    "progressive jpeg": {"progressive": True},
    "jpeg with exif": {"exif": b"Exif\0\0" + b"\xff\xc0" * 3000},
    "jpeg with icc": {"icc_profile": b"\xff\xd8\xff\xc0" * 40_000},
    "webp": {},
    "lossless webp": {"lossless": True},
    "gif": {},
}


def png_claiming(width: int, height: int) -> bytes:
    """The header of a PNG that says it has this size, with a correct checksum."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + ihdr + struct.pack(">I", zlib.crc32(ihdr))


@pytest.mark.parametrize("kind", SERVICE)
@settings(max_examples=15)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_format_and_size_are_read(
    encode: Callable[..., bytes], kind: str, width: int, height: int
) -> None:
    """Every format of the service is recognised with its pixel size."""
    format = next(word for word in kind.split() if word in {"png", "jpeg", "webp", "gif"})

    image = Image.from_bytes(encode(format, (width, height), **SERVICE[kind]))

    assert (format, (width, height)) == (image.format, image.size)


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_transparent_webp_is_read(encode: Callable[..., bytes], options: dict[str, bool]) -> None:
    """WebP with transparency has another header, and is read as well."""
    image = Image.from_bytes(encode("webp", (123, 45), "RGBA", **options))

    assert (image.format, image.size) == ("webp", (123, 45))


@pytest.mark.parametrize("format", ["bmp", "tiff", "avif", "ico", "jpeg2000", "ppm"])
def test_other_formats_are_recognised(encode: Callable[..., bytes], format: str) -> None:
    """Formats the service does not make, but users bring, are known by their names."""
    image = Image.from_bytes(encode(format, (64, 64)))

    assert (format, (64, 64)) == (image.format, image.size)


def test_sniffing_loads_no_pillow(samples: Mapping[str, bytes], tmp_path: Path) -> None:
    """The formats of the service are recognised without importing Pillow."""
    for name, data in samples.items():
        if name.split()[-1] in {"png", "jpeg", "webp", "gif", "svg"}:
            (tmp_path / name).write_bytes(data)
    program = (
        "import pathlib, sys; from gptimage import Image\n"
        f"for path in pathlib.Path({str(tmp_path)!r}).iterdir(): Image.open(path).has_provenance\n"
        "print(Image.__name__, 'PIL' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )

    assert (done.stdout, done.stderr) == ("Image False\n", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"not a picture",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        b"RIFF\0\0\0\0WEBPVP8 ",
    ],
)
def test_no_picture_is_an_error(data: bytes) -> None:
    """Bytes that are no image raise ImageDecodeError."""
    with pytest.raises(ImageDecodeError):
        Image.from_bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no bytes"),
        (b"  <!DOCTYPE html><html><svg width='1' height='1'/></html>", "an HTML page"),
        (b'{"error": {"message": "no"}}', "JSON"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ],
)
def test_common_mistakes_are_named(data: bytes, words: str) -> None:
    """What people pass by mistake is named, so they see what happened."""
    with pytest.raises(ImageDecodeError, match=words):
        Image.from_bytes(data)


def test_truncated_headers_are_errors(samples: Mapping[str, bytes]) -> None:
    """However much of a file is missing, it is read right or refused, never misread."""
    for name, data in samples.items():
        whole = Image.from_bytes(data)
        for length in range(min(len(data), 700)):
            try:
                image = Image.from_bytes(data[:length])
            except ImageDecodeError:
                continue
            assert (whole.format, whole.size) == (image.format, image.size), (name, length)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (2**31 - 1, 1), (100_000, 100_000)])
def test_absurd_sizes_are_refused(size: tuple[int, int]) -> None:
    """A header may claim anything; nothing is unpacked to find out."""
    with pytest.raises(ImageDecodeError, match=f"{size[0]}x{size[1]}"):
        Image.from_bytes(png_claiming(*size))


def test_large_photographs_are_read() -> None:
    """The largest phone cameras make 108 million pixels, which is not absurd."""
    assert Image.from_bytes(png_claiming(12_000, 9_000)).size == (12_000, 9_000)


def test_damaged_png_header_is_an_error(encode: Callable[..., bytes]) -> None:
    """A PNG whose size does not match its checksum is refused."""
    data = bytearray(encode("png"))
    data[17] ^= 1

    with pytest.raises(ImageDecodeError, match="damaged"):
        Image.from_bytes(data)


MAGIC = [
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"RIFF\0\0\0\0WEBPVP8L",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"<svg ",
    b"<?xml",
    b"<!--",
    b"<!DOCTYPE svg [",
    b"BM",
    b"II*\0",
    b"P6 ",
    b"\0\0\0\x18ftypavif",
    b"\0\0\1\0",
]


@given(start=st.sampled_from([b"", *MAGIC]), rest=st.binary(max_size=300))
def test_garbage_is_read_or_refused(start: bytes, rest: bytes) -> None:
    """Whatever the bytes, the answer is an Image with real pixels or ImageDecodeError."""
    try:
        image = Image.from_bytes(start + rest)
    except ImageDecodeError:
        return
    assert image.size is None or min(image.size) > 0


@given(st.data())
def test_long_segments_of_nothing_end(data: st.DataObject) -> None:
    """Files made of thousands of tiny segments are walked once."""
    unit = data.draw(st.sampled_from([b"\xff", b"\xff\x01", b"\xff\xe1\0\2", b"\xff\xe1\0\0"]))

    with pytest.raises(ImageDecodeError):
        Image.from_bytes(b"\xff\xd8\xff\xe0\0\2" + unit * 20_000)


@pytest.mark.parametrize("brands", [b"heic....mif1", b"mif1....heic", b"msf1....mif1hevc"])
def test_a_photo_of_an_iphone_says_what_to_do(brands: bytes) -> None:
    """HEIC is told by its brands, wherever they stand, with the ways to a JPEG."""
    data = b"\x00\x00\x00\x24ftyp" + brands + bytes(64)
    with pytest.raises(ImageDecodeError, match=r"HEIC.*JPEG.*pillow-heif"):
        Image.from_bytes(data)
