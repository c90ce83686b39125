"""Writing pixels: PNG, JPEG, WebP and GIF files, each with the settings this library chose."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

QUALITY: Final = 90
"""For JPEG and WebP, when none is asked for."""

FULL_COLOR_QUALITY: Final = 95
"""From here on JPEG keeps colours at full resolution: halving them would be what shows most."""

MAX_EDGE: Final = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535}
"""Pixels; what the formats or their encoders can hold."""

_PNG_LEVEL: Final = 1
"""Seven times faster than Pillow's default of 6 and a fifth larger."""

_CLEAR: Final = 255
"""The palette entry of transparent pixels in a gif."""

_COLOR_SPACE: Final = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}
"""What an ICC profile must say it describes to fit pixels of this mode."""


def encode(
    picture: Pil,
    format: str,
    *,
    quality: int | None = None,
    lossless: bool = False,
    keep_profile: bool = True,
) -> bytes:
    """The picture as a file.

    Args:
        picture: In mode L, RGB or RGBA.
        format: ``png``, ``jpeg``, ``webp`` or ``gif``.
        quality: 1 to 100 for jpeg and webp; `QUALITY` when left out.
        lossless: For webp: keep every pixel.
        keep_profile: Keep the ICC profile, where the format and the pixels allow it.

    Raises:
        InvalidRequestError: The picture is too large for the format.
    """
    _check_edges(picture.size, format)
    if format == "gif":
        return encode_gif([picture])
    if format == "jpeg":
        picture = on_white(picture)
    options = _options(format, QUALITY if quality is None else quality, lossless)
    profile = picture.info.get("icc_profile") if keep_profile else None
    fits = isinstance(profile, bytes) and profile[16:20] == _COLOR_SPACE.get(picture.mode)
    buffer = io.BytesIO()
    picture.save(buffer, format, icc_profile=profile if fits else None, **options)
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
    return buffer.getvalue()


def encode_png(picture: Pil, *, level: int) -> bytes:
    """A PNG at this compression level, 0 to 9."""
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=level)
    return buffer.getvalue()


def has_transparency(picture: Pil) -> bool:
    """Whether any pixel is not fully opaque."""
    return (
        "A" in picture.mode
        and cast("tuple[int, int]", picture.getchannel("A").getextrema())[0] < 255
    )


def on_or_off(alpha: Pil) -> Pil:
    """Opacity as 0 or 255, nothing in between."""
    table = [0] * 128 + [255] * 128
    return alpha.point(table)  # pyright: ignore[reportUnknownMemberType]  # names numpy


def on_white(picture: Pil) -> Pil:
    """The picture without transparency, laid on white."""
    import PIL.Image

    if "A" not in picture.mode:
        return picture
    white = PIL.Image.new("RGBA", picture.size, "white")
    flat = PIL.Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    flat.info.update(picture.info)
    return flat


def _options(format: str, quality: int, lossless: bool) -> dict[str, Any]:
    """What Pillow's writer of this format is told."""
    if format == "png":
        return {"compress_level": _PNG_LEVEL}
    if format == "webp" and lossless:
        return {"lossless": True, "exact": True, "method": 0}  # 0: 13 times faster than 4
    if format == "jpeg" and quality >= FULL_COLOR_QUALITY:
        return {"quality": quality, "subsampling": 0}
    return {"quality": quality}


def _check_edges(size: tuple[int, int], format: str) -> None:
    limit = MAX_EDGE.get(format)
    if limit is not None and max(size) > limit:
        raise InvalidRequestError(
            f"a {format} has at most {limit} pixels on an edge, this picture has {max(size)}: "
            "use png, or thumbnail() first",
            field="format",
            value=format,
            allowed=("png",),
        )


def _with_palette(picture: Pil, colors: int) -> Pil:
    from PIL.Image import Quantize

    flat = picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")
    return flat.quantize(colors, Quantize.MEDIANCUT)


def _with_clear_entry(picture: Pil) -> Pil:
    """At most 255 colours, and one entry for what is more transparent than not."""
    from PIL import ImageChops

    paletted = _with_palette(picture, _CLEAR)
    if "A" in picture.mode:
        clear = ImageChops.invert(on_or_off(picture.getchannel("A")))
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
