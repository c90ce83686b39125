"""``gptimage jobs``: list worker jobs that need a decision, and retry or discard them.

Sends nothing, needs no key. ``--job-store`` names the job store's file or Redis URL; else
``GPTIMAGE_JOB_STORE``, where a URL with a password belongs.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gptimage.cli.json_output import show, usd
from gptimage.cli.options import opening
from gptimage.cli.store import printable
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.workers import JobRecord, JobStore


def run_list(args: argparse.Namespace) -> int:
    """Print the jobs, one on a line."""
    job_store = _open(args)
    now = job_store.now()
    for record in job_store.records(settled=args.all):
        show(args, _document(record, now), _line(record, now))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print everything about one job."""
    job_store = _open(args)
    record = job_store.read(args.id)
    if record is None:
        raise InvalidRequestError(
            f"the job store has no job {args.id!r:.80}", field="id", value=args.id
        )
    document = {**_document(record, job_store.now()), "request": json.loads(record.request)}
    lines = [
        f"{name:<20}{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in document.items()
        if value not in (None, [], "")
    ]
    return show(args, document, *map(printable, lines))


def run_retry(args: argparse.Namespace) -> int:
    """Let a job be sent again."""
    from gptimage.workers import retry

    job_store = _open(args)
    return _decided(retry(job_store, args.id), job_store, args, "sent when it is delivered again")


def run_discard(args: argparse.Namespace) -> int:
    """Give a job up."""
    from gptimage.workers import discard

    job_store = _open(args)
    return _decided(discard(job_store, args.id), job_store, args, "given up")


def _decided(record: JobRecord, job_store: JobStore, args: argparse.Namespace, what: str) -> int:
    return show(args, _document(record, job_store.now()), f"{record.id}: {what}")


def _open(args: argparse.Namespace) -> JobStore:
    """Return the job store the user named; a file must be there.

    Raises:
        InvalidRequestError: None is named.
        FileNotFoundError: There is no such file.
    """
    where = args.job_store or os.environ.get("GPTIMAGE_JOB_STORE")
    if not where:
        raise InvalidRequestError(
            "which job store? pass its file or Redis URL with --job-store, or in "
            "GPTIMAGE_JOB_STORE",
            field="job_store",
        )
    from gptimage.workers import SqliteJobStore, open_job_store

    job_store = open_job_store(where)
    if isinstance(job_store, SqliteJobStore):
        with opening("job-store", option=args.job_store is not None):
            job_store.read("")  # whether the file is a job store at all
    return job_store


def _line(record: JobRecord, now: float) -> str:
    reason = record.reason or " ".join(record.images) or record.owner
    shown = f"{_time(record.at)}  {_state(record, now):<12}  {record.id:<24}  {reason}"
    return printable(shown.rstrip())


def _state(record: JobRecord, now: float) -> str:
    """Return the state; ``lost`` when the worker died and the job was not delivered again."""
    return "lost" if record.abandoned(now) else record.state


def _document(record: JobRecord, now: float) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": _state(record, now),
        "at": _time(record.at),
        "reason": record.reason,
        "possible_cost_usd": usd(record.possible_cost),
        "images": list(record.images),
        "cost_usd": usd(record.cost),
        "attempt": record.attempt,
        "owner": record.owner,
        "warnings": list(record.warnings),
    }


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
