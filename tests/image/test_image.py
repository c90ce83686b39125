"""The `Image` value: where it comes from, what it knows, what it turns into."""

from __future__ import annotations

import base64
import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError, InvalidRequestError


Encode = Callable[..., bytes]


@pytest.fixture(name="png", scope="session")
def _png(encode: Encode) -> bytes:
    """A small PNG."""
    return encode("png")


def test_every_source_gives_the_same_image(png: bytes, tmp_path: Path) -> None:
    """A path, bytes, an open file, a data URL and an Image all give the same bytes."""
    path = tmp_path / "fox.png"
    path.write_bytes(png)
    sources: list[Any] = [
        str(path),
        path,
        png,
        bytearray(png),
        memoryview(png),
        io.BytesIO(png),
        f"data:image/png;base64,{base64.b64encode(png).decode()}",
        f"data:image/png;base64,{quote(base64.b64encode(png))}",
        f"data:,{quote(png)}",
        Image.from_bytes(png),
    ]

    assert {png} == {Image.open(source).data for source in sources}


def test_open_file_is_read_from_its_position(png: bytes) -> None:
    """What was read before is not read again."""
    file = io.BytesIO(b"head" + png)
    file.seek(4)

    assert png == Image.open(file).data


def test_bytes_are_never_copied(png: bytes) -> None:
    """A reply of tens of megabytes stays in memory once."""
    assert Image.from_bytes(png).data is png


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("https://user:secret@example.com/fox.png?key=secret", "source"),
        ("HTTP://example.com", "source"),
        ("fox\0.png", "source"),
        (io.StringIO("text"), "file"),
        (42, "source"),
        (None, "source"),
        ([1, 2], "source"),
    ],
)
def test_what_is_no_source_is_refused(source: Any, field: str) -> None:
    """Web addresses, text files and other objects get a sentence that says what to pass."""
    with pytest.raises(InvalidRequestError) as caught:
        Image.open(source)

    assert field == caught.value.field
    assert "secret" not in f"{caught.value} {caught.value.value}"


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,%%%", "data:image/png;base64", "data:,", "data:;base64,é"]
)
def test_broken_data_urls_are_refused(url: str) -> None:
    """A data URL that holds no image is ImageDecodeError."""
    with pytest.raises(ImageDecodeError):
        Image.open(url)


def test_missing_file_is_the_usual_error(tmp_path: Path) -> None:
    """A path that does not exist raises what ``open`` raises."""
    with pytest.raises(FileNotFoundError):
        Image.open(tmp_path / "none.png")


def test_facts_of_an_image(png: bytes) -> None:
    """Size, hash, MIME type and the rest come from the bytes."""
    image = Image.from_bytes(png)

    assert (image.size, image.width, image.height) == ((48, 32), 48, 32)
    assert ("image/png", "png", len(png)) == (image.mime_type, image.extension, image.nbytes)
    assert hashlib.sha256(png).hexdigest() == image.sha256
    assert png == base64.b64decode(image.data_url.removeprefix("data:image/png;base64,"))
    assert image.original is None


def test_repr_is_short(png: bytes) -> None:
    """Megabytes do not end up in logs."""
    assert repr(Image.from_bytes(png)) == "Image(format='png', width=48, height=32)"


def test_equal_bytes_are_equal_images(png: bytes, encode: Encode) -> None:
    """Images compare and hash by their bytes, and survive pickling."""
    image = Image.from_bytes(png)
    assert image.sha256  # computed once, and not part of the pickle

    assert image == pickle.loads(pickle.dumps(image)) == Image.from_bytes(bytearray(png))
    assert len({image, Image.from_bytes(bytearray(png))}) == 1
    assert image != Image.from_bytes(encode("jpeg"))


def test_mime_type_and_extension_of_every_format(samples: Mapping[str, bytes]) -> None:
    """Every format has a MIME type and an extension of its own."""
    kinds = {(i.format, i.mime_type, i.extension) for i in map(Image.from_bytes, samples.values())}

    assert 11 == len(kinds) == len({kind[1] for kind in kinds}) == len({kind[2] for kind in kinds})


