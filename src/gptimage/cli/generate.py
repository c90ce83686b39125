"""``gptimage generate``, ``edit``, ``variations``, ``estimate``: one call, saved and reported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gptimage.cli.checks import (
    CHECK_FAILED,
    attempts_from_args,
    checks_from_args,
    lines,
    question_price,
    refuse_check_options,
    times,
    with_number,
)
from gptimage.cli.json_output import Written, print_json, result_document, usd
from gptimage.cli.options import (
    configure,
    open_client,
    options_from_args,
    prompt_from_args,
    read_prompt,
    read_settings,
)
from gptimage.cli.output import Progress, Target, alone, cost_line, prepare, save, save_one, target
from gptimage.errors import GptImageError, InvalidRequestError


if TYPE_CHECKING:
    from gptimage import Image, ImageClient, Mask, Prompt, Result
    from gptimage.checks import Attempts


def run_generate(args: argparse.Namespace) -> int:
    """Draw, save and report."""
    config = configure(args)
    prompt = prompt_from_args(args, config)
    shown = Progress()
    with open_client(config, observers=[shown]) as client:
        return draw(client, shown, prompt, options_from_args(args), args)


def run_edit(args: argparse.Namespace) -> int:
    """Edit, save and report."""
    config = configure(args)
    prompt = prompt_from_args(args, config)
    options, shown = {**options_from_args(args), **image_args(args)}, Progress()
    with open_client(config, observers=[shown]) as client:
        return draw(client, shown, prompt, options, args)


def run_variations(args: argparse.Namespace) -> int:
    """Draw variations, save and report."""
    from gptimage.engine.base_client import VARIATION

    prompt = VARIATION if args.prompt is None else read_prompt(args.prompt)

    def call(client: ImageClient, options: dict[str, Any]) -> Result:
        image = options.pop("images")
        return client.variations(image, prompt=prompt, **options)

    options, shown = {**options_from_args(args), "images": args.image}, Progress()
    with open_client(configure(args), observers=[shown]) as client:
        return draw(client, shown, prompt, options, args, call=call)


def run_estimate(args: argparse.Namespace) -> int:
    """Print the estimate, or why there is none."""
    from gptimage import ImageClient
    from gptimage.engine.from_config import estimator_arguments, open_templates
    from gptimage.models.pricing import format_usd

    config = read_settings(
        {"sandbox": True, "provider": args.provider, "templates": args.templates}
    )
    options = {**options_from_args(args), **image_args(args)}
    if args.templates:
        open_templates(config)  # a folder that is named must be one, whether it is needed or not
    with ImageClient.sandbox(**estimator_arguments(config)) as client:
        prompt = prompt_from_args(args, config)
        found, most = client.estimate(prompt, **options), client.max_cost(prompt, **options)
    if args.json:
        print_json(
            {
                "estimate_usd": usd(found),
                "max_cost_usd": usd(most),
                "output_tokens": found and found.output_tokens,
                "input_tokens": found and found.input_tokens,
                "notes": list(found.notes) if found else [],
            }
        )
    elif found is None:
        known = "a model with published costs" if most is None else f"at most {format_usd(most)}"
        print(f"cannot be estimated: name --size and --quality; {known}")
    else:
        print(f"{found}: {found.output_tokens} tokens drawn, {found.input_tokens} tokens read")
        print("".join(f"  {note}\n" for note in found.notes), end="")
    return 0


def image_args(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments that name input images: what was given, nothing else.

    Raises:
        InvalidRequestError: A box is not four numbers, or there are a mask and boxes.
    """
    if args.mask_box and args.mask:
        raise InvalidRequestError(
            "--mask and --mask-box cannot be combined", field="mask", allowed="one of them"
        )
    mask = _boxes(args.mask_box) if args.mask_box else args.mask
    given = {"images": args.image, "mask": mask, "markup": args.markup}
    return {name: value for name, value in given.items() if value is not None}


