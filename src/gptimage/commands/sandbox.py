"""``gptimage sandbox``: the offline service over HTTP, for any OpenAI client in any language."""

from __future__ import annotations

import argparse
import sys

from gptimage.commands._shape import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "sandbox", help="serve the offline service over HTTP", description=__doc__
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port; 0 takes a free one")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="wait before each answer"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from gptimage.sandbox import Sandbox, serve

    def announce(base_url: str) -> None:
        print(f"sandbox at {base_url} (any key; Ctrl-C ends it)", flush=True)

    try:
        serve(args.host, args.port, Sandbox(latency=args.latency), on_ready=announce)
    except KeyboardInterrupt:
        print("sandbox ended", file=sys.stderr)
    return 0
