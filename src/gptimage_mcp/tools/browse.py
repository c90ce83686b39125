"""The tools that look at images that are there: `view_image`, `list_images`, `get_image_info`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from anyio.to_thread import run_sync
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import Field, WithJsonSchema

from gptimage.types.parameters import OutputFormat
from gptimage_mcp.app import App
from gptimage_mcp.auth import current_user
from gptimage_mcp.content import records as documents
from gptimage_mcp.content.errors import to_tool_error, tool_errors, unknown_handle
from gptimage_mcp.content.records import parse_time, uri_of
from gptimage_mcp.content.results import (
    job_error,
    job_result,
    running_summary,
    saved_image,
    structured,
)
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.jobs.job import Job
from gptimage_mcp.tools import schemas
from gptimage_mcp.tools.parameters import MaxPixels, Nothing
from gptimage_mcp.tools.register import LOOKS, NO_FLAG, optional, progress_reporter, register_tool


if TYPE_CHECKING:
    from gptimage.store import Filters, Page

_MOST_RELATIVES: Final = 100
_RUNNING: Final = ("seconds", "progress", "max_cost_usd", "next")
_NEXT: Final = "view_image shows an image; edit_image and refine_image take its id."

Id = Annotated[
    str,
    Field(
        description="An image (img_...) or the handle of a call (job_...)",
        min_length=1,
        max_length=200,
    ),
]
Text = Annotated[
    Annotated[str, Field(max_length=2000)] | Nothing,
    optional('Words of prompt or tags; "red fox", light*'),
]
Limit = Annotated[int, Field(description="20 by default", ge=1, le=100), NO_FLAG]
Rank = Annotated[Literal["newest", "relevance"], Field(description="newest by default")]
Cursor = Annotated[
    Annotated[str, Field(max_length=200)] | Nothing, optional("`next` of the page before")
]
Since = Annotated[str | Nothing, optional("Saved since: 2026-11-20, or an age such as 7d")]
Until = Annotated[str | Nothing, optional("Saved before")]
Model = Annotated[str | Nothing, optional("")]
Tag = Annotated[str | Nothing, optional("")]
_OPERATIONS = Literal["generate", "edit", "recovered"]


def _or_any(choices: Any) -> WithJsonSchema:
    """Allow "" in the schema: strict converters make a filter required, and "" leaves it out."""
    return WithJsonSchema({"type": "string", "enum": [*get_args(choices), ""]})


Operation = Annotated[
    Annotated[_OPERATIONS, _or_any(_OPERATIONS)] | Nothing,
    optional(""),
]
Format = Annotated[Annotated[OutputFormat, _or_any(OutputFormat)] | Nothing, optional("")]
Pinned = Annotated[bool | Nothing, optional("")]


def add_browse_tools(server: DynamicServer, app: App) -> None:
    """Offer the tools that look at images."""
    tools = BrowseTools(app)
    register_tool(server, tools.view_image, title="View image", hints=LOOKS, structured=False)
    register_tool(server, tools.list_images, title="List images", hints=LOOKS, structured=True)
    register_tool(
        server, tools.get_image_info, title="Get image info", hints=LOOKS, structured=True
    )


class BrowseTools:
    """Tools over the store and the work in progress.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def view_image(
        self,
        ctx: Context[App, Any],
        id: Id,
        max_px: MaxPixels = None,
    ) -> CallToolResult:
        """Show a saved image, or wait for the images of a call that was still running.

        Gives a preview and the path of the whole file; an svg is never drawn. Free.
        """
        with tool_errors():
            job = await self._job(id)
            if job is not None:
                await job.wait(self._app.settings.wait, progress_reporter(ctx))
                return await job_result(self._app, job, max_px=max_px)
            record = await run_sync(self._app.store.get, bare(id))
            return await saved_image(self._app, record, max_px)

    async def list_images(
        self,
        text: Text = None,
        limit: Limit = 20,
        cursor: Cursor = None,
        rank: Rank = "newest",
        since: Since = None,
        until: Until = None,
        model: Model = None,
        tag: Tag = None,
        operation: Operation = None,
        format: Format = None,
        pinned: Pinned = None,
    ) -> Annotated[CallToolResult, schemas.Listing]:
        """List or search saved images, in short; get_image_info tells all. Free."""
        with tool_errors():
            filters: Filters = {
                "since": parse_time(since, "since", self._app.clock),
                "until": parse_time(until, "until", self._app.clock),
                "model": model or None,
                "tag": tag or None,
                "operation": operation,
                "format": format,
                "pinned": pinned,
            }
            query: partial[Page] = partial(self._app.store.history, limit)
            if text and text.strip():
                query = partial(self._app.store.search, text, limit, rank=rank)
            page = await run_sync(partial(query, cursor=cursor or None, **filters))
            return structured(documents.listing(page))

    async def get_image_info(
        self, ctx: Context[App, Any], id: Id
    ) -> Annotated[CallToolResult, schemas.Info]:
        """Tell all about a saved image, or how a call is; no pixels. Free."""
        with tool_errors():
            job = await self._job(id)
            ids, handle = [bare(id)], None
            if job is not None:
                await job.wait(self._app.settings.wait, progress_reporter(ctx))
                if job.state == "running":
                    now = running_summary(self._app, job)
                    return _info("running", job.handle, **{name: now[name] for name in _RUNNING})
                if not job.records:
                    return _ended(job)
                ids, handle = [record.id for record in job.records], job.handle
            records = await run_sync(lambda: [self._told(each) for each in ids])
            return _info("done", handle, records=records, next=_NEXT)

    async def _job(self, id: str) -> Job | None:
        """The job of a handle; None when it is not a handle.

        Raises:
            InvalidRequestError: Nobody, or not this caller, has a job of that handle.
        """
        handle = bare(id)
        if not handle.startswith("job_"):
            return None
        job = await self._app.jobs.get(handle, owner=current_user())
        if job is None:
            raise unknown_handle(handle)
        return job

    def _told(self, id: str) -> dict[str, Any]:
        """Everything about an image, with its prompt once."""
        record, lineage = self._app.store.get(id), self._app.store.lineage(id)
        request = {name: value for name, value in record.request.items() if name != "prompt"}
        return {
            **record.to_dict(),
            "request": request,
            "prompt": record.prompt,
            "uri": uri_of(record.id),
            "path": record.path and str(record.path),
            "key": record.key,
            "ancestors": [each.id for each in lineage.ancestors[-_MOST_RELATIVES:]],
            "descendants": [each.id for each in lineage.descendants[:_MOST_RELATIVES]],
        }


def bare(id: str) -> str:
    """The id in an address, or what was given."""
    return id.strip().removeprefix("generated-images://")


def _info(status: str, handle: str | None = None, **facts: Any) -> CallToolResult:
    """Return what is known, and null for the rest."""
    nothing: dict[str, Any] = {**dict.fromkeys(schemas.Info.__annotations__), "records": []}
    return structured({**nothing, "status": status, "handle": handle, **facts})


def _ended(job: Job) -> CallToolResult:
    """A job without saved images: what went wrong, and what to do next."""
    what, _, then = str(to_tool_error(job_error(job))).partition("\nNext: ")
    status = "not_saved" if job.state == "done" and job.error is not None else job.state
    return _info(status, job.handle, error=what, next=then)
