"""The image tools for the OpenAI Agents SDK: the model gets a text and small previews.

``python openai_agents_tools.py "A logo for a bakery"`` lets a model draw; `tools` is what to copy.
"""

from __future__ import annotations

import asyncio
import sys

from agents import Agent, Runner, Tool, ToolOutputImage, ToolOutputText, function_tool

from gptimage import AsyncImageClient, Budget
from gptimage.agents import ToolOutput, image_tools


def tools(client: AsyncImageClient) -> list[Tool]:
    """Return the tools of a client; no time limit of the framework ends a call that is paid."""
    return [function_tool(each) for each in image_tools(client, convert=parts)]


def parts(output: ToolOutput) -> list[ToolOutputText | ToolOutputImage]:
    """Return an output as the SDK sends it to the model."""
    previews = [ToolOutputImage(image_url=each.data_url) for each in output.previews]
    return [ToolOutputText(text=output), *previews]


async def main(wish: str) -> None:
    """Let an agent draw, for at most one dollar."""
    async with AsyncImageClient(store="images", budget=Budget(1, per="total")) as client:
        agent = Agent(name="illustrator", instructions="You draw.", tools=tools(client))
        print((await Runner.run(agent, wish)).final_output)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
