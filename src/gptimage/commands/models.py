"""``gptimage models``: what each model draws, costs, and until when it answers."""

from __future__ import annotations

import argparse
import json
from datetime import date
from typing import TYPE_CHECKING, Any

from gptimage._internal.clock import utc_now
from gptimage.commands._shape import Subparsers


if TYPE_CHECKING:
    from gptimage import ModelSpec


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("models", help="the catalogue of models", description=__doc__)
    parser.add_argument("--all", action="store_true", help="include models that are shut down")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    from gptimage import Models

    catalogue = Models.load()
    today = utc_now().date()
    shown = [spec for spec in catalogue if args.all or spec.state(today) != "shut_down"]
    if args.json:
        document = {
            "default": catalogue.default,
            "checked": catalogue.checked.isoformat(),
            "models": [_document(spec, today) for spec in shown],
        }
        print(json.dumps(document))
        return 0
    for spec in shown:
        print(_line(spec, today, default=catalogue.default))
    print(f"\nprices: one 1024x1024 picture, without the prompt; checked {catalogue.checked}")
    return 0


def _line(spec: ModelSpec, today: date, *, default: str) -> str:
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


def _document(spec: ModelSpec, today: date) -> dict[str, Any]:
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
