"""Calls of four libraries at a service that fails, and how many requests each one sends.

Every library runs with its own defaults; only the timeout is shorter, so that a service that
never answers does not take ten minutes. What a library does not offer is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.budget.failures import FAILURES, FailingService, Failure
from tests.frameworks.harness import png


OPERATIONS = ("generate", "stream", "edit", "turn", "batch")
KINDS = ("sync", "async")
KEY = "sk-of-nobody-12345678"
MODEL, CHAT_MODEL = "gpt-image-2.5-flare", "gpt-6-luna"
DRAW: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
TOOL: dict[str, Any] = {"type": "image_generation", **DRAW}
BATCH: dict[str, Any] = {
    "input_file_id": "file-1", "endpoint": "/v1/images/generations", "completion_window": "24h",
}  # fmt: skip
PATIENCE, SOON = 20.0, 0.5
"""Seconds to wait for a reply, and for one that never comes."""
AT_ONCE = 12

Call = Callable[[str, str, str, float], None]
"""Makes one call: the operation, sync or async, the base URL and the timeout."""


class NotOffered(Exception):  # noqa: N818  # no error: the cell of the table stays empty
    """The library has no such call."""


@frozen
class Cell:
    """How many requests that are billed reached the service in one call."""

    library: str
    failure: Failure
    operation: str
    kind: str
    requests: int | None


def gptimage_call(operation: str, kind: str, url: str, timeout: float) -> None:
    """Make a call of this library."""
    import gptimage

    settings: dict[str, Any] = {"api_key": KEY, "base_url": url, "timeout": timeout}
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Callable[[Any], Any]] = {
            "generate": lambda c: c.generate("A fox", **DRAW),
            "edit": lambda c: c.edit("At night", png(), **DRAW),
            "stream": lambda c: c.stream("A fox", **DRAW),
            "turn": lambda c: c.conversation().send("A fox", **DRAW),
            "batch": lambda c: c.submit_batch(
                [{"prompt": "A fox", **DRAW}], state=Path(folder) / "b.json"
            ),
        }

        async def waited() -> None:
            async with gptimage.AsyncImageClient(**settings) as client:
                found = calls[operation](client)
                if operation == "stream":
                    async for _ in found:
                        pass
                else:
                    await found

        if kind == "async":
            asyncio.run(waited())
            return
        with gptimage.ImageClient(**settings) as client:
            found = calls[operation](client)
            if operation == "stream":
                list(found)


def openai_call(operation: str, kind: str, url: str, timeout: float) -> None:
    """Make a call of OpenAI's own SDK."""
    import openai

    given: dict[str, Any] = {"model": MODEL, "prompt": "A fox", **DRAW}
    calls: dict[str, Callable[[Any], Any]] = {
        "generate": lambda c: c.images.generate(**given),
        "edit": lambda c: c.images.edit(image=("a.png", png(), "image/png"), **given),
        "stream": lambda c: c.images.generate(stream=True, **given),
        "turn": lambda c: c.responses.create(model=CHAT_MODEL, input="A fox", tools=[TOOL]),
        "batch": lambda c: c.batches.create(**BATCH),
    }

    async def waited() -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url, timeout=timeout) as client:
            found = await calls[operation](client)
            if operation == "stream":
                async for _ in found:
                    pass

    if kind == "async":
        asyncio.run(waited())
        return
    with openai.OpenAI(api_key=KEY, base_url=url, timeout=timeout) as client:
        found = calls[operation](client)
        if operation == "stream":
            list(found)


def litellm_call(operation: str, kind: str, url: str, timeout: float) -> None:
    """Make a call of LiteLLM."""
    import litellm

    at: dict[str, Any] = {"api_base": url, "api_key": KEY, "timeout": timeout}
    image: dict[str, Any] = {"model": f"openai/{MODEL}", "prompt": "A fox", **DRAW, **at}
    turn = {"model": f"openai/{CHAT_MODEL}", "input": "A fox", "tools": [TOOL], **at}
    batch = {"custom_llm_provider": "openai", **BATCH, **at}
    calls: dict[tuple[str, str], Callable[[], Any]] = {
        ("generate", "sync"): lambda: litellm.image_generation(**image),
        ("generate", "async"): lambda: litellm.aimage_generation(**image),
        ("edit", "sync"): lambda: litellm.image_edit(image=png(), **image),
        ("edit", "async"): lambda: litellm.aimage_edit(image=png(), **image),
        ("turn", "sync"): lambda: litellm.responses(**turn),
        ("turn", "async"): lambda: litellm.aresponses(**turn),
        ("batch", "sync"): lambda: litellm.create_batch(**batch),
        ("batch", "async"): lambda: litellm.acreate_batch(**batch),
    }
    call = calls.get((operation, kind))
    if call is None:
        raise NotOffered

    async def waited() -> None:
        await call()

    asyncio.run(waited()) if kind == "async" else call()


