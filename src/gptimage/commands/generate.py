"""``gptimage generate``: new pictures from a prompt."""

from __future__ import annotations

import argparse

from gptimage.cli.generate import add_output_options, draw
from gptimage.cli.options import add_options, chosen, read_prompt
from gptimage.commands._client import add_sandbox_option, open_client
from gptimage.commands._shape import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("generate", help="draw new pictures", description=__doc__)
    add_options(parser)
    add_output_options(parser)
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Draw, save and report."""
    with open_client(sandbox=args.sandbox) as client:
        return draw(client, read_prompt(args.prompt), chosen(args), args)
