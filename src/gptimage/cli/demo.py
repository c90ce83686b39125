"""``gptimage demo``: one command from nothing to pictures on disk."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from gptimage.cli.generate import length
from gptimage.cli.output import Target, prepare, save_one, target
from gptimage.commands._client import add_sandbox_option, open_client
from gptimage.commands._progress import progress
from gptimage.commands._shape import Subparsers


if TYPE_CHECKING:
    from gptimage import ImageClient
    from gptimage.demo.demo import Made


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "demo", help="generate, edit and stream into ./gptimage-demo", description=__doc__
    )
    parser.add_argument("-o", "--output", default="gptimage-demo", metavar="FOLDER")
    parser.add_argument(
        "--yes", action="store_true", help="with a key: spend the estimated amount, do not ask"
    )
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Make all pictures, then show what was made."""
    where = target(f"{args.output}{os.sep}", "")
    prepare(where)
    sandbox = not _may_spend(args)
    made: list[Made] = []
    with open_client(sandbox=sandbox) as client:
        try:
            _make_all(client, where.folder, made)
        finally:
            _show(made, where.folder, sandbox=sandbox)
    return 0


def _may_spend(args: argparse.Namespace) -> bool:
    """Whether to use the service: only with a key, and never by surprise."""
    if args.sandbox or not os.environ.get("OPENAI_API_KEY"):
        reason = "as you asked" if args.sandbox else "OPENAI_API_KEY is not set"
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
    from gptimage.demo.demo import STEPS, arguments
    from gptimage.models.pricing import format_usd

    with ImageClient.sandbox() as client:
        found = [client.estimate(step.prompt, **arguments(step)) for step in STEPS]
    known = [each.usd for each in found if each is not None]
    if len(known) < len(found):
        return "at a cost that cannot be estimated"
    return f"about {format_usd(sum(known, Decimal(0)))}"


def _make_all(client: ImageClient, folder: Path, made: list[Made]) -> None:
    from gptimage.demo.demo import STEPS, make

    for step in STEPS:
        with progress(f"{step.name}: {step.what} ..."):
            for each in make(client, step, folder):
                made.append(each)  # noqa: PERF402  # kept one by one: the next may fail


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
