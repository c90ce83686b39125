"""A small file for each piece of work, so that a server started later can say what became of it.

A server that is killed cannot write down how its work ended. It holds a lock while it lives,
and the kernel frees that; so whoever finds work that began, did not end, and whose server's lock
is free, knows that nobody is doing it any more.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import sys
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen


State: TypeAlias = Literal["running", "done", "failed", "unknown"]
"""``unknown``: it was sent, its outcome is not known, and it may have been billed."""

KEPT: Final = 30 * 86_400.0
"""Seconds; then nobody asks any more."""

_OPEN: Final = ".open"
_HANDLE: Final = re.compile(r"job_[0-9a-f]{32}", re.ASCII)
_logger: Final = logging.getLogger(__name__)


def new_handle() -> str:
    """``job_`` and 128 random bits."""
    return f"job_{secrets.token_hex(16)}"


def is_handle(text: str) -> bool:
    """Whether this could be the handle of some work; nothing else ever becomes a file name."""
    return _HANDLE.fullmatch(text) is not None


def folder_beside(ledger: Path) -> Path:
    """Where the work of servers with this ledger is written down."""
    return ledger.with_name(f"{ledger.name}.jobs")


@frozen(kw_only=True)
class Entry:
    """What is written down about a piece of work; never its prompt.

    Attributes:
        handle: Its handle.
        operation: What is done, such as ``generate``.
        owner: Who asked, or None.
        started: When it began (UTC).
        server: The lock of the server that does it.
        state: How it was when this was written.
        digest: Equal for calls that ask the service for the same; None when nobody may know.
        dedup_key: Equal for calls that also want the same tags and copies; they share one job.
        sent: Whether a request has left for it, so that it may be billed.
        most: The most that request should cost, in USD; None when that is not known.
        images: The pictures it left in the store.
        error: Why it ended without any.
        stopped: Whether it was never sent because its client left or cancelled it.
    """

    handle: str
    operation: str
    owner: str | None
    started: datetime
    server: str
    state: State = "running"
    sent: bool = False
    most: Decimal | None = None
    images: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    error: str | None = field(default=None, repr=False)
    digest: str | None = None
    dedup_key: str | None = None
    stopped: bool = False

    @property
    def is_open(self) -> bool:
        """Whether somebody may still have to decide about it."""
        return self.state in ("running", "unknown") or self.stopped


def new_entry(
    operation: str,
    *,
    owner: str | None,
    started: datetime,
    handle: str | None = None,
    digest: str | None = None,
    dedup_key: str | None = None,
) -> Entry:
    """An entry that nobody has written down yet.

    Args:
        operation: What is done.
        owner: Who asked, or None.
        started: When it begins (UTC).
        handle: Its handle, if somebody gave it one already; a new one when left out.
        digest: See `Entry`.
        dedup_key: See `Entry`.
    """
    return Entry(
        handle=handle or new_handle(),
        operation=operation,
        owner=owner,
        started=started,
        server="",
        digest=digest,
        dedup_key=dedup_key,
    )


class Journal:
    """A folder of entries that the servers of one machine share.

    Args:
        folder: Where; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self._server = f"server_{os.getpid()}_{secrets.token_hex(8)}"
        self._lock: int | None = None

    def begin(
        self,
        operation: str,
        *,
        owner: str | None,
        started: datetime,
        handle: str | None = None,
        digest: str | None = None,
        dedup_key: str | None = None,
    ) -> Entry:
        """Write down that work begins; see `new_entry`."""
        entry = self.taken(
            new_entry(
                operation,
                owner=owner,
                started=started,
                handle=handle,
                digest=digest,
                dedup_key=dedup_key,
            )
        )
        self.put(entry)
        return entry

    def taken(self, entry: Entry) -> Entry:
        """The same, done by this server, whose lock others can see."""
        try:
            self._open()
        except OSError as error:
            _logger.warning("%s cannot be used: %s", self.folder, error)
        return evolve(entry, server=self._server)

    def put(self, entry: Entry) -> None:
        """Write down how it is now; a full disk is only logged, as it costs no picture."""
        try:
            self._write(entry)
            self._mark(entry)
        except OSError as error:
            _logger.warning("%s cannot be written: %s", self.folder, error)

    def find(self, handle: str) -> Entry | None:
        """What was written about a piece of work, by any server; None when nothing was."""
        if not is_handle(handle):
            return None
        try:
            return _entry(json.loads(self._path(handle).read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def still_open(self, digest: str | None = None) -> list[Entry]:
        """Work that runs, or about which somebody may have to decide, newest first.

        Args:
            digest: Only work that asks for this; all when left out.
        """
        found = [
            entry
            for path in self._marks(digest or "*")
            if (entry := self.find(path.name.split(".")[1])) is not None and entry.is_open
        ]
        return sorted(found, key=lambda entry: entry.started, reverse=True)

    def cancel(self, handle: str) -> None:
        """Let whoever does this work see that nothing is to be sent for it."""
        with suppress(OSError):
            self._cancelled(handle).touch(mode=0o600)

    def is_cancelled(self, handle: str) -> bool:
        """Whether nothing is to be sent for this work."""
        return self._cancelled(handle).exists()

    def is_alive(self, entry: Entry) -> bool:
        """Whether the server that does it still runs."""
        return entry.server == self._server or _is_held(self.folder / f"{entry.server}.lock")

    def close(self) -> None:
        """Let others see that this server is over; the next `begin` opens it again."""
        if self._lock is None:
            return
        os.close(self._lock)
        self._lock = None
        with suppress(OSError):
            (self.folder / f"{self._server}.lock").unlink()

    def _open(self) -> None:
        """Take this server's lock, and throw away what nobody asks for any more."""
        if self._lock is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{self._server}.lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        _try_lock(self._lock)
        # By the lock just made, not by this machine: a file server has a clock of its own.
        oldest = os.fstat(self._lock).st_mtime - KEPT
        for each in self.folder.iterdir():
            with suppress(OSError):
                if each.stat().st_mtime < oldest and not _is_held(each):
                    each.unlink()

    def _write(self, entry: Entry) -> None:
        path = self._path(entry.handle)
        temporary = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(_plain(entry)).encode())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _mark(self, entry: Entry) -> None:
        """Let work that is open be found by what it asks for, without reading every entry."""
        if entry.digest is None:
            return
        mark = self.folder / f"{entry.digest}.{entry.handle}{_OPEN}"
        if entry.is_open:
            mark.touch(mode=0o600)
            return
        mark.unlink(missing_ok=True)
        if entry.state == "done":  # the same, asked for once more, answers what was open
            for other in self.still_open(entry.digest):
                going = other.state == "running" and self.is_alive(other)
                if other.owner == entry.owner and not going:
                    (self.folder / f"{other.digest}.{other.handle}{_OPEN}").unlink(missing_ok=True)

    def _marks(self, digest: str) -> list[Path]:
        try:
            return [*self.folder.glob(f"{digest}.job_*{_OPEN}")]
        except OSError:
            return []

    def _cancelled(self, handle: str) -> Path:
        return self.folder / f"{handle}.cancelled"

    def _path(self, handle: str) -> Path:
        return self.folder / f"{handle}.json"


def _plain(entry: Entry) -> dict[str, object]:
    return {
        "handle": entry.handle,
        "operation": entry.operation,
        "owner": entry.owner,
        "started": entry.started.isoformat(),
        "server": entry.server,
        "state": entry.state,
        "sent": entry.sent,
        "most": None if entry.most is None else str(entry.most),
        "images": entry.images,
        "error": entry.error,
        "digest": entry.digest,
        "alike": entry.dedup_key,
        "stopped": entry.stopped,
    }


def _entry(found: dict[str, Any]) -> Entry:
    found["dedup_key"] = found.pop("alike", None)  # its name in files; 0.1.0 wrote none
    found["started"] = datetime.fromisoformat(found["started"])
    if found["most"] is not None:
        found["most"] = Decimal(found["most"])
    return Entry(**found)


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock on this file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _try_lock(descriptor: int) -> bool:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
