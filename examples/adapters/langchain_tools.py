"""The image tools for LangChain: the model gets a text and small previews, your program the result.

``python langchain_tools.py "A logo for a bakery"`` lets a model draw; `tools` is what to copy.
"""

from __future__ import annotations

import asyncio
import sys

from langchain_core.messages import content
from langchain_core.tools import BaseTool, StructuredTool

from gptimage import AsyncImageClient, Budget, Result
from gptimage.agents import ToolOutput, image_tools


def tools(client: AsyncImageClient) -> list[BaseTool]:
    """Return the tools of a client; the `Result` is the artifact of each `ToolMessage`."""
    return [
        StructuredTool.from_function(
            coroutine=each, parse_docstring=True, response_format="content_and_artifact"
        )
        for each in image_tools(client, convert=parts)
    ]


def parts(output: ToolOutput) -> tuple[list[content.ContentBlock], Result | None]:
    """Return an output as LangChain's content blocks, and the artifact."""
    previews = [
        content.create_image_block(base64=each.base64, mime_type=each.mime_type)
        for each in output.previews
    ]
    return [content.create_text_block(output), *previews], output.result


async def main(wish: str) -> None:
    """Let an agent draw, for at most one dollar."""
    from langchain.agents import create_agent

    async with AsyncImageClient(store="images", budget=Budget(1, per="total")) as client:
        agent = create_agent("openai:gpt-5", tools(client))
        state = await agent.ainvoke({"messages": [{"role": "user", "content": wish}]})
        print(state["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
