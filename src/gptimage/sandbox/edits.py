"""Edits: the first input image, changed where the mask lets it and nowhere else."""
# pyright: reportUnknownMemberType=false
# (Pillow's signatures name numpy, which need not be there.)

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from PIL import Image as pil
from PIL import ImageChops, ImageDraw, ImageFilter, ImageOps
from PIL.Image import Image

from gptimage.image.codecs import open_file, upright, without_texts
from gptimage.sandbox.images_api import FORMATS
from gptimage.sandbox.job import InputImage, Job
from gptimage.sandbox.renderer import Canvas, drawn_over, lit, rasterise
from gptimage.sandbox.scene import Scene, scene_data


def edit_image(
    job: Job, scene: Scene, index: int, phase: float, label: Callable[[Image], None]
) -> Image:
    """Return the edited image, RGBA when the job asks for transparency and RGB otherwise.

    ``label`` writes on what is new: the whole image, or the part inside the mask.
    """
    source = _covering(job.inputs[0], job)
    flat = source.convert("RGB")
    if job.mask:
        region = _alpha(job.mask, job).point([255] + [0] * 255)  # only where it is all clear
        if not (box := region.getbbox()):
            return source if job.transparent else flat
        patch = flat.crop(box)
        if scene.named_place and job.draw == "scene":
            canvas = Canvas(scene, patch.size, job.detail, phase)
            canvas.compose()
            patch = rasterise(canvas)
        else:
            patch = _changed(patch, job, scene, index, phase)
        _insets(patch, job)
        if min(patch.size) >= 40:  # smaller, and the notice would be all there is to see
            label(patch)
        flat = _drifted(flat, job)
        flat.paste(patch, box[:2], region.crop(box))
        if job.transparent:
            region.paste(source.getchannel("A"), mask=region.point([255] + [0] * 255))
            flat.putalpha(region)
        return flat
    changed = _changed(flat, job, scene, index, phase)
    _insets(changed, job)
    if job.markup:
        near = ImageFilter.GaussianBlur(min(flat.size) * 0.05)
        marked = _alpha(job.markup, job).filter(near).point([min(255, 6 * i) for i in range(256)])
        changed = pil.composite(changed, flat, marked)
    if job.transparent:
        alpha = source.getchannel("A")  # its own, if any of it is clear
        changed.putalpha(alpha if alpha.getextrema() != (255, 255) else oval(alpha.size))
    label(changed)
    return changed


