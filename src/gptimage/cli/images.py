"""``gptimage inspect``, ``diff``, ``web`` and ``alt``: only the last is sent and billed."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gptimage._internal.atomic import open_file
from gptimage.cli.json_output import print_json, show
from gptimage.cli.options import configure, open_client
from gptimage.cli.output import cost_line
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.image import Provenance


def run_alt(args: argparse.Namespace) -> int:
    """Have the chat model write a text alternative, which is paid, and print it."""
    from gptimage.store.names import is_id

    config = configure(args)
    with open_client(config) as client:
        found = client.alt_text(
            args.image if is_id(args.image) else Path(args.image),
            args.purpose,
            context=args.context,
            language=args.language,
            chat_model=args.chat_model,
        )
    if args.json:
        print_json(found.to_dict())
        return 0
    print(found.text)
    for note in found.warnings:
        print(f"note: {note}", file=sys.stderr)
    print(cost_line(found.cost, sandbox=config.sandbox), file=sys.stderr)
    return 0


def run_web(args: argparse.Namespace) -> int:
    """Write an image in several widths and formats, and print the HTML that uses them."""
    from gptimage.cli.store import open_store
    from gptimage.image import Image
    from gptimage.store.names import is_id

    if is_id(args.image):
        with open_store(args) as store:
            image, name = store.open(args.image), args.image
    elif args.store:
        raise InvalidRequestError(
            f"--store is where an id is looked for, and {args.image!r:.60} is a file: leave it out",
            field="store",
        )
    else:
        image, name = Image.from_path(args.image), Path(args.image).stem
    given = {each: getattr(args, each) for each in ("widths", "alt", "sizes", "prefix")}
    given |= {"formats": args.formats and args.formats.split(",")}
    found = image.for_web(
        name=args.name or re.sub(r"[^\w.-]+|^[.-]+", "-", name)[:100],
        lazy=not args.eager,
        **{each: value for each, value in given.items() if value is not None},
    )
    paths = found.save(args.output)
    return show(args, {**found.to_dict(), "paths": list(map(str, paths))}, found.html)


def run_inspect(args: argparse.Namespace) -> int:
    """Print what a file says of where it comes from."""
    from gptimage.image import Image, provenance_of

    image = Image.from_path(args.file)
    trust = None
    if args.trust is not None:
        with open_file(args.trust) as file:
            trust = file.read()
    found = provenance_of(image.data, image.format, trust=trust)
    document = {"file": str(args.file), **image.to_dict(), "provenance": found.to_dict()}
    size = "no size" if image.size is None else f"{image.width}x{image.height}"
    head = f"{args.file}: {image.format}, {size}, {image.nbytes:,} bytes"
    return show(args, document, head, *(f"  {line}" for line in _lines(found)))


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
    lines = [f"{found.changed:.2%} of the pixels changed, {found.mean:.1f} of 255 on average"]
    if found.box is not None:
        lines.append(f"within {','.join(map(str, found.box))} (left, top, right, bottom)")
    if saved is not None:
        lines.append(str(saved))
    return show(args, {**found.to_dict(), "heat_map": saved and str(saved)}, *lines)
