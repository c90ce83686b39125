"""Edits: the first input picture, changed where the mask lets it and nowhere else."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, Final

from gptimage.image.codecs import open_file, upright, without_texts
from gptimage.sandbox._inputs import FORMATS
from gptimage.sandbox._label import mark
from gptimage.sandbox._raster import drawn_over, levelled, rasterise
from gptimage.sandbox._scene import Scene
from gptimage.sandbox._tone import retone
from gptimage.sandbox.canvas import Canvas, Pen
from gptimage.sandbox.job import Job, Picture
from gptimage.sandbox.scenes import compose, draw_subject


if TYPE_CHECKING:
    from PIL.Image import Image

_ADDING: Final = re.compile(
    r"\b(add|put|place|insert|include|give|draw|with|replace|turn)\b", re.IGNORECASE
)


def retouch(job: Job, seen: Scene, index: int, phase: float) -> Image:
    """The edited picture, RGBA when the job asks for transparency and RGB otherwise."""
    source = _covering(job.inputs[0], job)
    if job.mask:
        region = _region(job.mask, job)
        return _within(source, region, job, seen, index, phase)
    changed = _changed(source.convert("RGB"), job, seen, index, phase)
    _insets(changed, job)
    if job.markup:
        changed = _blend(source.convert("RGB"), changed, _around(job.markup, job))
    if job.transparent:
        changed.putalpha(_outline(source))
    return changed


def load(picture: Picture) -> Image:
    """Decode an input, turned the way its camera says, as RGBA."""
    image = open_file(without_texts(picture.data), FORMATS)
    return upright(image).convert("RGBA")


def _covering(picture: Picture, job: Job) -> Image:
    """The input scaled and cropped to the output size; untouched when it has that size."""
    from PIL import Image as pil
    from PIL import ImageOps

    image = load(picture)
    if not job.transparent:
        flat = pil.new("RGBA", image.size, (255, 255, 255, 255))
        flat.alpha_composite(image)
        image = flat
    return ImageOps.fit(image, (job.width, job.height), pil.Resampling.LANCZOS)


def _region(mask: Picture, job: Job) -> Image:
    """255 where the mask's alpha is 0, in the geometry of the output."""
    from PIL import Image as pil
    from PIL import ImageOps

    alpha = load(mask).getchannel("A")
    fitted = ImageOps.fit(alpha, (job.width, job.height), pil.Resampling.NEAREST)
    return levelled(fitted, [255] + [0] * 255)


def _around(markup: Picture, job: Job) -> Image:
    """A soft region around the marks of an overlay."""
    from PIL import Image as pil
    from PIL import ImageFilter, ImageOps

    alpha = load(markup).getchannel("A")
    fitted = ImageOps.fit(alpha, (job.width, job.height), pil.Resampling.NEAREST)
    radius = min(job.width, job.height) * 0.05
    soft = fitted.filter(ImageFilter.GaussianBlur(radius))
    return levelled(soft, [min(255, level * 6) for level in range(256)])


def _within(source: Image, region: Image, job: Job, seen: Scene, index: int, phase: float) -> Image:
    """The source with new content in the region; every pixel outside keeps its value."""
    from PIL import Image as pil

    box = region.getbbox()
    if box is None:
        return source if job.transparent else source.convert("RGB")
    wide, high = box[2] - box[0], box[3] - box[1]
    base = source.convert("RGB")
    patch = base.crop(box)
    if seen.named_place:
        canvas = Canvas(wide, high, seen.chance(), job.detail, phase)
        compose(canvas, seen)
        patch = rasterise(canvas)
    else:
        patch = _changed(patch, job, seen, index, phase, alone=True)
    _insets(patch, job)
    if min(wide, high) >= 40:  # smaller, and the mark would be all there is to see
        edge, frame = min(job.width, job.height), round(phase * job.frames)
        mark(patch, job.prompt, edge=edge, frame=frame, frames=_frames(job))
    layer = base.copy()
    layer.paste(patch, box[:2])
    result = _blend(base, layer, _feathered(region, min(wide, high)))
    if job.transparent:
        result.putalpha(
            pil.composite(pil.new("L", region.size, 255), source.getchannel("A"), region)
        )
    return result


