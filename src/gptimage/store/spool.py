"""`Spool`: keeps a raw reply from the moment it arrived until its pictures are saved.

A process killed in between leaves the reply on disk, and `gptimage rescue` saves its
pictures. Nothing is forced to the disk: a killed process loses nothing that way, and only a
power cut within seconds could.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

from gptimage._internal.clock import Clock, utc_now
from gptimage._internal.user_dirs import make_private, spool_folder
from gptimage.errors import StoreError
from gptimage.store.asked import describe
from gptimage.store.context import reason
from gptimage.types.request import Generate


_SUFFIX: Final = ".reply"
_MAX_NOTE: Final = 2**20
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,100}")


@frozen(kw_only=True)
class SpoolEntry:
    """A reply on its way into the store.

    Attributes:
        path: Where it waits; None when it could not be written.
        warning: Why it could not be written, as a sentence, or None.
    """

    path: Path | None = None
    warning: str | None = None

    def done(self) -> None:
        """Remove it: its pictures are saved, or handed to the caller."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()


@frozen(kw_only=True)
class Leftover:
    """A reply whose process did not come to an end.

    Attributes:
        path: The file.
        key: What the process called it: the cache key.
        at: When it arrived (UTC).
        note: What was asked; see `note_of`.
        store: The name of the store its pictures belong to; None when nobody knows.
    """

    path: Path
    key: str
    at: datetime
    store: str | None = None
    note: Mapping[str, object] = field(repr=False)

    def read(self) -> bytes:
        """The reply.

        Raises:
            OSError: The file cannot be read.
        """
        with self.path.open("rb") as file:
            file.readline(_MAX_NOTE)
            return file.read()


class Spool:
    """A folder of replies that are not yet pictures in a store.

    Args:
        folder: Where; a folder of the user's own when left out. It must be on this machine.
        clock: Tells the time (UTC).
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, clock: Clock = utc_now
    ) -> None:
        self._clock = clock
        self.folder: Path = Path(folder).expanduser() if folder else spool_folder()

    def __repr__(self) -> str:
        """The class and the folder."""
        return f"Spool({str(self.folder)!r})"

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview,
        note: Mapping[str, object],
        *,
        name: str | None = None,
        store: str | None = None,
    ) -> SpoolEntry:
        """Keep a reply. It never raises: a full disk must not stand between you and it.

        Args:
            key: Any name, such as the cache key.
            body: The reply as it arrived.
            note: What was asked, as JSON; see `note_of`.
            name: What `find` will ask for, from `new_name`; a new one when left out.
            store: The name of the store the pictures are for; only its rescue takes them.
        """
        now = self._clock().astimezone(UTC)
        head = {
            "gptimage": 1,
            "key": key,
            "at": now.isoformat(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "store": store,
            "note": dict(note),
        }
        name = name or new_name()
        temporary = self.folder / f".{name}"
        try:
            make_private(self.folder)
            with temporary.open("xb") as file:
                file.write(json.dumps(head, default=str).encode() + b"\n")
                file.write(body)
            return SpoolEntry(path=temporary.rename(self.folder / f"{name}{_SUFFIX}"))
        except Exception as error:  # noqa: BLE001  # the picture comes first
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            return SpoolEntry(
                warning=f"the reply could not be kept for a rescue ({reason(error)}): "
                "if this process is killed before the pictures are saved, they are lost"
            )

    def find(self, name: str) -> Leftover | None:
        """The reply that was kept under this name; None when there is none, or it is damaged.

        Raises:
            OSError: It is there and cannot be read.
        """
        if not _NAME.fullmatch(name):  # it may come from a file that anybody wrote
            return None
        found = _read(self.folder / f"{name}{_SUFFIX}")
        return found and found[0]

    def leftovers(self, older_than: timedelta = timedelta(hours=1)) -> tuple[Leftover, ...]:
        """Replies of processes that died, and those older than some time, oldest first.

        Args:
            older_than: Zero or less takes every one, whatever its date: another clock may
                have written it.

        Raises:
            StoreError: The folder cannot be read.
        """
        try:
            found = [_read(path) for path in sorted(self.folder.glob(f"*{_SUFFIX}"))]
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read: {reason(error)}") from error
        any_age, limit = older_than <= timedelta(0), self._clock() - older_than
        return tuple(
            each for each, dead in filter(None, found) if any_age or dead or each.at <= limit
        )


def new_name() -> str:
    """A name for a reply that is still to come; names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{os.urandom(6).hex()}"


def note_of(request: Generate) -> dict[str, object]:
    """What a rescue must know of a request, as JSON; input pictures are named, not kept."""
    return describe(request)


def _read(path: Path) -> tuple[Leftover, bool] | None:
    """A leftover, and whether its process is dead; None for a file that is none."""
    try:
        with path.open("rb") as file:
            head = cast("dict[str, Any]", json.loads(file.readline(_MAX_NOTE)))
        left = Leftover(
            path=path,
            key=str(head["key"]),
            at=datetime.fromisoformat(head["at"]).astimezone(UTC),
            note=dict(head["note"]),
            store=None if head.get("store") is None else str(head["store"]),
        )
        return left, head["host"] == socket.gethostname() and not _alive(int(head["pid"]))
    except Exception:  # noqa: BLE001  # the head of a file anybody may have written
        return None


def _alive(pid: int) -> bool:
    """Whether a process runs here; on Windows, where asking could end it, only age decides."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
