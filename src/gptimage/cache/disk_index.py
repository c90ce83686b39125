"""The SQLite index of a disk cache: sizes, order of use, counts, and outcomes.

It can be deleted at any time: entries are found again from the files, counts start anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage._internal.data import data_text
from gptimage._internal.sqlite import SqliteFile, damage, run_script, transaction
from gptimage._internal.text import reason
from gptimage.cache.base import nanodollars
from gptimage.cache.entry_file import EntryHeader
from gptimage.errors import CacheError


if TYPE_CHECKING:
    import sqlite3

_BUSY_SECONDS: Final = 1.0
"""How long to wait for another process's write; one takes well under a millisecond."""

_VERSION: Final = 1
_SCHEMA: Final = data_text(__name__, "disk_index.sql")
"""Triggers keep the sums, so that no put has to add up a hundred thousand rows."""

_COUNTS: Final = {"bytes", "entries", "hits", "misses", "evictions", "nanos"}

_NEXT_USE: Final = "(SELECT COALESCE(MAX(used), 0) + 1 FROM entries)"
"""Order of use is counted, not timed: clocks of processes may differ."""


class Index(SqliteFile):
    """The index of one folder.

    Args:
        path: The database file.
        find: Reads the headers of all entry files, for an index that is new.
    """

    def __init__(self, path: Path, find: Callable[[], Iterable[EntryHeader]]) -> None:
        super().__init__(
            path,
            prepare=self._build,
            failed=self._error,
            busy_seconds=_BUSY_SECONDS,
            replaceable=True,  # the entry files know all that matters
        )
        self._find = find

    def _build(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA user_version").fetchone() == (_VERSION,):
            return
        with transaction(connection):
            kinds = {"table": "TABLE", "trigger": "TRIGGER"}
            found = connection.execute("SELECT type, name FROM sqlite_schema").fetchall()
            for kind, name in found:  # of another version, or half made
                if kind in kinds and not name.startswith("sqlite_"):
                    connection.execute(f'DROP {kinds[kind]} IF EXISTS "{name}"')
            run_script(connection, _SCHEMA)
            for head in sorted(self._find(), key=lambda head: head.created):
                insert(connection, head)
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _error(self, error: Exception) -> CacheError:
        return CacheError(f"the cache in {self.path.parent} cannot be used: {reason(error)}")


def insert(connection: sqlite3.Connection, head: EntryHeader) -> None:
    """Add a reply as the one used last, in place of an older one."""
    forget(connection, head.key)
    connection.execute(
        f"INSERT INTO entries VALUES (?, ?, ?, ?, ?, {_NEXT_USE})",  # noqa: S608  # a constant
        (head.key, head.size, nanodollars(head.usd), head.created, head.expires),
    )


def touch(connection: sqlite3.Connection, key: str) -> None:
    """Note that a reply was used just now."""
    connection.execute(
        f"UPDATE entries SET used = {_NEXT_USE} WHERE key = ?",  # noqa: S608  # a constant
        (key,),
    )


def forget(connection: sqlite3.Connection, key: str) -> None:
    """Remove a reply."""
    connection.execute("DELETE FROM entries WHERE key = ?", (key,))


def least_used(connection: sqlite3.Connection) -> str | None:
    """Return the key whose last use is longest ago; None when there are no entries."""
    found = connection.execute("SELECT key FROM entries ORDER BY used LIMIT 1").fetchone()
    return None if found is None else str(found[0])


def add(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Add to one of the counts."""
    connection.execute("UPDATE counts SET value = value + ? WHERE name = ?", (value, name))


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return all counts by name."""
    found: dict[str, Any] = dict(connection.execute("SELECT name, value FROM counts"))
    if found.keys() != _COUNTS or not all(isinstance(each, int) for each in found.values()):
        raise damage("the counts are damaged")
    return found
