"""Pruning: removes what a retention does not keep, and inputs no record needs any more.

Only a sidecar of this store lets an image be removed, and only its own files go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import field, frozen

from gptimage._internal.keywords import as_int
from gptimage._internal.text import reason
from gptimage.errors import InvalidRequestError, StoreError
from gptimage.store.context import StoreContext
from gptimage.store.index import stored_bytes
from gptimage.store.names import INPUTS, id_in, input_digest, time_of
from gptimage.store.sidecar import UnreadableSidecarError
from gptimage.store.sync import GRACE, catch_up, refresh, remove
from gptimage.types.record import Record


if TYPE_CHECKING:
    from sqlite3 import Connection


# Retention: which images are kept, by age, number and size; `prune` carries it out.


@frozen(kw_only=True)
class Retention:
    """The limits of `Store.prune`; those left out do not apply, and pins are always kept.

    Attributes:
        max_age: Images saved longer ago are removed.
        max_bytes: The newest images that fit are kept; inputs of edits and pinned images
            count too.
        max_count: So many of the newest images are kept; pinned images count too.

    Raises:
        InvalidRequestError: No limit is given, or one is negative.
    """

    max_age: timedelta | None = None
    max_bytes: int | None = field(default=None, converter=as_int)
    max_count: int | None = field(default=None, converter=as_int)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be meant."""
        limits = {name: getattr(self, name) for name in ("max_age", "max_bytes", "max_count")}
        if all(value is None for value in limits.values()):
            raise _refused("Retention() needs a limit", "max_age", None)
        for name, value in limits.items():
            if value is not None and not _is_limit(name, value):
                raise _refused(f"{name}={value!r:.60} is no limit", name, value)


@frozen(kw_only=True)
class PruneReport:
    """The report of `Store.prune`: what it removed, or would remove.

    Attributes:
        removed: Ids of the images, newest first.
        bytes: What that frees, in bytes, inputs of edits included.
        inputs: How many input images nobody needs any more.
        kept: How many images are left.
        skipped: Ids of images that could not be removed, each with the reason.
        dry_run: Whether nothing was really removed.
    """

    removed: tuple[str, ...] = ()
    bytes: int = 0
    inputs: int = 0
    kept: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False


class Row(NamedTuple):
    """The facts that decide whether an image is kept.

    ``bytes`` is what it takes; ``inputs`` what its input images take that no newer one needs.
    """

    key: str
    bytes: int
    inputs: int
    pinned: bool

    @property
    def id(self) -> str:
        """The image's id."""
        return id_in(self.key)


@frozen
class Choice:
    """The decision of a retention: what it keeps and removes.

    Attributes:
        remove: The rows to remove, newest first.
        kept: How many are kept.
    """

    remove: tuple[Row, ...] = field(factory=tuple)
    kept: int = 0


def choose(rows: Iterable[Row], retention: Retention, now: datetime) -> Choice:
    """Decide for every row, newest first; once a limit is reached, all that is older goes.

    Args:
        rows: Every image, newest first.
        retention: The limits.
        now: The time (UTC).
    """
    rows = list(rows)
    pinned = [row for row in rows if row.pinned]
    count, size = len(pinned), sum(row.bytes + row.inputs for row in pinned)
    remove: list[Row] = []
    full = False
    for row in rows:
        if row.pinned:
            continue
        count, size = count + 1, size + row.bytes + row.inputs
        full = full or _over(retention, now, row, count, size)
        if full:
            remove.append(row)
    return Choice(tuple(remove), len(rows) - len(remove))


def _is_limit(name: str, value: object) -> bool:
    if name == "max_age":
        return isinstance(value, timedelta) and value >= timedelta(0)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _over(retention: Retention, now: datetime, row: Row, count: int, size: int) -> bool:
    """Return whether keeping this row and all newer ones crosses a limit."""
    if retention.max_count is not None and count > retention.max_count:
        return True
    if retention.max_bytes is not None and size > retention.max_bytes:
        return True
    return retention.max_age is not None and now - time_of(row.id) > retention.max_age


