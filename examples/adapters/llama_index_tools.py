"""The image tools for LlamaIndex: the model gets a text and small previews.

``python llama_index_tools.py "A logo for a bakery"`` lets a model draw; `tools` is what to copy.
"""

from __future__ import annotations

import asyncio
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool

from gptimage import AsyncImageClient, Budget
from gptimage.agents import ToolOutput, image_tools


def tools(client: AsyncImageClient) -> list[FunctionTool]:
    """Return the tools of a client."""
    return [
        FunctionTool.from_defaults(async_fn=each) for each in image_tools(client, convert=parts)
    ]


def parts(output: ToolOutput) -> list[TextBlock | ImageBlock]:
    """Return an output as the blocks of a message."""
    previews = [
        ImageBlock(image=each.data, image_mimetype=each.mime_type) for each in output.previews
    ]
    return [TextBlock(text=output), *previews]


async def main(wish: str) -> None:
    """Let an agent draw, for at most one dollar."""
    from llama_index.llms.openai import OpenAI  # pip install llama-index-llms-openai

    async with AsyncImageClient(store="images", budget=Budget(1, per="total")) as client:
        agent = FunctionAgent(tools=tools(client), llm=OpenAI("gpt-5"))
        print(await agent.run(user_msg=wish))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
