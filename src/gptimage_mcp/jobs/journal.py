"""A small entry for each job, so that a server started later, or a replica, knows what came of it.

A server that is killed cannot write down how its jobs ended. Others see that it is not alive; so
a job that began and did not end, and whose server is not alive, is known to be abandoned.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import asdict, evolve, field, frozen

from gptimage_mcp.jobs.shared import SharedFolder, SharedState


State: TypeAlias = Literal["running", "done", "failed", "unknown"]
"""``unknown``: it was sent, its outcome is not known, and it may have been billed."""

_HANDLE: Final = re.compile(r"job_[0-9a-f]{32}", re.ASCII)
_logger: Final = logging.getLogger(__name__)


def new_handle() -> str:
    """``job_`` and 128 random bits."""
    return f"job_{secrets.token_hex(16)}"


def is_handle(text: str) -> bool:
    """Return whether this may be a handle; nothing else ever becomes a file name."""
    return _HANDLE.fullmatch(text) is not None


def folder_beside(ledger: Path) -> Path:
    """Return the folder of the journal of servers with this ledger."""
    return ledger.with_name(f"{ledger.name}.jobs")


@frozen(kw_only=True)
class Entry:
    """Journal entry of a job; it never holds the prompt.

    Attributes:
        handle: Its handle; a new one when left out.
        operation: What is done, such as ``generate``.
        owner: Who sent the request, or None.
        started: When it began (UTC).
        server: The lock of the server that does it; empty before it is written down.
        state: How it was when this was written.
        digest: Equal for calls that ask the service for the same; None when nobody may know.
        dedup_key: Equal for calls that also want the same tags and copies; they share one job.
        sent: Whether a request has left for it, so that it may be billed.
        most: The most that request should cost, in USD; None when that is not known.
        images: The images it left in the store.
        shown: How many of them answer it, from the first one on; None when all do.
        error: Why it ended without any.
        stopped: Whether it was never sent because its client left or cancelled it.
    """

    handle: str = field(factory=new_handle)
    operation: str
    owner: str | None = None
    started: datetime
    server: str = ""
    state: State = "running"
    sent: bool = False
    most: Decimal | None = None
    images: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    shown: int | None = None
    error: str | None = field(default=None, repr=False)
    digest: str | None = None
    dedup_key: str | None = None
    stopped: bool = False

    @property
    def is_open(self) -> bool:
        """Return whether a person may still have to decide about it."""
        return self.state in ("running", "unknown") or self.stopped


class Journal:
    """Entries that the servers of one group share.

    Args:
        where: A folder, made when it is needed, or another shared state.
    """

    def __init__(self, where: Path | SharedState) -> None:
        self._state: SharedState = SharedFolder(where) if isinstance(where, Path) else where
        self._server = f"server_{os.getpid()}_{secrets.token_hex(8)}"

    def begin(self, entry: Entry) -> Entry:
        """Write down that work begins, and return its entry."""
        entry = self.taken(entry)
        self.put(entry)
        return entry

    def taken(self, entry: Entry) -> Entry:
        """Return the entry as one of this server, whose lock others can see."""
        try:
            self._state.enter(self._server)
        except OSError as error:
            _logger.warning("jobs cannot be shared with other servers: %s", error)
        return evolve(entry, server=self._server)

    def put(self, entry: Entry) -> None:
        """Write down how it is now; a full disk is only logged, as it costs no image."""
        try:
            self._state.write(f"{entry.handle}.json", json.dumps(_plain(entry)).encode())
            self._mark(entry)
        except OSError as error:
            _logger.warning("%s cannot be written down: %s", entry.handle, error)

    def find(self, handle: str) -> Entry | None:
        """Return the entry of a job of any server; None when there is none."""
        if not is_handle(handle):
            return None
        try:
            return _entry(json.loads(self._state.read(f"{handle}.json") or b"{}"))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def still_open(self, digest: str | None = None) -> list[Entry]:
        """Return jobs that run, or whose outcome a person may have to decide about, newest first.

        Args:
            digest: Only work that asks for this; all when left out.
        """
        found: list[Entry] = []
        for mark in self._marks(digest):
            entry = self.find(mark.partition(".")[2])
            if entry is not None and entry.is_open:
                found.append(entry)
        return sorted(found, key=lambda entry: entry.started, reverse=True)

    def cancel(self, handle: str) -> None:
        """Mark the job as cancelled, for the process that would send it."""
        with suppress(OSError):
            self._state.write(f"{handle}.cancelled", b"")

    def is_cancelled(self, handle: str) -> bool:
        """Return whether the job was cancelled, as far as that can be known."""
        try:
            return self._state.read(f"{handle}.cancelled") is not None
        except OSError:
            return False

    def is_alive(self, entry: Entry) -> bool:
        """Return whether its server still runs, or may still run."""
        try:
            return entry.server == self._server or self._state.is_alive(entry.server)
        except OSError:
            return True

    def close(self) -> None:
        """Let others see that this server is over; the next `begin` opens it again."""
        self._state.leave(self._server)

    def _mark(self, entry: Entry) -> None:
        """Let open jobs be found by their digest, without reading every entry."""
        if entry.digest is None:
            return
        if entry.is_open:
            self._state.mark(f"{entry.digest}.{entry.handle}")
            return
        self._state.unmark(f"{entry.digest}.{entry.handle}")
        if entry.state == "done":  # the same, asked for once more, answers what was open
            for other in self.still_open(entry.digest):
                going = other.state == "running" and self.is_alive(other)
                if other.owner == entry.owner and not going:
                    self._state.unmark(f"{other.digest}.{other.handle}")

    def _marks(self, digest: str | None) -> list[str]:
        try:
            return self._state.marks(f"{digest}." if digest else "")
        except OSError:
            return []


def _plain(entry: Entry) -> dict[str, object]:
    found = asdict(entry)
    found["alike"] = found.pop("dedup_key")  # its name in files since 0.1.0
    found["started"] = entry.started.isoformat()
    found["most"] = None if entry.most is None else str(entry.most)
    return found


def _entry(found: dict[str, Any]) -> Entry:
    found["dedup_key"] = found.pop("alike", None)  # 0.1.0 wrote none
    found["started"] = datetime.fromisoformat(found["started"])
    if found["most"] is not None:
        found["most"] = Decimal(found["most"])
    return Entry(**found)
