"""Input images: every way to pass one, and everything that must never be uploaded."""

from __future__ import annotations

import base64
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import PIL.Image
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import gptimage.types.inputs
from gptimage.errors import FetchError, ImageDecodeError, InvalidRequestError
from gptimage.image.codecs import oriented_size
from gptimage.image.image import Image
from gptimage.types.inputs import resolve, resolve_all
from gptimage.types.request import FileRef
from tests.factories import noise


def encoded(format: str, size: tuple[int, int] = (24, 16), **options: Any) -> bytes:
    """A small image in a format."""
    file = io.BytesIO()
    noise(*size).save(file, format, **options)
    return file.getvalue()


PNG = encoded("png")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n" * 20


class Web:
    """Stands in for `Fetch`: a few pages, and a list of what was asked."""

    def __init__(self, **pages: bytes) -> None:
        self.pages = pages
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        """Answer as `Fetch` does."""
        self.asked.append(url)
        name = url.partition("?")[0].rpartition("/")[2]
        if name not in self.pages:
            raise FetchError("gone", url="https://example.com/gone")
        return self.pages[name]


offline = Web()


def image_of(source: Any, **options: Any) -> Image:
    """The image a source resolves to."""
    found = resolve(source, field="images", fetch=offline, **options)
    assert isinstance(found, Image)
    return found


def refusal(source: Any, **options: Any) -> InvalidRequestError:
    """The error a source ends in: of our field, on one line, without secrets."""
    with pytest.raises(InvalidRequestError) as caught:
        resolve(source, field="images[3]", fetch=offline, **options)
    error = caught.value
    assert error.field == "images[3]"
    assert str(error).startswith("images[3]: ")
    assert str(error).isprintable()
    assert len(str(error)) < 400
    assert error.allowed
    assert "OPENSSH" not in f"{error} {error.value}"
    return error


SOURCES: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: PNG,
    "bytearray": lambda _: bytearray(PNG),
    "memoryview": lambda _: memoryview(PNG),
    "memoryview of words": lambda _: memoryview(PNG + b"\0" * (-len(PNG) % 4)).cast("I"),
    "path": lambda path: path,
    "text path": str,
    "BytesIO": lambda _: io.BytesIO(PNG),
    "unbuffered": lambda path: path.open("rb", buffering=0),
    "Image": lambda _: Image.from_bytes(PNG),
    "base64 data URL": lambda _: "data:image/png;base64," + base64.b64encode(PNG).decode(),
    "shouted data URL": lambda _: "DATA:;BASE64," + base64.b64encode(PNG).decode(),
    "percent data URL": lambda _: "data:image/png," + quote_from_bytes(PNG),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source(kind: str, tmp_path: Path) -> None:
    """However an image is passed, its bytes arrive unchanged."""
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    source = SOURCES[kind](path)
    image = image_of(source)
    if hasattr(source, "close"):
        source.close()

    assert image.data.startswith(PNG)
    assert image.format == "png"


def test_pil_image() -> None:
    """A PIL image becomes a PNG with the same pixels."""
    picture = noise(24, 16)
    image = image_of(picture)

    assert image.format == "png"
    assert PIL.Image.open(io.BytesIO(image.data)).tobytes() == picture.tobytes()


def test_image_is_passed_on_itself() -> None:
    """An `Image` is not copied, so its original stays with it."""
    image = Image.from_bytes(PNG)

    assert image_of(image) is image


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may start with ``~``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "fox.png").write_bytes(PNG)

    assert image_of("~/fox.png").data == PNG


def test_file_objects_are_read_from_where_they_stand() -> None:
    """What was read already is not read again."""
    file = io.BytesIO(b"junk" + PNG)
    file.seek(4)

    assert image_of(file).data == PNG


@pytest.mark.parametrize("url", ["https://example.com/fox.png?sig=1", "HTTP://example.com/fox.png"])
def test_urls_are_fetched(url: str) -> None:
    """Web addresses go through `fetch`, as they are."""
    web = Web(**{"fox.png": PNG})
    found = resolve(url, field="images", fetch=web)

    assert isinstance(found, Image)
    assert found.data == PNG
    assert web.asked == [url]