def _frames(job: Job) -> int:
    return job.frames if job.format == "gif" else 1


def _feathered(region: Image, room: int) -> Image:
    """The region, fading in over a few pixels on its inner side only; small ones do not fade."""
    from PIL import ImageChops, ImageFilter

    radius = min(min(region.size) * 0.008, room * 0.05)
    if radius < 1:
        return region
    soft = region.filter(ImageFilter.GaussianBlur(radius))
    inner = levelled(soft, [max(0, min(255, (level - 112) * 2)) for level in range(256)])
    return ImageChops.darker(inner, region)


def _blend(one: Image, other: Image, share: Image) -> Image:
    from PIL import Image as pil

    return pil.composite(other, one, share)


def _changed(
    image: Image, job: Job, seen: Scene, index: int, phase: float, *, alone: bool = False
) -> Image:
    """The picture in a new light, or as it is with the subject the prompt puts into it.

    Args:
        image: The picture, RGB.
        job: What is asked.
        seen: What the prompt is about.
        index: Which of several pictures this is.
        phase: 0 to 1 through an animation.
        alone: Whether the picture is the hole of a mask, made for the subject.
    """
    from PIL import Image as pil

    if not seen.subject or not (alone or _ADDING.search(job.prompt)):
        toned = retone(image, job.prompt, seen, phase)
        return pil.blend(image, toned, 0.7 if job.fidelity == "high" else 1.0)
    chance = Random(index)
    canvas = Canvas(image.width, image.height, seen.chance(), job.detail, phase)
    size = canvas.unit * (0.72 if alone else 0.36)
    x = image.width * (0.5 if alone else chance.uniform(0.62, 0.78))
    draw_subject(Pen(canvas, x, image.height * (0.86 if alone else 0.92), size), seen)
    return drawn_over(image, canvas)


def _insets(image: Image, job: Job) -> None:
    """The further inputs as small prints along the top edge."""
    from PIL import Image as pil

    others = job.inputs[1:]
    unit = min(image.size)
    edge = min(unit * 0.22, (image.width - unit * 0.04) / max(1, len(others)) * 0.9)
    if edge < 12:
        return  # no room in which anything could be recognised
    for number, picture in enumerate(others):
        print_ = load(picture)
        print_.thumbnail((round(edge * 0.88), round(edge * 0.88)))
        frame = round(edge * 0.05)
        card = pil.new(
            "RGBA", (print_.width + 2 * frame, print_.height + 3 * frame), (252, 250, 246, 255)
        )
        card.alpha_composite(print_, (frame, frame))
        card = card.rotate((-4, 3, -2)[number % 3], pil.Resampling.BICUBIC, expand=True)
        spot = (round(unit * 0.03 + number * edge * 1.08), round(unit * 0.03))
        shadow = levelled(card.getchannel("A"), [level * 2 // 5 for level in range(256)])
        image.paste((10, 8, 20), (spot[0] + frame // 2, spot[1] + frame), shadow)
        image.paste(card, spot, card)


def _outline(source: Image) -> Image:
    """The source's own alpha, or an oval when it is opaque throughout."""
    from PIL import Image as pil
    from PIL import ImageChops, ImageDraw, ImageFilter

    alpha = source.getchannel("A")
    if any(alpha.histogram()[:255]):
        return alpha
    oval = pil.new("L", source.size, 0)
    inset = (source.width * 0.06, source.height * 0.06)
    ImageDraw.Draw(oval).ellipse(
        (inset[0], inset[1], source.width - inset[0], source.height - inset[1]), fill=255
    )
    soft = oval.filter(ImageFilter.GaussianBlur(min(source.size) * 0.01))
    return ImageChops.darker(soft, alpha)
