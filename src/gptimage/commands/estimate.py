"""``gptimage estimate``: what a call may cost, without sending anything."""

from __future__ import annotations

import argparse
import json

from gptimage.cli.options import add_options, chosen, read_prompt
from gptimage.commands._shape import Subparsers
from gptimage.commands.edit import add_picture_options, pictures


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "estimate", help="what a call may cost; sends nothing, needs no key", description=__doc__
    )
    add_options(parser)
    add_picture_options(parser, required=False)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the estimate, or why there is none."""
    from gptimage import ImageClient

    options = {**chosen(args), **pictures(args)}
    # The sandbox shares checks and prices with the service, and needs no key.
    with ImageClient.sandbox() as client:
        found = client.estimate(read_prompt(args.prompt), **options)
    if args.json:
        print(json.dumps({"usd": None if found is None else float(found.usd)}))
    elif found is None:
        print("cannot be estimated: name --size and --quality, and a model whose price is known")
    else:
        print(f"{found}: {found.output_tokens} tokens drawn, {found.input_tokens} tokens read")
        print("".join(f"  {note}\n" for note in found.notes), end="")
    return 0
