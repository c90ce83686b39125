"""Draws what a job asks for: exact size, format, transparency, frames; the same every time.

No model is involved. Each picture says so along its bottom edge, and in its metadata
where the format has room for a comment. No provenance manifest is embedded, since
there is no signature the sandbox could honestly make.
"""

from __future__ import annotations

import base64
import io
import math
import re
import textwrap
from collections.abc import Iterator
from html import escape
from random import Random
from typing import TYPE_CHECKING, Final

from gptimage.image.codecs import open_file, upright, without_texts
from gptimage.sandbox._scene import Scene, scene
from gptimage.sandbox._tone import retone
from gptimage.sandbox.canvas import (
    Canvas,
    Colour,
    Glow,
    Mark,
    Pen,
    Shape,
    Sky,
    cut_out,
    drawn_over,
    levelled,
    rasterise,
    resized,
)
from gptimage.sandbox.images_api import FORMATS
from gptimage.sandbox.job import Job, Picture
from gptimage.sandbox.scenes import alone, compose, draw_subject


if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont


# The mark every sandbox picture carries: what it is, and the first words of its prompt.

NOTICE: Final = "SANDBOX · no model was used"
_LATIN: Final = 0x24F
"""Pillow's built-in font draws Latin letters; others would be empty boxes."""


def prompt_head(prompt: str, width: int = 60) -> str:
    """The first words of a prompt, without sandbox markers or letters the font lacks."""
    text = re.sub(r"\[sandbox:[^\]]*\]", " ", prompt[:1000])
    drawable = "".join(c for c in text if ord(c) <= _LATIN and (c.isprintable() or c.isspace()))
    return textwrap.shorten(drawable, width, placeholder="…") if drawable.strip(" .,") else ""


