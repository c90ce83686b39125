"""langchain-openai against the sandbox: a chat model with the image tool bound to it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from harness import BASE_URL, CHAT_MODEL, FIRST, KEY, NEXT, case, check, is_png, png, run
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


TOOL: dict[str, Any] = {"type": "image_generation", "quality": "low", "size": "1024x1024"}


def model(*tools: Any, **settings: Any) -> Any:
    """Return a chat model that draws."""
    settings = {"use_responses_api": True, **settings}
    chat = ChatOpenAI(model=CHAT_MODEL, api_key=KEY, base_url=BASE_URL, **settings)
    return chat.bind_tools([TOOL, *tools])


def drawn(message: AIMessage) -> bytes:
    """Return the image of a message, in either shape LangChain gives it."""
    for block in message.content_blocks:
        if block["type"] == "image" and "base64" in block:
            return b64decode(block["base64"])
    for block in message.content:
        if isinstance(block, dict) and block.get("type") == "image_generation_call":
            return b64decode(block["result"])
    raise AssertionError(f"no image: {str(message.content)[:200]}")


@tool
def get_animal() -> str:
    """Return the animal to draw."""
    return "axolotl"


@case("invoke")
async def _() -> None:
    check(is_png(drawn(model().invoke(FIRST))))


@case("ainvoke")
async def _() -> None:
    check(is_png(drawn(await model().ainvoke(FIRST))))


@case("content blocks of version 1")
async def _() -> None:
    check(is_png(drawn(await model(output_version="v1").ainvoke(FIRST))))


@case("stream")
async def _() -> None:
    chunks = [chunk async for chunk in model().astream(FIRST)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    check(is_png(drawn(whole)))


@case("two turns by messages")
async def _() -> None:
    messages: list[Any] = [HumanMessage(FIRST)]
    messages += [await model().ainvoke(messages), HumanMessage(NEXT)]
    check(is_png(drawn(await model().ainvoke(messages))))


@case("two turns by messages of version 1")
async def _() -> None:
    chat = model(output_version="v1")
    messages: list[Any] = [HumanMessage(FIRST)]
    messages += [await chat.ainvoke(messages), HumanMessage(NEXT)]
    check(is_png(drawn(await chat.ainvoke(messages))))


@case("two turns by previous_response_id")
async def _() -> None:
    chat = model(use_previous_response_id=True)
    messages: list[Any] = [HumanMessage(FIRST)]
    messages += [await chat.ainvoke(messages), HumanMessage(NEXT)]
    check(is_png(drawn(await chat.ainvoke(messages))))


@case("two turns without storage")
async def _() -> None:
    chat = model(store=False)
    messages: list[Any] = [HumanMessage(FIRST)]
    messages += [await chat.ainvoke(messages), HumanMessage(NEXT)]
    check(is_png(drawn(await chat.ainvoke(messages))))


@case("an image in the input")
async def _() -> None:
    url = "data:image/png;base64," + b64encode(png()).decode()
    content = [{"type": "text", "text": NEXT}, {"type": "image_url", "image_url": {"url": url}}]
    check(is_png(drawn(await model().ainvoke([HumanMessage(content)]))))


@case("a function beside the image tool")
async def _() -> None:
    check(is_png(drawn(await model(get_animal).ainvoke(FIRST))))


@case("an agent with a function and the image tool")
async def _() -> None:
    from langchain.agents import create_agent

    chat = ChatOpenAI(model=CHAT_MODEL, api_key=KEY, base_url=BASE_URL, use_responses_api=True)
    agent = create_agent(chat, [get_animal, TOOL])
    state = await agent.ainvoke({"messages": [HumanMessage(FIRST)]})
    check(is_png(drawn(state["messages"][-1])))


@case("partial images", not_ours="langchain-openai asks to drop partial_images")
async def _() -> None:
    chat = ChatOpenAI(model=CHAT_MODEL, api_key=KEY, base_url=BASE_URL, use_responses_api=True)
    await chat.bind_tools([{**TOOL, "partial_images": 2}]).ainvoke(FIRST)


run("langchain-openai", "langchain-core", "openai")
