"""Reading pixels: the one place that hands foreign bytes to Pillow.

Pillow answers broken files with almost any exception; here all of them become
ImageDecodeError. It is imported inside functions, so that importing gptimage stays light.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage.errors import ConfigurationError, GptImageError, ImageDecodeError, InvalidRequestError
from gptimage.image.formats import Header, check_size, png_chunks, read_header, with_gif_xmp


if TYPE_CHECKING:
    from PIL.Image import Image as Pil
    from PIL.ImageFile import ImageFile


# Writing pixels: PNG, JPEG, WebP and GIF files, each with the settings this library chose.

XMP: Final = "xmp"
"""Where a PIL image carries the XMP that `encode` writes: it stays there through most changes."""

QUALITY: Final = 90
"""For JPEG and WebP, when none is asked for."""

AVIF_QUALITY: Final = 75
"""For AVIF, whose scale is another: it looks as 90 does in the others."""

FULL_COLOR_QUALITY: Final = 95
"""From here on JPEG keeps colours at full resolution: halving them would be what shows most."""

MAX_EDGE: Final = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535, "avif": 65_535}
"""Pixels; what the formats or their encoders can hold."""

_CLEAR: Final = 255
"""The palette entry of transparent pixels in a gif."""

_COLOR_SPACE: Final = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}
"""What an ICC profile must say it describes to fit pixels of this mode."""


def encode(
    image: Pil,
    format: str,
    *,
    quality: int | None = None,
    lossless: bool = False,
    keep_profile: bool = True,
) -> bytes:
    """Return the image as a file.

    Args:
        image: In mode L, RGB or RGBA.
        format: ``png``, ``jpeg``, ``webp``, ``avif`` or ``gif``.
        quality: 1 to 100 for jpeg, webp and avif; when left out, `QUALITY`, or for avif
            `AVIF_QUALITY`.
        lossless: For webp: keep every pixel.
        keep_profile: Keep the ICC profile, where the format and the pixels allow it.

    Raises:
        ConfigurationError: It is to be avif, and this Pillow was built without it.
        InvalidRequestError: The image is too large for the format.
    """
    _check_edges(image.size, format)
    if format == "gif":
        return encode_gif([image])
    if format == "jpeg":
        image = on_white(image)
    found = image.info.get("icc_profile") if keep_profile else None
    fits = isinstance(found, bytes) and found[16:20] == _COLOR_SPACE.get(image.mode)
    profile: bytes | None = found if fits else None
    xmp: bytes | None = image.info.get(XMP)
    if format == "png":
        return encode_png(image, profile=profile, xmp=xmp)
    usual = AVIF_QUALITY if format == "avif" else QUALITY
    options = _options(format, usual if quality is None else quality, lossless)
    if xmp is not None:
        options["xmp"] = xmp
    if format == "avif":
        _check_avif()
    buffer = io.BytesIO()
    image.save(buffer, format, icc_profile=profile, **options)
    return buffer.getvalue()


def encode_gif(
    frames: Sequence[Pil], durations: Sequence[int] = (), loop: int | None = None
) -> bytes:
    """Write frames of one size as a gif with a palette for each; alpha becomes on or off."""
    options: dict[str, Any] = {} if loop is None else {"loop": loop}
    if any(has_transparency(frame) for frame in frames):
        # Every frame says so, and clears what is before it, or that would shine through.
        paletted = [_with_clear_entry(frame) for frame in frames]
        _set_clear_color(paletted, _unused_color(paletted))
        options["disposal"] = 2
    else:
        paletted = [_with_palette(frame, 256) for frame in frames]
    if len(frames) > 1:
        options |= {"save_all": True, "append_images": paletted[1:], "duration": list(durations)}
    buffer = io.BytesIO()
    paletted[0].save(buffer, "gif", optimize=False, **options)
    packet = frames[0].info.get(XMP)
    return buffer.getvalue() if packet is None else with_gif_xmp(buffer.getvalue(), packet)


_STRIP: Final = 64
"""Rows of pixels that are filtered at once."""

_COLOR_TYPE: Final = {"L": 0, "RGB": 2, "RGBA": 6}
"""What a PNG calls these modes: https://www.w3.org/TR/png-3/#11IHDR."""


