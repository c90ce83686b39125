"""Catching up: making the index say what the sidecars say.

Machines that share a bucket only see each other's files. Names begin with their day, so
what is new is found by listing from a day before the last listing: images that arrive
late, or from a machine whose clock is wrong by less than a day, are not missed. `reindex`
looks at everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field

from gptimage._internal.text import reason
from gptimage.errors import StoreError
from gptimage.store import sidecar
from gptimage.store.blobs import BlobInfo
from gptimage.store.context import StoreContext
from gptimage.store.index import IndexEntry
from gptimage.store.names import IMAGES, SIDECAR, day_prefix, is_key, is_sidecar, stem
from gptimage.store.sidecar import UnreadableSidecarError
from gptimage.types.record import Record


if TYPE_CHECKING:
    from concurrent.futures import Executor


# Removing an image so that a crash at any point leaves either the image or nothing.
#
# The sidecar is first marked, which also settles who was quicker when somebody pins the
# image at the same time. Whoever finds a marked sidecar later finishes the job.


def remove(context: StoreContext, key: str) -> Record | None:
    """Remove the image of a sidecar, and its files; None if it is pinned or gone already.

    Nothing is touched without a sidecar that proves that the store wrote it.

    Raises:
        UnreadableSidecarError: The sidecar is damaged.
        OSError: It cannot be removed.
    """
    context.index.begin([key], context.clock())
    while found := context.entry(key):
        entry, deleted = found
        if entry.record.pinned and not deleted:
            context.index.clear_journal([key])
            return None
        if deleted or _mark(context, entry):
            finish(context, entry.record)
            return entry.record
    context.index.forget(key)
    return None


def finish(context: StoreContext, record: Record) -> None:
    """Remove what is left of an image whose sidecar is marked."""
    key = stem(record.key) + SIDECAR
    # The row goes before the files, so that nobody is shown an image that is gone; the
    # journal's note goes last, so that a crash in between is seen.
    context.index.forget(key, clear_journal=False)
    if context.is_read_only:  # whoever may write there finishes it
        context.index.clear_journal([key])
        return
    context.blobs.delete(record.key)
    if record.original is not None:
        context.blobs.delete(record.original.key)
    context.blobs.delete(key)
    context.index.clear_journal([key])


def _mark(context: StoreContext, entry: IndexEntry) -> bool:
    """Mark a sidecar if it has not changed meanwhile."""
    body = sidecar.dump(entry.record, deleted=True)
    try:
        return context.blobs.replace(entry.key, body, etag=entry.etag) is not None
    except FileNotFoundError:
        return False


def pinned_error(id: str) -> StoreError:
    """Return the error for deleting a pinned image."""
    return StoreError(f"{id} is pinned: unpin it first, then delete it")


OVERLAP: Final = timedelta(days=1)
"""How much of what was listed before is listed again."""

GRACE: Final = timedelta(hours=1)
"""What is younger may still be in the hands of somebody who is writing it."""

_BATCH: Final = 500
_READERS: Final = 16
_TRIES: Final = 100
_END: Final = IMAGES[:-1] + chr(ord("/") + 1)
_LISTED: Final = "listed"


@define
class Changes:
    """The report of a sync.

    Attributes:
        seen: Sidecars that were listed.
        updated: Rows that were added or replaced.
        removed: Rows without a sidecar.
        unreadable: Keys of sidecars that are damaged, or no sidecars.
    """

    seen: int = 0
    updated: int = 0
    removed: int = 0
    unreadable: list[str] = field(factory=list[str])


def refresh(context: StoreContext) -> Changes:
    """Take in what was written elsewhere since the last time, a day of overlap included.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    started = context.clock()
    recover(context)
    changes = catch_up(context, after=_since(context))
    context.index.set_state(_LISTED, started.isoformat())
    return changes


def refill(context: StoreContext) -> int:
    """Fill an index from every sidecar, whatever it holds already; how many there were.

    Raises:
        StoreError: The store cannot be read.
    """
    started = context.clock()
    changes = catch_up(context, words=False, every=True)
    context.index.rebuild_words()
    context.index.set_state(_LISTED, started.isoformat())
    return changes.seen - len(changes.unreadable)


