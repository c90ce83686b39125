"""What only a local folder can get wrong: links, leftovers, full disks, odd file systems."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage.store import FileBlobs, Store


def test_links_inside_the_folder_are_not_followed_out(tmp_path: Path) -> None:
    """Neither a linked folder nor a linked file leads anywhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    blobs = FileBlobs(tmp_path / "store")
    root = Path(blobs.name)
    (root / "images").symlink_to(outside)
    (root / "file.png").symlink_to(outside / "secret.png")
    (root / "dangling.png").symlink_to(tmp_path / "nothing")

    for key in ("images/secret.png", "images/new.png", "file.png", "dangling.png"):
        for call in (
            lambda k=key: blobs.read(k),
            lambda k=key: blobs.create(k, b"x"),
            lambda k=key: blobs.touch_or_create(k, b"x"),
            lambda k=key: blobs.replace(k, b"x", etag="1"),
            lambda k=key: blobs.delete(k),
            lambda k=key: blobs.stat(k),
        ):
            with pytest.raises(PermissionError, match="not followed"):
                call()
    with pytest.raises(PermissionError):
        list(blobs.list("images/"))

    assert list(blobs.list("")) == []
    assert [path.name for path in outside.iterdir()] == ["secret.png"]


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Which folder is the store is the user's choice."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    FileBlobs(tmp_path / "link").create("a.png", b"x")

    assert (tmp_path / "real/a.png").read_bytes() == b"x"


def test_no_half_file_is_ever_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When forcing to the disk fails, nothing has the name, and nothing is left behind."""

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    blobs = FileBlobs(tmp_path)
    monkeypatch.setattr(os, "fsync", broken)

    with pytest.raises(OSError, match="Input/output"):
        blobs.create("images/a.png", b"x" * 10**6)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_fsync_nothing_is_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch does what it says, both ways."""
    forced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: forced.append(handle) or real(handle))

    FileBlobs(tmp_path, fsync=False).create("a/b.png", b"x")
    assert forced == []
    blobs = FileBlobs(tmp_path)
    blobs.create("a/c.png", b"x", fsync_dir=False)
    assert len(forced) == 1
    blobs.create("a/d.png", b"x")
    assert len(forced) == 3


def test_a_file_system_without_hard_links_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory cards and some network folders have none; nothing is overwritten there either."""

    def refuse(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    blobs = FileBlobs(tmp_path)
    blobs.create("a.png", b"one")

    with pytest.raises(FileExistsError):
        blobs.create("a.png", b"two")
    assert blobs.read("a.png").data == b"one"
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_temp_files_are_found_by_age(tmp_path: Path) -> None:
    """A temporary file of a killed process is named once it is old, and removed on request."""
    blobs = FileBlobs(tmp_path)
    blobs.create("a.png", b"x")
    old, new = tmp_path / ".tmp/old", tmp_path / ".tmp/new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))

    assert blobs.temp_files(timedelta(hours=1)) == (".tmp/old",)
    assert old.exists()
    assert blobs.temp_files(timedelta(hours=1), remove=True) == (".tmp/old",)
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == ["new"]


def test_hidden_and_odd_files_are_passed_over(tmp_path: Path) -> None:
    """What desktops leave in folders is not listed, and a name that is no text is no crash."""
    blobs = FileBlobs(tmp_path)
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images/.thumbs").mkdir()
    Path(os.fsdecode(bytes(tmp_path) + b"/images/\xff.png")).touch()

    assert [info.key for info in blobs.list("")] == ["images/\udcff.png"]
    with Store(tmp_path) as store:
        assert [problem.kind for problem in store.verify().problems] == ["foreign"]
        assert list(store.history()) == []


def test_a_shorter_input_is_written_again(tmp_path: Path) -> None:
    """A file that a power cut left empty does not pass for the input it is named after."""
    blobs = FileBlobs(tmp_path)
    blobs.touch_or_create("inputs/ab/abc.png", b"whole")
    (tmp_path / "inputs/ab/abc.png").write_bytes(b"")
    blobs.touch_or_create("inputs/ab/abc.png", b"whole")

    assert blobs.read("inputs/ab/abc.png").data == b"whole"


def test_keeping_makes_an_old_input_fresh(tmp_path: Path) -> None:
    """An input somebody is about to use is not cleaned away under him."""
    blobs = FileBlobs(tmp_path)
    blobs.touch_or_create("inputs/ab/abc.png", b"x")
    os.utime(tmp_path / "inputs/ab/abc.png", (0, 0))
    blobs.touch_or_create("inputs/ab/abc.png", b"x")
    info = blobs.stat("inputs/ab/abc.png")

    assert info is not None
    assert info.modified.year > 2000


def test_empty_folders_go_with_their_last_file(tmp_path: Path) -> None:
    """Pruning leaves no tree of empty days, and never the root."""
    blobs = FileBlobs(tmp_path)
    blobs.create("images/2026/11/20/a.png", b"x")
    blobs.create("images/2026/11/21/a.png", b"x")
    blobs.delete("images/2026/11/20/a.png")

    assert not (tmp_path / "images/2026/11/20").exists()
    assert (tmp_path / "images/2026/11/21").exists()
    blobs.delete("images/2026/11/21/a.png")
    assert not (tmp_path / "images").exists()
    assert tmp_path.exists()
