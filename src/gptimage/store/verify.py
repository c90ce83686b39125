"""Verifying: every file and every row is looked at, and what is wrong is named."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from itertools import groupby

from attrs import define, field

from gptimage.errors import StoreError
from gptimage.store.asked import inputs
from gptimage.store.context import Parts, reason
from gptimage.store.ids import find_id
from gptimage.store.index import Entry
from gptimage.store.keys import IMAGES, SIDECAR, input_digest, stem
from gptimage.store.repair import repair_all
from gptimage.store.reports import Kind, Problem, VerifyReport
from gptimage.store.sidecar import UnreadableSidecarError
from gptimage.transport.protocols import BlobInfo
from gptimage.types.record import Record


Group = dict[str, BlobInfo]


@define
class _Findings:
    """What was seen so far; ``needed`` has the inputs by key, each with a sidecar naming it."""

    now: datetime
    grace: timedelta
    checked: int = 0
    problems: list[Problem] = field(factory=list[Problem])
    unfinished: list[str] = field(factory=list[str])
    needed: dict[str, str] = field(factory=dict[str, str])

    def add(self, kind: Kind, key: str, detail: str = "") -> None:
        self.problems.append(Problem(kind, key, detail))

    def young(self, info: BlobInfo) -> bool:
        """Whether a file may still be in the hands of whoever writes it."""
        if self.now - info.modified >= self.grace:
            return False
        self.unfinished.append(info.key)
        return True


def verify(parts: Parts, *, hashes: bool, repair: bool, grace: timedelta) -> VerifyReport:
    """Look at every file and every row; see `Store.verify`.

    Raises:
        StoreError: The store or the index cannot be read.
    """
    found = _Findings(parts.files_now(), grace)
    try:
        _look(parts, found, hashes)
        repaired = repair_all(parts, found.problems, grace) if repair else []
    except OSError as error:
        raise StoreError(f"{parts.blobs.name} cannot be verified: {reason(error)}") from error
    return VerifyReport(
        checked=found.checked,
        problems=tuple(each for each in found.problems if each not in repaired),
        repaired=tuple(repaired),
        unfinished=tuple(found.unfinished),
    )


def _look(parts: Parts, found: _Findings, hashes: bool) -> None:
    # Rows before files: a picture that is saved meanwhile is then a young file, not a stale row.
    query = "SELECT key, stamp FROM pictures"
    rows = dict(parts.index.database.read(lambda c: c.execute(query).fetchall()))
    parts.index.check()
    kept: Group = {}
    for base, files in groupby(parts.blobs.list(""), key=_base):
        group = {info.key: info for info in files}
        if base.startswith(IMAGES) and find_id(base.rpartition("/")[2]):
            _pictures(parts, found, base + SIDECAR, group, rows, hashes)
        for key, info in group.items():
            if input_digest(key):
                kept[key] = info
            elif not _is_index(parts, key):
                found.add("foreign", key)
    _inputs(parts, found, kept, hashes)
    for key in sorted(rows):
        if parts.index.stamp(key) is not None and parts.blobs.stat(key) is None:
            found.add("stale", key, "the index knows it, and there is no sidecar")
    for key in parts.blobs.leftovers(found.grace):
        found.add("leftover", key, "a temporary file of a write that was killed")


def _base(info: BlobInfo) -> str:
    return stem(info.key)


def _is_index(parts: Parts, key: str) -> bool:
    return parts.shared and key.startswith(parts.index.database.path.name)


def _pictures(
    parts: Parts, found: _Findings, key: str, group: Group, rows: dict[str, str], hashes: bool
) -> None:
    """Judge the files of one id; those that belong to it are taken out of the group."""
    sidecar = group.pop(key, None)
    if sidecar is None:
        for info in [each for each in group.values() if not each.key.endswith(SIDECAR)]:
            del group[info.key]
            if not found.young(info):
                found.add("unclaimed", info.key, "a picture whose sidecar never arrived")
        return
    row = rows.pop(key, None)
    try:
        entry = parts.entry(key)
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
            found.add("leftover", key, "a picture whose removal was cut short")
    else:
        found.checked += 1
        found.needed.update(dict.fromkeys(inputs(record.request), key))
        _files(parts, found, record, group, hashes)
        _row(parts, found, sidecar, entry[0], row)
    group.pop(record.key, None)
    group.pop(record.original.key if record.original else "", None)


def _files(parts: Parts, found: _Findings, record: Record, group: Group, hashes: bool) -> None:
    files = [(record.key, record.bytes, record.sha256)]
    if record.original:
        files.append((record.original.key, record.original.bytes, record.original.sha256))
    for key, size, sha256 in files:
        info = group.get(key) or parts.blobs.stat(key)
        if info is None:
            # Listed a moment before somebody removed it: then the sidecar is gone as well.
            if parts.blobs.stat(stem(key) + SIDECAR):
                found.add("missing", key)
        elif info.size != size:
            found.add("changed", key, f"{info.size} bytes instead of {size}")
        elif hashes:
            _hash(parts, found, key, sha256)


def _hash(parts: Parts, found: _Findings, key: str, sha256: str) -> None:
    try:
        data = parts.blobs.read(key).data
    except FileNotFoundError:
        return
    if hashlib.sha256(data).hexdigest() != sha256:
        found.add("changed", key, "its SHA-256 is another one")


def _row(
    parts: Parts, found: _Findings, sidecar: BlobInfo, entry: Entry, stamp: str | None
) -> None:
    if stamp == sidecar.stamp and parts.index.says(entry):
        return
    other = parts.index.key_of(entry.record.id)
    if other not in {None, sidecar.key}:
        found.add("double", sidecar.key, f"{other} has the same id")
    elif not found.young(sidecar):
        detail = "the index says something else"
        if stamp != sidecar.stamp:
            detail = (
                "the index does not know it" if stamp is None else "the index knows an older one"
            )
        found.add("unindexed", sidecar.key, detail)


def _inputs(parts: Parts, found: _Findings, kept: Group, hashes: bool) -> None:
    for key in sorted(found.needed.keys() - kept.keys()):
        found.add("lost input", key, f"{found.needed[key]} cannot be asked again")
    for key, info in kept.items():
        if key not in found.needed:
            if not found.young(info):
                found.add("unused input", key)
        elif hashes:
            _hash(parts, found, key, input_digest(key) or "")