def encode_png(
    image: Pil,
    *,
    level: int = 1,
    profile: bytes | None = None,
    xmp: bytes | None = None,
    comment: str | None = None,
) -> bytes:
    """Return a PNG, with the filter "up" for all rows: Pillow tries five on each.

    Args:
        image: In mode L, RGB or RGBA.
        level: How hard to compress, 1 to 9; at 1 only runs of equal bytes are looked for, which
            takes a third of Pillow's time on a photograph and makes it no larger.
        profile: An ICC profile.
        xmp: An XMP packet.
        comment: Text in UTF-8.
    """
    from PIL import ImageChops

    header = struct.pack(">2I5B", *image.size, 8, _COLOR_TYPE[image.mode], 0, 0, 0)
    width, height = image.size
    wide = width * len(image.getbands())
    strategy = zlib.Z_RLE if level == 1 else zlib.Z_DEFAULT_STRATEGY
    packer = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    packed: list[bytes] = []
    # In strips: whole copies would take twice the memory of the image.
    for top in range(0, height, _STRIP):
        bottom = min(height, top + _STRIP)
        rows = image.crop((0, top, width, bottom))
        above = image.crop((0, top - 1, width, bottom - 1))  # zeros above the first row
        raw = ImageChops.subtract_modulo(rows, above).tobytes()
        filtered = b"".join(b"\2" + raw[at : at + wide] for at in range(0, len(raw), wide))
        packed.append(packer.compress(filtered))
    packed.append(packer.flush())
    parts = [(b"IHDR", header)]
    if profile is not None:
        parts.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if xmp is not None:
        parts.append((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp))
    if comment is not None:
        parts.append((b"iTXt", b"Comment" + bytes(5) + comment.encode()))
    parts += [(b"IDAT", b"".join(packed)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, content) for name, content in parts)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def has_transparency(image: Pil) -> bool:
    """Return whether any pixel is not fully opaque."""
    return (
        "A" in image.mode and cast("tuple[int, int]", image.getchannel("A").getextrema())[0] < 255
    )


def on_or_off(alpha: Pil) -> Pil:
    """Opacity as 0 or 255, nothing in between."""
    table = [0] * 128 + [255] * 128
    return alpha.point(table)  # pyright: ignore[reportUnknownMemberType]  # names numpy


def on_white(image: Pil) -> Pil:
    """Return the image without transparency, laid on white."""
    import PIL.Image

    if "A" not in image.mode:
        return image
    white = PIL.Image.new("RGBA", image.size, "white")
    flat = PIL.Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    flat.info.update(image.info)
    return flat


def _options(format: str, quality: int, lossless: bool) -> dict[str, Any]:
    """Return the options of Pillow's writer of this format."""
    if format == "webp" and lossless:
        return {"lossless": True, "exact": True, "method": 0}  # 0: 13 times faster than 4
    if format == "avif":
        return {"quality": quality, "speed": 8}  # 5 times faster than 6, and a quarter larger
    if format == "jpeg" and quality >= FULL_COLOR_QUALITY:
        return {"quality": quality, "subsampling": 0}
    return {"quality": quality}


def _check_avif() -> None:
    from PIL import features

    if not features.check("avif"):
        raise ConfigurationError(
            "this Pillow was built without AVIF: install the wheel from PyPI "
            "(pip install --force-reinstall pillow), or convert to webp"
        )


def _check_edges(size: tuple[int, int], format: str) -> None:
    limit = MAX_EDGE.get(format)
    if limit is not None and max(size) > limit:
        raise InvalidRequestError(
            f"a {format} has at most {limit} pixels on an edge, this image has {max(size)}: "
            "use png, or thumbnail() first",
            field="format",
            value=format,
            allowed=("png",),
        )


def _with_palette(image: Pil, colors: int) -> Pil:
    from PIL.Image import Quantize

    flat = image if image.mode in {"L", "RGB"} else image.convert("RGB")
    return flat.quantize(colors, Quantize.MEDIANCUT)


def _with_clear_entry(image: Pil) -> Pil:
    """Return at most 255 colours, and one entry for what is more transparent than not."""
    from PIL import ImageChops

    paletted = _with_palette(image, _CLEAR)
    if "A" in image.mode:
        clear = ImageChops.invert(on_or_off(image.getchannel("A")))
        paletted.paste(_CLEAR, mask=clear)
    paletted.info["transparency"] = _CLEAR
    return paletted


def _unused_color(frames: Sequence[Pil]) -> tuple[int, int, int]:
    """A colour in no palette: Pillow's gif writer tells clear pixels from opaque ones by colour."""
    used: set[tuple[int, ...]] = set()
    for frame in frames:
        palette = frame.getpalette() or []
        used.update(zip(palette[::3], palette[1::3], palette[2::3], strict=False))
    return next((r, g, b) for r, g, b in product(range(256), repeat=3) if (r, g, b) not in used)


def _set_clear_color(frames: Sequence[Pil], color: tuple[int, int, int]) -> None:
    for frame in frames:
        palette = [*(frame.getpalette() or []), *bytes(768)][: 3 * _CLEAR]
        frame.putpalette([*palette, *color])


