"""Finished images as the service sends them: a JSON body, or a stream of events."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pybase64 import b64encode

from gptimage.models.catalog import Models
from gptimage.sandbox import drawing
from gptimage.sandbox.images_api import sheet_size
from gptimage.sandbox.job import Job
from gptimage.sandbox.wire import usual_headers
from gptimage.transport.http import ServerEvent


# How many tokens a job would have used, by the formulas of the catalogue.

_PARTIAL_TOKENS: Final = 100
_STAND_IN: Final = "gpt-image-2.5-flare"
"""For models whose formula nobody has published (2.6, chatgpt-image-latest; input images of
the first generation) the sandbox counts as if they were this one."""
_SVG_AUTHOR: Final = "gpt-5.6-sol"


def usage(job: Job, models: Models, *, images: int, with_input: bool = True) -> dict[str, object]:
    """Return the ``usage`` object for a number of finished images, and the partials before each."""
    text = math.ceil(len(job.prompt) / 4) if with_input else 0
    seen = _input_tokens(job, models) if with_input else 0
    drawn = images * (_output_tokens(job, models) + _PARTIAL_TOKENS * job.partials)
    return {
        "total_tokens": text + seen + drawn,
        "input_tokens": text + seen,
        "output_tokens": drawn,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
    }


def svg_usage(job: Job) -> Mapping[str, object]:
    """Return the author's tokens, counted apart; the figures are made up, their shape is not."""
    entered, written = math.ceil(len(job.prompt) / 4) + 900, 3200
    return {
        "model": job.svg_model or _SVG_AUTHOR,
        "input_tokens": entered,
        "output_tokens": written,
        "reasoning_tokens": written // 4,
        "total_tokens": entered + written,
    }


def _output_tokens(job: Job, models: Models) -> int:
    width, height = job.width, job.height
    if job.format == "gif":
        width, height = sheet_size(job.spec.sizes, width, height, job.frames)
    own = job.spec.output_tokens(width, height, job.quality)
    return own or models[_STAND_IN].output_tokens(width, height, job.quality) or 0


def _input_tokens(job: Job, models: Models) -> int:
    # The mask is not counted, by the one measurement there is.
    counting = job.spec if job.spec.counts_patches else models[_STAND_IN]
    return sum(counting.input_tokens(p.width, p.height) or 0 for p in job.inputs)


def whole(job: Job, models: Models, created: int) -> bytes:
    """Return the JSON body with every image of a job."""
    body: dict[str, Any] = {
        "created": created,
        **shown(job),
        **({"safety_identifier": job.safety_identifier} if job.safety_identifier else {}),
        "data": [{"b64_json": _text(drawing.paint(job, index))} for index in range(job.n)],
        "usage": usage(job, models, images=job.n),
    }
    if job.format == "svg":
        body["svg_usage"] = svg_usage(job)
    return json.dumps(body).encode()


def events(job: Job, models: Models, now: Callable[[], int]) -> Iterator[ServerEvent]:
    """Partial and completed events, image after image.

    How the service orders several images in one stream is not documented. Here each
    has its own events, and their usages add up to that of the whole call.
    """
    for index in range(job.n):
        images = list(drawing.stages(job, index))
        for number, data in enumerate(images[:-1]):
            yield _event(job, "partial_image", data, now(), {"partial_image_index": number})
        counted = usage(job, models, images=1, with_input=index == 0)
        del counted["output_tokens_details"]  # the events' usage has no such field
        extra: dict[str, object] = {"usage": counted}
        if job.safety_identifier:
            extra["safety_identifier"] = job.safety_identifier
        yield _event(job, "completed", images[-1], now(), extra)


def _event(job: Job, kind: str, data: bytes, created: int, extra: dict[str, object]) -> ServerEvent:
    name = f"image_{job.operation}.{kind}"
    body = {
        "type": name,
        "b64_json": _text(data),
        "created_at": created,
        **shown(job),
        **extra,
    }
    return ServerEvent(name=name, data=json.dumps(body).encode())


def error_event(error: dict[str, object]) -> ServerEvent:
    """Return an error after the stream has begun."""
    body = {"type": "error", "error": error, "sequence_number": 0}
    return ServerEvent(name="error", data=json.dumps(body).encode())


def encoded(event: ServerEvent) -> bytes:
    """Return an event as it stands in a ``text/event-stream``."""
    name = b"event: %s\n" % event.name.encode() if event.name else b""
    return b"%sdata: %s\n\n" % (name, event.data)


def shown(job: Job) -> dict[str, object]:
    """Return what a reply repeats of the request, defaults resolved."""
    return {
        "background": "transparent" if job.transparent else "opaque",
        "output_format": job.format,
        "quality": job.quality,
        "size": f"{job.width}x{job.height}",
    }


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def head(request_id: str, started: float) -> dict[str, str]:
    """Return the headers of every reply."""
    took = round((time.monotonic() - started) * 1000)
    return {"x-request-id": request_id, "openai-processing-ms": str(took), **usual_headers()}
