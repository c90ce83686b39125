"""`Folders`: files are read and written inside of them, and nowhere else, however a path is spelt.

For paths that somebody else writes: a web form, a language model, another program. A path is
resolved first, ``..`` and links included, and judged by where it really leads. Then exactly that
place is opened, one folder after the other and following no link, so that whatever is swapped
in between is refused and not opened. (Where the system cannot open relative to a folder, on
Windows, the place is compared once more after it was opened.)
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from gptimage._internal.text import reason
from gptimage.errors import InvalidRequestError, truncated_repr
from gptimage.image.files import with_true_extension
from gptimage.image.image import Image
from gptimage.image.lookalike import lookalike


MAX_BYTES: Final = 50_000_000
"""The service takes less than 50 MB for each image."""

_FOLLOW_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _FOLLOW_NO_LINK
_FILE: Final = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _FOLLOW_NO_LINK
)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | _FOLLOW_NO_LINK
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_RELATIVE: Final = os.open in os.supports_dir_fd and os.link in os.supports_dir_fd


@frozen
class _Place:
    """The real location of a path.

    Attributes:
        root: The folder that allows it, resolved.
        parts: The names from there on.
    """

    root: str
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The whole path."""
        return Path(self.root, *self.parts)


class Folders:
    """Some folders, and what is inside of them.

    Args:
        *folders: The folders; a relative path is looked for in each, in this order.
    """

    def __init__(self, *folders: str | os.PathLike[str]) -> None:
        self.folders: tuple[Path, ...] = tuple(Path(each).expanduser() for each in folders)

    def __repr__(self) -> str:
        """Return the folders."""
        return f"Folders({', '.join(repr(str(each)) for each in self.folders)})"

    def read(
        self, path: str | os.PathLike[str], *, field: str = "path", max_bytes: int = MAX_BYTES
    ) -> bytes:
        """Return the bytes of a file.

        Args:
            path: Its path: absolute, or relative to one of the folders; ``~`` is your home.
            field: The parameter it was passed as, for errors.
            max_bytes: Refuse anything larger.

        Raises:
            InvalidRequestError: It leads elsewhere, or there is no such file, or it cannot be
                read. The error does not reveal whether there is anything elsewhere.
        """
        places = list(self._places(path, field))
        place = next((each for each in places if os.path.lexists(each.path)), None)
        if place is None:
            alike = [_Place(root, found) for root, found in map(_alike, places) if found]
            place = next(iter(alike), places[0])
        try:
            with _opened(place) as descriptor:
                return _content(descriptor, max_bytes)
        except (OSError, ValueError) as error:
            raise self._refuse(field, path, f"cannot be read: {_reason(error)}") from error

    def target(self, path: str | os.PathLike[str], *, field: str = "path") -> Path:
        """Return where `save` would put an image, but for its extension and its number.

        Raises:
            InvalidRequestError: The path leads elsewhere.
        """
        return next(self._places(path, field)).path

    def save(self, image: Image, path: str | os.PathLike[str], *, field: str = "path") -> Path:
        """Write an image to a new file, complete or not at all; nothing is ever replaced.

        The extension follows the bytes, and a number is added to a name that is taken:
        ``fox.png`` of a JPEG becomes ``fox.jpg``, and the next one ``fox-2.jpg``. Folders that
        are missing are made.

        Args:
            image: The image.
            path: A file name, absolute or relative to the first folder; or a folder that is
                there (or a path that ends with a slash), for ``image-<first 8 of sha256>.<ext>``.
            field: The parameter it was passed as, for errors.

        Returns:
            The path of what was written.

        Raises:
            InvalidRequestError: The path leads elsewhere, or cannot be written.
        """
        place = next(self._places(path, field))
        named = place.path
        is_folder = os.path.isdir(named)  # noqa: PTH112  # Path.is_dir raises for long names
        if not place.parts or is_folder or os.fspath(path).endswith(("/", os.sep)):
            named = named / f"image-{image.sha256[:8]}"
        named = with_true_extension(named, image.format)
        parts = named.relative_to(place.root).parts
        try:
            with _entered(_Place(place.root, parts[:-1]), make=True) as folder:
                return folder.path / folder.add(parts[-1], image.data)
        except OSError as error:
            raise self._refuse(field, path, f"cannot be written: {_reason(error)}") from error

    def _places(self, path: str | os.PathLike[str], field: str) -> Iterator[_Place]:
        """Yield where a path may lead, as far as that is inside; at least one.

        Raises:
            InvalidRequestError: It always leads elsewhere.
        """
        found = False
        roots = [os.path.realpath(each) for each in self.folders]
        for asked in self._asked(path, roots, field):
            for root in roots:
                if asked.is_relative_to(root):
                    found = True
                    yield _Place(root, asked.relative_to(root).parts)
                    break
        if not found:
            raise self._refuse(field, path, "is outside of the folders that may be used")

    def _asked(self, path: str | os.PathLike[str], roots: list[str], field: str) -> Iterator[Path]:
        """Yield every place a path could mean, resolved."""
        try:
            asked = Path(path).expanduser()
            for base in roots[:1] if asked.is_absolute() else roots:
                yield Path(os.path.realpath(Path(base, asked)))
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, an unknown ~user
            raise self._refuse(field, path, f"is no path: {_reason(error)}") from error

    def _refuse(
        self, field: str, path: str | os.PathLike[str], problem: str
    ) -> InvalidRequestError:
        inside = ", ".join(map(str, self.folders)) or "none"
        return InvalidRequestError(
            f"{field}: {truncated_repr(os.fspath(path))} {problem}; "
            f"folders that may be used: {inside}",
            field=field,
            value=os.fspath(path),
            allowed=f"a path in {inside}",
        )


