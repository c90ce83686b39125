"""``POST /stream``: draw for a web page, which hears how far it is as server-sent events.

The body is a JSON object with the parameters of ``generate_image``, or with ``images`` those of
``edit_image``. The events are ``progress``, ``partial`` (a preview), and at the end ``complete`` or
``error``. The work is a job like any other: a page that goes away loses nothing, and finds it
again under ``GET /stream/{handle}`` with the handle every event has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

from mcp.server.mcpserver.exceptions import ToolError
from starlette.requests import Request
from starlette.responses import Response

import gptimage
from gptimage.service.http import JobEvents, JsonError, address_of
from gptimage_mcp.app import App
from gptimage_mcp.auth import current_user
from gptimage_mcp.content import results
from gptimage_mcp.content.errors import to_tool_error, tool_errors
from gptimage_mcp.content.results import CompletedCall
from gptimage_mcp.content.sanitize import clean_json
from gptimage_mcp.http.links import link_to
from gptimage_mcp.jobs.job import Job
from gptimage_mcp.tools.generate import GenerateTools, request_of
from gptimage_mcp.tools.submit import JobSubmitter


_PREVIEW_PIXELS: Final = 1024


class StreamRoute:
    """Starts and follows jobs.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._submitter = JobSubmitter(app)

    async def draw(self, request: Request) -> Response:
        """Begin to draw, and send the progress."""
        if self._app.client is None:
            return JsonError(
                503, "no_key", "nothing can be drawn: the server has no OPENAI_API_KEY"
            )
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what a page can send unasked is something else
            return JsonError(415, "no_json", "send a JSON object, as content-type application/json")
        try:
            parameters: object = json.loads(await request.body())
        except (ValueError, RecursionError):
            parameters = None
        if not isinstance(parameters, dict):
            return JsonError(400, "no_json", "the body must be a JSON object of parameters")
        try:
            job = await self._begin(cast("dict[str, Any]", parameters))
        except ToolError as error:
            return JsonError(400, "invalid_request", str(error))
        return self._events(job)

    async def follow(self, request: Request) -> Response:
        """Send the progress of a job that was begun before, to its own caller only."""
        job = await self._app.jobs.get(request.path_params["handle"], owner=current_user())
        if job is None:
            return JsonError(404, "not_found", "there is no job of this handle, or it is not yours")
        return self._events(job)

    async def _begin(self, parameters: Mapping[str, Any]) -> Job:
        """Begin to draw exactly as the tools do, or join a job with the same request.

        A web page cannot be asked whether it agrees to pay, as a client of the protocol can: here
        only ``max_per_call`` and ``max_per_day`` bound what is spent.

        Raises:
            ToolError: It cannot be begun; says why, and what to do next.
        """
        with tool_errors():
            self._submitter.check_ready()  # before images are read for nothing
            job_request = await request_of(GenerateTools(self._submitter), parameters)
            job = await self._submitter.find_earlier(job_request, owner := current_user())
            if job is not None and job.state == "running":
                return job
            return self._submitter.begin(job_request, owner)

    def _events(self, job: Job) -> JobEvents:
        # Without previews for models there are some for pages: they asked with partial_images.
        pixels = min(self._app.settings.preview_pixels or _PREVIEW_PIXELS, _PREVIEW_PIXELS)
        return JobEvents(job, partial(self._end, job), pixels=pixels)

    async def _end(self, job: Job) -> tuple[str, Mapping[str, Any]]:
        """The last event: the images, or why there are none and what to do."""
        if not job.records:
            error = job.error or gptimage.GptImageError("it ended without an image")
            return "error", {"error": type(error).__name__, "message": str(to_tool_error(error))}
        if job.outcome is not None:
            summary = results.completed_summary(
                self._app, CompletedCall(outcome=job.outcome, copies=job.copies)
            )
        else:
            summary = results.restored_summary(self._app, job.handle, job.records, len(job.shown))
        shown: dict[str, Any] = {name: summary[name] for name in _SHOWN if name in summary}
        shown["images"] = [self._image(record) for record in job.shown]
        return "complete", clean_json(shown)

    def _image(self, record: gptimage.Record) -> dict[str, object]:
        """Return an image and where a page gets it, without the path of its file."""
        facts = results.image_facts(record, record)
        del facts["path"]
        link = link_to(record.id, self._app.settings)
        return {
            **facts,
            "mime_type": record.mime_type,
            "url": address_of(f"/images/{record.id}"),
            **({} if link is None else {"link": link}),
        }


_SHOWN: Final = (
    "model",
    "cost_usd",
    "usage",
    "cached",
    "warnings",
    "revised_prompt",
    "sandbox",
    "others",
)
"""What of a summary is no business of an assistant only."""