def _refused(problem: str, name: str, value: object) -> InvalidRequestError:
    allowed = "max_age as a timedelta, max_bytes and max_count as whole numbers, none negative"
    return InvalidRequestError(
        f"{problem}: give {allowed}", field=name, value=value, allowed=allowed
    )


_ROWS: Final = """
    SELECT p.key, p.bytes, COALESCE((
        SELECT SUM(s.bytes) FROM sources s WHERE s.seq = p.seq AND NOT EXISTS (
            SELECT 1 FROM sources n WHERE n.sha256 = s.sha256 AND n.seq > s.seq
        )
    ), 0), p.pinned FROM images p ORDER BY p.seq DESC
"""
_USES: Final = "SELECT s.sha256, s.bytes, p.key FROM sources s JOIN images p ON p.seq = s.seq"


def prune(context: StoreContext, retention: Retention, *, dry_run: bool) -> PruneReport:
    """Remove what is not kept, oldest last to be looked at; see `Store.prune`.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    refresh(context)
    rows = context.index.database.read(lambda c: [Row(*row) for row in c.execute(_ROWS)])
    choice = choose(rows, retention, context.clock())
    return _forecast(context, choice) if dry_run else _carry_out(context, choice)


def sweep_inputs(context: StoreContext, keys: Iterable[str] | None = None) -> list[int]:
    """Remove input images that no sidecar names; the length of each in bytes.

    Args:
        context: The store.
        keys: Only these; every one in the store when left out.

    Raises:
        OSError: The store cannot be read or written.
        StoreError: The index cannot be read or written.
    """
    wanted = [info.key for info in context.blobs.list(INPUTS)] if keys is None else list(keys)
    candidates = [key for key in wanted if input_digest(key)]
    if not context.index.database.read(lambda c: _unused(c, candidates)):
        return []
    if not context.shared:
        # Another machine may have saved an edit this index does not know yet.
        catch_up(context)
    # Inside a transaction nobody can begin to save, so nobody can rely on what goes now.
    return context.index.database.write(lambda c: _sweep(context, c, candidates))


def _carry_out(context: StoreContext, choice: Choice) -> PruneReport:
    removed: list[Record] = []
    skipped: list[tuple[str, str]] = []
    for row in choice.remove:
        try:
            record = remove(context, row.key)
        except (OSError, StoreError, UnreadableSidecarError) as error:
            skipped.append((row.id, reason(error)))
        else:
            removed += [record] if record else []
    swept = sweep_inputs(context)
    return PruneReport(
        removed=tuple(record.id for record in removed),
        bytes=sum(stored_bytes(record) for record in removed) + sum(swept),
        inputs=len(swept),
        kept=choice.kept + len(skipped),
        skipped=tuple(skipped),
    )


def _forecast(context: StoreContext, choice: Choice) -> PruneReport:
    """Return what would be removed, if nothing changes until then."""
    going = {row.key for row in choice.remove}
    uses = context.index.database.read(lambda c: c.execute(_USES).fetchall())
    staying = {sha256 for sha256, _, key in uses if key not in going}
    inputs = {sha256: size for sha256, size, _ in uses if sha256 not in staying}
    return PruneReport(
        removed=tuple(row.id for row in choice.remove),
        bytes=sum(row.bytes for row in choice.remove) + sum(inputs.values()),
        inputs=len(inputs),
        kept=choice.kept,
        dry_run=True,
    )


def _sweep(context: StoreContext, connection: Connection, keys: list[str]) -> list[int]:
    busy = connection.execute("SELECT 1 FROM journal").fetchone() or context.stale_marker.exists()
    limit = context.files_now() - GRACE
    gone: list[int] = []
    for key in _unused(connection, keys):
        info = context.blobs.stat(key)
        if info and ((context.shared and not busy) or info.modified < limit):
            context.blobs.delete(key)
            gone.append(info.size)
    return gone


def _unused(connection: Connection, keys: list[str]) -> list[str]:
    query = "SELECT 1 FROM sources WHERE sha256 = ?"
    return [key for key in keys if not connection.execute(query, (input_digest(key),)).fetchone()]
