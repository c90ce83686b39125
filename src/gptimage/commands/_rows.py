"""Reads the requests of ``gptimage many`` from a JSONL or CSV file, a line at a time."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from gptimage.cli.console import encoding_of
from gptimage.errors import InvalidRequestError


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
