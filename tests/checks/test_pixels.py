"""Checks of pixels: each passes what is right, fails what is not, and says why in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image as PilImage
from PIL import ImageDraw

from gptimage import Image, InvalidRequestError, Mask
from gptimage.checks import Check, Drift, Margins, Palette, Pixels, Transparent, Unlike
from tests.factories import cutout, image


def checkerboard(light: str, dark: str, square: int, edge: int = 256) -> Image:
    """What models paint for transparency, with a subject on it."""
    pixels = PilImage.new("RGB", (edge, edge), light)
    draw = ImageDraw.Draw(pixels)
    for y in range(0, edge, square):
        for x in range(y // square % 2 * square, edge, 2 * square):
            draw.rectangle((x, y, x + square - 1, y + square - 1), fill=dark)
    draw.ellipse((edge // 4, edge // 4, edge * 3 // 4, edge * 3 // 4), fill="orange")
    return Image.from_pil(pixels)


def square(background: str, box: tuple[int, int, int, int], fill: str = "navy") -> Image:
    """A plain image with a box on it."""
    pixels = PilImage.new("RGB", (200, 200), background)
    pixels.paste(fill, box)
    return Image.from_pil(pixels)


MIDDLE = (60, 60, 140, 140)
MASK = Mask.from_box((16, 16, 48, 48))
LEFT = square("white", (20, 20, 90, 180))
RIGHT = square("white", (60, 110, 190, 150))


@pytest.mark.parametrize(
    ("check", "seen", "reason"),
    [
        (Transparent(), Image.from_bytes(cutout()), "14.1% of it is transparent"),
        (Palette(["teal"]), image(color="teal"), "100% of it has the palette's colours"),
        (Palette("#000080", least=0.5), square("navy", MIDDLE, "white"), "83% of it"),
        (Margins(), square("white", MIDDLE), "nothing comes within 5% of an edge"),
        (Pixels("64x64"), image(), "it has 64x64"),
        (Pixels((64, 64)), image(), "it has 64x64"),
        (Drift(image(), MASK), image(), "0.0% of what the mask protects changed"),
        (Unlike(LEFT), RIGHT, "the nearest of 1 differs in "),
        (Unlike([LEFT, image()]), RIGHT, "the nearest of 2 differs in "),
    ],
)
def test_what_is_right_passes(check: Check, seen: Image, reason: str) -> None:
    """A sentence says what was measured."""
    found = check(seen)

    assert found.passed
    assert found.reason.startswith(reason)
    assert 0 < found.score <= 1


@pytest.mark.parametrize(
    ("check", "seen", "reason"),
    [
        (Transparent(), image(), "every pixel is opaque"),
        (Transparent(least=0.5), Image.from_bytes(cutout()), "14.1% of it is transparent, and 50"),
        (Transparent(), checkerboard("white", "#cccccc", 16), "a checkerboard is painted on"),
        (Transparent(), checkerboard("#555555", "#444444", 10), "a checkerboard is painted on"),
        (Palette(["white"]), image(color="teal"), "0% of it has the palette's colours, and 90%"),
        (Margins(), square("white", (2, 60, 60, 140)), "something comes within 5% of the edge: le"),
        (Margins(share=0.4), square("white", MIDDLE), "something comes within 40% of the edge: l"),
        (Pixels("og_image"), image(), "it has 64x64, and 1200x630 is wanted"),
        (Unlike([RIGHT, LEFT]), LEFT, "the nearest of 2 differs in 0 of 64 bits"),
        (Drift(image(), MASK), image(color="red"), "100.0% of what the mask protects changed"),
    ],
)
def test_what_is_wrong_fails_with_its_reason(check: Check, seen: Image, reason: str) -> None:
    """A sentence says what was measured, and what is wanted."""
    found = check(seen)

    assert not found.passed
    assert found.reason.startswith(reason)
    assert found.score < 1


@pytest.mark.parametrize("square_px", [8, 13, 32])
@pytest.mark.parametrize(("light", "dark"), [("white", "#ccc"), ("#eee", "#ddd")])
def test_a_checkerboard_is_found_at_any_size(light: str, dark: str, square_px: int) -> None:
    """Whatever greys and squares a model paints, also when it was saved as jpeg."""
    painted = checkerboard(light, dark, square_px).convert("jpeg")

    assert "checkerboard" in Transparent()(painted).reason


def test_a_chessboard_is_no_transparency() -> None:
    """Black and white squares are a subject, not what editors show for nothing."""
    assert Transparent()(checkerboard("white", "black", 32)).reason == "every pixel is opaque"


def test_text_at_the_edge_of_something_transparent_is_found() -> None:
    """An outline of opacity counts like one of colour."""
    pixels = PilImage.new("RGBA", (200, 200))
    pixels.paste((0, 0, 0, 255), (80, 1, 120, 40))

    assert Margins()(Image.from_pil(pixels)).reason.endswith("the edge: top")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8000, 3), (4, 4), (5, 5)])
def test_an_image_of_few_pixels_can_be_checked(size: tuple[int, int]) -> None:
    """No check breaks where there is next to nothing to look at."""
    image = Image.from_pil(PilImage.new("RGB", size, "teal"))
    checks: list[Any] = [Margins(), Palette(["teal"]), Transparent(), Unlike(LEFT)]

    assert [check(image).passed for check in checks] == [True, True, False, True]


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (Transparent, {"least": 2}),
        (Palette, {"colors": ["no colour"]}),
        (Palette, {"colors": []}),
        (Palette, {"colors": ["red"], "least": -1}),
        (Margins, {"share": 0.5}),
        (Margins, {"most": True}),
        (Pixels, {"size": "auto"}),
        (Pixels, {"size": "huge"}),
        (Unlike, {"others": []}),
        (Unlike, {"others": ["fox.png"]}),
        (Unlike, {"others": [LEFT], "distance": 33}),
    ],
)
def test_what_no_check_could_mean_is_refused(make: Any, arguments: dict[str, Any]) -> None:
    """A mistake in a check is found where it is made, before anything is paid."""
    with pytest.raises(InvalidRequestError):
        make(**arguments)
