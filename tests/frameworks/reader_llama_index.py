"""LlamaIndex's MCP tools read `gptimage-mcp`: a server for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from harness import run
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from reader_cases import COMMAND, Answer, Call, register


@asynccontextmanager
async def connect(env: dict[str, str]) -> AsyncIterator[tuple[list[str], Call]]:
    """Yield the tools' names, and a function that calls one."""
    command, *args = COMMAND
    client = BasicMCPClient(command, args=args, env=env, timeout=60)
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}

    async def call(name: str, arguments: dict[str, Any]) -> Answer:
        output = await tools[name].acall(**arguments)
        result = output.raw_output
        kinds = [part.type for part in result.content]
        return Answer(
            text="\n".join(part.text for part in result.content if part.type == "text"),
            images=kinds.count("image"),
            error=bool(getattr(result, "is_error", None) or getattr(result, "isError", None)),
            other=[kind for kind in kinds if kind not in {"text", "image"}],
        )

    yield list(tools), call


register(connect, opens_each_time=True)
run("llama-index-tools-mcp", "llama-index-core", "mcp")
