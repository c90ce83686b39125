"""``gptimage-mcp install``: an entry in the configuration of MCP clients."""

from __future__ import annotations
