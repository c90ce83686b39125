"""fastmcp's client, in an environment of its own process."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest


def test_everything_a_client_asks(server: str) -> None:
    """Fastmcp lists, draws, reads, completes and renders prompts."""
    fastmcp = pytest.importorskip("fastmcp", reason="fastmcp is installed by `nox -s clients`")

    async def use() -> None:
        async with fastmcp.Client(server) as client:
            tools = {tool.name for tool in await client.list_tools()}
            drawn = await client.call_tool(
                "generate_image", {"prompt": "A red fox", "size": "1024x1024"}
            )
            told = json.loads(drawn.content[0].text)
            (original,) = await client.read_resource(told["images"][0]["uri"])
            listed = await client.call_tool("list_images", {"limit": 1})
            prompts = {prompt.name for prompt in await client.list_prompts()}

            assert {"generate_image", "view_image"} <= tools
            assert drawn.structured_content is None
            assert len(base64.b64decode(original.blob)) == told["images"][0]["bytes"]
            assert listed.structured_content["records"][0]["id"] == told["images"][0]["id"]
            assert len(prompts) >= 10
            assert len(await client.list_resource_templates()) >= 3

    asyncio.run(use())
