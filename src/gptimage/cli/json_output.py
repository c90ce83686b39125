"""The JSON that every command prints with ``--json``: one shape, one set of names.

Ids are in ``ids``, files in ``files``, amounts in USD are text, and indexes start at 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import AttrsInstance, fields, frozen

from gptimage.errors import error_to_dict
from gptimage.wording import for_command_line


if TYPE_CHECKING:
    import argparse

    from gptimage import Cost, Estimate, Image, Record, Result


@frozen(kw_only=True)
class Written:
    """One file that was written.

    Attributes:
        kind: ``image``, ``preview``, or ``original`` for what was drawn before a crop.
        path: Where it is.
        image: What is in it.
    """

    kind: str
    path: Path
    image: Image


def print_json(document: object) -> None:
    """Print one object on one line, at once: another program may be waiting for it."""
    print(json.dumps(document), flush=True)


def show(args: argparse.Namespace, document: object, *lines: str) -> int:
    """Print a document where ``--json`` asks for it, else lines for people; return exit code 0."""
    if args.json:
        print_json(document)
    else:
        for line in lines:
            print(line)
    return 0


def usd(amount: Cost | Estimate | Decimal | None) -> str | None:
    """Return an amount as text, which no program rounds; None when it is unknown."""
    if amount is None:
        return None
    return str(amount if isinstance(amount, Decimal) else amount.usd)


def document(value: AttrsInstance) -> dict[str, Any]:
    """Describe a report by its fields; amounts of money end in ``_usd``."""
    from gptimage._internal.converter import to_json
    from gptimage.models.pricing import Cost

    found: dict[str, Any] = {}
    for name in (each.name for each in fields(type(value))):
        item = getattr(value, name)
        if isinstance(item, (Cost, Decimal)):
            found[f"{name.removesuffix('_usd')}_usd"] = usd(item)
        else:
            found[name] = to_json(item)
    return found


def file_document(each: Written | Record) -> dict[str, object]:
    """Describe a file."""
    image = each.image if isinstance(each, Written) else each
    return {
        "kind": each.kind if isinstance(each, Written) else "image",
        "path": None if each.path is None else str(each.path),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": each.image.nbytes if isinstance(each, Written) else each.bytes,
    }


def result_document(
    result: Result, files: Iterable[Written | Record], *, index: int = 0, **more: object
) -> dict[str, object]:
    """Describe one call and the files it made.

    Args:
        result: What came back.
        files: What was written.
        index: Which call of the command it was, from 0.
        **more: Further fields of the command.
    """
    known = result.to_dict()
    return {
        "index": index,
        "files": [file_document(each) for each in files],
        **{name: known[name] for name in _SHOWN},
        **more,
    }


_SHOWN: Final = (
    "ids",
    "model",
    "cost_usd",
    "usage",
    "warnings",
    "request_id",
    "cached",
    "sandbox",
    "requested",
    "effective",
    "drift",
)
"""What the command line prints of `Result.to_dict`: the images are in its files."""


def error_document(error: BaseException, code: int) -> dict[str, Any]:
    """Describe an error; what it may have cost is there where that is known."""
    plain = error_to_dict(error)
    return {**plain, "message": for_command_line(str(error)), "exit_code": code}
