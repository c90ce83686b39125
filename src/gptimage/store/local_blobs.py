"""`FileBlobs`: a local folder that never shows half a file and never loses one it promised.

A file is written under ``.tmp/``, forced to the disk, and only then linked under its name,
which fails when the name is taken. Symbolic links inside the folder are not followed out.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gptimage._internal import atomic
from gptimage._internal.clock import files_now
from gptimage._internal.keywords import flag, strict_class
from gptimage._internal.keywords import path as path_like
from gptimage._internal.locks import locked
from gptimage.store.blobs import Blob, BlobInfo, Blobs
from gptimage.store.names import check_key


TEMPORARY: Final = ".tmp"
"""The folder of files that are not complete yet."""

_LOCK: Final = ".lock"
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)
"""How file systems say that they have no hard links."""


@strict_class
class FileBlobs:
    """A local folder as `Blobs`.

    Args:
        folder: The root; it is made when it is missing.
        fsync: Force every file and its folder entry to the disk before a write returns, so
            that a power cut loses nothing. Without it, what was written in the last seconds
            before a power cut may be gone; a killed process loses nothing either way.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], *, fsync: bool = True) -> None:
        path_like("folder", folder)
        flag("fsync", fsync)
        root = Path(folder).expanduser()
        root.mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()
        self._fsync = fsync

    def __repr__(self) -> str:
        """Return the class and the folder."""
        return f"FileBlobs({str(self._root)!r})"

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self._root)

    @property
    def folder(self) -> Path | None:
        """The folder."""
        return self._root

    def create(self, key: str, data: bytes, *, fsync_dir: bool = True) -> str:
        """Write a new file and return its etag; see `Blobs.create`."""
        path = self._path(key)
        temporary = self._write(data)
        try:
            self._place(temporary, path)
        except FileExistsError:
            blob = self.read(key)
            if blob.data != data:
                raise
            return blob.etag
        finally:
            temporary.unlink(missing_ok=True)
        if fsync_dir:
            self._sync_folder(path.parent)
        return _etag(path.stat())

    def touch_or_create(self, key: str, data: bytes) -> None:
        """Make sure that a file named by its own hash is there; see `Blobs.touch_or_create`."""
        path = self._path(key)
        with suppress(FileNotFoundError):
            if path.stat().st_size == len(data):
                os.utime(path)
                return
            # A power cut without fsync can leave a shorter file; its name says what it was.
            self.delete(key)
        self.create(key, data)

    def replace(self, key: str, data: bytes, *, etag: str) -> str | None:
        """Write a new content if the etag still holds; see `Blobs.replace`."""
        path = self._path(key)
        temporary = self._write(data)
        try:
            with self._locked():
                if _etag(path.lstat()) != etag:
                    return None
                temporary.replace(path)
                self._sync_folder(path.parent)
                return _etag(path.lstat())
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, key: str) -> Blob:
        """Return the content; see `Blobs.read`."""
        path = self._path(key)
        # A link in the last place is refused by the system; links before it by _path.
        with atomic.open_file(path, follow=False) as file:
            return Blob(file.read(), _etag(os.fstat(file.fileno())))

    def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of a file, or None; see `Blobs.stat`."""
        try:
            return _info(key, self._path(key).lstat())
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Remove a file and the dated folders it leaves empty; see `Blobs.delete`."""
        path = self._path(key)
        with self._locked():
            path.unlink(missing_ok=True)
        for parent in list(path.parents)[: key.count("/")]:
            try:
                parent.rmdir()
            except OSError:
                return

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Return every file below a prefix in the order of the keys; see `Blobs.list`.

        Hidden files and symbolic links are passed over.
        """
        folder = self._path(prefix.rstrip("/")) if prefix else self._root
        return _walk(folder, prefix, after)

    def temp_files(self, older_than: timedelta, *, remove: bool = False) -> tuple[str, ...]:
        """Temporary files of writes that were killed; see `Blobs.temp_files`."""
        limit = files_now(self._root) - older_than.total_seconds()
        found: list[str] = []
        for entry in _entries(self._root / TEMPORARY):
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime <= limit:
                    found.append(f"{TEMPORARY}/{entry.name}")
                    if remove:
                        Path(entry.path).unlink()
        return tuple(found)

    def _path(self, key: str) -> Path:
        """Return the file of a key, once it is sure that no link is on the way to it."""
        path = os.path.join(self._root, *check_key(key).split("/"))  # noqa: PTH118  # see below
        # The root is resolved, so a path without links is its own real path. Plain text is
        # used because this runs several times for every image.
        if os.path.realpath(path) != path:
            raise PermissionError(errno.EACCES, "a link inside the store is not followed", path)
        return Path(path)

    def _write(self, data: bytes) -> Path:
        """Return a complete temporary file, on the disk when that is wanted."""
        folder = self._root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / os.urandom(16).hex()
        atomic.create(path, data, mode=atomic.PUBLIC, fsync=self._fsync)
        return path

    def _place(self, temporary: Path, path: Path) -> None:
        """Give a finished file its name, unless that is taken."""
        while True:
            self._make_folders(path.parent)
            try:
                return _link(temporary, path)
            except FileNotFoundError:
                # Somebody deleted the folder because it was empty a moment ago.
                if not temporary.exists():
                    raise

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for parent in folder.relative_to(self._root).parents:
            self._sync_folder(self._root / parent)

    def _sync_folder(self, folder: Path) -> None:
        if self._fsync:
            with suppress(FileNotFoundError):  # removed by another process because it was empty
                atomic.fsync_dir(folder)

    def _locked(self) -> AbstractContextManager[None]:
        """Keep others from replacing or deleting; creating needs no lock."""
        return locked(self._root / _LOCK)


_conforms: type[Blobs] = FileBlobs


def _link(temporary: Path, path: Path) -> None:
    """Name a file without ever overwriting."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without hard links the check and the renaming are two steps; keys are random.
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.rename(path)


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _info(key: str, status: os.stat_result) -> BlobInfo:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return BlobInfo(key, size=status.st_size, modified=modified, etag=_etag(status))


def _walk(folder: Path, prefix: str, after: str) -> Iterator[BlobInfo]:
    """Walk in the order of the keys, without opening folders that lie before ``after``."""
    found = [(e.name + "/" * e.is_dir(follow_symlinks=False), e) for e in _entries(folder)]
    for name, entry in sorted(found, key=_by_name):
        key = prefix + name
        if name.endswith("/"):
            if key > after or after.startswith(key):
                yield from _walk(Path(entry.path), key, after)
        elif key > after and entry.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):
                yield _info(key, entry.stat(follow_symlinks=False))


def _by_name(found: tuple[str, os.DirEntry[str]]) -> str:
    return found[0]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, hidden names left out; a folder that is not there holds nothing."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
