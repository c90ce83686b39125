"""The time. An object that is given a clock uses that one alone, and hands it to its parts.

Only this file reads the machine's clock. A clock that is given decides about dates: which models
are alive, which prices hold, which day a budget counts for, what has expired. Two things are not
dates and never go by it: how long something takes (`time.monotonic`), and the age of a file,
which goes by the file system that stamped it (`files_now`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from gptimage.errors import ConfigurationError, truncated_repr


Clock: TypeAlias = Callable[[], datetime]
"""Returns the time (UTC)."""


FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2254
"""Years of the ids in a store; its index counts microseconds since 1970 in 63 bits."""


def utc_now() -> datetime:
    """Return the time of this machine, in UTC."""
    return datetime.now(UTC)


def in_utc(clock: Clock | None) -> Clock:
    """Make a clock whose dates are those of UTC, whatever zone the given one shows; ours for None.

    Models end and prices begin at midnight in UTC. A time without a zone stays as it is: it
    could be any, and a client refuses it before anything is sent; so does one that no
    calendar has in UTC.
    """
    if clock is None:
        return utc_now

    def now() -> datetime:
        found = clock()
        try:
            return found if found.tzinfo is None else found.astimezone(UTC)
        except OverflowError:
            return found

    return now


def check_time(moment: object) -> datetime:
    """Return the time that a clock gave, if everything that is dated can be counted from it.

    Raises:
        ConfigurationError: It has no zone, or its year is before 1970 or after 2254.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigurationError(
            f"clock= gives {truncated_repr(moment)}, which must be a time with its zone: "
            "lambda: datetime.now(UTC)"
        )
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ConfigurationError(
            f"the clock says {moment:%Y-%m-%d}, and nothing can be dated before {FIRST_YEAR} or "
            f"after {LAST_YEAR}: set the clock of this machine, or what clock= gives"
        )
    return moment


def unix_now() -> float:
    """Return the time of this machine, in seconds since 1970."""
    return time.time()


def files_now(folder: str | os.PathLike[str]) -> float:
    """Return the time by which a folder's files are stamped, in seconds since 1970.

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
