"""Masks and markup: what people bring becomes what the service takes."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError, InvalidRequestError, Mask
from gptimage.image.codecs import oriented_size
from gptimage.image.mask import MAX_BYTES, check_markup


SIZE = (64, 48)


def alpha_of(image: Image) -> PIL.Image.Image:
    """The opacity of a mask, after checking that it is a legal one."""
    picture = PIL.Image.open(io.BytesIO(image.data))
    assert (picture.format, picture.mode) == ("PNG", "RGBA")
    assert image.nbytes < 4_000_000
    return picture.getchannel("A")


def drawn(mode: str, ground: Any, ink: Any, size: tuple[int, int] = SIZE) -> PIL.Image.Image:
    """An image with a rectangle of 10 x 5 pixels at 20, 10."""
    picture = PIL.Image.new(mode, size, ground)
    picture.paste(ink, (20, 10, 30, 15))
    return picture


def marked(image: Image) -> tuple[int, int, int, int] | None:
    """The smallest box around everything that may change."""
    return alpha_of(image).point([255] * 255 + [0]).getbbox()


def spans(length: int) -> st.SearchStrategy[list[int]]:
    """Two different places from 0 to ``length``, in order."""
    places = st.integers(0, length)
    return st.lists(places, min_size=2, max_size=2, unique=True).map(sorted)


@given(across=spans(64), down=spans(48))
def test_box_marks_exactly_its_pixels(across: list[int], down: list[int]) -> None:
    """Inside the box the mask is transparent, elsewhere opaque."""
    (left, right), (top, bottom) = across, down

    image, notes = Mask.from_box((left, top, right, bottom)).normalized(SIZE)

    alpha = alpha_of(image)
    assert (alpha.size, notes) == (SIZE, [])
    assert (left, top, right, bottom) == marked(image)
    assert (right - left) * (bottom - top) == alpha.histogram()[0]
    assert alpha.histogram()[0] + alpha.histogram()[255] == 64 * 48


def test_several_boxes_are_all_marked() -> None:
    """Boxes add up, also where they overlap."""
    image, _ = Mask.from_boxes([(0, 0, 10, 10), (5, 5, 15, 15), (60, 40, 64, 48)]).normalized(SIZE)

    assert alpha_of(image).histogram()[0] == 100 + 75 + 32


@pytest.mark.parametrize(
    "box",
    [(0, 0, 0, 10), (10, 10, 5, 20), (-1, 0, 5, 5), (0, 0, 5), (0, 0, 5, 5, 5), (0, 0, 1.5, 5),
     ("0", 0, 5, 5), (0, 0, True, 5), ()],
    ids=str,
)  # fmt: skip
def test_bad_boxes_are_refused(box: Any) -> None:
    """Empty, negative and fractional boxes are refused when they are made."""
    with pytest.raises(InvalidRequestError) as caught:
        Mask.from_box(box)

    assert caught.value.field == "mask"


def test_no_box_is_refused() -> None:
    """A mask without boxes would mark nothing."""
    with pytest.raises(InvalidRequestError, match="at least one box"):
        Mask.from_boxes([])


@pytest.mark.parametrize("box", [(60, 40, 65, 48), (60, 40, 64, 49), (100, 100, 110, 110)], ids=str)
def test_box_outside_the_picture_is_refused(box: tuple[int, int, int, int]) -> None:
    """Nothing is clipped in silence; the error says what the image allows."""
    with pytest.raises(InvalidRequestError, match="64x48") as caught:
        Mask.from_box(box).normalized(SIZE)

    assert caught.value.allowed == "right at most 64, bottom at most 48"


def test_box_without_a_known_size_is_refused() -> None:
    """A box needs the size of the image."""
    with pytest.raises(InvalidRequestError, match="size of the first image"):
        Mask.from_box((0, 0, 5, 5)).normalized(None)


@pytest.mark.parametrize(
    "picture",
    [
        drawn("RGBA", (9, 9, 9, 255), (9, 9, 9, 0)),
        drawn("LA", (9, 255), (255, 0)),
        drawn("1", 0, 1),
        drawn("L", 0, 255),
        drawn("RGB", "black", "white"),
        drawn("RGBA", "black", "white"),
        drawn("P", 0, 255).convert("P"),
        drawn("I;16", 0, 65_535),
    ],
    ids=[
        "alpha",
        "grey with alpha",
        "bitmap",
        "grey",
        "colour",
        "opaque alpha",
        "palette",
        "16 bit",
    ],
)
def test_every_kind_of_drawing_marks_the_same(picture: PIL.Image.Image) -> None:
    """Transparent means change; without transparency white does."""
    if picture.mode == "P":
        picture.putpalette(bytes(value for grey in range(256) for value in (grey, grey, grey)))

    image, notes = Mask.open(picture).normalized(SIZE)

    assert (marked(image), notes) == ((20, 10, 30, 15), [])
    assert {0, 255} == {level for level, count in enumerate(alpha_of(image).histogram()) if count}


@pytest.mark.parametrize("format", ["png", "bmp", "gif", "webp", "tiff"])
def test_drawings_of_every_format_are_read(format: str) -> None:
    """Whatever Pillow reads will do."""
    buffer = io.BytesIO()
    drawn("RGB", "black", "white").save(
        buffer, format, **({"lossless": True} if format == "webp" else {})
    )

    image, _ = Mask.open(buffer.getvalue()).normalized(SIZE)

    assert marked(image) == (20, 10, 30, 15)


def test_soft_edges_are_kept() -> None:
    """Grey between black and white becomes half transparent."""
    picture = drawn("L", 0, 255)
    picture.putpixel((19, 10), 100)

    assert alpha_of(Mask.open(picture).normalized(SIZE)[0]).getpixel((19, 10)) == 155


def test_other_sizes_are_scaled_and_said() -> None:
    """A mask of another size is stretched onto the image, with a warning that names both."""
    image, notes = Mask.open(drawn("L", 0, 255)).normalized((128, 144))

    assert (image.size, marked(image)) == ((128, 144), (40, 30, 60, 45))
    assert notes == ["the mask was 64x48 and has been scaled to the image's 128x144"]


def test_without_a_known_size_the_drawing_keeps_its_own() -> None:
    """For an image that is already uploaded the mask is taken as it is."""
    image, notes = Mask.open(drawn("L", 0, 255)).normalized(None)

    assert (image.size, notes) == (SIZE, [])


@pytest.mark.parametrize("colour", [(0, 0, 0), (0, 0, 0, 255)])
def test_mask_that_marks_nothing_is_refused(colour: tuple[int, ...]) -> None:
    """All black, or all opaque and black, would change nothing and still cost."""
    mode = "RGB" if len(colour) == 3 else "RGBA"

    with pytest.raises(InvalidRequestError, match="marks nothing") as caught:
        Mask.open(PIL.Image.new(mode, SIZE, colour)).normalized(SIZE)

    assert caught.value.field == "mask"


def test_scaling_that_loses_the_mark_is_refused() -> None:
    """One white pixel can vanish when the mask shrinks; that is not sent either."""
    picture = PIL.Image.new("L", (1000, 1000), 0)
    picture.putpixel((3, 3), 255)

    with pytest.raises(InvalidRequestError, match="marks nothing"):
        Mask.open(picture).normalized((10, 10))


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 100 kB: noise of 4 MB tells no more, and takes seconds to compress."""
    monkeypatch.setattr("gptimage.image.mask.MAX_BYTES", 100_000)