def test_failed_downloads_stay_what_they_are() -> None:
    """A `FetchError` is not dressed up as something else."""
    with pytest.raises(FetchError):
        resolve("https://example.com/gone.png", field="images", fetch=Web())


def test_a_page_is_no_picture() -> None:
    """A downloaded page is refused, and the URL's signature stays out of the error."""
    web = Web(page=b"<!doctype html><html>")
    with pytest.raises(InvalidRequestError) as caught:
        resolve("https://me@example.com/page?sig=secret", field="images", fetch=web)

    assert caught.value.value == "'https://example.com/page'"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["file-abcDEF12", "file-0123456789_-", "file-" + "a" * 200])
def test_file_ids(text: str) -> None:
    """An id of an uploaded file becomes a `FileRef`, and so does a `FileRef`."""
    assert resolve(text, field="images", fetch=offline) == FileRef(text)
    assert resolve(FileRef(text), field="images", fetch=offline) == FileRef(text)


@pytest.mark.parametrize(
    "text", ["file-abcdef1", "file-abcdef12.png", "file-abcdef12/..", "FILE-abcdef12"]
)
def test_what_only_looks_like_an_id(text: str) -> None:
    """Anything that is not quite an id is a path."""
    assert "does not exist" in str(refusal(text))


def test_a_file_wins_over_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has the name of an id is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file-abcdef12").write_bytes(PNG)

    assert image_of("file-abcdef12").data == PNG


@pytest.mark.parametrize(
    "source",
    [
        "",
        ".",
        "no/such/fox.png",
        "fox\0.png",
        "fox\n.png",
        "\ud800.png",
        "~nobody-has-this-name/fox.png",
        "a" * 5000,
        base64.b64encode(PNG[:100]).decode() * 10,  # with its "=" in the middle, too
        Path("no/such/fox.png"),
        Path("a" * 5000),
        "file:///etc/passwd",
        "s3://bucket/fox.png",
        "ftp://example.com/fox.png",
        "data:image/png;base64",
        "data:image/png;base64,%%%%",
        "data:image/png;base64,AAAA",
        "data:image/png,",
        "data:text/html,<html>",
        b"",
        bytearray(),
        pytest.param(memoryview(b""), id="an empty view"),
        pytest.param(io.BytesIO(), id="an empty file"),
        pytest.param(io.BytesIO(KEY), id="a file that is a key"),
        pytest.param(io.StringIO("text"), id="a text file"),
        KEY,
        b"\x00" * 1000,
        b"<html>",
        b"{}",
        None,
        7,
        pytest.param(object(), id="an object"),
        {"path": "fox.png"},
        range(3),
    ],
    ids=lambda source: repr(source)[:40],
)
def test_refused(source: Any) -> None:
    """What is no image is refused with the field, the value and what is allowed."""
    assert refusal(source).value


def test_base64_is_no_path() -> None:
    """Bare base64, easily passed by mistake, is told where it belongs."""
    assert "data: URL" in str(refusal(base64.b64encode(bytes(6000)).decode()))


def test_bytes_are_counted_not_shown() -> None:
    """Errors name bytes by their number, whatever the view of them."""
    assert refusal(memoryview(KEY[:80]).cast("I")).value == "<80 bytes>"


def test_closed_file() -> None:
    """A file that was closed is no crash."""
    file = io.BytesIO(PNG)
    file.close()

    assert "closed" in str(refusal(file))


class Endless(io.RawIOBase):
    """A file that never ends."""

    def __init__(self, chunk: object) -> None:
        self.chunk = chunk

    def read(self, _size: int = -1, /) -> Any:
        """Always give the same."""
        return self.chunk


def test_endless_file() -> None:
    """Reading stops at 250 MB."""
    assert "250,000,000 bytes" in str(refusal(Endless(bytes(1 << 20))))


@pytest.mark.parametrize("chunk", [None, "text", 7])
def test_files_that_give_no_bytes(chunk: object) -> None:
    """A file in text mode, or one that has nothing to say yet, is refused."""
    assert "binary mode" in str(refusal(Endless(chunk)))


