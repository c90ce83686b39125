"""Contact sheets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError, InvalidRequestError, contact_sheet


def plain(colour: str, size: tuple[int, int]) -> Image:
    """An image of one colour."""
    return Image.from_pil(PIL.Image.new("RGBA", size, colour))


def pixels(sheet: Image) -> PIL.Image.Image:
    """The sheet as Pillow reads it."""
    return PIL.Image.open(io.BytesIO(sheet.data)).convert("RGB")


def box_of(sheet: Image, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Width and height of the area that has exactly this colour."""
    ground = PIL.Image.new("RGB", pixels(sheet).size, colour)
    same = PIL.ImageChops.difference(pixels(sheet), ground).convert("L").point([255] + [0] * 255)
    left, top, right, bottom = same.getbbox() or (0, 0, 0, 0)
    return right - left, bottom - top


def test_pictures_keep_their_proportions() -> None:
    """Wide and tall ones are fitted into the cell whole, small ones are not enlarged."""
    sheet = contact_sheet(
        [plain("#ff0000", (600, 200)), plain("#00ff00", (100, 400)), plain("#0000ff", (20, 10))],
        cell=200,
    )

    assert box_of(sheet, (255, 0, 0)) == (200, 67)
    assert box_of(sheet, (0, 255, 0)) == (50, 200)
    assert box_of(sheet, (0, 0, 255)) == (20, 10)


@pytest.mark.parametrize(
    ("count", "columns", "across"), [(1, None, 1), (4, None, 2), (5, None, 3), (5, 2, 2), (3, 9, 3)]
)
def test_columns(count: int, columns: int | None, across: int) -> None:
    """The grid is about square, or has the columns asked for, never empty ones."""
    sheet = contact_sheet([plain("red", (50, 50))] * count, columns=columns, cell=64)

    assert across * (64 + 8) + 8 == sheet.width


def test_labels_are_drawn() -> None:
    """A label takes room below its image and leaves ink there."""
    image = plain("#ffffff", (64, 64))
    without, with_ = (contact_sheet([image], labels=labels, cell=64) for labels in (None, ["fox"]))

    assert with_.height is not None
    assert without.height is not None
    strip = pixels(with_).crop((0, without.height - 4, 80, with_.height))
    assert with_.height > without.height
    assert len(strip.convert("L").getcolors() or ()) > 2


def test_transparency_lies_on_a_checkerboard() -> None:
    """What is transparent shows two tones, what is not stays as it is."""
    sheet = pixels(contact_sheet([plain("#ff000000", (128, 128))], cell=128))

    assert {(255, 255, 255), (226, 226, 226)} == {sheet.getpixel((x, 60)) for x in range(20, 120)}


def test_every_format_is_shown(samples: Mapping[str, bytes]) -> None:
    """Every format, svg as a tile with words, makes one PNG."""
    images = [Image.from_bytes(data) for data in samples.values()]

    sheet = contact_sheet(images, labels=list(samples), cell=64)

    sheet.verify()
    assert sheet.format == "png"


@settings(max_examples=50)
@given(label=st.text(max_size=400))
def test_any_label_is_taken(label: str) -> None:
    """Long labels are cut, lines become one, characters no font has do no harm."""
    contact_sheet([plain("red", (8, 8))], labels=[label], cell=64).verify()


def test_sheets_do_not_vary() -> None:
    """The same images give the same bytes."""
    one, other = (contact_sheet([plain("red", (8, 8))], labels=["fox"]) for _ in range(2))

    assert one == other


@pytest.mark.parametrize(
    ("count", "options", "field"),
    [
        (0, {}, "images"),
        (2, {"labels": ["one"]}, "labels"),
        (2, {"columns": 0}, "columns"),
        (2, {"cell": 5}, "cell"),
        (2, {"cell": 5000}, "cell"),
        (200, {"cell": 2048}, "cell"),
    ],
)
def test_bad_requests_are_refused(count: int, options: dict[str, Any], field: str) -> None:
    """No images, a wrong number of labels, and sizes out of bounds."""
    with pytest.raises(InvalidRequestError) as caught:
        contact_sheet([plain("red", (8, 8))] * count, **options)

    assert field == caught.value.field


def test_broken_pictures_are_errors(samples: Mapping[str, bytes]) -> None:
    """An image that cannot be decoded cannot be shown."""
    with pytest.raises(ImageDecodeError):
        contact_sheet([Image.from_bytes(samples["png"][:-300])])
