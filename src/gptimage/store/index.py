"""The index: what sidecars say, in SQLite, so that a million of them answer in a millisecond.

Everything in it can be read from the sidecars again. A row carries the etag of the sidecar
it was read from; it is only replaced by somebody who knew that etag, so of two processes
that read different versions the later one wins.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from gptimage._internal.data import data_text
from gptimage._internal.sqlite import damage
from gptimage.errors import InvalidRequestError
from gptimage.store.database import COUNTED, RECOUNT, UNHASHED, Database
from gptimage.store.names import ROWS, SIDECAR, id_in, input_digest, row_of, stem, time_of
from gptimage.store.sidecar import inputs
from gptimage.types.record import Record


if TYPE_CHECKING:
    from sqlite3 import Connection


# Words: text as full-text search holds it, and what people type turned into a safe query.

_NO_SPACES: Final = (
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])"
)
"""Characters of scripts that put no spaces between words: each becomes a word of its own."""

_EMOJI: Final = "[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff\U000e0020-\U000e007f]"
"""Arrows, symbols, pictographs and flags: no letters to full-text search, but people type them."""

_PIECES: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')

MAX_QUERY: Final = 2000
"""Longest search text, in characters."""


def indexed(text: str) -> str:
    """Return the text as it goes into the index."""
    plain = _printable(text)
    if plain.isascii():  # before the patterns are compiled, which takes 3 ms of each command
        return plain
    return re.sub(_EMOJI, _spelt, re.sub(_NO_SPACES, r" \1 ", plain))


def query(text: str) -> str | None:
    """Return an FTS5 query for a user's words; None when there are none.

    All words must be there. ``"red fox"`` in quotes is a phrase; ``light*`` finds words that
    begin so. Nothing else has a meaning, so no text is a syntax error.

    Raises:
        InvalidRequestError: It is no text, or has more than 2,000 characters.
    """
    if not isinstance(text, str) or len(text) > MAX_QUERY:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        allowed = f"text of at most {MAX_QUERY:,} characters"
        raise InvalidRequestError(
            f"cannot search for that: use {allowed}", field="text", value=text, allowed=allowed
        )
    pieces = [_piece(phrase or word) for phrase, word in _PIECES.findall(_printable(text))]
    return " ".join(piece for piece in dict.fromkeys(pieces) if piece) or None


def _piece(text: str) -> str:
    word = indexed(text.rstrip("*"))
    if not any(char.isalnum() for char in word):
        return ""
    return f'"{word}"' + " *" * text.endswith("*")


def same(text: str) -> str:
    """Return text as it is compared: composed, because two spellings of a letter look the same."""
    return unicodedata.normalize("NFC", storable(text))


def _spelt(match: re.Match[str]) -> str:
    """Return a symbol as a word of its own that full-text search keeps."""
    return f" emoji{ord(match[0]):x} "


def storable(text: str) -> str:
    """Return the text without half surrogate pairs, which have no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _printable(text: str) -> str:
    return storable(text).replace("\0", " ")


def digest_bytes(sha256: str) -> bytes:
    """Return a hash as the index keeps it; a sidecar written by others may say anything."""
    try:
        return bytes.fromhex(sha256)
    except ValueError:
        return storable(sha256).encode()


# Sidecars as the index keeps them: packed, because most of each is the names of its fields.

_USUAL: Final = data_text(__name__, "usual_sidecar.txt").encode()
"""What sidecars have in common. Only changed with `LAYOUT`: rows were packed with it."""


OWN: Final = "p.key || p.model || lower(hex(p.sha256)) || IFNULL(p.parent, '') || s.prompt"
"""What a row says that its sidecar says again: the packed sidecar only refers to it."""


def _own(entry: IndexEntry) -> str:
    """Return what SQLite makes of `OWN` for the rows of a sidecar."""
    record = entry.record
    texts = (record.model, digest_bytes(record.sha256).hex(), record.parent or "")
    return "".join((entry.key, *map(storable, texts), indexed(record.prompt)))


def _dictionary(own: str) -> bytes:
    id = id_in(own.partition(SIDECAR)[0])  # none where somebody made a folder of such a name
    created = f"{time_of(id):%Y-%m-%dT%H:%M:%S.%fZ}" if id else ""
    return _USUAL + own.encode() + created.encode()


def _packed(body: bytes, own: str) -> bytes:
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zdict=_dictionary(own))
    return packer.compress(body) + packer.flush()


def unpacked(body: Any, own: Any) -> bytes:
    """Return a sidecar's bytes from its row; what is damaged is no JSON, and read from its file.

    Args:
        body: The packed sidecar.
        own: `OWN` of its row. If it has changed since, zlib sees that by a checksum.
    """
    try:
        unpacker = zlib.decompressobj(zdict=_dictionary(own))
        return unpacker.decompress(body, _MAX_BODY)
    except (zlib.error, TypeError, AttributeError):
        return b""


