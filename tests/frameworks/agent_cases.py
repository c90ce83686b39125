"""What each adapter in ``examples/adapters`` is to manage: a model calls the tools."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import case, check
from PIL import Image as PilImage

from gptimage import AsyncImageClient, ImageClient
from gptimage.sandbox import Sandbox


sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "adapters"))

DRAW: dict[str, Any] = {"prompt": "A red fox in the snow", "size": "1024x1024", "quality": "low"}


@dataclass
class Seen:
    """What the model got back from the tool it called.

    Attributes:
        text: The text.
        previews: The images, as files; None where the framework keeps them for a later step.
    """

    text: str
    previews: list[bytes]


Ask = Callable[[Any, str, dict[str, Any]], Awaitable[Seen]]


def register(ask: Ask, *, client: Any = AsyncImageClient, strict: bool = False) -> None:
    """Register the cases of a framework.

    Args:
        ask: Runs an agent with the tools of a client, whose model calls one tool; what it saw.
        client: The kind of client the adapter takes.
        strict: The framework's schemas have no defaults: a model names every parameter.
    """
    every = {"background": "auto"} if strict else {}

    @contextmanager
    def opened() -> Iterator[tuple[ImageClient | AsyncImageClient, Sandbox]]:
        with tempfile.TemporaryDirectory() as folder:
            sandbox = Sandbox(draw="plain")
            yield client.sandbox(sandbox, store=folder), sandbox

    @case("an agent draws, reads id, file and cost, and sees a preview")
    async def _() -> None:
        with opened() as (found, sandbox):
            seen = await ask(found, "generate_image", {**DRAW, **every})
            (record,) = found.store.history()  # type: ignore[union-attr]  # it has one
            check(record.id in seen.text and str(record.path) in seen.text, seen.text)
            check(f"{record.cost}" in seen.text, seen.text)
            check(len(seen.previews) == 1, seen.previews)
            check(max(PilImage.open(io.BytesIO(seen.previews[0])).size) <= 768)
            check(len(sandbox.requests) == 1, sandbox.requests)

    @case("an image of the store is edited")
    async def _() -> None:
        with opened() as (found, _):
            await ask(found, "generate_image", {**DRAW, **every})
            (record,) = found.store.history()  # type: ignore[union-attr]  # it has one
            seen = await ask(found, "edit_image", {**DRAW, "images": [record.id], **every})
            newest = found.store.history()[0]  # type: ignore[union-attr]  # it has one
            check(newest.id in seen.text and newest.operation == "edit", seen.text)

    @case("an unknown outcome asks for the person, and nothing is sent twice")
    async def _() -> None:
        with opened() as (found, sandbox):
            lost = {**DRAW, "prompt": "A hen [sandbox:cut]", **every}
            seen = await ask(found, "generate_image", lost)
            check("Do NOT call again" in seen.text and "ask the person" in seen.text, seen.text)
            check(len(sandbox.requests) == 1, sandbox.requests)

    @case("a refused call says what to correct")
    async def _() -> None:
        with opened() as (found, sandbox):
            seen = await ask(found, "generate_image", {**DRAW, "size": "a big one", **every})
            check("Nothing was billed. Correct the call" in seen.text, seen.text)
            check(not sandbox.requests, sandbox.requests)
