"""The image tools for pydantic-ai: the model gets a text and small previews.

``python pydantic_ai_tools.py "A logo for a bakery"`` lets a model draw; `tools` is what to copy.
"""

from __future__ import annotations

import asyncio
import sys

from pydantic_ai import Agent, BinaryImage, FunctionToolset, ToolReturn

from gptimage import AsyncImageClient, Budget
from gptimage.agents import ToolOutput, image_tools


def tools(client: AsyncImageClient) -> FunctionToolset[object]:
    """Return the tools of a client; the `Result` is the metadata of each return."""
    toolset = FunctionToolset[object]()
    for each in image_tools(client, convert=parts):
        toolset.add_function(each, docstring_format="google", require_parameter_descriptions=True)
    return toolset


def parts(output: ToolOutput) -> ToolReturn:
    """Return an output as pydantic-ai sends it: the previews follow in a message of their own."""
    previews = [BinaryImage(each.data, media_type=each.mime_type) for each in output.previews]
    return ToolReturn(str(output), content=previews or None, metadata=output.result)


async def main(wish: str) -> None:
    """Let an agent draw, for at most one dollar."""
    async with AsyncImageClient(store="images", budget=Budget(1, per="total")) as client:
        agent = Agent("openai:gpt-5", toolsets=[tools(client)])
        print((await agent.run(wish)).output)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