_MAX_BODY: Final = 2**26
_NANO: Final = 10**9
_BATCH: Final = 500
_TABLES: Final = ("images", "sidecars", "tags", "sources", "hashes")


@frozen(kw_only=True)
class IndexEntry:
    """A sidecar as the index takes it.

    Attributes:
        record: What it says.
        etag: The etag of the file it was read from.
        body: The file.
    """

    record: Record
    etag: str
    body: bytes

    @property
    def key(self) -> str:
        """The sidecar's key."""
        return stem(self.record.key) + SIDECAR


HAS_ID: Final = "p.seq >= ? AND p.seq < ? AND instr(p.key, ?)"
"""The condition for the one image of an id, which every key holds; for the values of `near`."""


def near(id: str) -> tuple[int, int, str]:
    """Return where the row of an id can be, as first and last, and the id."""
    row = row_of(id)
    return row, row + ROWS, id


class Index:
    """Rows by sidecar key, with optimistic replacement.

    Args:
        path: The SQLite file.
        fill: Adds an entry for every sidecar to a new index; how many there were.
        report: Called when an index was lost and has been rebuilt.
        private: Only this machine uses it, so building one is nothing to report.
    """

    def __init__(
        self,
        path: Path,
        *,
        fill: Callable[[], int],
        report: Callable[[str], None],
        private: bool = False,
    ) -> None:
        self.database: Database = Database(path, fill=fill, report=report, private=private)

    def add(self, entries: Sequence[IndexEntry]) -> None:
        """Add new images and remove their keys from the journal, all or none."""
        self.database.write(lambda connection: _add(connection, entries))

    def load(self, entries: Iterable[IndexEntry]) -> None:
        """Add very many new images to an index; full-text search is built at the end."""
        batch: list[IndexEntry] = []
        for entry in entries:
            batch.append(entry)
            if len(batch) == _BATCH:
                self._load(batch)
                batch = []
        self._load(batch)
        self.rebuild_words()

    def _load(self, batch: Sequence[IndexEntry]) -> None:
        self.database.write(lambda connection: _add(connection, batch, words=False))

    def rebuild_words(self) -> None:
        """Build full-text search anew from the rows, and drop what belongs to none."""
        self.database.write(_rebuild_words)

    def replace(
        self, entries: Sequence[tuple[IndexEntry, str | None]], *, words: bool = True
    ) -> list[str]:
        """Write rows that still have the etag given with them (None: if there is none).

        Returns:
            The keys of those that have not: somebody else wrote them meanwhile.
        """

        def work(connection: Connection) -> list[str]:
            return [e.key for e, before in entries if not _replace(connection, e, before, words)]

        return self.database.write(work)

    def forget(self, key: str, *, clear_journal: bool = True) -> None:
        """Remove a row, and its journal entry if wanted."""

        def work(connection: Connection) -> None:
            _forget(connection, key)
            _clear_journal(connection, [key] if clear_journal else [])

        self.database.write(work)

    def forget_if(self, key: str, *, before: str | None) -> bool:
        """Remove a row and its journal entry if it still has the etag ``before``."""

        def work(connection: Connection) -> bool:
            if _found(connection, key)[1] != before:
                return False
            _forget(connection, key)
            _clear_journal(connection, [key])
            return True

        return self.database.write(work)

    def etag(self, key: str) -> str | None:
        """Return the etag of the sidecar a row was read from, or None when there is no row."""
        query = "SELECT etag FROM images WHERE key = ?"
        row = self.database.read(lambda c: c.execute(query, (key,)).fetchone(), filled=False)
        return row[0] if row else None

    def etags(self, after: str, upto: str) -> dict[str, str]:
        """Etags by key, for keys that sort after one and not after another."""
        query = "SELECT key, etag FROM images WHERE key > ? AND key <= ?"
        return dict(
            self.database.read(lambda c: c.execute(query, (after, upto)).fetchall(), filled=False)
        )

    def key_of(self, id: str) -> str | None:
        """Return the sidecar's key of an id, or None."""
        query = f"SELECT p.key FROM images p WHERE {HAS_ID}"  # noqa: S608  # a text of ours
        row = self.database.read(lambda c: c.execute(query, near(id)).fetchone(), filled=False)
        return row[0] if row else None

    def begin(self, keys: Sequence[str], now: datetime) -> None:
        """Note in the journal that these sidecars are being written or removed."""
        rows = [(key, now.timestamp()) for key in keys]
        statement = "INSERT OR REPLACE INTO journal VALUES (?, ?)"
        self.database.write(lambda connection: connection.executemany(statement, rows))

    def clear_journal(self, keys: Sequence[str]) -> None:
        """Remove keys from the journal."""
        self.database.write(lambda connection: _clear_journal(connection, keys))

    def state(self, name: str) -> str | None:
        """Something to remember about the index, or None."""
        query = "SELECT value FROM state WHERE name = ?"
        row = self.database.read(lambda c: c.execute(query, (name,)).fetchone(), filled=False)
        return row[0] if row else None

    def set_state(self, name: str, value: str) -> None:
        """Remember something about the index."""
        statement = "INSERT OR REPLACE INTO state VALUES (?, ?)"
        self.database.write(lambda connection: connection.execute(statement, (name, value)))

    def journal(self) -> list[tuple[str, float]]:
        """Return keys whose writing or removal was begun, and when (seconds since 1970)."""
        query = "SELECT key, since FROM journal"
        return self.database.read(lambda c: c.execute(query).fetchall(), filled=False)

    def unhashed(self, most: int) -> list[int]:
        """Return rows of images whose perceptual hash nobody has made, the newest first."""
        query = "SELECT seq FROM hashes WHERE hash = ? ORDER BY seq DESC LIMIT ?"
        rows = self.database.read(lambda c: c.execute(query, (UNHASHED, most)).fetchall())
        return [row for (row,) in rows]

    def hash_of(self, key: str) -> str:
        """Return the perceptual hash of a sidecar's image, empty when there is none."""
        query = "SELECT h.hash FROM images p JOIN hashes h ON h.seq = p.seq WHERE p.key = ?"
        row = self.database.read(lambda c: c.execute(query, (key,)).fetchone())
        return row[0] if row else ""

    def set_hash(self, row: int, sha256: str, hash: str) -> None:
        """Remember a perceptual hash that the sidecar lacks.

        Args:
            row: The row of an image.
            sha256: That of the image that was hashed: the row may have got another one meanwhile.
            hash: In hex, or empty for what has none.
        """
        self.database.write(lambda c: _set_hash(c, row, digest_bytes(sha256), hash))

    def says(self, entry: IndexEntry) -> bool:
        """Return whether every row of an image says what its sidecar says."""

        def work(connection: Connection) -> bool:
            row, _ = _found(connection, entry.key)
            if row is None:
                return False
            found = {name: _rows_of(connection, name, row) for name in _TABLES}
            wanted = {name: sorted(rows) for name, rows in _rows(entry, row).items()}
            own = _own(entry)
            # Another build of zlib may pack the same bytes differently.
            for tables in (found, wanted):
                rows = tables["sidecars"]
                tables["sidecars"] = [(*all, unpacked(body, own)) for *all, body in rows]
            if wanted["hashes"] == [(UNHASHED, row)] and found["hashes"]:
                wanted["hashes"] = found["hashes"]  # made later, and in the index alone
            return found == wanted

        return self.database.read(work, filled=False)

    def check(self) -> None:
        """See that the file and its full-text search are sound; one that is not is rebuilt."""
        self.database.read(_check)

    def close(self) -> None:
        """Close idle connections."""
        self.database.close()


