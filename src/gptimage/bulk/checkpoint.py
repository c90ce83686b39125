"""The checkpoint of a run of many: a file with a line for everything that happened to an item.

Each line is one JSON object and is written at once, so a run that is killed leaves a file that
the next one can go on with. The last line of an item counts::

    {"index": 3, "key": "g1:…", "status": "begun", "reply": "20261128T…"}
    {"index": 3, "key": "g1:…", "status": "done", "stored": ["img_…"], "usd": "0.0131"}

``begun`` is written when a request leaves, so one that waits for a limit has no line yet; it
names the reply in the spool, where the answer is kept from its arrival on. ``answered`` says
that it is paid and nobody has taken the images yet; ``done`` that they are saved, or were
handed over. ``failed`` costs nothing and is tried again, by this run or the next. ``unknown``
may have been billed.
"""

from __future__ import annotations

import json
import os
import threading
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self

from attrs import field, frozen

from gptimage._internal.json import array as items
from gptimage._internal.json import table
from gptimage._internal.locks import claim
from gptimage.errors import ConfigurationError


ItemStatus = Literal["begun", "answered", "done", "failed", "unknown"]

_STATUSES: Final = frozenset(("begun", "answered", "done", "failed", "unknown"))
_NOWHERE: Final = -1
_SPARE: Final = 1_000_000
"""An index far beyond the number of lines belongs to no run; memory grows with the highest."""


@frozen(kw_only=True)
class CheckpointLine:
    """What a checkpoint knows of one item.

    Attributes:
        index: Which item it is, from 0.
        key: The key of its request, as in the cache.
        status: How far it came.
        stored: Ids of its records in the store.
        usd: What it cost in USD, as text, or None.
        reply: The name of its reply in the spool, or None; see `Spool.find`.
        error: The class and the message of its error, or None.
    """

    index: int
    key: str
    status: ItemStatus
    stored: tuple[str, ...] = ()
    usd: str | None = None
    reply: str | None = None
    error: tuple[str, str] | None = field(default=None, repr=False)

    def line(self) -> bytes:
        """The entry as a line of the file."""
        values: dict[str, Any] = {"index": self.index, "key": self.key, "status": self.status}
        if self.stored:
            values["stored"] = list(self.stored)
        if self.usd is not None:
            values["usd"] = self.usd
        if self.reply is not None:
            values["reply"] = self.reply
        if self.error is not None:
            values["error"] = {"type": self.error[0], "message": self.error[1]}
        return json.dumps(values).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self | None:
        """The entry of a line; None when it is damaged, as by a power cut."""
        try:
            values = table(json.loads(line))
        except (ValueError, RecursionError):
            return None
        index, key, status = (values.get(name) for name in ("index", "key", "status"))
        if type(index) is not int or index < 0 or not isinstance(key, str):
            return None
        if status not in _STATUSES:
            return None
        usd, reply, error = values.get("usd"), values.get("reply"), table(values.get("error"))
        return cls(
            index=index,
            key=key,
            status=status,
            stored=tuple(each for each in items(values.get("stored")) if isinstance(each, str)),
            usd=usd if isinstance(usd, str) else None,
            reply=reply if isinstance(reply, str) else None,
            error=(str(error.get("type")), str(error.get("message"))) if error else None,
        )


class Checkpoint:
    """An open checkpoint file; one run at a time may use it. Safe for many threads.

    A million items take 8 MB of memory: of each, only the place of its last line is kept.

    Args:
        path: The file; made when it is missing.

    Raises:
        ConfigurationError: Another run is using it, or it is no checkpoint.
        OSError: It cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._lock = threading.Lock()
        self._places = array("q")
        self._torn = False
        self._file: BinaryIO = self.path.open("a+b", buffering=0)
        try:
            _claim(self._file, self.path)
            self._end = self._load()
        except BaseException:
            self._file.close()
            raise

    def look(self, index: int) -> CheckpointLine | None:
        """What is known of an item from earlier runs and from this one."""
        with self._lock:
            place = self._places[index] if index < len(self._places) else _NOWHERE
            if place == _NOWHERE:
                return None
            self._file.seek(place)
            return CheckpointLine.read(_line_at(self._file))

    def write(self, entry: CheckpointLine) -> None:
        """Add a line. It survives the end of this process, though not a power cut.

        Raises:
            OSError: It cannot be written.
        """
        line = entry.line()
        with self._lock:
            if self._torn:  # a full disk took a part of a line, which this one must not join
                self._put(b"\n")
                self._end += 1
                self._torn = False
            self._put(line)
            self._note(entry.index, self._end)
            self._end += len(line)

    def close(self) -> None:
        """Release the file; harmless when done twice."""
        self._file.close()

    def __enter__(self) -> Self:
        """The checkpoint itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.close()

    def _put(self, data: bytes) -> None:
        """Write all of it; a full disk may take only a part."""
        written = self._file.write(data)
        try:
            while written < len(data):  # asked again, the kernel says why
                written += self._file.write(data[written:])
        except OSError:
            self._torn = True
            self._end += written
            raise

    def _load(self) -> int:
        """Note where the last line of each item is; gives the length of the file in bytes."""
        place, lines, line = 0, 0, b"\n"
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as reader:  # noqa: PTH123  # a buffer of its own
            for line in reader:
                entry = CheckpointLine.read(line)
                lines += 1
                if entry is not None and entry.index <= lines + _SPARE:
                    self._note(entry.index, place)
                elif entry is not None or (lines == 1 and not _is_torn(line)):
                    raise ConfigurationError(
                        f"{self.path} is no checkpoint of a run: name another file"
                    )
                place += len(line)
        if not line.endswith(b"\n"):  # the last run was killed while it wrote
            self._put(b"\n")
            place += 1
        return place

    def _note(self, index: int, place: int) -> None:
        self._places.extend([_NOWHERE] * (index + 1 - len(self._places)))
        self._places[index] = place


def _is_torn(line: bytes) -> bool:
    """Whether this is the beginning of an entry, left by a run that was killed."""
    start = b'{"index":'
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        text = line.rstrip()
        return text[: len(start)] == start[: len(text)]
    return False


def _line_at(file: BinaryIO) -> bytes:
    """The line that starts where an unbuffered file stands."""
    found = bytearray()
    while b"\n" not in found and (more := file.read(1024)):
        found += more
    return bytes(found.partition(b"\n")[0])


def _claim(file: BinaryIO, path: Path) -> None:
    """Keep other runs out until the file is closed, or the process ends."""
    try:
        claim(file.fileno())
    except OSError as error:
        raise ConfigurationError(
            f"another run is using the checkpoint {path}: wait for it, or use another file"
        ) from error
