"""The requests of a batch job on disk: written once, read a line at a time, found by name."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from attrs import field, frozen

from gptimage._internal.converter import from_json, to_json
from gptimage._internal.json import table
from gptimage.batch.state import State, private
from gptimage.errors import ConfigurationError
from gptimage.providers.openai import batches


@frozen(kw_only=True)
class RequestLine:
    """One request in the file of requests.

    Attributes:
        custom_id: Its name in the batch.
        part: The number of its part.
        body: The body of its line.
        size: The exact pixels requested, such as ``1200x630``, or None.
        template: The template its prompt came from, or None.
        tags: Tags for the store.
    """

    custom_id: str
    part: int
    body: dict[str, Any] = field(repr=False)
    size: str | None = None
    template: str | None = None
    tags: tuple[str, ...] = ()

    def line(self) -> bytes:
        """Return the line of the file."""
        return batches.compact(to_json(self))

    @classmethod
    def read(cls, text: bytes) -> RequestLine:
        """Read a line.

        Raises:
            ConfigurationError: It is damaged.
        """
        try:
            return from_json(json.loads(text), cls)
        except ValueError as error:
            raise ConfigurationError(
                f"the file of the batch's requests is damaged: {error}"
            ) from error


class InputFiles:
    """The offset of each request in the file, by its name.

    Requests are named by their number, which takes 8 bytes each to remember; other names are
    those of a batch that was made elsewhere.

    Args:
        path: The file of requests.
    """

    def __init__(self, path: Path) -> None:
        self._starts = array("q")
        self._numbers: dict[str, int] = {}
        place = 0
        with path.open("rb") as file:
            for number, text in enumerate(file):
                self._name(number, RequestLine.read(text).custom_id)
                self._starts.append(place)
                place += len(text)

    def __len__(self) -> int:
        """Return how many requests there are."""
        return len(self._starts)

    def number(self, name: str) -> int | None:
        """Return the number of the request with this name, from 0, or None."""
        if self._numbers:
            return self._numbers.get(name)
        if not (name.isascii() and name.isdecimal()) or len(name) > 18:
            return None
        number = int(name)
        return number if number < len(self._starts) and name == str(number) else None

    def read(self, file: IO[bytes], number: int) -> RequestLine:
        """Read one request from the file of requests."""
        file.seek(self._starts[number])
        return RequestLine.read(file.readline())

    def _name(self, number: int, name: str) -> None:
        if not self._numbers and name != str(number):
            self._numbers = {str(each): each for each in range(number)}
        if self._numbers or name != str(number):
            self._numbers[name] = number


@contextmanager
def writing(state: State) -> Generator[IO[bytes]]:
    """Open the file of requests, emptied, to be written."""
    state.path.parent.mkdir(parents=True, exist_ok=True)
    with private(state.requests) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def input_file(state: State, number: int) -> Generator[Path]:
    """Write the file of one part, as it is uploaded; it is removed afterwards."""
    path = state.path.with_name(f"{state.path.name}.part{number}.jsonl")
    try:
        with private(path) as file:
            file.writelines(_input(state, number))
        yield path
    finally:
        path.unlink(missing_ok=True)


class Uploads:
    """The images that are uploaded already; a job that is prepared again uploads none twice.

    Args:
        state: The job.
    """

    def __init__(self, state: State) -> None:
        self._path = state.path.with_name(state.path.name + ".uploads.jsonl")
        self._endpoint = state.endpoint
        self._ids = dict(self._load())

    def get(self, sha256: str) -> str | None:
        """Return the id of an uploaded image, or None."""
        return self._ids.get(sha256)

    def add(self, sha256: str, file_id: str) -> None:
        """Record an image that was uploaded."""
        self._ids[sha256] = file_id
        with self._path.open("ab") as file:
            file.write(batches.compact({"at": self._endpoint, "sha256": sha256, "id": file_id}))

    def forget(self) -> None:
        """Remove the record: the requests that name them are in the file."""
        self._path.unlink(missing_ok=True)

    def _load(self) -> Iterator[tuple[str, str]]:
        lines = self._path.read_bytes().splitlines() if self._path.exists() else ()
        for text in lines:
            try:
                values = table(json.loads(text))
            except ValueError:  # the last one, cut short by a kill
                continue
            sha256, file_id = values.get("sha256"), values.get("id")
            if values.get("at") == self._endpoint and sha256 and isinstance(file_id, str):
                yield str(sha256), file_id


def _input(state: State, number: int) -> Iterator[bytes]:
    part = state.parts[number]
    with state.requests.open("rb") as file:
        file.seek(part.start)
        mine = (line for line in map(RequestLine.read, file) if line.part == number)
        for line in islice(mine, part.lines):
            yield batches.line(line.custom_id, part.path, line.body)
