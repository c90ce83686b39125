"""What a batch job must not forget: its state, in a file that is replaced as a whole.

It is forced to the disk, so that what is written before a request is sent is there when the
process is killed, or the power cut, in the middle of it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

from attrs import asdict, define, field

from gptimage._internal import atomic
from gptimage._internal.locks import claim
from gptimage.errors import ConfigurationError


_VERSION: Final = 1
_KEPT: Final = ("name", "created", "endpoint", "ready", "digest", "metadata", "temporary")


@define(kw_only=True)
class Part:
    """One file of requests and the batch made of it.

    Attributes:
        path: The endpoint, such as ``/images/edits``.
        model: The one model its requests name.
        lines: How many requests.
        size: Bytes of its file.
        images: How many pictures are asked for.
        start: Where its first request is in the file of requests.
        estimate: What it may cost, in USD as text; None when that is not known.
        reserved: The most it should cost, in USD as text; None when that is not known.
        file_id: The uploaded file, or None.
        intended: Since when it is not known whether the batch was made (UTC, as text), or None.
        batch_id: The batch, or None.
        entered: Whether it is reserved in the budget or entered in the ledger.
        settled: Whether its cost is in the ledger.
    """

    path: str
    model: str
    lines: int = 0
    size: int = 0
    images: int = 0
    start: int = 0
    estimate: str | None = "0"
    reserved: str | None = "0"
    file_id: str | None = None
    intended: str | None = None
    batch_id: str | None = None
    entered: bool = False
    settled: bool = False

    def add(
        self, size: int, images: int, estimate: Decimal | None, ceiling: Decimal | None
    ) -> None:
        """Count one more request."""
        self.lines, self.size, self.images = self.lines + 1, self.size + size, self.images + images
        self.estimate = _sum(self.estimate, estimate)
        self.reserved = _sum(self.reserved, ceiling)


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
    metadata: dict[str, str] = field(factory=dict[str, str])
    parts: list[Part] = field(factory=list[Part])
    temporary: bool = False
    _forget: weakref.finalize[..., Any] | None = field(default=None, init=False, repr=False)

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
            state._forget = weakref.finalize(state, shutil.rmtree, folder, ignore_errors=True)
        return state

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """The job in a state file.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigurationError: It is no state file of this version.
        """
        file = Path(path).absolute()
        if not file.exists():
            raise FileNotFoundError(f"there is no state file {file}: is it in another folder?")
        try:
            values = json.loads(file.read_bytes())
            if values.pop("version") != _VERSION:
                raise ValueError("another version")
            parts = [Part(**each) for each in values.pop("parts")]
            return cls(path=file, parts=parts, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(
                f"{file} is no state file of a batch: it is not what `submit_batch(state=...)` and "
                "`gptimage batch submit --state` write"
            ) from error

    @property
    def on(self) -> datetime:
        """When it was begun."""
        return datetime.fromisoformat(self.created)

    @property
    def estimate(self) -> Decimal | None:
        """What it may cost, in USD."""
        known = [part.estimate for part in self.parts if part.estimate is not None]
        return sum(map(Decimal, known), Decimal(0)) if len(known) == len(self.parts) else None

    @property
    def requests(self) -> Path:
        """The file of its requests."""
        return self.path.with_name(self.path.name + ".requests.jsonl")

    def save(self) -> None:
        """Write it down, for good."""
        kept = {name: getattr(self, name) for name in _KEPT}
        parts = [asdict(part) for part in self.parts]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        values = {"version": _VERSION, **kept, "parts": parts}
        atomic.replace(self.path, json.dumps(values, indent=1).encode())

    def keep(self) -> None:
        """Something may be paid: a temporary job must outlive this object, and this process."""
        if self._forget is not None:
            self._forget.detach()
            self._forget, self.temporary = None, False
            self.save()

    def discard(self) -> None:
        """Nothing was submitted, and what is written down is of no use."""
        for path in (self.path, self.requests):
            path.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep other processes, and other threads, from preparing or submitting the same job.

        Raises:
            ConfigurationError: Another one is at it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(self.path.name + ".lock").open("ab") as file:
            _claim(file.fileno(), self.path)
            yield


def private(path: Path) -> IO[bytes]:
    """A new file only its owner reads: prompts are in it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _sum(total: str | None, more: Decimal | None) -> str | None:
    return None if total is None or more is None else str(Decimal(total) + more)


def _claim(handle: int, path: Path) -> None:
    try:
        claim(handle)
    except OSError as error:
        raise ConfigurationError(
            f"another process is submitting the batch of {path}: wait until it has done so"
        ) from error
