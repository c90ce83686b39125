"""The requests of ``gptimage many`` and ``batch``, read from a JSONL or CSV file line by line."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from attrs import evolve, field, frozen

from gptimage._internal.text import closest
from gptimage.cli.console import encoding_of, read_stdin
from gptimage.errors import InvalidRequestError
from gptimage.types.parameters import PARAMETERS


if TYPE_CHECKING:
    from gptimage.templates import PromptTemplate


_NUMBERS: Final = tuple(row.name for row in PARAMETERS.values() if row.kind == "whole")
_OBJECTS: Final = tuple(row.name for row in PARAMETERS.values() if row.kind == "json")
_LISTS: Final = ("images", "tags")
COLUMNS: Final = frozenset({*PARAMETERS, "tags"} - {"partial_images"})
"""The columns that are arguments of a request."""

_TABLES: Final = frozenset({".csv", ".tsv", ".tab"})
_DELIMITERS: Final = ",;\t"
_JSON_LINE: Final = ': a line is JSON, such as "A fox" in quotation marks, or {"prompt": "A fox"}'
_SAVE_AS: Final = 'save it with the encoding UTF-8 (in Excel: "CSV UTF-8")'

Row = dict[str, Any]


@frozen(kw_only=True)
class Line:
    """One request of a file.

    Attributes:
        number: Its line, from 1.
        request: The arguments of the request.
        name: What the column of ``--name-from`` says, fit for a file name; or None.
    """

    number: int
    request: Row
    name: str | None = None


@frozen
class Columns:
    """The meaning of a file's columns.

    Attributes:
        defaults: Arguments for every request.
        template: A template whose arguments are columns, too; it takes the place of the prompt.
        template_arguments: Arguments of the template for every request.
        name_from: The column that names the files, or None.
    """

    defaults: Mapping[str, Any]
    template: PromptTemplate | None = None
    template_arguments: Mapping[str, str] = field(factory=dict[str, str])
    name_from: str | None = None

    @property
    def template_names(self) -> frozenset[str]:
        """The columns that are arguments of the template."""
        if self.template is None:
            return frozenset()
        return frozenset(each.name for each in self.template.arguments)

    def line(self, path: Path, number: int, row: Row) -> Line:
        """Make the request of a row.

        Raises:
            InvalidRequestError: It has no prompt, or no name where one is needed.
            TemplateError: The template does not take it.
        """
        for column, text in row.items():
            if isinstance(text, str) and "\0" in text:
                raise _refuse(path, number, f"{column} has a null character (U+0000) in it")
        name = row.get(self.name_from) if self.name_from else None
        if self.name_from and self.name_from not in COLUMNS | self.template_names:
            row = {key: value for key, value in row.items() if key != self.name_from}
        if self.name_from and (name is None or not _file_name(str(name))):
            raise _refuse(path, number, f"it has nothing in the column {self.name_from}")
        if self.template is not None:
            given = {key: row[key] for key in row if key in self.template_names}
            row = {key: value for key, value in row.items() if key not in given}
            if "prompt" in row:
                raise _refuse(path, number, "it has a prompt, whose place the template takes")
            row["prompt"] = self.template.render({**self.template_arguments, **given})
        elif not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
            raise _refuse(path, number, "it has no prompt")
        shown = None if name is None else _file_name(str(name))
        return Line(number=number, request={**self.defaults, **row}, name=shown)


class Rows:
    """The requests of a file; each iteration reads it anew.

    Making one reads the whole file, so that what is wrong in it is found before anything is paid.

    Args:
        path: A ``.jsonl`` file (prompts as text, or objects), or a ``.csv`` file with a header.
        columns: How its columns are understood, or arguments for every request.

    Raises:
        InvalidRequestError: A line is no request, a column is unknown, two files would get the
            same name, or there is no request.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path, columns: Columns | Mapping[str, Any]) -> None:
        if not isinstance(columns, Columns):
            columns = Columns(columns)
        if columns.name_from and _is_table(path):
            columns = evolve(columns, name_from=_column(columns.name_from))
        self._path, self._columns = path, columns
        self.names: list[str] = []
        """What ``--name-from`` names each request's files, in the order of the file."""
        self._count = 0
        unknown: dict[str, int] = {}
        known = COLUMNS | columns.template_names | {columns.name_from}
        for number, row in _read(path, columns):
            for column in row.keys() - known:
                unknown.setdefault(column, number)
        if unknown:
            raise _unknown_columns(path, unknown, known - {None, "tags"})
        for line in self.lines():
            self._count += 1
            if line.name is not None:
                self.names.append(line.name)
        if not self._count:
            raise InvalidRequestError(
                f"{display_name(path)} has no requests", field="FILE", value=display_name(path)
            )
        counts = Counter(name.casefold() for name in self.names)
        if twice := next((name for name, count in counts.items() if count > 1), None):
            raise InvalidRequestError(
                f"{display_name(path)}: two lines have {twice!r} in the column "
                f"{columns.name_from}, and their files would be mixed up; nothing was sent",
                field="name_from",
                value=columns.name_from,
                allowed="a column whose values all differ",
            )

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def __iter__(self) -> Iterator[Row]:
        """Return the requests."""
        return (line.request for line in self.lines())

    def lines(self) -> Iterator[Line]:
        """Yield the requests with their lines and names."""
        for number, row in _read(self._path, self._columns):
            yield self._columns.line(self._path, number, row)


