"""`register_tool`: registers a method as a tool, with title, description, hints and icons."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import BeforeValidator, Field

from gptimage_mcp.assets import VIEWER_META, icons
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.jobs.job import Progress, ProgressCallback


if TYPE_CHECKING:
    from gptimage_mcp.app import App


# Who calls, and how to tell them that their image is on its way.


def progress_reporter(ctx: Context[App, Any]) -> ProgressCallback:
    """Return what sends the progress of a job to the client of this request, if it wants it."""

    async def report(progress: Progress) -> None:
        await ctx.report_progress(progress.seconds, None, progress.message)

    return report


LOOKS: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
"""Changes nothing and stays on this machine."""

PAID: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
"""Spends money and adds images; doing it twice may give others."""

REPEATABLE: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
"""Changes something here, for nothing; doing it twice is doing it once."""

REMOVES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
"""Takes something away for good; doing it twice is doing it once."""


def register_tool(
    server: DynamicServer,
    tool: Callable[..., Awaitable[CallToolResult | InputRequiredResult]],
    *,
    title: str,
    hints: ToolAnnotations,
    structured: bool,
    files: Sequence[str] = (),
    note: str = "",
) -> None:
    """Register a tool under its own name, with its docstring as the description.

    Args:
        server: The server.
        tool: The method; its parameters are the tool's.
        title: Its name for people.
        hints: What it may do.
        structured: Whether its answer has a schema; one with pixels must not.
        files: Parameters a client fills with a file the person attached.
        note: What the settings of this server add to the description.
    """
    if server.enabled and tool.__name__ not in server.enabled:
        return
    shown = {} if structured else VIEWER_META  # what has pixels is shown by the viewer
    attached = {"openai/fileParams": list(files)} if files else {}
    server.add_tool(
        tool,
        title=title,
        description=" ".join(filter(None, (inspect.getdoc(tool), note))),
        annotations=hints.model_copy(update={"title": title}),
        icons=icons(tool.__name__),
        meta={**shown, **attached} or None,
        structured_output=structured,
    )


def optional(description: str) -> Any:
    """Describes a parameter that may be left out; its schema speaks of no default and no null.

    Args:
        description: What its name and choices do not say; empty when they say it all.
    """
    return Field(description=description or None, json_schema_extra=_without_default)


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


NO_FLAG: Final = BeforeValidator(_no_flag)
"""Refuses true as a whole number, which it is in Python; it stands after the bounds."""


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)