def mark(
    image: Image, prompt: str, *, edge: int | None = None, frame: int = 0, frames: int = 1
) -> None:
    """Write the notice along the bottom edge; a see-through picture gets an opaque strip.

    A gif's frames also show how far it is, so that no two of them are equal.

    Args:
        image: Where to write.
        prompt: What was asked for.
        edge: Pixels of the whole picture's shorter edge, when ``image`` is a part of it.
        frame: Which frame this is.
        frames: How many frames there are.
    """
    from PIL import ImageDraw

    font, high = _font(
        min(round((edge or min(image.size)) * 0.042), image.height // 4), image.width
    )
    text = _fitting(font, prompt, image.width - high)
    draw = ImageDraw.Draw(image, "RGBA" if image.mode == "RGB" else None)
    strip = (0, image.height - high, image.width, image.height)
    veil = 150 if image.mode == "RGB" else 255
    if image.mode == "RGBA":
        strip = (0, strip[1], round(font.getlength(text)) + high, image.height)
    draw.rectangle(strip, fill=(18, 16, 26, veil))
    middle = image.height - high / 2
    draw.text((high / 2, middle), text, font=font, fill=(255, 255, 255, 255), anchor="lm")
    if frames > 1:
        end = round(image.width * (frame + 1) / frames)
        draw.rectangle((0, strip[1] - max(2, high // 8), end, strip[1]), fill=(255, 206, 96, 255))


def _fitting(font: FreeTypeFont | BitmapFont, prompt: str, room: int) -> str:
    """The notice with as many of the prompt's words as fit."""
    for width in (80, 60, 40, 24):
        head = prompt_head(prompt, width)
        text = f"{NOTICE} · “{head}”" if head else NOTICE
        if font.getlength(text) <= room:
            return text
    return NOTICE


def _font(high: int, width: int) -> tuple[FreeTypeFont | BitmapFont, int]:
    """The font for a strip of this height, and the height that lets the notice fit."""
    from PIL import ImageFont

    high = max(14, high)
    font = ImageFont.load_default(size=high * 0.56)
    if (room := (width - high) / font.getlength(NOTICE)) < 1:
        high = max(10, math.floor(high * room))
        font = ImageFont.load_default(size=high * 0.56)
    return font, high


# Edits: the first input picture, changed where the mask lets it and nowhere else.

_ADDING: Final = re.compile(
    r"\b(add|put|place|insert|include|give|draw|with|replace|turn)\b", re.IGNORECASE
)


def edit_image(job: Job, seen: Scene, index: int, phase: float) -> Image:
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


# Marks to SVG: the same scene as an SVG document of the asked size.

_EMBEDDED_EDGE: Final = 768
"""An edited photograph is embedded no larger than this: SVG carries it in base64."""


def svg(job: Job, index: int) -> bytes:
    """An SVG document; an edit carries the retouched picture inside it."""
    seen = scene(job.prompt, job.spec.id, job.width, job.height, job.quality, index)
    canvas = Canvas(job.width, job.height, seen.chance(), min(1, job.detail))
    inner: list[str] = []
    if job.inputs:
        inner.append(_embedded(job, index))
    elif job.transparent and seen.subject:
        alone(canvas, seen)
    else:
        compose(canvas, seen)
    inner += [_element(mark, number, job) for number, mark in enumerate(canvas.marks)]
    if job.transparent and not job.inputs and not seen.subject:  # a scene, cut to a disc
        disc = f'<circle cx="50%" cy="50%" r="{min(job.width, job.height) * 0.43:g}"/>'
        inner.insert(0, f'<clipPath id="disc">{disc}</clipPath><g clip-path="url(#disc)">')
        inner.append("</g>")
    head = prompt_head(job.prompt)
    high = max(14, round(min(job.width, job.height) * 0.042))
    caption = escape(f"{NOTICE} · “{head}”" if head else NOTICE)
    strip = "" if job.transparent else (
        f'\n<rect y="{job.height - high}" width="100%" height="{high}" fill="#12101a" '
        'fill-opacity="0.6"/>'
    )  # fmt: skip
    document = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{job.width}" height="{job.height}" '
        f'viewBox="0 0 {job.width} {job.height}">\n<title>{caption}</title>\n'
        + "\n".join(inner)
        + strip
        + f'\n<text x="{high / 2:g}" y="{job.height - high * 0.32:g}" '
        f'fill="#fff" font-family="sans-serif" font-size="{high * 0.56:.1f}">{caption}</text>\n'
        "</svg>\n"
    )
    return document.encode()


def _element(mark: Mark, number: int, job: Job) -> str:
    if isinstance(mark, Shape):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in mark.points)
        see = "" if mark.alpha >= 1 else f' fill-opacity="{max(0.0, mark.alpha):.2f}"'
        return f'<path d="M{path}Z" fill="{_hex(mark.fill)}"{see}/>'
    if isinstance(mark, Sky):
        stops = "".join(f'<stop offset="{at:.3f}" stop-color="{_hex(c)}"/>' for at, c in mark.stops)
        return _gradient("linear", number, stops, "0", job.height)
    if isinstance(mark, Glow):
        stops = "".join(
            f'<stop offset="{part / 4}" stop-color="{_hex(mark.colour)}" '
            f'stop-opacity="{mark.alpha * (1 - part / 4) ** 2:.3f}"/>'
            for part in range(5)
        )
        (x, y), r = mark.centre, mark.radius
        return (
            f'<radialGradient id="g{number}">{stops}</radialGradient>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="url(#g{number})"/>'
        )
    stops = "".join(
        f'<stop offset="{at}" stop-color="{_hex(mark.colour)}" stop-opacity="{max(0.0, see):.3f}"/>'
        for at, see in ((0, mark.top_alpha), (1, mark.bottom_alpha))
    )
    return _gradient("linear", number, stops, f"{mark.top:.1f}", mark.bottom - mark.top)


def _gradient(kind: str, number: int, stops: str, y: str, height: float) -> str:
    return (
        f'<{kind}Gradient id="g{number}" x2="0" y2="1">{stops}</{kind}Gradient>'
        f'<rect y="{y}" width="100%" height="{height:.1f}" fill="url(#g{number})"/>'
    )


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _embedded(job: Job, index: int) -> str:
    seen = scene(job.prompt, job.spec.id, job.width, job.height, job.quality, index)
    picture = edit_image(job, seen, index, 0.0)
    picture.thumbnail((_EMBEDDED_EDGE, _EMBEDDED_EDGE))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    data = base64.b64encode(out.getvalue()).decode()
    return f'<image width="100%" height="100%" href="data:image/png;base64,{data}"/>'


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
        return edit_image(job, seen, index, phase)
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
    if not job.mask:  # a masked edit is marked inside the mask, by `edit_image`
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
