"""The five calls of the demo: exact size, photograph, edit with a mask, stream, transparency."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from gptimage.cli.output import Target, save_one
from gptimage.models.pricing import Cost


if TYPE_CHECKING:
    from gptimage import Image, ImageClient, Result


@frozen(kw_only=True)
class Made:
    """One file of the demo.

    Attributes:
        path: Where it is.
        what: What it shows, in a few words.
        image: The picture.
        cost: What its call cost; None for a preview or a photograph, or when unknown.
        paid: Whether it is the result of a call of its own.
    """

    path: Path
    what: str
    image: Image
    cost: Cost | None = None
    paid: bool = True


@frozen(kw_only=True)
class Step:
    """One call of the demo.

    Attributes:
        name: The file's name without extension.
        what: What it shows, in a few words.
        prompt: What is asked for.
        options: The other parameters; the cheapest quality, because a demo costs money too.
        edit: Whether the shipped photograph is edited.
    """

    name: str
    what: str
    prompt: str
    options: dict[str, Any]
    edit: bool = False


CUP: Final = (210, 95, 367, 193)
"""The coffee inside the cup, in pixels of the shipped photograph."""

STEPS: Final = (
    Step(
        name="lighthouse",
        what="exactly 1200x630, which no model draws",
        prompt="A lighthouse on a cliff above a calm sea at dusk, warm light in its lantern",
        options={"size": "1200x630", "quality": "low"},
    ),
    Step(
        name="balloon",
        what="square, as jpeg",
        prompt="A hot air balloon over green hills at sunrise",
        options={"size": "1024x1024", "quality": "low", "format": "jpeg"},
    ),
    Step(
        name="coffee-edited",
        what="the photograph, changed inside a mask",
        prompt="Draw a white heart of milk foam on the coffee",
        options={"size": "1536x1024", "quality": "low"},
        edit=True,
    ),
    Step(
        name="fox",
        what="streamed",
        prompt="A red fox in fresh snow",
        options={"size": "1024x1024", "quality": "low", "partial_images": 2},
    ),
    Step(
        name="leaf",
        what="transparent, as webp",
        prompt="A single green maple leaf, a sticker with nothing behind it",
        options={
            "size": "1024x1024",
            "quality": "low",
            "background": "transparent",
            "format": "webp",
        },
    ),
)


def photograph() -> Image:
    """The photograph that ships with the library (CC0; see the README beside it)."""
    from gptimage import Image

    file = resources.files("gptimage.demo").joinpath("photos/coffee.png")
    return Image.from_bytes(file.read_bytes())


def arguments(step: Step) -> dict[str, Any]:
    """The keyword arguments of a step's call."""
    from gptimage import Mask

    if not step.edit:
        return step.options
    return {**step.options, "images": [photograph()], "mask": Mask.from_box(CUP)}


def make(client: ImageClient, step: Step, folder: Path) -> Iterator[Made]:
    """Do one step, and yield each file as it is written."""
    options = arguments(step)
    if step.edit:
        before = photograph()
        path = save_one(before, _here(folder), "coffee")
        yield Made(path=path, what="the photograph", image=before, paid=False)
        result = client.edit(step.prompt, **options)
    elif "partial_images" in options:
        result = yield from _streamed(client, step, folder)
    else:
        result = client.generate(step.prompt, **options)
    path = save_one(result.image, _here(folder), step.name)
    yield Made(path=path, what=step.what, image=result.image, cost=result.cost)


def _streamed(client: ImageClient, step: Step, folder: Path) -> Generator[Made, None, Result]:
    """Yield each preview as it is written, and return the result."""
    from gptimage import PartialImage

    for event in client.stream(step.prompt, **step.options):
        if not isinstance(event, PartialImage):
            return event.result
        path = save_one(event.image, _here(folder), f"{step.name}-partial-{event.index + 1}")
        yield Made(path=path, what="a preview", image=event.image, paid=False)
    raise AssertionError("a stream ends with its result or an error")


def _here(folder: Path) -> Target:
    """A second demo replaces the images of the first."""
    return Target(folder=folder, stem="", overwrite=True)