OTHER_FORMATS: Final = ("bmp", "tiff", "avif", "ico", "jpeg2000", "ppm")
"""What users bring besides the service's formats.

Pillow reads more, but some of it runs other programs (eps) or takes any bytes for an image (tga).
"""

LIMIT_NAME: Final = "GPTIMAGE_MAX_DECODED_MB"
"""The environment variable that sets `memory_limit`, in megabytes."""

_MEMORY: Final = 512_000_000
_PIXEL_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "LA": 4}
"""Bytes of a pixel in Pillow's memory; 4 in every other mode."""

_DECODER_BYTES: Final = {"webp": 17, "avif": 10, "jpeg2000": 20}
"""Bytes a pixel takes while it is decoded, where that is more (measured with Pillow 13)."""

_LARGEST_TEXT: Final = 1 << 20
"""Bytes; Pillow refuses a whole PNG for a longer text or profile."""

_ORIENTATION: Final = 0x0112
"""The EXIF tag; 5 to 8 swap width and height."""


def sniff(data: bytes) -> Header:
    """Return the real format and pixel size of a file.

    Raises:
        ImageDecodeError: It is no image, its header is cut short, or it claims an absurd size.
    """
    header = read_header(data)
    if header is None:
        with decode_errors("image"):
            image = open_file(data, OTHER_FORMATS)
            format = (image.format or "").lower()
        header = check_size(Header(format, image.width, image.height))
    return header


def open_header(data: bytes, format: str, *, whole: bool = False) -> ImageFile:
    """Return the image as a PIL file with its header read and no pixels decoded yet.

    Args:
        data: The file.
        format: Its format, as `sniff` finds it.
        whole: Also read what a PNG says beside its pixels, which can be the reason to fail.

    Raises:
        ImageDecodeError: The header is broken, or it is an svg.
    """
    if format == "svg":
        raise ImageDecodeError(
            "an svg is a drawing program and never run here: it has no pixels to work on; "
            "save it and open it in a browser or a drawing tool"
        )
    with decode_errors(format):
        if format == "png" and not whole:
            return open_file(without_texts(data), (format,))
        return open_file(data, (format,))


def decode(
    data: bytes, format: str, *, at_least: int | None = None, xmp: bytes | None = None
) -> Pil:
    """Return the first frame, upright, in mode L, RGB or RGBA.

    Args:
        data: The file.
        format: Its format, as `sniff` finds it.
        xmp: An XMP packet for the files that are made of it; its own is dropped.
        at_least: Needed pixels on the longest edge; a JPEG is then decoded at a lower size.

    Raises:
        ImageDecodeError: It is broken, too large to unpack, or an svg.
    """
    image = open_header(data, format)
    with decode_errors(format):
        if at_least is not None:
            _decode_reduced(image, at_least)
        load(image)
        plain = to_rgb_or_rgba(upright(image))
    if xmp is not None:
        plain.info[XMP] = xmp
    return plain


def oriented_size(data: bytes, format: str) -> tuple[int, int]:
    """Return width and height in pixels as a viewer shows it, EXIF rotation applied.

    Raises:
        ImageDecodeError: It is broken, or an svg.
    """
    image = open_header(data, format)
    turned = orientation(image) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else (image.width, image.height)


def load(image: ImageFile) -> None:
    """Decode the pixels, once it is known that they fit into `memory_limit`.

    Raises:
        ImageDecodeError: They do not. Whatever else Pillow raises is passed on.
    """
    check_memory(image.format or "", image.mode, image.width * image.height)
    image.load()


def check_memory(format: str, mode: str, pixels: int, *, copies: int = 1) -> None:
    """Refuse what would unpack to more than `memory_limit`, before any pixel is decoded.

    Args:
        format: The format, whose decoder may need more than the pixels.
        mode: Pillow's name of the pixel layout.
        pixels: Of all frames that are held at the same time.
        copies: How often each is held.

    Raises:
        ImageDecodeError: It would.
    """
    each = max(_DECODER_BYTES.get(format.lower(), 0), _PIXEL_BYTES.get(mode, 4)) * copies
    if pixels * each > memory_limit():
        raise ImageDecodeError(
            f"it has {pixels:,} pixels, which take {pixels * each // 1_000_000:,} MB to unpack; "
            f"the limit is {memory_limit() // 1_000_000:,} MB (environment variable {LIMIT_NAME})"
        )


def memory_limit() -> int:
    """Return bytes one image may take when it is unpacked.

    Raises:
        ConfigurationError: The environment variable is no whole number from 1 up.
    """
    text = os.environ.get(LIMIT_NAME)
    if text is None:
        return _MEMORY
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text)):
        raise ConfigurationError(f"{LIMIT_NAME} is {text[:20]!r}: write megabytes, such as 512")
    return int(text) * 1_000_000


