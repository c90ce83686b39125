"""``gptimage config``: the settings that apply, and where each one comes from; never the key."""

from __future__ import annotations

import argparse
import sys

from gptimage.cli.json_output import print_json
from gptimage.cli.parser import add_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print every setting."""
    from gptimage.config import load, user_file

    config = load()
    rows = list(config.rows())
    if args.json:
        document = {
            "file": config.file and str(config.file),
            "project": config.project and str(config.project),
            "settings": {name: {"value": value, "origin": origin} for name, value, origin in rows},
            "notes": list(config.notes),
        }
        print_json(document)
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