@frozen
class _Folder:
    """A folder that is open.

    Attributes:
        path: Its path, for people.
        descriptor: The open folder; None where files cannot be named relative to one.
    """

    path: Path
    descriptor: int | None

    def name(self, name: str) -> str:
        """Return how a file in it is named to the system."""
        return name if self.descriptor is not None else str(self.path / name)

    def open(self, name: str, flags: int) -> int:
        """Open a file or folder in it."""
        return os.open(self.name(name), flags, 0o666, dir_fd=self.descriptor)

    def add(self, name: str, data: bytes) -> str:
        """Write a new file; the name it got."""
        temp_name = f".gptimage-{secrets.token_hex(8)}.tmp"
        try:
            self._write(temp_name, data)
            for number in itertools.count(1):
                stem, dot, extension = name.rpartition(".")
                free = name if number == 1 else f"{stem}-{number}{dot}{extension}"
                with suppress(FileExistsError):
                    self._appear(temp_name, free, data)
                    return free
        finally:
            with suppress(OSError):
                os.unlink(self.name(temp_name), dir_fd=self.descriptor)
        raise AssertionError("count() does not end")

    def _appear(self, temp_name: str, name: str, data: bytes) -> None:
        """Give the whole file its name, if that is free."""
        try:
            os.link(
                self.name(temp_name),
                self.name(name),
                src_dir_fd=self.descriptor,
                dst_dir_fd=self.descriptor,
            )
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._write(name, data)  # a disk without hard links: new, but not all at once

    def _write(self, name: str, data: bytes) -> None:
        with os.fdopen(self.open(name, _NEW), "wb") as file:
            try:
                file.write(data)
                file.flush()
            except OSError:
                os.unlink(self.name(name), dir_fd=self.descriptor)
                raise


@contextmanager
def _entered(place: _Place, *, make: bool = False) -> Generator[_Folder]:
    """Open a folder, one after the other from the root on, following no link."""
    if make:
        Path(place.root).mkdir(parents=True, exist_ok=True)
    if not _RELATIVE:
        yield _entered_by_path(place, make=make)
        return
    here = _Folder(Path(place.root), os.open(place.root, _FOLDER))
    try:
        for part in place.parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here.descriptor)
            inner = _Folder(here.path / part, here.open(part, _FOLDER))
            _close(here)
            here = inner
        yield here
    finally:
        _close(here)


def _entered_by_path(place: _Place, *, make: bool) -> _Folder:
    if make:
        place.path.mkdir(parents=True, exist_ok=True)
    if Path(os.path.realpath(place.path)) != place.path:
        raise OSError(errno.ELOOP, "a link took the place of a folder", str(place.path))
    return _Folder(place.path, None)


@contextmanager
def _opened(place: _Place) -> Generator[int]:
    """Open a file for reading."""
    if not place.parts:
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    with _entered(_Place(place.root, place.parts[:-1])) as folder:
        descriptor = folder.open(place.parts[-1], _FILE)
        try:
            if not _RELATIVE:
                _compare(descriptor, place)
            yield descriptor
        finally:
            os.close(descriptor)


def _compare(descriptor: int, place: _Place) -> None:
    """See that what was opened by its path is what is there, and that no link leads to it."""
    straight = Path(os.path.realpath(place.path)) == place.path
    if not (straight and os.path.samestat(os.fstat(descriptor), place.path.lstat())):
        raise OSError(errno.ELOOP, "a link took the place of the file")


def _content(descriptor: int, max_bytes: int) -> bytes:
    """Return all of a regular file; a pipe or device could wait, or give bytes, for ever."""
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return data


def _alike(place: _Place) -> tuple[str, tuple[str, ...]]:
    """Return the parts of a path that is there and looks the same; none when there is not one."""
    found = lookalike(place.path)
    inside = os.path.lexists(found) and found.is_relative_to(place.root)
    return place.root, found.relative_to(place.root).parts if inside else ()


def _close(folder: _Folder) -> None:
    if folder.descriptor is not None:
        os.close(folder.descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "something on the way to it is no folder, or a link that was put there meanwhile"
    return reason(error)
