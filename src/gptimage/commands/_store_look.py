"""The commands that only look into a store: history, search, show, open, stats."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from gptimage._internal.clock import utc_now
from gptimage.commands.cache import age


if TYPE_CHECKING:
    from gptimage.store import Filters, Page, Record, Stats, Store

_FILTERS: Final = ("since", "until", "model", "tag", "operation", "format", "pinned")


def open_store(args: argparse.Namespace) -> Store:
    """The store the user named, or his own."""
    from gptimage.store import Store, default_folder

    where = args.store or os.environ.get("GPTIMAGE_STORE") or default_folder()
    if "://" in str(where):
        from gptimage.store.object_blobs import ObjectBlobs

        return Store(ObjectBlobs.from_url(str(where)))
    return Store(where)


def run_history(args: argparse.Namespace) -> int:
    """Print a page of pictures."""
    with open_store(args) as store:
        page = store.history(args.limit, cursor=args.cursor, **filters(args))
    return _print_page(page, as_json=args.json)


def run_search(args: argparse.Namespace) -> int:
    """Print the pictures that were found."""
    with open_store(args) as store:
        page = store.search(
            args.text, args.limit, rank=args.rank, cursor=args.cursor, **filters(args)
        )
    return _print_page(page, as_json=args.json)


def run_show(args: argparse.Namespace) -> int:
    """Print everything known of a picture, and its relations."""
    with open_store(args) as store:
        record, lineage = store.get(args.id), store.lineage(args.id)
    document = {
        **document_of(record),
        "ancestors": [each.id for each in lineage.ancestors],
        "descendants": [each.id for each in lineage.descendants],
    }
    if args.json:
        print(json.dumps(document))
        return 0
    for name, value in document.items():
        if value not in (None, [], {}, ""):
            text = value if isinstance(value, str) else json.dumps(value)
            print(printable(f"{name:<20}{text}"))
    return 0


def run_open(args: argparse.Namespace) -> int:
    """Show a picture with the program the system has for it, and print where it is."""
    with open_store(args) as store:
        path = store.get(args.id).path or _download(store, args.id)
    print(json.dumps({"path": str(path)}) if args.json else path)
    if not args.print and not _show(path):
        print("gptimage: no program to show it with was found", file=sys.stderr)
    return 0


def run_stats(args: argparse.Namespace) -> int:
    """Print what is in the store."""
    with open_store(args) as store:
        name, stats = store.name, store.stats()
    document = {"store": name, **_stats(stats)}
    if args.json:
        print(json.dumps(document))
        return 0
    for key, value in document.items():
        print(f"{key:<14}{value if isinstance(value, str) else json.dumps(value)}")
    return 0


def moment(text: str) -> datetime:
    """A time such as ``2026-11-20`` or ``2026-11-20T12:00``, or an age such as ``7d``.

    Raises:
        argparse.ArgumentTypeError: It is neither.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return utc_now() - age(text)
    except (argparse.ArgumentTypeError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"write a time as 2026-11-20, 2026-11-20T12:00 or 7d, not {text!r}"
        ) from error


def filters(args: argparse.Namespace) -> Filters:
    """The filters that were given."""
    return cast("Filters", {name: getattr(args, name) for name in _FILTERS})


def document_of(record: Record) -> dict[str, object]:
    """A record for other programs: its sidecar, and where the file is."""
    return {**record.to_json(), "path": record.path and str(record.path), "key": record.key}


def line(record: Record) -> str:
    """A record for people, on one line."""
    pixels = "?" if record.size is None else f"{record.width}x{record.height}"
    cost = "-" if record.share is None else str(record.share)
    marks = " ".join([*(["pinned"] if record.pinned else []), *(f"#{tag}" for tag in record.tags)])
    prompt = " ".join(record.prompt.split())
    prompt = prompt if len(prompt) <= 60 else prompt[:59] + "…"
    local = record.created.astimezone()
    shown = f"{record.id}  {local:%Y-%m-%d %H:%M}  {pixels:>9} {record.format:<4} {cost:>8}  "
    return printable(f"{shown}{prompt}{'  ' + marks if marks else ''}")


def _print_page(page: Page, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"records": [document_of(each) for each in page], "next": page.next}))
        return 0
    for record in page:
        print(line(record))
    if page.next:
        print(f"more: --cursor {page.next}", file=sys.stderr)
    return 0


def _download(store: Store, id: str) -> Path:
    """A copy of a picture that is in a bucket."""
    import tempfile

    return store.open(id).save(Path(tempfile.gettempdir()) / f"{id}.png")


def _show(path: Path) -> bool:
    """Start the system's picture viewer; whether there is one."""
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606  # the user asked to see this file
        return True
    viewer = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if viewer is None:
        return False
    # Not waited for: a viewer stays open as long as somebody looks.
    quiet = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_WRONLY, 0) for n in (1, 2)]
    os.posix_spawn(viewer, [viewer, str(path)], os.environ, file_actions=quiet)
    return True


def _stats(stats: Stats) -> dict[str, object]:
    return {
        "pictures": stats.pictures,
        "bytes": stats.bytes,
        "inputs": stats.inputs,
        "input_bytes": stats.input_bytes,
        "cost_usd": str(stats.cost.usd),
        "unknown_cost": stats.unknown_cost,
        "pinned": stats.pinned,
        "oldest": stats.oldest and stats.oldest.isoformat(),
        "newest": stats.newest and stats.newest.isoformat(),
        "by_model": dict(stats.by_model),
        "by_operation": dict(stats.by_operation),
        "by_format": dict(stats.by_format),
    }


def printable(text: str) -> str:
    """Without what could move a terminal's cursor: prompts may come from anybody."""
    return "".join(char if char.isprintable() else "�" for char in text)
