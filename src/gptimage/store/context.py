"""The parts of a store; the functions that save, sync, remove and verify share it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from gptimage._internal.clock import files_now, utc_now
from gptimage.errors import ImageNotFoundError
from gptimage.store import sidecar
from gptimage.store.blobs import Blobs
from gptimage.store.index import Index, IndexEntry
from gptimage.store.names import IdMaker, Naming


class StoreWarning(UserWarning):
    """Nothing is lost, but something about the store should be known."""


def is_read_only(blobs: Blobs) -> bool:
    """Return whether the blobs are in a folder that this process may not write in."""
    folder = blobs.folder
    return folder is not None and folder.exists() and not os.access(folder, os.W_OK)


@frozen(kw_only=True)
class StoreContext:
    """A store's parts.

    Attributes:
        blobs: Where the files are.
        index: What is known of them.
        naming: The names of new files.
        new_id: Makes ids.
        clock: Tells the time (UTC); see `files_now` for the age of files.
        stale_marker: A file that is there while the index may lack images.
        shared: Whether everybody who uses the files uses this very index.
    """

    blobs: Blobs
    index: Index
    naming: Naming
    new_id: IdMaker
    clock: Callable[[], datetime]
    stale_marker: Path
    shared: bool

    def files_now(self) -> datetime:
        """The time by which the place stamps its files: their age is judged by no other clock."""
        if self.blobs.folder is None:
            return utc_now()  # an object store tells no time of its own; ours is the nearest
        return datetime.fromtimestamp(files_now(self.blobs.folder), UTC)

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be saved there: a folder of somebody else, or on a read-only disk."""
        return is_read_only(self.blobs)

    def load(self, data: bytes, key: str) -> sidecar.Sidecar:
        """Read a sidecar's bytes.

        Raises:
            UnreadableSidecarError: They are none.
        """
        return sidecar.load(data, key=key, folder=self.blobs.folder)

    def entry(self, key: str) -> tuple[IndexEntry, bool] | None:
        """Return a sidecar as it is on disk, and whether its image is being removed; None if gone.

        Raises:
            UnreadableSidecarError: It is damaged.
            OSError: It cannot be read.
        """
        try:
            blob = self.blobs.read(key)
        except FileNotFoundError:
            return None
        found = self.load(blob.data, key)
        return IndexEntry(record=found.record, etag=blob.etag, body=blob.data), found.deleted


def warn(sentence: str) -> None:
    """Tell the user in the way of Python."""
    warnings.warn(StoreWarning(sentence), stacklevel=2)


def not_found(id: str, name: str) -> ImageNotFoundError:
    """Return the error for an id nothing is stored under."""
    return ImageNotFoundError(f"{id} is not in {name}: history() lists what is")
