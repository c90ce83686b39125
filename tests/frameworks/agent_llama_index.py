"""``examples/adapters/llama_index_tools.py`` in an agent of LlamaIndex with its mock model."""

from __future__ import annotations

from typing import Any

from agent_cases import Seen, register
from harness import run
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index_tools import tools


async def ask(client: Any, name: str, arguments: dict[str, Any]) -> Seen:
    """Run an agent."""
    seen: list[Any] = []

    def respond(messages: Any, **_: Any) -> ChatMessage:
        found = [each for each in messages if each.role == MessageRole.TOOL]
        seen[:] = [block for each in found for block in each.blocks]
        if found:
            return ChatMessage(role=MessageRole.ASSISTANT, content="Done.")
        call = ToolCallBlock(tool_call_id="1", tool_name=name, tool_kwargs=arguments)
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])

    model = MockFunctionCallingLLM(response_generator=respond, is_chat_model=True)
    await FunctionAgent(tools=[*tools(client)], llm=model, streaming=False).run(user_msg="Draw.")
    return Seen(
        "\n".join(each.text for each in seen if isinstance(each, TextBlock)),
        [each.resolve_image().read() for each in seen if isinstance(each, ImageBlock)],
    )


register(ask)
run("llama-index-core")
