"""Writing a picture to a file: the right extension, all at once, never over a stranger."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from gptimage._internal import atomic
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image import transform
from gptimage.image.codecs import decode_errors, load, open_header
from gptimage.image.formats import FORMATS, check_svg, svg_text
from gptimage.image.image import Image


if TYPE_CHECKING:
    from gptimage.image.image import BinaryFile, ImageSource, PilImage


# How a picture shows itself in a notebook.

_PREVIEW_PX: Final = 1024
"""Longest edge in pixels: a notebook file keeps what it showed, so that must stay small."""


def preview(image: Image) -> Image | None:
    """The picture in a format every notebook draws; None when it is broken."""
    if image.format in {"gif", "svg"}:
        return image
    try:
        small = image.thumbnail(_PREVIEW_PX)
        return small if small.format in {"png", "jpeg"} else small.convert("png")
    except ImageDecodeError:
        return None


def bundle(image: Image) -> dict[str, str]:
    """MIME type and content, base64 for binary formats; empty when it is broken."""
    import pybase64

    shown = preview(image)
    if shown is None:
        return {}
    if shown.format == "svg":
        return {shown.mime_type: svg_text(shown.data)}
    return {shown.mime_type: pybase64.b64encode_as_string(shown.data)}


# Turning whatever holds a picture (path, bytes, file, PIL image, data URL) into an `Image`.


def read(source: ImageSource) -> Image:
    """See `Image.open`."""
    if isinstance(source, str):
        return _from_text(source)
    if isinstance(source, os.PathLike):
        return Image.from_path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return Image.from_bytes(source)
    if hasattr(source, "read"):
        return from_file(cast("BinaryFile", source))
    return Image.from_pil(cast("PilImage", source))


def from_file(file: BinaryFile) -> Image:
    """See `Image.from_file`."""
    data: object = file.read()
    if not isinstance(data, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]  # text files
        raise InvalidRequestError(
            f"the file gave {type(data).__name__}, not bytes: open it in binary mode ('rb')",
            field="file",
            value=type(file).__name__,
            allowed="a binary file",
        )
    return Image.from_bytes(data)


def from_data_url(url: str) -> Image:
    """Read a ``data:`` URL, base64 or percent-encoded; its stated MIME type is not trusted.

    Raises:
        ImageDecodeError: It holds no picture.
    """
    head, comma, body = url.partition(",")
    if not comma:
        raise ImageDecodeError("this data URL has no comma, so no content: it is cut short")
    from urllib.parse import unquote_to_bytes

    content = unquote_to_bytes(body) if "%" in body else body.encode("utf-8", "replace")
    if head.lower().rstrip().endswith(";base64"):
        content = _from_base64(content)
    return Image.from_bytes(content)


def _from_base64(text: bytes) -> bytes:
    from gptimage.transport.base64_body import decode

    try:
        return decode(text)
    except ValueError as error:
        raise ImageDecodeError(f"the base64 of this data URL is broken: {error}") from error


def _from_text(text: str) -> Image:
    scheme = text[:8].lower()
    if scheme.startswith("data:"):
        return from_data_url(text)
    if scheme.startswith(("http://", "https://")):
        raise InvalidRequestError(
            "Image.open reads no web addresses: pass the URL to client.edit, "
            "which downloads it safely",
            field="source",
            allowed="a path, bytes, a binary file, a PIL image or a data: URL",
        )
    if "\0" in text:
        raise InvalidRequestError("a path cannot hold a NUL character", field="source", value=text)
    return Image.from_path(text)


# Proving that a picture is whole: every checksum and every pixel is read.


def verify(image: Image) -> None:
    """See `Image.verify`."""
    if image.format == "svg":
        check_svg(image.data)
        return
    header = open_header(image)
    with decode_errors(image.format):
        header.verify()  # PNG checksums, which decoding skips
    if image.format == "gif":
        transform.check_frames(image)
        _check_gif_end(image.data)
    else:
        picture = open_header(image)
        with decode_errors(image.format):
            load(picture)


def _check_gif_end(data: bytes) -> None:
    """Cut between two frames, a gif decodes without complaint; only its last byte tells."""
    if not data.rstrip(b"\0\r\n").endswith(b";"):
        raise ImageDecodeError("this gif is cut short: its end marker is missing")


_PICTURE_EXTENSIONS: Final = frozenset(
    f".{extension}" for name, kind in FORMATS.items() if name for extension in kind.extensions
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
    kind = FORMATS.get(image.format, FORMATS[""])
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
    atomic.replace(Path(os.path.realpath(path)), data, mode=atomic.PUBLIC, fsync=False)