def _rebuild_words(connection: Connection) -> None:
    for table in _TABLES[1:]:
        strays = f"DELETE FROM {table} WHERE seq NOT IN (SELECT seq FROM images)"  # noqa: S608  # names of ours
        connection.execute(strays)
    connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
    for statement in RECOUNT:
        connection.execute(statement)


def _add(connection: Connection, entries: Sequence[IndexEntry], *, words: bool = True) -> None:
    for entry in entries:
        # A row that is there was read from the same file by somebody quicker, or from a newer one.
        if not connection.execute("SELECT 1 FROM images WHERE key = ?", (entry.key,)).fetchone():
            _insert(connection, entry, _free_row(connection, entry.record.id), words)
    _clear_journal(connection, [entry.key for entry in entries])


def _replace(connection: Connection, entry: IndexEntry, before: str | None, words: bool) -> bool:
    row, etag = _found(connection, entry.key)
    if etag != before:
        return False
    made: list[tuple[bytes, str]] = []
    if row is not None:
        query = (
            "SELECT p.sha256, h.hash FROM images p JOIN hashes h ON h.seq = p.seq "
            "WHERE p.seq = ? AND h.hash <> ?"
        )
        made = connection.execute(query, (row, UNHASHED)).fetchall()
        _remove(connection, row, words)
    elif _has_id(connection, entry.record.id):
        return False  # of an image's files and a copy of them, somebody noted the other just now
    else:
        row = _free_row(connection, entry.record.id)
    _insert(connection, entry, row, words)
    for digest, hash in made:
        _set_hash(connection, row, digest, hash)  # a new tag is no reason to read the image again
    _clear_journal(connection, [entry.key])
    return True


