"""``gptimage inspect`` and ``diff``: look at image files; nothing is sent, nothing is billed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gptimage._internal.atomic import open_file
from gptimage.cli.json_output import print_json
from gptimage.cli.parser import add_json


if TYPE_CHECKING:
    from gptimage.image import Provenance


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``inspect``."""
    parser.add_argument("file", metavar="FILE", type=Path, help="an image")
    parser.add_argument(
        "--trust", type=Path, metavar="PEM", help="certificates of those you trust to sign"
    )
    add_json(parser, "one JSON object on standard output")
    parser.set_defaults(func=run_inspect)


def add_diff(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``diff``."""
    for name in ("one", "other"):
        parser.add_argument(name, metavar=name.upper(), type=Path, help="an image")
    parser.add_argument(
        "--tolerance", type=int, default=8, metavar="LEVELS", help="0 to 254 of 255 (default: 8)"
    )
    parser.add_argument("-o", "--output", metavar="PATH", help="also save a heat map here")
    add_json(parser, "one JSON object on standard output")
    parser.set_defaults(func=run_diff)


def run_inspect(args: argparse.Namespace) -> int:
    """Print what a file says of where it comes from."""
    from gptimage.image import Image, provenance_of

    image = Image.from_path(args.file)
    trust = None
    if args.trust is not None:
        with open_file(args.trust) as file:
            trust = file.read()
    found = provenance_of(image.data, image.format, trust=trust)
    if args.json:
        print_json({"file": str(args.file), **image.to_dict(), "provenance": found.to_dict()})
        return 0
    size = "no size" if image.size is None else f"{image.width}x{image.height}"
    print(f"{args.file}: {image.format}, {size}, {image.nbytes:,} bytes")
    for line in _lines(found):
        print(f"  {line}")
    return 0


def _lines(found: Provenance) -> list[str]:
    known = {
        "source": found.digital_source or "it does not say",
        "model": found.model,
        "made": found.created,
        "id": found.id,
        "software": found.software,
    }
    lines = [f"{name:<10}{value}" for name, value in known.items() if value]
    if not found.signed:
        return [*lines, "signature none: what stands above is only what the file says"]
    read = found.credentials
    if read is None:
        return [*lines, f"signature a C2PA manifest; {found.note}"]
    trusted = {True: "trusted", False: "not on your list", None: "no list was given (--trust)"}
    return [
        *lines,
        f"signature C2PA, by {read.signer or 'unknown'}, made with {read.generator or 'unknown'}",
        f"intact    {'yes' if read.intact else 'NO: ' + ', '.join(read.problems)}",
        f"signer    {trusted[read.trusted]}",
    ]


def run_diff(args: argparse.Namespace) -> int:
    """Print how much two images differ."""
    from gptimage.image import Image

    found = Image.from_path(args.one).diff(Image.from_path(args.other), tolerance=args.tolerance)
    saved = None if args.output is None else found.heat_map.save(args.output)
    if args.json:
        print_json({**found.to_dict(), "heat_map": saved and str(saved)})
        return 0
    print(f"{found.changed:.2%} of the pixels changed, {found.mean:.1f} of 255 on average")
    if found.box is not None:
        print(f"within {','.join(map(str, found.box))} (left, top, right, bottom)")
    if saved is not None:
        print(saved)
    return 0
