"""Images for web pages: the files, the HTML that chooses among them, and the placeholder."""

from __future__ import annotations

import hashlib
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image as Pil

from gptimage import Image, ImageDecodeError, InvalidRequestError
from gptimage.image import Label, WebImage
from gptimage.image.thumbhash import drawn, thumbhash
from tests.factories import cutout, image


def pattern(width: int, height: int) -> Pil.Image:
    """An image of gradients."""
    levels = (
        (x * 9 + channel * 40 + y * (5 - channel)) % 256
        for y in range(height)
        for x in range(width)
        for channel in range(3)
    )
    return Pil.frombytes("RGB", (width, height), bytes(levels))


SIZES = [(16, 10), (32, 20), (48, 30)]


class Tags(HTMLParser):
    """The tags of some HTML with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.found.append((tag, dict(attrs)))


def shapes(found: WebImage) -> list[tuple[str, int, int]]:
    """Format, width and height of each file, as its bytes say."""
    opened = [Image.from_bytes(each.data) for each in found.files]
    return [(each.format, each.width or 0, each.height or 0) for each in opened]


def test_every_format_has_every_width() -> None:
    """No file is wider than the image, and one is as wide as it is."""
    found = image(48, 30).for_web((16, 32, 64, 128))
    wanted = [(form, *size) for form in ("avif", "webp", "jpeg") for size in SIZES]

    assert shapes(found) == wanted
    assert [(each.format, each.width, each.height) for each in found.files] == wanted
    assert (found.width, found.height, found.name) == (48, 30, f"image-{image(48, 30).sha256[:8]}")


def test_transparency_stays() -> None:
    """The last format is png then, and no placeholder shines through."""
    found = Image.from_bytes(cutout(32, 32)).for_web([16])

    assert [each.format for each in found.files] == ["avif", "webp", "png"]
    assert all("A" in Image.from_bytes(each.data).to_pil().mode for each in found.files)
    assert (found.thumbhash, found.placeholder, "style" in found.html) == (None, None, False)


def test_the_html_says_what_a_browser_needs() -> None:
    """Sources in order of preference, dimensions of the image, and text that cannot break out."""
    found = image(48, 30).for_web(
        [16, 32], alt='"><script>&', sizes="50vw", name="füchse", prefix="/a/", lazy=False
    )
    (picture, avif, webp, img) = Tags(found.html).found

    assert (picture[0], avif[0], webp[0], img[0]) == ("picture", "source", "source", "img")
    assert [avif[1]["type"], webp[1]["type"]] == ["image/avif", "image/webp"]
    assert avif[1]["srcset"] == "/a/f%C3%BCchse-16.avif 16w, /a/f%C3%BCchse-32.avif 32w"
    assert {name: img[1][name] for name in ("src", "width", "height", "alt", "sizes")} == {
        "src": "/a/f%C3%BCchse-32.jpg",
        "width": "32",
        "height": "20",
        "alt": '"><script>&',
        "sizes": "50vw",
    }
    assert (img[1]["loading"], img[1]["decoding"]) == ("eager", "async")
    assert str(img[1]["style"]).startswith("background:url(data:image/png;base64,")
    assert "<script>" not in found.html


def test_files_and_manifest_are_saved(tmp_path: Path) -> None:
    """The manifest names each file with its digest; saving again writes the same."""
    found = image(48, 30).for_web([16], name="fox", formats=["webp", "png"])
    paths = found.save(tmp_path / "new")
    manifest = json.loads(paths[-1].read_text(encoding="utf-8"))

    assert [path.name for path in paths] == ["fox-16.webp", "fox-16.png", "fox.json"]
    assert manifest == found.to_dict() == json.loads(found.to_json())
    assert [each["sha256"] for each in manifest["files"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths[:-1]
    ]
    assert found.save(tmp_path / "new") == paths


def test_a_label_goes_along_and_nothing_else() -> None:
    """A model's image says so in every file; a photograph's place and camera stay behind."""
    exif = Pil.Exif()
    exif[0x010F] = "Some Camera"
    photo = Image.from_pil(pattern(24, 16)).to_pil()
    file = io.BytesIO()
    photo.save(file, "jpeg", exif=exif)
    plain = Image.from_bytes(file.getvalue()).for_web([24])
    made = evolve(image(24, 16), made_by=Label(model="m", id="img_1")).for_web([16, 24])

    assert [b"Some Camera" in each.data for each in plain.files] == [False] * 3
    assert [Image.from_bytes(each.data).ai_label for each in plain.files] == [None] * 3
    labels = [Image.from_bytes(each.data).ai_label for each in made.files]
    assert [label and (label.model, label.id) for label in labels] == [("m", "img_1")] * 6


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"widths": []}, "widths"),
        ({"widths": [0]}, "widths"),
        ({"widths": [True]}, "widths"),
        ({"widths": ["400"]}, "widths"),
        ({"widths": None}, "widths"),
        ({"formats": None}, "formats"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"formats": []}, "formats"),
        ({"formats": ["gif"]}, "formats"),
        ({"formats": ["webp", "webp"]}, "formats"),
        ({"name": "a/b"}, "name"),
        ({"name": ".."}, "name"),
        ({"prefix": "/a b/"}, "prefix"),
        ({"prefix": None}, "prefix"),
        ({"alt": 7}, "alt"),
        ({"sizes": 100}, "sizes"),
        ({"lazy": "no"}, "lazy"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], field: str) -> None:
    """Nothing is drawn."""
    with pytest.raises(InvalidRequestError) as caught:
        image().for_web(**options)

    assert caught.value.field == field


def test_one_width_and_the_usual_name_of_jpeg_will_do() -> None:
    """A single number is one width, and control characters of a text are left out."""
    found = image(48, 30).for_web(24, formats="jpg", alt="A\x1b[2J fox\n")

    assert shapes(found) == [("jpeg", 24, 15)]
    assert found.alt == "A [2J fox"


def test_an_svg_is_refused() -> None:
    """Pages show it at any width as it is."""
    with pytest.raises(ImageDecodeError, match="svg"):
        Image.from_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>").for_web()


def test_the_images_own_text_is_used() -> None:
    """What a store knows of an image, unless another text is given."""
    known = evolve(image(), alt="A teal square")
    texts = [known.for_web([8]).alt, known.for_web([8], alt="").alt, image().for_web([8]).alt]

    assert texts == ["A teal square", "", ""]


@pytest.mark.parametrize(
    ("size", "hash", "drawn_size", "pixel"),
    [
        ((24, 16), "22e80d558a046a774779878778788787b077073d6a", (32, 23), (144, 203, 212)),
        ((16, 24), "24c70d25046078636978787887877777c2c05a0aaa", (23, 32), (85, 133, 189)),
        ((32, 5), "def711418e078877778887775077078a87", (32, 5), (185, 207, 170)),
    ],
)
def test_the_thumbhash_is_the_one_of_its_reference(
    size: tuple[int, int], hash: str, drawn_size: tuple[int, int], pixel: tuple[int, int, int]
) -> None:
    """Hashes and pixels by the PyPI package thumbhash 0.1.2, with its reset of waves mended."""
    shown = drawn(bytes.fromhex(hash))
    middle = shown.getpixel((shown.width // 2, shown.height // 3))

    assert thumbhash(pattern(*size)).hex() == hash
    assert (shown.size, middle) == (drawn_size, pixel)
