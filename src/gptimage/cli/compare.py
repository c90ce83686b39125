"""``gptimage compare``: models and qualities on the same prompts, one sheet, and its votes."""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from gptimage._internal.clock import utc_now
from gptimage.cli.json_output import print_json, show, usd
from gptimage.cli.options import configure, open_client, read_settings
from gptimage.cli.output import Target, cost_line, prepare, progress
from gptimage.cli.store import printable
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from gptimage.compare import Comparison
    from gptimage.compare.matrix import Matrix


_RECORD = "record"


def run(args: argparse.Namespace) -> int:
    """Compare, or record the votes of a sheet."""
    if args.set == _RECORD:
        return _record(args)
    if args.votes is not None:
        raise InvalidRequestError("one set at a time; nothing was sent", field="votes")
    from gptimage.checks import named_checks
    from gptimage.compare import read_set
    from gptimage.compare.matrix import Matrix

    title, cases, options = read_set(args.set)
    models, qualities = _names(args.models), _names(args.quality)
    if not models:
        raise InvalidRequestError("name the models: --models a,b; nothing was sent", field="models")
    checks = named_checks(args.check or (), files=True)
    rows = _prices(args, Matrix.of(cases, models, qualities, checks, options))
    if args.dry_run:
        return _dry_run(args, rows)
    config = configure(args)
    if config.place("cache") is None:  # without one, the same image would be paid for again
        args.cache = "on"
        config = configure(args)
    output = Path(args.output or f"{Path(args.set).stem}.html")
    prepare(Target(folder=output.parent, stem=output.stem))
    with open_client(config) as client, progress(f"drawing {_whole(rows)} ..."):
        found = client.compare(
            cases,
            models=models,
            qualities=qualities,
            title=title,
            checks=checks,
            budget=args.usd,
            concurrency=4 if args.concurrency is None else args.concurrency,
            tags=args.tag or (),
            **options,
        )
    path = found.save(output)
    return _report(args, found, path, sandbox=config.sandbox)


def _report(args: argparse.Namespace, found: Comparison, path: Path, *, sandbox: bool) -> int:
    whole = found.to_dict()
    lost = [each for each in found.cells if each.error is not None]
    if args.json:
        print_json({**whole, "sheet": str(path)})
    else:
        for each in found.cells:
            cost = "no image" if each.error else "?" if each.usd is None else f"${each.usd:.4f}"
            failed = ", ".join(check.name for check in each.checks if not check.passed)
            note = f"  failed: {failed}" if failed else ""
            print(printable(f"{each.case.title}  {each.setting}  {cost}{note}"))
        print(f"{path}\n{cost_line(found.paid, sandbox=sandbox)}")
    for each in lost:
        note = f"note: {each.case.title}, {each.setting}: {each.error}"
        print(printable(note), file=sys.stderr)
    return 1 if lost else 0


def _prices(args: argparse.Namespace, matrix: Matrix) -> list[tuple[str, Decimal | None]]:
    """Return what each image may cost at most, with the questions about it."""
    from gptimage import ImageClient
    from gptimage.checks import max_question_cost
    from gptimage.engine.from_config import estimator_arguments

    config = read_settings({"sandbox": True, "provider": args.provider})
    today, chat_model = utc_now().date(), config.text("chat_model")
    rows: list[tuple[str, Decimal | None]] = []
    with ImageClient.sandbox(**estimator_arguments(config)) as client:
        for number, request in enumerate(matrix.requests((), "", None)):
            case, setting = divmod(number, len(matrix.settings))
            name = f"{matrix.cases[case].title}  {matrix.settings[setting]}"
            most = client.max_cost(request.pop("prompt"), **request)
            checks = (*matrix.checks, *matrix.cases[case].checks)
            asked = max_question_cost(checks, 1, today, chat_model)
            rows.append((name, None if most is None or asked is None else most + asked))
    return rows


def _total(rows: Sequence[tuple[str, Decimal | None]]) -> Decimal | None:
    known = [most for _, most in rows if most is not None]
    return sum(known, Decimal(0)) if len(known) == len(rows) else None


def _whole(rows: Sequence[tuple[str, Decimal | None]]) -> str:
    from gptimage.models.pricing import format_usd

    total = _total(rows)
    price = "cost not known beforehand" if total is None else f"at most {format_usd(total)}"
    images = f"{len(rows)} image{'s' * (len(rows) != 1)}"
    return f"{images}, {price}; an image that the cache has costs nothing"


def _dry_run(args: argparse.Namespace, rows: Sequence[tuple[str, Decimal | None]]) -> int:
    """Print what each image may cost, and all together."""
    from gptimage.models.pricing import format_usd

    cells = [{"cell": name, "max_cost_usd": usd(most)} for name, most in rows]
    texts = [
        f"{name}  {'cost not known' if most is None else f'at most {format_usd(most)}'}"
        for name, most in rows
    ]
    document = {"cells": cells, "max_cost_usd": usd(_total(rows))}
    return show(args, document, *map(printable, texts), _whole(rows))


def _record(args: argparse.Namespace) -> int:
    """Tag the winners in the store, and print how often each model won."""
    from gptimage.compare import record
    from gptimage.engine.from_config import open_store

    if args.votes is None:
        raise InvalidRequestError(
            "name the file of votes that a sheet exported: gptimage compare record votes.json",
            field="votes",
        )
    for name in ("models", "quality", "check", "usd", "concurrency", "output", "dry_run"):
        if getattr(args, name) not in (None, False):
            flag = {"usd": "budget"}.get(name, name.replace("_", "-"))
            raise InvalidRequestError(
                f"--{flag} has no effect when votes are recorded: leave it out", field=name
            )
    store = open_store(configure(args))
    if store is None:
        raise InvalidRequestError("votes are kept in a store: give --store", field="store")
    with store:
        found = record(store, args.votes)
    rows = [
        {"model": each.model, "quality": each.quality, "wins": each.wins, "votes": each.votes}
        for each in found
    ]
    texts = [
        f"{each.wins} of {each.votes}  {each.model}{f', {each.quality}' if each.quality else ''}"
        for each in found
    ]
    # Anybody may have written the file of votes.
    return show(args, {"standings": rows}, *map(printable, texts))


def _names(text: str | None) -> list[str]:
    return [name for each in (text or "").split(",") if (name := each.strip())]
