"""The ``gptimage`` command: parses, runs one sub-command, and turns every error into one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from gptimage.commands import (
    batch,
    cache,
    demo,
    edit,
    estimate,
    generate,
    jobs,
    many,
    models,
    refine,
    sandbox,
    spend,
    store,
    templates,
)
from gptimage.errors import (
    ApiError,
    ConfigurationError,
    FetchError,
    GptImageError,
    ImageDecodeError,
    InvalidRequestError,
    OutcomeUnknownError,
    TemplateError,
)


OK: Final = 0
SERVICE_ERROR: Final = 1
BAD_INPUT: Final = 2
NOT_CONFIGURED: Final = 3
OUTCOME_UNKNOWN: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

_COMMANDS: Final = (
    generate,
    edit,
    refine,
    many,
    batch,
    jobs,
    estimate,
    models,
    spend,
    templates,
    store,
    cache,
    sandbox,
    demo,
)
_EPILOG: Final = """\
exit codes: 0 done; 1 the service refused, failed or was not reached; 2 bad input, nothing
was sent; 3 no key or a missing part; 4 sent, but no usable answer: it may have been billed;
130 interrupted.  The key is read from OPENAI_API_KEY, never from an argument."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: The arguments; those of the process when left out.
    """
    args = build_parser().parse_args(argv)
    try:
        code: int = args.func(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted; a request that was sent may still be billed", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (GptImageError, OSError) as error:
        return _fail(error, as_json=getattr(args, "json", False))
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser with every sub-command."""
    parser = argparse.ArgumentParser(
        prog="gptimage",
        description="Draw and edit pictures with OpenAI's image models, or offline.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    for each in subparsers.choices.values():  # their docstrings are written for Sphinx
        each.description = (each.description or "").replace("``", "")
    return parser


def exit_code(error: Exception) -> int:
    """The exit code an error ends with."""
    if isinstance(error, OutcomeUnknownError):
        return OUTCOME_UNKNOWN
    if isinstance(error, ConfigurationError):
        return NOT_CONFIGURED
    local = (InvalidRequestError, ImageDecodeError, FetchError, TemplateError, FileNotFoundError)
    return BAD_INPUT if isinstance(error, local) else SERVICE_ERROR


class _Version(argparse.Action):
    """Prints the version; reading it takes a moment, so only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from gptimage import __version__

        print(f"gptimage {__version__}")
        parser.exit()


def _fail(error: Exception, *, as_json: bool) -> int:
    code = exit_code(error)
    print(f"gptimage: {error}", file=sys.stderr)
    request_id = getattr(error, "request_id", None)
    if isinstance(error, ApiError) and request_id:
        print(f"request id: {request_id}", file=sys.stderr)
    if as_json:
        details = {
            "type": type(error).__name__,
            "message": str(error),
            "exit_code": code,
            "request_id": request_id,
        }
        print(json.dumps({"error": details}))
    return code
