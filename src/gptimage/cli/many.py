"""``gptimage many``: draw or edit every line of a file, several at once, resumable."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage.cli.output import Target, is_there, keep_bytes, prepare, save, save_missing, target
from gptimage.commands._client import add_sandbox_option, open_client
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
    from gptimage.bulk import Item, Stop


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
_INTERRUPTED: Final = 130
_SHOW_CURSOR: Final = b"\x1b[?25h"


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
    from gptimage.bulk import Stop

    stop, codes, hopeless = Stop(), {0}, False
    with _client(args) as client, _interruptible(stop) as interrupted:
        items = client.generate_many(
            requests,
            concurrency=args.concurrency,
            progress=True,
            checkpoint=args.checkpoint,
            retry_unknown=args.retry_unknown,
            stop=stop,
        )
        with closing(items):
            for item in items:
                if hopeless and isinstance(item.error, _HOPELESS):
                    continue  # it was in flight, and says the same
                codes.add(_report(item, args))
                if isinstance(item.error, _HOPELESS):
                    hopeless = True
                    stop.set()  # others in flight may be paid, and are written first
                    print("gptimage: the others would fail alike; stopped", file=sys.stderr)
    if interrupted:
        again = "the same command goes on" if args.checkpoint else "nothing that was paid is lost"
        print(f"gptimage: stopped before the end of {args.file}; {again}", file=sys.stderr)
        codes.add(_INTERRUPTED)
    return max(codes)


@contextmanager
def _interruptible(stop: Stop) -> Generator[list[bool]]:
    """Let Ctrl-C finish what is in flight, and a second one give it up; tells of the first."""
    interrupted: list[bool] = []

    def interrupt(*_: object) -> None:
        if interrupted:
            _give_up(stop.in_flight)
        interrupted.append(True)
        stop.set()
        _say(
            f"finishing {stop.in_flight} in flight, again to give them up"
            if stop.in_flight
            else "nothing is in flight; stopping"
        )

    try:
        before = signal.getsignal(signal.SIGINT)
        if before is signal.SIG_IGN:  # as in a job of the background: the shell said so
            yield interrupted
            return
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # only the main thread is told of signals
        yield interrupted
        return
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _give_up(in_flight: int) -> None:
    """End at once: an orderly end would wait for the requests.

    What has arrived is on the disk by now, and the checkpoint knows of the others.
    """
    _say(f"gave up {in_flight} in flight: they may be billed")
    with suppress(OSError, RuntimeError, ValueError):  # a print may have been interrupted
        sys.stdout.flush()
    if sys.stderr.isatty():  # the progress bar hides it
        os.write(2, _SHOW_CURSOR)
    os._exit(_INTERRUPTED)


def _say(message: str) -> None:
    """Print from a signal handler, which may have come in the middle of another print."""
    with suppress(OSError):
        os.write(2, f"\ngptimage: {message}\n".encode())


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
    try:
        result = item.result
    except StoreError as error:  # an earlier run had saved it, and it was removed since
        if is_there(_where(item, args)):
            return 0
        return _report_error(item, error, args)
    if result is None:
        return 0
    paths = [str(path) for path in _save(item, result, args)]
    if not paths:
        return 0  # an earlier run wrote them
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
    """Write the images; those of an earlier run only where they are not there."""
    where = _where(item, args)
    return save_missing(result.images, where) if item.resumed else save(result.images, where)


def _where(item: Item, args: argparse.Namespace) -> Target:
    """The number of the line and the words of its prompt."""
    row = cast("Mapping[str, Any]", item.asked)  # `Rows` gives nothing else
    words = target(None, str(row["prompt"])).stem
    folder = Path(args.output).expanduser()
    return Target(folder=folder, stem=f"{item.index + 1:06}-{words}", overwrite=args.overwrite)


def _print(item: Item, **values: object) -> None:
    print(json.dumps({"index": item.index, **values}), flush=True)
