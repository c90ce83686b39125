"""The checkpoint of a run of many: a file with a line for everything that happened to an item.

Each line is one JSON object and is written at once, so a run that is killed leaves a file that
the next one can go on with. The last line of an item counts::

    {"index": 3, "key": "g1:…", "status": "begun", "reply": "20261128T…"}
    {"index": 3, "key": "g1:…", "status": "done", "stored": ["img_…"], "usd": "0.0131"}

``begun`` is written when a request is about to be sent, so one that waits for a limit has no line
yet; it names the reply in the spool, where the response is saved as it arrives. ``answered`` says
that it is paid and its images were not delivered yet; ``done`` that they are in the store, or
were delivered. ``failed`` costs nothing and is sent again, by this run or the next. ``unknown``
may have been billed.
"""

from __future__ import annotations

import json
import os
import threading
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from attrs import field, frozen

from gptimage._internal.converter import from_json, to_json
from gptimage._internal.json import table
from gptimage._internal.locks import claim, disclaim
from gptimage.errors import ConfigurationError
from gptimage.transport.billing import Billing


_STATUSES: Final = {
    "begun": (Billing.SENT, False),
    "answered": (Billing.BILLED, False),
    "done": (Billing.BILLED, True),
    "failed": (Billing.NOT_BILLED, False),
    "unknown": (Billing.UNKNOWN, False),
}
"""The words of the file, which stay those of 0.1.0."""

_WORDS: Final = {state: word for word, state in _STATUSES.items()}
_NO_LINE: Final = -1
_SPARE: Final = 1_000_000
"""An index far beyond the number of lines belongs to no run; memory grows with the highest."""


@frozen(kw_only=True)
class ItemError:
    """The error of an item, as text.

    Attributes:
        type: Its class.
        message: Its message.
    """

    type: str
    message: str


@frozen(kw_only=True)
class CheckpointLine:
    """One line of a checkpoint.

    Attributes:
        index: Which item it is, from 0.
        key: The key of its request, as in the cache.
        billing: What is known about its money.
        delivered: Whether its images are in the store, or in the caller's hands.
        stored: Ids of its records in the store.
        usd: What it cost in USD, as text, or None.
        reply: The name of its reply in the spool, or None; see `PendingReplies.find`.
        error: Its error, or None.
    """

    index: int
    key: str
    billing: Billing
    delivered: bool = False
    stored: tuple[str, ...] = ()
    usd: str | None = None
    reply: str | None = None
    error: ItemError | None = field(default=None, repr=False)

    def line(self) -> bytes:
        """Return the line of the file."""
        values: dict[str, Any] = to_json(self)
        status = _WORDS[Billing(values.pop("billing")), values.pop("delivered")]
        given = {name: value for name, value in values.items() if value not in (None, [])}
        return json.dumps({"index": 0, "key": "", "status": status} | given).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self | None:
        """Read a line; return None when it is damaged, as by a power cut."""
        try:
            values = table(json.loads(line))
            billing, delivered = _STATUSES[values.get("status", "")]
            found = from_json({**values, "billing": str(billing), "delivered": delivered}, cls)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return found if found.index >= 0 else None


class Checkpoint:
    """An open checkpoint file; one run at a time may use it. Safe for many threads.

    A million items take 8 MB of memory: of each, only the offset of its last line is in memory.

    Args:
        path: The file; created when it is missing.

    Raises:
        ConfigurationError: Another run is using it, or it is no checkpoint.
        OSError: It cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._lock = threading.Lock()
        self._offsets = array("q")
        self._torn = False
        self._file: BinaryIO = self.path.open("a+b", buffering=0)
        try:
            _claim(self._file, self.path)
            self._end = self._load()
        except BaseException:
            self.close()
            raise

    def last(self, index: int) -> CheckpointLine | None:
        """Return the last line of an item, from earlier runs or this one."""
        with self._lock:
            offset = self._offsets[index] if index < len(self._offsets) else _NO_LINE
            if offset == _NO_LINE:
                return None
            self._file.seek(offset)
            return CheckpointLine.read(_line_at(self._file))

    def write(self, line: CheckpointLine) -> None:
        """Add a line. It survives the end of this process, though not a power cut.

        Raises:
            OSError: It cannot be written.
        """
        text = line.line()
        with self._lock:  # a line must not be written into the middle of another
            if self._torn:  # a full disk took a part of a line, which this one must not join
                self._put(b"\n")
                self._end += 1
                self._torn = False
            self._put(text)
            self._note(line.index, self._end)
            self._end += len(text)

    def close(self) -> None:
        """Release the file; harmless when done twice."""
        disclaim(self._file)
        self._file.close()

    def __enter__(self) -> Self:
        """Return the checkpoint itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.close()

    def _put(self, data: bytes) -> None:
        """Write all of it; a full disk may take only a part."""
        written = self._file.write(data)
        try:
            while written < len(data):  # the kernel gives the reason at the second try
                written += self._file.write(data[written:])
        except OSError:
            self._torn = True
            self._end += written
            raise

    def _load(self) -> int:
        """Note where the last line of each item is; return the length of the file in bytes."""
        offset, lines, text = 0, 0, b"\n"
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as reader:  # noqa: PTH123  # a buffer of its own
            for text in reader:
                line = CheckpointLine.read(text)
                lines += 1
                if line is not None and line.index <= lines + _SPARE:
                    self._note(line.index, offset)
                elif line is not None or (lines == 1 and not _is_torn(text)):
                    raise ConfigurationError(
                        f"{self.path} is no checkpoint of a run: name another file"
                    )
                offset += len(text)
        if not text.endswith(b"\n"):  # the last run was killed while it wrote
            self._put(b"\n")
            offset += 1
        return offset

    def _note(self, index: int, offset: int) -> None:
        self._offsets.extend([_NO_LINE] * (index + 1 - len(self._offsets)))
        self._offsets[index] = offset


def _is_torn(line: bytes) -> bool:
    """Return whether this is the beginning of a line, left by a run that was killed."""
    start = b'{"index":'
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        text = line.rstrip()
        return text[: len(start)] == start[: len(text)]
    return False


def _line_at(file: BinaryIO) -> bytes:
    """Read the line that starts at the position of an unbuffered file."""
    found = bytearray()
    while b"\n" not in found and (more := file.read(1024)):
        found += more
    return bytes(found.partition(b"\n")[0])


def _claim(file: BinaryIO, path: Path) -> None:
    """Lock out other runs until the checkpoint is closed, or the process ends."""
    try:
        claim(file)
    except OSError as error:
        raise ConfigurationError(
            f"another run is using the checkpoint {path}: wait for it, or use another file"
        ) from error
