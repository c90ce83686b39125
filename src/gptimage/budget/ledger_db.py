"""The SQLite file of a ledger: its tables, and what its errors say."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptimage._internal.data import data_text
from gptimage._internal.sqlite import NotADatabaseError, SqliteFile, create_tables, damage
from gptimage.errors import ConfigurationError


if TYPE_CHECKING:
    import sqlite3

_BUSY_SECONDS: Final = 30.0
"""How long to wait for other processes; one of them takes a few milliseconds."""

TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "text_tokens",
    "image_tokens",
    "output_text_tokens",
    "svg_tokens",
)
COLUMNS: Final = (
    "id",
    "at",
    "operation",
    "model",
    "outcome",
    "cached",
    "images",
    "estimate_nanos",
    "reserved_nanos",
    "cost_nanos",
    "counted_nanos",
    *TOKENS,
    "request_id",
    "error",
    "seconds",
    "prompt",
    "host",
    "pid",
    "until",
)
_VERSION: Final = 1
_SCHEMA: Final = data_text(__name__, "ledger.sql")
"""Triggers keep the sums, so that no limit has to add up a million calls."""

_COPY: Final = f"CREATE INDEX IF NOT EXISTS copy ON calls ({', '.join(COLUMNS[1:])})"
"""SQLite has no checksums: it compares what the calls say with this, which it keeps itself."""

HOST: Final = platform.node()


def open_ledger(path: Path) -> SqliteFile:
    """Make the file of a ledger; nothing is opened before it is needed.

    What it holds is found nowhere else. A file that is damaged, is something else or comes from a
    newer version is refused, and stays as it is.
    """
    return SqliteFile(
        path,
        prepare=_prepare,
        failed=lambda error: ConfigurationError(_message(path, error)),
        busy_seconds=_BUSY_SECONDS,
        # Each reservation is on the disk before its request is sent: a power cut forgets none.
        durable=True,
    )


def is_abandoned(host: str, pid: int | None, until: float, now: float) -> bool:
    """Return whether no process can be waiting any more for the response to an open call.

    A process is looked for only on its own machine. Numbers of processes are used again, so
    a call that is overdue is over in any case.
    """
    if now > until:
        return True
    if pid is None or host != HOST or os.name != "posix" or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # the process is there, and belongs to another user
    return False


def _prepare(connection: sqlite3.Connection) -> None:
    if not create_tables(connection, _VERSION, _SCHEMA):
        raise NotADatabaseError("it is another database, or of a newer version of gptimage")
    connection.execute(_COPY)


def check_whole(connection: sqlite3.Connection) -> None:
    """Check that each call is as it was written, and that the sums beside the calls are theirs.

    Raises:
        DatabaseError: They are not: the file was damaged or changed.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    (calls,) = connection.execute("SELECT COALESCE(SUM(counted_nanos), 0) FROM calls").fetchone()
    (hours,) = connection.execute("SELECT COALESCE(SUM(nanos), 0) FROM hours").fetchone()
    if found != "ok" or calls != hours:
        raise damage(found if found != "ok" else "calls disagree with sums")


def _message(path: Path, error: Exception) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if isinstance(error, NotADatabaseError):
        return (
            f"{path} is no ledger, and is left as it is: {error}. Nothing is sent: name another "
            "file. If it was a ledger, what it had counted is lost, and a new one does not know "
            "what was spent before"
        )
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return (
            f"the ledger {path} is damaged and left as it is ({error}): "
            "name another file, and add what this one had spent to the plan"
        )
    return f"the ledger {path} cannot be used: {error}"
