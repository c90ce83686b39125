"""openai-agents against the sandbox: an agent with the image tool."""

from __future__ import annotations

import tempfile
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    ImageGenerationTool,
    ModelSettings,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from harness import CHAT_MODEL, FIRST, NEXT, case, check, is_png, png, run


set_tracing_disabled(disabled=True)
TOOL: Any = {"type": "image_generation", "quality": "low", "size": "1024x1024"}


@function_tool
def get_animal() -> str:
    """Return the animal to draw."""
    return "axolotl"


def agent(*tools: Any, **settings: Any) -> Agent:
    """Return an agent that draws."""
    image_tool = ImageGenerationTool(tool_config={**TOOL, **settings.pop("image", {})})
    return Agent(
        name="painter",
        instructions="You draw what people ask for.",
        model=CHAT_MODEL,
        tools=[*tools, image_tool],
        **settings,
    )


def drawn(result: Any) -> bytes:
    """Return the last image of a run."""
    found = [item.raw_item for item in result.new_items if getattr(item.raw_item, "result", None)]
    check(found, f"no image: {[item.type for item in result.new_items]}")
    return b64decode(found[-1].result)


@case("run")
async def _() -> None:
    check(is_png(drawn(await Runner.run(agent(), FIRST))))


@case("run, streamed")
async def _() -> None:
    result = Runner.run_streamed(agent(), FIRST)
    kinds = [event.type async for event in result.stream_events()]
    check("run_item_stream_event" in kinds, kinds)
    check(is_png(drawn(result)))


@case("partial images, streamed")
async def _() -> None:
    result = Runner.run_streamed(agent(image={"partial_images": 2}), FIRST)
    kinds = [event.data.type async for event in result.stream_events() if hasattr(event, "data")]
    check(kinds.count("response.image_generation_call.partial_image") == 2, kinds)


@case("two turns by to_input_list")
async def _() -> None:
    first = await Runner.run(agent(), FIRST)
    items = [*first.to_input_list(), {"role": "user", "content": NEXT}]
    check(is_png(drawn(await Runner.run(agent(), items))))


@case("two turns by previous_response_id")
async def _() -> None:
    first = await Runner.run(agent(), FIRST)
    second = await Runner.run(agent(), NEXT, previous_response_id=first.last_response_id)
    check(is_png(drawn(second)))


@case("two turns of a conversation")
async def _() -> None:
    from openai import AsyncOpenAI

    talk = await AsyncOpenAI().conversations.create()
    await Runner.run(agent(), FIRST, conversation_id=talk.id)
    check(is_png(drawn(await Runner.run(agent(), NEXT, conversation_id=talk.id))))


@case("two turns of a session in the service's conversations")
async def _() -> None:
    from agents import OpenAIConversationsSession

    session = OpenAIConversationsSession()
    await Runner.run(agent(), FIRST, session=session)
    check(is_png(drawn(await Runner.run(agent(), NEXT, session=session))))
    check(await session.get_items())
    await session.clear_session()


@case("two turns of a session in SQLite")
async def _() -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = SQLiteSession("fox", Path(folder, "s.db"))
        await Runner.run(agent(), FIRST, session=session)
        check(is_png(drawn(await Runner.run(agent(), NEXT, session=session))))
        session.close()


@case("nothing stored")
async def _() -> None:
    settings = ModelSettings(store=False)
    first = await Runner.run(agent(model_settings=settings), FIRST)
    items = [*first.to_input_list(), {"role": "user", "content": NEXT}]
    check(is_png(drawn(await Runner.run(agent(model_settings=settings), items))))


@case("a function beside the image tool")
async def _() -> None:
    check(is_png(drawn(await Runner.run(agent(get_animal), FIRST))))


@case("an image in the input")
async def _() -> None:
    url = "data:image/png;base64," + b64encode(png()).decode()
    content = [
        {"type": "input_text", "text": NEXT},
        {"type": "input_image", "detail": "auto", "image_url": url},
    ]
    items: Any = [{"role": "user", "content": content}]
    check(is_png(drawn(await Runner.run(agent(), items))))


@case("a handoff to the agent that draws")
async def _() -> None:
    # The sandbox's chat model calls no function, so nothing is handed over; the body must pass.
    triage = Agent(name="triage", model=CHAT_MODEL, handoffs=[agent()])
    check((await Runner.run(triage, FIRST)).final_output)


run("openai-agents", "openai")
