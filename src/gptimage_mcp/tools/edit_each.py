"""`edit_each_image`: the same edit of several images, each on its own."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from attrs import frozen
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import BeforeValidator, Field

import gptimage
from gptimage.config import variable
from gptimage_mcp.app import App
from gptimage_mcp.auth import current_user
from gptimage_mcp.content.errors import to_tool_error, tool_errors
from gptimage_mcp.content.results import job_error, structured, usd
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.jobs.job import Job, Progress, ProgressCallback
from gptimage_mcp.tools import parameters as p
from gptimage_mcp.tools import schemas
from gptimage_mcp.tools.confirm import confirm
from gptimage_mcp.tools.inputs import Sources
from gptimage_mcp.tools.register import PAID, progress_reporter, register_tool
from gptimage_mcp.tools.requests import GenerateRequest, RequestGroup
from gptimage_mcp.tools.submit import JobSubmitter


Images = Annotated[
    list[str],
    Field(min_length=1, max_length=16, description=f"Images to edit, each {p.IMAGE}"),
    BeforeValidator(p.as_list),
]
_TAKEN: Final = ("model", "size", "quality", "background", "format", "refresh", "tags")
_NEXT: Final = (
    "view_image shows an image or waits for a handle. Of those that failed, repeat only those "
    "whose error says that nothing was billed."
)


def add_edit_each_tool(server: DynamicServer, app: App) -> None:
    """Register the tool, where the settings ask for it."""
    tool = EditEachTool(JobSubmitter(app)).edit_each_image
    register_tool(server, tool, title="Edit several images alike", hints=PAID, structured=True)


@frozen
class EditEachTool:
    """The tool.

    Attributes:
        submitter: Checks the requests and starts their jobs.
    """

    submitter: JobSubmitter

    @p.takes(*_TAKEN)
    async def edit_each_image(
        self,
        ctx: Context[App, Any],
        prompt: p.EditPrompt,
        images: Images,
        **given: Any,
    ) -> Annotated[CallToolResult, schemas.EditedImages]:
        """Make the same change to several images, each on its own; one call and its cost for each.

        Tells how each went, in their order; what is not finished has a handle for view_image.
        """
        app, owner = self.submitter.app, current_user()
        with tool_errors():
            self.submitter.check_ready()  # before images are read for nothing
            if len(images) > app.settings.max_images:
                raise gptimage.InvalidRequestError(
                    f"images: this server draws at most {app.settings.max_images} per call "
                    f"({variable('max_images')})",
                    field="images",
                    value=len(images),
                    allowed=f"1 to {app.settings.max_images}",
                )
            refresh, tags = given.pop("refresh"), given.pop("tags")
            options = {name: value for name, value in given.items() if value is not None}
            sources = await Sources(app).images(images, field="images")
            requests = [
                GenerateRequest(
                    operation="edit",
                    prompt=prompt,
                    images=(source,),
                    options=options,
                    refresh=refresh,
                )
                for source in sources
            ]
            prepared = [await self.submitter.prepare(each, tags or (), None) for each in requests]
            earlier = [await self.submitter.find_earlier(each, owner) for each in prepared]
            new = [
                request
                for request, job in zip(requests, earlier, strict=True)
                if job is None or job.state != "running"
            ]
            unknown = next((job for job in earlier if job and job.state == "unknown"), None)
            if new:
                group = RequestGroup(prompt=prompt, requests=tuple(new))
                question = await confirm(app, ctx, group, unknown)
                if question is not None:
                    return question  # type: ignore[return-value]  # the SDK passes a question on
            jobs = [
                job
                if job is not None and job.state == "running"
                else self.submitter.begin(each, owner)
                for each, job in zip(prepared, earlier, strict=True)
            ]
        await _wait(jobs, app.settings.wait, progress_reporter(ctx))
        document: schemas.EditedImages = {
            "results": [_edited(named, job) for named, job in zip(images, jobs, strict=True)],
            "next": _NEXT,
        }
        return structured(document)


async def _wait(jobs: list[Job], seconds: float, report: ProgressCallback) -> None:
    """Wait for all of them, and report how many are done, with rising time."""
    reported = 0.0

    async def report_all(progress: Progress) -> None:
        nonlocal reported
        done = sum(job.state != "running" for job in jobs)
        if progress.seconds > reported:
            reported = progress.seconds
            message = f"{done} of {len(jobs)} are done; {progress.message}"
            await report(Progress(seconds=reported, message=message))

    await asyncio.gather(*(job.wait(seconds, report_all) for job in jobs))


def _edited(named: str, job: Job) -> dict[str, Any]:
    saved = bool(job.records)
    failed = job.state != "running" and not saved
    cost = job.outcome.cost if isinstance(job.outcome, gptimage.Result) else None
    return {
        "source": named if len(named) <= 200 else f"{named[:40]}…",
        "status": "not_saved" if failed and job.outcome is not None else job.state,
        "handle": job.handle,
        "images": [record.id for record in job.records],
        "cost_usd": usd(cost),
        "error": str(to_tool_error(job_error(job))) if failed else None,
    }
