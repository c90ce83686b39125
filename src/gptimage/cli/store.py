"""``gptimage store``: history, search and the other commands for the images that are saved.

``--store`` names the folder or bucket; else the setting ``store`` (see `gptimage config`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from gptimage.cli.json_output import document, show
from gptimage.cli.options import is_option, opening, read_settings
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.store import Filters, Page, Problem, Record, Store


# The commands that only look into a store: history, search, show, open, stats.

_INDEX: Final = "index.sqlite"
_IMAGES: Final = "images"
"""A folder with one of these is a store; the index can be made anew."""

_FILTER_NAMES: Final = ("since", "until", "model", "tag", "operation", "format", "pinned")


def open_store(args: argparse.Namespace, *, must_exist: bool = True) -> Store:
    """Open the store of ``--store``, or the one that is configured.

    Args:
        args: The arguments.
        must_exist: Whether it must be there already: a misspelt folder is not to be made.

    Raises:
        InvalidRequestError: There is none.
    """
    from gptimage.engine.from_config import open_store as open_configured

    config = read_settings({"store": args.store})
    where = config.place("store")
    if where is None:
        raise InvalidRequestError(
            f"the store is off ({config.origin('store')}): name one with --store",
            field="store",
            allowed="a folder, or s3://bucket/prefix",
        )
    folder = Path(where)
    if (
        must_exist
        and "://" not in where
        and not any((folder / name).exists() for name in (_INDEX, _IMAGES))
    ):
        raise InvalidRequestError(
            f"there is no store in {where}: nothing was saved there yet, or it is another folder, "
            "which --store or GPTIMAGE_STORE names",
            field="store",
            value=where,
            allowed="the folder of a store",
        )
    with opening("store", option=is_option("store", config)):
        return cast("Store", open_configured(config))  # it is on, see above


def run_history(args: argparse.Namespace) -> int:
    """Print a page of images."""
    with open_store(args) as store:
        page = store.history(args.limit, cursor=args.cursor, **filters(args))
    return _print_page(args, page)


def run_search(args: argparse.Namespace) -> int:
    """Print the images that were found."""
    with open_store(args) as store:
        page = store.search(
            args.text, args.limit, rank=args.rank, cursor=args.cursor, **filters(args)
        )
    return _print_page(args, page)


def run_show(args: argparse.Namespace) -> int:
    """Print everything known of an image, and its relations."""
    with open_store(args) as store:
        record, lineage = store.get(args.id), store.lineage(args.id)
    about = {
        **record.to_dict(),
        "ancestors": [each.id for each in lineage.ancestors],
        "descendants": [each.id for each in lineage.descendants],
    }
    lines = [
        printable(f"{name:<20}{_shown(value)}")
        for name, value in about.items()
        if value not in (None, [], {}, "") and name != "effective"
    ]
    if record.effective:
        lines.append(f"\n{'':<20}{'requested':<24}effective")
    for name, value in record.effective.items():
        asked = _shown(record.requested[name])
        lines.append(printable(f"{name:<20}{asked:<24}{_shown(value)}"))
    return show(args, about, *lines)


def _shown(value: object) -> str:
    """Return a value for people; a dash for what was left open or is not known."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def run_similar(args: argparse.Namespace) -> int:
    """Print the images that look like one, the nearest first."""
    from gptimage.store import SIMILAR

    distance = SIMILAR if args.distance is None else args.distance
    with open_store(args) as store:
        matches = store.similar(args.image, args.limit, distance=distance)
        unhashed = store.stats().unhashed
    found = [{**each.record.to_dict(), "distance": each.distance} for each in matches]
    lines = [f"{each.distance:>2}  {line(each.record)}" for each in matches]
    return _show_hashed(args, {"records": found}, lines, unhashed)


def run_duplicates(args: argparse.Namespace) -> int:
    """Print the groups of images that are copies of each other."""
    from gptimage.store import DUPLICATE

    distance = DUPLICATE if args.distance is None else args.distance
    with open_store(args) as store:
        groups = list(store.duplicates(distance=distance))
        unhashed = store.stats().unhashed
    found = [[each.to_dict() for each in group] for group in groups]
    text = "\n\n".join("\n".join(map(line, group)) for group in groups) or "no duplicates"
    return _show_hashed(args, {"groups": found}, [text], unhashed)


def _show_hashed(
    args: argparse.Namespace, document: Mapping[str, object], lines: Iterable[str], count: int
) -> int:
    """Print what was found by perceptual hashes, and how many images have none."""
    show(args, {**document, "unhashed": count}, *lines)
    if count and not args.json:
        how = "repeat this for the next ones, or read all with `gptimage store reindex --hashes`"
        print(f"gptimage: {count} older images were not compared yet: {how}", file=sys.stderr)
    return 0


def run_open(args: argparse.Namespace) -> int:
    """Show an image with the program the system has for it, and print where it is."""
    with open_store(args) as store:
        path = store.get(args.id).path or _download(store, args.id)
    show(args, {"ids": [args.id], "path": str(path)}, str(path))
    if not args.print and not _show(path):
        print("gptimage: no program to show it with was found", file=sys.stderr)
    return 0


def run_stats(args: argparse.Namespace) -> int:
    """Print what is in the store."""
    with open_store(args) as store:
        name, stats = store.location, store.stats()
    found = {"store": name, **document(stats)}
    rows = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()
    }
    return show(args, found, *(f"{key:<14}{value}" for key, value in rows.items()))


def filters(args: argparse.Namespace) -> Filters:
    """Return the filters that were given."""
    return cast("Filters", {name: getattr(args, name) for name in _FILTER_NAMES})


