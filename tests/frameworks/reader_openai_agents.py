"""OpenAI Agents reads `gptimage-mcp`, with its strict conversion of the tools' schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStdio, MCPUtil
from agents.strict_schema import ensure_strict_json_schema
from agents.tool_context import ToolContext
from harness import FIRST, case, check, run
from reader_cases import COMMAND, DRAW, Answer, Call, register, server


@asynccontextmanager
async def started(env: dict[str, str]) -> AsyncIterator[MCPServerStdio]:
    """Yield a connected server."""
    command, *args = COMMAND
    params: Any = {"command": command, "args": args, "env": env}
    async with MCPServerStdio(params, client_session_timeout_seconds=60) as connected:
        yield connected


async def tools_of(connected: MCPServerStdio) -> dict[str, Any]:
    """Return the tools as an agent has them, by name."""
    agent = Agent(name="painter")
    context: Any = RunContextWrapper(context=None)
    found = await MCPUtil.get_function_tools(
        connected, convert_schemas_to_strict=True, run_context=context, agent=agent
    )
    return {each.name: each for each in found}


async def invoked(tool: Any, arguments: dict[str, Any]) -> Answer:
    """Call a tool as an agent does, and read what its model would be given."""
    written = json.dumps(arguments)
    context: Any = ToolContext(
        context=None, tool_name=tool.name, tool_call_id="call_1", tool_arguments=written
    )
    result = await tool.on_invoke_tool(context, written)
    parts = result if isinstance(result, list) else [result]
    blocks = [each if isinstance(each, dict) else {"type": "text", "text": each} for each in parts]
    text = "\n".join(each["text"] for each in blocks if each["type"] == "text")
    return Answer(
        text=text,
        images=sum(each["type"] == "image" for each in blocks),
        error="\nNext: " in text,
    )


@asynccontextmanager
async def connect(env: dict[str, str]) -> AsyncIterator[tuple[list[str], Call]]:
    """Yield the tools' names, and a function that calls one."""
    async with started(env) as connected:
        tools = await tools_of(connected)

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            return await invoked(tools[name], arguments)

        yield list(tools), call


def emptiest(schema: dict[str, Any]) -> Any:
    """Return what a model fills in for a parameter it has no use for but has to name."""
    if "enum" in schema:
        return next((each for each in ("", "auto") if each in schema["enum"]), schema["enum"][0])
    match schema["type"]:
        case "object":
            return {name: emptiest(each) for name, each in schema.get("properties", {}).items()}
        case "array":
            check(not schema.get("minItems"), schema)
            return []
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case kind:
            check(kind == "string", schema)
            return ""


@case("every tool can be called where its schema was made strict")
async def _() -> None:
    settings = {"GPTIMAGE_TOOLS": "full", "GPTIMAGE_ALLOW_DELETE": "true"}
    async with server(**settings) as env, started(env) as connected:
        listed = {each.name: each.input_schema for each in await connected.list_tools()}
        tools = await tools_of(connected)
        drawn = await invoked(tools["generate_image"], {"prompt": FIRST, **DRAW})
        image = drawn.json["images"][0]["id"]
        needed: dict[str, dict[str, Any]] = {
            "generate_image": {"prompt": FIRST},
            "edit_image": {"prompt": FIRST, "images": [image]},
            "refine_image": {"prompt": FIRST, "image": image},
            "create_variations": {"image": image},
            "edit_each_image": {"prompt": FIRST, "images": [image]},
            "estimate_cost": {"tool": "generate_image"},
            "view_image": {"id": image},
            "get_image_info": {"id": image},
            "inspect_image": {"image": image},
            "manage_conversations": {"action": "list"},
            "set_alt_text": {"id": image, "text": "A fox"},
            "manage_cache": {"action": "stats"},
            "cancel_call": {"id": drawn.json["handle"]},
            "list_images": {},
            "list_models": {},
            "get_server_status": {},
            "delete_image": {"id": image},
        }
        check(set(needed) == set(tools), set(needed) ^ set(tools))
        for name, arguments in needed.items():
            # What versions before the one that leaves open objects as they are show a model.
            schema = ensure_strict_json_schema(json.loads(json.dumps(listed[name])))
            optional = {k: v for k, v in schema["properties"].items() if k not in arguments}
            filled = {**emptiest({**schema, "properties": optional}), **arguments}
            if name == "estimate_cost":
                filled["arguments"].update(prompt=FIRST, **DRAW)
            answer = await invoked(tools[name], filled)
            check(not answer.error, f"{name}: {answer.text}")
            if name == "estimate_cost":
                check(float(answer.json["usd"]) > 0, answer.text)


register(connect)
run("openai-agents", "mcp")
