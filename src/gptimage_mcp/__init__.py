"""The abilities of gptimage for AI assistants, over the Model Context Protocol.

``gptimage-mcp`` runs it. A program that serves it itself builds one with `build_server`, from
`Settings` that `gptimage_mcp.config.loading.load` read or that it made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from gptimage_mcp.config.settings import Settings, SettingsError
    from gptimage_mcp.server import build_server
else:
    _LATE: Final = {
        "Settings": "gptimage_mcp.config.settings",
        "SettingsError": "gptimage_mcp.config.settings",
        "build_server": "gptimage_mcp.server",
    }

    def __getattr__(name: str) -> object:
        """Import a name when it is first used: a client waits while the command starts."""
        if name not in _LATE:
            raise AttributeError(f"module 'gptimage_mcp' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)


__all__ = ["Settings", "SettingsError", "build_server"]