def _drifted(image: Image, job: Job) -> Image:
    """Return the image changed as a model changes it against its instructions."""
    if share := job.drift.get("tint"):
        image = pil.blend(image, pil.new("RGB", image.size, "orange"), share)
    if grain := job.drift.get("repaint"):
        level, random = round(grain), Random(job.prompt)
        noise = pil.frombytes("RGB", (256, 256), random.randbytes(3 * 256 * 256))
        noise = noise.point([128 + (value - 128) * level // 128 for value in range(256)] * 3)
        board = pil.new("RGB", image.size)
        for x in range(0, image.width, 256):
            for y in range(0, image.height, 256):
                board.paste(noise, (x, y))
        image = ImageChops.add(image, board, 1, -128)
    if pixels := job.drift.get("shift"):
        image = ImageChops.offset(image, round(pixels), 0)
    return image


def _load(source: InputImage) -> Image:
    """Decode an input, turned the way its camera says, as RGBA."""
    return upright(open_file(without_texts(source.data), FORMATS)).convert("RGBA")


def _covering(source: InputImage, job: Job) -> Image:
    """Return the input scaled and cropped to the output size; as it is if it has that size."""
    image = _load(source)
    if not job.transparent and image.getchannel("A").getextrema() != (255, 255):
        image = pil.alpha_composite(pil.new("RGBA", image.size, (255, 255, 255, 255)), image)
    # A plain image is to be quick, and no beauty: smoothing takes half of its time. What a mask
    # protects is scaled as the client scales the original: else it would seem to have changed.
    quick = job.draw == "plain" and not job.mask
    smooth = pil.Resampling.NEAREST if quick else pil.Resampling.LANCZOS
    return ImageOps.fit(image, (job.width, job.height), smooth)


def _alpha(overlay: InputImage, job: Job) -> Image:
    """Return the alpha of a mask or markup in the geometry of the output."""
    size = (job.width, job.height)
    return ImageOps.fit(_load(overlay).getchannel("A"), size, pil.Resampling.NEAREST)


def _changed(image: Image, job: Job, scene: Scene, index: int, phase: float) -> Image:
    """Return the image in a new light, or as it is with the subject that the prompt adds."""
    share = 0.7 if job.fidelity == "high" else 1.0
    if job.draw == "plain":
        tint, part = Canvas(scene, image.size, 0, 0).palette["here"], 0.4 * share
        levels = [round(old + (new - old) * part) for new in tint for old in range(256)]
        return image.point(levels)  # what a blend gives, in a fifth of its time
    if not scene.subject or not (job.mask or _asks("adds", job.prompt)):
        return pil.blend(image, _toned(image, scene, job.prompt, phase), share)
    canvas = Canvas(scene, image.size, job.detail, phase)
    across, down, size = (0.5, 0.86, 0.72) if job.mask else (0, 0.92, 0.36)
    across = across or Random(index).uniform(0.62, 0.78)
    canvas.subject((image.width * across, image.height * down), canvas.unit * size)
    return drawn_over(image, canvas)


def _toned(image: Image, scene: Scene, prompt: str, phase: float) -> Image:
    """Return the image in the light the prompt asks for, or in a tint when it asks for none."""
    if _asks("painted", prompt):  # a median filter is slow: at a brush's scale only
        small = image.copy()
        small.thumbnail((480, 480))
        daubs = small.filter(ImageFilter.MedianFilter(7)).filter(ImageFilter.MedianFilter(5))
        image = daubs.resize(image.size, pil.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)
    if _asks("grey", prompt):
        return ImageOps.autocontrast(image.convert("L"), cutoff=1).convert("RGB")
    light = scene.light if scene.named_place and scene.light != "day" else scene.weather
    canvas = Canvas(scene, image.size, 2, phase)
    tone = scene_data()["edits"]["tones"].get(light, "here@.4" if scene.tint else "here@.25")
    fill, share = canvas.colour(tone)
    pale = lit(fill, 0.2 if light == "night" else 0.78)
    duotone = ImageOps.colorize(image.convert("L"), lit(fill, -0.82), pale, mid=fill)
    canvas.stamp("stars", (0, 0), 1)
    canvas.stamp("weather", (0, 0), 1)
    return drawn_over(pil.blend(image, duotone, share), canvas)


def _asks(what: str, prompt: str) -> bool:
    return bool(re.search(scene_data()["edits"][what], prompt, re.IGNORECASE))


def _insets(image: Image, job: Job) -> None:
    """Show the further inputs as small prints along the top edge."""
    unit, others = min(image.size), job.inputs[1:]
    edge = min(unit * 0.22, image.width * 0.86 / max(1, len(others)))
    for number, source in enumerate(others if edge >= 12 else ()):  # smaller shows nothing
        small = _load(source)
        small.thumbnail((round(edge * 0.86), round(edge * 0.86)))
        small = ImageOps.expand(small, round(edge * 0.04), (252, 250, 246, 255))
        image.paste(small, (round(unit * 0.03 + number * edge), round(unit * 0.03)), small)


def oval(size: tuple[int, int]) -> Image:
    """Return the alpha of an image cut to an oval."""
    alpha, (x, y) = pil.new("L", size, 0), (size[0] * 0.06, size[1] * 0.06)
    ImageDraw.Draw(alpha).ellipse((x, y, size[0] - x, size[1] - y), fill=255)
    return alpha.filter(ImageFilter.GaussianBlur(min(size) * 0.01))
