"""The index's tables, built by named steps that are only ever appended to.

Each step runs once, in its own transaction. A step in a released version is never changed:
indexes on people's disks were built with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gptimage._internal.clock import unix_now
from gptimage.errors import StoreError


if TYPE_CHECKING:
    from sqlite3 import Connection, DatabaseError


STEPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "2026-11-20 pictures": (
            # seq sorts by the time in the id, so newest first is the table backwards.
            """CREATE TABLE pictures (
                seq INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                key TEXT NOT NULL UNIQUE,
                stamp TEXT NOT NULL,
                model TEXT NOT NULL,
                operation TEXT NOT NULL,
                format TEXT NOT NULL,
                sha256 TEXT NOT NULL,
                bytes INTEGER NOT NULL,
                nano_usd INTEGER,
                pinned INTEGER NOT NULL,
                parent TEXT
            )""",
            "CREATE INDEX by_model ON pictures (model)",
            "CREATE INDEX by_operation ON pictures (operation)",
            "CREATE INDEX by_format ON pictures (format)",
            "CREATE INDEX by_sha256 ON pictures (sha256)",
            "CREATE INDEX by_parent ON pictures (parent) WHERE parent IS NOT NULL",
            "CREATE INDEX by_pinned ON pictures (pinned) WHERE pinned",
            # Apart from the rows above, so that scans of those stay small.
            """CREATE TABLE sidecars (
                seq INTEGER PRIMARY KEY,
                prompt TEXT NOT NULL,
                tags TEXT NOT NULL,
                body BLOB NOT NULL
            )""",
            # Short beginnings of words match thousands of them, so those have an index too.
            """CREATE VIRTUAL TABLE words USING fts5 (
                prompt, tags, content='sidecars', content_rowid='seq',
                prefix='2 3 4', tokenize='unicode61 remove_diacritics 2'
            )""",
            """CREATE TABLE tags (
                tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)
            ) WITHOUT ROWID""",
            "CREATE INDEX tags_of ON tags (seq)",
            """CREATE TABLE sources (
                sha256 TEXT NOT NULL, seq INTEGER NOT NULL, bytes INTEGER NOT NULL,
                PRIMARY KEY (sha256, seq)
            ) WITHOUT ROWID""",
            "CREATE INDEX sources_of ON sources (seq)",
            # Sidecars that are being written or removed: looked at again after a crash.
            "CREATE TABLE journal (key TEXT PRIMARY KEY, since REAL NOT NULL)",
            "CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        ),
        # Emoji are words now, and tags composed: everything is read again.
        "2026-11-28 emoji and composed tags": ("DELETE FROM state WHERE name = 'filled'",),
    }
)


APPLICATION: Final = 0x67707469
"""Marks a database as an index of this library (``gpti``)."""


def migrate(connection: Connection) -> None:
    """Run every step this index has not seen; steps of a newer version are left alone."""
    done = _applied(connection)
    built = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pictures'").fetchone()
    if built and next(iter(STEPS)) not in done:
        raise damaged("the list of steps is damaged")
    for name, statements in STEPS.items():
        if name not in done:
            _apply(connection, name, statements)


def damaged(problem: str) -> DatabaseError:
    """What SQLite raises for a broken file, for what only we can see."""
    from sqlite3 import DatabaseError

    error = DatabaseError(problem)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def claim(connection: Connection) -> None:
    """Mark an empty database as ours; nothing of another program's is changed.

    Raises:
        StoreError: It is a database of another program.
    """
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION:
        return
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    # With our tables in it, only the mark was damaged.
    if found and not found >= {"migrations", "pictures", "sidecars", "words"}:
        raise StoreError(
            "the index's file is a database of another program: it is left alone; "
            "name another file with Store(..., index=...)"
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _applied(connection: Connection) -> set[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL NOT NULL)"
    )
    return {name for (name,) in connection.execute("SELECT name FROM migrations")}


def _apply(connection: Connection, name: str, statements: tuple[str, ...]) -> None:
    # IMMEDIATE: of two processes that find an empty file, one builds it and one waits.
    connection.execute("BEGIN IMMEDIATE")
    try:
        if name not in _applied(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, unix_now()))
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if "already exists" in str(error):  # the step is wrong, and would be in a new file, too
            raise StoreError(f"the index cannot be brought up to date: {error}") from error
        raise
