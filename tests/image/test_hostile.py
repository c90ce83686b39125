"""Hostile bytes: every operation works or raises ImageDecodeError, nothing else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError, InvalidRequestError, Mask, contact_sheet


WORK: dict[str, Callable[[Image], object]] = {
    "verify": Image.verify,
    "to_pil": Image.to_pil,
    "thumbnail": lambda image: image.thumbnail(10),
    "convert to png": lambda image: image.convert("png"),
    "convert to jpeg": lambda image: image.convert("jpeg", 50),
    "convert to webp": lambda image: image.convert("webp", 50),
    "convert to gif": lambda image: image.convert("gif"),
    "has_provenance": lambda image: image.has_provenance,
    "contact sheet": lambda image: contact_sheet([image], cell=32),
    "notebook": lambda image: image._repr_mimebundle_(),
}


def attempt(image: Image) -> None:
    """Do everything that can be done with one image."""
    for work in WORK.values():
        try:
            work(image)
        except (ImageDecodeError, InvalidRequestError):  # broken, or too large for the format
            continue


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_files_never_crash(samples: Mapping[str, bytes], data: st.DataObject) -> None:
    """Real files with bytes changed, cut out or put in are handled or refused."""
    file = bytearray(samples[data.draw(st.sampled_from(sorted(samples)))])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(file)))
        gone = data.draw(st.sampled_from([0, 1, 1, 1, 4, 50]))
        file[at : at + gone] = data.draw(st.binary(max_size=4))
    try:
        image = Image.from_bytes(file)
    except ImageDecodeError:
        return
    if image.format == "svg" or image.size is None or max(image.size) < 3000:
        attempt(image)


def test_cut_files_never_crash(samples: Mapping[str, bytes]) -> None:
    """Real files cut short at any place are handled or refused."""
    for file in samples.values():
        for length in range(0, len(file), max(1, len(file) // 12)):
            try:
                image = Image.from_bytes(file[:length])
            except ImageDecodeError:
                continue
            attempt(image)


def test_images_that_lie_never_crash(samples: Mapping[str, bytes]) -> None:
    """An Image whose stated format is wrong is refused when its pixels are needed."""
    for name, file in samples.items():
        for format in ("png", "jpeg", "webp", "gif", "tiff"):
            if format not in name:
                image = Image(data=file, format=format, width=48, height=32)
                with pytest.raises(ImageDecodeError):
                    image.convert("webp" if format == "png" else "png")


def test_decompression_bombs_are_refused() -> None:
    """A few hundred bytes cannot make the library unpack gigabytes."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 13_000, 13_000, 8, 6, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(bytes(1_000_000), 9)
    chunks = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (ihdr, idat, b"IEND")
    )
    bomb = Image.from_bytes(b"\x89PNG\r\n\x1a\n" + chunks)

    with pytest.raises(ImageDecodeError, match="676 MB"):
        bomb.verify()


def test_gif_with_endless_frames_is_refused(encode_gif: Callable[..., bytes]) -> None:
    """Many tiny frames on a huge canvas are refused before they fill the memory."""
    small = encode_gif(2, (8, 8))
    start = small.index(b",", 13)
    frame = small[start : small.rindex(b"!\xf9")]
    canvas = small[:6] + struct.pack("<HH", 9000, 9000) + small[10:start]

    with pytest.raises(ImageDecodeError, match="60 frames of 9000x9000"):
        Image.from_bytes(canvas + frame * 60 + b";").verify()


@given(st.binary(max_size=200))
def test_garbage_mask_is_refused(garbage: bytes) -> None:
    """A mask made of garbage is ImageDecodeError at once."""
    with pytest.raises(ImageDecodeError):
        Mask.open(b"\0" + garbage)
