"""``gptimage many``: draw or edit every line of a file, several at once, resumable."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from gptimage.cli.console import encoding_of
from gptimage.cli.options import Subparsers, add_sandbox_option, open_client
from gptimage.cli.output import (
    Target,
    are_saved,
    is_there,
    keep_bytes,
    prepare,
    save,
    save_missing,
    target,
)
from gptimage.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    InvalidRequestError,
    MalformedReplyError,
    OrganizationNotVerifiedError,
    OutcomeUnknownError,
    QuotaExceededError,
    StoreError,
)
from gptimage.wording import for_command_line


if TYPE_CHECKING:
    from gptimage import ImageClient, Result
    from gptimage.bulk import Item, Stop
    from gptimage.store import Store


# Reads the requests of ``gptimage many`` from a JSONL or CSV file, a line at a time.

_NUMBERS: Final = ("n", "compression", "frame_count", "frame_duration_ms")
_OBJECTS: Final = ("svg", "extra_body")
_LISTS: Final = ("images", "tags")

_TABLES: Final = frozenset({".csv", ".tsv", ".tab"})
_DELIMITERS: Final = ",;\t"
_SAVE_AS: Final = 'save it with the encoding UTF-8 (in Excel: "CSV UTF-8")'

Row = dict[str, Any]


def rows(path: Path, defaults: Mapping[str, Any]) -> Iterator[Row]:
    """The requests of a file, each with the defaults it does not override.

    Args:
        path: A ``.jsonl`` file (prompts as text, or objects), or a ``.csv`` file with a header.
        defaults: Arguments for every request.

    Raises:
        InvalidRequestError: A line is no request.
        OSError: The file cannot be read.
    """
    read = _csv if path.suffix.lower() in _TABLES else _jsonl
    try:
        for number, row in read(path):
            if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
                raise _refuse(path, number, "it has no prompt")
            yield {**defaults, **row}
    except UnicodeDecodeError as error:
        # An encoding is never guessed: each of the 256 letters it gets wrong would be paid for.
        raise _not_text(path, error) from None


def count(path: Path) -> int:
    """Read the whole file once, so that what is wrong in it is found before anything is paid.

    Raises:
        InvalidRequestError: A line is no request, or there is none.
        OSError: The file cannot be read.
    """
    found = sum(1 for _ in rows(path, {}))
    if not found:
        raise InvalidRequestError(f"{path} has no requests", field="FILE", value=str(path))
    return found


class Rows:
    """The requests of a file, whose number is known; each iteration reads it anew.

    Args:
        path: The file.
        defaults: Arguments for every request.

    Raises:
        InvalidRequestError: A line is no request, or there is none.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path, defaults: Mapping[str, Any]) -> None:
        self._path, self._defaults, self._count = path, dict(defaults), count(path)

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __iter__(self) -> Iterator[Row]:
        """The requests."""
        return rows(self._path, self._defaults)


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding=_encoding(path)) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            value = _parsed(path, number, json.loads, line)
            row = {"prompt": value} if isinstance(value, str) else value
            if not isinstance(row, dict):
                raise _refuse(path, number, "it is neither a prompt nor an object")
            yield number, row


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding=_encoding(path), newline="") as file:
        start, delimiter, names = _header(path, file)
        # Strict: a quotation mark nobody closed would make one prompt of the rest of the file.
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                texts = [cell.strip() for cell in cells]
                number = start + reader.line_num
                if not any(texts):  # spreadsheets write empty rows at the end
                    continue
                if len(texts) < len(names) or any(texts[len(names) :]):
                    raise _refuse(path, number, "it has another number of cells than the header")
                given = {name: text for name, text in zip(names, texts, strict=False) if text}
                if "" in given:
                    raise _refuse(path, number, f"{given['']!r:.40} is in a column without a name")
                yield (
                    number,
                    {
                        name: _parsed(path, number, _reader(name), text)
                        for name, text in given.items()
                    },
                )
        except csv.Error as error:
            raise _refuse(path, start + reader.line_num, str(error)) from None


def _header(path: Path, file: TextIO) -> tuple[int, str, list[str]]:
    """How many lines it takes, what separates the columns, and their names.

    Raises:
        InvalidRequestError: No column is called prompt, or two are called alike.
    """
    line, number = file.readline(), 1
    if re.fullmatch(r"sep=.\s*", line, re.IGNORECASE):  # Excel's own way to tell
        line, number = file.readline(), 2
    for delimiter in _DELIMITERS:
        found = list(csv.reader([line], delimiter=delimiter))
        cells = found[0] if found else []
        names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
        if "prompt" not in names:
            continue
        if twice := {name for name in names if name and names.count(name) > 1}:
            raise _refuse(path, number, f"two columns are called {', '.join(sorted(twice))}")
        return number, delimiter, names
    raise _refuse(
        path,
        number,
        f"no column is called prompt in the header {line.strip()[:60]!r} (columns may be separated "
        "by commas, semicolons or tabs)",
    )


