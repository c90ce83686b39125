"""Who calls, and how to tell them that their picture is on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context

from gptimage_mcp.auth import name_of
from gptimage_mcp.job import Progress, Tell


if TYPE_CHECKING:
    from gptimage_mcp.app import App


def caller() -> str | None:
    """The user, or else the client, as the access token says; None without one (stdio)."""
    token = get_access_token()
    return None if token is None else name_of(token)


def telling(ctx: Context[App, Any]) -> Tell:
    """Tells the client of this request how far a job is, if it asked to know."""

    async def tell(progress: Progress) -> None:
        await ctx.report_progress(progress.seconds, None, progress.message)

    return tell
