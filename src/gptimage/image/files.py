"""Writing a picture to a file: the right extension, all at once, never over a stranger."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptimage.image.formats import KINDS


if TYPE_CHECKING:
    from gptimage.image.image import Image

_PICTURE_EXTENSIONS: Final = frozenset(
    f".{extension}" for name, kind in KINDS.items() if name for extension in kind.extensions
)


def save(image: Image, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """See `Image.save`."""
    asked = Path(path).expanduser()
    if asked.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        asked = asked / f"image-{image.sha256[:8]}.{image.extension}"
    target = with_true_extension(asked, image)
    target.parent.mkdir(parents=True, exist_ok=True)
    renamed = asked.suffix.lower() in _PICTURE_EXTENSIONS and target != asked
    if overwrite and not renamed:
        _replace(target, image.data)
        return target
    target = _reserve(target, numbered=renamed)
    try:
        _replace(target, image.data)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def with_true_extension(path: Path, image: Image) -> Path:
    """Keep a fitting extension, replace a picture's wrong one, add a missing one."""
    suffix = path.suffix.lower()
    kind = KINDS.get(image.format, KINDS[""])
    if suffix.removeprefix(".") in kind.extensions:
        return path
    if suffix in _PICTURE_EXTENSIONS:
        return path.with_suffix(f".{image.extension}")
    return path.with_name(f"{path.name}.{image.extension}")


def _reserve(path: Path, *, numbered: bool) -> Path:
    """Create the file, empty, so that nobody else can take its name.

    Raises:
        FileExistsError: The name is taken, and no number may be added.
    """
    for number in itertools.count(1):
        name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            name.open("xb").close()
        except FileExistsError:
            if not numbered:
                raise
        else:
            return name
    raise AssertionError("count() does not end")


def _replace(path: Path, data: bytes) -> None:
    """Put a complete file in place of whatever has this name, following a symbolic link."""
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".gptimage-{secrets.token_hex(8)}.tmp")
    try:
        draft.write_bytes(data)
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
