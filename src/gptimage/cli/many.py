"""``gptimage many``: draw or edit every line of a file, several at once, resumable."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage.cli.generate import write
from gptimage.cli.input_file import Columns, Row, Rows, display_name, open_input
from gptimage.cli.json_output import Written, error_document, print_json, result_document, show, usd
from gptimage.cli.options import (
    configure,
    open_client,
    opening,
    options_from_args,
    template_from_args,
)
from gptimage.cli.output import (
    Target,
    are_saved,
    is_there,
    keep_bytes,
    prepare,
    save_missing,
    target,
)
from gptimage.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    GptImageError,
    InvalidRequestError,
    MalformedReplyError,
    OrganizationNotVerifiedError,
    OutcomeUnknownError,
    QuotaExceededError,
    StoreError,
)
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage import ImageClient, Prompt
    from gptimage.bulk import Item, Stop
    from gptimage.config import Config
    from gptimage.store import Store


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
_SIGNALLED: Final = 128
_SHOW_CURSOR: Final = b"\x1b[?25h"


def run(args: argparse.Namespace) -> int:
    """Draw every line; each image is saved before its item counts as completed."""
    config = configure(args)
    with open_input(args.file) as path:
        rows = Rows(path, columns_of(args, config))
        if args.dry_run:
            return _dry_run(rows, path, config, args)
        prepare(Target(folder=Path(args.output).expanduser(), stem="many"))
        with open_client(config) as client:
            if args.checkpoint is None or not Path(args.checkpoint).exists():
                check_all(client, rows, path)  # a run that goes on has done so
            return _run_all(client, rows, args)


def columns_of(args: argparse.Namespace, config: Config) -> Columns:
    """Return how the columns of the file are understood."""
    template, arguments = template_from_args(args, config) if args.template else (None, {})
    return Columns(options_from_args(args), template, arguments, getattr(args, "name_from", None))


def check_all(client: ImageClient, rows: Rows, path: Path) -> tuple[int, Decimal, int]:
    """Check every request as sending it would, before the first is paid.

    Images named by URL are not downloaded for this.

    Returns:
        How many images are requested, their estimate in USD, and for how many requests there is
        none.

    Raises:
        InvalidRequestError: A line is wrong; names it, and how many others are.
    """
    images, total, unknown = 0, Decimal(0), 0
    wrong: list[tuple[int, GptImageError | OSError]] = []
    for line in rows.lines():
        request = {name: value for name, value in line.request.items() if name != "tags"}
        try:
            found = client.estimate(**_without_urls(request))
        except (GptImageError, OSError) as error:
            wrong.append((line.number, error))
            continue
        images += request.get("n") or 1
        unknown += found is None
        total += Decimal(0) if found is None else found.usd
    if wrong:
        number, first = wrong[0]
        others = ", ".join(str(each) for each, _ in wrong[1:10])
        more = f" (and {len(wrong) - 1} others: {others})" if others else ""
        raise InvalidRequestError(
            f"{display_name(path)}, line {number}: {first}{more}; nothing was sent",
            field="FILE",
            value=display_name(path),
        ) from first
    return images, total, unknown


def _without_urls(request: Row) -> Row:
    """Put a file id in the place of every URL: a check must not download."""
    from gptimage import FileRef

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in cast("list[object]", value)]
        is_url = isinstance(value, str) and value.startswith(("http://", "https://"))
        return FileRef("file-unread") if is_url else value

    names = ("images", "mask", "markup")
    return {name: plain(value) if name in names else value for name, value in request.items()}


def _dry_run(rows: Rows, path: Path, config: Config, args: argparse.Namespace) -> int:
    from gptimage import ImageClient
    from gptimage.engine.from_config import estimator_arguments

    with ImageClient.sandbox(**estimator_arguments(config)) as client:
        images, total, unknown = check_all(client, rows, path)
    estimate = None if unknown == len(rows) else total
    document = {
        "dry_run": True,
        "requests": len(rows),
        "images": images,
        "estimate_usd": usd(estimate),
        "without_estimate": unknown,
    }
    cost = "a cost that cannot be estimated" if estimate is None else f"about ${total:.4f}"
    rest = f", and {unknown} requests whose cost cannot be" if unknown and estimate else ""
    requests = f"{len(rows)} request{'s' * (len(rows) != 1)}"
    text = f"{requests} for {images} image{'s' * (images != 1)}, {cost}{rest}; nothing was sent"
    return show(args, document, text)


def _run_all(client: ImageClient, rows: Rows, args: argparse.Namespace) -> int:
    from gptimage.bulk import Stop

    stop, codes, hopeless = Stop(), {0}, False
    with _interruptible(stop) as interrupted:
        with opening("checkpoint", option=args.checkpoint is not None):
            items = client.generate_many(
                rows,
                concurrency=args.concurrency,
                progress=True,
                checkpoint=args.checkpoint,
                retry_unknown=args.retry_unknown,
                stop=stop,
                refresh=args.refresh,
                tags=args.tag or (),
            )
        with closing(items):
            for item in items:
                if hopeless and isinstance(item.error, _HOPELESS):
                    continue  # it was in flight, and says the same
                codes.add(_report(item, rows, args, client.store))
                if isinstance(item.error, _HOPELESS):
                    hopeless = True
                    stop.set()  # others in flight may be paid, and are written first
                    print("gptimage: the others would fail alike; stopped", file=sys.stderr)
    if interrupted:
        again = "the same command goes on" if args.checkpoint else "nothing that was paid is lost"
        print(f"gptimage: stopped before the end of {args.file}; {again}", file=sys.stderr)
        codes.add(_SIGNALLED + interrupted[0])
    return max(codes)


@contextmanager
def _interruptible(stop: Stop) -> Generator[list[int]]:
    """Let Ctrl-C or SIGTERM finish what is in flight, and a second one give it up.

    Yields:
        The signals that came.
    """
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if came:
            _give_up(stop.in_flight, number)
        came.append(number)
        stop.set()
        _say(
            f"finishing {stop.in_flight} in flight, again to give them up"
            if stop.in_flight
            else "nothing is in flight; stopping"
        )

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Ignored by whoever started this, as in a job of the background: it stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    except ValueError:  # signals reach the main thread alone
        before.clear()
    try:
        yield came
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _give_up(in_flight: int, number: int) -> None:
    """End at once: an orderly end would wait for the requests.

    What has arrived is on the disk by now, and the checkpoint knows of the others.
    """
    _say(f"gave up {in_flight} in flight: they may be billed")
    with suppress(OSError, RuntimeError, ValueError):  # a print may have been interrupted
        sys.stdout.flush()
    if sys.stderr.isatty():  # the progress bar hides it
        os.write(2, _SHOW_CURSOR)
    os._exit(_SIGNALLED + number)


def _say(message: str) -> None:
    """Print from a signal handler, which may have come in the middle of another print."""
    with suppress(OSError):
        os.write(2, f"\ngptimage: {message}\n".encode())


def _report(item: Item, rows: Rows, args: argparse.Namespace, store: Store | None) -> int:
    """Save what came, say so, and return the exit code of this item."""
    where = _where(item, rows, args)
    if item.error is not None:
        return _report_error(item, item.error, where, args)
    try:
        # A run that goes on looks at its files by size and digest: its store may be in a bucket.
        if store is not None and item.stored_ids:
            records = [store.get(id) for id in item.stored_ids]
            if are_saved(records, where):
                return 0
        result = item.result
    except StoreError as error:  # an earlier run had saved it, and it was removed since
        return 0 if is_there(where) else _report_error(item, error, where, args)
    files = [] if result is None else _save(item, result, where)
    if result is None or not files:
        return 0  # an earlier run wrote them
    if args.json:
        print_json(result_document(result, files, index=item.index))
    else:
        print(f"{item.index + 1}: {', '.join(str(each.path) for each in files)}")
    return 0


def _report_error(item: Item, error: Exception, where: Target, args: argparse.Namespace) -> int:
    def save(result: Result) -> Iterable[Path]:
        return [each.path for each in _save(item, result, where)]

    return report_error(
        str(item.index + 1), {"index": item.index}, error, as_json=args.json, save=save
    )


def report_error(
    name: str,
    about: Mapping[str, object],
    error: Exception,
    *,
    as_json: bool,
    save: Callable[[Result], Iterable[Path]],
    reply_name: str = "reply.bin",
) -> int:
    """Report what failed of several, and return its exit code.

    What is paid for and in no store goes to files.

    Args:
        name: What people call it, such as its number.
        about: What ``--json`` says of it beside the error.
        error: The error.
        as_json: Whether a program reads it.
        save: Saves images that no store has.
        reply_name: The file name of a reply that cannot be read.
    """
    if isinstance(error, StoreError) and isinstance(error.result, Result):
        paths = ", ".join(map(str, save(error.result)))
        print(f"gptimage: {name}: not in the store, but in {paths}", file=sys.stderr)
    if isinstance(error, MalformedReplyError) and error.reply and error.saved_to is None:
        path = keep_bytes(error.reply, reply_name)
        print(f"gptimage: {name}: the response as received, in {path}", file=sys.stderr)
    code = _UNKNOWN if isinstance(error, OutcomeUnknownError) else _FAILED
    if as_json:
        print_json({**about, "error": error_document(error, code)})
    else:
        print(f"gptimage: {name}: {error}", file=sys.stderr)
    return code


def _save(item: Item, result: Result, where: Target) -> list[Written]:
    """Write the images; those of an earlier run only where they are not there."""
    if not item.resumed:
        return write(result.images, where)
    paths = save_missing(result.images, where)
    return [
        Written(kind="image", path=path, image=image)
        for path, image in zip(paths, result.images, strict=False)
    ]


def _where(item: Item, rows: Rows, args: argparse.Namespace) -> Target:
    """Name the files: by the column of ``--name-from``, or number of the request and prompt."""
    folder = Path(args.output).expanduser()
    if rows.names:
        return Target(folder=folder, stem=rows.names[item.index], overwrite=args.overwrite)
    row = cast("Mapping[str, Any]", item.request)  # `Rows` gives nothing else
    prompt: str | Prompt = row["prompt"]
    words = prompt if isinstance(prompt, str) else prompt.template or prompt.text
    stem = f"{item.index + 1:06}-{target(None, words).stem}"
    return Target(folder=folder, stem=stem, overwrite=args.overwrite)
