"""The Tasks extension: a call that goes on becomes a task, for clients that know tasks.

The handle of the job is the id of the task, so whatever a client does not ask for as a task it can
still get with view_image. Only the protocol of 2026-07-28 has the extension; every other client
gets the handle in the result, as before. See SEP-2663, `io.modelcontextprotocol/tasks`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gptimage import GptImageError


if TYPE_CHECKING:
    from gptimage_mcp.app import App
    from gptimage_mcp.jobs.job import Job


TASKS: Final = "io.modelcontextprotocol/tasks"

_VERSIONS: Final = frozenset(MODERN_PROTOCOL_VERSIONS)
_POLL_MS: Final = 2_000
_TTL_MS: Final = 30 * 24 * 3_600_000
"""How long handles are known; see the journal."""

_REMEMBERED: Final = 1_000


class TaskParams(RequestParams):
    """The parameters of ``tasks/get`` and ``tasks/cancel``."""

    task_id: str


class TaskUpdateParams(TaskParams):
    """The parameters of ``tasks/update``."""

    input_responses: dict[str, Any] | None = None


class Tasks(Extension):
    """Calls that go on, as tasks.

    Args:
        app: Returns what the server works with, which may be opened for that.
    """

    identifier = TASKS

    def __init__(self, app: Callable[[], Awaitable[App]]) -> None:
        self._app = app
        self._max_px: dict[str, int] = {}

    def methods(self) -> Sequence[MethodBinding]:
        """Return what clients may ask about a task."""
        return (
            MethodBinding("tasks/get", TaskParams, self.get, _VERSIONS),
            MethodBinding("tasks/update", TaskUpdateParams, self.update, _VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self.cancel, _VERSIONS),
        )

    async def intercept_tool_call(
        self,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> HandlerResult:
        """Return a task instead of a handle to a client that declared the extension."""
        result = await call_next(ctx)
        # SEP-2663: never a task for a client that did not declare it with this very request.
        if ctx.protocol_version not in _VERSIONS or not _is_declared(ctx):
            return result
        handle = _handle(result)
        job = handle and await self._find(handle)
        if not job:
            return result
        if (pixels := _max_px(params.arguments or {})) is not None:
            self._max_px[job.handle] = pixels
            while len(self._max_px) > _REMEMBERED:
                del self._max_px[next(iter(self._max_px))]
        return {"resultType": "task", **await self._task(job, "working")}

    async def get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        """Return how a task is, and its result once there is one."""
        job = await self._job(ctx, params)
        from gptimage_mcp.content.errors import to_tool_error  # late: it is of the first call
        from gptimage_mcp.content.results import job_result
        from gptimage_mcp.jobs.job import NotSentError

        if job.state == "running":
            return {"resultType": "complete", **await self._task(job, "working")}
        if isinstance(job.error, NotSentError):
            message = str(job.error)
            return {
                "resultType": "complete",
                **await self._task(job, "cancelled"),
                "statusMessage": message,
            }
        # SEP-2663: an error of the service is a result with isError; "failed" is for mistakes of
        # the server, which nobody can correct by another call.
        if job.error is not None and not isinstance(job.error, (GptImageError, OSError)):
            error = {"code": INTERNAL_ERROR, "message": str(to_tool_error(job.error))}
            return {"resultType": "complete", **await self._task(job, "failed"), "error": error}
        try:
            result = await job_result(await self._app(), job, max_px=self._max_px.get(job.handle))
        except ToolError as error:
            result = CallToolResult(content=[TextContent(text=str(error))], is_error=True)
        wire = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return {"resultType": "complete", **await self._task(job, "completed"), "result": wire}

    async def update(
        self, ctx: ServerRequestContext[Any, Any], params: TaskUpdateParams
    ) -> HandlerResult:
        """Acknowledge; a task never asks for input, so that there is nothing to take."""
        await self._job(ctx, params)
        return {"resultType": "complete"}

    async def cancel(
        self, ctx: ServerRequestContext[Any, Any], params: TaskParams
    ) -> HandlerResult:
        """Send nothing for a task, if nothing was sent; what was sent is paid and goes on."""
        job = await self._job(ctx, params)
        if job.state == "running":
            from gptimage_mcp.tools.submit import JobSubmitter  # late: it is of the first call

            await JobSubmitter(await self._app()).cancel(job)
        return {"resultType": "complete"}

    async def _job(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> Job:
        """Return the job of a task.

        Raises:
            MCPError: There is none of this caller's, the client did not declare the extension, or
                over HTTP the header ``Mcp-Name`` is not the task's id.
        """
        require_client_extension(ctx, TASKS)
        # SEP-2663, "Routing Headers": proxies route by it, so it may not differ from the body. The
        # SDK compares the methods it knows itself.
        headers = getattr(ctx.request, "headers", None)
        if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != (
            params.task_id
        ):
            message = (
                f"{MCP_NAME_HEADER} header does not match the request body's 'taskId' parameter"
            )
            raise MCPError(code=HEADER_MISMATCH, message=message)
        job = await self._find(params.task_id)
        if job is None:
            raise MCPError(code=INVALID_PARAMS, message="Task not found: it is unknown or expired")
        return job

    async def _find(self, handle: str) -> Job | None:
        """Return a job of the caller of this request, or None."""
        from gptimage_mcp.auth import current_user  # late: it is of the first call

        return await (await self._app()).jobs.get(handle, owner=current_user())

    async def _task(self, job: Job, status: str) -> dict[str, Any]:
        return {
            "taskId": job.handle,
            "status": status,
            "statusMessage": job.progress.message,
            "createdAt": job.started.isoformat(),
            "lastUpdatedAt": (await self._app()).clock().astimezone(UTC).isoformat(),
            "ttlMs": _TTL_MS,
            "pollIntervalMs": _POLL_MS,
        }


def _is_declared(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    return TASKS in ((capabilities and capabilities.extensions) or {})


def _handle(result: HandlerResult) -> str | None:
    """Return the handle in the result of a call that goes on; None for any other result."""
    if not isinstance(result, CallToolResult) or result.is_error or len(result.content) != 1:
        return None
    (block,) = result.content
    with suppress(ValueError):
        document: Any = json.loads(block.text) if isinstance(block, TextContent) else None
        if isinstance(document, dict):
            facts = cast("Mapping[str, object]", document)
            return str(facts.get("handle")) if facts.get("status") == "running" else None
    return None


def _max_px(arguments: Mapping[str, Any]) -> int | None:
    """Return the size of previews that the call named, wherever it stands."""
    advanced = arguments.get("advanced")
    for place in (arguments, advanced):
        if isinstance(place, dict):
            pixels = cast("Mapping[str, object]", place).get("max_px")
            if isinstance(pixels, int):
                return pixels
    return None
