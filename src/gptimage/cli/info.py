"""``gptimage spend``: what a ledger says was spent. Sends nothing, needs no key."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage._internal.clock import utc_now
from gptimage.cli.console import NotDeliveredError, reason
from gptimage.cli.options import Subparsers
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage import ModelSpec
    from gptimage.budget.ledger import Spending, Summary
    from gptimage.cache.disk import DiskCache
    from gptimage.cache.protocol import CacheStats


def add_spend(subparsers: Subparsers) -> None:
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
    parser.set_defaults(func=run_spend)


def run_spend(args: argparse.Namespace) -> int:
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
    print(json.dumps(_spend_document(found)) if args.json else _table(found))
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
    lines = [head, *map(_spend_line, [*found.groups, found.total]), *_notes(found.total)]
    return "\n".join(lines)


def _spend_line(row: Spending) -> str:
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


def _spend_document(found: Summary) -> dict[str, Any]:
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


# ``gptimage cache``: what the cache on disk holds and has saved, and how to empty it.

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_cache(subparsers: Subparsers) -> None:
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
        print(json.dumps({"path": str(cache.path), **_cache_document(found)}))
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


def _cache_document(found: CacheStats) -> dict[str, object]:
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


# ``gptimage models``: what each model draws, costs, and until when it answers.


def add_models(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("models", help="the catalogue of models", description=__doc__)
    parser.add_argument("--all", action="store_true", help="include models that are shut down")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(func=run_models)


def run_models(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    from gptimage import Models

    catalogue = Models.load()
    today = utc_now().date()
    shown = [spec for spec in catalogue if args.all or spec.state(today) != "shut_down"]
    if args.json:
        document = {
            "default": catalogue.default,
            "checked": catalogue.checked.isoformat(),
            "models": [_model_document(spec, today) for spec in shown],
        }
        print(json.dumps(document))
        return 0
    for spec in shown:
        print(_model_line(spec, today, default=catalogue.default))
    print(f"\nprices: one 1024x1024 picture, without the prompt; checked {catalogue.checked}")
    return 0


def _model_line(spec: ModelSpec, today: date, *, default: str) -> str:
    qualities = " ".join(_quality(spec, name, today) for name in spec.qualities)
    state = "default" if spec.id == default else _state(spec, today)
    return f"{spec.id:<34}{state:<24}{qualities}"


def _state(spec: ModelSpec, today: date) -> str:
    names = {"live": "", "deprecated": "shuts down", "shut_down": "shut down"}
    return f"{names[spec.state(today)]} {spec.shutdown or ''}".strip()


def _quality(spec: ModelSpec, quality: str, today: date) -> str:
    tokens, price = spec.output_tokens(1024, 1024, quality), spec.price(today)
    if tokens is None or price is None:
        return quality
    return f"{quality} ${tokens * price.image_output / 1_000_000:.3f}"


def _model_document(spec: ModelSpec, today: date) -> dict[str, Any]:
    return {
        "id": spec.id,
        "state": spec.state(today),
        "shutdown": spec.shutdown and spec.shutdown.isoformat(),
        "replacements": list(spec.replacements),
        "sizes": str(spec.sizes),
        "qualities": list(spec.qualities),
        "formats": list(spec.formats),
        "transparent": spec.transparent,
        "complexity": spec.complexity,
        "markup": spec.markup,
        "checked": spec.checked.isoformat(),
    }


# ``gptimage sandbox``: the offline service over HTTP, for any OpenAI client in any language.


def add_sandbox(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "sandbox", help="serve the offline service over HTTP", description=__doc__
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=8080, help="port; 0 takes a free one")
    parser.add_argument(
        "--latency", type=_seconds, default=0.0, metavar="SECONDS", help="wait before each answer"
    )
    parser.add_argument(
        "--draw",
        choices=("scene", "plain"),
        default="scene",
        help="plain draws a few flat colours in a tenth of the time (default: scene)",
    )
    parser.set_defaults(func=run_sandbox)


def run_sandbox(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from gptimage.sandbox import Sandbox, serve

    def announce(base_url: str) -> None:
        print(f"sandbox at {base_url} (any key; Ctrl-C ends it)", flush=True)

    try:
        sandbox = Sandbox(latency=args.latency, draw=args.draw)
        serve(args.host, args.port, sandbox, on_ready=announce)
    except KeyboardInterrupt:
        print("sandbox ended", file=sys.stderr)
    except NotDeliveredError:
        raise
    except (OSError, UnicodeError) as error:  # the port is taken, or there is no such address
        raise InvalidRequestError(
            f"cannot listen on {args.host}, port {args.port}: {reason(error)}",
            field="port",
            value=args.port,
            allowed="a free port; 0 takes one",
        ) from error
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"write seconds from 0 to 86400, not {text!r}")
    return seconds
