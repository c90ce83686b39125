"""Draws what a job asks for: exact size, format, transparency, frames; the same every time.

No model is involved. Each picture says so along its bottom edge, and in its metadata
where the format has room for a comment. No provenance manifest is embedded, since
there is no signature the sandbox could honestly make.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gptimage.sandbox._label import NOTICE, mark
from gptimage.sandbox._raster import cut_out, rasterise, resized
from gptimage.sandbox._retouch import retouch
from gptimage.sandbox._scene import Scene, scene
from gptimage.sandbox._vector import svg
from gptimage.sandbox.canvas import Canvas
from gptimage.sandbox.job import Job
from gptimage.sandbox.scenes import alone, compose


if TYPE_CHECKING:
    from PIL.Image import Image

_CLEAR: Final = 255
_SOFTNESS: Final = (26, 11, 5)
"""How many times smaller a partial image is drawn; the first of three is the coarsest."""


def paint(job: Job, index: int = 0) -> bytes:
    """The finished picture number ``index`` of a job, encoded."""
    if job.format == "svg":
        return svg(job, index)
    if job.format == "gif":
        return _animation(job, index)
    return _finish(_picture(job, index), job)


def stages(job: Job, index: int = 0) -> Iterator[bytes]:
    """The partial images of a job, each sharper than the one before, then the finished one."""
    picture = _picture(job, index)
    for softness in _SOFTNESS[len(_SOFTNESS) - job.partials :]:
        yield _finish(_soften(picture, softness), job)
    yield _finish(picture, job)


def _picture(job: Job, index: int, phase: float = 0.0) -> Image:
    """The picture without its mark."""
    seen = scene(job.prompt, job.spec.id, job.width, job.height, job.quality, index)
    if job.inputs:
        return retouch(job, seen, index, phase)
    canvas = Canvas(job.width, job.height, seen.chance(), job.detail, phase)
    if job.transparent and seen.subject:
        return _sticker(canvas, seen)
    compose(canvas, seen)
    image = rasterise(canvas)
    return _badge(image) if job.transparent else image


def _sticker(canvas: Canvas, seen: Scene) -> Image:
    """The subject alone, with nothing around it."""
    alone(canvas, seen)
    return cut_out(canvas)


def _badge(image: Image) -> Image:
    """A scene without a subject, cut to a disc."""
    from PIL import Image as pil
    from PIL import ImageDraw

    edge = round(min(image.size) * 0.86)
    disc = pil.new("L", (edge * 2, edge * 2), 0)
    ImageDraw.Draw(disc).ellipse((2, 2, edge * 2 - 2, edge * 2 - 2), fill=255)
    mask = pil.new("L", image.size, 0)
    corner = ((image.width - edge) // 2, (image.height - edge) // 2)
    mask.paste(resized(disc, (edge, edge), pil.Resampling.HAMMING), corner)
    image.putalpha(mask)
    return image


def _soften(picture: Image, softness: int) -> Image:
    from PIL import Image as pil

    width, height = (max(2, edge // softness) for edge in picture.size)
    small = resized(picture, (width, height), pil.Resampling.BOX)
    return resized(small, picture.size, pil.Resampling.BICUBIC)


def _finish(picture: Image, job: Job) -> bytes:
    image = picture.copy()
    if not job.mask:  # a masked edit is marked inside the mask, by `retouch`
        mark(image, job.prompt)
    return _encode(image, job)


def _encode(image: Image, job: Job) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    out = io.BytesIO()
    if job.format == "jpeg":
        flat = image.convert("RGB")
        flat.save(out, "JPEG", quality=max(1, job.compression), comment=NOTICE.encode())
    elif job.format == "webp":
        image.save(out, "WEBP", quality=job.compression, method=1)
    else:
        info = PngInfo()
        info.add_itxt("Comment", NOTICE)
        image.save(out, "PNG", compress_level=1, pnginfo=info)
    return out.getvalue()


def _animation(job: Job, index: int) -> bytes:
    """Frames over one palette; equal neighbours would be merged, and `mark` makes none equal."""
    from PIL import Image as pil

    frames: list[Image] = []
    for frame in range(job.frames):
        image = _picture(job, index, frame / job.frames)
        image = image.convert("RGBA" if job.transparent else "RGB")
        if not job.mask:
            mark(image, job.prompt, frame=frame, frames=job.frames)
        frames.append(image)
    # The last of the 256 colours is the one that is see-through: a gif has no shades of that.
    colours = _CLEAR if job.transparent else 256
    palette = frames[0].convert("RGB").quantize(colours, pil.Quantize.MEDIANCUT)
    indexed = [frame.convert("RGB").quantize(palette=palette) for frame in frames]
    see_through: dict[str, int] = {}
    if job.transparent:
        see_through = {"transparency": _CLEAR, "disposal": 2}  # no frame shows the one before
        for image, frame in zip(indexed, frames, strict=True):
            image.paste(_CLEAR, mask=frame.getchannel("A").point([255] * 128 + [0] * 128))
    out = io.BytesIO()
    indexed[0].save(
        out, "GIF", save_all=True, append_images=indexed[1:], loop=0, optimize=False,
        duration=_delay(job.frame_ms), comment=NOTICE.encode("ascii", "ignore"), **see_through,
    )  # fmt: skip
    return out.getvalue()


def _delay(asked: int) -> int:
    """The service rounds to 10 ms and caps at 655,350 ms."""
    return min(655_350, (asked + 5) // 10 * 10)
