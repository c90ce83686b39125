"""Folders: what is inside is read and written, and nothing else, whatever a path looks like."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from gptimage.errors import InvalidRequestError
from gptimage.image import allowed_folders
from gptimage.image.allowed_folders import Folders
from gptimage.image.image import Image


SECRET = b"ssh-secret"


def picture(form: str = "png", color: str = "teal") -> Image:
    """A small image."""
    file = io.BytesIO()
    Pil.new("RGB", (8, 8), color).save(file, form)
    return Image.from_bytes(file.getvalue())


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """A place with a folder that is allowed, and a secret beside it."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "fox.png").write_bytes(b"fox")
    (tmp_path / "in" / "deep" / "owl.png").write_bytes(b"owl")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "secret").write_bytes(SECRET)
    (tmp_path / "secret").write_bytes(SECRET)
    return tmp_path


@pytest.fixture
def without_dir_fd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that opens files by their whole path only."""
    monkeypatch.setattr(allowed_folders, "_RELATIVE", False)


@pytest.fixture(params=["relative", "by path"])
def system(request: pytest.FixtureRequest) -> None:
    """Both ways to open a file."""
    if request.param == "by path":
        request.getfixturevalue("without_dir_fd")


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("fox.png", b"fox"),
        ("deep/owl.png", b"owl"),
        ("deep/../fox.png", b"fox"),
        ("./deep//owl.png", b"owl"),
        ("../in/fox.png", b"fox"),
    ],
)
def test_files_inside_are_read(yard: Path, path: str, content: bytes) -> None:
    """Relative or absolute, a path that leads inside is read."""
    inside = Folders(yard / "in")

    assert inside.read(path) == content
    assert inside.read(str(yard / "in" / path)) == content
    assert inside.read(yard / "in" / path) == content


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "deep/../../secret",
        "{yard}/secret",
        "{yard}/in/../secret",
        "{yard}/inside/secret",
        "{yard}/in",
        "",
        ".",
        "deep",
        "fox.png\0.txt",
        "fox.png/owl.png",
        "/proc/self/environ",
        "/proc/self/root{yard}/secret",
        "/dev/zero",
        "~/secret",
        "~nobody-of-this-name/secret",
        "missing.png",
        "a" * 5000,
        "\udcff",
    ],
)
def test_everything_else_is_refused(yard: Path, path: str) -> None:
    """Whatever leads outside, is no file or is not there is refused, and nothing of it is told."""
    with pytest.raises(InvalidRequestError) as caught:
        Folders(yard / "in").read(path.replace("{yard}", str(yard)), field="image")

    assert caught.value.field == "image"
    assert str(yard / "in") in str(caught.value)
    assert "ssh-secret" not in str(caught.value)


def test_what_is_outside_is_not_told_apart(yard: Path) -> None:
    """A file that is there and one that is not sound the same, if they are outside."""
    told = []
    for name in ("secret", "sacred"):
        with pytest.raises(InvalidRequestError) as caught:
            Folders(yard / "in").read(f"../{name}")
        told.append(str(caught.value).replace(name, "NAME"))

    assert told[0] == told[1]


@pytest.mark.usefixtures("system")
def test_links_are_judged_by_where_they_lead(yard: Path) -> None:
    """A link to the inside is followed, one to the outside is not, be it a file or a folder."""
    (yard / "in" / "bird.png").symlink_to(yard / "in" / "deep" / "owl.png")
    (yard / "in" / "leak.png").symlink_to(yard / "secret")
    (yard / "in" / "out").symlink_to(yard)
    inside = Folders(yard / "in")

    assert inside.read("bird.png") == b"owl"
    for path in ("leak.png", "out/secret", "out/in/out/secret"):
        with pytest.raises(InvalidRequestError, match="outside"):
            inside.read(path)
    assert inside.read("out/in/fox.png") == b"fox"


def test_a_folder_may_itself_be_a_link(yard: Path) -> None:
    """What is allowed by a link is allowed by its real name, too."""
    (yard / "alias").symlink_to(yard / "in")

    assert Folders(yard / "alias").read("fox.png") == b"fox"
    assert Folders(yard / "alias").read(yard / "in" / "fox.png") == b"fox"
    assert Folders(yard / "alias").read(yard / "alias" / "fox.png") == b"fox"


def test_folders_are_looked_through_in_order(yard: Path) -> None:
    """A relative path is the first file of that name."""
    (yard / "inside" / "fox.png").write_bytes(b"other fox")

    assert Folders(yard / "in", yard / "inside").read("fox.png") == b"fox"
    assert Folders(yard / "inside", yard / "in").read("fox.png") == b"other fox"
    assert Folders(yard / "inside", yard / "in").read("deep/owl.png") == b"owl"


def test_without_folders_nothing_is_allowed(yard: Path) -> None:
    """No folder, no file."""
    with pytest.raises(InvalidRequestError, match="none"):
        Folders().read(yard / "in" / "fox.png")


def swap(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Change the disk right after a path was judged, and before it is opened."""
    judge = os.path.lexists

    def judged(path: Any) -> bool:
        found = judge(path)
        change()
        return found

    monkeypatch.setattr(os.path, "lexists", judged)


