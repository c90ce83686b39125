"""Removing a picture so that a crash at any point leaves either the picture or nothing.

The sidecar is first marked, which also settles who was quicker when somebody pins the
picture at the same time. Whoever finds a marked sidecar later finishes the job.
"""

from __future__ import annotations

from gptimage.errors import StoreError
from gptimage.store import sidecar
from gptimage.store.context import Parts
from gptimage.store.index import Entry
from gptimage.store.keys import SIDECAR, stem
from gptimage.types.record import Record


def remove(parts: Parts, key: str) -> Record | None:
    """Remove the picture of a sidecar, and its files; None if it is pinned or gone already.

    Nothing is touched without a sidecar that proves that the store wrote it.

    Raises:
        UnreadableSidecarError: The sidecar is damaged.
        OSError: It cannot be removed.
    """
    parts.index.begin([key], parts.clock())
    while found := parts.entry(key):
        entry, deleted = found
        if entry.record.pinned and not deleted:
            parts.index.strike([key])
            return None
        if deleted or _mark(parts, entry):
            finish(parts, entry.record)
            return entry.record
    parts.index.forget(key)
    return None


def finish(parts: Parts, record: Record) -> None:
    """Remove what is left of a picture whose sidecar is marked."""
    key = stem(record.key) + SIDECAR
    # The row goes before the files, so that nobody is shown a picture that is gone; the
    # journal's note goes last, so that a crash in between is seen.
    parts.index.forget(key, strike=False)
    parts.blobs.delete(record.key)
    if record.original is not None:
        parts.blobs.delete(record.original.key)
    parts.blobs.delete(key)
    parts.index.strike([key])


def _mark(parts: Parts, entry: Entry) -> bool:
    """Mark a sidecar if nobody changed it meanwhile."""
    body = sidecar.dump(entry.record, deleted=True)
    try:
        return parts.blobs.replace(entry.key, body, stamp=entry.stamp) is not None
    except FileNotFoundError:
        return False


def pinned_error(id: str) -> StoreError:
    """The error for deleting a pinned picture."""
    return StoreError(f"{id} is pinned: unpin it first, then delete it")
