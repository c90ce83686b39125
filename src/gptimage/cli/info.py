"""``gptimage spend``, ``cache``, ``models``, ``sandbox`` and ``config``: need no key."""

from __future__ import annotations

import argparse
import contextlib
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptimage._internal.clock import utc_now
from gptimage._internal.text import reason
from gptimage.cli.console import NotDeliveredError
from gptimage.cli.json_output import document, print_json, show
from gptimage.cli.options import check_cache_folder, is_option, opening, read_settings
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage import ModelSpec
    from gptimage.budget.ledger import Spending, Summary
    from gptimage.cache.base import CacheStats
    from gptimage.cache.disk import DiskCache


def run_spend(args: argparse.Namespace) -> int:
    """Print the summary."""
    from gptimage.budget.ledger import Ledger

    config = read_settings({"ledger": args.ledger, "sandbox": args.sandbox})
    where = config.place("ledger")
    if where is None:
        raise InvalidRequestError(
            f"the ledger is off ({config.origin('ledger')}): name one with --ledger",
            field="ledger",
            allowed="the file of a ledger",
        )
    path = Path(where)
    offline = path.with_name(f"sandbox-{path.name}")
    if not config.sandbox and args.ledger is None and offline.is_file():
        print(f"note: calls of the sandbox are in {offline} (add --sandbox)", file=sys.stderr)
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}: nothing was entered there yet")
    since = _moment(args.since)
    option = is_option("ledger", config)
    with opening("ledger", option=option), contextlib.closing(Ledger(path)) as ledger:
        found = ledger.summary(args.by, since=since)
    groups = [document(row) for row in found.groups]
    whole = {"by": found.by, "groups": groups, "total": document(found.total)}
    unpaid = config.sandbox and args.ledger is None
    notes = ["the sandbox's ledger: nothing of it was billed"] if unpaid else []
    return show(args, whole, _table(found), *notes)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"--since {text!r} is no time: write 2026-11-20 or 2026-11-20T08:00",
            field="since",
            value=text,
            allowed="a date or a time",
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _table(found: Summary) -> str:
    head = f"{found.by:<34}{'calls':>8}{'cached':>8}{'images':>8}{'cost':>12}{'reserved':>12}"
    lines = [head, *map(_spend_line, [*found.groups, found.total]), *_notes(found.total)]
    return "\n".join(lines)


def _spend_line(row: Spending) -> str:
    counts = f"{row.calls:>8}{row.cached:>8}{row.images:>8}"
    return f"{row.name:<34}{counts}{f'${row.cost:.4f}':>12}{f'${row.reserved:.4f}':>12}"


def _notes(total: Spending) -> list[str]:
    """Return what the sums do not say."""
    notes = {
        "may have been billed, though no usable response came; see `reserved`": total.unknown,
        "were answered, but what they cost is not known; see `reserved`": total.unpriced,
        "are not answered yet; see `reserved`": total.waiting,
        "failed and cost nothing": total.failed,
    }
    return [f"{count} {what}" for what, count in notes.items() if count]


# ``gptimage cache``: what the cache on disk holds and has saved, and how to empty it.


def run_stats(args: argparse.Namespace) -> int:
    """Print the statistics."""
    cache = _open(args)
    found = cache.stats()
    cache.close()
    known = {"path": str(cache.path), **document(found), "hit_rate": found.hit_rate}
    del known["tiers"]  # a cache on disk has none
    return show(args, known, _text(found, cache))


def run_clear(args: argparse.Namespace) -> int:
    """Forget responses and print how many."""
    cache = _open(args)
    cleared = cache.clear(args.older_than)
    cache.close()
    text = f"forgot {cleared} {'response' if cleared == 1 else 'responses'} in {cache.path}"
    return show(args, {"path": str(cache.path), "cleared": cleared}, text)


def _open(args: argparse.Namespace) -> DiskCache:
    from gptimage.cache import Cache

    # A cache that is off has a usual place, too: it may have been on before.
    config = read_settings({"cache": args.cache})
    with opening("cache", option=is_option("cache", config)):
        check_cache_folder(config)
        return Cache.disk(config.place("cache"), max_bytes=None)


