"""Verifying: every file and every row is looked at, and what is wrong is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import Final, Literal

from attrs import define, field, frozen

from gptimage._internal.text import reason
from gptimage._internal.version import library_version
from gptimage.errors import ImageDecodeError, StoreError
from gptimage.image.image import Image
from gptimage.store import search, sidecar
from gptimage.store.blobs import BlobInfo
from gptimage.store.context import StoreContext
from gptimage.store.index import IndexEntry
from gptimage.store.names import IMAGES, INDEX, SIDECAR, id_in, input_digest, stem, time_of
from gptimage.store.prune import sweep_inputs
from gptimage.store.save import original_of
from gptimage.store.sidecar import UnreadableSidecarError, inputs
from gptimage.store.sync import sync
from gptimage.types.record import Original, Record


# What `Store.verify` reports: every kind of problem by name.

Kind = Literal[
    "missing",
    "changed",
    "unclaimed",
    "unreadable",
    "double",
    "unindexed",
    "stale",
    "lost input",
    "unused input",
    "leftover",
    "foreign",
]
"""What can be wrong.

``missing``: a sidecar whose image is gone. ``changed``: a file that is not what its
sidecar or its name says. ``unclaimed``: an image of the store without a sidecar, from a save
that was killed. ``unreadable``: a damaged sidecar. ``double``: a second sidecar with the same
id. ``unindexed``: a sidecar the index does not know, or knows differently. ``stale``: a row
without a sidecar. ``lost input``: an edit whose input image is gone. ``unused input``: an
input image no sidecar names. ``leftover``: a temporary file, or an image whose removal was
cut short. ``foreign``: a file the store did not write; it is never touched.
"""


@frozen
class Problem:
    """One thing that is not as it should be.

    Attributes:
        kind: What kind it is; see `Kind`.
        key: The file's name in the store, or the sidecar's of a row.
        detail: More, in words.
    """

    kind: Kind
    key: str
    detail: str = ""


@frozen(kw_only=True)
class VerifyReport:
    """The report of `Store.verify`.

    Attributes:
        checked: How many images were looked at.
        problems: What is wrong.
        repaired: What was wrong and no longer is.
        unfinished: Files too young to judge: somebody may be writing them right now.
    """

    checked: int = 0
    problems: tuple[Problem, ...] = ()
    repaired: tuple[Problem, ...] = ()
    unfinished: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong. Foreign files do not count: they are yours."""
        return all(problem.kind == "foreign" for problem in self.problems)

    def of(self, kind: Kind) -> tuple[Problem, ...]:
        """Return the problems of one kind."""
        return tuple(problem for problem in self.problems if problem.kind == kind)


# Repairing: brings files, sidecars and index back into step without losing information.
#
# What was being removed is removed, temporary files go, rows follow the sidecars, inputs
# nobody names go, and an image whose sidecar never arrived gets one that says what its bytes
# tell. Damaged and foreign files are left for people to judge.

RECOVERED: Final = "recovered"
"""The operation of an image of which only the bytes survived."""


def repair_all(
    context: StoreContext, problems: Sequence[Problem], grace: timedelta
) -> list[Problem]:
    """Put right what can be; the problems that are gone.

    Raises:
        OSError: The store cannot be written.
        StoreError: The index cannot be written.
    """
    settled = set(context.blobs.temp_files(grace, remove=True))
    unclaimed = [problem.key for problem in problems if problem.kind == "unclaimed"]
    for _, keys in groupby(unclaimed, key=stem):
        settled |= _adopt(context, list(keys))
    for problem in problems:
        fix = _FIXES.get(problem.kind)
        if fix is not None and problem.key not in settled and fix(context, problem.key):
            settled.add(problem.key)
    return [problem for problem in problems if problem.key in settled]


def _follow(context: StoreContext, key: str) -> bool:
    """Make the row say what the sidecar says; a marked sidecar ends the removal."""
    sync(context, key)
    return True


def _sweep(context: StoreContext, key: str) -> bool:
    sweep_inputs(context, [key])
    return context.blobs.stat(key) is None


