"""``gptimage batch``: pictures at half price within a day, from a file of requests."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptimage.commands._client import add_sandbox_option, open_client
from gptimage.commands._shape import Subparsers
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.batch import Batch, BatchItem, Status
    from gptimage.store import Store


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command and its own."""
    parser = subparsers.add_parser(
        "batch", help="pictures at half price within a day", description=__doc__
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    submit = actions.add_parser("submit", help="submit a JSONL file of requests")
    submit.add_argument("requests", metavar="FILE", help="one JSON object per line; - is stdin")
    submit.add_argument("--state", default="batch.json", metavar="FILE", help="what to go on from")
    submit.set_defaults(func=_submit, store=None)
    for name, func, text in (
        ("status", _status, "how far it is"),
        ("wait", _wait, "wait until it has ended"),
        ("results", _results, "save its pictures in a store"),
        ("cancel", _cancel, "cancel what is not drawn yet"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("batch", metavar="BATCH", help="its state file, or batch_...")
        action.set_defaults(func=func, store=None)
        if name == "wait":
            action.add_argument("--poll", type=float, default=30.0, metavar="SECONDS")
        if name == "results":
            action.add_argument("--store", required=True, metavar="FOLDER", help="where to save")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="JSON on standard output")
        add_sandbox_option(action)


def _submit(args: argparse.Namespace) -> int:
    with open_client(sandbox=args.sandbox) as client:
        batch = client.submit_batch(_requests(args.requests), state=args.state)
        if args.json:
            usd = None if batch.estimate is None else float(batch.estimate)
            print(json.dumps({"ids": batch.ids, "state": args.state, "estimate_usd": usd}))
        else:
            cost = "unknown" if batch.estimate is None else f"about ${batch.estimate:.4f}"
            print(f"submitted {', '.join(batch.ids)} (cost {cost}); go on with {args.state}")
    return 0


def _status(args: argparse.Namespace) -> int:
    with open_client(sandbox=args.sandbox) as client:
        _show(client.batch(args.batch).status(), as_json=args.json)
    return 0


def _wait(args: argparse.Namespace) -> int:
    with open_client(sandbox=args.sandbox) as client:
        _show(client.batch(args.batch).wait(progress=True, poll=args.poll), as_json=args.json)
    return 0


def _cancel(args: argparse.Namespace) -> int:
    with open_client(sandbox=args.sandbox) as client:
        _show(client.batch(args.batch).cancel(), as_json=args.json)
    return 0


def _results(args: argparse.Namespace) -> int:
    with open_client(sandbox=args.sandbox, store=_store(args.store)) as client:
        batch: Batch = client.batch(args.batch)
        failed = [_told(item, as_json=args.json) for item in batch.results()].count(False)
    return 1 if failed else 0


def _store(folder: str) -> Store:
    from gptimage.store import Store

    return Store(folder)


def _told(item: BatchItem, *, as_json: bool) -> bool:
    """Print one item; whether it has pictures."""
    result = item.result
    ids = [record.id for record in result.stored] if result else []
    if as_json:
        cost = result.cost if result else None
        document = {
            "index": item.index,
            "custom_id": item.custom_id,
            "stored": ids,
            "cost_usd": None if cost is None else float(cost),
            "error": None if item.error is None else str(item.error),
        }
        print(json.dumps(document))
    elif item.error is None:
        print(f"{item.index}: {' '.join(ids)}")
    else:
        print(f"{item.index}: {item.error}", file=sys.stderr)
    return item.error is None


def _show(status: Status, *, as_json: bool) -> None:
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
    }
    print(json.dumps(document))


def _requests(name: str) -> Iterator[dict[str, Any]]:
    """The requests of a JSONL file, read as they are needed."""
    lines = sys.stdin if name == "-" else Path(name).open(encoding="utf-8")  # noqa: SIM115  # read to its end below
    with lines:
        for number, text in enumerate(lines, 1):
            if text.strip():
                yield _request(name, number, text)


def _request(name: str, number: int, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or "prompt" not in value:
        raise InvalidRequestError(
            f"line {number} of {name} is no JSON object with a prompt",
            field="requests",
            value=text,
            allowed='such as {"prompt": "A red fox", "size": "1024x1024"}',
        )
    return value  # pyright: ignore[reportUnknownVariableType]  # what it holds is checked later
