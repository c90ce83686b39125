"""Writing an image to a file: the right extension, all at once, never over a stranger."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final, cast

from gptimage._internal import atomic
from gptimage._internal.keywords import flag
from gptimage._internal.keywords import path as check_path
from gptimage._internal.lenient_base64 import decode as decode_base64
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image import transform
from gptimage.image.codecs import decode_errors, load, open_header
from gptimage.image.formats import FORMATS, check_svg
from gptimage.image.lookalike import lookalike
from gptimage.image.protocols import BinaryFile, PilImage


# The bytes of whatever holds an image: path, bytes, file, PIL image, data URL.


def read(source: object) -> bytes:
    """Return the bytes of an image source; see `Image.open`."""
    if isinstance(source, str):
        return _from_text(source)
    if isinstance(source, os.PathLike):
        return read_path(cast("os.PathLike[str]", source))
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(cast("bytes", source))
    if hasattr(source, "read"):
        return read_binary(cast("BinaryFile", source))
    return transform.from_pil(cast("PilImage", source))


def read_path(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file, or of the one whose name looks the same."""
    with atomic.open_file(lookalike(Path(path).expanduser())) as file:
        return file.read()


def read_binary(file: BinaryFile) -> bytes:
    """Return the rest of an open binary file; see `Image.from_file`."""
    if not hasattr(file, "read"):
        raise InvalidRequestError(
            "from_file takes an open file: Image.open and Image.from_path take its path",
            field="file",
            value=file,
            allowed="a binary file",
        )
    data: object = file.read()
    if not isinstance(data, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]  # text files
        raise InvalidRequestError(
            f"the file gave {type(data).__name__}, not bytes: open it in binary mode ('rb')",
            field="file",
            value=type(file).__name__,
            allowed="a binary file",
        )
    return bytes(data)


def _from_data_url(url: str) -> bytes:
    """Read a ``data:`` URL, base64 or percent-encoded; its stated MIME type is not trusted."""
    if "," not in url:
        raise ImageDecodeError("this data URL has no comma, so no content: it is cut short")
    try:
        return decode_base64(url.encode("utf-8", "replace"))
    except ValueError as error:
        raise ImageDecodeError(f"the base64 of this data URL is broken: {error}") from error


def _from_text(text: str) -> bytes:
    scheme = text[:8].lower()
    if scheme.startswith("data:"):
        return _from_data_url(text)
    if scheme.startswith(("http://", "https://")):
        raise InvalidRequestError(
            "Image.open reads no web addresses: pass the URL to client.edit, "
            "which downloads it safely",
            field="source",
            allowed="a path, bytes, a binary file, a PIL image or a data: URL",
        )
    if "\0" in text:
        raise InvalidRequestError("a path cannot hold a NUL character", field="source", value=text)
    return read_path(text)


# Proving that an image is whole: every checksum and every pixel is read.


def verify(data: bytes, format: str) -> None:
    """Decode every pixel; see `Image.verify`."""
    if format == "svg":
        check_svg(data)
        return
    header = open_header(data, format)
    with decode_errors(format):
        header.verify()  # PNG checksums, which decoding skips
    if format == "gif":
        transform.check_frames(data)
        _check_gif_end(data)
    else:
        image = open_header(data, format)
        with decode_errors(format):
            load(image)


def _check_gif_end(data: bytes) -> None:
    """Cut between two frames, a gif decodes without complaint; only its last byte tells."""
    if not data.rstrip(b"\0\r\n").endswith(b";"):
        raise ImageDecodeError("this gif is cut short: its end marker is missing")


IMAGE_EXTENSIONS: Final = frozenset(
    f".{extension}" for name, kind in FORMATS.items() if name for extension in kind.extensions
)


def save(data: bytes, format: str, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write the bytes to a file; see `Image.save`."""
    check_path("path", path)
    flag("overwrite", overwrite)
    asked = Path(path).expanduser()
    if asked.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        import hashlib

        digest = hashlib.sha256(data).hexdigest()
        asked = asked / f"image-{digest[:8]}.{_extensions(format)[0]}"
    target = with_true_extension(asked, format)
    target.parent.mkdir(parents=True, exist_ok=True)
    renamed = asked.suffix.lower() in IMAGE_EXTENSIONS and target != asked
    if overwrite and not renamed:
        _replace(target, data)
        return target
    target = _reserve(target, numbered=renamed)
    try:
        _replace(target, data)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def with_true_extension(path: Path, format: str) -> Path:
    """Keep a fitting extension, replace the wrong one of another format, add a missing one."""
    suffix, extensions = path.suffix.lower(), _extensions(format)
    if suffix.removeprefix(".") in extensions:
        return path
    if suffix in IMAGE_EXTENSIONS:
        return path.with_suffix(f".{extensions[0]}")
    return path.with_name(f"{path.name}.{extensions[0]}")


def _extensions(format: str) -> tuple[str, ...]:
    return FORMATS.get(format, FORMATS[""]).extensions


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
    atomic.replace(Path(os.path.realpath(path)), data, mode=atomic.PUBLIC, fsync=False)