def _text(found: CacheStats, cache: DiskCache) -> str:
    from gptimage.models.pricing import format_usd

    rate = "" if found.hit_rate is None else f" ({found.hit_rate:.0%} of all calls)"
    rows = {
        "folder": str(cache.path),
        "replies": f"{found.entries:,} of {found.bytes:,} bytes together",
        "hits": f"{found.hits:,}{rate}",
        "misses": f"{found.misses:,}",
        "evicted": f"{found.evictions:,}",
        "saved": format_usd(found.saved_usd),
    }
    return "\n".join(f"{name:<9}{value}" for name, value in rows.items())


# ``gptimage models``: what each model draws, costs, and until when it is served.


def run_models(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    from gptimage import Models
    from gptimage.providers import provider

    catalogue = Models.load()
    default = catalogue.default
    if args.provider is not None:
        service = provider(args.provider)
        catalogue = catalogue.for_provider(service.rows)
        default = service.default_model or catalogue.default
    today = utc_now().date()
    shown = [spec for spec in catalogue if args.all or spec.state(today) != "shut_down"]
    if args.json:
        about = {
            "default": default,
            "checked": catalogue.checked.isoformat(),
            "models": [_model_document(spec, today) for spec in shown],
        }
        print_json(about)
        return 0
    if not len(catalogue):
        print(f"nothing is known of the models of {args.provider}; any name is sent as it is")
        return 0
    for spec in shown:
        print(_model_line(spec, today, default=default))
    tiers = any(spec.tier_tokens for spec in shown)
    what = "one image of each tier, without" if tiers else "one 1024x1024 image, without"
    print(f"\nprices: {what} the prompt; checked {catalogue.checked}")
    return 0


def _model_line(spec: ModelSpec, today: date, *, default: str) -> str:
    named = {name: spec.output_tokens(1024, 1024, name) for name in spec.qualities}
    prices = " ".join(
        _priced(spec, name, tokens, today) for name, tokens in (named or spec.tier_tokens).items()
    )
    state = "default" if spec.id == default else _state(spec, today)
    return f"{spec.id:<34}{state:<24}{prices}"


def _state(spec: ModelSpec, today: date) -> str:
    names = {"live": "", "deprecated": "shuts down", "shut_down": "shut down"}
    return f"{names[spec.state(today)]} {spec.shutdown or ''}".strip()


def _priced(spec: ModelSpec, name: str, tokens: int | None, today: date) -> str:
    """Return a quality, or the tier of a size, with what one image of it costs."""
    price = spec.price(today)
    if tokens is None or price is None:
        return name
    return f"{name} ${tokens * price.image_output / 1_000_000:.3f}"


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


def run_sandbox(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from gptimage.sandbox import Sandbox, serve

    def announce(base_url: str) -> None:
        print(f"sandbox at {base_url} (any key; Ctrl-C ends it)", flush=True)

    settings: dict[str, Any] = {
        "provider": args.provider,
        "latency": args.latency,
        "previews": args.previews,
        "drift": dict(args.drift),
        "failures": {name: rate for rates in args.fail for name, rate in rates.items()},
        "seed": args.seed,
        "draw": args.draw,
    }
    if args.record is None:
        sandbox = Sandbox(**settings)
    else:
        from gptimage.testing import RecordingSandbox

        sandbox = RecordingSandbox(args.record, **settings)
    try:
        serve(host=args.host, port=args.port, sandbox=sandbox, on_ready=announce)
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


# ``gptimage config``: the settings that apply, and where each one comes from; never the key.


def run_config(args: argparse.Namespace) -> int:
    """Print every setting."""
    from gptimage.config import load, user_file

    config = load()
    rows = list(config.rows())
    if args.json:
        settings = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        places = {"file": config.file, "project": config.project}
        named = {name: place and str(place) for name, place in places.items()}
        print_json({**named, "settings": settings, "notes": list(config.notes)})
        return 0
    for name, value, origin in rows:
        shown = "-" if value is None else str(value).lower() if value in {True, False} else value
        print(f"{name:<18}{shown!s:<40} {origin}")
    for note in config.notes:
        print(f"note: {note}", file=sys.stderr)
    missing = f"none; {user_file()} would be read" if config.file is None else config.file
    print(f"\nyour file: {missing}\nthe project's file: {config.project or 'none'}")
    print("the MCP server reads your file, too: `gptimage-mcp --check` shows its settings")
    return 0
