"""The image tools for Google's ADK: the model gets a text, and previews as artifacts it can load.

``python google_adk_tools.py "A logo for a bakery"`` lets a model draw; `tools` is what to copy.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.runners import InMemoryRunner
from google.adk.tools import BaseTool, FunctionTool, ToolContext, load_artifacts
from google.genai import types

from gptimage import AsyncImageClient, Budget
from gptimage.agents import ToolOutput, image_tools


class ImageTool(FunctionTool):
    """One of the tools; what ADK gives a model is JSON, so previews become artifacts."""

    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> Any:
        """Call the function, and save the previews of its output."""
        output = await super().run_async(args=args, tool_context=tool_context)
        if not isinstance(output, ToolOutput):  # ADK's own word on wrong arguments
            return output
        names: list[str] = []
        for preview in output.previews:
            name = f"preview-{preview.sha256[:8]}.{preview.extension}"
            part = types.Part.from_bytes(data=preview.data, mime_type=preview.mime_type)
            try:
                await tool_context.save_artifact(name, part)
            except Exception:  # noqa: BLE001  # of any service: an error here would draw, and pay, again
                break
            names.append(name)
        return {"result": str(output), "previews": names}


def tools(client: AsyncImageClient) -> list[BaseTool]:
    """Return the tools of a client, and the one that shows artifacts to the model."""
    return [*map(ImageTool, image_tools(client)), load_artifacts]


async def main(wish: str) -> None:
    """Let an agent draw, for at most one dollar."""
    async with AsyncImageClient(store="images", budget=Budget(1, per="total")) as client:
        agent = LlmAgent(name="illustrator", model="gemini-2.5-flash", tools=[*tools(client)])
        runner = InMemoryRunner(agent)
        for event in await runner.run_debug(wish, quiet=True):
            if event.is_final_response() and event.content:
                print(*(part.text for part in event.content.parts or () if part.text))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
