"""What an edit was not to change: compared, put back, and left alone when the image moved."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from PIL import Image as pil
from PIL import ImageChops, ImageEnhance, ImageFilter

from gptimage import Image, ImageClient, InvalidRequestError, Mask
from gptimage.image import drift, keep_outside
from gptimage.image.codecs import decode
from gptimage.image.difference import changes, moved_by
from gptimage.sandbox import Sandbox
from tests.factories import image as plain


BOX = (90, 90, 170, 170)
MASK = Mask.from_box(BOX)


@pytest.fixture(scope="module")
def photo() -> Image:
    """An image with edges all over, 256 pixels wide."""
    with ImageClient.sandbox() as client:
        scene = client.generate("A red fox in a winter forest", size="1024x1024").image
    return Image.from_pil(scene.to_pil().convert("RGB").resize((256, 256)))


def repainted(photo: Image, *, shift: tuple[int, int] = (0, 0), grain: int = 12) -> Image:
    """The image with another middle, and all of it a little different or moved."""
    pixels = ImageChops.offset(photo.to_pil(), *shift)
    noise = pil.linear_gradient("L").rotate(37).point([128 + level % grain for level in range(256)])
    pixels = ImageChops.add(pixels, pil.merge("RGB", [noise] * 3), 1, -128)
    pixels.paste("teal", BOX)
    return Image.from_pil(pixels)


def outside(image: Image) -> pil.Image:
    """The pixels that the mask protects, black in its box."""
    pixels = decode(image.data, image.format).convert("RGB")
    pixels.paste("black", BOX)
    return pixels


@pytest.mark.parametrize("change", ["repaint", "grey", "bright", "blur"])
def test_what_the_mask_protects_is_put_back(photo: Image, change: str) -> None:
    """To the bit, however the service changed it; the middle is new, and the share is told."""
    pixels = repainted(photo).to_pil()
    changed = {
        "repaint": lambda: pixels,
        "grey": lambda: pixels.convert("L").convert("RGB"),
        "bright": lambda: ImageEnhance.Brightness(pixels).enhance(1.4),
        "blur": lambda: pixels.filter(ImageFilter.GaussianBlur(2)),
    }[change]()
    edited = Image.from_pil(changed)
    kept = keep_outside(edited, photo, MASK)

    assert kept.moved is None
    assert kept.image.original is edited
    assert outside(photo).tobytes() == outside(kept.image).tobytes()
    middle = (120, 120, 140, 140)
    assert changed.crop(middle).tobytes() == kept.image.to_pil().crop(middle).tobytes()
    assert kept.drift == drift(edited, photo, MASK) > 0.05
    assert drift(kept.image, photo, MASK) == 0


@pytest.mark.parametrize("grain", [1, 24])
@pytest.mark.parametrize("shift", [(1, 0), (0, 3), (8, 0), (-3, 2)])
def test_an_image_that_moved_is_left_alone(
    photo: Image, shift: tuple[int, int], grain: int
) -> None:
    """Pasted back, the old edges would show beside the new ones."""
    edited = repainted(photo, shift=shift, grain=grain)
    kept = keep_outside(edited, photo, MASK)

    assert kept.image is edited
    assert shift == kept.moved


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -3), (8, 0), (-5, 8)])
@pytest.mark.parametrize("change", ["none", "soft", "invert", "channels", "jpeg", "grain"])
def test_a_move_is_told_from_what_else_changed(
    photo: Image, change: str, shift: tuple[int, int]
) -> None:
    """Whatever the service did to sharpness and colours, and on copies half as large, too."""
    pixels = photo.to_pil().resize((512, 512))
    noise = pil.frombytes("L", (128, 128), random.Random(7).randbytes(16_384)).resize((512, 512))
    file = io.BytesIO()
    pixels.save(file, "jpeg", quality=60)
    changed = {
        "none": lambda: pixels,
        "soft": lambda: pixels.resize((256, 256)).resize((512, 512)),
        "invert": lambda: ImageChops.invert(pixels),
        "channels": lambda: pil.merge("RGB", pixels.split()[::-1]),
        "jpeg": lambda: pil.open(file).convert("RGB"),
        "grain": lambda: pil.blend(pixels, noise.convert("RGB"), 0.2),
    }[change]()
    region = pil.new("L", (512, 512), 255)
    region.paste(0, (160, 160, 320, 320))

    assert (shift if any(shift) else None) == moved_by(
        pixels, ImageChops.offset(changed, *shift), region
    )


def test_surfaces_say_nothing_of_a_move_and_all_else_does(photo: Image) -> None:
    """A logo in a corner moved with the image; a thing in a corner of a scene moved alone."""
    white, scene, region = (
        pil.new("RGB", (256, 256), "white"),
        photo.to_pil(),
        pil.new("L", (256, 256), 255),
    )
    white.paste("navy", (20, 20, 70, 60))
    white.paste("gold", (30, 30, 50, 70))
    moved = scene.copy()
    moved.paste(scene.crop((10, 10, 90, 90)), (14, 10))

    assert moved_by(white, ImageChops.offset(white, 3, 1), region) == (3, 1)
    assert moved_by(scene, moved, region) is None


def test_a_frame_that_came_or_went_moved_nothing() -> None:
    """Cut off with what a move cuts off, it would be the whole difference."""
    white, framed = pil.new("RGB", (256, 256), "white"), pil.new("RGB", (256, 256), "navy")
    region = pil.new("L", (256, 256), 255)
    framed.paste("white", (5, 5, 251, 251))
    framed.paste("white", (0, 0, 3, 256))

    assert [moved_by(framed, white, region), moved_by(white, framed, region)] == [None, None]


def test_halves_that_moved_apart_did_not_move_by_nothing(photo: Image) -> None:
    """A warning that the image moved by 0, 0 pixels would help nobody."""
    one, other = (
        photo.to_pil().transform(
            (256, 256),
            pil.Transform.AFFINE,
            (1, 0, across, 0, 1, 0),
            pil.Resampling.BICUBIC,
        )
        for across in (0.55, -0.55)
    )
    one.paste(other.crop((128, 0, 256, 256)), (128, 0))

    assert moved_by(photo.to_pil(), one, pil.new("L", (256, 256), 255)) != (0, 0)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (40, 9), (9, 300)])
def test_what_is_too_small_to_tell_did_not_move(size: tuple[int, int]) -> None:
    """A few pixels that look like others prove nothing."""
    one, other = pil.new("RGB", size, "red"), pil.new("RGB", size, "blue")

    assert moved_by(one, other, pil.new("L", size, 255)) is None


def test_a_panorama_that_moved_is_left_alone() -> None:
    """However long it is, it has parts to compare."""
    spots = pil.frombytes("L", (2_500, 4), random.Random(5).randbytes(10_000))
    pixels = spots.resize((25_000, 40)).convert("RGB")
    moved = Image.from_pil(ImageChops.offset(pixels, 2, 0))
    kept = keep_outside(moved, Image.from_pil(pixels), Mask.from_box((0, 0, 10, 10)))

    assert kept.moved == (2, 0)


def test_a_large_image_that_was_scaled_is_left_alone(photo: Image) -> None:
    """Its parts moved in different directions."""
    large = Image.from_pil(photo.to_pil().resize((1024, 1024)))
    scaled = large.to_pil().resize((1048, 1048)).crop((12, 12, 1036, 1036))

    assert keep_outside(Image.from_pil(scaled), large, Mask.from_box((400, 400, 600, 600))).moved
    assert keep_outside(large, large, Mask.from_box((400, 400, 600, 600))).moved is None


@pytest.mark.parametrize("size", [None, (128, 128), (200, 120)])
def test_another_size_goes_by_the_covering_rule(photo: Image, size: tuple[int, int] | None) -> None:
    """The original is scaled to cover, as an input is, and the image has the size asked for."""
    edited = Image.from_pil(repainted(photo).to_pil().resize((192, 192)))
    kept = keep_outside(edited, photo, MASK, size=size)

    wanted = size or (192, 192)
    expected = photo.fit(*wanted).to_pil().crop((0, 0, 40, wanted[1]))
    assert wanted == kept.image.size
    assert expected.tobytes() == kept.image.to_pil().crop((0, 0, 40, wanted[1])).tobytes()


def test_a_thin_mask_keeps_its_edit() -> None:
    """The blended edge is no wider than the mask: a line of four pixels is not blended away."""
    white, black = plain(600, 600, color="white"), plain(600, 600, color="black")
    kept = keep_outside(black, white, Mask.from_box((300, 0, 304, 600))).image.to_pil()

    assert {(0, 0, 0)} <= {kept.getpixel((x, 300)) for x in range(300, 304)}
    assert (255, 255, 255) == kept.getpixel((299, 300)) == kept.getpixel((304, 300))


def test_the_edge_blends_inside_the_mask() -> None:
    """From all of the original at the edge to nothing of it a few pixels inside."""
    white, black = plain(400, 400, color="white"), plain(400, 400, color="black")
    kept = keep_outside(black, white, Mask.from_box((100, 100, 300, 300))).image.to_pil()
    row: list[Any] = [kept.getpixel((x, 200)) for x in range(98, 110)]
    levels = [level for level, _, _ in row]

    assert levels[:2] == [255, 255]
    assert sorted(levels, reverse=True) == levels
    assert levels[-1] == 0
    assert len(set(levels)) > 3


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_other_formats_stay(photo: Image, form: str) -> None:
    """An edit that came as jpeg or webp stays one, and looks like the original outside."""
    edited = repainted(photo).convert(form)
    kept = keep_outside(edited, photo, MASK)

    assert form == kept.image.format
    assert drift(kept.image, photo, MASK) < drift(edited, photo, MASK)


@pytest.mark.parametrize(("quality", "exact"), [(None, True), (80, False)])
def test_a_lossless_webp_stays_one(photo: Image, quality: int | None, exact: bool) -> None:
    """Outside it is the original to the bit, unless a quality was asked for."""
    buffer = io.BytesIO()
    repainted(photo).to_pil().save(buffer, "webp", lossless=True)
    kept = keep_outside(Image.from_bytes(buffer.getvalue()), photo, MASK, quality=quality)

    assert exact is (ImageChops.difference(outside(kept.image), outside(photo)).getbbox() is None)


def test_transparency_stays(photo: Image) -> None:
    """A transparent original is put back as it is."""
    clear = photo.to_pil().convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 60, 60))
    kept = keep_outside(repainted(photo), Image.from_pil(clear), MASK)

    assert kept.image.to_pil().getchannel("A").getpixel((10, 10)) == 0


def test_a_black_drawing_on_nothing_can_move() -> None:
    """Its edges are those of its opacity, and colours that nobody sees have none."""
    clear, moved = pil.new("RGBA", (256, 256), (0, 0, 0, 0)), pil.new("RGBA", (256, 256))
    clear.paste("black", (40, 30, 200, 90))
    clear.paste("black", (60, 80, 110, 230))
    moved.paste(clear, (4, 0))
    mask = Mask.from_box((120, 120, 150, 150))
    kept = keep_outside(Image.from_pil(moved), Image.from_pil(clear), mask)

    assert kept.moved == (4, 0)


def test_difference(photo: Image) -> None:
    """Share, place and amount of what changed, and a map of it."""
    pixels = photo.to_pil()
    pixels.paste((255, 0, 255), (10, 20, 30, 52))
    found = photo.diff(Image.from_pil(pixels), tolerance=0)
    same = photo.diff(photo)

    assert (same.changed, same.mean, same.largest, same.box) == (0, 0.0, 0, None)
    assert pytest.approx(found.changed, rel=0.01) == 20 * 32 / 256**2
    assert found.box == (10, 20, 30, 52)
    assert photo.size == found.heat_map.size
    red, _, blue = (
        found.heat_map.to_pil().convert("RGB").resize((1, 1), box=(12, 22, 28, 50)).tobytes()
    )
    assert (red > 200, blue < 100) == (True, True)


def test_hidden_colours_do_not_differ() -> None:
    """What is transparent in both looks the same."""
    one, two = pil.new("RGBA", (8, 8), (255, 0, 0, 0)), pil.new("RGBA", (8, 8), (0, 255, 0, 0))

    assert Image.from_pil(one).diff(Image.from_pil(two)).changed == 0


@pytest.mark.parametrize(
    ("other", "tolerance", "field"),
    [(plain(9, 8), 8, "other"), (plain(8, 8), 255, "tolerance"), (plain(8, 8), True, "tolerance")],
)
def test_what_cannot_be_compared(other: Image, tolerance: Any, field: str) -> None:
    """It is refused by name."""
    with pytest.raises(InvalidRequestError) as caught:
        plain(8, 8).diff(other, tolerance=tolerance)

    assert field == caught.value.field


def test_the_sandbox_drifts_on_request(photo: Image) -> None:
    """What it changes outside the mask is there to be put back, or seen to have moved."""
    shares: dict[str, float | None] = {}
    for name, drifting in {
        "none": None,
        "repaint": {"repaint": 24},
        "tint": {"tint": 0.3},
        "shift": {"shift": 3},
    }.items():
        with ImageClient.sandbox(Sandbox(drift=drifting, draw="plain")) as client:  # type: ignore[arg-type]  # parametrised
            result = client.edit(
                "a hat",
                photo.fit(1024, 1024),
                mask=Mask.from_box((400, 400, 600, 600)),
                size="1024x1024",
                outside="keep",
            )
        shares[name] = result.drift
        back = drift(result.image, photo.fit(1024, 1024), Mask.from_box((400, 400, 600, 600)))
        assert (back > 0) == (name == "shift")
        assert (result.image.original is not None) == (name != "shift")
        assert len(result.warnings) == (name != "none")
    assert shares["none"] == 0
    assert all(
        share > 0.05 for name, share in shares.items() if name != "none" and share is not None
    )


@pytest.mark.parametrize("size", [(1200, 630), (1023, 769), (1000, 667), (320, 213)])
@pytest.mark.parametrize("drifting", [None, {"repaint": 24}], ids=["still", "repainted"])
def test_an_original_of_no_legal_size_is_put_back(
    photo: Image, size: tuple[int, int], drifting: Any
) -> None:
    """What was drawn lacks its rim, or has one: it is laid where it was, and has not moved."""
    original = photo.fit(*size)
    mask = Mask.from_box((40, 20, 60, 40))
    with ImageClient.sandbox(Sandbox(drift=drifting, draw="scene")) as client:
        result = client.edit("a hat", original, mask=mask, size="same", outside="keep")

    assert result.image.size == size
    assert not any("moved" in warning for warning in result.warnings)
    assert drift(result.image, original, mask) == 0
    assert (result.drift or 0) > 0.05 if drifting else (result.drift or 0) < 0.003
    inside = (45, 25, 55, 35)
    assert result.image.to_pil().crop(inside).tobytes() != original.to_pil().crop(inside).tobytes()


@pytest.mark.parametrize("draw", ["plain", "scene"])
def test_the_sandbox_does_not_drift_unasked(photo: Image, draw: Any) -> None:
    """Nor where the original has another size than what is drawn: both are scaled alike."""
    with ImageClient.sandbox(Sandbox(draw=draw)) as client:
        result = client.edit("a hat", photo, mask=MASK, size="1024x1024")

    assert result.drift == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_a_tall_image_is_compared_in_strips(mode: str) -> None:
    """Every row counts once, also where one strip ends and the next begins."""
    before = pil.linear_gradient("L").resize((8, 2_500)).convert(mode)
    after = before.copy()
    for row in (0, 1_023, 1_024, 2_499):
        after.putpixel((3, row), before.getpixel((3, 1_250)))

    found = changes(before, after)

    assert found.size == before.size
    rows = {y for y in range(2_500) if found.crop((0, y, 8, y + 1)).getbbox()}
    assert rows == {0, 1_023, 1_024, 2_499}