@pytest.mark.usefixtures("system")
def test_a_file_swapped_for_a_link_is_not_opened(
    yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged is opened, or nothing: the classic race does not work."""

    def change() -> None:
        (yard / "in" / "fox.png").unlink()
        (yard / "in" / "fox.png").symlink_to(yard / "secret")

    swap(monkeypatch, change)

    with pytest.raises(InvalidRequestError, match="link"):
        Folders(yard / "in").read("fox.png")


@pytest.mark.usefixtures("system")
def test_a_folder_swapped_for_a_link_is_not_entered(
    yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a folder on the way."""
    (yard / "elsewhere").mkdir()
    (yard / "elsewhere" / "owl.png").write_bytes(SECRET)

    def change() -> None:
        (yard / "in" / "deep").rename(yard / "in" / "gone")
        (yard / "in" / "deep").symlink_to(yard / "elsewhere")

    swap(monkeypatch, change)

    with pytest.raises(InvalidRequestError, match="link"):
        Folders(yard / "in").read("deep/owl.png")


def test_a_pipe_does_not_hold_us_up(yard: Path) -> None:
    """What is no regular file is refused at once, though nobody writes to it."""
    os.mkfifo(yard / "in" / "pipe.png")

    with pytest.raises(InvalidRequestError, match="regular"):
        Folders(yard / "in").read("pipe.png")


def test_a_file_without_end_is_not_read_to_it(yard: Path) -> None:
    """More bytes than an image may have are not taken in."""
    with (yard / "in" / "huge.png").open("wb") as file:
        file.truncate(10**12)

    with pytest.raises(InvalidRequestError, match="more than 1,000 bytes"):
        Folders(yard / "in").read("huge.png", max_bytes=1000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.lists(
        st.sampled_from(["..", ".", "in", "deep", "out", "secret", "inside", "fox.png", "~", ""]),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_spelling_leads_to_the_secret(yard: Path, parts: list[str], rooted: bool) -> None:
    """Whatever names are put together, what is read lies inside."""
    link = yard / "in" / "out"
    if not link.is_symlink():
        link.symlink_to(yard)
    path = "/".join([*([str(yard)] if rooted else []), *parts])
    try:
        found = Folders(yard / "in").read(path)
    except InvalidRequestError:
        return

    assert found == b"fox"


@pytest.mark.usefixtures("system")
def test_a_picture_is_saved_and_never_replaces_another(yard: Path) -> None:
    """The extension follows the bytes; a taken name gets a number."""
    out = Folders(yard / "out")
    first, second = picture("jpeg"), picture("jpeg", "red")

    assert out.save(first, "new/fox.png") == yard / "out" / "new" / "fox.jpg"
    assert out.save(second, "new/fox.png") == yard / "out" / "new" / "fox-2.jpg"
    assert (yard / "out" / "new" / "fox.jpg").read_bytes() == first.data
    assert (yard / "out" / "new" / "fox-2.jpg").read_bytes() == second.data
    assert sorted(each.name for each in (yard / "out" / "new").iterdir()) == [
        "fox-2.jpg",
        "fox.jpg",
    ]


@pytest.mark.parametrize("path", ["", ".", "deep", "deep/", "new/", "{yard}/in", "{yard}/in/deep"])
def test_a_folder_gets_a_name_made_of_the_bytes(yard: Path, path: str) -> None:
    """Where only a folder is named, the file is called after its hash."""
    image = picture()
    saved = Folders(yard / "in").save(image, path.replace("{yard}", str(yard)))

    assert saved.name == f"image-{image.sha256[:8]}.png"
    assert saved.is_relative_to(yard / "in")
    assert saved.read_bytes() == image.data


def test_a_first_folder_that_is_missing_is_made(yard: Path) -> None:
    """An output folder need not exist before the first copy."""
    image = picture()

    assert Folders(yard / "new" / "out").save(image, "").read_bytes() == image.data


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    "path",
    ["../fox", "{yard}/fox", "out/fox", "leak", "fox\0", "deep/../../fox", "~/fox", "a" * 300],
)
def test_nothing_is_written_outside(yard: Path, path: str) -> None:
    """No path, link included, puts a file anywhere else."""
    (yard / "in" / "out").symlink_to(yard)
    (yard / "in" / "leak.png").symlink_to(yard / "new.png")
    (yard / "in" / "leak").symlink_to(yard / "new")
    before = sorted(yard.rglob("*"))

    with pytest.raises(InvalidRequestError):
        Folders(yard / "in").save(picture(), path.replace("{yard}", str(yard)))

    assert sorted(yard.rglob("*")) == before


def test_a_folder_swapped_while_saving_is_not_written_to(
    yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that takes the place of a folder gets no file."""
    name, elsewhere = allowed_folders.with_true_extension, yard / "inside"

    def swapped(path: Path, image: Image) -> Path:
        (yard / "in" / "deep").rename(yard / "in" / "gone")
        (yard / "in" / "deep").symlink_to(elsewhere)
        return name(path, image)

    monkeypatch.setattr(allowed_folders, "with_true_extension", swapped)

    with pytest.raises(InvalidRequestError, match="link"):
        Folders(yard / "in").save(picture(), "deep/fox.png")
    assert [each.name for each in elsewhere.iterdir()] == ["secret"]


def test_many_at_once_lose_no_copy(yard: Path) -> None:
    """Twenty images under one name are twenty files."""
    images = [picture("png", f"#0000{number:02x}") for number in range(20)]
    out = Folders(yard / "out")
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda image: out.save(image, "fox.png"), images))

    assert len(set(saved)) == 20
    assert [path.read_bytes() for path in saved] == [image.data for image in images]


def test_a_disk_without_hard_links_still_replaces_nothing(
    yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory cards and some network disks know no hard links; the rules hold there, too."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    out = Folders(yard / "out")
    images = [picture(), picture("png", "red")]
    saved = [out.save(image, "fox.png") for image in images]

    assert [path.name for path in saved] == ["fox.png", "fox-2.png"]
    assert [path.read_bytes() for path in saved] == [image.data for image in images]
    assert len(list((yard / "out").iterdir())) == 2


def test_a_full_disk_leaves_nothing_behind(yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that cannot be written is told, and its beginning is removed."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)

    with pytest.raises(InvalidRequestError, match="No space left"):
        Folders(yard / "out").save(picture(), "fox.png")
    assert list((yard / "out").iterdir()) == []


def test_a_target_is_judged_before_anything_is_paid(yard: Path) -> None:
    """Where an image would go is known, or refused, before there is one."""
    out = Folders(yard / "out")

    assert out.target("new/fox.png") == yard / "out" / "new" / "fox.png"
    with pytest.raises(InvalidRequestError, match="save_to"):
        out.target("../fox.png", field="save_to")
    assert not (yard / "out").exists()
