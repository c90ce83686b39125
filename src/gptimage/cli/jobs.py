"""``gptimage jobs``: what a desk knows of jobs, and what a person decides about them.

Sends nothing, needs no key. ``--desk`` names the desk's file or Redis URL; else
``GPTIMAGE_DESK``, where a URL with a password belongs.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage.cli.json_output import usd
from gptimage.cli.parser import add_actions, add_json
from gptimage.cli.store import printable
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.workers import JobRecord, JobStore


_REDIS: Final = ("redis://", "rediss://", "unix://")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    actions = add_actions(
        parser,
        ("list", _list, "jobs that need a decision, are open or running"),
        ("show", _show, "everything known of one job"),
        ("retry", _retry, "let it be sent again, even if that pays a second time"),
        ("drop", _drop, "discard it"),
    )
    actions["list"].add_argument(
        "--all", action="store_true", help="also completed, failed and discarded ones"
    )
    for name, action in actions.items():
        if name != "list":
            action.add_argument("id", metavar="ID", help="the job's id")
        action.add_argument("--desk", metavar="PATH", help="the job store: a file, or redis://...")
        add_json(action)


def _list(args: argparse.Namespace) -> int:
    desk = _open(args)
    now = desk.now()
    for entry in desk.entries(settled=args.all):
        print(json.dumps(_document(entry, now)) if args.json else _line(entry, now))
    return 0


def _show(args: argparse.Namespace) -> int:
    desk = _open(args)
    entry = desk.read(args.id)
    if entry is None:
        raise InvalidRequestError(
            f"the desk knows no job {args.id!r:.80}", field="id", value=args.id
        )
    document = {**_document(entry, desk.now()), "request": json.loads(entry.request)}
    if args.json:
        print(json.dumps(document))
        return 0
    for name, value in document.items():
        if value not in (None, [], ""):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print(printable(f"{name:<20}{text}"))
    return 0


def _retry(args: argparse.Namespace) -> int:
    from gptimage.workers import retry

    desk = _open(args)
    return _told(retry(desk, args.id), desk, args, "asked when it is delivered again")


def _drop(args: argparse.Namespace) -> int:
    from gptimage.workers import discard

    desk = _open(args)
    return _told(discard(desk, args.id), desk, args, "given up")


def _told(entry: JobRecord, desk: JobStore, args: argparse.Namespace, what: str) -> int:
    print(json.dumps(_document(entry, desk.now())) if args.json else f"{entry.id}: {what}")
    return 0


def _open(args: argparse.Namespace) -> JobStore:
    """The desk the user named; a file must be there.

    Raises:
        InvalidRequestError: None is named.
        FileNotFoundError: There is no such file.
    """
    where = args.desk or os.environ.get("GPTIMAGE_DESK")
    if not where:
        raise InvalidRequestError(
            "which desk? name its file or its Redis URL with --desk, or in GPTIMAGE_DESK",
            field="desk",
        )
    if where.startswith(_REDIS):
        from gptimage.workers.redis_store import RedisJobStore

        return RedisJobStore(where)
    from gptimage.workers import SqliteJobStore

    if not Path(where).expanduser().is_file():
        raise FileNotFoundError(f"there is no desk {where}")
    return SqliteJobStore(where)


def _line(entry: JobRecord, now: float) -> str:
    reason = entry.reason or " ".join(entry.images) or entry.holder
    shown = f"{_time(entry.at)}  {_state(entry, now):<8}  {entry.id:<24}  {reason}"
    return printable(shown.rstrip())


def _state(entry: JobRecord, now: float) -> str:
    """The state; ``lost`` when the worker is gone and nobody delivered the job again."""
    return "lost" if entry.abandoned(now) else entry.state


def _document(entry: JobRecord, now: float) -> dict[str, Any]:
    return {
        "id": entry.id,
        "state": _state(entry, now),
        "at": _time(entry.at),
        "reason": entry.reason,
        "possible_cost_usd": usd(entry.possible_cost),
        "images": list(entry.images),
        "cost_usd": usd(entry.cost),
        "attempt": entry.attempt,
        "holder": entry.holder,
        "warnings": list(entry.warnings),
    }


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
