"""The tools: each parses, makes one library call, and hands the outcome to `content`."""

from __future__ import annotations

from gptimage_mcp.app import App
from gptimage_mcp.config.settings import offered
from gptimage_mcp.dynamic_server import LiveServer
from gptimage_mcp.tools.admin import add_telling
from gptimage_mcp.tools.browse import add_looking
from gptimage_mcp.tools.generate import add_drawing


def add_tools(server: LiveServer, app: App) -> None:
    """Offer every tool `app` is allowed to have."""
    server.offers = offered(app.settings)
    add_drawing(server, app)
    add_looking(server, app)
    add_telling(server, app)
