"""Runs one paid call for `generate` and `edit`: announce, draw, save, report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from gptimage.cli.options import (
    Subparsers,
    add_options,
    add_sandbox_option,
    open_client,
    options_from_args,
    read_prompt,
)
from gptimage.cli.output import Target, alone, prepare, progress, save, save_one, target
from gptimage.errors import GptImageError, InvalidRequestError


if TYPE_CHECKING:
    from gptimage import Image, ImageClient, Mask, Result


@frozen(kw_only=True)
class Written:
    """One file that was written.

    Attributes:
        kind: ``picture``, ``preview``, or ``original`` for what was drawn before a crop.
        path: Where it is.
        image: What is in it.
    """

    kind: str
    path: Path
    image: Image


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--output``, ``--overwrite``, ``--keep-original`` and ``--json``."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="file, folder or - (standard output); several get -1, -2... (default: .)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing files instead of numbering"
    )
    parser.add_argument(
        "--keep-original", action="store_true", help="also write what was drawn before a crop"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def draw(
    client: ImageClient, prompt: str, options: dict[str, Any], args: argparse.Namespace
) -> int:
    """Make the pictures, save them, say where they are and what they cost."""
    where = target(args.output, prompt, overwrite=args.overwrite)
    if where.stdout:
        several = options.get("n", 1) not in {None, 1}
        others = {"--json": args.json, "--keep-original": args.keep_original}
        alone({"-n": several, "--partial-images": options.get("partial_images"), **others})
    _agree_on_format(options, where)
    prepare(where)
    previews: list[Written] = []
    try:
        with progress(f"drawing, {_price(client, prompt, options)} ..."):
            result = _call(client, prompt, options, where, previews)
    except GptImageError:  # it may be paid
        for each in previews:
            print(f"a preview is in {each.path}", file=sys.stderr)
        raise
    written = [*_save(result, where), *previews]
    if args.keep_original:
        written += _save_originals(result, where)
    _report(result, written, as_json=args.json, stdout=where.stdout)
    return 0


def length(nbytes: int) -> str:
    """A number of bytes as people read it."""
    return f"{nbytes / 1e6:.1f} MB" if nbytes >= 1_000_000 else f"{nbytes / 1e3:.0f} kB"


def _call(
    client: ImageClient,
    prompt: str,
    options: dict[str, Any],
    where: Target,
    previews: list[Written],
) -> Result:
    """One call; with ``partial_images`` it streams, and each preview is saved as it arrives."""
    from gptimage import PartialImage

    if "partial_images" not in options:
        edit = "images" in options
        return client.edit(prompt, **options) if edit else client.generate(prompt, **options)
    result: Result | None = None
    for event in client.stream(prompt, **options):
        if isinstance(event, PartialImage):
            path = save_one(event.image, where, f"{where.stem}-partial-{event.index + 1}")
            previews.append(Written(kind="preview", path=path, image=event.image))
        else:
            result = event.result
    if result is None:
        raise AssertionError("a stream ends with its result or an error")
    return result


def _save(result: Result, where: Target) -> list[Written]:
    paths = save(result.images, where)
    return [
        Written(kind="picture", path=path, image=image)
        for path, image in zip(paths, result.images, strict=True)
    ]


def _save_originals(result: Result, where: Target) -> list[Written]:
    originals = [image.original for image in result.images if image.original is not None]
    paths = save(originals, where, label="-original")
    return [
        Written(kind="original", path=path, image=image)
        for path, image in zip(paths, originals, strict=True)
    ]


def _agree_on_format(options: dict[str, Any], where: Target) -> None:
    """A file name asks for its format; a contradiction is refused before anything is paid."""
    asked = options.setdefault("format", where.format)
    if where.format is not None and asked != where.format:
        raise InvalidRequestError(
            f"--output asks for {where.format} and --format for {asked}: drop one of them",
            field="format",
            value=asked,
            allowed=(where.format,),
        )


def _price(client: ImageClient, prompt: str, options: dict[str, Any]) -> str:
    estimate = client.estimate(prompt, **options)
    return "cost not known beforehand" if estimate is None else str(estimate)


def _report(
    result: Result, written: Sequence[Written], *, as_json: bool, stdout: bool = False
) -> None:
    """Print what was made: for people, or as one JSON object."""
    for warning in result.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(_document(result, written)))
        return
    # Standard output may be the image itself.
    to = sys.stderr if stdout else sys.stdout
    for each in written:
        print(f"{each.path}  {_describe(each)}", file=to)
    print(f"cost {'unknown' if result.cost is None else result.cost}", file=to)


def _describe(each: Written) -> str:
    image = each.image
    pixels = f"{image.width}x{image.height} " if image.size else ""
    kind = "" if each.kind == "picture" else f" ({each.kind})"
    return f"{pixels}{image.format}, {length(image.nbytes)}{kind}"


def _document(result: Result, written: Sequence[Written]) -> dict[str, object]:
    from attrs import asdict

    return {
        "files": [
            {
                "kind": each.kind,
                "path": str(each.path),
                "format": each.image.format,
                "width": each.image.width,
                "height": each.image.height,
                "bytes": each.image.nbytes,
            }
            for each in written
        ],
        "model": result.model,
        "cost_usd": None if result.cost is None else float(result.cost),
        "usage": None if result.usage is None else asdict(result.usage),
        "warnings": list(result.warnings),
        "request_id": result.request_id,
        "cached": result.cached,
    }


# ``gptimage edit``: change pictures.


def add_edit(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("edit", help="change pictures", description=__doc__)
    add_options(parser)
    add_picture_options(parser, required=True)
    add_output_options(parser)
    add_sandbox_option(parser)
    parser.set_defaults(func=run_edit)


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


def image_args(args: argparse.Namespace) -> dict[str, Any]:
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


def run_edit(args: argparse.Namespace) -> int:
    """Edit, save and report."""
    options = {**options_from_args(args), **image_args(args)}
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


# ``gptimage generate``: new pictures from a prompt.


def add_generate(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("generate", help="draw new pictures", description=__doc__)
    add_options(parser)
    add_output_options(parser)
    add_sandbox_option(parser)
    parser.set_defaults(func=run_generate)


def run_generate(args: argparse.Namespace) -> int:
    """Draw, save and report."""
    with open_client(sandbox=args.sandbox) as client:
        return draw(client, read_prompt(args.prompt), options_from_args(args), args)


# ``gptimage estimate``: what a call may cost, without sending anything.


def add_estimate(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "estimate", help="what a call may cost; sends nothing, needs no key", description=__doc__
    )
    add_options(parser)
    add_picture_options(parser, required=False)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(func=run_estimate)


def run_estimate(args: argparse.Namespace) -> int:
    """Print the estimate, or why there is none."""
    from gptimage import ImageClient

    options = {**options_from_args(args), **image_args(args)}
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
