"""Animated gifs: reading their frames and fitting them to a size."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage._encoding import encode_gif
from gptimage._scaling import cover
from gptimage.errors import ImageDecodeError
from gptimage.image.codecs import check_memory, hostile, open_header, plain
from gptimage.image.formats import MAX_PIXELS, gif_blocks


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

    from gptimage.image.image import Image

_FRAMES_HELD: Final = 3
"""How often every frame is in memory at once: as read, as scaled, and as written."""

_MAX_FRAMES: Final = 10_000
"""The service draws 16 at most, and all are in memory at once."""


@frozen(kw_only=True)
class Animation:
    """The frames of a gif as whole pictures.

    Attributes:
        frames: Each frame as it is shown, in mode L, RGB or RGBA.
        durations: Milliseconds each one is shown.
        loop: How often it repeats, 0 for ever; None when it plays once.
    """

    frames: tuple[Pil, ...]
    durations: tuple[int, ...]
    loop: int | None = None


def frame_count(data: bytes) -> int:
    """How many frames a gif has, without decoding any."""
    return sum(marker == 0x2C for marker, _ in gif_blocks(data))


def decode(image: Image) -> Animation:
    """Every frame of a gif.

    Raises:
        ImageDecodeError: It is broken, or has more pixels in all than a still picture may have.
    """
    from PIL import ImageSequence

    picture = open_header(image)
    count = frame_count(image.data)
    frames: list[Pil] = []
    durations: list[int] = []
    with hostile(image.format):
        for frame in islice(ImageSequence.Iterator(picture), count):
            # Each time, as a later frame may enlarge the canvas.
            _check_total(count, *frame.size, held=_FRAMES_HELD)
            durations.append(int(frame.info.get("duration", 0)))
            frames.append(plain(frame.copy()))
    if not frames:
        raise ImageDecodeError("this gif has no frames")
    loop = picture.info.get("loop")
    return Animation(frames=tuple(frames), durations=tuple(durations), loop=loop)


def check_frames(image: Image) -> None:
    """Decode every frame, one after the other.

    Raises:
        ImageDecodeError: One is broken, or there are too many pixels in all.
    """
    from PIL import ImageSequence

    picture = open_header(image)
    count = frame_count(image.data)
    found = 0
    with hostile(image.format):
        for frame in islice(ImageSequence.Iterator(picture), count):
            _check_total(count, *frame.size, held=0)
            frame.load()
            found += 1
    if not found:
        raise ImageDecodeError("this gif has no frames")


def _check_total(count: int, width: int, height: int, *, held: int) -> None:
    if count > _MAX_FRAMES or count * width * height > MAX_PIXELS:
        raise ImageDecodeError(
            f"this gif has {count} frames of {width}x{height} pixels: at most "
            f"{_MAX_FRAMES:,} frames with {MAX_PIXELS:,} pixels in all are unpacked"
        )
    frames = count if held else 1
    check_memory("gif", "RGBA", frames * width * height, copies=max(held, 1))


def fit(image: Image, width: int, height: int) -> bytes:
    """Every frame scaled and cut to this size, in pixels; durations and loop stay.

    Neighbouring frames that have become identical are merged into one of their total duration.
    """
    gif = decode(image)
    frames = [cover(frame, width, height) for frame in gif.frames]
    return encode_gif(frames, gif.durations, gif.loop)
