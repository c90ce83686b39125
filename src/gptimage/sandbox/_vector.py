"""Marks to SVG: the same scene as an SVG document of the asked size."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Final

from gptimage.sandbox._label import NOTICE, prompt_head
from gptimage.sandbox._retouch import retouch
from gptimage.sandbox._scene import scene
from gptimage.sandbox.canvas import Canvas, Colour, Glow, Mark, Shape, Sky
from gptimage.sandbox.job import Job
from gptimage.sandbox.scenes import alone, compose


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
    picture = retouch(job, seen, index, 0.0)
    picture.thumbnail((_EMBEDDED_EDGE, _EMBEDDED_EDGE))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    data = base64.b64encode(out.getvalue()).decode()
    return f'<image width="100%" height="100%" href="data:image/png;base64,{data}"/>'
