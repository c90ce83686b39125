"""The image tools for smolagents: the model gets a text, and small previews with the next step.

``python smolagents_tools.py "A logo for a bakery"`` lets a model draw; `ImageToolset` is what to
copy.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import PIL.Image
from smolagents import ActionStep, OpenAIModel, Tool, ToolCallingAgent
from smolagents._function_type_hints_utils import get_json_schema

from gptimage import Budget, ImageClient
from gptimage.agents import ToolOutput, image_tools


class ImageTool(Tool):
    """One of the tools, described by its function's annotations and docstring."""

    output_type = "string"
    skip_forward_signature_validation = True  # its parameters are those of the function

    def __init__(self, function: Callable[..., str]) -> None:
        described: dict[str, Any] = get_json_schema(function)["function"]
        self.name = described["name"]
        self.description = described["description"]
        self.inputs = described["parameters"]["properties"]
        for name in {*self.inputs} - {*described["parameters"].get("required", ())}:
            self.inputs[name]["nullable"] = True
        self.forward = function
        super().__init__()


class ImageToolset:
    """The tools of a client, and the callback that shows their previews to a model that sees."""

    def __init__(self, client: ImageClient) -> None:
        self._previews: list[PIL.Image.Image] = []
        self.tools: list[Tool] = [
            ImageTool(each) for each in image_tools(client, convert=self._text)
        ]

    def _text(self, output: ToolOutput) -> str:
        self._previews += [PIL.Image.open(io.BytesIO(each.data)) for each in output.previews]
        return str(output)

    def show(self, step: ActionStep) -> None:
        """Add the previews to a step, as one of the agent's ``step_callbacks``."""
        step.observations_images = [*(step.observations_images or ()), *self._previews] or None
        self._previews.clear()


def main(wish: str) -> None:
    """Let an agent draw, for at most one dollar."""
    with ImageClient(store="images", budget=Budget(1, per="total")) as client:
        images = ImageToolset(client)
        model = OpenAIModel("gpt-5")
        agent = ToolCallingAgent(images.tools, model, step_callbacks=[images.show])
        print(agent.run(wish))


if __name__ == "__main__":
    main(sys.argv[1])
