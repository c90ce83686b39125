"""Draws what a job asks for: exact size, format, transparency, frames; the same every time.

No model is involved. Each image says so along its bottom edge, and in its metadata
where the format has room for a comment. No provenance manifest is embedded, since
there is no signature the sandbox could honestly make.
"""
# pyright: reportUnknownMemberType=false
# (Pillow's signatures name numpy, which need not be there.)

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from PIL import Image as pil
from PIL import ImageDraw, ImageFont
from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from gptimage.image.codecs import encode_png
from gptimage.sandbox.edits import edit_image, oval
from gptimage.sandbox.job import Job
from gptimage.sandbox.renderer import Canvas, Colour, cut_out, ellipse, rasterise
from gptimage.sandbox.scene import Scene, prompt_head, read_scene, scene_data


NOTICE: Final = "SANDBOX · no model was used"
_DARK: Final = (24, 22, 38, 255)
_WHITE: Final = (255, 255, 255, 255)
_SOFTNESS: Final = (26, 11, 5)
"""How many times smaller a partial image is drawn; the first of three is the coarsest."""
_EMBEDDED_EDGE: Final = 768
"""An edited photograph is embedded in SVG no larger than this: it is there in base64."""


def paint(job: Job, index: int = 0) -> bytes:
    """Return the finished image number ``index`` of a job, encoded."""
    if job.format == "svg":
        return _svg(job, index)
    if job.format == "gif":
        return _animation(job, index)
    return _encode(_image(job, index), job)