def test_a_read_that_fails() -> None:
    """An error of the disk is an error of the argument."""

    class Broken(io.RawIOBase):
        def read(self, _size: int = -1, /) -> Any:
            raise OSError(5, "Input/output error")

    assert "Input/output error" in str(refusal(Broken()))


def test_private_files_are_not_uploaded(tmp_path: Path) -> None:
    """A key named as an image is refused, whatever its name, and quoted nowhere."""
    for name in ("id_rsa", "id_rsa.png"):
        (tmp_path / name).write_bytes(KEY)
        error = refusal(tmp_path / name)

        assert isinstance(error.__cause__, ImageDecodeError)
        assert name in str(error)


def test_a_long_path_is_named_by_its_end(tmp_path: Path) -> None:
    """However deep a file lies, the error says its name."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    (deep / "id_rsa.png").write_bytes(KEY)

    assert "d/id_rsa.png' is no image" in str(refusal(deep / "id_rsa.png"))


def test_a_header_is_not_enough(tmp_path: Path) -> None:
    """A secret behind the start of an image is refused: every pixel is decoded."""
    path = tmp_path / "fox.png"
    for start in (33, len(PNG) // 2):
        path.write_bytes(PNG[:start] + KEY)

        assert isinstance(refusal(path).__cause__, ImageDecodeError)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_cut_short(format: str) -> None:
    """An image that lacks its end is refused."""
    whole = encoded(format)

    assert image_of(whole).data == whole
    for part in (1, len(whole) // 3, len(whole) * 3 // 4):
        assert isinstance(refusal(whole[:part]).__cause__, ImageDecodeError)


def test_bomb() -> None:
    """An image of absurd size is refused by its header."""
    header = b"IHDR" + (60_000).to_bytes(4) * 2 + b"\x08\x06\0\0\0"
    bomb = PNG[:8] + b"\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4) + PNG[33:]

    assert isinstance(refusal(bomb).__cause__, ImageDecodeError)


@pytest.mark.parametrize("format", ["gif", "bmp", "tiff", "avif"])
def test_other_formats_are_converted(format: str) -> None:
    """A real image the service does not take is sent as png, and kept as it was for a mask."""
    data = encoded(format)
    sent = image_of(data)

    assert sent.format == "png"
    assert sent.original is not None
    assert sent.original.data == data
    assert image_of(data, formats=None).format == format


def test_a_converted_input_is_told() -> None:
    """The caller learns that another file was sent than the one given."""
    with gptimage.ImageClient.sandbox() as client:
        results = [client.edit("Night", [encoded(name)], quality="low") for name in ("gif", "bmp")]

    kind = "which the service does not take"
    assert [result.warnings[0] for result in results] == [
        f"input image 1 is a gif, {kind}: the first frame of it was sent as png",
        f"input image 1 is a bmp, {kind}: it was sent as png",
    ]


def test_a_photo_of_several_images_is_sent_as_one() -> None:
    """Phones put a second image behind a JPEG (MPO), which services refuse."""
    file = io.BytesIO()
    frame = PIL.Image.new("RGB", (24, 16), "teal")
    frame.save(file, "MPO", save_all=True, append_images=[frame.copy()])
    with gptimage.ImageClient.sandbox() as client:
        result = client.edit("Night", [file.getvalue()], quality="low")

    assert result.warnings[0] == "input image 1 is a file of several images: the first was sent"


def rotated(entry: tuple[int, int, int, bytes] | None) -> bytes:
    """A JPEG of 60x40 whose EXIF turns it, with one more entry; EXIF that is no TIFF for None."""
    plain = io.BytesIO()
    PIL.Image.new("RGB", (60, 40), "teal").save(plain, "jpeg")
    body = b"no TIFF at all"
    if entry is not None:
        tag, kind, count, value = entry
        first = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
        second = struct.pack("<HHII", tag, kind, count, 8 + 2 + 24 + 4)
        body = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + first + second + bytes(4) + value
    exif = b"Exif\0\0" + body
    data = plain.getvalue()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        ((0x011A, 10, 1, struct.pack("<ii", -1, 0)), (40, 60)),
        ((0x011A, 5, 1, struct.pack("<II", 1, 0)), (40, 60)),
        ((0x011A, 2, 6, b"72 dpi"), (40, 60)),
        ((0x8769, 4, 1, struct.pack("<I", 0xFFFFFFF0)), (40, 60)),
        ((0x9999, 77, 9, b"unknown"), (40, 60)),
        (None, (60, 40)),
    ],
)
def test_exif_never_refuses_a_photograph(
    entry: tuple[int, int, int, bytes] | None, size: tuple[int, int]
) -> None:
    """Only the orientation is read, here and in the sandbox, whatever else is written there."""
    photo = rotated(entry)
    image = image_of(photo)

    assert image.data == photo
    assert image.thumbnail(60).convert("png").size in (size, (60, 40))
    assert image.convert("png").size == size
    assert oriented_size(image.data, image.format) == size
    with gptimage.ImageClient.sandbox() as client:
        assert client.edit("Night", [photo], quality="low").image.format == "png"


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iCCP"])
def test_texts_and_profiles_never_refuse_a_png(kind: str) -> None:
    """However large they are, and whether they stand before or after the pixels."""
    large = bytes(3 << 20)
    content = {
        "tEXt": b"workflow\0" + large,
        "zTXt": b"workflow\0\0" + zlib.compress(large),
        "iTXt": b"workflow\0\x01\0\0\0" + zlib.compress(large),
        "iCCP": b"profile\0\0" + zlib.compress(large),
    }[kind]
    name = kind.encode()
    chunk = len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)
    for at in (33, len(PNG) - 12):
        data = PNG[:at] + chunk + PNG[at:]
        image = image_of(data)

        assert image.data == data
        assert image.convert("jpeg").size == image.size == image.to_pil().size
        with gptimage.ImageClient.sandbox() as client:
            assert client.edit("Night", [data], quality="low").image.format == "png"


BOMBS = f"""
import io, struct, sys
import PIL.Image
from gptimage import Image, ImageDecodeError
from gptimage.types.inputs import resolve

