"""Turning whatever holds a picture (path, bytes, file, PIL image, data URL) into an `Image`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image.image import Image


if TYPE_CHECKING:
    from gptimage.image.image import BinaryFile, ImageSource, PilImage


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
