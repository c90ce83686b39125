"""Writing an image to a file."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import ConfigurationError, Image, ImageDecodeError, InvalidRequestError
from tests.factories import image


@pytest.fixture(scope="module")
def jpeg(encode: Callable[..., bytes]) -> Image:
    """A JPEG."""
    return Image.from_bytes(encode("jpeg"))


@pytest.fixture(scope="module")
def png(encode: Callable[..., bytes]) -> Image:
    """A PNG."""
    return Image.from_bytes(encode("png"))


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("fox.jpg", "fox.jpg"),
        ("fox.jpeg", "fox.jpeg"),
        ("fox.JPG", "fox.JPG"),
        ("fox.png", "fox.jpg"),
        ("fox.WebP", "fox.jpg"),
        ("fox", "fox.jpg"),
        ("fox v1.2", "fox v1.2.jpg"),
        ("fox.tar.png", "fox.tar.jpg"),
        ("a/b/fox.png", "a/b/fox.jpg"),
        (".png", ".png.jpg"),
    ],
)
def test_extension_follows_the_bytes(jpeg: Image, tmp_path: Path, asked: str, written: str) -> None:
    """A JPEG is written as a JPEG whatever it is called, and the path says so."""
    path = jpeg.save(tmp_path / asked)

    assert (tmp_path / written, jpeg.data) == (path, path.read_bytes())


def test_text_paths_are_taken(jpeg: Image, tmp_path: Path) -> None:
    """A path may be a str."""
    assert tmp_path / "fox.jpg" == jpeg.save(f"{tmp_path}/fox.jpg")


def test_a_path_where_an_open_file_belongs_is_told_what_takes_it() -> None:
    """``Image.from_file("fox.png")`` names the two that take a path."""
    with pytest.raises(InvalidRequestError, match=r"Image\.open and Image\.from_path"):
        Image.from_file("fox.png")  # type: ignore[arg-type]  # what callers without types write


def test_a_folder_gets_a_name_made_of_the_hash(jpeg: Image, tmp_path: Path) -> None:
    """Saving into a folder, existing or named with a slash, picks the same name each time."""
    name = f"image-{jpeg.sha256[:8]}.jpg"

    written = {jpeg.save(tmp_path), jpeg.save(tmp_path), jpeg.save(f"{tmp_path}/new/")}

    assert {tmp_path / name, tmp_path / "new" / name} == written


def test_named_file_is_replaced(jpeg: Image, png: Image, tmp_path: Path) -> None:
    """As in Pillow, a file of the name given is replaced."""
    path = png.save(tmp_path / "fox.jpg")
    assert tmp_path / "fox.png" == path

    (tmp_path / "fox.jpg").write_bytes(b"old")
    jpeg.save(tmp_path / "fox.jpg")
    jpeg.save(tmp_path / "fox")

    assert jpeg.data == (tmp_path / "fox.jpg").read_bytes()
    assert names(tmp_path) == ["fox.jpg", "fox.png"]


def test_a_file_not_named_is_never_replaced(jpeg: Image, tmp_path: Path) -> None:
    """Asked for fox.png and having to write fox.jpg, the user's own fox.jpg stays."""
    (tmp_path / "fox.jpg").write_bytes(b"the only photo of my grandmother")

    written = [jpeg.save(tmp_path / "fox.png").name for _ in range(3)]

    assert written == ["fox-2.jpg", "fox-3.jpg", "fox-4.jpg"]
    assert (tmp_path / "fox.jpg").read_bytes() == b"the only photo of my grandmother"


def test_overwrite_can_be_refused(jpeg: Image, tmp_path: Path) -> None:
    """With overwrite=False an existing file raises and stays."""
    path = jpeg.save(tmp_path / "fox.jpg", overwrite=False)
    path.write_bytes(b"precious")

    with pytest.raises(FileExistsError):
        jpeg.save(tmp_path / "fox.jpg", overwrite=False)

    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["fox.jpg"]


def test_only_one_of_many_savers_gets_a_name(jpeg: Image, tmp_path: Path) -> None:
    """With overwrite=False, threads that save the same name at once do not lose an image."""
    outcomes: list[str] = []

    def save() -> None:
        try:
            jpeg.save(tmp_path / "fox.jpg", overwrite=False)
        except FileExistsError:
            outcomes.append("refused")
        else:
            outcomes.append("saved")

    threads = [threading.Thread(target=save) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["refused"] * 11 + ["saved"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_nothing_is_left_when_the_disk_is_full(
    jpeg: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """A write that fails leaves the old file, no half file, and the image in memory."""
    path = tmp_path / "fox.jpg"
    if overwrite:
        path.write_bytes(b"old")
    before = names(tmp_path)

    write, left = os.write, [10]

    def full(handle: int, data: memoryview) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: left.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        jpeg.save(path, overwrite=overwrite)

    assert before == names(tmp_path)
    assert not overwrite or path.read_bytes() == b"old"


def test_a_file_in_the_way_of_a_folder_is_an_os_error(jpeg: Image, tmp_path: Path) -> None:
    """Where no folder can be made the operating system's error comes through."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OSError):  # noqa: PT011  # its kind differs between systems
        jpeg.save(tmp_path / "file" / "fox.jpg")


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for a privilege to make links")
def test_symbolic_links_are_written_through(jpeg: Image, tmp_path: Path) -> None:
    """A link stays a link; the file it points to is replaced."""
    real, link = tmp_path / "real.jpg", tmp_path / "link.jpg"
    real.write_bytes(b"old")
    link.symlink_to(real)

    jpeg.save(link)

    assert (True, jpeg.data) == (link.is_symlink(), real.read_bytes())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
def test_permissions_follow_the_umask(jpeg: Image, tmp_path: Path) -> None:
    """A web server of another user can read what was saved, unless the umask says no."""
    old = os.umask(0o027)
    try:
        path = jpeg.save(tmp_path / "fox.jpg")
    finally:
        os.umask(old)

    assert path.stat().st_mode & 0o777 == 0o640


@given(name=st.text("abcXY .-_0é", min_size=1, max_size=20).filter(lambda n: n.strip(". ")))
def test_whatever_the_name_the_bytes_come_back(
    jpeg: Image, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """Any usable name gives a file with the right extension that opens as the same image."""
    path = jpeg.save(tmp_path_factory.mktemp("any") / name)

    assert (".jpg", jpeg) == (path.suffix, Image.open(path))


@pytest.mark.parametrize("read", [Image.from_path, Image.open, lambda path: Image.open(str(path))])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, read: Callable[[Path], Image]) -> None:
    """Of several files, one has to know which; bytes and URLs have no name to say."""
    (tmp_path / "notes.png").write_text("hello")

    with pytest.raises(ImageDecodeError, match=r"notes\.png: this image cannot be decoded"):
        read(tmp_path / "notes.png")
    for source in (b"hello", "data:,hello"):
        with pytest.raises(ImageDecodeError, match=r"^this image cannot be decoded"):
            Image.open(source)


def test_a_file_is_not_replaced_for_a_word(tmp_path: Path) -> None:
    """overwrite="no" is refused: as every text, it would be true."""
    path = image(8, 8).save(tmp_path / "fox.png")
    wrong: Any = "no"
    with pytest.raises(ConfigurationError, match=r"^overwrite="):
        image(16, 16).save(path, overwrite=wrong)

    assert Image.open(path).size == (8, 8)
