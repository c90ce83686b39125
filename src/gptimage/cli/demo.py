"""``gptimage demo``: one command from nothing to images on disk."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Generator, Iterator, Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from gptimage._internal.data import data_text
from gptimage.cli.generate import length
from gptimage.cli.options import configure, open_client
from gptimage.cli.output import Target, prepare, progress, save_one, target
from gptimage.models.pricing import Cost


if TYPE_CHECKING:
    from gptimage import Image, ImageClient, Result
    from gptimage.config import Config


def run(args: argparse.Namespace) -> int:
    """Make all images, then show what was made."""
    from gptimage import ImageClient

    config = configure(args)
    where = target(f"{args.output}{os.sep}", "")
    prepare(where)
    sandbox = not _may_spend(args, config)
    made: list[Made] = []
    with ImageClient.sandbox() if sandbox else open_client(config) as client:
        try:
            _make_all(client, where.folder, made)
        finally:
            _show(made, where.folder, sandbox=sandbox)
    return 0


def _may_spend(args: argparse.Namespace, config: Config) -> bool:
    """Return whether to use the service: only with a key, and never by surprise."""
    if config.sandbox or config.lacks_key or config.provider is not None:
        reason = "as you asked" if config.sandbox else "OPENAI_API_KEY is not set"
        if config.provider is not None and not config.sandbox:
            reason = "the images are those of OpenAI's models"
        print(f"Using the offline sandbox ({reason}): nothing is sent, nothing is billed.\n")
        return False
    print(f"OPENAI_API_KEY is set: this would use OpenAI's service, {_estimate()} in all.")
    if args.yes or _agreed():
        return True
    print("Using the offline sandbox instead. (--yes uses the service.)\n")
    return False


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("Spend that? [y/N] ").strip().lower() in {"y", "yes"}


def _estimate() -> str:
    from gptimage import ImageClient
    from gptimage.models.pricing import format_usd

    with ImageClient.sandbox() as client:
        found = [client.estimate(step.prompt, **arguments(step)) for step in STEPS]
    known = [each.usd for each in found if each is not None]
    if len(known) < len(found):
        return "at a cost that cannot be estimated"
    return f"about {format_usd(sum(known, Decimal(0)))}"


def _make_all(client: ImageClient, folder: Path, made: list[Made]) -> None:

    for step in STEPS:
        with progress(f"{step.name}: {step.what} ..."):
            for each in make(client, step, folder):
                made.append(each)  # noqa: PERF402  # saved one by one: the next may fail


def _show(made: Sequence[Made], folder: Path, *, sandbox: bool) -> None:
    """The table of what was made; also after a failure, because what came before was paid."""
    if not made:
        return
    width = max(len(each.path.name) for each in made)
    print(f"\n{'file':<{width}}  {'pixels':>9}  {'format':<6}  {'size':>7}  {'cost':>7}  what")
    for each in made:
        print(_row(each, width))
    print(f"{'':<{width}}  {_total(made):>35}  in all")
    if sandbox:
        print("\nCosts are what the service would charge for these calls; the sandbox is free.")
    sheet = _contact_sheet(made, folder)
    print(f"\nAll of them side by side: {sheet}\nThe files: {folder.resolve()}")


def _row(each: Made, width: int) -> str:
    pixels = f"{each.image.width}x{each.image.height}"
    size = length(each.image.nbytes)
    return (
        f"{each.path.name:<{width}}  {pixels:>9}  {each.image.format:<6}  {size:>7}  "
        f"{_cost(each):>7}  {each.what}"
    )


def _cost(each: Made) -> str:
    if not each.paid:
        return "-"
    return "unknown" if each.cost is None else str(each.cost)


def _total(made: Sequence[Made]) -> str:
    from gptimage.models.pricing import format_usd

    paid = [each.cost for each in made if each.paid]
    known = [cost.usd for cost in paid if cost is not None]
    total = format_usd(sum(known, Decimal(0)))
    return total if len(known) == len(paid) else f"at least {total}"


def _contact_sheet(made: Sequence[Made], folder: Path) -> Path:
    from gptimage import contact_sheet

    labels = [each.path.name for each in made]
    sheet = contact_sheet([each.image for each in made], labels=labels)
    where = Target(folder=folder, stem="", overwrite=True)
    return save_one(sheet, where, "contact-sheet").resolve()


# The five calls of the demo: exact size, photograph, edit with a mask, stream, transparency.


@frozen(kw_only=True)
class Made:
    """One file of the demo.

    Attributes:
        path: Where it is.
        what: What it shows, in a few words.
        image: The image.
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
        prompt: The prompt of the request.
        options: The other parameters.
        edit: Whether the shipped photograph is edited.
    """

    name: str
    what: str
    prompt: str
    options: dict[str, Any]
    edit: bool = False


CUP: Final = (210, 95, 367, 193)
"""The coffee inside the cup, in pixels of the shipped photograph."""

STEPS: Final = tuple(
    Step(**row) for row in tomllib.loads(data_text(__name__, "demo.toml"))["steps"]
)


def photograph() -> Image:
    """Return the photograph that ships with the library (CC0; see the README beside it)."""
    from gptimage import Image

    file = resources.files("gptimage.cli").joinpath("photos/coffee.png")
    return Image.from_bytes(file.read_bytes())


def arguments(step: Step) -> dict[str, Any]:
    """Return the keyword arguments of a step's call."""
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
    """Return a second demo replaces the images of the first."""
    return Target(folder=folder, stem="", overwrite=True)
