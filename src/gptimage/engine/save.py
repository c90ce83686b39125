"""From a reply to a result that is kept: the steps after the answer, the same in both clients.

The order decides what a crash can cost. The raw reply goes to the spool first, then it is
read, then it goes to the cache, then the images go to the store; only when they are there
is the spool emptied. A failure in the spool or the cache is a warning, one in the store is
an error that carries the result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import evolve, field, frozen

from gptimage.cache.base import Cache, CacheEntry, FlightResult, NewReply
from gptimage.engine.arrival import Arrival
from gptimage.engine.config import ClientConfig
from gptimage.engine.parse import image_urls, malformed
from gptimage.engine.plan import Plan
from gptimage.engine.streaming import LARGE, StreamReader
from gptimage.errors import (
    CacheError,
    GptImageError,
    InvalidRequestError,
    MalformedReplyError,
    OutcomeUnknownError,
    StoreError,
)
from gptimage.image.image import Image
from gptimage.transport.base64_body import reassemble
from gptimage.transport.http import HttpReply
from gptimage.types.record import Record
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage.store import Store
    from gptimage.store.recovery import SpooledReply


_SMALLEST: Final = 1_000
"""Bytes below which no reply holds a drawn image."""
_PAGE_HEAD: Final = 200


@frozen(kw_only=True)
class ParsedReply:
    """A reply that was read.

    Attributes:
        result: What it says.
        body: The reply in one piece, or None when it is not worth keeping.
        entry: Where the raw reply waits until the images are saved.
    """

    result: Result
    body: bytes | None = field(default=None, repr=False)
    entry: SpooledReply | None = None

    @property
    def fresh(self) -> NewReply:
        """The cache entry of this reply."""
        cost = self.result.cost
        return NewReply(body=self.body, usd=cost.usd if cost else None)

    def change(self, work: Callable[[Result], Result]) -> ParsedReply:
        """Return the same reply with the result that ``work`` makes of it."""
        return evolve(self, result=work(self.result))


def check_store(store: Store | None) -> None:
    """Refuse a store that cannot be written to, before an image for it is paid.

    Raises:
        StoreError: It is a folder that may only be read.
    """
    check = getattr(store, "check_writable", None)  # a store of yours may have none
    if check is not None:
        check()


@frozen(kw_only=True)
class ResultSaver:
    """Reads replies and saves results.

    Attributes:
        core: The client's settings.
        cache: Where replies are saved, or None.
        keep: Keeps a raw reply until its images are saved or taken; left out, the spool does
            when there is a store.
    """

    core: ClientConfig
    cache: Cache | None
    keep: Callable[[Plan, bytes], SpooledReply] | None = None

    @property
    def store(self) -> Store | None:
        """The store of the images, or None."""
        return self.core.store

    def check_saving(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Return the tags, refused now if they make no sense: later they would cost an image.

        Raises:
            InvalidRequestError: There is no store to tag in, or a tag is unusable.
            StoreError: The store cannot be written to.
        """
        check_store(self.store)
        found = read_tags(tags)
        if not found:
            return ()
        if self.store is None:
            raise InvalidRequestError(
                "tags belong to a store, and this client has none",
                field="tags",
                value=found,
                allowed="ImageClient(store=Store(...))",
            )
        from gptimage.store.save import check_tags

        return check_tags(found)

    def is_cheap(self, plan: Plan, reply: HttpReply) -> bool:
        """Return whether `take` takes no time worth a thread: nothing to save, download or crop."""
        size = len(reply.body) + sum(map(len, reply.images))
        cropped = plan.exact and plan.wire.body.get("size") != "{}x{}".format(*plan.exact)
        writes = self.store is not None or self.keep is not None
        return not (
            writes or size >= LARGE or cropped or plan.request.keeps_outside or image_urls(reply)
        )

    def parse_and_spool(
        self, plan: Plan, reply: HttpReply, arrival: Arrival | None = None
    ) -> ParsedReply:
        """Read a reply, with the raw bytes safe on disk meanwhile.

        Args:
            plan: What was sent.
            reply: What came back.
            arrival: Notes where on a disk it is.

        Raises:
            GptImageError: It is an error, or holds no image.
        """
        good = reply.is_success and self._wants_body
        with _carried(plan, reply):
            whole, unreachable = self.core.inline_image_urls(plan.endpoint, reply)
            body = reassemble(whole.body, whole.images) if good else None
            entry = self._spool(plan, body, arrival)
            try:
                result = self.core.parse(plan, whole, unreachable)
            except MalformedReplyError as error:
                self._leave_unread(plan, error, entry)
                raise
            except GptImageError:
                _discard_spooled(entry)
                raise
        return self._taken(
            result, body, entry, complete=len(result.images) >= plan.request.effective_n
        )

    def parse_stream_and_spool(
        self,
        plan: Plan,
        reader: StreamReader,
        broken: OutcomeUnknownError | None,
        arrival: Arrival | None = None,
    ) -> ParsedReply:
        """Return the end of a stream, saved like any other reply.

        Raises:
            GptImageError: It ended without a finished image.
        """
        try:
            completed = reader.end(
                broken,
                now=self.core.clock(),
                complete=partial(self.core.inline_image_urls, plan.endpoint),
            )
        except MalformedReplyError as error:
            self._leave_unread(plan, error, None)
            raise
        reply = reader.reply()
        wanted = self._wants_body and not image_urls(reply)
        body = reassemble(reply.body, reply.images) if wanted else None
        result = completed.result
        whole = broken is None and len(result.images) >= plan.request.effective_n
        taken = self._taken(result, body, self._spool(plan, body, arrival), complete=whole)
        return self.cache_reply(plan.key, taken)

    def cache_reply(self, key: str, taken: ParsedReply) -> ParsedReply:
        """Save a reply in the cache, if there is one; a failure is among the result's warnings."""
        notes = _cache_put(self.cache, key, taken.fresh) if self.cache is not None else []
        return evolve(taken, result=taken.result.with_warnings(*notes))

    def cache_lookup(self, plan: Plan, cache: Cache) -> ParsedReply | None:
        """Return what the cache knows; a cache that fails knows nothing."""
        try:
            entry = cache.get(plan.key)
            if entry is None:
                return None
            cache.record_use(plan.key, hits=1)
        except Exception:  # noqa: BLE001  # nothing was sent yet; putting the answer says what is wrong
            return None
        return ParsedReply(result=self.core.parse_cached(plan, entry.body))

    def from_single_flight(
        self, plan: Plan, shared: FlightResult, own: Sequence[ParsedReply]
    ) -> ParsedReply:
        """Return the reply this call paid for, or else the one that another call got."""
        if own:
            taken = own[0]
        else:
            result = self.core.parse_cached(plan, shared.body)
            # Whoever paid may be done with it before this one is: it is kept for both.
            entry = self.keep(plan, bytes(shared.body)) if self.keep else None
            taken = self._taken(result, None, entry, complete=False)
        return evolve(taken, result=taken.result.with_warnings(*shared.warnings))

    def save(self, taken: ParsedReply, tags: tuple[str, ...], **lineage: Any) -> Result:
        """Save the images, if there is a store; cached ones that are there get the tags.

        Args:
            taken: What was read.
            tags: Tags for the store.
            **lineage: Ids of the parent, the response and the image call, for a conversation.

        Raises:
            StoreError: They could not be saved; the error carries the result.
        """
        if self.store is None:
            return taken.result
        notes: list[str] = []
        try:
            records = _already_stored(self.store, taken.result, tags, notes) or self.store.save(
                taken.result, tags=tags, warn=notes.append, **lineage
            )
        except StoreError as error:
            error.result = error.result or taken.result
            raise  # the reply stays in the spool, as recovery copies may be incomplete
        except Exception as error:
            message = f"saving failed ({type(error).__name__}: {error}); the images are in .result"
            raise StoreError(message, result=taken.result) from error
        _discard_spooled(taken.entry)
        # Files made of the images name them by their ids, as those of stored images do.
        images = tuple(map(_labelled, taken.result.images, records))
        return evolve(taken.result, images=images, stored=records).with_warnings(*notes)

    @property
    def _wants_body(self) -> bool:
        return self.cache is not None or self.store is not None or self.keep is not None

    def _taken(
        self, result: Result, body: bytes | None, entry: SpooledReply | None, *, complete: bool
    ) -> ParsedReply:
        """Return the parsed reply; only a complete one has the body for the cache."""
        notes = [entry.warning] if entry and entry.warning else []
        keep = body if self.cache is not None and complete else None
        return ParsedReply(result=result.with_warnings(*notes), body=keep, entry=entry)

    def _leave_unread(
        self, plan: Plan, error: MalformedReplyError, entry: SpooledReply | None
    ) -> None:
        """Leave a paid reply that cannot be read on the disk, and let the error say where.

        Most callers print an error and go on, and its image may be one that a newer version reads.
        """
        if not _may_hold_image(error.reply):
            _discard_spooled(entry)
            return
        if entry is None and self.keep is None and self.store is not None:
            entry = self._write(plan, error.reply)
        if entry is not None and entry.path is not None:
            entry.give_up()
            error.saved_to = str(entry.path)
            error.args = (f"{error}; it waits in {entry.path} for `gptimage recover`",)

    def keep_given_up(self, plan: Plan, body: bytes) -> SpooledReply:
        """Write the reply of a call that broke off to a disk, for `Store.recover`."""
        return self._write(plan, body, given_up=True)

    def _spool(
        self, plan: Plan, body: bytes | None, arrival: Arrival | None
    ) -> SpooledReply | None:
        if body is None or (self.keep is None and self.store is None):
            return None
        entry = self._write(plan, body)
        if arrival is not None:
            arrival.entry = entry
        return entry

    def _write(self, plan: Plan, body: bytes, *, given_up: bool = False) -> SpooledReply:
        if self.keep is not None:
            return self.keep(plan, body)
        from gptimage.store.recovery import PendingReplies, SpooledReply, note_of

        try:
            spool = PendingReplies(clock=self.core.clock)
        except GptImageError as error:  # this account has no folder for it
            return SpooledReply(warning=f"the reply could not be saved for recovery: {error}")
        name = None if self.store is None else self.store.location
        return spool.put(
            plan.key, body, note_of(plan.request, plan.service), store=name, given_up=given_up
        )


