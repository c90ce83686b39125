"""A file that is written is there whole, or what was there before is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gptimage import ConfigurationError, Image, ImageClient, Models
from gptimage._internal import atomic
from gptimage.budget import Ledger


@pytest.mark.parametrize("name", ["write", "fsync", "close", "replace"])
@pytest.mark.parametrize("before", [None, b"old"], ids=["new", "there"])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, before: bytes | None
) -> None:
    """Whichever call fails, nothing else is left in the folder."""
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    real = getattr(os, name)

    def fails(first: object, *rest: object) -> None:
        if name == "close":
            real(first)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fails)
        with pytest.raises(OSError, match="No space left"):
            atomic.replace(path, b"new")

    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == (
        {} if before is None else {"file": before}
    )


def test_a_write_that_takes_a_part_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels take at most 2 GB at once, and less when the disk fills."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))

    atomic.replace(tmp_path / "file", b"0123456789", bytearray(b"abc"), memoryview(b"xyz-"))

    assert (tmp_path / "file").read_bytes() == b"0123456789abcxyz-"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions(tmp_path: Path) -> None:
    """A file is private unless it is said otherwise, also where another one was before."""
    (tmp_path / "private").touch(0o644)
    atomic.replace(tmp_path / "private", b"x")
    before = os.umask(0o022)
    try:
        atomic.replace(tmp_path / "public", b"x", mode=atomic.PUBLIC)
    finally:
        os.umask(before)

    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == {"private": 0o600, "public": 0o644}


def test_what_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content before the rename and the name after it, or neither."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def forced(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def renamed(old: Path, new: Path) -> None:
        steps.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "replace", renamed)

    atomic.replace(tmp_path / "file", b"x")
    atomic.replace(tmp_path / "file", b"y", fsync=False)

    folder = [] if os.name == "nt" else ["fsync"]
    assert steps == ["fsync", "rename", *folder, "rename"]


def test_create_never_overwrites(tmp_path: Path) -> None:
    """A name that is taken is an error, and its file stays."""
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(FileExistsError):
        atomic.create(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_files_are_read(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for, whatever it is meant to be."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for read in (atomic.open_file, Image.open, Models.load):
        with pytest.raises(OSError, match="a folder, a pipe or a device"):
            read(pipe)
    for setting in (Ledger, ImageClient.sandbox().open_batch):
        with pytest.raises(ConfigurationError, match="a folder, a pipe or a device"):
            setting(pipe)
