"""The time. An object that is given a clock asks that one alone, and hands it to its parts.

Only this file asks the machine. A clock that is given decides about dates: which models are
alive, which prices hold, which day a budget counts for, what has expired. Two things are not
dates and never go by it: how long something takes (`time.monotonic`), and the age of a file,
which is told by the file system that stamped it (`files_now`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias


Clock: TypeAlias = Callable[[], datetime]
"""Tells the time (UTC)."""


def utc_now() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


def in_utc(clock: Clock | None) -> Clock:
    """A clock whose dates are those of UTC, whatever zone the given one shows; ours for None.

    Models end and prices begin at midnight in UTC. A time without a zone stays as it is: it
    could be any, and a client refuses it before anything is sent.
    """
    if clock is None:
        return utc_now

    def now() -> datetime:
        found = clock()
        return found if found.tzinfo is None else found.astimezone(UTC)

    return now


def unix_now() -> float:
    """The time of this machine, in seconds since 1970."""
    return time.time()


def files_now(folder: str | os.PathLike[str]) -> float:
    """The time by which a folder's files are stamped, in seconds since 1970.

    A file server has a clock of its own, which may be minutes off this machine's; so a new
    file is asked for its stamp. Where none can be made, nothing there is being written
    either, and this machine's time is as good.
    """
    import tempfile

    try:
        # Not an anonymous file: only one with a name is sure to lie on that file system.
        handle, name = tempfile.mkstemp(prefix=".now-", dir=folder)
    except OSError:
        return unix_now()
    try:
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)
        Path(name).unlink(missing_ok=True)
