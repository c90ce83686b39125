"""Where pictures go: found writable before money is spent, and never lost afterwards."""

from __future__ import annotations

import glob
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count as numbers
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage import Image


FORMATS: Final = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "webp": "webp",
    "gif": "gif",
    "svg": "svg",
}
"""File name extensions, and the format each asks for."""


@frozen(kw_only=True)
class Target:
    """A folder and the name pictures get there, still without number and extension.

    Attributes:
        folder: Where files are written.
        stem: What their names start with.
        format: The format a file name given by the user asks for, or None.
        overwrite: Whether existing files are replaced.
    """

    folder: Path
    stem: str
    format: str | None = None
    overwrite: bool = False


def target(output: str | None, prompt: str, *, overwrite: bool = False) -> Target:
    """Understand ``--output``: a file, a folder, or nothing (then the current folder).

    Raises:
        InvalidRequestError: It is a file name whose extension is no format of the service.
    """
    path = Path(output or ".").expanduser()
    suffix = path.suffix.lower().lstrip(".")
    if path.is_dir() or not suffix or (output or "").endswith(("/", os.sep)):
        return Target(folder=path, stem=_slug(prompt), overwrite=overwrite)
    if suffix not in FORMATS:
        raise InvalidRequestError(
            f"--output {output}: the service draws no .{suffix}; "
            f"name a folder, or a file ending in {', '.join(FORMATS)}",
            field="output",
            value=output,
            allowed=tuple(FORMATS),
        )
    return Target(folder=path.parent, stem=path.stem, format=FORMATS[suffix], overwrite=overwrite)


def prepare(where: Target) -> None:
    """Make the folder and see that it can be written to, before anything is paid.

    Raises:
        InvalidRequestError: It cannot.
    """
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=where.folder):
            return
    except OSError as error:
        raise InvalidRequestError(
            f"cannot write to {where.folder}: {error.strerror or error}; nothing was sent",
            field="output",
            value=str(where.folder),
            allowed="a folder you may write to",
        ) from error


def save(images: Sequence[Image], where: Target, *, label: str = "") -> list[Path]:
    """Write pictures as ``stem.ext``, or ``stem-1.ext``, ``stem-2.ext``... when there are several.

    Args:
        images: The pictures.
        where: Where they should go.
        label: Put behind the stem, such as ``-original``.

    Returns:
        Where each one is; that can be elsewhere when the folder fails, which is said on stderr.

    Raises:
        OSError: No place on this machine takes a picture.
    """
    stems = _stems(f"{where.stem}{label}", len(images))
    return [save_one(image, where, stem) for image, stem in zip(images, stems, strict=True)]


def save_missing(images: Sequence[Image], where: Target) -> list[Path]:
    """`save`, but only of images that are not there already, under one of the names they get.

    Returns:
        Where each one is; nothing when all were there.

    Raises:
        OSError: No place on this machine takes an image.
    """
    several = len(images) > 1
    stems = [
        f"{where.stem}-{number}" if several else where.stem for number in range(1, len(images) + 1)
    ]
    found = [_found(image, where, stem) for image, stem in zip(images, stems, strict=True)]
    if all(found):
        return []
    return [
        path or save_one(image, where, stem)
        for image, stem, path in zip(images, stems, found, strict=True)
    ]


def is_there(where: Target) -> bool:
    """Whether some image of that name was written, whatever its format and number."""
    paths = where.folder.glob(f"{glob.escape(where.stem)}[-.]*")
    return any(path.is_file() and path.stat().st_size for path in paths)


def _found(image: Image, where: Target, stem: str) -> Path | None:
    """The file that holds these very bytes.

    A name that was reserved by a process that was killed before it wrote is filled in.
    """
    for name in _names(stem):
        path = where.folder / f"{name}.{image.extension}"
        try:
            size = path.stat().st_size
            if size == image.nbytes and path.read_bytes() == image.data:
                return path
            if size == 0:
                return image.save(path, overwrite=True)
        except OSError:
            return None
        if where.overwrite:
            return None
    raise AssertionError("unreachable: the names never end")


def save_one(image: Image, where: Target, stem: str) -> Path:
    """Write one picture; where the folder fails, the current and the temporary one are tried."""
    try:
        return _save(image, where.folder, stem, overwrite=where.overwrite)
    except OSError as error:
        kept = _rescue(image, stem, error)
    print(f"could not write to {where.folder}; the picture is in {kept}", file=sys.stderr)
    return kept


def keep_bytes(data: bytes, name: str) -> Path:
    """Write bytes that are no picture to a new file in a temporary folder."""
    path = Path(tempfile.mkdtemp(prefix="gptimage-")) / name
    path.write_bytes(data)
    return path


def _save(image: Image, folder: Path, stem: str, *, overwrite: bool) -> Path:
    if overwrite:
        return image.save(folder / f"{stem}.{image.extension}")
    for name in _names(stem):
        path = folder / f"{name}.{image.extension}"
        try:
            return image.save(path, overwrite=False)
        except FileExistsError:
            if not os.path.lexists(path):  # it is the folder that exists, as a file
                raise
    raise AssertionError("unreachable: the names never end")


def _rescue(image: Image, stem: str, error: OSError) -> Path:
    for make in (Path.cwd, lambda: Path(tempfile.mkdtemp(prefix="gptimage-"))):
        try:
            return _save(image, make(), stem, overwrite=False)
        except OSError:
            continue
    raise error


def _stems(stem: str, count: int) -> list[str]:
    return [f"{stem}-{number}" for number in range(1, count + 1)] if count > 1 else [stem] * count


def _names(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}-{number}" for number in numbers(2))


def _slug(prompt: str) -> str:
    words = re.findall(r"\w+", prompt.lower())
    return "-".join(words)[:48].rstrip("-") or "picture"
