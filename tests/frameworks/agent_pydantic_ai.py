"""``examples/adapters/pydantic_ai_tools.py`` in an agent of pydantic-ai with its function model."""

from __future__ import annotations

from typing import Any

from agent_cases import Seen, register
from harness import run
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.messages import (
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import FunctionModel
from pydantic_ai_tools import tools


async def ask(client: Any, name: str, arguments: dict[str, Any]) -> Seen:
    """Run an agent."""

    def respond(messages: Any, _: Any) -> ModelResponse:
        called = any(isinstance(part, ToolReturnPart) for each in messages for part in each.parts)
        return ModelResponse([TextPart("Done.") if called else ToolCallPart(name, arguments)])

    agent: Any = Agent(FunctionModel(respond), toolsets=[tools(client)])
    result = await agent.run("Draw.")
    parts = [part for message in result.all_messages() for part in message.parts]
    texts = [part.content for part in parts if isinstance(part, ToolReturnPart)]
    shown = [part.content for part in parts if isinstance(part, UserPromptPart)]
    inline = [each for each in texts + shown if isinstance(each, list)]
    images = [one.data for each in inline for one in each if isinstance(one, BinaryContent)]
    return Seen("\n".join(map(str, texts)), images)


register(ask)
run("pydantic-ai-slim")
