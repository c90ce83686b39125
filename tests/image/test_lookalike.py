"""A file is found under a name that looks the same: normal form and kind of space do not count."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from gptimage import Image
from gptimage.errors import InvalidRequestError
from gptimage.image.allowed_folders import Folders
from gptimage.image.download import Fetch
from gptimage.image.lookalike import lookalike
from gptimage.types.inputs import resolve


NAMES = [
    ("Screenshot 2026-05-12 at 4.42.48\u202fPM.png", "Screenshot 2026-05-12 at 4.42.48 PM.png"),
    ("a\u00a0b.png", "a b.png"),
    ("a b.png", "a\u00a0b.png"),
    (unicodedata.normalize("NFD", "café.png"), "café.png"),
    ("café.png", unicodedata.normalize("NFD", "café.png")),
    (unicodedata.normalize("NFD", "Größe/Übersicht\u3000neu.png"), "Größe/Übersicht neu.png"),
]
IDS = ["U+202F", "U+00A0", "asked with U+00A0", "NFD on disk", "asked in NFD", "folders too"]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def put(folder: Path, name: str) -> Path:
    """A small image under a name, as the file system keeps it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)
    return path


@pytest.mark.parametrize(("there", "asked"), NAMES, ids=IDS)
def test_a_file_that_looks_the_same_is_read(tmp_path: Path, there: str, asked: str) -> None:
    """Through every door that takes a path."""
    put(tmp_path, there)

    assert Image.open(tmp_path / asked).data == PNG
    found = resolve(str(tmp_path / asked), field="images", fetch=Fetch())
    assert found == Image.from_bytes(PNG)
    assert Folders(tmp_path).read(asked) == PNG
    assert Folders(tmp_path).read(tmp_path / asked) == PNG


def test_the_very_name_comes_first(tmp_path: Path) -> None:
    """Where both are there, the one that was named is the one."""
    put(tmp_path, "a\u202fb.png")
    exact = put(tmp_path, "a b.png")

    assert lookalike(exact) == exact


def test_two_that_look_the_same_are_left_to_people(tmp_path: Path) -> None:
    """Nothing is guessed where a guess could upload the wrong image."""
    put(tmp_path, "a\u202fb.png")
    put(tmp_path, "a\u00a0b.png")

    with pytest.raises(InvalidRequestError, match="no such file"):
        Folders(tmp_path).read("a b.png")


def test_other_letters_are_other_files(tmp_path: Path) -> None:
    """Case, width and accents count: these names do not look the same."""
    for name in ("A.png", "\uff41.png", "á.png"):
        put(tmp_path, name)

    with pytest.raises(InvalidRequestError):
        Folders(tmp_path).read("a.png")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_lookalike_that_leads_outside_is_refused(tmp_path: Path) -> None:
    """The name is found, and then judged like any other."""
    put(tmp_path, "secret.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\u202fb.png").symlink_to(tmp_path / "secret.png")

    with pytest.raises(InvalidRequestError):
        Folders(tmp_path / "in").read("a b.png")
