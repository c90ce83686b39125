"""What a file really is: format and pixel size from its first bytes, without decoding.

Own readers for what the service returns (PNG, JPEG, WebP, GIF, SVG) because this runs on
every reply and must cost microseconds; anything else is left to Pillow. Every reader takes
hostile bytes: it checks bounds, moves forward at each step, and raises ImageDecodeError.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gptimage._svg import looks_like_svg, svg_size
from gptimage.errors import ImageDecodeError


MAX_PIXELS: Final = 178_956_970
"""Pictures with more pixels are refused: here Pillow refuses too, and 16 bytes could claim 4 GB.

The service draws 8 million pixels at most; the largest phone cameras take 108 million.
"""


class Kind(NamedTuple):
    """How the world names a format."""

    mime_type: str
    extensions: tuple[str, ...]


class Header(NamedTuple):
    """What the header of a file says; sizes in pixels, None for an svg that states none."""

    format: str
    width: int | None
    height: int | None


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "png": Kind("image/png", ("png", "apng")),
        "jpeg": Kind("image/jpeg", ("jpg", "jpeg", "jpe", "jfif")),
        "webp": Kind("image/webp", ("webp",)),
        "gif": Kind("image/gif", ("gif",)),
        "svg": Kind("image/svg+xml", ("svg",)),
        "bmp": Kind("image/bmp", ("bmp", "dib")),
        "tiff": Kind("image/tiff", ("tiff", "tif")),
        "avif": Kind("image/avif", ("avif",)),
        "ico": Kind("image/x-icon", ("ico",)),
        "jpeg2000": Kind("image/jp2", ("jp2", "j2k", "jpx")),
        "ppm": Kind("image/x-portable-anymap", ("ppm", "pgm", "pbm", "pnm")),
        "": Kind("application/octet-stream", ("bin",)),
    }
)
"""Every format an `Image` can have, and the empty name for any other."""

_STARTS_WITH: Final = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"{", "JSON"),
    (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a ZIP archive"),
)


def sniff(data: bytes) -> Header:
    """The real format and pixel size of a file.

    Raises:
        ImageDecodeError: It is no picture, its header is cut short, or it claims an absurd size.
    """
    header = _header(data)
    if header.width is not None and header.height is not None and header.format != "svg":
        _check_size(header.format, header.width, header.height)
    return header


def _header(data: bytes) -> Header:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if looks_like_svg(data):
        return Header("svg", *svg_size(data))
    return _ask_pillow(data)


def _check_size(format: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageDecodeError(f"this {format} says it is {width}x{height} pixels: it is damaged")
    if width * height > MAX_PIXELS:
        raise ImageDecodeError(
            f"this {format} says it is {width}x{height} pixels; more than {MAX_PIXELS:,} in all "
            "are refused, as unpacking it could exhaust the memory"
        )


def _png(data: bytes) -> Header:
    """The IHDR chunk, always first: https://www.w3.org/TR/png-3/#11IHDR."""
    if len(data) < 33:
        raise _cut_short("png")
    if data[8:16] != b"\0\0\0\x0dIHDR" or zlib.crc32(data[12:29]) != _big(data[29:33]):
        raise ImageDecodeError("this png has a damaged header")
    return Header("png", _big(data[16:20]), _big(data[20:24]))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of every whole chunk of a PNG file."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + _big(data[at : at + 4])
        if end + 4 > len(data):  # the checksum belongs to the chunk
            return
        yield data[at + 4 : at + 8], at + 8, end
        at = end + 4


def _jpeg(data: bytes) -> Header:
    """The first start-of-frame segment, past EXIF and whatever else precedes it."""
    for marker, start, end in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if end - start < 6 or end > len(data):
                break
            return Header(
                "jpeg", _big(data[start + 3 : start + 5]), _big(data[start + 1 : start + 3])
            )
    raise _cut_short("jpeg")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of every segment before the compressed pixels.

    The last one may end past the data when the file is cut short.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # padding, no content
            at += 1 if marker == 0xFF else 2
            continue
        length = _big(data[at + 2 : at + 4])
        if marker == 0xD9 or length < 2:
            break
        yield marker, at + 4, at + 2 + length
        if marker == 0xDA:  # start of scan
            break
        at += 2 + length


def _gif(data: bytes) -> Header:
    if len(data) < 13:
        raise _cut_short("gif")
    return Header("gif", _little(data[6:8]), _little(data[8:10]))


def gif_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of every extension (0x21) and every frame (0x2C), in order.

    Bytes that are neither are stepped over, as decoders do.
    """
    at = 13 + _color_table_length(data, 10)
    while at < len(data) and data[at] != 0x3B:  # the end marker
        marker = data[at]
        if marker == 0x21:  # label, then sub-blocks
            yield marker, at
            at = _sub_blocks_end(data, at + 2)
        elif marker == 0x2C:  # place and size, colours, code size, then sub-blocks
            yield marker, at
            at = _sub_blocks_end(data, at + 11 + _color_table_length(data, at + 9))
        else:
            at += 1


def _color_table_length(data: bytes, at: int) -> int:
    """Bytes of the colour table announced by the flags at this place."""
    flags = data[at] if at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _sub_blocks_end(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _webp(data: bytes) -> Header:
    """The first chunk: https://developers.google.com/speed/webp/docs/riff_container."""
    chunk = data[12:16]
    if len(data) < (25 if chunk == b"VP8L" else 30):
        raise _cut_short("webp")
    if chunk == b"VP8X":
        return Header("webp", _little(data[24:27]) + 1, _little(data[27:30]) + 1)
    if chunk == b"VP8L" and data[20] == 0x2F:
        bits = _little(data[21:25])
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return Header("webp", _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF)
    raise ImageDecodeError("this webp has a damaged header")


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of every whole chunk of a WebP file."""
    at = 12
    while at + 8 <= len(data):
        end = at + 8 + _little(data[at + 4 : at + 8])
        if end > len(data):
            break
        yield data[at : at + 4], at + 8, end
        at = end + (end - at) % 2  # chunks are padded to even lengths


def _ask_pillow(data: bytes) -> Header:
    """Formats only users bring; Pillow is imported, so text is turned away before."""
    if not data:
        raise ImageDecodeError("there are no bytes: an empty file, or one that was read already")
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for prefix, what in _STARTS_WITH:
        if start.startswith(prefix):
            raise ImageDecodeError(f"this is {what}, not a picture")
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"heim", b"heis"):
        raise ImageDecodeError("this is HEIC, which is not read here: save it as JPEG or PNG first")
    from gptimage.image.codecs import peek

    return Header(*peek(data))


def _cut_short(format: str) -> ImageDecodeError:
    return ImageDecodeError(f"this {format} is cut short: its header is not complete")


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
