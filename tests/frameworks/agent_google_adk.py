"""``examples/adapters/google_adk_tools.py`` in an agent of Google's ADK, and a model that calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agent_cases import Seen, register
from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types
from google_adk_tools import tools
from harness import run


class Calls(BaseLlm):
    """A model that calls each tool in turn, and then ends."""

    calls: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012  # a field of pydantic's
    seen: list[Any] = []  # noqa: RUF012  # a field of pydantic's

    async def generate_content_async(
        self,
        llm_request: Any,
        stream: bool = False,  # noqa: ARG002  # ADK passes it
    ) -> AsyncGenerator[LlmResponse, None]:
        self.seen[:] = [part for each in llm_request.contents for part in each.parts]
        given = {part.function_response.name for part in self.seen if part.function_response}
        part = types.Part(text="Done.")
        for name, given_arguments in self.calls:
            if name in given:
                continue
            if name == "load_artifacts":
                if not (names := previews(self.seen)):
                    continue
                given_arguments["artifact_names"] = names
            part = types.Part.from_function_call(name=name, args=given_arguments)
            break
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def previews(parts: list[Any]) -> list[str]:
    """The artifacts that a tool named."""
    responses = [part.function_response.response for part in parts if part.function_response]
    return [name for each in responses for name in each.get("previews", ())]


async def ask(client: Any, name: str, arguments: dict[str, Any]) -> Seen:
    """Run an agent."""
    model = Calls(model="calls", calls=[(name, arguments), ("load_artifacts", {})])
    agent = LlmAgent(name="illustrator", model=model, tools=[*tools(client)])
    await InMemoryRunner(agent).run_debug("Draw.", quiet=True)
    texts = [part.function_response.response for part in model.seen if part.function_response]
    images = [part.inline_data.data for part in model.seen if part.inline_data]
    return Seen("\n".join(str(each.get("result", "")) for each in texts), images)


register(ask)
run("google-adk", "google-genai")
