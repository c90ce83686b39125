"""``gptimage refine``: draw and change an image turn by turn, in one conversation."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from gptimage.cli.generate import agree_on_format, write
from gptimage.cli.json_output import Written, print_json, result_document, usd
from gptimage.cli.options import (
    NO_PROMPT,
    configure,
    open_client,
    options_from_args,
    read_prompt,
    template_from_args,
)
from gptimage.cli.output import Progress, Target, alone, cost_line, prepare, save_one, target
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage import Prompt
    from gptimage.config import Config
    from gptimage.conversation import Conversation, Turn


_LATER: Final = "draw with a store (--store FOLDER): this service remembers nothing"


def run(args: argparse.Namespace) -> int:
    """Take every turn; each image is saved before the next is requested."""
    config = configure(args)
    prompts = _prompts(args, config)
    named = args.template[0] if args.template else prompts[0]
    where = target(args.output, str(named), overwrite=args.overwrite)
    options = {**options_from_args(args), "action": args.action}
    model = options.pop("model", None)
    if args.max_images is not None:
        options["max_images"] = args.max_images
    agree_on_format(options, where)
    if where.stdout:
        names = ("max_images", "partial_images")
        others = {f"--{name.replace('_', '-')}": options.get(name) for name in names}
        alone({"all but one PROMPT": len(prompts) > 1, "--json": args.json, **others})
    prepare(where)
    shown = Progress()
    with open_client(config, observers=[shown]) as client:
        chat = client.conversation(
            args.chat_model, image_model=model, resume=args.resume, stateless=args.stateless
        )
        first: dict[str, Any] = {"images": args.image, "mask": args.mask}
        for index, prompt in enumerate(prompts):
            stem = f"{where.stem}-{index + 1}" if len(prompts) > 1 else where.stem
            turn_options = {**options, **first, "tags": args.tag or ()}
            with shown("drawing ..."):
                turn = _send(chat, prompt, turn_options, where, stem)
            files = write(turn.images, _named(where, stem))
            _report(turn, files, index, as_json=args.json, stdout=where.stdout)
            first = {}
    return 0


def _prompts(args: argparse.Namespace, config: Config) -> list[str | Prompt]:
    """Return the prompt of every turn; a template is the first.

    Raises:
        InvalidRequestError: There is none.
    """
    prompts: list[str | Prompt] = [read_prompt(text) for text in args.prompts]
    if args.template:
        template, arguments = template_from_args(args, config)
        prompts.insert(0, template.render(arguments))
    if not prompts:
        raise InvalidRequestError(NO_PROMPT, field="prompt")
    return prompts


def _named(where: Target, stem: str) -> Target:
    from attrs import evolve

    return evolve(where, stem=stem)


def _send(
    chat: Conversation, prompt: str | Prompt, options: dict[str, Any], where: Target, stem: str
) -> Turn:
    """Send one turn; with ``partial_images`` it streams, and each preview is saved at once."""
    from gptimage import PartialImage

    if "partial_images" not in options:
        return chat.send(prompt, **options)
    for event in chat.stream(prompt, **options):
        if isinstance(event, PartialImage):
            path = save_one(event.image, where, f"{stem}-partial-{event.index + 1}")
            print(f"a preview is in {path}", file=sys.stderr)
        else:
            return event.turn
    raise AssertionError("a stream ends with its turn or an error")


def _report(turn: Turn, files: list[Written], index: int, *, as_json: bool, stdout: bool) -> None:
    """Print what was drawn and how to go on: for people, or as one JSON object."""
    for warning in turn.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if as_json:
        print_json(_document(turn, files, index))
        return
    to = sys.stderr if stdout else sys.stdout  # standard output may be the image itself
    for each in files:
        print(each.path, file=to)
    if turn.text:
        print(turn.text, file=to)
    cost = cost_line(turn.total_cost, sandbox=turn.result.sandbox)
    stored = turn.result.stored
    following = stored[0].id if stored else turn.response_id
    on = f"go on with --resume {following}" if following else f"to go on later, {_LATER}"
    print(f"{cost}; {on}", file=to)


def _document(turn: Turn, files: list[Written], index: int) -> dict[str, object]:
    return result_document(
        turn.result,
        files,
        index=index,
        text=turn.text,
        revised_prompt=turn.revised_prompt,
        response_id=turn.response_id,
        call_ids=list(turn.call_ids),
        chat_model=turn.chat_model,
        chat_cost_usd=usd(turn.chat_cost),
        warnings=list(turn.warnings),
    )
