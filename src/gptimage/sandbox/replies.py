"""Finished pictures as the service sends them: a JSON body, or a stream of events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from pybase64 import b64encode

from gptimage.models.catalog import Models
from gptimage.sandbox import drawing
from gptimage.sandbox._usage import svg_usage, usage
from gptimage.sandbox.job import Job
from gptimage.transport.http import ServerEvent


def whole(job: Job, models: Models, created: int) -> bytes:
    """The JSON body with every picture of a job."""
    body: dict[str, Any] = {
        "created": created,
        **_echo(job),
        "data": [{"b64_json": _text(drawing.paint(job, index))} for index in range(job.n)],
        "usage": usage(job, models, pictures=job.n),
    }
    if job.format == "svg":
        body["svg_usage"] = svg_usage(job)
    return json.dumps(body).encode()


def events(job: Job, models: Models, now: Callable[[], int]) -> Iterator[ServerEvent]:
    """Partial and completed events, picture after picture.

    How the service orders several pictures in one stream is not documented. Here each
    has its own events, and their usages add up to that of the whole call.
    """
    for index in range(job.n):
        pictures = list(drawing.stages(job, index))
        for number, data in enumerate(pictures[:-1]):
            yield _event(job, "partial_image", data, now(), {"partial_image_index": number})
        counted = usage(job, models, pictures=1, with_input=index == 0)
        extra: dict[str, object] = {"usage": counted}
        if job.safety_identifier:
            extra["safety_identifier"] = job.safety_identifier
        yield _event(job, "completed", pictures[-1], now(), extra)


def _event(job: Job, kind: str, data: bytes, created: int, extra: dict[str, object]) -> ServerEvent:
    name = f"image_{job.operation}.{kind}"
    body = {
        "type": name,
        "b64_json": _text(data),
        "created_at": created,
        **_echo(job, identified=False),
        **extra,
    }
    return ServerEvent(name=name, data=json.dumps(body).encode())


def error_event(error: dict[str, object]) -> ServerEvent:
    """An error after the stream has begun."""
    body = {"type": "error", "error": error, "sequence_number": 0}
    return ServerEvent(name="error", data=json.dumps(body).encode())


def encoded(event: ServerEvent) -> bytes:
    """An event as it stands in a ``text/event-stream``."""
    return b"event: %s\ndata: %s\n\n" % (event.name.encode(), event.data)


def _echo(job: Job, *, identified: bool = True) -> dict[str, object]:
    """What a reply repeats of the request, defaults resolved."""
    echo: dict[str, object] = {
        "background": "transparent" if job.transparent else "opaque",
        "output_format": job.format,
        "quality": job.quality,
        "size": f"{job.width}x{job.height}",
    }
    if identified and job.safety_identifier:
        echo["safety_identifier"] = job.safety_identifier
    return echo


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def head(request_id: str, started: float) -> dict[str, str]:
    """The headers of every reply; the limits are those of the highest usage tier."""
    return {
        "x-request-id": request_id,
        "openai-processing-ms": str(round((time.monotonic() - started) * 1000)),
        "openai-version": "2020-10-01",
        "openai-organization": "org-sandbox",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-limit-tokens": "8000000",
        "x-ratelimit-remaining-tokens": "7999900",
        "x-ratelimit-reset-tokens": "1ms",
        "x-ratelimit-limit-input-images": "250",
        "x-ratelimit-remaining-input-images": "249",
        "x-ratelimit-reset-input-images": "240ms",
    }
