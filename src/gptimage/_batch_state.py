"""What a batch job must not forget: its state, and its requests, in two files side by side.

The state is replaced as a whole and forced to the disk, so that what is written before a
request is sent is there when the process is killed in the middle of it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import asdict, define, field, frozen

from gptimage.errors import ConfigurationError
from gptimage.providers import openai_batch
from gptimage.providers.openai_batch import BatchPart


_VERSION: Final = 1


@define(kw_only=True)
class Part:
    """One file of requests and the batch made of it.

    Attributes:
        path: The endpoint, such as ``/images/edits``.
        model: The one model its requests name.
        lines: How many requests.
        size: Bytes of its file.
        reserved: The most it should cost, in USD as text; None when that is not known.
        file_id: The uploaded file, or None.
        intended: When the batch was about to be made (UTC, as text), or None.
        batch_id: The batch, or None.
        entered: Whether it is reserved in the budget or entered in the ledger.
        settled: Whether its cost is in the ledger.
    """

    path: str
    model: str
    lines: int = 0
    size: int = 0
    reserved: str | None = "0"
    file_id: str | None = None
    intended: str | None = None
    batch_id: str | None = None
    entered: bool = False
    settled: bool = False

    def add(self, line: bytes, ceiling: Decimal | None) -> None:
        """Count one more request."""
        self.lines, self.size = self.lines + 1, self.size + len(line)
        known = self.reserved is not None and ceiling is not None
        self.reserved = str(Decimal(self.reserved or 0) + (ceiling or 0)) if known else None


@frozen(kw_only=True)
class Kept:
    """One request as it is kept.

    Attributes:
        custom_id: Its name in the batch.
        part: The number of its part.
        body: The body of its line.
        size: The exact pixels asked for, such as ``1200x630``, or None.
        template: The template its prompt came from, or None.
        tags: Tags for the store.
    """

    custom_id: str
    part: int
    body: dict[str, Any] = field(repr=False)
    size: str | None = None
    template: str | None = None
    tags: tuple[str, ...] = ()


@define(kw_only=True, eq=False)
class State:
    """A batch job.

    Attributes:
        path: The state's file.
        name: Random; found again in the metadata of its batches.
        created: When it was begun (UTC, as text); decides prices.
        endpoint: The service's base URL.
        ready: Whether every request is written down; nothing is submitted before.
        digest: The SHA-256 of all requests.
        estimate: What it may cost, in USD as text, or None.
        metadata: The caller's own metadata.
        parts: Its batches.
        temporary: Whether its files go when the job does.
    """

    path: Path
    name: str
    created: str
    endpoint: str
    ready: bool = False
    digest: str = ""
    estimate: str | None = None
    metadata: dict[str, str] = field(factory=dict[str, str])
    parts: list[Part] = field(factory=list[Part])
    temporary: bool = False

    @classmethod
    def new(
        cls,
        path: str | os.PathLike[str] | None,
        now: datetime,
        endpoint: str,
        metadata: dict[str, str],
    ) -> State:
        """A new job; without a path it lives in a temporary folder, as long as this object."""
        folder = tempfile.mkdtemp(prefix="gptimage-batch-") if path is None else None
        file = Path(folder, "batch.json") if folder else Path(path or "")
        state = cls(
            path=file.absolute(),
            name=secrets.token_hex(16),
            created=now.isoformat(),
            endpoint=endpoint,
            metadata=metadata,
            temporary=folder is not None,
        )
        if folder is not None:
            weakref.finalize(state, shutil.rmtree, folder, ignore_errors=True)
        return state

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """The job in a state file.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigurationError: It is no state file of this version.
        """
        file = Path(path).absolute()
        try:
            values = json.loads(file.read_bytes())
            if values.pop("version") != _VERSION:
                raise ValueError("another version")
            parts = [Part(**each) for each in values.pop("parts")]
            return cls(path=file, parts=parts, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(f"{file} is no state file of a batch ({error!r})") from error

    @property
    def on(self) -> datetime:
        """When it was begun."""
        return datetime.fromisoformat(self.created)

    @property
    def requests(self) -> Path:
        """The file of its requests."""
        return self.path.with_name(self.path.name + ".requests.jsonl")

    def save(self) -> None:
        """Write it down, for good."""
        kept = asdict(self)
        del kept["path"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.new")
        with _private(temporary) as file:
            file.write(json.dumps({"version": _VERSION, **kept}, indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    @contextmanager
    def writing(self) -> Generator[Any]:
        """The file of requests, emptied, to be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _private(self.requests) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def kept(self) -> Iterator[Kept]:
        """Every request, in order, read one at a time."""
        with self.requests.open("rb") as file:
            for text in file:
                yield read_kept(text)

    def index(self) -> dict[str, tuple[int, int]]:
        """Where each request is, by name: its number and its place in the file."""
        found: dict[str, tuple[int, int]] = {}
        with self.requests.open("rb") as file:
            place = 0
            for number, text in enumerate(file):
                found[read_kept(text).custom_id] = (number, place)
                place += len(text)
        return found

    def input_of(self, number: int) -> bytes:
        """The file of one part, as it is uploaded."""
        path = self.parts[number].path
        lines = (each for each in self.kept() if each.part == number)
        return b"".join(openai_batch.line(each.custom_id, path, each.body) for each in lines)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep other processes from submitting the same job.

        Raises:
            ConfigurationError: Another one is at it.
        """
        with self.path.with_name(self.path.name + ".lock").open("ab") as file:
            _claim(file.fileno(), self.path)
            yield


def write_kept(kept: Kept) -> bytes:
    """A request as a line of the requests file."""
    return json.dumps(asdict(kept), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_kept(text: bytes) -> Kept:
    """The request in a line.

    Raises:
        ConfigurationError: It is damaged.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        tags = tuple(values.pop("tags"))
        return Kept(**values, tags=tags)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError("the file of the batch's requests is damaged") from error


@frozen(kw_only=True)
class Status:
    """How far a batch job is.

    Attributes:
        parts: Its batches at the service, in order; large jobs, and those over several
            models, have several.
        total: All its requests.
    """

    parts: tuple[BatchPart, ...]
    total: int

    @property
    def completed(self) -> int:
        """Requests answered with pictures."""
        return sum(part.completed for part in self.parts)

    @property
    def failed(self) -> int:
        """Requests that failed so far."""
        return sum(part.failed for part in self.parts)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return all(part.ended for part in self.parts)

    @property
    def state(self) -> str:
        """The state of its batches, each one named once: ``completed``, ``failed, completed``."""
        return ", ".join(dict.fromkeys(part.status for part in self.parts))

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.state}: {self.completed + self.failed} of {self.total} ({self.failed} failed)"
        )


def _private(path: Path) -> Any:
    """A new file only its owner reads: prompts are in it."""
    handle = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600
    )
    return os.fdopen(handle, "wb")


def _claim(handle: int, path: Path) -> None:
    import sys

    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"another process is submitting the batch {path}: wait for it"
        ) from error
