"""AutoGen's workbench reads `gptimage-mcp`: one server for a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from autogen_ext.tools.mcp import McpWorkbench, StdioServerParams
from harness import run
from reader_cases import COMMAND, Answer, Call, register


@asynccontextmanager
async def connect(env: dict[str, str]) -> AsyncIterator[tuple[list[str], Call]]:
    """Yield the tools' names, and a function that calls one."""
    command, *args = COMMAND
    params = StdioServerParams(command=command, args=args, env=env, read_timeout_seconds=60)
    async with McpWorkbench(params) as workbench:

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            result = await workbench.call_tool(name, arguments)
            kinds = [part.type for part in result.result]
            return Answer(
                text="\n".join(
                    part.content for part in result.result if part.type == "TextResultContent"
                ),
                images=kinds.count("ImageResultContent"),
                error=result.is_error,
            )

        yield [tool["name"] for tool in await workbench.list_tools()], call


register(connect)
run("autogen-ext", "autogen-core", "mcp")
