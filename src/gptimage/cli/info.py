"""``gptimage spend``: what a ledger says was spent. Sends nothing, needs no key."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptimage.commands._shape import Subparsers
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.spending import Spending, Summary


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "spend", help="what a ledger says was spent", description=__doc__
    )
    parser.add_argument("--ledger", required=True, metavar="PATH", help="the ledger's file")
    parser.add_argument(
        "--by",
        choices=("model", "day", "operation"),
        default="model",
        help="how to group the calls",
    )
    parser.add_argument(
        "--since", metavar="TIME", help="only calls from then on: 2026-11-20, or with a time (UTC)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    from gptimage.budget.ledger import Ledger

    path = Path(args.ledger)
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}")
    ledger = Ledger(path)
    try:
        found = ledger.summary(args.by, since=_moment(args.since))
    finally:
        ledger.close()
    print(json.dumps(_document(found)) if args.json else _table(found))
    return 0


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"--since {text!r} is no time: write 2026-11-20 or 2026-11-20T08:00",
            field="since",
            value=text,
            allowed="a date or a time",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _table(found: Summary) -> str:
    head = f"{found.by:<34}{'calls':>8}{'cached':>8}{'images':>8}{'cost':>12}{'held':>12}"
    lines = [head, *map(_line, [*found.groups, found.total]), *_notes(found.total)]
    return "\n".join(lines)


def _line(row: Spending) -> str:
    counts = f"{row.calls:>8}{row.cached:>8}{row.images:>8}"
    return f"{row.name:<34}{counts}{f'${row.cost:.4f}':>12}{f'${row.held:.4f}':>12}"


def _notes(total: Spending) -> list[str]:
    """What the sums do not say."""
    told = {
        "may have been billed, though no usable answer came; see `held`": total.unknown,
        "were answered, but what they cost is not known; see `held`": total.unpriced,
        "are not answered yet; see `held`": total.waiting,
        "failed and cost nothing": total.failed,
    }
    return [f"{count} {what}" for what, count in told.items() if count]


def _document(found: Summary) -> dict[str, Any]:
    groups = [_values(row) for row in found.groups]
    return {"by": found.by, "groups": groups, "total": _values(found.total)}


def _values(row: Spending) -> dict[str, Any]:
    return {
        "name": row.name,
        "calls": row.calls,
        "cached": row.cached,
        "waiting": row.waiting,
        "failed": row.failed,
        "unknown": row.unknown,
        "unpriced": row.unpriced,
        "images": row.images,
        "cost_usd": float(row.cost),
        "held_usd": float(row.held),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }
