"""``gptimage batch``: pictures at half price within a day, from a file of requests.

``submit`` takes the requests, ``wait`` waits for the end, ``results`` saves the pictures in a
store. Each may be stopped and run again, also on another day: nothing is paid or saved twice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage.cli.many import Rows
from gptimage.cli.options import Subparsers, open_client
from gptimage.cli.output import Target, keep_bytes, save
from gptimage.cli.store import open_store
from gptimage.errors import (
    ConfigurationError,
    GptImageError,
    MalformedReplyError,
    OutcomeUnknownError,
    StoreError,
)
from gptimage.types.result import Result
from gptimage.wording import for_command_line


if TYPE_CHECKING:
    from gptimage import ImageClient
    from gptimage.batch import BatchItem, BatchStatus
    from gptimage.store import Store


_FAILED: Final = 1
_UNKNOWN: Final = 4
_NO_SANDBOX: Final = (
    "a batch outlives this command, and a sandbox inside of it does not: run `gptimage sandbox` "
    "in another terminal, and set OPENAI_BASE_URL to its address and OPENAI_API_KEY to anything"
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command and its own."""
    parser = subparsers.add_parser(
        "batch", help="pictures at half price within a day", description=__doc__
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    submit = actions.add_parser("submit", help="submit a file of requests")
    submit.add_argument(
        "requests", metavar="FILE", help=".jsonl, or .csv with a header; - is JSONL from stdin"
    )
    submit.add_argument(
        "--state", default="batch.json", metavar="FILE", help="what to go on from (batch.json)"
    )
    submit.set_defaults(func=_submit)
    for name, func, text in (
        ("status", _status, "how far it is"),
        ("wait", _wait, "wait until it has ended"),
        ("results", _results, "save its pictures in a store"),
        ("cancel", _cancel, "cancel what is not drawn yet"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("batch", metavar="BATCH", help="its state file, or batch_...")
        action.set_defaults(func=func)
    _add_wait(actions.choices["wait"])
    actions.choices["results"].add_argument(
        "--store", metavar="DIR", help="where to save; else GPTIMAGE_STORE, else your pictures"
    )
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="JSON on standard output")
        action.add_argument("--sandbox", action="store_true", help=argparse.SUPPRESS)


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--poll", type=float, default=30.0, metavar="SECONDS", help="between two looks (30)"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="the longest wait")


def _submit(args: argparse.Namespace) -> int:
    with _requests(args.requests) as rows, _client(args) as client:
        batch = client.submit_batch(_counted(rows), state=args.state)
    if args.json:
        usd = None if batch.estimate is None else float(batch.estimate)
        print(json.dumps({"ids": batch.ids, "state": args.state, "estimate_usd": usd}))
    else:
        cost = "unknown" if batch.estimate is None else f"about ${batch.estimate:.4f}"
        print(f"submitted {', '.join(batch.ids)} (cost {cost}); go on with {args.state}")
    return 0


def _status(args: argparse.Namespace) -> int:
    with _client(args) as client:
        _show(client.batch(args.batch).status(), as_json=args.json)
    return 0


def _wait(args: argparse.Namespace) -> int:
    with _client(args) as client:
        batch = client.batch(args.batch)
        status = batch.wait(progress=True, poll=args.poll, timeout=args.timeout)
    if args.json or not sys.stdout.isatty():  # a terminal has just shown it
        _show(status, as_json=args.json)
    return 0


def _cancel(args: argparse.Namespace) -> int:
    with _client(args) as client:
        _show(client.batch(args.batch).cancel(), as_json=args.json)
    return 0


def _results(args: argparse.Namespace) -> int:
    codes = {0}
    with (
        open_store(args) as store,
        _client(args, store=store) as client,
        closing(client.batch(args.batch).results()) as items,
    ):
        codes.update(_report(item, as_json=args.json) for item in items)
    return max(codes)


def _client(args: argparse.Namespace, *, store: Store | None = None) -> ImageClient:
    """The client of the service.

    Raises:
        ConfigurationError: The sandbox is meant, or there is no key.
    """
    if args.sandbox or os.environ.get("GPTIMAGE_SANDBOX", "") not in {"", "0"}:
        raise ConfigurationError(_NO_SANDBOX)
    return open_client(sandbox=False, store=store)


@contextmanager
def _requests(name: str) -> Generator[Rows]:
    """The requests of a file; standard input goes to one first, as it is read twice."""
    if name != "-":
        yield Rows(Path(name), {})
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stdin.jsonl")
        file.write_bytes(sys.stdin.buffer.read())
        yield Rows(file, {})


def _counted(rows: Rows) -> Iterator[dict[str, Any]]:
    """The requests, with a line on the terminal that counts: pictures take a while to upload."""
    shows = sys.stderr.isatty()
    for number, row in enumerate(rows):
        if shows and number % 20 == 0:
            print(f"\rpreparing {number} of {len(rows)} ", end="", file=sys.stderr, flush=True)
        yield row
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr)


def _report(item: BatchItem, *, as_json: bool) -> int:
    """Print one item; gives the exit code it deserves."""
    if item.error is not None:
        return _report_error(item, item.error, as_json=as_json)
    result = item.result
    records = result.stored if result else ()
    if as_json:
        cost = result.cost if result else None
        usd = None if cost is None else float(cost)
        _print(item, stored=[record.id for record in records], cost_usd=usd)
    else:
        print(f"{_name(item)}: {', '.join(str(each.path or each.id) for each in records)}")
    return 0


def _report_error(item: BatchItem, error: GptImageError, *, as_json: bool) -> int:
    """What is paid for and in no store goes to files."""
    if isinstance(error, StoreError) and isinstance(error.result, Result):
        where = Target(folder=Path.cwd(), stem=f"batch-{_name(item)}")
        paths = ", ".join(map(str, save(error.result.images, where)))
        print(f"gptimage: {_name(item)}: not in the store, but in {paths}", file=sys.stderr)
    if isinstance(error, MalformedReplyError) and error.reply:
        path = keep_bytes(error.reply, "reply.jsonl")
        print(f"gptimage: {_name(item)}: the answer as it is, in {path}", file=sys.stderr)
    if as_json:
        _print(item, error={"type": type(error).__name__, "message": for_command_line(str(error))})
    else:
        print(f"gptimage: {_name(item)}: {error}", file=sys.stderr)
    return _UNKNOWN if isinstance(error, OutcomeUnknownError) else _FAILED


def _name(item: BatchItem) -> str:
    """The number of its line, as `gptimage many` counts."""
    return item.custom_id or "unknown" if item.index is None else str(item.index + 1)


def _print(item: BatchItem, **values: object) -> None:
    about = {"index": item.index, "custom_id": item.custom_id}
    print(json.dumps({**about, **values}), flush=True)


def _show(status: BatchStatus, *, as_json: bool) -> None:
    if not as_json:
        print(status)
        return
    document = {
        "state": status.state,
        "ended": status.ended,
        "total": status.total,
        "completed": status.completed,
        "failed": status.failed,
        "ids": [part.id for part in status.parts],
        "problems": [problem for part in status.parts for problem in part.problems],
    }
    print(json.dumps(document))