_FIXES: Final[Mapping[Kind, Callable[[StoreContext, str], bool]]] = MappingProxyType(
    {"unindexed": _follow, "stale": _follow, "leftover": _follow, "unused input": _sweep}
)


def _adopt(context: StoreContext, keys: Sequence[str]) -> set[str]:
    """Give an image without a sidecar one; those that are settled.

    The index may still know what the sidecar held. A file whose bytes are on record
    elsewhere is only removed: after a crash, that is the same reply saved by a recovery.
    """
    sidecar_key = stem(keys[0]) + SIDECAR
    if row := search.by_key(context.index.database, sidecar_key):
        context.blobs.create(sidecar_key, row.body)
        sync(context, sidecar_key)
        return {*keys, sidecar_key}
    images: dict[str, Image] = {}
    settled: set[str] = set()
    for key in keys:
        try:
            image = Image.from_bytes(context.blobs.read(key).data)
        except (FileNotFoundError, ImageDecodeError):
            continue
        if _is_elsewhere(context, image):
            context.blobs.delete(key)
            settled.add(key)
        else:
            images[key] = image
    if images:
        _describe(context, images)
    return settled | images.keys()


def _is_elsewhere(context: StoreContext, image: Image) -> bool:
    """Whether another image of the store really has these bytes, on disk and not on paper."""
    for found in search.by_digest(context.index.database, image.sha256):
        with suppress(FileNotFoundError):
            record = context.load(found.body, found.key).record
            if context.blobs.read(record.key).data == image.data:
                return True
    return False


def _describe(context: StoreContext, images: Mapping[str, Image]) -> None:
    """Write a sidecar for an image, and its original if that is there too."""
    key = max(images, key=lambda each: ".original." not in each)
    others = [each for each in images if each != key]
    original = original_of(others[0], images[others[0]]) if others else None
    record = _record(key, images[key], original)
    body = sidecar.dump(record)
    sidecar_key = stem(key) + SIDECAR
    with suppress(FileExistsError):
        etag = context.blobs.create(sidecar_key, body)
        context.index.add([IndexEntry(record=record, etag=etag, body=body)])


def _record(key: str, image: Image, original: Original | None) -> Record:
    id = id_in(key)
    if not id:
        raise StoreError(f"{key} has no id in its name")
    return Record(
        id=id,
        created=time_of(id),
        created_at_service=time_of(id),
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
        warnings=("the sidecar never arrived: only the image is known",),
    )


Group = dict[str, BlobInfo]


@define
class _Findings:
    """The files seen so far; ``needed`` has the inputs by key, each with a sidecar naming it."""

    now: datetime
    grace: timedelta
    checked: int = 0
    problems: list[Problem] = field(factory=list[Problem])
    unfinished: list[str] = field(factory=list[str])
    needed: dict[str, str] = field(factory=dict[str, str])

    def add(self, kind: Kind, key: str, detail: str = "") -> None:
        self.problems.append(Problem(kind, key, detail))

    def young(self, info: BlobInfo) -> bool:
        """Return whether a file may still be in the middle of its writing."""
        if self.now - info.modified >= self.grace:
            return False
        self.unfinished.append(info.key)
        return True


