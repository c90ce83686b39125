"""The perceptual hash: what survives a copy, and what has none."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image as Pil
from PIL import ImageDraw, ImageOps

from gptimage import Image, ImageDecodeError
from gptimage.image.perceptual_hash import differing


def drawn(*, mode: str = "RGB", size: int = 128) -> Pil.Image:
    """A few shapes, on transparency where the mode has it."""
    image = Pil.new(mode, (size, size), "#204060" if mode == "RGB" else (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size // 8, size // 4, size // 2, size // 2), fill="white")
    draw.rectangle((size // 2, size // 2, size - 9, size - 30), fill="#e0a030")
    return image


def hash_of(image: Pil.Image) -> str:
    """The hash, of an image that has one."""
    found = Image.from_pil(image).perceptual_hash
    assert found is not None
    return found


def cut(image: Pil.Image, share: float) -> Pil.Image:
    """An image without this share of each edge."""
    left = round(image.width * share)
    return image.crop((left, left, image.width - left, image.height - left))


def turned(image: Image) -> Image:
    """The same image stored on its side, with EXIF that says so."""
    exif = Pil.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.to_pil().rotate(90, expand=True).save(file, "jpeg", exif=exif, quality=95)
    return Image.from_bytes(file.getvalue())


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: image.thumbnail(48),
        lambda image: image.convert("jpeg", 40),
        lambda image: image.convert("webp", 60),
        lambda image: image.convert("gif"),
        turned,
    ],
    ids=["smaller", "jpeg", "webp", "gif", "turned"],
)
def test_copies_differ_in_few_bits(copy: Callable[[Image], Image]) -> None:
    """Another size, format or orientation changes at most four of 64 bits."""
    copied = copy(Image.from_pil(drawn())).perceptual_hash or ""
    whole = int(copied[:16], 16) ^ int(hash_of(drawn())[:16], 16)

    assert whole.bit_count() <= 4


@pytest.mark.parametrize("share", [0.02, 0.05, 0.08, 0.1])
def test_cut_edges_change_few_bits(share: float) -> None:
    """The hash of the middle is that of the copy, whichever of the two has lost its edges."""
    whole, copy = hash_of(drawn()), hash_of(cut(drawn(), share))

    assert differing(whole, copy) == differing(copy, whole) <= 10


def test_a_middle_without_anything_in_it_counts_as_the_whole() -> None:
    """A frame around nothing still has a hash."""
    frame = Pil.new("RGB", (64, 64), "white")
    ImageDraw.Draw(frame).rectangle((0, 0, 63, 63), outline="black", width=3)
    found = hash_of(frame)

    assert found[:16] == found[16:]


def test_other_images_differ_in_many() -> None:
    """A mirrored image is another one."""
    assert differing(hash_of(drawn()), hash_of(ImageOps.mirror(drawn()))) > 16


@pytest.mark.parametrize("color", ["white", "#123456", "black"])
def test_an_empty_surface_has_none(color: str) -> None:
    """Only noise would be hashed, and all such images would look alike."""
    assert Image.from_pil(Pil.new("RGB", (40, 30), color)).perceptual_hash is None


def test_a_white_logo_on_transparency_has_one() -> None:
    """On white nothing would be left of it."""
    logo = Pil.new("RGBA", (64, 64), (255, 255, 255, 0))
    ImageDraw.Draw(logo).rectangle((10, 20, 40, 30), fill="white")
    black = Pil.new("RGB", logo.size)
    black.paste(logo, mask=logo)

    assert hash_of(logo) == hash_of(black)


def test_transparency_counts_as_white() -> None:
    """The copy as jpeg, which is laid on white, is found."""
    image = Image.from_pil(drawn(mode="RGBA"))
    flat = image.convert("jpeg", 95).perceptual_hash or ""

    assert differing(hash_of(drawn(mode="RGBA")), flat) <= 2


def test_the_bits_stay_what_they_are() -> None:
    """Hashes in sidecars are compared with those of later versions."""
    pixels = bytes((x * 37 + y * 11 + x * y) % 256 for y in range(32) for x in range(32))

    image = Image.from_pil(Pil.frombytes("L", (32, 32), pixels))

    assert image.perceptual_hash == "e03a0018474fff7eff327fbf0001511a"


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a" + bytes(9)]
)
def test_what_cannot_be_decoded_says_so(data: bytes) -> None:
    """An svg is never drawn here, and a broken file has no pixels."""
    with pytest.raises(ImageDecodeError):
        _ = Image.from_bytes(data).perceptual_hash