def orientation(image: Pil) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none that can be read.

    Nothing else of EXIF is looked at: cameras and editors write values no reader accepts, and
    every viewer shows such a photograph.
    """
    from PIL import Image as pil

    try:
        # Not the format's own method, which decodes a PNG to its end to look for more.
        value: object = pil.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  # EXIF that is no TIFF, or anything at all
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(image: Pil) -> Pil:
    """Return the image turned the way its EXIF data says, or itself."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def without_texts(data: bytes) -> bytes:
    """A PNG without the texts and large profiles beside its pixels, over which Pillow gives up."""
    kept = [data[:8]]
    at = 8
    for name, start, end in png_chunks(data):
        if name == b"IDAT" or not _is_dead_weight(name, data[start:end]):
            kept.append(data[start - 8 : end + 4])
        at = end + 4
    if sum(map(len, kept)) == at:
        return data
    return b"".join([*kept, data[at:]])  # what follows is cut short: that is Pillow's to find


def to_rgb_or_rgba(image: Pil) -> Pil:
    """Return the same pixels in mode L, RGB or RGBA, where every operation works.

    Of what the file holds besides pixels only the ICC profile stays, so that a comment or a
    rotation already applied is not written again.
    """
    image = _to_plain_mode(image)
    profile = image.info.get("icc_profile")
    image.info = {} if profile is None else {"icc_profile": profile}
    return image


def open_file(data: bytes, formats: tuple[str, ...]) -> ImageFile:
    """Return a file in one of these formats with its header read.

    As ``PIL.Image.open``, whose own limit on pixels does not know how many bytes one takes: it
    warns at every photograph of a large phone camera, and lets small bombs through.
    """
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    for name in map(str.upper, formats):
        if name not in pil.OPEN:
            pil.init()
        factory, accept = pil.OPEN.get(name, (None, None))
        if factory is None or (accept is not None and accept(data[:16]) is not True):
            continue
        if name == "WEBP":  # its decoder takes its memory when it is made
            _, width, height = read_header(data) or ("", 0, 0)
            check_memory("webp", "RGBA", (width or 0) * (height or 0))
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # what Pillow's readers raise for a file that is not theirs
    raise UnidentifiedImageError


def _is_dead_weight(name: bytes, content: bytes) -> bool:
    """Whether a chunk matters to no pixel; XMP may hold the orientation and stays while small."""
    if name == b"iCCP":
        packed = content.partition(b"\0")[2][1:]
        unpacker = zlib.decompressobj()
        try:
            return len(unpacker.decompress(packed, _LARGEST_TEXT)) == _LARGEST_TEXT
        except zlib.error:
            return True
    if name == b"iTXt":
        plain_xmp = content.startswith(b"XML:com.adobe.xmp\0\0")
        return not plain_xmp or len(content) > _LARGEST_TEXT
    return name in {b"tEXt", b"zTXt"}


def _decode_reduced(image: ImageFile, at_least: int) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8, no smaller than twice what is needed."""
    scale = 2 * at_least / max(image.size)
    if scale < 1:
        wanted = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        image.draft(None, wanted)


def _to_plain_mode(image: Pil) -> Pil:
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _eight_bits(image)
    if image.mode == "La":  # Pillow undoes the premultiplied alpha only this way
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in {"L", "RGB"} else image.convert("RGB")


def _eight_bits(image: Pil) -> Pil:
    """Grey of 16 or 32 bits as 8 bits; Pillow's own conversion would clip it to white."""
    wide = image.convert("F")
    _, brightest = cast("tuple[float, float]", wide.getextrema())
    top = 65_535 if image.mode.startswith("I;16") else max(brightest, 1)
    scale = 1 if top <= 255 and image.mode == "I" else 255 / top
    narrow = wide.point(lambda value: value * scale)  # pyright: ignore[reportUnknownMemberType]  # names numpy
    return narrow.convert("L")


@contextmanager
def decode_errors(what: str) -> Generator[None]:
    """Wrap every call that makes Pillow read foreign bytes: whatever it raises is mapped.

    Args:
        what: What is read, as it follows "this": a format, or "image".

    Raises:
        ImageDecodeError: Pillow gave up.
    """
    try:
        yield
    except GptImageError:
        raise
    except Exception as error:  # Pillow raises nearly any kind on broken bytes
        from PIL import UnidentifiedImageError

        unknown = isinstance(error, UnidentifiedImageError)
        message = " ".join(str(error).split()) or type(error).__name__
        reason = "its format is not known here" if unknown else message
        raise ImageDecodeError(f"this {what} cannot be decoded: {reason}") from error
