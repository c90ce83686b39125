"""Exporting: copies images and sidecars into a folder, under names for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, frozen

from gptimage._internal.text import reason
from gptimage.errors import StoreError
from gptimage.store import sidecar
from gptimage.store.context import StoreContext
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.names import SIDECAR, Naming
from gptimage.types.record import Original, Record


@frozen(kw_only=True)
class ExportReport:
    """The report of `Store.export`.

    Attributes:
        paths: The images, newest first.
        missing: Ids of images whose file is gone.
    """

    paths: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()


def export(
    context: StoreContext,
    records: Iterable[Record],
    folder: Path,
    naming: Naming,
    *,
    sidecars: bool,
) -> ExportReport:
    """Copy images, each with its original and its sidecar; see `Store.export`.

    Raises:
        StoreError: A file cannot be read or written, or another file has its name.
    """
    paths: list[Path] = []
    missing: list[str] = []
    try:
        target = FileBlobs(folder, fsync=False)
        for record in records:
            try:
                paths.append(_copy(context, record, target, naming.stem(record), sidecars))
            except FileNotFoundError:
                missing.append(record.id)
    except OSError as error:
        raise StoreError(f"cannot export to {folder}: {reason(error)}") from error
    return ExportReport(paths=tuple(paths), missing=tuple(missing))


def _copy(
    context: StoreContext, record: Record, target: FileBlobs, base: str, sidecars: bool
) -> Path:
    copied = _renamed(record, base)
    target.create(copied.key, context.blobs.read(record.key).data)
    if record.original and copied.original:
        target.create(copied.original.key, context.blobs.read(record.original.key).data)
    path = Path(target.name, *copied.key.split("/"))
    if sidecars:
        # What an earlier export wrote: the name holds the id, so it can be nobody else's.
        path.with_name(base.rpartition("/")[2] + SIDECAR).unlink(missing_ok=True)
        target.create(base + SIDECAR, sidecar.dump(copied))
    return path


def _renamed(record: Record, base: str) -> Record:
    return evolve(
        record,
        key=f"{base}.{record.key.rpartition('.')[2]}",
        original=record.original and _renamed_original(record.original, base),
    )


def _renamed_original(original: Original, base: str) -> Original:
    return evolve(original, key=f"{base}.original.{original.key.rpartition('.')[2]}")