limit = {1_200_000_000}
import resource
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
file = io.BytesIO()
PIL.Image.new("RGB", (8, 8)).save(file, "webp", lossless=True)
webp = bytearray(file.getvalue())
edge = 13_000 - 1
webp[21:25] = struct.pack("<I", edge | edge << 14)
file = io.BytesIO()
frames = [PIL.Image.new("RGB", (8, 8), (i * 7 % 255, i * 13 % 255, 9)) for i in range(20)]
frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
gif = bytearray(file.getvalue())
gif[6:10] = struct.pack("<HH", 3000, 2900)
for work in (
    lambda: resolve(bytes(webp), field="images", fetch=print),
    lambda: Image.from_bytes(gif).shrink(300),
    lambda: Image.from_bytes(gif).convert("gif", None).thumbnail(10_000).verify(),
):
    try:
        work()
    except Exception as error:
        print("512 MB" in str(error) or error, type(error).__name__)
    else:
        print("worked")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process")
def test_bombs_are_refused_before_they_are_decoded() -> None:
    """A process that may not take much memory refuses them by name, not by running out of it."""
    code = [sys.executable, "-W", "error", "-c", BOMBS]
    told = subprocess.run(code, check=True, capture_output=True, text=True)

    assert told.stdout.splitlines() == [
        "True InvalidRequestError",
        "True ImageDecodeError",
        "worked",
    ]