def read_tags(tags: object) -> tuple[str, ...]:
    """Return tags that may be one text or several; whether they are usable is not looked at.

    Raises:
        InvalidRequestError: They are neither.
    """
    if isinstance(tags, str):
        return (tags,)
    if isinstance(tags, Iterable) and not isinstance(tags, (bytes, Mapping)):
        return tuple(cast("Iterable[str]", tags))
    raise InvalidRequestError(
        "tags is text or a list of texts; leave it out for none",
        field="tags",
        value=cast("Any", tags),
    )


@contextmanager
def _carried(plan: Plan, reply: HttpReply) -> Generator[None]:
    """Let no surprise in a paid reply lose it: whatever it is, the error carries the body."""
    try:
        yield
    except GptImageError:
        raise
    except Exception as error:
        message = f"the reply cannot be read ({type(error).__name__}: {error})"
        raise malformed(plan, reply, message) from error


def _may_hold_image(body: bytes) -> bool:
    """Whether a reply that cannot be read may still be an image, or the address of one."""
    is_page = body[:_PAGE_HEAD].lstrip().lower().startswith((b"<!doctype", b"<html"))
    return not is_page and (len(body) >= _SMALLEST or b'"url"' in body)


def _cache_put(cache: Cache, key: str, fresh: NewReply) -> list[str]:
    """Cache the reply of a stream; a failure is a sentence for the warnings."""
    if fresh.body is None:
        return []
    try:
        cache.put(key, CacheEntry(body=fresh.body, usd=fresh.usd))
        cache.record_use(key, misses=1)
    except Exception as error:  # noqa: BLE001  # no cache, not even a user's own, may cost an image
        named = str(error) if isinstance(error, CacheError) else f"{type(error).__name__}: {error}"
        return [f"{named}; the call went on without the cache"]
    return []


def _already_stored(
    store: Store, result: Result, tags: tuple[str, ...], notes: list[str]
) -> tuple[Record, ...]:
    """Return the records, tagged, of a cached result whose images are all in the store already."""
    if not result.cached:
        return ()
    found = [store.find_identical(image.sha256) for image in result.images]
    if not all(found):
        return ()
    return tuple(_tagged(store, each[0], tags, notes) for each in found)


def _tagged(store: Store, record: Record, tags: tuple[str, ...], notes: list[str]) -> Record:
    """A record with these tags, too; one that cannot take them is no reason to lose a result."""
    if set(tags) <= set(record.tags):
        return record
    try:
        return store.tag(record.id, *tags)
    except (InvalidRequestError, StoreError) as error:
        notes.append(f"{record.id} was in the store already and did not get the tags: {error}")
        return record


def _labelled(image: Image, record: Record) -> Image:
    label = image.ai_label
    return image if label is None else evolve(image, made_by=evolve(label, id=record.id))


def _discard_spooled(entry: SpooledReply | None) -> None:
    if entry is not None:
        entry.discard()