@given(st.binary(max_size=2000))
def test_data_url_round_trip(tail: bytes) -> None:
    """Whatever follows the header, a data URL gives the same bytes back."""
    image = Image.from_bytes(b"GIF89a\1\0\1\0\0\0\0" + tail)

    assert image == Image.open(image.data_url)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr",
                                  "HSV", "I", "F", "I;16", "La", "RGBa"])  # fmt: skip
def test_every_kind_of_pil_image_is_taken(mode: str) -> None:
    """Whatever its pixel layout, a PIL image becomes a PNG of its size."""
    image = Image.from_pil(PIL.Image.new(mode, (7, 5)))

    image.verify()
    assert (image.format, image.size) == ("png", (7, 5))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pil_round_trip_keeps_every_pixel(scene: Callable[..., PIL.Image.Image], mode: str) -> None:
    """From PIL to Image and back nothing changes."""
    picture = scene((50, 40), mode)

    back = Image.from_pil(picture).to_pil()

    assert picture.tobytes() == back.convert(mode).tobytes()  # type: ignore[attr-defined]  # a PIL image


def test_grey_of_sixteen_bits_keeps_its_tones() -> None:
    """Sixteen bits are scaled to eight, not clipped to white."""
    grey = PIL.Image.new("I;16", (2, 2), 32_896)

    assert Image.from_pil(grey).to_pil().convert("L").getextrema() == (128, 128)  # type: ignore[attr-defined]  # a PIL image


def test_pil_image_itself_is_untouched(encode: Encode) -> None:
    """Taking a PIL image changes nothing about it."""
    picture = PIL.Image.open(io.BytesIO(encode("jpeg", dpi=(72, 72))))
    before = dict(picture.info)

    Image.from_pil(picture)

    assert before == picture.info


def test_broken_pil_image_is_an_error(encode: Encode) -> None:
    """Pillow reads files lazily; one that breaks while it is read is ImageDecodeError."""
    picture = PIL.Image.open(io.BytesIO(encode("png")[:-200]))

    with pytest.raises(ImageDecodeError):
        Image.from_pil(picture)


def test_empty_pil_image_is_an_error() -> None:
    """A PIL image may have no pixels; an image may not."""
    with pytest.raises(ImageDecodeError, match="no pixels"):
        Image.from_pil(PIL.Image.new("RGB", (0, 5)))


def test_animation_can_be_walked_in_pil(encode_gif: Encode) -> None:
    """`to_pil` gives what ``PIL.Image.open`` would, with all frames."""
    picture: Any = Image.from_bytes(encode_gif(4)).to_pil()

    assert picture.n_frames == 4


def test_whole_pictures_pass_verification(samples: Mapping[str, bytes]) -> None:
    """A file that is all there is fine."""
    for data in samples.values():
        Image.from_bytes(data).verify()


def test_cut_pictures_fail_verification(samples: Mapping[str, bytes]) -> None:
    """Cut short anywhere in its pixels, a file is refused by `verify`."""
    for data in samples.values():
        for share in (0.3, 0.6, 0.9):
            with pytest.raises(ImageDecodeError):
                Image.from_bytes(data[: int(len(data) * share)]).verify()


def test_png_without_its_end_fails_verification(encode: Encode) -> None:
    """All pixels are there, but the last chunk is not: the file was cut."""
    with pytest.raises(ImageDecodeError):
        Image.from_bytes(encode("png")[:-12]).verify()


def test_damaged_png_fails_verification(encode: Encode) -> None:
    """Any flipped bit is found by a checksum, in the pixels and elsewhere."""
    data = encode("png", (16, 8))
    for at in range(8, len(data) - 12):  # the rest is the end marker, which holds nothing
        with pytest.raises(ImageDecodeError):
            Image.from_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]).verify()
