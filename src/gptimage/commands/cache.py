"""``gptimage cache``: what the cache on disk holds and has saved, and how to empty it."""

from __future__ import annotations

import argparse
import json
import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gptimage.commands._shape import Subparsers


if TYPE_CHECKING:
    from gptimage.cache.disk import DiskCache
    from gptimage.cached import CacheStats


_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-commands."""
    parser = subparsers.add_parser(
        "cache", help="look into the cache on disk, or empty it", description=__doc__
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--cache", metavar="DIR", help="the folder; else GPTIMAGE_CACHE, else the user's own"
    )
    common.add_argument("--json", action="store_true", help="one JSON object on standard output")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    stats = actions.add_parser("stats", parents=[common], help="entries, bytes, hits, savings")
    stats.set_defaults(func=run_stats)
    clear = actions.add_parser("clear", parents=[common], help="forget replies; counts stay")
    clear.add_argument(
        "--older-than",
        type=age,
        metavar="AGE",
        help="only those kept longer ago: 90s, 30m, 12h, 7d",
    )
    clear.set_defaults(func=run_clear)


def run_stats(args: argparse.Namespace) -> int:
    """Print the statistics."""
    cache = _open(args)
    found = cache.stats()
    cache.close()
    if args.json:
        print(json.dumps({"path": str(cache.path), **_document(found)}))
    else:
        print(_text(found, cache))
    return 0


def run_clear(args: argparse.Namespace) -> int:
    """Forget replies and print how many."""
    cache = _open(args)
    cleared = cache.clear(args.older_than)
    cache.close()
    if args.json:
        print(json.dumps({"path": str(cache.path), "cleared": cleared}))
    else:
        print(f"forgot {cleared} {'reply' if cleared == 1 else 'replies'} in {cache.path}")
    return 0


def age(text: str) -> timedelta:
    """A length of time such as ``12h``; units are s, m, h, d and w.

    Raises:
        argparse.ArgumentTypeError: It is written otherwise.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip(), re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"write an age as 90s, 30m, 12h or 7d, not {text!r}")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError as error:
        raise argparse.ArgumentTypeError(f"nothing is as old as {text}") from error


def _open(args: argparse.Namespace) -> DiskCache:
    from gptimage.cache import Cache

    return Cache.disk(args.cache or os.environ.get("GPTIMAGE_CACHE") or None, max_bytes=None)


def _document(found: CacheStats) -> dict[str, object]:
    return {
        "entries": found.entries,
        "bytes": found.bytes,
        "hits": found.hits,
        "misses": found.misses,
        "hit_rate": found.hit_rate,
        "evictions": found.evictions,
        "saved_usd": str(found.saved_usd),
    }


def _text(found: CacheStats, cache: DiskCache) -> str:
    rate = "" if found.hit_rate is None else f" ({found.hit_rate:.0%} of all calls)"
    rows = {
        "folder": str(cache.path),
        "replies": f"{found.entries:,} of {found.bytes:,} bytes together",
        "hits": f"{found.hits:,}{rate}",
        "misses": f"{found.misses:,}",
        "evicted": f"{found.evictions:,}",
        "saved": f"${found.saved_usd}",
    }
    return "\n".join(f"{name:<9}{value}" for name, value in rows.items())
