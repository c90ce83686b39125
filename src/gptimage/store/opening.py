"""Opening: puts a store's parts together, and says early what cannot work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from gptimage._internal.keywords import flag, function, missing, text
from gptimage._internal.keywords import path as path_like
from gptimage._internal.user_dirs import cache_folder
from gptimage.errors import ConfigurationError, StoreError
from gptimage.store import sync
from gptimage.store.context import Parts, reason, warn
from gptimage.store.ids import IdMaker
from gptimage.store.index import Index
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.names import DEFAULT, Naming
from gptimage.transport.protocols import Blobs


INDEX: Final = "index.sqlite"
"""The index's file in a local store."""

_BLOBS: Final = ("create", "keep", "replace", "read", "stat", "delete", "list", "leftovers")

Place = str | os.PathLike[str] | Blobs
"""Where a store may be."""


def open_parts(
    where: Place,
    *,
    naming: str | None,
    index: str | os.PathLike[str] | None,
    fsync: bool | None,
    clock: Callable[[], datetime],
) -> Parts:
    """The parts of a store that is ready for use; see `Store`.

    Raises:
        ConfigurationError: An argument makes no sense.
        StoreError: The folder or the index cannot be made.
    """
    if isinstance(where, str) or missing(where, _BLOBS):
        path_like("where", where)
    if index is not None:
        path_like("index", index)
    if naming is not None:
        text("naming", naming)
    if fsync is not None:
        flag("fsync", fsync)
    function("clock", clock, "a function that gives the time in UTC")
    blobs = _blobs(where, fsync)
    path = _index_path(blobs, index)
    shared = blobs.folder == path.parent
    parts = Parts(
        blobs=blobs,
        index=Index(path, fill=lambda: sync.refill(parts), report=warn, private=not shared),
        naming=Naming(DEFAULT if naming is None else naming),
        new_id=IdMaker(clock),
        clock=clock,
        behind=path.with_name(f".{path.name}.behind"),
        shared=shared,
    )
    # An index others do not use is filled when it is first read: saving needs no listing.
    parts.index.database.read(lambda _: None, filled=parts.shared)
    if parts.shared:
        sync.recover(parts)
    return parts


def _blobs(where: str | os.PathLike[str] | Blobs, fsync: bool | None) -> Blobs:
    if not isinstance(where, (str, os.PathLike)):
        if fsync is not None:
            raise ConfigurationError("fsync is for a folder: give it to FileBlobs(..., fsync=...)")
        return where
    if "://" in str(where):
        raise ConfigurationError(
            f"{where} is no folder: use Store(ObjectBlobs.from_url({str(where)!r})), "
            "from gptimage.store.object_blobs"
        )
    try:
        return FileBlobs(where, fsync=fsync is not False)
    except OSError as error:
        raise StoreError(f"the folder {where} cannot be made: {reason(error)}") from error


def _index_path(blobs: Blobs, index: str | os.PathLike[str] | None) -> Path:
    if index is not None:
        path = Path(index).expanduser()
    elif blobs.folder is not None:
        path = blobs.folder / INDEX
    else:
        name = hashlib.sha256(blobs.name.encode()).hexdigest()[:16]
        path = cache_folder() / f"index-{name}.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the index {path} cannot be made: {reason(error)}") from error
    return path
