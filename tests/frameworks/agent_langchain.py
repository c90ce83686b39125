"""``examples/adapters/langchain_tools.py`` in an agent of LangChain with its fake chat model."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from agent_cases import Seen, register
from harness import check, run
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_tools import tools

from gptimage import Result


class CallsOnce(FakeMessagesListChatModel):
    """A model that says what it is told to, whatever its tools are."""

    def bind_tools(self, *_: Any, **__: Any) -> CallsOnce:
        return self


async def ask(client: Any, name: str, arguments: dict[str, Any]) -> Seen:
    """Run an agent."""
    call: Any = {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
    model = CallsOnce(responses=[AIMessage("", tool_calls=[call]), AIMessage("Done.")])
    agent: Any = create_agent(model, tools(client))
    state = await agent.ainvoke({"messages": [{"role": "user", "content": "Draw."}]})
    message = next(each for each in state["messages"] if isinstance(each, ToolMessage))
    check(message.artifact is None or isinstance(message.artifact, Result), message.artifact)
    blocks = message.content_blocks
    return Seen(
        "\n".join(each["text"] for each in blocks if each["type"] == "text"),
        [b64decode(each["base64"]) for each in blocks if each["type"] == "image"],
    )


register(ask)
run("langchain", "langchain-core")
