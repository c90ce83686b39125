"""``gptimage studio``: the local web page over your store, cache, budget and configuration."""

from __future__ import annotations

import argparse
import sys

from gptimage.errors import InvalidRequestError


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
