"""``gptimage refine``: draw and change a picture turn by turn, in one conversation."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage.cli.options import Subparsers, add_sandbox_option, open_client, read_prompt
from gptimage.cli.output import Target, alone, prepare, progress, save_one, target
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.conversation import Conversation, Turn
    from gptimage.store import Store


_OPTIONS: Final = (
    ("--size", str, "SIZE", "1920x1080, 16:9, landscape, auto...: exactly these pixels"),
    ("--quality", str, "QUALITY", "low, medium, high, xhigh, max or auto"),
    ("--background", str, "KIND", "transparent (png, webp), opaque or auto"),
    ("--format", str, "FORMAT", "png, jpeg, webp, gif or svg; else what --output ends in"),
    ("--compression", int, "PERCENT", "0 to 100, for jpeg and webp"),
    ("--moderation", str, "LEVEL", "auto, or low for less filtering"),
    ("--complexity", str, "LEVEL", "low, medium or high: how much the image model plans (2.6)"),
    ("--safety-identifier", str, "ID", "a stable, hashed id of your end user"),
    ("--input-fidelity", str, "LEVEL", "low or high (1.5 only)"),
    ("--frame-count", int, "N", "frames of a gif, 2 to 16"),
    ("--frame-duration-ms", int, "MS", "milliseconds each gif frame is shown"),
    ("--max-pictures", int, "N", "the most pictures a turn may draw (default: 1)"),
    ("--partial-images", int, "N", "stream, and keep N previews of each turn (0 to 3)"),
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "refine", help="change a picture turn by turn", description=__doc__
    )
    parser.add_argument(
        "prompts", nargs="+", metavar="PROMPT", help="one turn each; - reads standard input"
    )
    group = parser.add_argument_group("where it starts")
    group.add_argument("--resume", metavar="ID", help="a response (resp_...) or a stored picture")
    group.add_argument("--store", metavar="FOLDER", help="save every picture there, with its ids")
    group.add_argument(
        "-i", "--image", action="append", metavar="PICTURE", help="a path, URL or file id, 1st turn"
    )
    group.add_argument("--mask", metavar="PICTURE", help="where the 1st turn may change it")
    group.add_argument("--stateless", action="store_true", help="let the service keep nothing")
    group = parser.add_argument_group("parameters of the service")
    group.add_argument("--chat-model", metavar="MODEL", help="the model that reads the words")
    group.add_argument("--model", metavar="MODEL", help="the image model")
    group.add_argument("--action", default="auto", help="auto, generate or edit")
    for flag, kind, metavar, help_text in _OPTIONS:
        group.add_argument(flag, type=kind, metavar=metavar, help=help_text)
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="file or folder, or - for standard output"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="one JSON object per turn")
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Take every turn; each picture is saved before the next is asked for."""
    prompts = [read_prompt(text) for text in args.prompts]
    where = target(args.output, prompts[0], overwrite=args.overwrite)
    options = _options(args, where)
    if where.stdout:
        names = ("max_pictures", "partial_images")
        others = {f"--{name.replace('_', '-')}": options.get(name) for name in names}
        alone({"all but one PROMPT": len(prompts) > 1, "--json": args.json, **others})
    prepare(where)
    with open_client(sandbox=args.sandbox, store=_store(args.store)) as client:
        chat = client.conversation(
            args.chat_model,
            image_model=args.model,
            resume=args.resume,
            stateless=args.stateless,
        )
        first: dict[str, Any] = {"images": args.image, "mask": args.mask}
        for number, prompt in enumerate(prompts, 1):
            stem = f"{where.stem}-{number}" if len(prompts) > 1 else where.stem
            turn = _take(chat, prompt, {**options, **first}, where, stem)
            _report(turn, _save(turn, where, stem), as_json=args.json, stdout=where.stdout)
            first = {}
    return 0


def _options(args: argparse.Namespace, where: Target) -> dict[str, Any]:
    names = [flag[2:].replace("-", "_") for flag, *_ in _OPTIONS]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    asked = given.setdefault("format", where.format)
    if where.format is not None and asked != where.format:
        raise InvalidRequestError(
            f"--output asks for {where.format} and --format for {asked}: drop one of them",
            field="format",
            value=asked,
            allowed=(where.format,),
        )
    return {**given, "action": args.action}


def _store(folder: str | None) -> Store | None:
    if folder is None:
        return None
    from gptimage.store import Store

    return Store(folder)


def _take(
    chat: Conversation, prompt: str, options: dict[str, Any], where: Target, stem: str
) -> Turn:
    """One turn; with ``partial_images`` it streams, and each preview is saved as it arrives."""
    from gptimage import PartialImage

    with progress("drawing ..."):
        if "partial_images" not in options:
            return chat.send(prompt, **options)
        for event in chat.stream(prompt, **options):
            if isinstance(event, PartialImage):
                path = save_one(event.image, where, f"{stem}-partial-{event.index + 1}")
                print(f"a preview is in {path}", file=sys.stderr)
            else:
                return event.turn
    raise AssertionError("a stream ends with its turn or an error")


def _save(turn: Turn, where: Target, stem: str) -> list[Path]:
    several = len(turn.images) > 1
    return [
        save_one(image, where, f"{stem}-{number}" if several else stem)
        for number, image in enumerate(turn.images, 1)
    ]


def _report(turn: Turn, paths: list[Path], *, as_json: bool, stdout: bool) -> None:
    """Print what was drawn and how to go on: for people, or as one JSON object."""
    for warning in turn.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(_document(turn, paths)))
        return
    to = sys.stderr if stdout else sys.stdout  # standard output may be the image itself
    for path in paths:
        print(path, file=to)
    if turn.text:
        print(turn.text, file=to)
    cost = "unknown" if turn.total_cost is None else turn.total_cost
    print(f"cost {cost}; go on with --resume {_next(turn)}", file=to)


def _next(turn: Turn) -> str:
    stored = turn.result.stored
    return stored[0].id if stored else str(turn.response_id)


def _document(turn: Turn, paths: list[Path]) -> dict[str, object]:
    drawn, said = turn.result.cost, turn.chat_cost
    return {
        "files": [str(path) for path in paths],
        "text": turn.text,
        "revised_prompt": turn.revised_prompt,
        "response_id": turn.response_id,
        "call_ids": list(turn.call_ids),
        "stored": [record.id for record in turn.result.stored],
        "model": turn.result.model,
        "chat_model": turn.chat_model,
        "cost_usd": None if drawn is None else float(drawn),
        "chat_cost_usd": None if said is None else float(said),
        "warnings": list(turn.warnings),
        "request_id": turn.result.request_id,
    }
