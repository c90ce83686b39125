"""LangChain's MCP adapters read `gptimage-mcp`: a server for each call, as they do by default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from harness import run
from langchain_core.tools import ToolException
from langchain_mcp_adapters.client import MultiServerMCPClient
from reader_cases import COMMAND, Answer, Call, register


@asynccontextmanager
async def connect(env: dict[str, str]) -> AsyncIterator[tuple[list[str], Call]]:
    """Yield the tools' names, and a function that calls one."""
    command, *args = COMMAND
    connection: Any = {"transport": "stdio", "command": command, "args": args, "env": env}
    client = MultiServerMCPClient({"gptimage": connection})
    tools = {tool.name: tool for tool in await client.get_tools()}

    async def call(name: str, arguments: dict[str, Any]) -> Answer:
        given: Any = {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
        try:
            message = await tools[name].ainvoke(given)
        except ToolException as error:
            return Answer(text=str(error), error=True)
        content = message.content
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kinds = [block["type"] for block in blocks]
        return Answer(
            text="\n".join(block["text"] for block in blocks if block["type"] == "text"),
            images=kinds.count("image"),
            error=message.status == "error",
            other=[kind for kind in kinds if kind not in {"text", "image"}],
        )

    yield list(tools), call


register(connect, opens_each_time=True)
run("langchain-mcp-adapters", "langchain-core", "mcp")
