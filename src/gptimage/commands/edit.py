"""``gptimage edit``: change pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gptimage.cli.generate import add_output_options, draw
from gptimage.cli.options import add_options, chosen, read_prompt
from gptimage.commands._client import add_sandbox_option, open_client
from gptimage.commands._shape import Subparsers
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage import Mask


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("edit", help="change pictures", description=__doc__)
    add_options(parser)
    add_picture_options(parser, required=True)
    add_output_options(parser)
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def add_picture_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options that name input pictures."""
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "-i",
        "--image",
        action="append",
        required=required,
        metavar="PICTURE",
        help="a path, URL or file id; up to 16 times, mask and markup belong to the first",
    )
    group.add_argument("--mask", metavar="PICTURE", help="where to change: transparent or white")
    group.add_argument(
        "--mask-box",
        action="append",
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="a box to change, in pixels of the first picture; may be repeated",
    )
    group.add_argument("--markup", metavar="PICTURE", help="transparent PNG with drawn hints")
    group.add_argument("--input-fidelity", metavar="LEVEL", help="low or high (1.5 only)")


def pictures(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments that name input pictures: what was given, nothing else.

    Raises:
        InvalidRequestError: A box is not four numbers, or there are a mask and boxes.
    """
    mask = _boxes(args.mask_box) if args.mask_box else args.mask
    if args.mask_box and args.mask:
        raise InvalidRequestError(
            "--mask and --mask-box cannot be combined", field="mask", allowed="one of them"
        )
    given = {
        "images": args.image,
        "mask": mask,
        "markup": args.markup,
        "input_fidelity": args.input_fidelity,
    }
    return {name: value for name, value in given.items() if value is not None}


def run(args: argparse.Namespace) -> int:
    """Edit, save and report."""
    options = {**chosen(args), **pictures(args)}
    with open_client(sandbox=args.sandbox) as client:
        return draw(client, read_prompt(args.prompt), options, args)


def _boxes(texts: list[str]) -> Mask:
    from gptimage import Mask

    return Mask.from_boxes([_box(text) for text in texts])


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = (int(edge) for edge in text.split(","))
    except ValueError:
        raise InvalidRequestError(
            f"--mask-box {text}: four whole numbers are needed",
            field="mask",
            value=text,
            allowed="LEFT,TOP,RIGHT,BOTTOM in pixels, such as 170,20,410,210",
        ) from None
    return left, top, right, bottom