def recover(context: StoreContext) -> None:
    """Finish what was begun and not ended: by a process that was killed, or a full disk.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    if before := _touched(context.stale_marker):
        catch_up(context)
        if _touched(context.stale_marker) == before:
            context.stale_marker.unlink(missing_ok=True)
    limit = (context.clock() - GRACE).timestamp()
    for key, since in context.index.journal():
        if sync(context, key, clear_journal=False) is not None or since < limit:
            context.index.clear_journal([key])


def _touched(path: Path) -> int | None:
    """Return when a file was last written, or None when it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def catch_up(
    context: StoreContext, *, after: str = IMAGES, words: bool = True, every: bool = False
) -> Changes:
    """Compare the listing with the index, and read what differs.

    Args:
        context: The store.
        after: Only keys that sort after this one.
        words: Keep full-text search up to date; otherwise it must be rebuilt afterwards.
        every: Read every sidecar, also those whose etag the index knows.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    changes = Changes()
    try:
        listed = context.blobs.list(IMAGES, after=after)
        sidecars = (info for info in listed if is_sidecar(info.key) and is_key(info.key))
        with _readers(context) as readers:
            for batch in _batches(sidecars):
                _compare(context, batch, after, batch[-1].key, changes, words, every, readers)
                after = batch[-1].key
            _compare(context, [], after, _END, changes, words, every, readers)
    except OSError as error:
        raise StoreError(f"{context.blobs.name} cannot be read: {reason(error)}") from error
    return changes


def sync(context: StoreContext, key: str, *, clear_journal: bool = True) -> Record | None:
    """Make the row of one sidecar say what the file says; None when there is no image.

    A damaged sidecar leaves the row as it was: it is the last that was known.

    Raises:
        StoreError: Others keep changing it, or it cannot be read.
    """
    for _ in range(_TRIES):
        before = context.index.etag(key)
        try:
            found = context.entry(key)
        except UnreadableSidecarError:
            return None
        except OSError as error:
            raise StoreError(f"the sidecar {key} cannot be read: {reason(error)}") from error
        if found is None:
            if (before is None and not clear_journal) or context.index.forget_if(
                key, before=before
            ):
                return None
            continue
        entry, deleted = found
        if deleted:
            finish(context, entry.record)
            return None
        if _is_double(context, entry) or not context.index.replace([(entry, before)]):
            return entry.record
    raise StoreError(f"the sidecar {key} keeps changing: try again")


def _compare(
    context: StoreContext,
    batch: Sequence[BlobInfo],
    after: str,
    upto: str,
    changes: Changes,
    words: bool,
    every: bool,
    readers: Executor | None,
) -> None:
    """Compare the sidecars between two keys with the rows between them."""
    known = context.index.etags(after, upto)
    changes.seen += len(batch)
    before = {info.key: known.pop(info.key, None) for info in batch}
    differing = [info.key for info in batch if every or before[info.key] != info.etag]
    # A copy of an image's files has the same id; the first one counts.
    found = {entry.record.id: entry for entry in _read(context, differing[::-1], changes, readers)}
    lost = context.index.replace(
        [(entry, before[entry.key]) for entry in found.values()], words=words
    )
    changes.updated += len(found)
    for key in [*lost, *known]:
        changes.removed += sync(context, key) is None


def _read(
    context: StoreContext, keys: Sequence[str], changes: Changes, readers: Executor | None
) -> Iterator[IndexEntry]:
    """Read sidecars, several at once where each takes a round trip."""

    def read(key: str) -> tuple[IndexEntry, bool] | None:
        try:
            return context.entry(key)
        except UnreadableSidecarError:
            changes.unreadable.append(key)
            return None

    for found in readers.map(read, keys) if readers else map(read, keys):
        if found is None:
            continue
        entry, deleted = found
        if deleted:
            finish(context, entry.record)
        elif not _is_double(context, entry):
            yield entry


def _is_double(context: StoreContext, entry: IndexEntry) -> bool:
    """Return whether the index knows this id from another sidecar that still exists: a copy."""
    other = context.index.key_of(entry.record.id)
    if other is None or other == entry.key:
        return False
    if context.blobs.stat(other) is not None:
        return True
    context.index.forget(other)
    return False


def _since(context: StoreContext) -> str:
    """Return the key to list from."""
    listed = context.index.state(_LISTED)
    return day_prefix(datetime.fromisoformat(listed) - OVERLAP) if listed else IMAGES


def _readers(context: StoreContext) -> AbstractContextManager[Executor | None]:
    if context.blobs.folder:
        return nullcontext()
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_READERS)


def _batches(infos: Iterable[BlobInfo]) -> Iterator[list[BlobInfo]]:
    remaining = iter(infos)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
