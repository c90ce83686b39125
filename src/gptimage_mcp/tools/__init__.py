"""The tools: each parses, makes one library call, and hands the outcome to `content`."""

from __future__ import annotations

from gptimage_mcp.app import App
from gptimage_mcp.config.settings import enabled_tools
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.tools.admin import add_admin_tools
from gptimage_mcp.tools.browse import add_browse_tools
from gptimage_mcp.tools.conversations import add_conversation_tools
from gptimage_mcp.tools.edit_each import add_edit_each_tool
from gptimage_mcp.tools.generate import add_generate_tools
from gptimage_mcp.tools.inspect import add_inspect_tools


def add_tools(server: DynamicServer, app: App) -> None:
    """Offer every tool `app` is allowed to have."""
    server.enabled = enabled_tools(app.settings)
    add_generate_tools(server, app)
    add_browse_tools(server, app)
    add_admin_tools(server, app)
    add_edit_each_tool(server, app)
    add_inspect_tools(server, app)
    add_conversation_tools(server, app)
