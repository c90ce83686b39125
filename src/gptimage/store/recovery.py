"""Recovery: brings images home that were paid for and could not be saved at the time.

They wait in two places: as recovery copies, written when a store failed, and as raw replies in
the spool, left by processes that were killed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from attrs import evolve, field, frozen

from gptimage._internal import atomic
from gptimage._internal.clock import Clock, utc_now
from gptimage._internal.json import moment, table
from gptimage._internal.keywords import clock as check_clock
from gptimage._internal.keywords import path as check_path
from gptimage._internal.keywords import strict_class
from gptimage._internal.locks import locked
from gptimage._internal.text import reason
from gptimage._internal.user_dirs import make_private, recovery_folder, spool_folder
from gptimage.errors import GptImageError, ImageDecodeError, StoreError
from gptimage.image.as_asked import made_as_asked, made_exact
from gptimage.image.image import Image
from gptimage.image.label import COMPOSITE, TRAINED, Label
from gptimage.image.mask import Mask
from gptimage.image.outside import keep_outside
from gptimage.models.catalog import OPENAI, Models
from gptimage.models.sizes import Size
from gptimage.providers.openai.images import cost_of_reply, read_usage
from gptimage.store import search, sidecar
from gptimage.store.blobs import Blobs
from gptimage.store.context import StoreContext, warn
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.names import IMAGES, INPUTS, SIDECAR, input_digest, is_sidecar, stem
from gptimage.store.save import OWNER, CallMetadata, PendingImage, pending_images, placed, save
from gptimage.store.sidecar import inputs, request_to_json
from gptimage.store.sync import remove
from gptimage.store.verify import RECOVERED
from gptimage.transport.base64_body import decoded_images, read
from gptimage.types.record import Record
from gptimage.types.request import Edit, Generate, label_for


# `PendingReplies`: keeps a raw reply from the moment it arrived until its images are saved.
#
# A process killed in between leaves the reply on disk, and `gptimage recover` saves its
# images. Nothing is forced to the disk: a killed process loses nothing that way, and only a
# power cut within seconds could.

_SUFFIX: Final = ".reply"
_MAX_NOTE: Final = 2**20
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,100}")


@frozen(kw_only=True)
class SpooledReply:
    """A reply on its way into the store.

    Attributes:
        path: Where it waits; None when it could not be written.
        warning: Why it could not be written, as a sentence, or None.
        named: Whether somebody asks for it by its name, such as a later run.
    """

    path: Path | None = None
    warning: str | None = None
    named: bool = False

    def discard(self) -> None:
        """Remove it: its images are saved, or handed to the caller."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()

    def give_up(self) -> None:
        """Let recovery take it at once: its call has ended without saving it.

        One that is asked for by its name stays as it is: a run that goes on would pay for it again.
        """
        if self.path is None or self.named:
            return
        with suppress(OSError, ValueError):  # else it is recovered when this process is gone
            line, _, body = self.path.read_bytes().partition(b"\n")
            head = {**json.loads(line), "given_up": True}
            atomic.replace(self.path, json.dumps(head).encode() + b"\n", body, fsync=False)


@frozen(kw_only=True)
class PendingReply:
    """A reply whose process did not come to an end.

    Attributes:
        path: The file.
        key: What the process called it: the cache key.
        at: When it arrived (UTC).
        note: The request; see `note_of`.
        store: The name of the store its images belong to; None when nobody knows.
    """

    path: Path
    key: str
    at: datetime
    store: str | None = None
    note: Mapping[str, object] = field(repr=False)

    def read(self) -> bytes:
        """Return the reply.

        Raises:
            OSError: The file cannot be read.
        """
        with self.path.open("rb") as file:
            file.readline(_MAX_NOTE)
            return file.read()


