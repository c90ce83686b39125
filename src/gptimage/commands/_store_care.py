"""The commands that change a store: tag, pin, prune, verify, reindex, rescue, export."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gptimage.commands._store_look import document_of, filters, line, open_store


if TYPE_CHECKING:
    from gptimage.store import Problem, Record

_UNITS: Final = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def run_tag(args: argparse.Namespace) -> int:
    """Change the tags of a picture."""
    with open_store(args) as store:
        record = (store.untag if args.remove else store.tag)(args.id, *args.tags)
    return _print_record(record, as_json=args.json)


def run_pin(args: argparse.Namespace) -> int:
    """Pin a picture, or unpin it."""
    with open_store(args) as store:
        record = (store.unpin if args.remove else store.pin)(args.id)
    return _print_record(record, as_json=args.json)


def run_prune(args: argparse.Namespace) -> int:
    """Remove what is not worth keeping, and say what that was."""
    from gptimage.store import Retention

    keep = Retention(max_age=args.max_age, max_bytes=args.max_bytes, max_count=args.max_count)
    with open_store(args) as store:
        report = store.prune(keep, dry_run=args.dry_run)
    document = {
        "removed": list(report.removed),
        "bytes": report.bytes,
        "inputs": report.inputs,
        "kept": report.kept,
        "skipped": [list(each) for each in report.skipped],
        "dry_run": report.dry_run,
    }
    verb = "would remove" if report.dry_run else "removed"
    text = f"{verb} {len(report.removed)} pictures, {report.bytes:,} bytes; {report.kept} stay"
    print(json.dumps(document) if args.json else text)
    for id, reason in report.skipped:
        print(f"gptimage: {id} was not removed: {reason}", file=sys.stderr)
    return 1 if report.skipped else 0


def run_verify(args: argparse.Namespace) -> int:
    """Print every problem; the exit code is 1 when there is one."""
    with open_store(args) as store:
        report = store.verify(hashes=not args.quick, repair=args.repair)
    if args.json:
        document = {
            "checked": report.checked,
            "clean": report.clean,
            "problems": [_problem(each) for each in report.problems],
            "repaired": [_problem(each) for each in report.repaired],
            "unfinished": list(report.unfinished),
        }
        print(json.dumps(document))
    else:
        for each in report.repaired:
            print(_line("repaired", each))
        for each in report.problems:
            print(_line("", each))
        print(f"{report.checked} pictures; {'clean' if report.clean else 'not clean'}")
    return 0 if report.clean else 1


def run_reindex(args: argparse.Namespace) -> int:
    """Build the index anew."""
    with open_store(args) as store:
        count = store.reindex()
    print(json.dumps({"pictures": count}) if args.json else f"{count} pictures")
    return 0


def run_rescue(args: argparse.Namespace) -> int:
    """Save what waits in the user's state folder."""
    older_than = timedelta(hours=1) if args.older_than is None else args.older_than
    with open_store(args) as store:
        report = store.rescue(older_than=older_than, every=args.all)
    if args.json:
        document = {
            "saved": [document_of(each) for each in report.saved],
            "known": report.known,
            "failed": [list(each) for each in report.failed],
            "others": dict(report.others),
        }
        print(json.dumps(document))
    else:
        for record in report.saved:
            print(line(record))
        print(f"saved {len(report.saved)} pictures; {report.known} were there already")
        for name, count in report.others.items():
            told = f"for the store {name}: rescue with --store {name}, or --all to save them here"
            print(f"{count} more wait {told}")
    for path, reason in report.failed:
        print(f"gptimage: nothing could be saved from {path}: {reason}", file=sys.stderr)
    return 1 if report.failed else 0


def run_export(args: argparse.Namespace) -> int:
    """Copy pictures and print their paths."""
    naming = {"naming": args.naming} if args.naming else {}
    with open_store(args) as store:
        report = store.export(args.folder, sidecars=not args.no_sidecars, **naming, **filters(args))
    if args.json:
        paths = [str(path) for path in report.paths]
        print(json.dumps({"paths": paths, "missing": list(report.missing)}))
    else:
        for path in report.paths:
            print(path)
    for id in report.missing:
        print(f"gptimage: the file of {id} is gone", file=sys.stderr)
    return 1 if report.missing else 0


def size(text: str) -> int:
    """A number of bytes such as ``10GB``, ``500 MB`` or ``12345``.

    Raises:
        argparse.ArgumentTypeError: It is written otherwise.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]b|)", text.strip().lower(), re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"write a size as 10GB, 500MB or 12345, not {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])


def _print_record(record: Record, *, as_json: bool) -> int:
    print(json.dumps(document_of(record)) if as_json else line(record))
    return 0


def _problem(problem: Problem) -> dict[str, str]:
    return {"kind": problem.kind, "key": problem.key, "detail": problem.detail}


def _line(prefix: str, problem: Problem) -> str:
    text = f"{problem.kind}: {problem.key}" + (f" ({problem.detail})" if problem.detail else "")
    text = f"{prefix} {text}".strip()
    return text.encode("utf-8", "replace").decode()
