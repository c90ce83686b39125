"""``examples/adapters/openai_agents_tools.py`` with openai-agents, and a model that only calls."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from agent_cases import Seen, register
from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from harness import run
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from openai_agents_tools import tools


set_tracing_disabled(disabled=True)


class CallsOnce(Model):
    """A model that calls one tool, and then ends; `input` is what it saw at last."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self.call = ResponseFunctionToolCall(
            type="function_call", call_id="1", name=name, arguments=json.dumps(arguments)
        )
        self.end = ResponseOutputMessage(
            id="m", type="message", role="assistant", status="completed",
            content=[ResponseOutputText(type="output_text", text="Done.", annotations=[])],
        )  # fmt: skip
        self.input: Any = ()

    async def get_response(self, *_: Any, input: Any, **__: Any) -> ModelResponse:
        self.input = input
        called = any(each.get("type") == "function_call_output" for each in input)
        output = self.end if called else self.call
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def ask(client: Any, name: str, arguments: dict[str, Any]) -> Seen:
    """Run an agent."""
    model = CallsOnce(name, arguments)
    await Runner.run(Agent(name="a", model=model, tools=[*tools(client)]), "Draw.")
    parts = next(each["output"] for each in model.input if "output" in each)
    return Seen(
        "\n".join(each["text"] for each in parts if each["type"] == "input_text"),
        [b64decode(each["image_url"].partition(",")[2]) for each in parts if "image_url" in each],
    )


register(ask, strict=True)
run("openai-agents", "openai")
