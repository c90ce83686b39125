"""`Store`: images and their sidecars in a folder or a bucket, and an index to find them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, Unpack

from attrs import evolve

from gptimage._internal.clock import check_time, utc_now
from gptimage._internal.keywords import clock as check_clock
from gptimage._internal.keywords import duration, flag, missing, strict_class, text
from gptimage._internal.keywords import path as path_like
from gptimage._internal.locks import locked
from gptimage._internal.text import reason
from gptimage._internal.user_dirs import cache_folder
from gptimage.errors import (
    ConfigurationError,
    ImageDecodeError,
    ImageNotFoundError,
    InvalidRequestError,
    StoreError,
)
from gptimage.store import save as saving
from gptimage.store import search, sidecar, sync
from gptimage.store.blobs import Blobs
from gptimage.store.context import StoreContext, is_read_only, not_found, warn
from gptimage.store.index import Index, IndexEntry, same
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.names import (
    DEFAULT,
    EXPORT,
    INDEX,
    SIDECAR,
    IdMaker,
    Naming,
    check_id,
    is_id,
    stem,
)
from gptimage.store.reader import Reader
from gptimage.store.search import Filters
from gptimage.store.sidecar import UnreadableSidecarError, inputs
from gptimage.store.similar import hash_of
from gptimage.types.record import Record


if TYPE_CHECKING:  # imported when they are needed: looking into a store needs none of them
    from gptimage.store.export import ExportReport
    from gptimage.store.prune import PruneReport, Retention
    from gptimage.store.recovery import PendingReplies, RecoverReport
    from gptimage.store.verify import VerifyReport
    from gptimage.types.result import Result


# Editing a sidecar so that whoever changes it at the same time is not overwritten.

_TRIES: Final = 100


def edit(context: StoreContext, key: str, change: Callable[[Record], Record]) -> Record | None:
    """Change what a sidecar says; the new record, or None when the image is gone.

    Args:
        context: The store.
        key: The sidecar.
        change: Makes the new record; called again when somebody else was quicker.

    Raises:
        StoreError: It cannot be read or written, or others keep changing it.
    """
    try:
        context.index.begin([key], context.clock())
        for _ in range(_TRIES):
            found = context.entry(key)
            if found is None or found[1] or _replace(context, found[0], change(found[0].record)):
                return sync.sync(context, key)
    except (OSError, UnreadableSidecarError) as error:
        raise StoreError(f"{key} cannot be changed: {reason(error)}") from error
    raise StoreError(f"{key} keeps being changed by others: try again")


def _replace(context: StoreContext, old: IndexEntry, new: Record) -> bool:
    """Return whether the sidecar says what is wanted now."""
    if new == old.record:
        return True
    try:
        return context.blobs.replace(old.key, sidecar.dump(new), etag=old.etag) is not None
    except FileNotFoundError:
        return False


# Opening: puts a store's context together, and says early what cannot work.

_BLOBS: Final = (
    "create",
    "touch_or_create",
    "replace",
    "read",
    "stat",
    "delete",
    "list",
    "temp_files",
)

StoreLocation = str | os.PathLike[str] | Blobs
"""Where a store may be."""


def open_store(
    where: StoreLocation,
    *,
    naming: str | None,
    index: str | os.PathLike[str] | None,
    fsync: bool | None,
    clock: Callable[[], datetime],
) -> StoreContext:
    """Return the parts of a store that is ready for use; see `Store`.

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
    check_clock("clock", clock)
    check_time(clock())
    blobs = _blobs(where, fsync)
    path = _index_path(blobs, index)
    shared = blobs.folder == path.parent
    context = StoreContext(
        blobs=blobs,
        index=Index(path, fill=lambda: sync.refill(context), report=warn, private=not shared),
        naming=Naming(DEFAULT if naming is None else naming),
        new_id=IdMaker(clock),
        clock=clock,
        stale_marker=path.with_name(f".{path.name}.behind"),
        shared=shared,
    )
    # An index others do not use is filled when it is first read: saving needs no listing.
    try:
        context.index.database.read(lambda _: None, filled=context.shared)
        if context.shared:
            sync.recover(context)
    except OSError as error:
        raise StoreError(
            f"the index {path} cannot be made or read ({reason(error)}); nothing was sent: make "
            "room or permission there, or give the store another place"
        ) from error
    return context


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
    elif blobs.folder is not None and not is_read_only(blobs):
        path = blobs.folder / INDEX
    else:
        import hashlib

        name = hashlib.sha256(blobs.name.encode()).hexdigest()[:16]
        path = cache_folder() / f"index-{name}.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the index {path} cannot be made: {reason(error)}") from error
    return path


