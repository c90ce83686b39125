"""The ``gptimage`` command: parses, runs one sub-command, and turns every error into one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final, cast

from gptimage.cli import batch, demo, generate, info, jobs, many, refine, store, templates
from gptimage.cli.console import NotDeliveredError, Output, console, reason
from gptimage.cli.output import keep_what_came
from gptimage.errors import (
    ApiError,
    ConfigurationError,
    FetchError,
    GptImageError,
    ImageDecodeError,
    InvalidRequestError,
    OutcomeUnknownError,
    StoreError,
    TemplateError,
)
from gptimage.wording import for_command_line


OK: Final = 0
SERVICE_ERROR: Final = 1
BAD_INPUT: Final = 2
NOT_CONFIGURED: Final = 3
OUTCOME_UNKNOWN: Final = 4
NOT_DELIVERED: Final = 5
INTERNAL: Final = 70
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

_COMMANDS: Final = (
    generate.add_generate,
    generate.add_edit,
    refine.add_parser,
    many.add_parser,
    batch.add_parser,
    jobs.add_parser,
    generate.add_estimate,
    info.add_models,
    info.add_spend,
    templates.add_parser,
    store.add_parser,
    info.add_cache,
    info.add_sandbox,
    demo.add_parser,
)
_CODES: Final[tuple[tuple[tuple[type[BaseException], ...], int], ...]] = (
    ((NotDeliveredError,), NOT_DELIVERED),
    ((OutcomeUnknownError,), OUTCOME_UNKNOWN),
    ((ConfigurationError,), NOT_CONFIGURED),
    ((InvalidRequestError, ImageDecodeError, FetchError, TemplateError), BAD_INPUT),
    ((GptImageError,), SERVICE_ERROR),
    ((FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError), BAD_INPUT),
    ((PermissionError, UnicodeError), BAD_INPUT),
    ((OSError,), SERVICE_ERROR),
    ((KeyboardInterrupt,), INTERRUPTED),
)
"""What each kind of error ends with; the first that fits counts."""

_EPILOG: Final = """\
exit codes: 0 done; 1 the service refused, failed or was not reached; 2 bad input, nothing
was sent; 3 no key or a missing part; 4 sent, but no usable answer: it may have been billed;
5 done and paid, but not written where you asked: standard error says where it is;
70 a fault of gptimage itself; 130 interrupted.  The key is read from OPENAI_API_KEY, never
from an argument."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: The arguments; those of the process when left out.
    """
    words = sys.argv[1:] if argv is None else argv
    with console() as out:
        return _run(words, out)


def _run(words: Sequence[str], out: Output) -> int:
    args = argparse.Namespace()
    try:
        args = build_parser().parse_args(words)
        refuse_empty(args, words)
        code: int = args.func(args)
        out.flush()
    except KeyboardInterrupt:
        print("\ninterrupted; a request that was sent may still be billed", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # whoever reads a terminal gets a sentence
        if os.environ.get("GPTIMAGE_TRACEBACK"):
            traceback.print_exc()
        return _fail(error, out, as_json=getattr(args, "json", False))
    return code


def refuse_empty(args: argparse.Namespace, words: Sequence[str]) -> None:
    """See that no argument is empty: most come from a variable of a script that is not set.

    Raises:
        InvalidRequestError: One is.
    """
    for name, value in vars(args).items():
        several = cast("list[object]", value) if isinstance(value, list) else [value]
        if "" in several:
            flag = f"--{name.replace('_', '-')}"
            given = any(word in {flag, flag[1:3]} or word.startswith(f"{flag}=") for word in words)
            shown = flag if given else name.upper()
            raise InvalidRequestError(
                f"{shown} is empty: leave it out, or give it a value; nothing was sent",
                field=name,
                value="",
            )


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
    for add in _COMMANDS:
        add(subparsers)
    for each in subparsers.choices.values():  # their docstrings are written for Sphinx
        each.description = (each.description or "").replace("``", "")
    return parser


def exit_code(error: BaseException) -> int:
    """The exit code an error ends with."""
    if isinstance(error, StoreError) and error.result is not None:
        return NOT_DELIVERED  # it is paid, and "refused" would be asked again
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), INTERNAL)


class _Version(argparse.Action):
    """Prints the version; reading it takes a moment, so only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from gptimage import __version__

        print(f"gptimage {__version__}")
        parser.exit()


def _sentence(error: Exception, code: int) -> str:
    if code == INTERNAL:
        return (
            f"an error nobody foresaw ({type(error).__name__}: {error}); if a request was sent, it "
            "may have been billed. Please report it, with what GPTIMAGE_TRACEBACK=1 prints"
        )
    if isinstance(error, GptImageError) or not isinstance(error, OSError) or not error.filename:
        return str(error) or type(error).__name__
    return f"{error.filename}: {reason(error)}"


def _fail(error: Exception, out: Output, *, as_json: bool) -> int:
    code = exit_code(error)
    if isinstance(error, BrokenPipeError | NotDeliveredError):
        out.give_up()
    if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
        return BROKEN_PIPE  # the reader went away, as `head` does
    print(f"gptimage: {_sentence(error, code)}", file=sys.stderr)
    keep_what_came(error)
    request_id = getattr(error, "request_id", None)
    if isinstance(error, ApiError) and request_id:
        print(f"request id: {request_id}", file=sys.stderr)
    try:
        if as_json:
            details = {
                "type": type(error).__name__,
                "message": for_command_line(str(error)),
                "exit_code": code,
                "request_id": request_id,
            }
            print(json.dumps({"error": details}))
        out.flush()
    except NotDeliveredError:
        out.give_up()
    return code