def _encoding(path: Path) -> str:
    """The encoding of a file, as far as its first bytes tell.

    Raises:
        InvalidRequestError: It is no text at all, or can be read only once.
    """
    if path.exists() and not path.is_file():
        raise InvalidRequestError(
            f"{path} is no file that can be read twice, as it must be; nothing was sent",
            field="FILE",
            value=str(path),
            allowed="a .jsonl or .csv file",
        )
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(b"PK\x03\x04"):
        raise _refuse(path, 1, "a spreadsheet is not read: save it as CSV UTF-8")
    encoding = encoding_of(head)
    if encoding == "utf-8" and b"\0" in head:
        raise _refuse(path, 1, f"it is not UTF-8 text: {_SAVE_AS}")
    return encoding


def _not_text(path: Path, error: UnicodeDecodeError) -> InvalidRequestError:
    """Names the line: whoever made the file knows that name with its umlaut."""
    number = 1
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):  # noqa: B007  # the number is what is wanted
            try:
                line.decode(error.encoding)
            except UnicodeDecodeError:
                break
    byte = error.object[error.start]
    return _refuse(path, number, f"it is not UTF-8 text (byte 0x{byte:02x}): {_SAVE_AS}")


def _reader(name: str) -> Callable[[str], Any]:
    """How the text of a column is understood; lists are separated by ``;``."""
    if name in _NUMBERS:
        return int
    if name in _OBJECTS:
        return json.loads
    return _several if name in _LISTS else str


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _parsed(path: Path, number: int, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except (ValueError, RecursionError):
        raise _refuse(path, number, f"{text[:40]!r} is not understood") from None


def _refuse(path: Path, number: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{path}, line {number}: {why}; nothing was sent",
        field="FILE",
        value=str(path),
        allowed='lines such as {"prompt": "A red fox"}, or a CSV with a column prompt',
    )


_DEFAULTS: Final = (
    ("--model", "MODEL", "image model"),
    ("--size", "SIZE", "1920x1080, 16:9, landscape...: exactly these pixels"),
    ("--quality", "QUALITY", "low, medium, high, xhigh, max or auto"),
    ("--format", "FORMAT", "png, jpeg, webp, gif or svg"),
    ("--background", "KIND", "transparent (png, webp), opaque or auto"),
)
_HOPELESS: Final = (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    OrganizationNotVerifiedError,
    QuotaExceededError,
)
"""What fails one request for such a reason fails all others."""

_FAILED: Final = 1
_UNKNOWN: Final = 4
_SIGNALLED: Final = 128
_SHOW_CURSOR: Final = b"\x1b[?25h"


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "many", help="draw every line of a file, several at once", description=__doc__
    )
    parser.add_argument(
        "file", metavar="FILE", type=Path, help=".jsonl, or .csv with a header; a column prompt"
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", default=".", help="default: .")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="default: 8")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="a second run with it asks only for what is missing"
    )
    parser.add_argument(
        "--retry-unknown", action="store_true", help="ask again what may have been billed"
    )
    parser.add_argument(
        "--images-per-minute", type=int, metavar="N", help="never ask for more; your account's tier"
    )
    parser.add_argument("--store", metavar="FOLDER", help="save every picture there, too")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="one JSON object per line and item")
    group = parser.add_argument_group("where a line does not say otherwise")
    for flag, metavar, help_text in _DEFAULTS:
        group.add_argument(flag, metavar=metavar, help=help_text)
    add_sandbox_option(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Draw every line; each picture is saved before its item counts as done."""
    requests = Rows(args.file, _defaults(args))
    prepare(Target(folder=Path(args.output).expanduser(), stem="many"))
    from gptimage.bulk import Stop

    stop, codes, hopeless = Stop(), {0}, False
    with _client(args) as client, _interruptible(stop) as interrupted:
        items = client.generate_many(
            requests,
            concurrency=args.concurrency,
            progress=True,
            checkpoint=args.checkpoint,
            retry_unknown=args.retry_unknown,
            stop=stop,
        )
        with closing(items):
            for item in items:
                if hopeless and isinstance(item.error, _HOPELESS):
                    continue  # it was in flight, and says the same
                codes.add(_report(item, args, client.store))
                if isinstance(item.error, _HOPELESS):
                    hopeless = True
                    stop.set()  # others in flight may be paid, and are written first
                    print("gptimage: the others would fail alike; stopped", file=sys.stderr)
    if interrupted:
        again = "the same command goes on" if args.checkpoint else "nothing that was paid is lost"
        print(f"gptimage: stopped before the end of {args.file}; {again}", file=sys.stderr)
        codes.add(_SIGNALLED + interrupted[0])
    return max(codes)


@contextmanager
def _interruptible(stop: Stop) -> Generator[list[int]]:
    """Let Ctrl-C or SIGTERM finish what is in flight, and a second one give it up.

    Yields:
        The signals that came.
    """
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if came:
            _give_up(stop.in_flight, number)
        came.append(number)
        stop.set()
        _say(
            f"finishing {stop.in_flight} in flight, again to give them up"
            if stop.in_flight
            else "nothing is in flight; stopping"
        )

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Ignored by whoever started this, as in a job of the background: it stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    except ValueError:  # signals reach the main thread alone
        before.clear()
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_up(in_flight: int, number: int) -> None:
    """End at once: an orderly end would wait for the requests.

    What has arrived is on the disk by now, and the checkpoint knows of the others.
    """
    _say(f"gave up {in_flight} in flight: they may be billed")
    with suppress(OSError, RuntimeError, ValueError):  # a print may have been interrupted
        sys.stdout.flush()
    if sys.stderr.isatty():  # the progress bar hides it
        os.write(2, _SHOW_CURSOR)
    os._exit(_SIGNALLED + number)


def _say(message: str) -> None:
    """Print from a signal handler, which may have come in the middle of another print."""
    with suppress(OSError):
        os.write(2, f"\ngptimage: {message}\n".encode())


def _client(args: argparse.Namespace) -> ImageClient:
    from gptimage.limits import Limits

    speed: int | None = args.images_per_minute
    limits = None if speed is None else Limits(images_per_minute=speed)
    if args.store is None:
        return open_client(sandbox=args.sandbox, limits=limits)
    from gptimage.store import Store

    return open_client(sandbox=args.sandbox, store=Store(args.store), limits=limits)


def _defaults(args: argparse.Namespace) -> dict[str, Any]:
    names = [flag[2:] for flag, *_ in _DEFAULTS]
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _report(item: Item, args: argparse.Namespace, store: Store | None) -> int:
    """Save what came, say so, and give the exit code of this item."""
    if item.error is not None:
        return _report_error(item, item.error, args)
    try:
        # A run that goes on looks at its files by size and digest: its store may be in a bucket.
        if store is not None and item.stored_ids:
            records = [store.get(id) for id in item.stored_ids]
            if are_saved(records, _where(item, args)):
                return 0
        result = item.result
    except StoreError as error:  # an earlier run had saved it, and it was removed since
        if is_there(_where(item, args)):
            return 0
        return _report_error(item, error, args)
    if result is None:
        return 0
    paths = [str(path) for path in _save(item, result, args)]
    if not paths:
        return 0  # an earlier run wrote them
    if args.json:
        cost = None if result.cost is None else float(result.cost)
        _print(item, files=paths, cost_usd=cost, warnings=list(result.warnings))
    else:
        print(f"{item.index + 1}: {', '.join(paths)}")
    return 0


def _report_error(item: Item, error: Exception, args: argparse.Namespace) -> int:
    if isinstance(error, StoreError) and error.result is not None:
        paths = ", ".join(map(str, _save(item, error.result, args)))
        print(f"gptimage: {item.index + 1}: not in the store, but in {paths}", file=sys.stderr)
    if isinstance(error, MalformedReplyError) and error.reply:
        path = keep_bytes(error.reply, "reply.bin")
        print(f"gptimage: {item.index + 1}: the reply as it arrived is in {path}", file=sys.stderr)
    if args.json:
        _print(item, error={"type": type(error).__name__, "message": for_command_line(str(error))})
    else:
        print(f"gptimage: {item.index + 1}: {error}", file=sys.stderr)
    return _UNKNOWN if isinstance(error, OutcomeUnknownError) else _FAILED


def _save(item: Item, result: Result, args: argparse.Namespace) -> list[Path]:
    """Write the images; those of an earlier run only where they are not there."""
    where = _where(item, args)
    return save_missing(result.images, where) if item.resumed else save(result.images, where)


def _where(item: Item, args: argparse.Namespace) -> Target:
    """The number of the line and the words of its prompt."""
    row = cast("Mapping[str, Any]", item.request)  # `Rows` gives nothing else
    words = target(None, str(row["prompt"])).stem
    folder = Path(args.output).expanduser()
    return Target(folder=folder, stem=f"{item.index + 1:06}-{words}", overwrite=args.overwrite)


def _print(item: Item, **values: object) -> None:
    print(json.dumps({"index": item.index, **values}), flush=True)