def pydantic_ai_call(operation: str, kind: str, url: str, timeout: float) -> None:
    """Make a call of pydantic-ai."""
    import openai
    from pydantic_ai import Agent, BinaryImage, ImageGenerator
    from pydantic_ai.capabilities import NativeTool
    from pydantic_ai.images.openai import OpenAIImageGenerationModel
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.native_tools import ImageGenerationTool
    from pydantic_ai.providers.openai import OpenAIProvider

    if operation not in {"generate", "edit", "turn"}:
        raise NotOffered

    client = openai.AsyncOpenAI(api_key=KEY, base_url=url, timeout=timeout)
    provider = OpenAIProvider(openai_client=client)
    chat = OpenAIResponsesModel(CHAT_MODEL, provider=provider)
    tools = [NativeTool(ImageGenerationTool())]
    agent = Agent(chat, output_type=BinaryImage, capabilities=tools)
    generator = ImageGenerator(OpenAIImageGenerationModel(MODEL, provider=provider))
    images = [BinaryImage(png(), media_type="image/png")] if operation == "edit" else None

    async def waited() -> None:
        if operation == "turn":
            await agent.run("A fox")
        else:
            await generator.generate("A fox", images=images)

    if kind == "async":
        asyncio.run(waited())
    elif operation == "turn":
        agent.run_sync("A fox")
    else:
        generator.generate_sync("A fox", images=images)


LIBRARIES: dict[str, Call] = {
    "gptimage": gptimage_call,
    "openai": openai_call,
    "litellm": litellm_call,
    "pydantic-ai": pydantic_ai_call,
}


def attempt(library: str, failure: Failure, operation: str, kind: str) -> Cell:
    """Make one call at a service that fails, and count the requests that reach it."""
    service = FailingService(failure)
    timeout = SOON if failure.ending == "hang" else PATIENCE
    try:
        # Whatever a library raises is its own business; only what it sends is measured.
        with contextlib.suppress(Exception):
            try:
                LIBRARIES[library](operation, kind, service.url, timeout)
            except NotOffered:
                return Cell(library, failure, operation, kind, None)
        return Cell(library, failure, operation, kind, len(service.posts))
    finally:
        service.close()


def measure(
    libraries: Sequence[str],
    failures: Sequence[Failure] = FAILURES,
    operations: Sequence[str] = OPERATIONS,
) -> list[Cell]:
    """Make every call of the matrix; the libraries wait most of the time, so many run at once."""
    cells = [
        (library, failure, operation, kind)
        for library in libraries
        for failure in failures
        for operation in operations
        for kind in KINDS
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda cell: attempt(*cell), cells))


def mistakes(cells: Sequence[Cell]) -> list[str]:
    """Return the calls of this library that sent more or fewer requests than they should."""
    return [
        f"{cell.failure.name}, {cell.operation} {cell.kind}: {cell.requests} requests"
        for cell in cells
        if cell.library == "gptimage" and cell.requests != cell.failure.posts
    ]


def table(cells: Sequence[Cell], versions: dict[str, str], day: str) -> str:
    """Return the requests per call as Markdown: a range, where a library's calls differ."""
    libraries = list(versions)
    heads = " | ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"| requests sent per call ({day}) | may it be billed? | {heads} |",
        "|---|---|" + "---|" * len(libraries),
    ]
    failures = list(dict.fromkeys(cell.failure for cell in cells))
    for failure in failures:
        found = [counted(cells, library, failure) for library in libraries]
        billed = "yes" if failure.billing == "unknown" else "no"
        lines.append(f"| {failure.name} | {billed} | " + " | ".join(found) + " |")
    sums = [twice(cells, library) for library in libraries]
    lines.append("| **calls that may be billed twice or more** | | " + " | ".join(sums) + " |")
    return "\n".join(lines)


def counted(cells: Sequence[Cell], library: str, failure: Failure) -> str:
    """Return the requests of a library's calls at one failure."""
    numbers = [
        cell.requests
        for cell in cells
        if (cell.library, cell.failure) == (library, failure) and cell.requests is not None
    ]
    low, high = min(numbers, default=0), max(numbers, default=0)
    return str(low) if low == high else f"{low} to {high}"


def twice(cells: Sequence[Cell], library: str) -> str:
    """Return how many of a library's calls were sent twice where the first may be billed."""
    counts = [
        cell.requests
        for cell in cells
        if cell.library == library
        and cell.requests is not None
        and cell.failure.billing == "unknown"
    ]
    return f"{sum(count > 1 for count in counts)} of {len(counts)}"