def stages(job: Job, index: int = 0) -> Iterator[bytes]:
    """Yield the partial images of a job, each sharper than the one before, then the whole."""
    image = _image(job, index)
    for softness in _SOFTNESS[len(_SOFTNESS) - job.partials :]:
        small = image.resize(
            (max(2, image.width // softness), max(2, image.height // softness)), pil.Resampling.BOX
        )
        soft = small.resize(image.size, pil.Resampling.BICUBIC)
        if not job.mask:
            _draw_notice(soft, job)
        yield _encode(soft, job)
    yield _encode(image, job)


def _read(job: Job, index: int) -> Scene:
    return read_scene(job.prompt, job.spec.id, job.width, job.height, job.quality, index)


def _image(job: Job, index: int, frame: int = 0) -> Image:
    scene, size, phase = _read(job, index), (job.width, job.height), frame / job.frames

    def label(image: Image) -> None:
        _draw_words(image, job, scene)
        _draw_notice(image, job, frame)

    if job.inputs:
        return edit_image(job, scene, index, phase, label)
    if job.draw == "plain":
        image = _plain(job, scene)
    else:
        canvas = Canvas(scene, size, job.detail, phase)
        alone = _fill_canvas(canvas, job)
        image = cut_out(canvas) if alone else rasterise(canvas)
        if job.transparent and not alone:
            image.putalpha(oval(size))
    label(image)
    return image


def _fill_canvas(canvas: Canvas, job: Job) -> bool:
    """Draw the scene, or its subject alone when nothing is to be around it."""
    alone = job.transparent and bool(canvas.scene.subject)
    if alone:
        size = min(canvas.height * 0.8, canvas.width * 0.62)
        canvas.subject((canvas.width / 2, (canvas.height + size) / 2), size)
    else:
        canvas.compose()
    return alone


def _plain(job: Job, scene: Scene) -> Image:
    """Return a palette image of two colours, quick to draw and to encode."""
    canvas = Canvas(scene, (job.width, job.height), 0, 0)
    image = pil.new("P", (job.width, job.height), canvas.sky[0])
    if job.transparent:
        image.info["transparency"] = 0
    ground = (0, job.height * scene.random().uniform(0.5, 0.8), job.width, job.height)
    ImageDraw.Draw(image).rectangle(ground, fill=canvas.palette["here"])
    return image


# Words: those a prompt quotes, set large so that legibility can be tested, or its first ones.


def _words(job: Job, scene: Scene, size: tuple[int, int]) -> tuple[float, float, list[str]]:
    """Return height, top in pixels and lines of the words: as large as there is room for."""
    plain = job.inputs or job.transparent or job.draw == "plain"
    title = "" if plain else prompt_head(job.prompt, 48)
    words, high = scene.quoted or title, min(size) * (0.17 if scene.quoted else 0.055)
    while words and high >= 8:
        across = max(4, int(size[0] * 1.7 / high))
        lines = [line for each in words.splitlines() for line in textwrap.wrap(each, across)]
        widest = max(map(ImageFont.load_default(size=high).getlength, lines))
        if widest <= size[0] * 0.9 and len(lines) * high <= size[1] * 0.5:
            return high, size[1] * 0.08, lines
        high *= 0.88
    return 0, 0, []


def _draw_words(image: Image, job: Job, scene: Scene) -> None:
    """Write the words, light or dark against what is behind them."""
    high, top, lines = _words(job, scene, image.size)
    if not lines:
        return
    box = (0, round(top), image.width, round(top + len(lines) * high * 1.2))
    levels = image.crop(box).convert("RGB").convert("L").histogram()
    bright = sum(levels[150:]) > sum(levels) * 0.5
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=high)
    draw.multiline_text(
        (image.width / 2, top), "\n".join(lines), font=font, anchor="ma", align="center",
        spacing=high * 0.2, fill=_DARK if bright else _WHITE,
        stroke_width=0 if image.mode == "P" else high / 30, stroke_fill=_WHITE if bright else _DARK,
    )  # fmt: skip


def _caption(prompt: str, width: int = 60) -> str:
    head = prompt_head(prompt, width)
    return f"{NOTICE} · “{head}”" if head else NOTICE


def _draw_notice(image: Image, job: Job, frame: int = 0) -> None:
    """Write what the image is along its bottom edge; clear images get an opaque strip.

    A gif's frames also show how far it is, so that no two of them are equal.
    """
    high = max(14, min(round(min(job.width, job.height) * 0.042), image.height // 4))
    font = ImageFont.load_default(size=high * 0.56)
    while font.getlength(NOTICE) > image.width - high and high > 10:
        high -= 1
        font = ImageFont.load_default(size=high * 0.56)
    texts = (_caption(job.prompt, width) for width in (80, 60, 40, 24))
    text = next((each for each in texts if font.getlength(each) <= image.width - high), NOTICE)
    draw, top = ImageDraw.Draw(image, "RGBA" if image.mode == "RGB" else None), image.height - high
    end = round(font.getlength(text)) + high if image.mode == "RGBA" else image.width
    veil = 150 if image.mode == "RGB" else 255
    draw.rectangle((0, top, end, image.height), fill=(18, 16, 26, veil))
    draw.text((high / 2, top + high / 2), text, font=font, fill=_WHITE, anchor="lm")
    if job.format == "gif":
        bar = (0, top - max(2, high // 8), round(image.width * (frame + 1) / job.frames), top)
        draw.rectangle(bar, fill=(255, 206, 96, 255))


# Files.


def _encode(image: Image, job: Job) -> bytes:
    if job.format == "png" and image.mode != "P":
        return encode_png(image, comment=NOTICE)
    out, info = io.BytesIO(), PngInfo()
    info.add_itxt("Comment", NOTICE)
    options: dict[str, Any] = {"compress_level": 1, "pnginfo": info}
    if job.format == "jpeg":
        image = image.convert("RGB")
        options = {"quality": max(1, job.compression), "comment": NOTICE.encode()}
    elif job.format == "webp":
        options = {"quality": job.compression, "method": 1}
    image.save(out, job.format, **options)
    return out.getvalue()


def _animation(job: Job, index: int) -> bytes:
    """Encode the frames; equal neighbours would be merged, and the notice makes none equal."""
    first, *rest = (_image(job, index, frame) for frame in range(job.frames))
    out, duration = io.BytesIO(), min(655_350, (job.frame_ms + 5) // 10 * 10)  # as the service
    comment, disposal = NOTICE.encode("ascii", "ignore"), 2 if job.transparent else 0
    first.save(
        out, "GIF", save_all=True, append_images=rest, loop=0, optimize=False,
        duration=duration, comment=comment, disposal=disposal,
    )  # fmt: skip
    return out.getvalue()


def _svg(job: Job, index: int) -> bytes:
    """Return an SVG document of the same scene; an edit carries the changed image inside it."""
    scene, size, marks = _read(job, index), (job.width, job.height), scene_data()["svg"]
    canvas, body, unit = Canvas(scene, size, min(1, job.detail), 0), list[str](), min(size)
    if job.inputs:
        image, out = _image(job, index), io.BytesIO()
        image.thumbnail((_EMBEDDED_EDGE, _EMBEDDED_EDGE))
        image.save(out, "PNG")
        body = [marks["image"].format(data=base64.b64encode(out.getvalue()).decode())]
    elif not _fill_canvas(canvas, job):
        body = [marks["background"]]
    for points, fill, alpha, radius in (*canvas.glows, *canvas.shapes):
        edge = ellipse(points[0], (radius / 2, radius / 2)) if radius else points
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in edge)
        kind = marks["glow" if radius else "shape"]
        body.append(kind.format(path=path, fill=_hex(fill), alpha=alpha / (2 if radius else 1)))
    if job.transparent and not job.inputs and not scene.subject:
        body = [marks["disc"].format(body="\n".join(body))]
    high, top, lines = _words(job, scene, size)
    for y, line in enumerate(lines if not job.inputs else ()):
        place = {"y": top + high * (0.8 + 1.2 * y), "high": high * 0.85, "rim": high / 15}
        body.append(marks["word"].format(**place, text=escape(line)))
    caption, strip = escape(_caption(job.prompt)), max(14, round(unit * 0.042))
    if not job.transparent:
        body.append(marks["strip"].format(y=job.height - strip, high=strip))
    place = {"x": strip / 2, "y": job.height - strip * 0.32, "high": strip * 0.56}
    body.append(marks["notice"].format(**place, caption=caption))
    sky = (
        marks["stop"].format(at=number / (len(canvas.sky) - 1), fill=_hex(fill))
        for number, fill in enumerate(canvas.sky)
    )
    whole = {"width": job.width, "height": job.height, "blur": unit // 9, "sky": "".join(sky)}
    document: str = marks["document"].lstrip()
    return document.format(caption=caption, body="\n".join(body), **whole).encode()


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