@strict_class
class Store(Reader):
    """Keeps images, and finds them again. Safe for many threads and processes.

    Files come first: every image lies byte for byte in a dated folder, with a JSON sidecar
    beside it. The index is built from the sidecars and may be deleted at any time.

    Args:
        where: A folder (made when missing), or `Blobs` such as an `ObjectBlobs`.
        naming: A template for file names, such as ``"{date}/{prompt:slug}-{id}"``; see `Naming`.
        index: Where the index goes: in the folder when left out, or in the user's cache folder
            for an object store and a folder that cannot be written to. Put it on a local disk when
            the folder is on a network.
        fsync: Force images to the disk before `save` returns, so that even a power cut loses
            nothing; only for a folder, where it is the default.
        clock: Tells the time (UTC), for ids, dates and how long images stay. The age of
            a file comes from the file system, which has a clock of its own.

    Raises:
        ConfigurationError: An argument makes no sense.
        StoreError: The folder or the index cannot be made.
    """

    def __init__(
        self,
        where: StoreLocation,
        *,
        naming: str | None = None,
        index: str | os.PathLike[str] | None = None,
        fsync: bool | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(open_store(where, naming=naming, index=index, fsync=fsync, clock=clock))

    def __repr__(self) -> str:
        """Return the class and where it is."""
        return f"Store({self._context.blobs.name!r})"

    def _repr_html_(self) -> str:
        """Return the newest images, for notebooks."""
        return self.history(12)._repr_html_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol

    def __enter__(self) -> Self:
        """Use the store in a ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def location(self) -> str:
        """The location: a path, or the name of an object store."""
        return self._context.blobs.name

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for an object store."""
        return self._context.blobs.folder

    def close(self) -> None:
        """Close the index's connections; the store may still be used."""
        self._context.index.close()

    def save(
        self,
        result: Result,
        *,
        tags: Iterable[str] = (),
        parent: str | Record | None = None,
        response_id: str | None = None,
        call_id: str | None = None,
        message: Mapping[str, object] | None = None,
        warn: Callable[[str], None] = warn,
    ) -> tuple[Record, ...]:
        """Save every image of a result, with all that is known of it.

        Args:
            result: What a client returned.
            tags: Your words.
            parent: The image this refines: its id or record.
            response_id: Id of the service's response, to go on with a conversation.
            call_id: Id of the image call within it.
            message: The model's message that the image came in, see `Record`.
            warn: Gets a sentence when the images are saved but the index could not be
                passed on; a `StoreWarning` when left out.

        Returns:
            A record for each image, in their order.

        Raises:
            InvalidRequestError: A tag or the parent makes no sense; nothing was saved.
            StoreError: An image could not be saved. ``.result`` has all of them, and
                ``.recovery_copies`` the paths of copies in the user's state folder.
        """
        words = saving.check_tags(tags)
        if isinstance(parent, Record):
            parent = parent.id
        if parent is not None and not is_id(parent):
            raise InvalidRequestError(
                f"parent {parent!r:.80} is no id", field="parent", value=parent, allowed="an id"
            )
        try:
            call = evolve(
                saving.CallMetadata.of(result),
                tags=words,
                parent=parent,
                response_id=response_id,
                call_id=call_id,
                message=message,
            )
            pending = saving.pending_images(self._context, call, result.images)
        except Exception as error:
            raise StoreError(
                f"the result cannot be described ({reason(error)}); its images are in .result",
                result=result,
            ) from error
        return saving.save(self._context, pending, warn, result=result)

    def check_writable(self) -> None:
        """Refuse a folder in which no image could be saved, before one is paid for.

        Raises:
            StoreError: It cannot be written to.
        """
        if self._context.is_read_only:
            raise StoreError(
                f"the store {self.location} cannot be written to, so no image could be saved in "
                "it: get permission there, or name another store; nothing was sent"
            )

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Keep other processes of this machine out while you look for an image, then save it.

        Raises:
            StoreError: The lock beside the index cannot be taken.
        """
        path = self._context.index.database.path
        try:
            with ExitStack() as stack:
                stack.enter_context(locked(path.with_name(f".{path.name}.exclusive")))
                held = stack.pop_all()
        except OSError as error:
            raise StoreError(f"the store cannot be locked: {reason(error)}") from error
        with held:
            yield

    def tag(self, id: str | Record, *tags: str) -> Record:
        """Add words to an image.

        Raises:
            InvalidRequestError: A tag is empty, long or holds control characters.
            ImageNotFoundError: No image has this id.
            StoreError: It cannot be changed.
        """
        added = saving.check_tags(tags)
        return self._edit(id, lambda r: evolve(r, tags=saving.check_tags({*r.tags, *added})))

    def untag(self, id: str | Record, *tags: str) -> Record:
        """Take words from an image; those it does not have are fine.

        Raises:
            ConfigurationError: A tag is no text.
            ImageNotFoundError: No image has this id.
            StoreError: It cannot be changed.
        """
        for each in tags:
            text("tag", each)
        gone = set(map(same, tags))
        return self._edit(
            id, lambda r: evolve(r, tags=tuple(tag for tag in r.tags if same(tag) not in gone))
        )

    def set_alt(self, id: str | Record, text: str | None) -> Record:
        """Write the text alternative that web pages get with an image.

        Args:
            id: The image.
            text: One line of at most 1,000 characters; empty for an image that only decorates,
                None to take the text away.

        Raises:
            InvalidRequestError: The text is too long, or none.
            ImageNotFoundError: No image has this id.
            StoreError: It cannot be changed.
        """
        alt = saving.check_alt(text)
        return self._edit(id, lambda r: evolve(r, alt=alt))

    def pin(self, id: str | Record) -> Record:
        """Refuse to `prune` or `delete` an image until it is unpinned.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: It cannot be changed.
        """
        return self._edit(id, lambda r: evolve(r, pinned=True))

    def unpin(self, id: str | Record) -> Record:
        """Let `prune` and `delete` have an image again.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: It cannot be changed.
        """
        return self._edit(id, lambda r: evolve(r, pinned=False))

    def delete(self, id: str | Record) -> None:
        """Remove an image, and input images no other edit was given.

        Inputs used within the last hour may stay until the next `prune`, when somebody else
        could be saving an edit of them right now.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: It is pinned, or cannot be removed.
        """
        from gptimage.store.prune import sweep_inputs

        record = self.get(id)
        try:
            if sync.remove(self._context, _sidecar_key(record)) is None:
                raise self._why_not_removed(record)
            sweep_inputs(self._context, inputs(record.request))
        except (OSError, UnreadableSidecarError) as error:
            raise StoreError(f"{record.id} cannot be removed: {reason(error)}") from error

    def prune(self, retention: Retention, *, dry_run: bool = False) -> PruneReport:
        """Remove what is not worth keeping.

        Pinned images stay, and so does every file the store did not write. Input images
        go when no image that stays was made from them.

        Args:
            retention: What to keep.
            dry_run: Only say what would be removed.

        Raises:
            ConfigurationError: ``dry_run`` is neither True nor False.
            StoreError: The store or the index cannot be read or written.
        """
        from gptimage.store.prune import prune

        flag("dry_run", dry_run)
        try:
            return prune(self._context, retention, dry_run=dry_run)
        except OSError as error:
            raise StoreError(f"{self.location} cannot be pruned: {reason(error)}") from error

    def verify(
        self, *, hashes: bool = True, repair: bool = False, grace: timedelta = sync.GRACE
    ) -> VerifyReport:
        """Look at every file and every row, and name what is wrong.

        Args:
            hashes: Read every image and compare its SHA-256; otherwise only its length.
            repair: Put right what can be without losing information; see `Problem`.
            grace: Files younger than this may still be in the hands of somebody who is
                writing them, and are not judged. Zero when nobody else uses the store.

        Raises:
            ConfigurationError: An argument makes no sense.
            StoreError: The store or the index cannot be read or written.
        """
        flag("hashes", hashes)
        flag("repair", repair)
        duration("grace", grace, zero=True)
        self._ready()
        from gptimage.store.verify import verify

        return verify(self._context, hashes=hashes, repair=repair, grace=grace)

    def refresh(self) -> int:
        """Take in images saved elsewhere, on a machine that shares the bucket or folder.

        A day is listed again each time, so that images which arrive late are not missed;
        what is later than that, `reindex` finds. Opening a store does this once by itself,
        unless everybody who uses it shares its index.

        Returns:
            How many images were new or had changed.

        Raises:
            StoreError: The store or the index cannot be read or written.
        """
        self._caught_up = True
        return sync.refresh(self._context).updated

    def reindex(self, *, hashes: bool = False) -> int:
        """Read every sidecar again and build the index from them; how many there are.

        Args:
            hashes: Also make every perceptual hash that is missing, and write it into the sidecar:
                each of those images is read once. What was done when it breaks off stays done.

        Raises:
            StoreError: The store or the index cannot be read or written.
        """
        flag("hashes", hashes)
        count = self._context.index.database.refill()
        for record in self if hashes else ():
            if record.perceptual_hash is None:
                with suppress(ImageNotFoundError, ImageDecodeError):  # `verify` names those
                    found = hash_of(self.open(record))
                    self._edit(record, partial(evolve, perceptual_hash=found))
        return count

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        naming: str = EXPORT,
        sidecars: bool = True,
        **filters: Unpack[Filters],
    ) -> ExportReport:
        """Copy images into a folder, under names for people; nothing is overwritten.

        Args:
            folder: Where to; made when missing.
            naming: A template for the names; see `Naming`.
            sidecars: Write the sidecars beside them.
            **filters: Which images; see `Filters`.

        Raises:
            ConfigurationError: The template breaks a rule, or another argument makes no sense.
            StoreError: A file cannot be read or written.
        """
        path_like("folder", folder)
        flag("sidecars", sidecars)
        names = Naming(naming, dated=False)
        self._ready()
        rows = search.each(self._context.index.database, filters)
        records = (self._record(row) for row in rows)
        from gptimage.store.export import export

        return export(self._context, records, Path(folder), names, sidecars=sidecars)

    def recover(
        self,
        spool: PendingReplies | None = None,
        *,
        older_than: timedelta = sync.GRACE,
        every: bool = False,
    ) -> RecoverReport:
        """Save what was paid for and could not be saved at the time.

        That is recovery copies in the user's state folder, and replies of processes that were
        killed before they had saved their images. What belongs to another store waits for
        that store, and is counted in ``others``.

        Args:
            spool: Where the replies are; the user's own spool when left out.
            older_than: Replies that are older are taken even if their process seems alive.
            every: Take what belongs to other stores as well, such as one that was moved.

        Raises:
            ConfigurationError: An argument makes no sense.
            StoreError: The folders cannot be read.
        """
        duration("older_than", older_than, zero=True)
        flag("every", every)
        self._ready()
        from gptimage.store.recovery import PendingReplies, recover

        if spool is None:
            spool = PendingReplies(clock=self._context.clock)
        return recover(self._context, spool, older_than, every=every)

    def _edit(self, id: str | Record, change: Callable[[Record], Record]) -> Record:
        record = edit(self._context, _sidecar_key(self.get(id)), change)
        if record is None:
            raise not_found(check_id(id), self.location)
        return record

    def _why_not_removed(self, record: Record) -> StoreError:
        """Return the error for an image that was not removed: it is pinned, or already gone."""
        row = sync.sync(self._context, _sidecar_key(record))
        return sync.pinned_error(record.id) if row else not_found(record.id, self.location)


def _sidecar_key(record: Record) -> str:
    return stem(record.key) + SIDECAR
