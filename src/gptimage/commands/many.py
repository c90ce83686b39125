"""``gptimage many``: draw or edit every line of a file, several at once, resumable."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage.commands._client import add_sandbox_option, open_client
from gptimage.commands._output import Target, keep_bytes, prepare, save, target
from gptimage.commands._rows import Rows
from gptimage.commands._shape import Subparsers
from gptimage.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    MalformedReplyError,
    OrganizationNotVerifiedError,
    OutcomeUnknownError,
    QuotaExceededError,
    StoreError,
)
from gptimage.wording import for_command_line


if TYPE_CHECKING:
    from gptimage import ImageClient, Result
    from gptimage.bulk import Item


_DEFAULTS: Final = (
    ("--model", "MODEL", "image model"),
    ("--size", "SIZE", "1920x1080, 16:9, landscape...: exactly these pixels"),
    ("--quality", "QUALITY", "low, medium, high, xhigh, max or auto"),
    ("--format", "FORMAT", "png, jpeg, webp, gif or svg"),
    ("--background", "KIND", "transparent (png, webp), opaque or auto"),
)
_HOPELESS: Final = (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    OrganizationNotVerifiedError,
    QuotaExceededError,
)
"""What fails one request for such a reason fails all others."""

_FAILED: Final = 1
_UNKNOWN: Final = 4


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "many", help="draw every line of a file, several at once", description=__doc__
    )
    parser.add_argument(
        "file", metavar="FILE", type=Path, help=".jsonl, or .csv with a header; a column prompt"
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", default=".", help="default: .")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="default: 8")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="a second run with it asks only for what is missing"
    )
    parser.add_argument(
        "--retry-unknown", action="store_true", help="ask again what may have been billed"
    )
    parser.add_argument(
        "--images-per-minute", type=int, metavar="N", help="never ask for more; your account's tier"
    )
    parser.add_argument("--store", metavar="FOLDER", help="save every picture there, too")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="one JSON object per line and item")
    group = parser.add_argument_group("where a line does not say otherwise")
    for flag, metavar, help_text in _DEFAULTS:
        group.add_argument(flag, metavar=metavar, help=help_text)
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Draw every line; each picture is saved before its item counts as done."""
    requests = Rows(args.file, _defaults(args))
    prepare(Target(folder=Path(args.output).expanduser(), stem="many"))
    with _client(args) as client:
        items = client.generate_many(
            requests,
            concurrency=args.concurrency,
            progress=True,
            checkpoint=args.checkpoint,
            retry_unknown=args.retry_unknown,
        )
        codes = {0}
        with closing(items):
            for item in items:
                codes.add(_report(item, args))
                if isinstance(item.error, _HOPELESS):
                    print("gptimage: the others would fail alike; stopped", file=sys.stderr)
                    break
    return max(codes)


def _client(args: argparse.Namespace) -> ImageClient:
    from gptimage.limits import Limits

    speed: int | None = args.images_per_minute
    limits = None if speed is None else Limits(images_per_minute=speed)
    if args.store is None:
        return open_client(sandbox=args.sandbox, limits=limits)
    from gptimage.store import Store

    return open_client(sandbox=args.sandbox, store=Store(args.store), limits=limits)


def _defaults(args: argparse.Namespace) -> dict[str, Any]:
    names = [flag[2:] for flag, *_ in _DEFAULTS]
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _report(item: Item, args: argparse.Namespace) -> int:
    """Save what came, say so, and give the exit code of this item."""
    if item.error is not None:
        return _report_error(item, item.error, args)
    result = item.result
    if result is None or item.resumed:  # saved by the run that drew it
        return 0
    paths = [str(path) for path in _save(item, result, args)]
    if args.json:
        cost = None if result.cost is None else float(result.cost)
        _print(item, files=paths, cost_usd=cost, warnings=list(result.warnings))
    else:
        print(f"{item.index + 1}: {', '.join(paths)}")
    return 0


def _report_error(item: Item, error: Exception, args: argparse.Namespace) -> int:
    if isinstance(error, StoreError) and error.result is not None:
        paths = ", ".join(map(str, _save(item, error.result, args)))
        print(f"gptimage: {item.index + 1}: not in the store, but in {paths}", file=sys.stderr)
    if isinstance(error, MalformedReplyError) and error.reply:
        path = keep_bytes(error.reply, "reply.bin")
        print(f"gptimage: {item.index + 1}: the reply as it arrived is in {path}", file=sys.stderr)
    if args.json:
        _print(item, error={"type": type(error).__name__, "message": for_command_line(str(error))})
    else:
        print(f"gptimage: {item.index + 1}: {error}", file=sys.stderr)
    return _UNKNOWN if isinstance(error, OutcomeUnknownError) else _FAILED


def _save(item: Item, result: Result, args: argparse.Namespace) -> list[Path]:
    """Write the pictures under the number of their line and the words of their prompt."""
    words = target(None, result.request.prompt).stem
    folder = Path(args.output).expanduser()
    where = Target(folder=folder, stem=f"{item.index + 1:06}-{words}", overwrite=args.overwrite)
    return save(result.images, where)


def _print(item: Item, **values: object) -> None:
    print(json.dumps({"index": item.index, **values}), flush=True)