@strict_class
class PendingReplies:
    """A folder of replies that are not yet images in a store.

    Args:
        folder: Where; a folder of the user's own when left out. It must be on this machine.
        clock: Tells the time (UTC).

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, clock: Clock = utc_now
    ) -> None:
        check_clock("clock", clock)
        if folder is not None:
            check_path("folder", folder)
        self._clock = clock
        self.folder: Path = spool_folder() if folder is None else Path(folder).expanduser()

    def __repr__(self) -> str:
        """Return the class and the folder."""
        return f"PendingReplies({str(self.folder)!r})"

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview,
        note: Mapping[str, object],
        *,
        name: str | None = None,
        store: str | None = None,
        given_up: bool = False,
    ) -> SpooledReply:
        """Keep a reply. It never raises: a full disk must not stand between you and it.

        Args:
            key: Any name, such as the cache key.
            body: The reply as it arrived.
            note: The request, as JSON; see `note_of`.
            name: What `find` will ask for, from `new_name`; a new one when left out.
            store: The name of the store the images are for; only its own `recover` takes them.
            given_up: Whether its call has ended, so that recovery need not wait for the process.
        """
        now = self._clock().astimezone(UTC)
        head = {
            "gptimage": 1,
            "key": key,
            "at": now.isoformat(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "store": store,
            "note": dict(note),
        }
        if given_up:
            head["given_up"] = True
        path = self.folder / f"{name or new_name()}{_SUFFIX}"
        try:
            make_private(self.folder)
            line = json.dumps(head, default=str).encode() + b"\n"
            atomic.replace(path, line, body, fsync=False)
            return SpooledReply(path=path, named=name is not None)
        except Exception as error:  # noqa: BLE001  # the image comes first
            return SpooledReply(
                warning=f"the reply could not be saved for recovery ({reason(error)}): "
                "if this process is killed before its images are saved, they are lost"
            )

    def find(self, name: str) -> PendingReply | None:
        """Return the reply saved under this name; None when there is none, or it is damaged.

        Raises:
            OSError: It is there and cannot be read.
        """
        if not _NAME.fullmatch(name):  # it may come from a file that anybody wrote
            return None
        found = _read(self.folder / f"{name}{_SUFFIX}")
        return found and found[0]

    def abandoned(self, older_than: timedelta = timedelta(hours=1)) -> tuple[PendingReply, ...]:
        """Replies of processes that died or calls that ended, and older ones, oldest first.

        Args:
            older_than: Zero or less takes every one, whatever its date: another clock may
                have written it.

        Raises:
            StoreError: The folder cannot be read.
        """
        try:
            found = [_read(path) for path in sorted(self.folder.glob(f"*{_SUFFIX}"))]
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read: {reason(error)}") from error
        any_age, limit = older_than <= timedelta(0), self._clock() - older_than
        return tuple(
            each for each, dead in filter(None, found) if any_age or dead or each.at <= limit
        )


def new_name() -> str:
    """Return a name for a reply that is still to come; names sort by time."""
    return f"{utc_now():%Y%m%dT%H%M%S%f}-{os.getpid()}-{os.urandom(6).hex()}"


_SOURCE: Final = "digital_source"
"""The key of a note for what only the input images tell, see `Label.source`."""
_SERVICE: Final = "service"
"""The key of a note for what is known of the service, see `note_of`."""


def note_of(request: Generate, service: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return what recovery needs of a request, as JSON; input images are named, not stored.

    Args:
        request: What was asked.
        service: What is known of who drew it: ``catalogue`` and ``model``, whose prices hold;
            ``chooses_format``, ``states_cost``, ``batch`` and ``sandbox`` as true or false.
    """
    note = {**request_to_json(request), _SOURCE: label_for(request, None).source}
    return note if service is None else {**note, _SERVICE: dict(service)}


def _request_of(note: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in note.items() if name not in (_SOURCE, _SERVICE)}


def _read(path: Path) -> tuple[PendingReply, bool] | None:
    """Return a leftover, and whether its process is dead; None for a file that is none."""
    try:
        with path.open("rb") as file:
            head = cast("dict[str, Any]", json.loads(file.readline(_MAX_NOTE)))
        left = PendingReply(
            path=path,
            key=str(head["key"]),
            at=datetime.fromisoformat(head["at"]).astimezone(UTC),
            note=dict(head["note"]),
            store=None if head.get("store") is None else str(head["store"]),
        )
        dead = head["host"] == socket.gethostname() and not _alive(int(head["pid"]))
        return left, dead or head.get("given_up") is True
    except Exception:  # noqa: BLE001  # the head of a file anybody may have written
        return None


