"""``gptimage sandbox``: the offline service over HTTP, for any OpenAI client in any language."""

from __future__ import annotations

import argparse
import sys

from gptimage.cli.console import NotDeliveredError, reason
from gptimage.commands._shape import Subparsers
from gptimage.errors import InvalidRequestError


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "sandbox", help="serve the offline service over HTTP", description=__doc__
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=8080, help="port; 0 takes a free one")
    parser.add_argument(
        "--latency", type=_seconds, default=0.0, metavar="SECONDS", help="wait before each answer"
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