@contextmanager
def open_input(name: str) -> Generator[Path]:
    """Yield the path of a file that can be read twice; standard input (``-``) goes to one first."""
    if name != "-":
        yield Path(name)
        return
    text = read_stdin()
    table = text.lstrip()[:1] not in {"{", '"', ""}
    with tempfile.TemporaryDirectory(prefix=_STDIN) as folder:
        path = Path(folder, "stdin.csv" if table else "stdin.jsonl")
        path.write_text(text, encoding="utf-8", newline="")
        yield path


_STDIN: Final = "gptimage-stdin-"
"""How the temporary folder begins that holds what came from standard input."""


def display_name(path: Path) -> str:
    """Return the path as the person knows it: a temporary copy is standard input."""
    return "standard input" if path.parent.name.startswith(_STDIN) else str(path)


def _read(path: Path, columns: Columns) -> Iterator[tuple[int, Row]]:
    """Yield every row with its line."""
    wanted = columns.template_names or frozenset({"prompt"})
    try:
        yield from _csv(path, wanted) if _is_table(path) else _jsonl(path)
    except UnicodeDecodeError as error:
        # An encoding is never guessed: each of the 256 letters it gets wrong would be paid for.
        raise _not_text(path, error) from None


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in _TABLES


def _file_name(text: str) -> str:
    """Return text as the stem of a file name: nothing that leads to another folder."""
    return re.sub(r"[^\w.+-]+", "-", text.strip()).strip(".-")[:80]


def _unknown_columns(
    path: Path, unknown: Mapping[str, int], known: frozenset[str | None]
) -> InvalidRequestError:
    """Name every unknown column once."""
    names = sorted(str(each) for each in known)
    shown: list[str] = []
    for column, number in unknown.items():
        close = closest(column, names)
        meant = f", did you mean {close}?" if close else ""
        shown.append(f"{column!r:.60} (first in line {number}{meant})")
    return InvalidRequestError(
        f"{display_name(path)} has columns that are no parameters: {'; '.join(shown)}. Take them "
        "out, or name files by one with --name-from; nothing was sent",
        field="FILE",
        value=display_name(path),
        allowed=tuple(names),
    )


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> Row:
    row: Row = {}
    for name, value in pairs:
        if name in row:  # JSON would take the last one in silence
            raise KeyError(name)
        row[name] = value
    return row


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding=_encoding(path)) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = _parsed(path, number, _loads, line.strip(), _JSON_LINE)
            except KeyError as error:
                raise _refuse(path, number, f"{error.args[0]!r:.60} is there twice") from None
            row = {"prompt": value} if isinstance(value, str) else value
            if not isinstance(row, dict):
                raise _refuse(path, number, "it is neither a prompt nor an object")
            yield number, row


def _csv(path: Path, wanted: frozenset[str]) -> Iterator[tuple[int, Row]]:
    with path.open(encoding=_encoding(path), newline="") as file:
        start, delimiter, names = _header(path, file, wanted)
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


def _header(path: Path, file: TextIO, wanted: frozenset[str]) -> tuple[int, str, list[str]]:
    """Return how many lines it takes, what separates the columns, and their names.

    Raises:
        InvalidRequestError: No column is called prompt, or two are called alike.
    """
    line, number = file.readline(), 1
    if re.fullmatch(r"sep=.\s*", line, re.IGNORECASE):  # Excel's own way to tell
        line, number = file.readline(), 2
    for delimiter in _DELIMITERS:
        cells = next(csv.reader([line], delimiter=delimiter), list[str]())
        names = [_column(cell) for cell in cells]
        if wanted.isdisjoint(names):
            continue
        if twice := {name for name in names if name and names.count(name) > 1}:
            raise _refuse(path, number, f"two columns are called {', '.join(sorted(twice))}")
        return number, delimiter, names
    raise _refuse(
        path,
        number,
        f"no column is called {' or '.join(sorted(wanted))} in the header {line.strip()[:60]!r} "
        "(columns may be separated by commas, semicolons or tabs)",
    )


def _column(name: str) -> str:
    """Return a column's name as the library writes it: ``Safety identifier`` has its underscore."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _encoding(path: Path) -> str:
    """Return the encoding of a file, as far as its first bytes tell.

    Raises:
        InvalidRequestError: It is no text at all, or can be read only once.
    """
    if path.exists() and not path.is_file():
        raise InvalidRequestError(
            f"{path} is no file that can be read twice, as it must be; nothing was sent",
            field="FILE",
            value=display_name(path),
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
    """Return the error that names the line and its text, so that the broken letter is found."""
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
    """Return how the text of a column is understood; lists are separated by ``;``."""
    if name in _NUMBERS:
        return int
    if name in _OBJECTS:
        return json.loads
    return _several if name in _LISTS else str


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _parsed(
    path: Path, number: int, read: Callable[[str], Any], text: str, wanted: str = ""
) -> Any:
    try:
        return read(text)
    except (ValueError, RecursionError):
        raise _refuse(path, number, f"{text[:40]!r} is not understood{wanted}") from None


def _refuse(path: Path, number: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{display_name(path)}, line {number}: {why}; nothing was sent",
        field="FILE",
        value=display_name(path),
        allowed='lines such as {"prompt": "A red fox"}, or a CSV with a column prompt',
    )