def test_the_limit_of_memory_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger and smaller ones are decoded as the environment variable says; nonsense is named."""
    header = Image.from_bytes(encoded("webp", (800, 800)))
    monkeypatch.setenv("GPTIMAGE_MAX_DECODED_MB", "10")
    with pytest.raises(ImageDecodeError, match="GPTIMAGE_MAX_DECODED_MB"):
        header.convert("png")
    monkeypatch.setenv("GPTIMAGE_MAX_DECODED_MB", "11")
    assert header.convert("png").size == (800, 800)
    for wrong in ("", "0", "-1", "much", "1e3"):
        monkeypatch.setenv("GPTIMAGE_MAX_DECODED_MB", wrong)
        with pytest.raises(gptimage.ConfigurationError, match="GPTIMAGE_MAX_DECODED_MB"):
            header.convert("png")


def test_formats_of_the_caller() -> None:
    """A caller may take less: markup must be a png."""
    assert image_of(PNG, formats=("png",)).data == PNG
    assert refusal(encoded("jpeg"), formats=("png",)).allowed == ("png",)


@pytest.mark.parametrize("formats", [None, ("png", "svg")])
def test_svg_is_no_mask_and_no_markup(formats: tuple[str, ...] | None) -> None:
    """Its pixels would have to be those of an image."""
    assert "is an svg: save it as png first" in str(refusal(SVG, formats=formats))


def test_svg_is_sent_as_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """A still of it, which knows what it is of; without what draws one, the extra is named."""
    found = image_of(SVG)

    assert found.format == "png"
    assert found.original is not None
    assert (found.original.format, found.original.size) == ("svg", (8, 8))
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert "gptimage[svg]" in str(refusal(SVG))


def test_50_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte less than the limit goes out untouched; from there on it is made smaller."""
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    for source in (PNG, path, Image.from_bytes(PNG)):
        monkeypatch.setattr(gptimage.types.inputs, "MAX_BYTES", len(PNG) + 1)
        assert image_of(source).data == PNG
        monkeypatch.setattr(gptimage.types.inputs, "MAX_BYTES", len(PNG))
        smaller = image_of(source)
        assert smaller.nbytes < len(PNG)
        assert smaller.original == Image.from_bytes(PNG)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    """A named pipe nobody writes to, or a device without end, does not hang."""
    os.mkfifo(tmp_path / "pipe.png")

    for path in (tmp_path / "pipe.png", Path(os.devnull), Path("/dev/zero"), tmp_path):
        assert "not a file" in str(refusal(path))


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links(tmp_path: Path) -> None:
    """A link to an image is an image; a link to itself is refused."""
    (tmp_path / "fox.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("fox.png")
    (tmp_path / "loop.png").symlink_to("loop.png")

    assert image_of(tmp_path / "link.png").data == PNG
    refusal(tmp_path / "loop.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_unreadable_file(tmp_path: Path) -> None:
    """A file one may not read is refused with the reason."""
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    path.chmod(0)

    assert "Permission denied" in str(refusal(path))


def test_one_or_several() -> None:
    """One image, a list or a tuple, in order, up to 16."""
    jpeg = encoded("jpeg")
    one = resolve_all(PNG, fetch=offline)
    two = resolve_all((PNG, jpeg), fetch=offline)
    many = resolve_all([PNG] * 15 + ["file-abcdef12"], fetch=offline)

    assert one == (Image.from_bytes(PNG),)
    assert two == (Image.from_bytes(PNG), Image.from_bytes(jpeg))
    assert len(many) == 16
    assert many[-1] == FileRef("file-abcdef12")


@pytest.mark.parametrize("count", [0, 17])
def test_none_or_too_many(count: int) -> None:
    """No images, or more than 16, are refused before any is read."""
    web = Web()
    with pytest.raises(InvalidRequestError) as caught:
        resolve_all(["https://example.com/fox.png"] * count, fetch=web)

    assert caught.value.field == "images"
    assert caught.value.value == count
    assert caught.value.allowed == "1 to 16"
    assert web.asked == []


def test_which_one_is_wrong() -> None:
    """The error says which image of a list it is about."""
    with pytest.raises(InvalidRequestError) as caught:
        resolve_all([PNG, KEY], fetch=offline)

    assert caught.value.field == "images[1]"


@given(st.binary(max_size=200), st.sampled_from([b"", PNG[:33], PNG[:50], encoded("jpeg")[:300]]))
def test_hostile_bytes(tail: bytes, head: bytes) -> None:
    """Random bytes, also behind the start of a real image, are refused, never a crash."""
    refusal(head + tail)


@given(st.integers(0, len(PNG) - 13), st.integers(1, 255))
def test_one_wrong_byte(position: int, change: int) -> None:
    """A damaged PNG is refused wherever the damage is, but for the mark at its end."""
    damaged = bytearray(PNG)
    damaged[position] ^= change

    refusal(damaged)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.text().map("data:".__add__) | st.text().map("~".__add__))
def test_any_text(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any text that names no image is refused, never a crash."""
    assume(not text.lower().startswith("http"))
    monkeypatch.chdir(tmp_path)

    refusal(text)
