"""pydantic-ai against the sandbox: its image generator, and an agent with the image tool."""

from __future__ import annotations

import warnings
from typing import Any

from harness import (
    BASE_URL,
    CHAT_MODEL,
    FIRST,
    KEY,
    NEXT,
    TRANSPARENT_MODEL,
    case,
    check,
    is_png,
    png,
    run,
)
from pydantic_ai import Agent, BinaryImage, ImageGenerator
from pydantic_ai.images.openai import OpenAIImageGenerationModel
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.native_tools import ImageGenerationTool
from pydantic_ai.providers.openai import OpenAIProvider


def generator(model: str = "gpt-image-2") -> ImageGenerator:
    """Return an image generator that asks the sandbox."""
    provider = OpenAIProvider(base_url=BASE_URL, api_key=KEY)
    return ImageGenerator(OpenAIImageGenerationModel(model, provider=provider))


def agent(output: Any = BinaryImage, tools: Any = (), **settings: Any) -> Agent[None, Any]:
    """Return an agent with the image tool that asks the sandbox."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its settings belong has changed
        tool = ImageGenerationTool(quality="low", size="1024x1024", **settings)
    model = OpenAIResponsesModel(
        CHAT_MODEL, provider=OpenAIProvider(base_url=BASE_URL, api_key=KEY)
    )
    from pydantic_ai.capabilities import NativeTool

    return Agent(model, output_type=output, capabilities=[NativeTool(tool)], tools=list(tools))


@case("generate")
async def _() -> None:
    result = await generator().generate(FIRST, settings={"openai_quality": "low"})
    check(is_png(result.image.data))


@case("generate two in 16:9")
async def _() -> None:
    settings = {"aspect_ratio": "16:9", "openai_n": 2, "openai_quality": "low"}
    result = await generator("gpt-image-2.6-flare").generate(FIRST, settings=settings)
    check(len(result.images) == 2)


@case("generate, transparent")
async def _() -> None:
    settings = {"openai_background": "transparent", "openai_quality": "low"}
    result = await generator(TRANSPARENT_MODEL).generate(FIRST, settings=settings)
    check(is_png(result.image.data))


@case("edit one image and three")
async def _() -> None:
    one = BinaryImage(png(), media_type="image/png")
    for images in ([one], [one] * 3):
        settings = {"openai_quality": "low", "dimensions": (1024, 1024)}
        result = await generator().generate(NEXT, images=images, settings=settings)
        check(is_png(result.image.data))


@case("cost of gpt-image-2")
async def _() -> None:
    result = await generator().generate(FIRST, settings={"openai_quality": "low"})
    check(result.cost().total_price > 0)


@case("cost of gpt-image-2.6", not_ours="genai-prices does not list gpt-image-2.6")
async def _() -> None:
    result = await generator(TRANSPARENT_MODEL).generate(FIRST, settings={"openai_quality": "low"})
    check(result.cost().total_price > 0)


@case("an empty size is refused, as by the service")
async def _() -> None:
    try:
        await generator().generate(FIRST, settings={"openai_size": ""})
    except Exception as error:  # noqa: BLE001  # which class it is depends on the version
        check("size" in str(error), error)
    else:
        raise AssertionError("it was not refused")


@case("agent draws an image")
async def _() -> None:
    result = await agent().run(FIRST)
    check(is_png(result.output.data))


@case("agent draws an image or says something")
async def _() -> None:
    result = await agent(output=[str, BinaryImage]).run(FIRST)
    check(isinstance(result.output, (str, BinaryImage)))
    check(result.response.images, result.response)


@case("agent draws webp")
async def _() -> None:
    result = await agent(output_format="webp").run(FIRST)
    check(result.output.media_type == "image/webp", result.output.media_type)


@case("agent has a function beside the image tool")
async def _() -> None:
    def get_animal() -> str:
        """Return the animal to draw."""
        return "axolotl"

    result = await agent(tools=[get_animal]).run(FIRST)
    check(is_png(result.output.data))


@case("agent has a second turn by its messages")
async def _() -> None:
    first = await agent().run(FIRST)
    second = await agent().run(NEXT, message_history=first.all_messages())
    check(is_png(second.output.data))


@case("agent stores nothing and has a second turn")
async def _() -> None:
    settings: Any = {"openai_store": False}
    first = await agent().run(FIRST, model_settings=settings)
    second = await agent().run(NEXT, message_history=first.all_messages(), model_settings=settings)
    check(is_png(second.output.data))


@case("agent goes on by previous_response_id")
async def _() -> None:
    settings: Any = {"openai_previous_response_id": "auto"}
    first = await agent().run(FIRST, model_settings=settings)
    second = await agent().run(NEXT, message_history=first.all_messages(), model_settings=settings)
    check(is_png(second.output.data))


@case("agent streams an image")
async def _() -> None:
    async with agent().run_stream(FIRST) as stream:
        check(is_png((await stream.get_output()).data))


@case("agent streams partial images")
async def _() -> None:
    async with agent(partial_images=2).run_stream(FIRST) as stream:
        check(is_png((await stream.get_output()).data))


@case("agent streams every event")
async def _() -> None:
    async with agent(output=[str, BinaryImage]).run_stream_events(FIRST) as events:
        kinds = [type(event).__name__ async for event in events]
    check("AgentRunResultEvent" in kinds, kinds)


@case("agent sees an image and changes it")
async def _() -> None:
    result = await agent().run([NEXT, BinaryImage(png(), media_type="image/png")])
    check(is_png(result.output.data))


run("pydantic-ai-slim", "openai")
