"""``examples/adapters/smolagents_tools.py`` in an agent of smolagents that calls tools."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from agent_cases import Seen, register
from harness import run
from smolagents import ChatMessage, Model, ToolCallingAgent
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole
from smolagents_tools import ImageToolset

from gptimage import ImageClient


class CallsOnce(Model):
    """A model that calls one tool, and then ends; `input` is what it saw at last."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.calls = [(name, arguments), ("final_answer", {"answer": "Done."})]
        self.input: Any = ()

    def generate(self, messages: Any, **_: Any) -> ChatMessage:
        self.input = messages
        name, arguments = self.calls.pop(0)
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id=name, type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


async def ask(client: Any, name: str, arguments: dict[str, Any]) -> Seen:
    """Run an agent."""
    images = ImageToolset(client)
    model = CallsOnce(name, arguments)
    agent = ToolCallingAgent(
        images.tools, model, step_callbacks=[images.show], verbosity_level=0, max_steps=3
    )
    await asyncio.to_thread(agent.run, "Draw.")
    parts = [part for message in model.input for part in message.content or ()]
    files: list[bytes] = []
    for part in parts:
        if part["type"] == "image":
            file = io.BytesIO()
            part["image"].save(file, "png")
            files.append(file.getvalue())
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return Seen("\n".join(each for each in texts if "Observation:" in each), files)


register(ask, client=ImageClient)
run("smolagents")
