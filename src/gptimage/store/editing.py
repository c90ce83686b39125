"""Editing a sidecar so that whoever changes it at the same time is not overwritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gptimage.errors import StoreError
from gptimage.store import sidecar
from gptimage.store.context import Parts, reason
from gptimage.store.index import Entry
from gptimage.store.sidecar import UnreadableSidecarError
from gptimage.store.sync import sync
from gptimage.types.record import Record


_TRIES: Final = 100


def edit(parts: Parts, key: str, change: Callable[[Record], Record]) -> Record | None:
    """Change what a sidecar says; the new record, or None when the picture is gone.

    Args:
        parts: The store.
        key: The sidecar.
        change: Makes the new record; called again when somebody else was quicker.

    Raises:
        StoreError: It cannot be read or written, or others keep changing it.
    """
    try:
        parts.index.begin([key], parts.clock())
        for _ in range(_TRIES):
            found = parts.entry(key)
            if found is None or found[1] or _replace(parts, found[0], change(found[0].record)):
                return sync(parts, key)
    except (OSError, UnreadableSidecarError) as error:
        raise StoreError(f"{key} cannot be changed: {reason(error)}") from error
    raise StoreError(f"{key} keeps being changed by others: try again")


def _replace(parts: Parts, old: Entry, new: Record) -> bool:
    """Whether the sidecar says what is wanted now."""
    if new == old.record:
        return True
    try:
        return parts.blobs.replace(old.key, sidecar.dump(new), stamp=old.stamp) is not None
    except FileNotFoundError:
        return False
