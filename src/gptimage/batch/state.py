"""The state of a batch job, in a file that is replaced as a whole.

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

from attrs import define, field

from gptimage._internal import atomic
from gptimage._internal.converter import from_json, to_json
from gptimage._internal.json import table
from gptimage._internal.locks import claim, disclaim
from gptimage.errors import ConfigurationError
from gptimage.transport.billing import Billing


_VERSION: Final = 1
_KEYS: Final = {"unconfirmed_since": "intended"}
"""The keys of the file, which stay those of 0.1.0: both versions may go on with a job."""


@define(kw_only=True)
class Part:
    """One file of requests and the batch made of it.

    Attributes:
        path: The endpoint, such as ``/images/edits``.
        model: The one model its requests name.
        lines: How many requests.
        size: Bytes of its file.
        images: How many images are requested.
        start: The offset of its first request in the file of requests.
        estimate: What it may cost, in USD; None when that is not known.
        reserved: The most it should cost, in USD; None when that is not known.
        file_id: The uploaded file, or None.
        unconfirmed_since: Since when it is not known whether the batch was made (UTC), or None.
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
    estimate: Decimal | None = Decimal(0)
    reserved: Decimal | None = Decimal(0)
    file_id: str | None = None
    unconfirmed_since: datetime | None = None
    batch_id: str | None = None
    entered: bool = False
    settled: bool = False

    @property
    def billing(self) -> Billing:
        """The billing state of its batch; one that exists is billed as it is done."""
        if self.batch_id is not None:
            return Billing.BILLED
        return Billing.NOT_SENT if self.unconfirmed_since is None else Billing.UNKNOWN

    def add(
        self, size: int, images: int, estimate: Decimal | None, max_cost: Decimal | None
    ) -> None:
        """Count one more request."""
        self.lines, self.size, self.images = self.lines + 1, self.size + size, self.images + images
        self.estimate = _sum(self.estimate, estimate)
        self.reserved = _sum(self.reserved, max_cost)


@define(kw_only=True, eq=False)
class State:
    """A batch job.

    Attributes:
        path: The state's file.
        name: Random; found again in the metadata of its batches.
        created: When it was begun (UTC); decides prices.
        endpoint: The service's base URL.
        ready: Whether every request is in the file; nothing is submitted before.
        digest: The SHA-256 of all requests.
        metadata: The caller's own metadata.
        parts: Its batches.
        temporary: Whether its files go when the job does.
    """

    path: Path
    name: str
    created: datetime
    endpoint: str
    ready: bool = False
    digest: str = ""
    metadata: dict[str, str] = field(factory=dict[str, str])
    parts: list[Part] = field(factory=list[Part])
    temporary: bool = False
    _cleanup: Any = field(default=None, init=False, repr=False)

    @classmethod
    def new(
        cls,
        path: str | os.PathLike[str] | None,
        now: datetime,
        endpoint: str,
        metadata: dict[str, str],
    ) -> State:
        """Make a new job; without a path it is in a temporary folder, as long as this object."""
        folder = tempfile.mkdtemp(prefix="gptimage-batch-") if path is None else None
        file = Path(folder, "batch.json") if folder else Path(path or "")
        state = cls(
            path=file.absolute(),
            name=secrets.token_hex(16),
            created=now,
            endpoint=endpoint,
            metadata=metadata,
            temporary=folder is not None,
        )
        if folder is not None:
            state._cleanup = weakref.finalize(state, shutil.rmtree, folder, ignore_errors=True)
        return state

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read the job of a state file.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigurationError: It is no state file of this version.
        """
        file = Path(path).absolute()
        if not file.exists():
            raise FileNotFoundError(f"there is no state file {file}: is it in another folder?")
        try:
            values = table(json.loads(file.read_bytes()))
            if values.get("version") != _VERSION:
                raise ValueError(f"version {values.get('version')!r:.20} is not {_VERSION}")
            names = {old: new for new, old in _KEYS.items()}
            parts: list[dict[str, Any]] = values.get("parts", [])
            values["parts"] = [{names.get(k, k): v for k, v in each.items()} for each in parts]
            return from_json({**values, "path": str(file)}, cls)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{file} is no state file of a batch ({error}): "
                "`submit_batch(state=...)` or `gptimage batch submit --state` writes one"
            ) from error

    @property
    def estimate(self) -> Decimal | None:
        """The estimated cost, in USD."""
        known = [part.estimate for part in self.parts if part.estimate is not None]
        return sum(known, Decimal(0)) if len(known) == len(self.parts) else None

    @property
    def requests(self) -> Path:
        """The file of its requests."""
        return self.path.with_name(self.path.name + ".requests.jsonl")

    def save(self) -> None:
        """Write the file, for good."""
        values = to_json(self)
        del values["path"]
        parts: list[dict[str, Any]] = values["parts"]
        values["parts"] = [{_KEYS.get(k, k): v for k, v in each.items()} for each in parts]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Never half a file: what it says decides whether a batch is made, and paid, again.
        text = json.dumps({"version": _VERSION, **values}, indent=1)
        atomic.replace(self.path, text.encode())

    def make_permanent(self) -> None:
        """Save a temporary job for good: something may be paid, and this process may end."""
        if self._cleanup is not None:
            self._cleanup.detach()
            self._cleanup, self.temporary = None, False
            self.save()

    def discard(self) -> None:
        """Remove the files: nothing was submitted."""
        for path in (self.path, self.requests):
            path.unlink(missing_ok=True)

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Lock out other processes, and other threads, that prepare or submit the same job.

        Raises:
            ConfigurationError: Another one is at it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(self.path.name + ".lock").open("ab") as file:
            try:
                claim(file)
            except OSError as error:
                raise ConfigurationError(
                    f"another process is submitting the batch of {self.path}: "
                    "wait until it has done so"
                ) from error
            try:
                yield
            finally:
                disclaim(file)


def private(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read: prompts are in it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _sum(total: Decimal | None, more: Decimal | None) -> Decimal | None:
    return None if total is None or more is None else total + more