def _alive(pid: int) -> bool:
    """Whether a process runs here; on Windows, where asking could end it, only age decides."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


_Job = tuple[str, Callable[[], tuple[tuple[Record, ...], int]]]
"""A file that waits, and what saves it: the new records, and how many were known already."""

_LOCK: Final = ".rescue.lock"
NOTE: Final = "recovered from a raw reply after a crash"


@frozen(kw_only=True)
class RecoverReport:
    """The report of `Store.recover`.

    Attributes:
        saved: The images that are in the store now.
        known: How many images were in the store already.
        failed: Files nothing could be saved from, each with the reason; they are left alone.
        others: How many replies and copies wait for other stores, by the name of each.
    """

    saved: tuple[Record, ...] = ()
    known: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    others: Mapping[str, int] = field(factory=dict[str, int])


class _OthersError(Exception):
    """A pending reply of another store, whose name this is."""


def recover(
    context: StoreContext, spool: PendingReplies, older_than: timedelta, *, every: bool = False
) -> RecoverReport:
    """Save recovery copies and leftover replies, and remove each once it is saved.

    Raises:
        StoreError: The folders cannot be read.
    """
    saved: list[Record] = []
    failed: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    known = 0
    copies = recovery_folder()
    # Two recoveries at once would both find an image unknown, and save it twice.
    with _alone(copies), _alone(spool.folder):
        found = itertools.chain(
            _copies(context, copies, every), _replies(context, spool, older_than, every)
        )
        for path, recover_file in found:
            try:
                records, there = recover_file()
            except _OthersError as owner:
                others[str(owner)] += 1
            except Exception as error:  # noqa: BLE001  # one that is broken must not block the others
                failed.append((path, reason(error)))
            else:
                saved += records
                known += there
    return RecoverReport(saved=tuple(saved), known=known, failed=tuple(failed), others=dict(others))


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Keep other recoveries away from a folder, where there is one."""
    return locked(folder / _LOCK) if folder.is_dir() else nullcontext()


def _check_owner(context: StoreContext, owner: object) -> None:
    """Refuse a reply of another store; those of 0.1.0 name none, and any store takes them."""
    if isinstance(owner, str) and owner != context.blobs.name:
        raise _OthersError(owner)


def _copies(context: StoreContext, folder: Path, every: bool) -> Iterator[_Job]:
    if folder.is_dir():
        blobs = FileBlobs(folder)
        for info in list(blobs.list(IMAGES)):
            if is_sidecar(info.key):
                path = str(folder.joinpath(*info.key.split("/")))
                yield path, partial(_copy, context, blobs, info.key, every)


def _copy(
    context: StoreContext, blobs: Blobs, key: str, every: bool
) -> tuple[tuple[Record, ...], int]:
    """Save one recovery copy under the id it has, and remove it."""
    record = sidecar.load(blobs.read(key).data, key=key, folder=None).record
    rest = dict(record.extra)
    owner = rest.pop(OWNER, None)
    if not every:
        _check_owner(context, owner)
    record = evolve(record, extra=rest)
    if context.index.key_of(record.id) is not None:
        _clear(blobs, record)
        return (), 1
    image = Image.from_bytes(blobs.read(record.key).data)
    if record.original is not None:
        image = evolve(image, original=Image.from_bytes(blobs.read(record.original.key).data))
    named = [key for key in inputs(record.request) if input_digest(key)]
    made = PendingImage(
        record=placed(record, image, context.naming, context.blobs),
        image=image,
        inputs=tuple(Image.from_bytes(blobs.read(key).data) for key in named),
    )
    saved = save(context, [made], warn, result=None)
    _clear(blobs, record)
    return saved, 0


def _clear(blobs: Blobs, record: Record) -> None:
    """Remove a recovery copy; its inputs go with the last one."""
    blobs.delete(record.key)
    if record.original is not None:
        blobs.delete(record.original.key)
    blobs.delete(stem(record.key) + SIDECAR)
    if not any(is_sidecar(info.key) for info in blobs.list(IMAGES)):
        for info in list(blobs.list(INPUTS)):
            blobs.delete(info.key)


def _replies(
    context: StoreContext, spool: PendingReplies, older_than: timedelta, every: bool
) -> Iterator[_Job]:
    for left in spool.abandoned(older_than):
        yield str(left.path), partial(_reply, context, left, every)


