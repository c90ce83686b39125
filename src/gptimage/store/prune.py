"""Pruning: removes what a retention does not keep, and inputs nobody needs any more.

Only a sidecar of this store lets a picture be removed, and only its own files go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gptimage.errors import StoreError
from gptimage.store.context import Parts, reason
from gptimage.store.index import stored_bytes
from gptimage.store.keys import INPUTS, input_digest
from gptimage.store.removal import remove
from gptimage.store.retention import Choice, PruneReport, Retention, Row, choose
from gptimage.store.sidecar import UnreadableSidecarError
from gptimage.store.sync import GRACE, catch_up, refresh
from gptimage.types.record import Record


if TYPE_CHECKING:
    from sqlite3 import Connection

_ROWS: Final = """
    SELECT p.id, p.key, p.bytes, COALESCE((
        SELECT SUM(s.bytes) FROM sources s WHERE s.seq = p.seq AND NOT EXISTS (
            SELECT 1 FROM sources n WHERE n.sha256 = s.sha256 AND n.seq > s.seq
        )
    ), 0), p.pinned FROM pictures p ORDER BY p.seq DESC
"""
_USES: Final = "SELECT s.sha256, s.bytes, p.id FROM sources s JOIN pictures p ON p.seq = s.seq"


def prune(parts: Parts, retention: Retention, *, dry_run: bool) -> PruneReport:
    """Remove what is not kept, oldest last to be looked at; see `Store.prune`.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    refresh(parts)
    rows = parts.index.database.read(lambda c: [Row(*row) for row in c.execute(_ROWS)])
    choice = choose(rows, retention, parts.clock())
    return _forecast(parts, choice) if dry_run else _carry_out(parts, choice)


def sweep_inputs(parts: Parts, keys: Iterable[str] | None = None) -> list[int]:
    """Remove input pictures that no sidecar names; the length of each in bytes.

    Args:
        parts: The store.
        keys: Only these; every one in the store when left out.

    Raises:
        OSError: The store cannot be read or written.
        StoreError: The index cannot be read or written.
    """
    wanted = [info.key for info in parts.blobs.list(INPUTS)] if keys is None else list(keys)
    candidates = [key for key in wanted if input_digest(key)]
    if not parts.index.database.read(lambda c: _unused(c, candidates)):
        return []
    if not parts.shared:
        # Another machine may have saved an edit this index has not heard of.
        catch_up(parts)
    # Inside a transaction nobody can begin to save, so nobody can rely on what goes now.
    return parts.index.database.write(lambda c: _sweep(parts, c, candidates))


def _carry_out(parts: Parts, choice: Choice) -> PruneReport:
    removed: list[Record] = []
    skipped: list[tuple[str, str]] = []
    for row in choice.remove:
        try:
            record = remove(parts, row.key)
        except (OSError, StoreError, UnreadableSidecarError) as error:
            skipped.append((row.id, reason(error)))
        else:
            removed += [record] if record else []
    swept = sweep_inputs(parts)
    return PruneReport(
        removed=tuple(record.id for record in removed),
        bytes=sum(stored_bytes(record) for record in removed) + sum(swept),
        inputs=len(swept),
        kept=choice.kept + len(skipped),
        skipped=tuple(skipped),
    )


def _forecast(parts: Parts, choice: Choice) -> PruneReport:
    """What would be removed, if nothing changes until then."""
    going = {row.id for row in choice.remove}
    uses = parts.index.database.read(lambda c: c.execute(_USES).fetchall())
    staying = {sha256 for sha256, _, id in uses if id not in going}
    inputs = {sha256: size for sha256, size, _ in uses if sha256 not in staying}
    return PruneReport(
        removed=tuple(row.id for row in choice.remove),
        bytes=sum(row.bytes for row in choice.remove) + sum(inputs.values()),
        inputs=len(inputs),
        kept=choice.kept,
        dry_run=True,
    )


def _sweep(parts: Parts, connection: Connection, keys: list[str]) -> list[int]:
    busy = connection.execute("SELECT 1 FROM journal").fetchone() or parts.behind.exists()
    limit = parts.files_now() - GRACE
    gone: list[int] = []
    for key in _unused(connection, keys):
        info = parts.blobs.stat(key)
        if info and ((parts.shared and not busy) or info.modified < limit):
            parts.blobs.delete(key)
            gone.append(info.size)
    return gone


def _unused(connection: Connection, keys: list[str]) -> list[str]:
    query = "SELECT 1 FROM sources WHERE sha256 = ?"
    return [key for key in keys if not connection.execute(query, (input_digest(key),)).fetchone()]