def draw(
    client: ImageClient,
    shown: Progress,
    prompt: str | Prompt,
    options: dict[str, Any],
    args: argparse.Namespace,
    *,
    call: Callable[[ImageClient, dict[str, Any]], Result] | None = None,
) -> int:
    """Make the images, save them, say where they are and what they cost.

    Args:
        client: The client.
        shown: What shows the price while it is drawn; an observer of the client.
        prompt: What to draw.
        options: The parameters of the call.
        args: Where images go, tags, and whether the report is JSON.
        call: Makes them, where that is not `generate` or `edit`.
    """
    refuse_check_options(args)
    checks = checks_from_args(args)
    name = prompt if isinstance(prompt, str) else prompt.template or prompt.text
    where = target(args.output, name, overwrite=args.overwrite)
    if where.stdout:
        several = options.get("n", 1) not in {None, 1}
        others = {"--json": args.json, "--keep-original": args.keep_original}
        # Without a store nothing else has the attempts that are not taken.
        others["--check"] = bool(checks) and client.store is None
        alone({"-n": several, "--partial-images": options.get("partial_images"), **others})
    agree_on_format(options, where)
    prepare(where)
    previews: list[Written] = []
    attempts: Attempts | None = None
    extra = {"tags": args.tag or (), "refresh": args.refresh}
    try:
        whole = with_number(options, args)
        priced = _price(client, prompt, whole)
        if asked := question_price(args, checks, whole.get("n") or 1):
            priced += f" plus {asked}"  # each time, as the price before it
        with shown(f"drawing, {times(args)}{priced} ..."):
            if checks:
                attempts = attempts_from_args(client, prompt, {**options, **extra}, args, checks)
                result = attempts.result
            elif call is None:
                result = _call(client, prompt, {**options, **extra}, where, previews)
            else:
                result = call(client, {**options, **extra})
    except GptImageError:  # it may be paid
        for each in previews:
            print(f"a preview is in {each.path}", file=sys.stderr)
        raise
    images = result.images if attempts is None else (attempts.image,)
    written = [*write(images, where), *previews]
    if args.keep_original:
        originals = [image.original for image in images if image.original is not None]
        written += write(originals, where, kind="original")
    if attempts is not None and not where.stdout:
        # Nothing else has the images that were not taken and that no store has; they are paid.
        rest = [each.image for each in attempts if each is not attempts.best and each.id is None]
        written += write(rest, where, kind="attempt")
    _report(result, written, attempts, as_json=args.json, stdout=where.stdout)
    return 0 if attempts is None or attempts.passed else CHECK_FAILED


def length(nbytes: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{nbytes / 1e6:.1f} MB" if nbytes >= 1_000_000 else f"{nbytes / 1e3:.0f} kB"


def write(images: Sequence[Image], where: Target, *, kind: str = "image") -> list[Written]:
    """Save images, and describe the files."""
    paths = save(images, where, label="" if kind == "image" else f"-{kind}")
    return [
        Written(kind=kind, path=path, image=image)
        for path, image in zip(paths, images, strict=True)
    ]


def agree_on_format(options: dict[str, Any], where: Target) -> None:
    """Take the format a file name asks for.

    Raises:
        InvalidRequestError: ``--format`` says another one; nothing was sent.
    """
    if where.format is None:
        return
    wanted = options.setdefault("format", where.format)
    if wanted not in {where.format, "jpg" if where.format == "jpeg" else where.format}:
        raise InvalidRequestError(
            f"--output asks for {where.format} and --format for {wanted}: drop one of them",
            field="format",
            value=wanted,
            allowed=(where.format,),
        )


def _call(
    client: ImageClient,
    prompt: str | Prompt,
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


def _price(client: ImageClient, prompt: str | Prompt, options: dict[str, Any]) -> str:
    from gptimage.models.pricing import format_usd

    if (estimate := client.estimate(prompt, **options)) is not None:
        return str(estimate)
    most = client.max_cost(prompt, **options)
    return "cost not known beforehand" if most is None else f"at most {format_usd(most)}"


def _report(
    result: Result,
    written: Sequence[Written],
    attempts: Attempts | None,
    *,
    as_json: bool,
    stdout: bool = False,
) -> None:
    """Print what was made: for people, or as one JSON object."""
    for warning in result.warnings if attempts is None else attempts.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if as_json:
        whole = result_document(result, written)
        if attempts is not None:
            whole["ids"] = [record.id for record in attempts.stored]
            whole |= {"cost_usd": usd(attempts.cost), "attempts": attempts.to_dict()}
        print_json(whole)
        return
    # Standard output may be the image itself.
    to = sys.stderr if stdout else sys.stdout
    for each in written:
        print(f"{each.path}  {_describe(each)}", file=to)
    cost = result.cost
    if attempts is not None:
        print("\n".join(lines(attempts.best.checks)), file=to)
        if len(attempts) > 1:
            kept = f"; all have the tag {attempts.tag}" if attempts.tag else ""
            number = attempts.attempts.index(attempts.best) + 1
            print(f"image {number} of {len(attempts)} was taken{kept}", file=to)
        cost = attempts.cost
    print(cost_line(cost, sandbox=result.sandbox, cached=result.cached), file=to)


def _describe(each: Written) -> str:
    image = each.image
    pixels = f"{image.width}x{image.height} " if image.size else ""
    kind = "" if each.kind == "image" else f" ({each.kind})"
    return f"{pixels}{image.format}, {length(image.nbytes)}{kind}"


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