@pytest.mark.usefixtures("light")
def test_heavy_masks_are_made_lighter() -> None:
    """Too many bytes of soft noise become hard edges, and the caller is told."""
    noise = random.Random(1).randbytes(400 * 400)
    picture = PIL.Image.frombytes("L", (400, 400), noise)

    image, notes = Mask.open(picture).normalized((400, 400))

    assert {0, 255} == {level for level, count in enumerate(alpha_of(image).histogram()) if count}
    assert notes == ["the mask's soft edges were made hard to keep it below 4 MB"]


def test_masks_have_less_than_4_mb() -> None:
    """The service's own limit."""
    assert MAX_BYTES == 4_000_000


@pytest.mark.usefixtures("light")
def test_masks_that_stay_too_heavy_are_refused() -> None:
    """When nothing helps, the error says how large it is and what is allowed."""
    noise = random.Random(2).randbytes(1000 * 1000 // 8)
    picture = PIL.Image.frombytes("1", (1000, 1000), noise)

    with pytest.raises(InvalidRequestError, match="less than 4 MB"):
        Mask.open(picture).normalized((1000, 1000))


def test_same_mask_same_bytes() -> None:
    """The bytes are part of the cache key, so they must not vary."""
    one, other = (Mask.open(drawn("L", 0, 255)).normalized(SIZE)[0] for _ in range(2))

    assert one.sha256 == other.sha256


def test_broken_masks_are_decode_errors(encode: Callable[..., bytes]) -> None:
    """A mask that cannot be read is no wrong request but a broken file."""
    with pytest.raises(ImageDecodeError):
        Mask.open(b"not a picture")
    with pytest.raises(ImageDecodeError):
        Mask.open(encode("png")[:-200]).normalized(SIZE)


def test_repr_is_short() -> None:
    """A mask in a log is one short line."""
    assert repr(Mask.from_box((0, 0, 5, 5))) == "Mask(boxes=((0, 0, 5, 5),), image=None)"


def test_size_as_a_viewer_shows_it(encode: Callable[..., bytes]) -> None:
    """Masks and markup are measured against the image after its EXIF rotation."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6

    assert oriented_size(encode("jpeg", exif=exif), "jpeg") == (32, 48)


def test_good_markup_passes() -> None:
    """A PNG of the right size with something drawn on transparent ground is fine."""
    check_markup(Image.from_pil(drawn("RGBA", (0, 0, 0, 0), "red")), *SIZE)


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        (Image.from_pil(drawn("RGBA", (0, 0, 0, 0), "red")).convert("webp"), "must be a png"),
        (Image.from_pil(drawn("RGBA", (0, 0, 0, 0), "red", (48, 64))), "64x48, not 48x64"),
        (Image.from_pil(drawn("RGB", "white", "red")), "all opaque"),
        (Image.from_pil(drawn("RGBA", "white", "red")), "all opaque"),
        (Image.from_pil(PIL.Image.new("RGBA", SIZE)), "nothing is drawn"),
    ],
    ids=["format", "size", "no alpha", "opaque", "empty"],
)
def test_bad_markup_is_refused(markup: Image, words: str) -> None:
    """Every rule of the service is checked before sending."""
    with pytest.raises(InvalidRequestError, match=words) as caught:
        check_markup(markup, *SIZE)

    assert caught.value.field == "markup"