def _set_hash(connection: Connection, row: int, digest: bytes, hash: str) -> None:
    statement = """UPDATE hashes SET hash = ? WHERE hash = ? AND seq = ?
        AND EXISTS (SELECT 1 FROM images p WHERE p.seq = hashes.seq AND p.sha256 = ?)"""
    connection.execute(statement, (hash, UNHASHED, row, digest))


def _has_id(connection: Connection, id: str) -> bool:
    query = f"SELECT 1 FROM images p WHERE {HAS_ID}"  # noqa: S608  # a text of ours
    return connection.execute(query, near(id)).fetchone() is not None


def _forget(connection: Connection, key: str) -> None:
    row, _ = _found(connection, key)
    if row is not None:
        _remove(connection, row, words=True)


def _found(connection: Connection, key: str) -> tuple[int | None, str | None]:
    query = "SELECT seq, etag FROM images WHERE key = ?"
    return connection.execute(query, (key,)).fetchone() or (None, None)


def _clear_journal(connection: Connection, keys: Sequence[str]) -> None:
    connection.executemany("DELETE FROM journal WHERE key = ?", [(key,) for key in keys])


def _free_row(connection: Connection, id: str) -> int:
    """Return the id's row, or the next free one after it: ids of one microsecond share it."""
    row = row_of(id)
    while connection.execute("SELECT 1 FROM images WHERE seq = ?", (row,)).fetchone():
        row += 1
    return row


def _insert(connection: Connection, entry: IndexEntry, row: int, words: bool) -> None:
    for table, rows in _rows(entry, row).items():
        for values in rows:
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608  # names of ours
            if words and table == "sidecars":
                statement = "INSERT INTO words (rowid, prompt, tags) VALUES (?, ?, ?)"
                connection.execute(statement, values[:3])


def _rows(entry: IndexEntry, row: int) -> dict[str, list[tuple[object, ...]]]:
    """Return what the index holds of a sidecar, by table."""
    record = entry.record
    image = (
        row,
        entry.key,
        entry.etag,
        storable(record.model),
        storable(record.operation),
        storable(record.format),
        digest_bytes(record.sha256),
        stored_bytes(record),
        _nano(record),
        int(record.pinned),
        record.parent and storable(record.parent),
    )
    tags = tuple(dict.fromkeys(map(same, record.tags)))
    texts = (indexed(record.prompt), indexed(" ".join(record.tags)))
    sources: dict[str, tuple[object, ...]] = {}
    for key, size in inputs(record.request).items():
        if digest := input_digest(key):
            sources.setdefault(digest, (digest, row, size))
    return {
        "images": [image],
        "sidecars": [(row, *texts, _packed(entry.body, _own(entry)))],
        "tags": [(tag, row) for tag in tags],
        "sources": list(sources.values()),
        "hashes": [(UNHASHED if record.perceptual_hash is None else record.perceptual_hash, row)],
    }


def _rows_of(connection: Connection, table: str, row: int) -> list[tuple[object, ...]]:
    query = f"SELECT * FROM {table} WHERE seq = ? ORDER BY 1"  # noqa: S608  # names of ours
    return connection.execute(query, (row,)).fetchall()


def _check(connection: Connection) -> None:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise damage(verdict)
    connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    # Not those of inputs: sidecars written by others may give two lengths for the same bytes.
    rest = "WHERE kind <> 'input' AND count <> 0 ORDER BY kind, name"
    entries, counted = (
        connection.execute(f"SELECT * FROM ({source}) {rest}").fetchall()  # noqa: S608  # texts of ours
        for source in ("SELECT * FROM totals", COUNTED)
    )
    if entries != counted:
        raise damage("the totals are not those of the rows")


def _remove(connection: Connection, row: int, words: bool) -> None:
    if words:
        # A contentless FTS5 table holds no text: to delete a row it needs the text indexed.
        statement = (
            "INSERT INTO words (words, rowid, prompt, tags) "
            "SELECT 'delete', seq, prompt, tags FROM sidecars WHERE seq = ?"
        )
        connection.execute(statement, (row,))
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table} WHERE seq = ?", (row,))  # noqa: S608  # names of ours


def stored_bytes(record: Record) -> int:
    """Return what an image and its original take on the disk."""
    return record.bytes + (record.original.bytes if record.original else 0)


def _nano(record: Record) -> int | None:
    """This image's share of the cost in thousand-millionths of a USD, which add up exactly."""
    return None if record.cost is None else int(record.cost.usd * _NANO / record.batch_count)
