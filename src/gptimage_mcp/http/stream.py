"""``POST /stream``: draw for a web page, which hears how far it is as server-sent events.

The body is a JSON object with the parameters of ``generate_image``, or with ``images`` those of
``edit_image``. The events are ``progress``, ``partial`` (a preview), and at the end ``complete`` or
``error``. The work is a job like any other: a page that goes away loses nothing, and finds it
again under ``GET /stream/{handle}`` with the handle every event has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from mcp.server.mcpserver.exceptions import ToolError
from starlette.requests import Request
from starlette.responses import Response

import gptimage
from gptimage_mcp import summaries
from gptimage_mcp.app import App
from gptimage_mcp.callers import caller
from gptimage_mcp.content.errors import failure
from gptimage_mcp.content.results import Drawn
from gptimage_mcp.content.sanitize import plain
from gptimage_mcp.http.errors import refusal
from gptimage_mcp.job import Job
from gptimage_mcp.sse import JobEvents
from gptimage_mcp.starting import Starter


_PREVIEW_PIXELS: Final = 1024


class StreamRoute:
    """Starts and follows jobs.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._starter = Starter(app)

    async def draw(self, request: Request) -> Response:
        """Begin to draw, and tell how far it is."""
        if self._app.client is None:
            return refusal(503, "no_key", "nothing can be drawn: the server has no OPENAI_API_KEY")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what a page can send unasked is something else
            return refusal(415, "no_json", "send a JSON object, as content-type application/json")
        try:
            asked: object = json.loads(await request.body())
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            return refusal(400, "no_json", "the body must be a JSON object of parameters")
        try:
            job = await self._starter.begin(cast("dict[str, Any]", asked))
        except ToolError as error:
            return refusal(400, "invalid_request", str(error))
        return self._events(job)

    async def follow(self, request: Request) -> Response:
        """Tell how far a job is that was begun before; only whoever began it is told."""
        job = await self._app.jobs.get(request.path_params["handle"], owner=caller())
        if job is None:
            return refusal(404, "not_found", "there is no job of this handle, or it is not yours")
        return self._events(job)

    def _events(self, job: Job) -> JobEvents:
        pixels = min(self._app.settings.preview_pixels, _PREVIEW_PIXELS)
        return JobEvents(job, self._end, pixels=pixels)

    async def _end(self, job: Job) -> tuple[str, Mapping[str, Any]]:
        """The last event: the pictures, or why there are none and what to do."""
        if not job.records:
            error = job.error or gptimage.GptImageError("it ended without a picture")
            return "error", {"error": type(error).__name__, "message": str(failure(error))}
        if job.outcome is not None:
            summary = summaries.drawn(self._app, Drawn.of(job.outcome, copies=job.copies))
        else:
            summary = summaries.recalled(self._app, job.handle, job.records, ())
        told: dict[str, Any] = {name: summary[name] for name in _TOLD if name in summary}
        told["images"] = [_image(record) for record in job.records]
        return "complete", plain(told)


_TOLD: Final = ("model", "cost_usd", "usage", "cached", "warnings", "revised_prompt", "sandbox")
"""What of a summary is no business of an assistant only."""


def _image(record: gptimage.Record) -> dict[str, object]:
    """A picture, and where a page gets it; where the file lies is the server's business."""
    facts = summaries.picture(record, record)
    del facts["path"]
    return {**facts, "mime_type": record.mime_type, "url": f"/images/{record.id}"}
