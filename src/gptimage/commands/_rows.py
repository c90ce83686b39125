"""Reads the requests of ``gptimage many`` from a JSONL or CSV file, a line at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gptimage.errors import InvalidRequestError


_NUMBERS: Final = ("n", "compression", "frame_count", "frame_duration_ms")
_OBJECTS: Final = ("svg", "extra_body")
_LISTS: Final = ("images", "tags")

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
    read = _csv if path.suffix.lower() == ".csv" else _jsonl
    for number, row in read(path):
        if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
            raise _refuse(path, number, "it has no prompt")
        yield {**defaults, **row}


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
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            value = _parsed(path, number, json.loads, line)
            row = {"prompt": value} if isinstance(value, str) else value
            if not isinstance(row, dict):
                raise _refuse(path, number, "it is neither a prompt nor an object")
            yield number, row


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for cells in _whole_rows(path, reader):
            if None in cells or None in cells.values():
                raise _refuse(
                    path, reader.line_num, "it has another number of cells than the header"
                )
            yield (
                reader.line_num,
                {
                    name: _parsed(path, reader.line_num, _reader(name), text.strip())
                    for name, text in cells.items()
                    if text.strip()
                },
            )


def _whole_rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[Any, Any]]:
    """The rows; Python's reader gives up at a cell of more than 131,072 characters."""
    try:
        yield from reader
    except csv.Error as error:
        raise _refuse(path, reader.line_num, f"it cannot be read ({error})") from error


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
