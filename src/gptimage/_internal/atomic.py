"""Files that appear whole or not at all: written under another name, then renamed.

A reader, and whoever looks after a crash, sees the old content or the new one, never a part.
Only real files are read: a pipe waits for its writer, and a device has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final


Data = bytes | bytearray | memoryview

PRIVATE: Final = 0o600
"""Only the owner may read: prompts and images are in the file."""

PUBLIC: Final = 0o666
"""Whoever the user's umask allows may read."""

_NEW: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
)


_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # without it, opening a pipe waits for a writer: see fifo(7)
)


def replace(path: Path, *parts: Data, mode: int = PRIVATE, fsync: bool = True) -> None:
    """Put a complete file in place of whatever has this name.

    Args:
        path: The file; its folder must exist.
        *parts: Its content, written one after the other.
        mode: Its permissions, less the user's umask.
        fsync: Force content and name to the disk, so that a power cut loses neither.

    Raises:
        OSError: It cannot be written; what had the name is untouched.
    """
    # As random as `secrets`, without the 5 ms that its import takes from each command.
    temporary = path.with_name(f".gptimage-{os.urandom(8).hex()}.tmp")
    create(temporary, *parts, mode=mode, fsync=fsync)
    try:
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if fsync:
        fsync_dir(path.parent)


def create(path: Path, *parts: Data, mode: int = PRIVATE, fsync: bool = False) -> None:
    """Write a new file; one that cannot be finished is removed again.

    Args:
        path: The file; its folder must exist.
        *parts: Its content, written one after the other.
        mode: Its permissions, less the user's umask.
        fsync: Force the content to the disk; for the name, see `fsync_dir`.

    Raises:
        FileExistsError: The name is taken.
        OSError: It cannot be written.
    """
    handle = os.open(path, _NEW, mode)
    try:
        try:
            for part in parts:
                _write_all(handle, part)
            if fsync:
                os.fsync(handle)
        finally:
            # Inside the try: a network file system says only here that the disk is full.
            os.close(handle)
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def open_file(path: str | os.PathLike[str], *, follow: bool = True) -> BinaryIO:
    """Open a file for reading, unbuffered; anything else that has a name is refused.

    Args:
        path: The file.
        follow: Whether a symbolic link in the last place is followed.

    Raises:
        OSError: It is missing, cannot be read, or is a folder, a pipe or a device.
    """
    handle = os.open(path, _READ if follow else _READ | getattr(os, "O_NOFOLLOW", 0))
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb", buffering=0)
    os.close(handle)
    raise OSError(errno.EINVAL, "it is a folder, a pipe or a device, not a file", os.fspath(path))


def fsync_dir(folder: Path) -> None:
    """Force the names in a folder to the disk, where the system can (Windows does so by itself).

    Without it a power cut may forget a rename whose file is safe: see fsync(2).

    Raises:
        OSError: The folder is gone, or the disk is broken.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: Data) -> None:
    # The kernel may take less than it is given, at most 2 GB at once; a full disk takes a
    # part, and only the next write says why.
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(handle, rest) :]
