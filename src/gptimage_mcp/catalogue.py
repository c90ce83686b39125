"""The tools as clients see them, read from a file: to build them takes a third of the start.

``python -m gptimage_mcp.catalogue`` writes the file anew; a test compares it with the tools.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Final

from mcp_types import Tool

from gptimage_mcp.config.settings import Settings, enabled_tools


FILE: Final = Path(__file__).with_name("tools.json")

_LIMIT_NOTE: Final = (
    "Name size and quality: a spending limit counts what they leave open at its dearest."
)
_LIMITED: Final = ("generate_image", "edit_image", "refine_image", "create_variations")


def limit_note(name: str, settings: Settings) -> str:
    """Return what a spending limit adds to the description of a tool; empty without one."""
    return _LIMIT_NOTE if name in _LIMITED and settings.limits else ""


def saved_tools(settings: Settings) -> list[Tool]:
    """Return the tools of a server with these settings, in their order."""
    names = enabled_tools(settings)
    found: list[Tool] = []
    for each in json.loads(files("gptimage_mcp").joinpath(FILE.name).read_bytes()):
        if each["name"] in names:
            if note := limit_note(each["name"], settings):
                each["description"] += f" {note}"
            found.append(Tool.model_validate(each))
    return found


def write_tools() -> None:
    """Write the file anew, of every tool there is."""
    import asyncio
    import tempfile

    from gptimage_mcp.server import build_server

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            store=Path(folder, "store"),
            ledger=Path(folder, "ledger.sqlite"),
            sandbox=True,
            tools=("full",),
            allow_delete=True,
        )
        tools = asyncio.run(build_server(settings).list_tools())
    documents = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in tools]
    FILE.write_text(json.dumps(documents, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    write_tools()
