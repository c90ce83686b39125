"""The ``gptimage`` command: parses, runs one sub-command, and turns every error into one line."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from gptimage._internal.text import reason
from gptimage.cli.console import NotDeliveredError, Output, console


if TYPE_CHECKING:
    import argparse

    from gptimage.cli.parser import UsageError


OK: Final = 0
SERVICE_ERROR: Final = 1
BAD_INPUT: Final = 2
NOT_CONFIGURED: Final = 3
OUTCOME_UNKNOWN: Final = 4
NOT_DELIVERED: Final = 5
INTERNAL: Final = 70
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: The arguments; those of the process when left out.
    """
    words = sys.argv[1:] if argv is None else argv
    with console() as out, _plain_warnings():
        return _run(words, out)


@contextmanager
def _plain_warnings() -> Generator[None]:
    """Print the library's warnings as sentences, without the file and line they come from."""
    usual = warnings.formatwarning

    def sentence(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category.__module__.startswith("gptimage"):
            return f"note: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = sentence
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _run(words: Sequence[str], out: Output) -> int:
    as_json = "--json" in words
    try:
        if list(words) == ["--version"]:  # before anything is imported for it
            _print_version()
            out.flush()
            raise SystemExit(OK)
        code = _dispatch(words)
        out.flush()
    except KeyboardInterrupt as error:
        print("\ninterrupted; a request that was sent may still be billed", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):  # where a reply is that was paid for
            print(f"gptimage: {note}", file=sys.stderr)
        if hasattr(error, "reply") or hasattr(error, "result"):  # no disk, or no store, has it
            from gptimage.cli.output import keep_what_came

            keep_what_came(error)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # a person at a terminal gets a sentence
        if os.environ.get("GPTIMAGE_TRACEBACK"):
            import traceback

            traceback.print_exc()
        return _fail(error, out, as_json=as_json)
    return code


def _dispatch(words: Sequence[str]) -> int:
    from gptimage.cli import parser as parsing

    parser = parsing.build_parser(words)
    try:
        args, unknown = parser.parse_known_args(words)
        if unknown:
            raise args.parser.unrecognized(unknown)
        if args.version:
            _print_version()
            raise SystemExit(OK)
        if not hasattr(args, "func"):
            raise parsing.UsageError("the following arguments are required: COMMAND", parser)
    except parsing.UsageError as error:
        _print_usage_error(error, as_json="--json" in words)
        raise SystemExit(BAD_INPUT) from None
    refuse_empty(args, words)
    code: int = args.func(args)
    return code


def refuse_empty(args: argparse.Namespace, words: Sequence[str]) -> None:
    """Refuse empty arguments: most come from a variable of a script that is not set.

    Raises:
        InvalidRequestError: One is empty, or has the one letter that no system takes in a name.
    """
    from gptimage.errors import InvalidRequestError

    for name, value in vars(args).items():
        if value == "" and name == getattr(args, "may_be_empty", None):
            continue
        several = cast("list[object]", value) if isinstance(value, list) else [value]
        texts = [each for each in several if isinstance(each, str)]
        blank = any(not each.strip() for each in texts)
        problem = "is empty" if blank else "has a null character in it"
        if blank or any("\0" in each for each in texts):
            flag = f"--{name.replace('_', '-')}"
            given = any(word in {flag, flag[1:3]} or word.startswith(f"{flag}=") for word in words)
            shown = flag if given else name.upper()
            raise InvalidRequestError(
                f"{shown} {problem}: leave it out, or give it a value; nothing was sent",
                field=name,
                value="",
            )


def exit_code(error: BaseException) -> int:
    """Return the exit code an error ends with."""
    from gptimage import errors

    if isinstance(error, errors.StoreError) and error.result is not None:
        return NOT_DELIVERED  # it is paid, and "refused" would make people send it again
    codes: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
        ((NotDeliveredError,), NOT_DELIVERED),
        ((errors.OutcomeUnknownError,), OUTCOME_UNKNOWN),
        ((errors.ConfigurationError,), NOT_CONFIGURED),
        ((errors.InvalidRequestError, errors.ImageDecodeError), BAD_INPUT),
        ((errors.FetchError, errors.TemplateError), BAD_INPUT),
        ((errors.GptImageError,), SERVICE_ERROR),
        ((FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError), BAD_INPUT),
        ((PermissionError, UnicodeError), BAD_INPUT),
        ((OSError,), BAD_INPUT if _is_no_name(error) else SERVICE_ERROR),
        ((KeyboardInterrupt,), INTERRUPTED),
    )
    return next((code for kinds, code in codes if isinstance(error, kinds)), INTERNAL)


def _is_no_name(error: BaseException) -> bool:
    """Return whether the system refuses the name of a file, however healthy the disk is."""
    return getattr(error, "errno", None) in {errno.ENAMETOOLONG, errno.ELOOP}


def _print_version() -> None:
    from gptimage import __version__

    print(f"gptimage {__version__}")


def _print_usage_error(error: UsageError, *, as_json: bool) -> None:
    print(f"{error.usage}{error.program}: error: {error}", file=sys.stderr)
    if as_json:
        from gptimage.cli.json_output import print_json

        details = {"type": "UsageError", "message": str(error), "exit_code": BAD_INPUT}
        print_json({"error": {**details, "request_id": None}})


def _sentence(error: Exception, code: int) -> str:
    from gptimage.errors import GptImageError

    if code == INTERNAL:
        return (
            f"an unexpected error ({type(error).__name__}: {error}); if a request was sent, it "
            "may have been billed. Please report it, with what GPTIMAGE_TRACEBACK=1 prints"
        )
    if isinstance(error, GptImageError) or not isinstance(error, OSError) or not error.filename:
        return str(error) or type(error).__name__
    return f"{error.filename}: {reason(error)}"


def _fail(error: Exception, out: Output, *, as_json: bool) -> int:
    from gptimage.cli.json_output import error_document, print_json
    from gptimage.cli.output import keep_what_came
    from gptimage.errors import ApiError

    code = exit_code(error)
    if isinstance(error, BrokenPipeError | NotDeliveredError):
        out.give_up()
    if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
        return BROKEN_PIPE  # the reader went away, as `head` does
    print(f"gptimage: {_sentence(error, code)}", file=sys.stderr)
    keep_what_came(error)
    if isinstance(error, ApiError) and error.request_id and error.request_id not in str(error):
        print(f"request id: {error.request_id}", file=sys.stderr)
    try:
        if as_json:
            print_json({"error": error_document(error, code)})
        out.flush()
    except NotDeliveredError:
        out.give_up()
    return code
