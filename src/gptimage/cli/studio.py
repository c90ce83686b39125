"""``gptimage studio``: the local web page over your store, cache, budget and configuration."""

from __future__ import annotations

import argparse
import sys

from gptimage.cli.options import add_sandbox_option
from gptimage.cli.parser import argument
from gptimage.cli.values import port
from gptimage.errors import InvalidRequestError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    argument(parser, "--store DIR", "where images are saved; else the setting `store`")
    argument(parser, "--port N", "where to listen on this machine; 0 takes any", type=port)
    argument(parser, "--no-browser", "print the address, and open nothing")
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until it is interrupted."""
    from gptimage.studio import StudioOptions, serve

    def say(line: str) -> None:
        print(line, flush=True)

    options = StudioOptions(store=args.store, sandbox=args.sandbox)
    print("The studio runs until Ctrl-C. Its address works once:", file=sys.stderr)
    try:
        serve(options, port=args.port, browser=not args.no_browser, say=say)
    except OSError as error:
        if args.port is None or error.filename is not None:
            raise  # it is about a file, not about the port
        raise InvalidRequestError(
            f"--port {args.port} cannot be used ({error.strerror}): choose another one, or 0",
            field="port",
            value=args.port,
            allowed="a free port; 0 takes one",
        ) from error
    return 0
