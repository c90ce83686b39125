"""The format and pixel size of a file, from its first bytes, without decoding.

Own readers for what the service returns (PNG, JPEG, WebP, GIF, SVG) because this runs on
every reply and must cost microseconds; anything else is left to Pillow. Every reader takes
hostile bytes: it checks bounds, moves forward at each step, and raises ImageDecodeError.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gptimage.errors import ImageDecodeError


# The little this library knows of SVG: that a file is one, its stated size, that it is whole.
#
# An SVG is never drawn here. Its root tag is read with one forward pass instead of an XML
# parser, because it may come from anywhere and parsers expand entities.

_HEAD: Final = 262_144
"""Bytes within which the root tag must end; comments and a doctype may precede it."""

_ROOT: Final = re.compile(r"<(?:[A-Za-z_][\w.-]{0,60}:)?svg(?=[\s/>]|$)")
_SPACES: Final = re.compile(r"\s*")
_ATTRIBUTE: Final = re.compile(r"""\s*([^\s=<>/"']{1,100})\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_LENGTH: Final = re.compile(r"\s*\+?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*(px|pt|pc|mm|cm|in)?\s*")
_PER_UNIT: Final = {"px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96}
"""Pixels per unit of length, fixed by CSS at 96 dots per inch."""


def svg_text(data: bytes) -> str:
    """Return the file as text, without its byte order mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def looks_like_svg(data: bytes) -> bool:
    """Return whether the first element of the file is ``svg``."""
    if not data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        return False
    text = svg_text(data[:_HEAD])
    return _ROOT.match(text, _prolog_end(text)) is not None


def svg_size(data: bytes) -> tuple[int | None, int | None]:
    """Width and height in CSS pixels from the root tag; None, None when it states none.

    Percentages are no size; a missing one comes from the viewBox.

    Raises:
        ImageDecodeError: The root tag is cut short.
    """
    attributes = _root_attributes(svg_text(data[:_HEAD]))
    width, height = (_length(attributes.get(name, "")) for name in ("width", "height"))
    box = _view_box(attributes.get("viewBox", ""))
    if box is not None:
        across, down = box
        if width is None and height is None:
            width, height = across, down
        elif width is None and height is not None:
            width = height * across / down
        elif height is None and width is not None:
            height = width * down / across
    if width is None or height is None or max(width, height) > 1e9:
        return None, None
    return max(1, round(width)), max(1, round(height))


def resized_svg(data: bytes, width: int, height: int) -> bytes:
    """Return the same drawing at this size in pixels: its viewBox is cut evenly to the new ratio.

    Raises:
        ImageDecodeError: Its first tag is damaged, or it is no UTF-8.
    """
    text = svg_text(data)
    if text.encode() != data.removeprefix(b"\xef\xbb\xbf"):
        raise ImageDecodeError("this svg is not written in UTF-8")
    attributes = _root_attributes(text)  # also proves that the tag is whole
    left, top, across, down = _box(attributes, *svg_size(data)) or (0, 0, width, height)
    scale = max(width / across, height / down)
    seen = (width / scale, height / scale)
    box = (left + (across - seen[0]) / 2, top + (down - seen[1]) / 2, *seen)
    root = _ROOT.match(text, _prolog_end(text))
    at = start = root.end() if root else len(text)
    kept: list[str] = []
    while match := _ATTRIBUTE.match(text, at):
        if match[1] not in {"width", "height", "viewBox"}:
            kept.append(match[0])
        at = match.end()
    shown = " ".join(f"{round(number, 4):g}" for number in box)
    sized = f' width="{width}" height="{height}" viewBox="{shown}"'
    return f"{text[:start]}{sized}{''.join(kept)}{text[at:]}".encode()


def root_end(text: str) -> int | None:
    """Return where the content of the root element starts; None where it has none."""
    root = _ROOT.match(text, _prolog_end(text))
    at = root.end() if root else len(text)
    while match := _ATTRIBUTE.match(text, at):
        at = match.end()
    at = _spaces_end(text, at)
    return at + 1 if text.startswith(">", at) else None


_SVG_XMP: Final = re.compile(r"\s*(?:<\?xpacket[^>]*>\s*)?<x:xmpmeta\b")


def with_svg_xmp(data: bytes, packet: bytes) -> bytes:
    """Return an svg with this XMP in place of its own; itself where it has no content."""
    text = svg_text(data)
    end = root_end(text)
    if end is None:
        return data
    rest = _without_xmp(text[end:])
    return f"{text[:end]}<metadata>{packet.decode()}</metadata>{rest}".encode()


def _without_xmp(text: str) -> str:
    """Return the content of an svg without its first XMP, in one pass."""
    opening, closing = "<metadata>", "</metadata>"
    start = text.find(opening)
    while start >= 0 and (end := text.find(closing, start)) >= 0:
        if _SVG_XMP.match(text, start + len(opening), end):
            return text[:start] + text[end + len(closing) :]
        start = text.find(opening, end)
    return text


def check_svg(data: bytes) -> None:
    """Prove that the file is whole, well-formed XML, without expanding any entity.

    Raises:
        ImageDecodeError: It is not, or it declares entities.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _refuse_entities
    try:
        parser.Parse(data, True)
    except ImageDecodeError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the others: odd encodings
        raise ImageDecodeError(f"this svg is not whole or not well-formed: {error}") from error


def _refuse_entities(*_: object) -> None:
    raise ImageDecodeError("this svg declares XML entities, which can unpack without end")


def _prolog_end(text: str) -> int:
    """Return where the first element starts, after XML declaration, comments and doctype."""
    at = 0
    while True:
        at = _spaces_end(text, at)
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
        elif text.startswith("<?", at):
            end = text.find("?>", at)
        elif text.startswith("<!", at):
            end = _doctype_end(text, at)
        else:
            return at
        if end < 0:
            return len(text)
        at = text.find(">", end) + 1


def _spaces_end(text: str, at: int) -> int:
    space = _SPACES.match(text, at)
    return space.end() if space else at


def _doctype_end(text: str, at: int) -> int:
    """Return the ``>`` of a doctype, which may hold declarations in square brackets; -1 if open."""
    end = text.find(">", at)
    inside = text.find("[", at, max(end, at))
    if inside < 0:
        return end
    close = text.find("]", inside)
    return -1 if close < 0 else text.find(">", close)


def _root_attributes(text: str) -> dict[str, str]:
    root = _ROOT.match(text, _prolog_end(text))
    at = root.end() if root else len(text)
    found: dict[str, str] = {}
    while match := _ATTRIBUTE.match(text, at):
        found.setdefault(match[1], match[2] if match[2] is not None else match[3])
        at = match.end()
    if not text.startswith((">", "/>"), _spaces_end(text, at)):
        raise ImageDecodeError("this svg is cut short or damaged within its first tag")
    return found


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    if not match:
        return None
    return float(match[1]) * _PER_UNIT[match[2] or "px"] or None


def _box(
    attributes: dict[str, str], width: int | None, height: int | None
) -> tuple[float, float, float, float] | None:
    """Return what is drawn, in the drawing's own units: left, top, width and height."""
    text = attributes.get("viewBox", "")
    if size := _view_box(text):
        left, top, _, _ = (float(part) for part in text.replace(",", " ").split())
        if math.isfinite(left) and math.isfinite(top):
            return left, top, *size
    return None if width is None or height is None else (0, 0, width, height)


def _view_box(text: str) -> tuple[float, float] | None:
    """Width and height of a viewBox; its first two numbers are an offset."""
    try:
        _, _, width, height = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return None
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        return None
    return width, height


MAX_PIXELS: Final = 178_956_970
"""Images with more pixels are refused: here Pillow refuses too, and 16 bytes could claim 4 GB.

The service draws 8 million pixels at most; the largest phone cameras take 108 million.
"""


class FormatInfo(NamedTuple):
    """The names of a format."""

    mime_type: str
    extensions: tuple[str, ...]


class Header(NamedTuple):
    """The facts in a file's header; sizes in pixels, None for an svg that states none."""

    format: str
    width: int | None
    height: int | None


FORMATS: Final[Mapping[str, FormatInfo]] = MappingProxyType(
    {
        "png": FormatInfo("image/png", ("png", "apng")),
        "jpeg": FormatInfo("image/jpeg", ("jpg", "jpeg", "jpe", "jfif")),
        "webp": FormatInfo("image/webp", ("webp",)),
        "gif": FormatInfo("image/gif", ("gif",)),
        "svg": FormatInfo("image/svg+xml", ("svg",)),
        "bmp": FormatInfo("image/bmp", ("bmp", "dib")),
        "tiff": FormatInfo("image/tiff", ("tiff", "tif")),
        "avif": FormatInfo("image/avif", ("avif",)),
        "ico": FormatInfo("image/x-icon", ("ico",)),
        "jpeg2000": FormatInfo("image/jp2", ("jp2", "j2k", "jpx")),
        "ppm": FormatInfo("image/x-portable-anymap", ("ppm", "pgm", "pbm", "pnm")),
        "": FormatInfo("application/octet-stream", ("bin",)),
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


def read_header(data: bytes) -> Header | None:
    """Return format and pixel size of a file the service makes; None if Pillow has to look.

    Raises:
        ImageDecodeError: It is no image, its header is cut short, or it claims an absurd size.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return check_size(_png(data))
    if data.startswith(b"\xff\xd8\xff"):
        return check_size(_jpeg(data))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return check_size(_gif(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return check_size(_webp(data))
    if looks_like_svg(data):
        return Header("svg", *svg_size(data))
    _refuse_others(data)
    return None


def check_size(header: Header) -> Header:
    """Return the header, unless it claims no pixels or more than any image has.

    Raises:
        ImageDecodeError: It does.
    """
    format, width, height = header.format, header.width or 0, header.height or 0
    if width < 1 or height < 1:
        raise ImageDecodeError(f"this {format} says it is {width}x{height} pixels: it is damaged")
    if width * height > MAX_PIXELS:
        raise ImageDecodeError(
            f"this {format} says it is {width}x{height} pixels; more than {MAX_PIXELS:,} in all "
            "are refused, as unpacking it could exhaust the memory"
        )
    return header


def _png(data: bytes) -> Header:
    """Return the IHDR chunk, always first: https://www.w3.org/TR/png-3/#11IHDR."""
    if len(data) < 33:
        raise _cut_short("png")
    if data[8:16] != b"\0\0\0\x0dIHDR" or zlib.crc32(data[12:29]) != _big(data[29:33]):
        raise ImageDecodeError("this png has a damaged header")
    return Header("png", _big(data[16:20]), _big(data[20:24]))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of every whole chunk of a PNG file, up to its end mark."""
    at, name = 8, b""
    while name != b"IEND" and at + 12 <= len(data):  # megabytes behind it would take seconds
        end = at + 8 + _big(data[at : at + 4])
        if end + 4 > len(data):  # the checksum belongs to the chunk
            return
        name = data[at + 4 : at + 8]
        yield name, at + 8, end
        at = end + 4


def _jpeg(data: bytes) -> Header:
    """Return the first start-of-frame segment, past EXIF and whatever else precedes it."""
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


GIF_XMP: Final = b"\x21\xff\x0bXMP DataXMP"
_GIF_XMP_END: Final = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Leads readers that take XMP for blocks to its end (XMP specification, part 3, 1.1.2)."""


def with_gif_xmp(data: bytes, packet: bytes) -> bytes:
    """Return a gif that has none with this XMP before its end."""
    return data[:-1] + GIF_XMP + packet + _GIF_XMP_END + data[-1:]


def _color_table_length(data: bytes, at: int) -> int:
    """Return bytes of the colour table announced by the flags at this place."""
    flags = data[at] if at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _sub_blocks_end(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _webp(data: bytes) -> Header:
    """Return the first chunk: https://developers.google.com/speed/webp/docs/riff_container."""
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


_HEIC: Final = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))


def _refuse_others(data: bytes) -> None:
    """Refuse by name what people take for an image, before Pillow is imported for it."""
    if not data:
        raise ImageDecodeError("there are no bytes: an empty file, or one that was read already")
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for prefix, what in _STARTS_WITH:
        if start.startswith(prefix):
            raise ImageDecodeError(f"this is {what}, not an image")
    # The first brand or, in files of kind mif1 and msf1, one of those after it: ISO/IEC 23008-12.
    brands = {data[at : at + 4] for at in range(8, 64, 4)} if data[4:8] == b"ftyp" else set[bytes]()
    if not brands.isdisjoint(_HEIC) and b"avif" not in brands:
        raise ImageDecodeError(
            "this is HEIC, which is not read here: export it as JPEG (Preview on a Mac, Photos on "
            "Windows; an iPhone set to Camera, Formats, Most Compatible takes JPEG), or convert it "
            "with the package pillow-heif"
        )


def lacks_its_end(data: bytes, format: str) -> bool:
    """Return whether an image was cut short, by the mark its format ends with; gif and svg: False.

    What stands behind the mark does not matter.
    """
    if format == "png":
        return all(name != b"IEND" for name, _, _ in png_chunks(data))
    if format == "webp":  # some leave out the byte that makes the last chunk even
        return len(data) + 1 < 8 + _little(data[4:8])
    return format == "jpeg" and b"\xff\xd9" not in data


def _cut_short(format: str) -> ImageDecodeError:
    return ImageDecodeError(f"this {format} is cut short: its header is not complete")


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


# Whether a file carries a C2PA manifest: signed statements of where an image comes from.
#
# Only its presence is looked for, where the C2PA specification puts it in each format
# (https://spec.c2pa.org, "Embedding manifests into various file formats"). Nothing is
# decoded, one pass over the file's chunks, each step bounded by the file's length.


def has_c2pa(data: bytes, format: str) -> bool:
    """Return whether a manifest is embedded; False for formats that cannot hold one."""
    look = _LOOK.get(format)
    return look is not None and look(data)


def _png_has_c2pa(data: bytes) -> bool:
    return any(name == b"caBX" and end > start for name, start, end in png_chunks(data))


def _jpeg_has_c2pa(data: bytes) -> bool:
    """APP11 segments hold JUMBF boxes; the first one of a manifest is described as ``c2pa``."""
    return any(
        marker == 0xEB and end <= len(data) and _is_c2pa_box(data[start : min(end, start + 64)])
        for marker, start, end in jpeg_segments(data)
    )


def _is_c2pa_box(head: bytes) -> bool:
    return head[:2] == b"JP" and b"jumb" in head[8:24] and b"jumdc2pa" in head


def _webp_has_c2pa(data: bytes) -> bool:
    return any(name == b"C2PA" and end > start for name, start, end in riff_chunks(data))


def _gif_has_c2pa(data: bytes) -> bool:
    """Return an application extension of that name: marker, label, length 11, then the name."""
    return any(
        marker == 0x21 and data[at + 1 : at + 11] == b"\xff\x0bC2PA_GIF"
        for marker, at in gif_blocks(data)
    )


def _svg_has_c2pa(data: bytes) -> bool:
    return b"<c2pa:manifest" in data


_LOOK: Final[Mapping[str, Callable[[bytes], bool]]] = MappingProxyType(
    {
        "png": _png_has_c2pa,
        "jpeg": _jpeg_has_c2pa,
        "webp": _webp_has_c2pa,
        "gif": _gif_has_c2pa,
        "svg": _svg_has_c2pa,
    }
)
