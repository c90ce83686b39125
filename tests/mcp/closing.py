"""A real client over stdio that closes soon after it was told a handle, and one that comes back."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from gptimage.sandbox import Sandbox
from gptimage.sandbox.service import SandboxReply


COMMAND = (sys.executable, "-m", "gptimage_mcp")
PATIENCE = 1.0
"""Seconds between the handle and the client's leaving."""


class Unhurried(Sandbox):
    """A service that draws for longer than clients stay."""

    def handle(self, request: Any) -> SandboxReply:
        """A request is there."""
        time.sleep(3 * PATIENCE)
        return super().handle(request)


def environment(folder: Path, base_url: str, **settings: str) -> dict[str, str]:
    """What a server is told whose calls answer with a handle at once."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENAI_API_KEY": "sk-of-nobody",
        "OPENAI_BASE_URL": base_url,
        "XDG_STATE_HOME": str(folder / "state"),
        "GPTIMAGE_STORE": str(folder / "store"),
        "GPTIMAGE_LEDGER": str(folder / "spend.sqlite"),
        "GPTIMAGE_CACHE": "off",
        "GPTIMAGE_WAIT": "0",
        **settings,
    }


def client(env: dict[str, str]) -> Client:
    """A client of the Python SDK, with a server of its own."""
    command, *args = COMMAND
    return Client(stdio_client(StdioServerParameters(command=command, args=list(args), env=env)))


async def draw_and_leave(env: dict[str, str], prompt: str = "A fox") -> str:
    """Ask for a picture, and close the client a moment after the handle is there."""
    wish = {"prompt": prompt, "size": "1024x1024", "quality": "low"}
    async with client(env) as here:
        answer = json.loads(text(await here.call_tool("generate_image", wish)))
        assert answer["status"] == "running"
        await anyio.sleep(PATIENCE)
    return str(answer["handle"])


async def come_back(env: dict[str, str], handle: str) -> Any:
    """What a new client and its new server are told of the handle."""
    async with client({**env, "GPTIMAGE_WAIT": "50"}) as here:
        return await here.call_tool("view_image", {"id": handle})


def text(result: Any) -> str:
    """The first block of a result."""
    return str(result.content[0].text)
