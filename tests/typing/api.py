"""How users write it, for type checkers; never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import assert_type

import gptimage
from gptimage import AsyncImageClient, Completed, Image, ImageClient, PartialImage, Result
from gptimage.agents import ToolOutput, image_tools


def results(client: ImageClient) -> None:
    """A call gives a result, and its parts have plain types."""
    result = client.generate("A fox", size="1920x1080", quality="high", n=2)
    assert_type(result, Result)
    assert_type(result.images, tuple[Image, ...])
    assert_type(result.image.save("fox.png"), Path)
    assert_type(result.image.size, tuple[int, int] | None)
    assert_type(result.warnings, tuple[str, ...])
    if result.cost is not None:
        assert_type(result.cost.usd, Decimal)
        assert result.cost < 1


def sizes(client: ImageClient) -> None:
    """A size is text, a pair of pixels, or a value."""
    client.generate("A fox", size=(1200, 630))
    client.generate("A fox", size=gptimage.Size.parse("16:9"))
    client.generate("A fox", size=1024)  # type: ignore[arg-type]  # one edge is no size  # pyright: ignore[reportArgumentType]


def wrong_names(client: ImageClient) -> None:
    """A misspelt parameter or value is found before the program runs."""
    client.generate("A fox", qualty="high")  # type: ignore[call-arg]  # misspelt  # pyright: ignore[reportCallIssue]
    client.generate("A fox", quality="great")  # type: ignore[arg-type]  # no such quality  # pyright: ignore[reportArgumentType]


def edits(client: ImageClient, data: bytes) -> None:
    """Images come from anywhere."""
    client.edit("Night", images=["fox.png", Path("owl.png"), data], mask="sky.png")
    client.edit("Night", images=[Image.from_bytes(data)], mask=gptimage.Mask.from_box((0, 0, 9, 9)))
    assert_type(client.variations("fox.png", n=3), Result)


def streams(client: ImageClient) -> None:
    """An event is one of two kinds, and a checker tells them apart."""
    events = client.stream("A fox", partial_images=2)
    assert_type(events, Iterator[PartialImage | Completed])
    for event in events:
        if isinstance(event, PartialImage):
            assert_type(event.index, int)
        else:
            assert_type(event.result, Result)


async def awaited(client: AsyncImageClient) -> None:
    """The async client has the same methods, awaited."""
    assert_type(await client.generate("A fox"), Result)
    events = client.stream("A fox", partial_images=2)
    assert_type(events, AsyncIterator[PartialImage | Completed])
    async for event in events:
        assert_type(event.image, Image)


def pil(image: Image) -> None:
    """PIL images go in without Pillow being part of the types."""
    import PIL.Image

    client = ImageClient.sandbox()
    client.edit("Night", images=[PIL.Image.new("RGB", (64, 64))])
    assert_type(image.to_pil().size, tuple[int, int])


async def agents(client: ImageClient, later: AsyncImageClient) -> None:
    """A tool gives an output, or what `convert` makes of it; an async one is awaited."""
    assert_type(image_tools(client).generate_image("A fox"), ToolOutput)
    assert_type(await image_tools(later, quality="low").generate_image("A fox"), ToolOutput)
    assert_type(image_tools(client, convert=len).view_image("img_1"), int)
    assert_type(await image_tools(later, convert=len).view_image("img_1"), int)