def verify(context: StoreContext, *, hashes: bool, repair: bool, grace: timedelta) -> VerifyReport:
    """Look at every file and every row; see `Store.verify`.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    found = _Findings(context.files_now(), grace)
    try:
        _look(context, found, hashes)
        repaired = repair_all(context, found.problems, grace) if repair else []
    except OSError as error:
        raise StoreError(f"{context.blobs.name} cannot be verified: {reason(error)}") from error
    return VerifyReport(
        checked=found.checked,
        problems=tuple(each for each in found.problems if each not in repaired),
        repaired=tuple(repaired),
        unfinished=tuple(found.unfinished),
    )


def _look(context: StoreContext, found: _Findings, hashes: bool) -> None:
    # Rows before files: an image that is saved meanwhile is then a young file, not a stale row.
    query = "SELECT key, etag FROM images"
    rows = dict(context.index.database.read(lambda c: c.execute(query).fetchall()))
    context.index.check()
    stored: Group = {}
    for base, files in groupby(context.blobs.list(""), key=_base):
        group = {info.key: info for info in files}
        if base.startswith(IMAGES) and id_in(base):
            _group(context, found, base + SIDECAR, group, rows, hashes)
        for key, info in group.items():
            if input_digest(key):
                stored[key] = info
            elif not _is_index(context, key):
                found.add("foreign", key)
    _inputs(context, found, stored, hashes)
    for key in sorted(rows):
        if context.index.etag(key) is not None and context.blobs.stat(key) is None:
            found.add("stale", key, "the index knows it, and there is no sidecar")
    for key in context.blobs.temp_files(found.grace):
        found.add("leftover", key, "a temporary file of a write that was killed")


def _base(info: BlobInfo) -> str:
    return stem(info.key)


def _is_index(context: StoreContext, key: str) -> bool:
    if context.shared:
        return key.startswith(context.index.database.path.name)
    # That of others: ours is elsewhere, because the folder cannot be written to.
    return context.is_read_only and key.startswith(INDEX)


def _group(
    context: StoreContext,
    found: _Findings,
    key: str,
    group: Group,
    rows: dict[str, str],
    hashes: bool,
) -> None:
    """Judge the files of one id; those that belong to it are taken out of the group."""
    sidecar = group.pop(key, None)
    if sidecar is None:
        for info in [each for each in group.values() if not each.key.endswith(SIDECAR)]:
            del group[info.key]
            if not found.young(info):
                found.add("unclaimed", info.key, "an image whose sidecar never arrived")
        return
    row = rows.pop(key, None)
    try:
        entry = context.entry(key)
    except UnreadableSidecarError as error:
        found.add("unreadable", key, str(error))
        group.clear()
        return
    if entry is None:  # removed since it was listed
        group.clear()
        return
    record, deleted = entry[0].record, entry[1]
    if deleted:
        if not found.young(sidecar):
            found.add("leftover", key, "an image whose removal was cut short")
    else:
        found.checked += 1
        found.needed.update(dict.fromkeys(inputs(record.request), key))
        _files(context, found, record, group, hashes)
        _row(context, found, sidecar, entry[0], row)
    group.pop(record.key, None)
    group.pop(record.original.key if record.original else "", None)


def _files(
    context: StoreContext, found: _Findings, record: Record, group: Group, hashes: bool
) -> None:
    files = [(record.key, record.bytes, record.sha256)]
    if record.original:
        files.append((record.original.key, record.original.bytes, record.original.sha256))
    for key, size, sha256 in files:
        info = group.get(key) or context.blobs.stat(key)
        if info is None:
            # Listed a moment before somebody removed it: then the sidecar is gone as well.
            if context.blobs.stat(stem(key) + SIDECAR):
                found.add("missing", key)
        elif info.size != size:
            found.add("changed", key, f"{info.size} bytes instead of {size}")
        elif hashes:
            _hash(context, found, key, sha256)


def _hash(context: StoreContext, found: _Findings, key: str, sha256: str) -> None:
    try:
        data = context.blobs.read(key).data
    except FileNotFoundError:
        return
    if hashlib.sha256(data).hexdigest() != sha256:
        found.add("changed", key, "its SHA-256 is another one")


def _row(
    context: StoreContext, found: _Findings, sidecar: BlobInfo, entry: IndexEntry, etag: str | None
) -> None:
    if etag == sidecar.etag and context.index.says(entry):
        return
    other = context.index.key_of(entry.record.id)
    if other not in {None, sidecar.key}:
        found.add("double", sidecar.key, f"{other} has the same id")
    elif not found.young(sidecar):
        detail = "the index says something else"
        if etag != sidecar.etag:
            detail = (
                "the index does not know it" if etag is None else "the index knows an older one"
            )
        found.add("unindexed", sidecar.key, detail)


def _inputs(context: StoreContext, found: _Findings, stored: Group, hashes: bool) -> None:
    for key in sorted(found.needed.keys() - stored.keys()):
        found.add("lost input", key, f"{found.needed[key]} cannot be sent again")
    for key, info in stored.items():
        if key not in found.needed:
            if not found.young(info):
                found.add("unused input", key)
        elif hashes:
            _hash(context, found, key, input_digest(key) or "")
