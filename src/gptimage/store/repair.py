"""Repairing: brings files, sidecars and index back into step without losing information.

What was being removed is removed, temporary files go, rows follow the sidecars, inputs
nobody names go, and a picture whose sidecar never arrived gets one that says what its bytes
tell. Damaged and foreign files are left for people to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from types import MappingProxyType
from typing import Final

from gptimage.errors import ImageDecodeError, StoreError
from gptimage.image.image import Image
from gptimage.store import search, sidecar
from gptimage.store.context import Parts, library_version
from gptimage.store.ids import find_id, time_of
from gptimage.store.index import Entry
from gptimage.store.keys import SIDECAR, stem
from gptimage.store.prune import sweep_inputs
from gptimage.store.reports import Kind, Problem
from gptimage.store.sync import sync
from gptimage.types.record import Original, Record


RECOVERED: Final = "recovered"
"""The operation of a picture of which only the bytes survived."""


def repair_all(parts: Parts, problems: Sequence[Problem], grace: timedelta) -> list[Problem]:
    """Put right what can be; the problems that are gone.

    Raises:
        OSError: The store cannot be written.
        StoreError: The index cannot be written.
    """
    settled = set(parts.blobs.leftovers(grace, remove=True))
    unclaimed = [problem.key for problem in problems if problem.kind == "unclaimed"]
    for _, keys in groupby(unclaimed, key=stem):
        settled |= _adopt(parts, list(keys))
    for problem in problems:
        fix = _FIXES.get(problem.kind)
        if fix is not None and problem.key not in settled and fix(parts, problem.key):
            settled.add(problem.key)
    return [problem for problem in problems if problem.key in settled]


def _follow(parts: Parts, key: str) -> bool:
    """Make the row say what the sidecar says; a marked sidecar ends the removal."""
    sync(parts, key)
    return True


def _sweep(parts: Parts, key: str) -> bool:
    sweep_inputs(parts, [key])
    return parts.blobs.stat(key) is None


_FIXES: Final[Mapping[Kind, Callable[[Parts, str], bool]]] = MappingProxyType(
    {"unindexed": _follow, "stale": _follow, "leftover": _follow, "unused input": _sweep}
)


def _adopt(parts: Parts, keys: Sequence[str]) -> set[str]:
    """Give a picture without a sidecar one; those that are settled.

    The index may still know what the sidecar said. A file whose bytes are on record
    elsewhere is only removed: after a crash, that is the same reply saved by a rescue.
    """
    sidecar_key = stem(keys[0]) + SIDECAR
    if row := search.by_key(parts.index.database, sidecar_key):
        parts.blobs.create(sidecar_key, row.body)
        sync(parts, sidecar_key)
        return {*keys, sidecar_key}
    images: dict[str, Image] = {}
    settled: set[str] = set()
    for key in keys:
        try:
            image = Image.from_bytes(parts.blobs.read(key).data)
        except (FileNotFoundError, ImageDecodeError):
            continue
        if _is_elsewhere(parts, image):
            parts.blobs.delete(key)
            settled.add(key)
        else:
            images[key] = image
    if images:
        _describe(parts, images)
    return settled | images.keys()


def _is_elsewhere(parts: Parts, image: Image) -> bool:
    """Whether another picture of the store really has these bytes, on disk and not on paper."""
    for found in search.by_digest(parts.index.database, image.sha256):
        with suppress(FileNotFoundError):
            record = parts.load(found.body, found.key).record
            if parts.blobs.read(record.key).data == image.data:
                return True
    return False


def _describe(parts: Parts, images: Mapping[str, Image]) -> None:
    """Write a sidecar for a picture, and its original if that is there too."""
    key = max(images, key=_is_final)
    others = [each for each in images if each != key]
    original = _original(others[0], images[others[0]]) if others else None
    record = _record(key, images[key], original)
    body = sidecar.dump(record)
    sidecar_key = stem(key) + SIDECAR
    with suppress(FileExistsError):
        stamp = parts.blobs.create(sidecar_key, body)
        parts.index.add([Entry(record=record, stamp=stamp, body=body)])


def _is_final(key: str) -> bool:
    return ".original." not in key


def _original(key: str, image: Image) -> Original:
    return Original(
        key=key,
        format=image.format,
        width=image.width,
        height=image.height,
        bytes=image.nbytes,
        sha256=image.sha256,
    )


def _record(key: str, image: Image, original: Original | None) -> Record:
    id = find_id(key.rpartition("/")[2])
    if id is None:
        raise StoreError(f"{key} has no id in its name")
    return Record(
        id=id,
        created=time_of(id),
        made=time_of(id),
        operation=RECOVERED,
        request={},
        model="unknown",
        key=key,
        format=image.format,
        width=image.width,
        height=image.height,
        bytes=image.nbytes,
        sha256=image.sha256,
        original=original,
        provenance=image.has_provenance,
        version=library_version(),
        warnings=("the sidecar never arrived: only the picture is known",),
    )
