"""``gptimage history`` and the other commands for the pictures that are kept.

``--store`` names the folder or bucket; else ``GPTIMAGE_STORE``, else ``gptimage`` in your
pictures folder.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from gptimage.commands import _store_care as care
from gptimage.commands import _store_look as look
from gptimage.commands._shape import Subparsers
from gptimage.commands.cache import age


_FILTERS: Final = (
    ("--since", "saved at this time or later: 2026-11-20, 2026-11-20T12:00, or an age such as 7d"),
    ("--until", "saved before this time"),
    ("--model", "made by exactly this model"),
    ("--tag", "with this tag"),
    ("--operation", "generate, edit or recovered"),
    ("--format", "with this file format"),
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-commands."""
    history = _add(subparsers, "history", look.run_history, "pictures, newest first")
    _add_page(history)
    search = _add(subparsers, "search", look.run_search, "pictures by the words of their prompts")
    search.add_argument("text", help='all these words; "red fox" is a phrase, light* begins so')
    search.add_argument("--rank", choices=("newest", "relevance"), default="newest")
    _add_page(search)
    _add_id(_add(subparsers, "show", look.run_show, "everything known of one picture"))
    opening = _add(subparsers, "open", look.run_open, "show a picture in a window")
    _add_id(opening)
    opening.add_argument("--print", action="store_true", help="only print where the file is")
    _add(subparsers, "stats", look.run_stats, "how many pictures, bytes and dollars")
    _add_care(subparsers)


def _add_care(subparsers: Subparsers) -> None:
    tag = _add(subparsers, "tag", care.run_tag, "add words to a picture, or take them away")
    _add_id(tag)
    tag.add_argument("tags", nargs="+", metavar="TAG")
    tag.add_argument("--remove", action="store_true", help="take these words away")
    pin = _add(subparsers, "pin", care.run_pin, "keep a picture whatever prune would do")
    _add_id(pin)
    pin.add_argument("--remove", action="store_true", help="unpin it")
    _add_prune(_add(subparsers, "prune", care.run_prune, "remove old pictures"))
    verify = _add(subparsers, "verify", care.run_verify, "look at every file and every row")
    verify.add_argument("--quick", action="store_true", help="compare lengths, not every byte")
    verify.add_argument("--repair", action="store_true", help="put right what loses nothing")
    _add(subparsers, "reindex", care.run_reindex, "build the index from the sidecars")
    rescue = _add(subparsers, "rescue", care.run_rescue, "save what could not be saved before")
    rescue.add_argument(
        "--older-than",
        type=age,
        metavar="AGE",
        help="also take replies this old whose process seems alive (default 1h)",
    )
    rescue.add_argument("--all", action="store_true", help="also take what belongs to other stores")
    export = _add(subparsers, "export", care.run_export, "copy pictures under names for people")
    export.add_argument("folder", help="where to; made when missing")
    export.add_argument("--naming", metavar="TEMPLATE", help="such as '{prompt:slug}-{id}'")
    export.add_argument("--no-sidecars", action="store_true", help="only the pictures")
    _add_filters(export)


def _add_prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-age", type=age, metavar="AGE", help="remove older ones: 30d, 12h")
    parser.add_argument("--max-bytes", type=care.size, metavar="SIZE", help="10GB, 500MB or bytes")
    parser.add_argument("--max-count", type=int, metavar="N", help="keep so many of the newest")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def _add(subparsers: Subparsers, name: str, run: Any, help: str) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.add_argument("--store", metavar="DIR", help="the folder, or s3://bucket/prefix")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(func=run)
    return parser


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as history prints it")


def _add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--limit", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--cursor", help="go on where the page before ended")
    _add_filters(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    for name, help in _FILTERS:
        kind = look.moment if name in {"--since", "--until"} else str
        parser.add_argument(name, type=kind, help=help)
    parser.add_argument("--pinned", action="store_true", default=None, help="only pinned ones")
