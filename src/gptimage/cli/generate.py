"""Runs one paid call for `generate` and `edit`: announce, draw, save, report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from gptimage.cli.output import Target, alone, prepare, save, save_one, target
from gptimage.commands._progress import progress
from gptimage.errors import GptImageError, InvalidRequestError


if TYPE_CHECKING:
    from gptimage import Image, ImageClient, Result


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
