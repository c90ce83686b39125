"""Rescuing: brings pictures home that were paid for and could not be saved at the time.

They wait in two places: as rescue copies, written when a store failed, and as raw replies in
the spool, left by processes that were killed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from gptimage._internal.user_dirs import rescue_folder
from gptimage.errors import GptImageError, ImageDecodeError
from gptimage.image.image import Image
from gptimage.image.transform import fit
from gptimage.models.catalog import Models
from gptimage.models.pricing import cost_of
from gptimage.models.sizes import Size
from gptimage.providers.openai.images import read_usage
from gptimage.store import search, sidecar
from gptimage.store._lock import locked
from gptimage.store.asked import inputs
from gptimage.store.context import Parts, reason, warn
from gptimage.store.keys import IMAGES, INPUTS, SIDECAR, input_digest, is_sidecar, stem
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.removal import remove
from gptimage.store.repair import RECOVERED
from gptimage.store.save import OWNER, Call, Draft, draft, placed, save
from gptimage.store.spool import Leftover, Spool
from gptimage.transport.base64_body import pictures, read
from gptimage.transport.protocols import Blobs
from gptimage.types.record import Record


_Job = tuple[str, Callable[[], tuple[tuple[Record, ...], int]]]
"""A file that waits, and what saves it: the new records, and how many were known already."""

_LOCK: Final = ".rescue.lock"
NOTE: Final = "recovered from a raw reply after a crash"


@frozen(kw_only=True)
class RescueReport:
    """What `Store.rescue` brought home.

    Attributes:
        saved: The pictures that are in the store now.
        known: How many pictures were in the store already.
        failed: Files nothing could be saved from, each with the reason; they are left alone.
        others: How many replies and copies wait for other stores, by the name of each.
    """

    saved: tuple[Record, ...] = ()
    known: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    others: Mapping[str, int] = field(factory=dict[str, int])


class _OthersError(Exception):
    """It belongs to another store, whose name this is."""


def rescue(
    parts: Parts, spool: Spool, older_than: timedelta, *, every: bool = False
) -> RescueReport:
    """Save rescue copies and leftover replies, and remove each once it is saved.

    Raises:
        StoreError: The folders cannot be read.
    """
    saved: list[Record] = []
    failed: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    known = 0
    copies = rescue_folder()
    # Two rescues at once would both find a picture unknown, and save it twice.
    with _alone(copies), _alone(spool.folder):
        found = itertools.chain(
            _copies(parts, copies, every), _replies(parts, spool, older_than, every)
        )
        for path, bring_home in found:
            try:
                records, there = bring_home()
            except _OthersError as owner:
                others[str(owner)] += 1
            except Exception as error:  # noqa: BLE001  # one that is broken must not block the others
                failed.append((path, reason(error)))
            else:
                saved += records
                known += there
    return RescueReport(saved=tuple(saved), known=known, failed=tuple(failed), others=dict(others))


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Keep other rescues away from a folder, where there is one."""
    return locked(folder / _LOCK) if folder.is_dir() else nullcontext()


def _check_owner(parts: Parts, owner: object) -> None:
    """What 0.1.0 left names no owner, and is anybody's."""
    if isinstance(owner, str) and owner != parts.blobs.name:
        raise _OthersError(owner)


def _copies(parts: Parts, folder: Path, every: bool) -> Iterator[_Job]:
    if folder.is_dir():
        blobs = FileBlobs(folder)
        for info in list(blobs.list(IMAGES)):
            if is_sidecar(info.key):
                path = str(folder.joinpath(*info.key.split("/")))
                yield path, partial(_copy, parts, blobs, info.key, every)


def _copy(parts: Parts, blobs: Blobs, key: str, every: bool) -> tuple[tuple[Record, ...], int]:
    """Save one rescue copy under the id it has, and remove it."""
    record = sidecar.load(blobs.read(key).data, key=key, folder=None).record
    rest = dict(record.extra)
    owner = rest.pop(OWNER, None)
    if not every:
        _check_owner(parts, owner)
    record = evolve(record, extra=rest)
    if parts.index.key_of(record.id) is not None:
        _clear(blobs, record)
        return (), 1
    image = Image.from_bytes(blobs.read(record.key).data)
    if record.original is not None:
        image = evolve(image, original=Image.from_bytes(blobs.read(record.original.key).data))
    named = [key for key in inputs(record.request) if input_digest(key)]
    made = Draft(
        record=placed(record, image, parts.naming, parts.blobs),
        image=image,
        inputs=tuple(Image.from_bytes(blobs.read(key).data) for key in named),
    )
    saved = save(parts, [made], warn, result=None)
    _clear(blobs, record)
    return saved, 0


def _clear(blobs: Blobs, record: Record) -> None:
    """Remove a rescue copy; its inputs go with the last one."""
    blobs.delete(record.key)
    if record.original is not None:
        blobs.delete(record.original.key)
    blobs.delete(stem(record.key) + SIDECAR)
    if not any(is_sidecar(info.key) for info in blobs.list(IMAGES)):
        for info in list(blobs.list(INPUTS)):
            blobs.delete(info.key)


def _replies(parts: Parts, spool: Spool, older_than: timedelta, every: bool) -> Iterator[_Job]:
    for left in spool.leftovers(older_than):
        yield str(left.path), partial(_reply, parts, left, every)


def _reply(parts: Parts, left: Leftover, every: bool) -> tuple[tuple[Record, ...], int]:
    """Save the pictures of one raw reply, and remove it."""
    if not every:
        _check_owner(parts, left.store)
    try:
        body = left.read()
    except FileNotFoundError:  # its own process has saved it meanwhile
        return (), 0
    images = [_exact(Image.from_bytes(data), left.note) for data in pictures(body)]
    if not images:
        raise ImageDecodeError("the reply holds no picture")
    known = {each.sha256: search.by_digest(parts.index.database, each.sha256) for each in images}
    bare = [found for rows in known.values() for found in rows if _is_bare(parts, found)]
    new = [image for image in images if all(found in bare for found in known[image.sha256])]
    call = _call(left, body)
    saved = save(parts, draft(parts, call, new), warn, result=None) if new else ()
    for found in bare:
        # Of this one only the bytes were known; now the request is, too.
        remove(parts, found.key)
    left.path.unlink(missing_ok=True)
    return saved, len(images) - len(new)


def _is_bare(parts: Parts, found: search.Found) -> bool:
    return parts.load(found.body, found.key).record.operation == RECOVERED


def _call(left: Leftover, body: bytes) -> Call:
    """What is known of a call: the note, and the usage in the reply."""
    asked = left.note if "operation" in left.note else {"operation": RECOVERED}
    model = str(asked.get("model", "unknown"))
    usage = read_usage(read(body).value, has_inputs=asked["operation"] == "edit")
    return Call(
        asked=asked,
        model=model,
        made=left.at,
        usage=usage,
        cost=cost_of(Models.load().get(model), usage, left.at.date()),
        warnings=(NOTE,),
    )


def _exact(image: Image, asked: Mapping[str, object]) -> Image:
    """The picture with the pixels that were asked for, as the client would have made it."""
    try:
        size = Size.parse(str(asked.get("size", "auto"))).pixels
        return fit(image, *size) if size else image
    except GptImageError:
        return image
