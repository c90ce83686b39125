"""What can be read from a store: history, search, images, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Unpack, cast

from attrs import evolve, frozen

from gptimage._internal.keywords import flag
from gptimage._internal.text import reason
from gptimage.errors import ImageDecodeError, ImageNotFoundError, InvalidRequestError, StoreError
from gptimage.image.image import Image, ImageSource
from gptimage.store import search as queries
from gptimage.store.context import StoreContext, not_found
from gptimage.store.database import UNHASHED
from gptimage.store.names import (
    SIDECAR,
    check_id,
    day_prefix,
    id_in,
    input_digest,
    is_id,
    is_sidecar,
    stem,
    time_of,
)
from gptimage.store.search import Filters, Page, Rank, Stats, measure
from gptimage.store.sidecar import UnreadableSidecarError, inputs, request_from_json
from gptimage.store.similar import (
    DUPLICATE,
    HASHED_AT_ONCE,
    SIMILAR,
    Match,
    check_distance,
    groups,
    hash_of,
    nearest,
)
from gptimage.store.sync import recover, refresh, sync
from gptimage.types.record import Record
from gptimage.types.request import Generate


if TYPE_CHECKING:
    from gptimage.types.result import Result


_PAGE: Final = 200
_MAX_FAMILY: Final = 1000


class CanRun(Protocol):
    """A client that can send a request again: an `ImageClient`."""

    def run(self, request: Generate, /) -> Result:
        """Send a request that is already a value."""
        ...


@frozen(kw_only=True)
class Lineage:
    """The ancestors and descendants of an image.

    Attributes:
        ancestors: What it refines or was edited from, and what those come from; oldest first.
        descendants: What was made from it, and from those; oldest first.
    """

    ancestors: tuple[Record, ...] = ()
    descendants: tuple[Record, ...] = ()


class Reader:
    """The read-only part of a `Store`; made by `Store` only."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._caught_up = context.shared

    def __iter__(self) -> Iterator[Record]:
        """Iterate over every image, newest first.

        Raises:
            StoreError: The store cannot be read.
        """
        cursor: str | None = None
        while True:
            page = self.history(_PAGE, cursor=cursor)
            yield from page
            cursor = page.next
            if cursor is None:
                return

    def __contains__(self, image: object) -> bool:
        """Return whether an image is here, by its id or record.

        Raises:
            StoreError: The store cannot be read.
        """
        id = image.id if isinstance(image, Record) else image
        try:
            return isinstance(id, str) and is_id(id) and bool(self.get(id))
        except ImageNotFoundError:
            return False

    def history(
        self, limit: int = 20, *, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> Page:
        """Images newest first, a page at a time.

        Args:
            limit: How many at most, 1 to 1,000.
            cursor: ``.next`` of the page before.
            **filters: Which; see `Filters`.

        Raises:
            InvalidRequestError: The limit, the cursor or a filter makes no sense.
            StoreError: The store cannot be read.
        """
        self._ready()
        found = queries.history(self._context.index.database, limit, cursor, filters)
        return self._page(found, limit, found[limit - 1].id if len(found) > limit else None)

    def search(
        self,
        text: str,
        limit: int = 20,
        *,
        rank: Rank = "newest",
        cursor: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """Images whose prompt or tags hold all these words.

        Case and accents do not matter. ``"red fox"`` in quotes is a phrase and ``light*``
        finds words that begin so; nothing else has a special meaning.

        Args:
            text: The words, at most 2,000 characters; without any, nothing is found.
            limit: How many at most, 1 to 1,000.
            rank: ``newest`` first, or by ``relevance`` among the 5,000 newest hits.
            cursor: ``.next`` of the page before.
            **filters: Which; see `Filters`.

        Raises:
            InvalidRequestError: An argument makes no sense.
            StoreError: The store cannot be read.
        """
        self._ready()
        found = queries.search(self._context.index.database, text, rank, limit, cursor, filters)
        if len(found) <= limit:
            return self._page(found, limit, None)
        if rank == "relevance":
            return self._page(found, limit, str(int(cursor or 0) + limit))
        return self._page(found, limit, found[limit - 1].id)

    def get(self, id: str | Record) -> Record:
        """Return what is known of one image now.

        Args:
            id: Its id, or a record of it.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: The store cannot be read.
        """
        id = check_id(id)
        self._ready()
        if found := queries.by_id(self._context.index.database, id):
            return self._record(found)
        record = self._look_for(id)
        if record is None:
            raise not_found(id, self._context.blobs.name)
        return record

    def find_identical(self, image: Image | Record | str) -> tuple[Record, ...]:
        """Return every image with exactly these bytes, oldest first.

        A file that is gone, or has another length by now, is none.

        Args:
            image: An image, a record, or the bytes' SHA-256 in hex as in ``image.sha256``.

        Raises:
            InvalidRequestError: It is none of these, such as a path or an id.
            StoreError: The store cannot be read.
        """
        given = cast("object", image)
        if isinstance(given, (Image, Record)):
            sha256 = given.sha256
        elif isinstance(given, str) and re.fullmatch("[0-9A-Fa-f]{64}", given):
            sha256 = given
        else:  # "none" as the answer to a path or an id would have the image drawn again
            raise InvalidRequestError(
                "find_identical takes an Image, a record or the 64 hex digits of a SHA-256; "
                "Image.open(path) reads a file, and get(id) finds a record",
                field="image",
                value=given,
            )
        self._ready()
        records = self._records(queries.by_digest(self._context.index.database, sha256))
        return tuple(each for each in records if self._is_whole(each))

    def similar(
        self, image: ImageSource | Record, most: int = 20, *, distance: int = SIMILAR
    ) -> tuple[Match, ...]:
        """Return images that look like this one, the nearest first.

        Saving makes no hashes: each call reads and hashes up to 250 images that have none yet, the
        newest first. ``stats().unhashed`` counts those that were not compared, and `Store.reindex`
        with ``hashes=True`` makes all. Of an svg, files with the same bytes are found.

        Args:
            image: A record or id of this store, whose image itself is left out; or a path, bytes,
                an `Image` or anything else `Image.open` reads.
            most: How many at most, 1 to 1,000.
            distance: Bits of 64 that may differ, 0 to 32, in the hashes of both images or of one
                and the other's middle: 10 finds copies of which up to 10 % is cut off each side,
                and by chance other images as well; 4 is enough for other sizes and formats.

        Raises:
            InvalidRequestError: An argument makes no sense.
            ImageDecodeError: It is no image, or a broken one.
            ImageNotFoundError: No image has this id.
            StoreError: The store cannot be read.
        """
        most, distance = queries.check_limit(most), check_distance(distance)
        self._ready()
        self._hash()
        record = None
        if isinstance(image, Record) or (isinstance(image, str) and is_id(image)):
            record = self.get(image)
        if record is None:
            opened = Image.open(cast("ImageSource", image))
            hash = None if opened.format == "svg" else opened.perceptual_hash
            same: Image | Record = opened
        else:
            hash, same = self._context.index.hash_of(stem(record.key) + SIDECAR), record
            if hash == UNHASHED:
                hash = hash_of(self.open(record))
        if hash:
            rows = dict(nearest(self._context.index.database, hash, most + 1, distance))
            found = queries.by_rows(self._context.index.database, list(rows))
            matches = [Match(self._record(each), rows[each.row]) for each in found]
        else:
            matches = [Match(each, 0) for each in self.find_identical(same)]
        return tuple(each for each in matches if record is None or each.record.id != record.id)[
            :most
        ]

    def duplicates(self, *, distance: int = DUPLICATE) -> Iterator[tuple[Record, ...]]:
        """Yield groups of images that are copies of each other, each oldest first.

        The group with the newest image comes first. Hashes are made as by `similar`; images that
        have none yet are compared by their bytes alone.

        Args:
            distance: Bits of the hashes' 64 in which two copies may differ, 0 to 10: with each bit
                more pairs have to be compared.

        Raises:
            InvalidRequestError: The distance makes no sense.
            StoreError: The store cannot be read.
        """
        distance = check_distance(distance, every=True)
        self._ready()
        self._hash()
        database = self._context.index.database
        for rows in groups(database, distance):
            records = self._records(queries.by_rows(database, rows))
            if len(records) > 1:  # the others were deleted meanwhile
                yield records

    def open(self, id: str | Record, *, original: bool = False) -> Image:
        """Return an image, byte for byte as it was saved.

        Args:
            id: Its id.
            original: Give the untouched image of the service, if this one was cropped.

        Raises:
            ConfigurationError: ``original`` is neither True nor False.
            ImageNotFoundError: No image has this id, or its file is gone.
            ImageDecodeError: Its file has been damaged.
            StoreError: It cannot be read.
        """
        flag("original", original)
        record = self.get(id)
        try:
            return self._image(record, original)
        except (FileNotFoundError, ImageDecodeError):
            # Perhaps it is the index that is wrong: the sidecar has the last word.
            record = sync(self._context, stem(record.key) + SIDECAR) or record
        try:
            return self._image(record, original)
        except FileNotFoundError as error:
            raise ImageNotFoundError(
                f"{record.id} is on record, but its file is gone ({error.filename}): "
                "verify() lists what is missing"
            ) from error

    def _image(self, record: Record, original: bool) -> Image:
        """Return a file of a record, once its bytes are proved to be the ones that were saved."""
        file = record.original if original and record.original else record
        image = evolve(
            Image.from_bytes(self._read(file.key)), made_by=record.ai_label, alt=record.alt
        )
        if image.sha256 != file.sha256:
            raise ImageDecodeError(
                f"the file {file.key} is damaged: its bytes are not the ones that were saved"
            )
        return image

    def lineage(self, id: str | Record) -> Lineage:
        """Return where an image comes from, and what came of it, up to 1,000 images each way.

        An edit comes from the images it was given, if they are in this store; a refinement
        from its parent.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: The store cannot be read.
        """
        record = self.get(id)
        return Lineage(
            ancestors=self._family(record, upwards=True),
            descendants=self._family(record, upwards=False),
        )

    def inputs(self, id: str | Record) -> tuple[Image, ...]:
        """Return the images an edit was given, mask and markup last.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: An input is gone or cannot be read.
        """
        return tuple(self._input(key) for key in inputs(self.get(id).request))

    def request(self, id: str | Record) -> Generate:
        """Return the request that made an image, with its input images, ready to be sent again.

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: An input is gone, or the request is not known.
        """
        return request_from_json(self.get(id).request, self._input)

    def repeat(self, id: str | Record, client: CanRun) -> Result:
        """Ask again what made an image. This is a new call, and it costs what calls cost.

        Args:
            id: The image.
            client: Who sends it, such as an `ImageClient`. (With an async client, write
                ``await client.run(store.request(id))``.)

        Raises:
            ImageNotFoundError: No image has this id.
            StoreError: An input is gone, or the request is not known.
            GptImageError: As the client's ``run``.
        """
        return client.run(evolve(self.request(id), stream=False, partial_images=None))

    def stats(self) -> Stats:
        """Return what is in the store, and what it cost.

        Raises:
            StoreError: The store cannot be read.
        """
        self._ready()
        return self._context.index.database.read(measure)

    def _hash(self) -> None:
        """Make the perceptual hashes of the newest images that have none, and remember them."""
        index = self._context.index
        for found in queries.by_rows(index.database, index.unhashed(HASHED_AT_ONCE)):
            record = self._record(found)
            try:
                hash = hash_of(self.open(record))
            except (ImageNotFoundError, ImageDecodeError):
                hash = ""  # `verify` names it; nobody needs to read it again
            # One by one, so that what was done when this breaks off stays done. In the index alone:
            # looking for an image is no reason to write hundreds of sidecars.
            index.set_hash(found.row, record.sha256, hash)

    def _ready(self) -> None:
        """Catch up first, where others may have written: once, and after trouble."""
        if self._context.stale_marker.exists():
            recover(self._context)
        if not self._caught_up:
            # A new index is filled first: that reads everything, and then little is left.
            self._context.index.database.read(lambda _: None)
            refresh(self._context)
            self._caught_up = True

    def _look_for(self, id: str) -> Record | None:
        """Return an image another process saved a moment ago, found by its day."""
        try:
            for info in self._context.blobs.list(day_prefix(time_of(id))):
                if is_sidecar(info.key) and id_in(info.key) == id:
                    return sync(self._context, info.key)
        except OSError as error:
            raise self._unreadable(error) from error
        return None

    def _read(self, key: str) -> bytes:
        try:
            return self._context.blobs.read(key).data
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unreadable(error) from error

    def _is_whole(self, record: Record) -> bool:
        """Return whether the file of a record is there, as long as it was."""
        try:
            info = self._context.blobs.stat(record.key)
        except OSError as error:
            raise self._unreadable(error) from error
        return info is not None and info.size == record.bytes

    def _input(self, key: str) -> Image:
        if not input_digest(key):
            raise StoreError(f"{key!r:.80} is no input image: the sidecar was changed")
        try:
            image = Image.from_bytes(self._read(key))
        except FileNotFoundError as error:
            raise StoreError(f"the input image {key} is gone") from error
        if image.sha256 != input_digest(key):
            raise StoreError(f"the input image {key} is damaged: its SHA-256 is another one")
        return image

    def _family(self, record: Record, *, upwards: bool) -> tuple[Record, ...]:
        known = {record.id: record}
        ahead = [record]
        while ahead and len(known) <= _MAX_FAMILY:
            here = ahead.pop()
            for each in self._from(here) if upwards else self._into(here):
                if each.id not in known:
                    known[each.id] = each
                    ahead.append(each)
        del known[record.id]
        return tuple(known[id] for id in sorted(known))

    def _from(self, record: Record) -> list[Record]:
        """Return the parent, and for every input the newest older image with its bytes."""
        database = self._context.index.database
        parent = queries.by_id(database, record.parent or "")
        found = [] if parent is None else [self._record(parent)]
        for sha256 in record.sources:
            older = [row for row in queries.by_digest(database, sha256) if row.id < record.id]
            found += self._records(older[-1:])
        return found

    def _into(self, record: Record) -> tuple[Record, ...]:
        found = queries.children(self._context.index.database, record.id, record.sha256)
        return self._records([row for row in found if row.id > record.id])

    def _page(self, found: Sequence[queries.Found], limit: int, following: str | None) -> Page:
        return Page(self._records(found[:limit]), following)

    def _records(self, found: Iterable[queries.Found]) -> tuple[Record, ...]:
        return tuple(self._record(each) for each in found)

    def _record(self, found: queries.Found) -> Record:
        try:
            return self._context.load(found.body, found.key).record
        except (UnreadableSidecarError, TypeError, AttributeError, ValueError) as error:
            # The row is damaged: the sidecar it was read from says it again.
            try:
                record = sync(self._context, found.key)
            except (TypeError, AttributeError, ValueError):  # the key in it is damaged as well
                record = None
            if record is None and is_id(found.id):
                record = self._look_for(found.id)
            if record is None:
                raise StoreError(
                    f"the index's row of {found.id} is damaged ({error}): reindex() builds it anew"
                ) from error
            return record

    def _unreadable(self, error: OSError) -> StoreError:
        return StoreError(f"{self._context.blobs.name} cannot be read: {reason(error)}")
