"""Thumbnails, conversion and the exact size."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import PIL.Image
import PIL.ImageChops
import PIL.ImageColor
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError, InvalidRequestError
from gptimage.image import codecs
from gptimage.image.codecs import oriented_size


Scene = Callable[..., PIL.Image.Image]
Encode = Callable[..., bytes]

# A profile says at byte 16 which colours it describes.
RGB_PROFILE = b"\0" * 16 + b"RGB " + b"\0" * 200
GREY_PROFILE = b"\0" * 16 + b"GRAY" + b"\0" * 200


def pil(image: Image | bytes) -> PIL.Image.Image:
    """The image as Pillow alone reads it."""
    picture = PIL.Image.open(io.BytesIO(image if isinstance(image, bytes) else image.data))
    picture.load()
    return picture


def difference(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """Mean difference of two images, 0 to 255."""
    delta = PIL.ImageChops.difference(one.convert("RGB"), other.convert("RGB")).convert("L")
    return sum(level * count for level, count in enumerate(delta.histogram())) / (
        delta.width * delta.height
    )


def on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The image as a white page shows it."""
    white = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(white, picture.convert("RGBA"))


def exif_turned(orientation: int) -> PIL.Image.Exif:
    """EXIF data that asks the viewer to turn the image."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


@settings(max_examples=60)
@given(width=st.integers(1, 300), height=st.integers(1, 300), max_px=st.integers(1, 320))
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_thumbnail_fits_and_keeps_proportions(
    encode: Encode, format: str, width: int, height: int, max_px: int
) -> None:
    """The longest edge is what was asked for, the other follows, nothing is enlarged."""
    image = Image.from_bytes(encode(format, (width, height)))

    small = image.thumbnail(max_px)

    if max(width, height) <= max_px:
        assert small is image
        return
    assert small.size is not None
    assert (format, max_px) == (small.format, max(small.size))
    assert abs(min(small.size) - min(width, height) * max_px / max(width, height)) <= 1


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_thumbnail_looks_like_the_picture(encode: Encode, scene: Scene, format: str) -> None:
    """Also where a JPEG is decoded at an eighth of its size."""
    small = Image.from_bytes(encode(format, (1600, 1000))).thumbnail(100)

    assert difference(scene((1600, 1000)).resize((100, 62)), pil(small)) < 4


def test_thumbnail_of_an_animation_is_its_first_frame(encode_gif: Encode) -> None:
    """A gif gives a PNG."""
    gif = encode_gif(3)

    small = Image.from_bytes(gif).thumbnail(24)

    assert (small.format, small.size) == ("png", (24, 16))
    assert difference(pil(gif).convert("RGB").resize((24, 16)), pil(small)) < 6


@pytest.mark.parametrize("max_px", [0, -1, 2.5, "100", None, True])
def test_bad_thumbnail_size_is_refused(encode: Encode, max_px: Any) -> None:
    """Only whole positive pixels."""
    with pytest.raises(InvalidRequestError) as caught:
        Image.from_bytes(encode("png")).thumbnail(max_px)

    assert ("max_px", max_px) == (caught.value.field, caught.value.value)


@pytest.mark.parametrize("target", ["png", "jpeg", "webp", "gif"])
def test_everything_converts_to_everything(samples: Mapping[str, bytes], target: str) -> None:
    """Every format the library reads becomes every format it writes, and looks the same."""
    for name, data in samples.items():
        if name == "svg":
            continue
        image = Image.from_bytes(data)

        made = image.convert(target)

        made.verify()
        assert (target, image.size) == (made.format, made.size), name
        limit = 40 if target == "gif" and "transparent" in name else 8
        assert difference(on_white(pil(data)), on_white(pil(made))) < limit, name


def test_jpg_is_jpeg(encode: Encode) -> None:
    """The usual file extension is understood as the format."""
    assert Image.from_bytes(encode("png")).convert("jpg").format == "jpeg"


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "gif"])
def test_converting_to_the_same_format_changes_nothing(
    samples: Mapping[str, bytes], format: str
) -> None:
    """Bytes are sacred: nothing is re-encoded that need not be."""
    image = Image.from_bytes(samples[format])

    assert image.convert(format) is image


def test_animation_stays_one_only_as_gif(encode_gif: Encode) -> None:
    """From gif to gif all frames stay, everything else has the first."""
    image = Image.from_bytes(encode_gif(4))

    frames = [getattr(pil(image.convert(f)), "n_frames", 1) for f in ("gif", "png", "webp", "jpeg")]

    assert frames == [4, 1, 1, 1]


def test_transparency_survives_where_it_can(encode: Encode, scene: Scene) -> None:
    """PNG keeps every level, WebP nearly, gif on or off, JPEG becomes white."""
    image = Image.from_bytes(encode("tiff", mode="RGBA"))
    alpha = scene(mode="RGBA").getchannel("A")

    assert alpha.tobytes() == pil(image.convert("png")).getchannel("A").tobytes()
    webp = pil(image.convert("webp")).getchannel("A")
    assert difference(alpha, webp) < 2
    gif = pil(image.convert("gif")).convert("RGBA").getchannel("A")
    assert {0, 255} == {level for level, count in enumerate(gif.histogram()) if count}
    jpeg = pil(image.convert("jpeg"))
    column = min(range(48), key=lambda x: alpha.tobytes()[x])
    assert min(jpeg.crop((column, 0, column + 1, 32)).convert("L").tobytes()) > 235


def test_quality_decides_the_size(encode: Encode) -> None:
    """A lower quality gives fewer bytes, 90 is the default."""
    image = Image.from_bytes(encode("png", (200, 150)))
    for format in ("jpeg", "webp"):
        sizes = [image.convert(format, quality).nbytes for quality in (20, 60, 90, 100)]
        assert sorted(sizes) == sizes
        assert image.convert(format, 90) == image.convert(format)


@pytest.mark.parametrize(
    ("format", "quality", "field"),
    [
        ("bmp", None, "format"),
        ("PNG8", None, "format"),
        ("svg", None, "format"),
        ("", None, "format"),
        ("png", 50, "quality"),
        ("gif", 50, "quality"),
        ("jpeg", 0, "quality"),
        ("jpeg", 101, "quality"),
        ("webp", 50.5, "quality"),
        ("webp", True, "quality"),
    ],
)
def test_bad_conversions_are_refused(encode: Encode, format: str, quality: Any, field: str) -> None:
    """Formats that are not written, and qualities that would be ignored, are named."""
    with pytest.raises(InvalidRequestError) as caught:
        Image.from_bytes(encode("png")).convert(format, quality)

    assert field == caught.value.field


@pytest.mark.parametrize(("format", "edge"), [("webp", 16_384), ("jpeg", 65_501), ("gif", 65_536)])
def test_too_long_for_the_format_is_refused(format: str, edge: int) -> None:
    """What a format cannot hold is said before encoding."""
    long = Image.from_pil(PIL.Image.new("L", (edge, 1)))

    with pytest.raises(InvalidRequestError, match=f"this image has {edge}"):
        long.convert(format)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_photographs_come_out_upright(
    encode: Encode, scene: Scene, orientation: int
) -> None:
    """EXIF rotation is applied wherever pixels are written again, because EXIF is not."""
    image = Image.from_bytes(encode("jpeg", exif=exif_turned(orientation), quality=98))
    upright = (48, 32) if orientation < 5 else (32, 48)

    assert image.size == (48, 32)
    assert upright == oriented_size(image.data, image.format)
    turned = image.convert("png")
    assert (upright, upright) == (turned.size, oriented_size(turned.data, turned.format))
    assert max(upright) // 2 == max(image.thumbnail(24).size or ())
    assert upright == Image.from_pil(pil(image)).size
    wanted = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]
    picture = scene()
    expected = picture if wanted is None else picture.transpose(PIL.Image.Transpose(wanted))
    assert difference(expected, pil(turned)) < 4


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_colour_profiles_are_kept_where_they_fit(encode: Encode, format: str) -> None:
    """A profile goes along unless it describes other colours than the pixels have."""
    colour = Image.from_bytes(encode("tiff", icc_profile=RGB_PROFILE))
    grey = Image.from_bytes(encode("tiff", mode="L", icc_profile=RGB_PROFILE))
    print_ = Image.from_bytes(encode("tiff", mode="CMYK", icc_profile=RGB_PROFILE[:16] + b"CMYK"))

    assert pil(colour.convert(format)).info["icc_profile"] == RGB_PROFILE
    assert "icc_profile" not in pil(print_.convert(format)).info
    if format != "webp":  # which Pillow turns into RGB
        assert "icc_profile" not in pil(grey.convert(format)).info


def test_grey_profile_is_kept_with_grey(encode: Encode) -> None:
    """A grey image keeps a grey profile."""
    grey = Image.from_bytes(encode("tiff", mode="L", icc_profile=GREY_PROFILE))

    assert pil(grey.convert("jpeg")).info["icc_profile"] == GREY_PROFILE


def test_comments_and_exif_do_not_travel(encode: Encode) -> None:
    """New pixels do not carry where and with what the old ones were taken."""
    for format in ("jpeg", "gif"):
        image = Image.from_bytes(encode(format, exif=exif_turned(6), comment=b"secret"))
        for target in ("jpeg", "webp"):
            made = image.convert(target, 80)
            assert not {"exif", "comment"} & pil(made).info.keys(), (format, target)
            assert b"secret" not in made.data


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_png_keeps_every_pixel(scene: Scene, mode: str) -> None:
    """The own encoder loses nothing, whatever the number of channels."""
    source = scene().convert(mode)
    written = pil(Image.from_pil(source))

    assert (mode, source.tobytes()) == (written.mode, written.tobytes())


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    wanted=st.tuples(st.integers(1, 150), st.integers(1, 150)),
)
@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "gif", "bmp"])
def test_fit_gives_exactly_the_pixels(
    encode: Encode, format: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """Whatever came, the result has exactly the size asked for and keeps the original."""
    image = Image.from_bytes(encode(format, size))

    fitted = image.fit(*wanted)

    assert wanted == fitted.size == pil(fitted).size
    if size == wanted:
        assert fitted is image
    else:
        assert image is fitted.original
        assert fitted == Image.from_bytes(fitted.data)
        assert (format if format != "bmp" else "png") == fitted.format


def test_cutting_alone_resamples_nothing(encode: Encode, scene: Scene) -> None:
    """1088 rows cut to 1080 lose four above and four below, and nothing else changes."""
    image = Image.from_bytes(encode("png", (192, 1088)))

    fitted = image.fit(192, 1080)

    expected = scene((192, 1088)).crop((0, 4, 192, 1084))
    assert expected.tobytes() == pil(fitted).tobytes()


def test_fit_keeps_the_middle(encode: Encode, scene: Scene) -> None:
    """A banner is cut from the middle of the image, without distortion."""
    fitted = Image.from_bytes(encode("png", (300, 200))).fit(150, 50)

    expected = scene((300, 200)).crop((0, 50, 300, 150)).resize((150, 50))
    assert difference(expected, pil(fitted)) < 2


def test_fit_keeps_transparency(encode: Encode) -> None:
    """A transparent image stays transparent in PNG and WebP."""
    for format in ("png", "webp"):
        fitted = Image.from_bytes(encode(format, (90, 60), "RGBA")).fit(60, 60)
        levels = pil(fitted).getchannel("A").histogram()
        assert (any(levels[:60]), any(levels[200:])) == (True, True)


def test_fit_keeps_lossless_webp_lossless(encode: Encode, scene: Scene) -> None:
    """Every pixel of a lossless WebP survives cutting; a quality asked for is respected."""
    image = Image.from_bytes(encode("webp", (90, 64), lossless=True))

    fitted = image.fit(90, 60)

    assert scene((90, 64)).crop((0, 2, 90, 62)).tobytes() == pil(fitted).tobytes()
    assert image.fit(90, 60, quality=40).nbytes < fitted.nbytes


def test_fit_quality_is_respected(encode: Encode) -> None:
    """A compression asked of the service is kept when its image is cut."""
    image = Image.from_bytes(encode("jpeg", (400, 300)))

    sizes = [image.fit(300, 300, quality=q).nbytes for q in (0, 30, 80, None, 100)]

    assert sorted(set(sizes)) == sizes


@pytest.mark.parametrize("clear", [False, True])
def test_fit_keeps_every_frame_of_a_gif(encode_gif: Encode, clear: bool) -> None:
    """Frames, durations, repetition and transparency stay."""
    gif = encode_gif(6, (60, 40), clear=clear, loop=0)

    fitted = pil(Image.from_bytes(gif).fit(40, 40))

    assert fitted.n_frames == 6  # type: ignore[attr-defined]  # a gif
    assert fitted.info["loop"] == 0
    for number in range(6):
        before = pil(gif)
        before.seek(number)
        fitted.seek(number)
        assert 100 + 10 * number == fitted.info["duration"]
        expected = before.convert("RGBA").crop((10, 0, 50, 40))
        assert (
            expected.getchannel("A").tobytes() == fitted.convert("RGBA").getchannel("A").tobytes()
        )
        assert difference(on_white(expected), on_white(fitted)) == 0


@settings(max_examples=60)
@given(
    frames=st.lists(
        st.lists(st.sampled_from(["#0000", "red", "#00f", "#fff", "#000"]), min_size=6, max_size=6),
        min_size=2,
        max_size=6,
    ),
    loop=st.sampled_from([None, 0, 3]),
)
def test_gif_frames_survive_writing(frames: list[list[str]], loop: int | None) -> None:
    """Whatever mixture of colours and holes the frames have, each one is shown as it was."""
    pictures: list[PIL.Image.Image] = []
    for number, colours in enumerate(frames):
        picture = PIL.Image.new("RGBA", (7, 1), (number * 40, 9, 9))  # no two frames are equal
        for x, colour in enumerate(colours):
            picture.putpixel((x, 0), PIL.ImageColor.getcolor(colour, "RGBA"))
        pictures.append(picture)

    gif = pil(codecs.encode_gif(pictures, [20 * (n + 1) for n in range(len(frames))], loop))

    assert (len(frames), loop) == (gif.n_frames, gif.info.get("loop"))  # type: ignore[attr-defined]  # a gif
    for number, picture in enumerate(pictures):
        gif.seek(number)
        assert 20 * (number + 1) == gif.info["duration"]
        assert on_white(picture).tobytes() == on_white(gif).tobytes()


def test_gif_that_plays_once_still_does(encode_gif: Encode) -> None:
    """No repetition is added."""
    fitted = Image.from_bytes(encode_gif(3)).fit(20, 20)

    assert "loop" not in pil(fitted).info


@pytest.mark.parametrize("format", ["png", "gif"])
def test_fit_of_a_broken_picture_is_an_error(encode: Encode, format: str) -> None:
    """An image that cannot be decoded cannot be cut."""
    broken = Image.from_bytes(encode(format)[:-150])

    with pytest.raises(ImageDecodeError):
        broken.fit(10, 10)