def line(record: Record) -> str:
    """Return a record for people, on one line."""
    pixels = "?" if record.size is None else f"{record.width}x{record.height}"
    cost = "-" if record.cost_share is None else str(record.cost_share)
    flags = [name for name in ("sandbox", "pinned") if getattr(record, name)]
    marks = " ".join([*flags, *(f"#{tag}" for tag in record.tags)])
    prompt = " ".join(record.prompt.split())
    prompt = prompt if len(prompt) <= 60 else prompt[:59] + "…"
    local = record.created.astimezone()
    shown = f"{record.id}  {local:%Y-%m-%d %H:%M}  {pixels:>9} {record.format:<4} {cost:>8}  "
    return printable(f"{shown}{prompt}{'  ' + marks if marks else ''}")


def _print_page(args: argparse.Namespace, page: Page) -> int:
    document = {"records": [each.to_dict() for each in page], "next": page.next}
    show(args, document, *map(line, page))
    if page.next and not args.json:
        print(f"more: --cursor {page.next}", file=sys.stderr)
    return 0


def _download(store: Store, id: str) -> Path:
    """Save a copy of an image that is in a bucket."""
    import tempfile

    return store.open(id).save(Path(tempfile.gettempdir()) / f"{id}.png")


def _show(path: Path) -> bool:
    """Start the system's image viewer; whether there is one."""
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


def printable(text: str) -> str:
    """Replace what could move a terminal's cursor: prompts may come from anybody."""
    return "".join(char if char.isprintable() else "�" for char in text)


# The commands that change a store: tag, pin, prune, verify, reindex, recover, export.


def run_tag(args: argparse.Namespace) -> int:
    """Change the tags of an image."""
    with open_store(args) as store:
        record = (store.untag if args.remove else store.tag)(args.id, *args.tags)
    return _print_record(args, record)


def run_alt(args: argparse.Namespace) -> int:
    """Change the text alternative of an image, or print it."""
    if args.remove and args.text is not None:
        raise InvalidRequestError("--remove takes the text away: leave TEXT out", field="text")
    with open_store(args) as store:
        if args.remove or args.text is not None:
            record = store.set_alt(args.id, None if args.remove else args.text)
        else:
            record = store.get(args.id)
    return show(args, record.to_dict(), "(none)" if record.alt is None else printable(record.alt))


def run_pin(args: argparse.Namespace) -> int:
    """Pin an image, or unpin it."""
    with open_store(args) as store:
        record = (store.unpin if args.remove else store.pin)(args.id)
    return _print_record(args, record)


def run_prune(args: argparse.Namespace) -> int:
    """Remove what is not worth keeping, and say what that was."""
    from gptimage.store import Retention

    keep = Retention(max_age=args.max_age, max_bytes=args.max_bytes, max_count=args.max_count)
    with open_store(args) as store:
        report = store.prune(keep, dry_run=args.dry_run)
    verb = "would remove" if report.dry_run else "removed"
    text = f"{verb} {len(report.removed)} images, {report.bytes:,} bytes; {report.kept} stay"
    show(args, document(report), text)
    for id, reason in report.skipped:
        print(f"gptimage: {id} was not removed: {reason}", file=sys.stderr)
    return 1 if report.skipped else 0


def run_verify(args: argparse.Namespace) -> int:
    """Print every problem; the exit code is 1 when there is one."""
    with open_store(args) as store:
        report = store.verify(hashes=not args.quick, repair=args.repair)
    lines = [_line("repaired", each) for each in report.repaired]
    lines += [_line("", each) for each in report.problems]
    lines.append(f"images: {report.checked}; {'clean' if report.clean else 'not clean'}")
    show(args, {**document(report), "clean": report.clean}, *lines)
    return 0 if report.clean else 1


def run_reindex(args: argparse.Namespace) -> int:
    """Build the index anew."""
    with open_store(args) as store:
        count = store.reindex(hashes=args.hashes)
        unhashed = store.stats().unhashed
    return show(args, {"images": count, "unhashed": unhashed}, f"{count} images")


def run_recover(args: argparse.Namespace) -> int:
    """Save what waits in the user's state folder."""
    older_than = timedelta(hours=1) if args.older_than is None else args.older_than
    with open_store(args, must_exist=False) as store:
        report = store.recover(older_than=older_than, every=args.all)
    saved = [each.to_dict() for each in report.saved]
    known = {"known": report.known, "failed": report.failed, "others": dict(report.others)}
    lines = [*map(line, report.saved)]
    lines.append(f"saved {len(report.saved)} images; {report.known} were there already")
    for name, count in report.others.items():
        where = f"for the store {name}: recover with --store {name}, or --all to save them here"
        lines.append(f"{count} more wait {where}")
    show(args, {"saved": saved, **known}, *lines)
    for path, reason in report.failed:
        print(f"gptimage: nothing could be saved from {path}: {reason}", file=sys.stderr)
    return 1 if report.failed else 0


def run_export(args: argparse.Namespace) -> int:
    """Copy images and print their paths."""
    naming = {"naming": args.naming} if args.naming else {}
    with open_store(args) as store:
        report = store.export(args.folder, sidecars=not args.no_sidecars, **naming, **filters(args))
    paths = [str(path) for path in report.paths]
    show(args, {"paths": paths, "missing": list(report.missing)}, *paths)
    for id in report.missing:
        print(f"gptimage: the file of {id} is gone", file=sys.stderr)
    return 1 if report.missing else 0


def _print_record(args: argparse.Namespace, record: Record) -> int:
    return show(args, record.to_dict(), line(record))


def _line(prefix: str, problem: Problem) -> str:
    text = f"{problem.kind}: {problem.key}" + (f" ({problem.detail})" if problem.detail else "")
    text = f"{prefix} {text}".strip()
    return text.encode("utf-8", "replace").decode()