def _reply(
    context: StoreContext, left: PendingReply, every: bool
) -> tuple[tuple[Record, ...], int]:
    """Save the images of one raw reply, and remove it."""
    if not every:
        _check_owner(context, left.store)
    try:
        body = left.read()
    except FileNotFoundError:  # its own process has saved it meanwhile
        return (), 0
    label = _label(left, body)
    raw = [evolve(Image.from_bytes(data), made_by=label) for data in decoded_images(body)]
    images = [_as_asked(context, image, left.note) for image in raw]
    if not images:
        raise ImageDecodeError("the reply holds no image")
    known = {each.sha256: search.by_digest(context.index.database, each.sha256) for each in images}
    bare = [found for rows in known.values() for found in rows if _has_no_metadata(context, found)]
    new = [image for image in images if all(found in bare for found in known[image.sha256])]
    call = _call(left, body, images)
    saved = save(context, pending_images(context, call, new), warn, result=None) if new else ()
    for found in bare:
        # Of this one only the bytes were known; now the request is, too.
        remove(context, found.key)
    left.path.unlink(missing_ok=True)
    return saved, len(images) - len(new)


def _has_no_metadata(context: StoreContext, found: search.Found) -> bool:
    return context.load(found.body, found.key).record.operation == RECOVERED


def _label(left: PendingReply, body: bytes) -> Label:
    """Return the label the client would have given: files made again have the same bytes."""
    usual = COMPOSITE if left.note.get("operation") == "edit" else TRAINED
    source, model = left.note.get(_SOURCE, usual), left.note.get("model")
    created = moment(table(read(body).value).get("created"))
    return Label(source=str(source), model=str(model) if model else None, created=created)


def _call(left: PendingReply, body: bytes, images: Sequence[Image]) -> CallMetadata:
    """Return what is known of a call: the note, and the usage in the reply."""
    note, service = _request_of(left.note), table(left.note.get(_SERVICE))
    request = note if "operation" in note else {"operation": RECOVERED}
    model = str(request.get("model", "unknown"))
    value = table(read(body).value)
    usage = read_usage(value, has_inputs=request["operation"] == "edit")
    catalogue = Models.load().for_provider(str(service.get("catalogue", OPENAI)))
    return CallMetadata(
        request=request,
        model=model,
        created_at_service=left.at,
        usage=usage,
        cost=cost_of_reply(
            value,
            usage,
            catalogue.get(str(service.get("model", model))),
            left.at.date(),
            formats=[image.format for image in images],
            stated=service.get("states_cost") is True,
            batch=service.get("batch") is True,
        ),
        warnings=(NOTE,),
        sandbox=service.get("sandbox") is True,
        message=(table(value.get("model_message")) or None) if len(images) == 1 else None,
    )


def _as_asked(context: StoreContext, image: Image, note: Mapping[str, object]) -> Image:
    """Return the image as the client would have made it: one saved already is then known."""
    try:
        size = Size.parse(str(note.get("size", "auto"))).dimensions
        level = note.get("compression")
        quality = level if isinstance(level, int) else None
        if kept := _kept(context, image, note, size, quality):
            return kept
        if table(note.get(_SERVICE)).get("chooses_format") is not True:
            return made_exact(image, size, quality=quality)[0]
        wanted = note.get("format")
        form = wanted if isinstance(wanted, str) else None
        return made_as_asked(image, size, format=form, quality=quality, service="")[0]
    except Exception:  # noqa: BLE001  # a paid image is never dropped for its size
        return image


def _kept(
    context: StoreContext,
    image: Image,
    note: Mapping[str, object],
    size: tuple[int, int] | None,
    quality: int | None,
) -> Image | None:
    """Return the image with the original outside the mask.

    None where that was not asked for, or where the store has no input images of this request: then
    its images were not saved either.
    """
    if "outside" not in note:
        return None
    request = _request_of(note)
    with suppress(GptImageError, OSError):
        edit = sidecar.request_from_json(
            request, lambda key: Image.from_bytes(context.blobs.read(key).data)
        )
        if isinstance(edit, Edit) and isinstance(edit.mask, Mask):
            first = edit.images[0]
            if isinstance(first, Image):
                return keep_outside(image, first, edit.mask, size=size, quality=quality).image
    return None
