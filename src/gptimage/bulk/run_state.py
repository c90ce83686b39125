"""What is sent, written down and kept in a run of many; both runners share it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from gptimage.bulk.checkpoint import Checkpoint, CheckpointLine, ItemStatus
from gptimage.bulk.checkpoint_hook import CheckpointHook
from gptimage.bulk.items import Item, PlannedItem, RequestInput, planned
from gptimage.bulk.stop import Stop
from gptimage.cache.base import Cache
from gptimage.engine.plan import Plan
from gptimage.engine.save import ParsedReply, ResultSaver
from gptimage.errors import (
    BudgetExceededError,
    CacheError,
    ConfigurationError,
    FetchError,
    GptImageError,
    ImageDecodeError,
    OutcomeUnknownError,
    StoreError,
)
from gptimage.models.pricing import FREE, format_usd
from gptimage.transport.billing import may_be_billed
from gptimage.transport.http import HttpReply
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage.store import Store


_NEVER_SENT = (BudgetExceededError, FetchError, ImageDecodeError)
_LOG: Final = logging.getLogger("gptimage.many")


class NotTakenError(StoreError):
    """A run of many ended with images that nobody took and no disk could keep.

    Attributes:
        items: The items; each has its images in ``result``, or in ``error.result``.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: tuple[Item, ...] = tuple(items)
        super().__init__(
            f"{len(self.items)} items were answered and paid after the loop had ended, and their "
            f"replies could not be kept in the spool either: save the images of .items yourself",
            result=_images_of(self.items[0]),
        )


@frozen(kw_only=True)
class RunState:
    """Settles what is sent and what is written down. Safe for many threads.

    Attributes:
        keeper: Reads and saves replies, with the client's settings.
        cache: The client's cache, or None.
        checkpoint: The file of the run, or None.
        retry_unknown: Whether to ask again what may have been billed by an earlier run.
        tags: Tags for every picture.
        stop: What the caller ends the run with.
        over: Set when the run ends by itself: the loop was left, or something failed.
    """

    keeper: ResultSaver
    cache: Cache | None
    checkpoint: Checkpoint | None
    retry_unknown: bool
    tags: tuple[str, ...]
    stop: Stop
    over: Event = field(factory=Event)
    _waiting: dict[int, CheckpointHook] = field(factory=dict[int, CheckpointHook], init=False)

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be sent."""
        return self.over.is_set() or self.stop.is_set()

    def prepare(self, index: int, asked: RequestInput) -> PlannedItem | Item | None:
        """Plan a request and look up whether an earlier run settled it.

        Returns:
            What is to be sent, or an item that needs no sending, or None for one an earlier
            run handed over.

        Raises:
            ConfigurationError: The checkpoint belongs to other requests.
            OSError: The checkpoint cannot be read.
        """
        try:
            plan, tags = planned(self.keeper.core, asked)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one, the others go on
            return Item(index=index, asked=asked, error=error)
        ready = PlannedItem(index=index, asked=asked, plan=plan, tags=(*self.tags, *tags))
        before = self.checkpoint.look(index) if self.checkpoint else None
        if before is None or before.status == "failed":
            return ready
        self._check(before, plan)
        if before.status == "done":
            return self._resumed(before, asked, plan)
        if before.reply is not None and (item := self._from_spool(before.reply, ready)):
            return item
        if self.retry_unknown or self._is_cached(plan.key):
            return ready
        return Item(index=index, asked=asked, error=_unknown(before, plan), resumed=True)

    def mark_sent(self, leaving: CheckpointHook) -> None:
        """It leaves, and may be billed from now on.

        Raises:
            OSError: The checkpoint cannot be written; nothing may be sent.
        """
        self._write(leaving.ready, "begun", reply=leaving.reply)

    def not_billed(self, ready: PlannedItem) -> None:
        """What left was not billed, and waits to be sent again."""
        self._write(ready, "failed")

    def answered(self, leaving: CheckpointHook, result: Result) -> Item:
        """The images are here: in the store if there is one, else in the spool until taken."""
        told = result.warn(*self._noted(leaving, result))
        return Item(index=leaving.ready.index, asked=leaving.ready.asked, open=lambda: told)

    def _noted(self, leaving: CheckpointHook, result: Result) -> list[str]:
        """Write that they are here; what went wrong is a sentence."""
        ready, stored = leaving.ready, tuple(record.id for record in result.stored)
        leaving.usd = None if result.cost is None else str(result.cost.usd)
        if not stored:
            self._waiting[ready.index] = leaving
        try:
            self._write(
                ready,
                "done" if stored else "answered",
                stored=stored,
                usd=leaving.usd,
                reply=None if stored else leaving.reply,
            )
        except OSError as error:  # they are paid: no full disk may take them away
            return [_not_noted(error)]
        return []

    def failed(self, leaving: CheckpointHook, error: Exception) -> Item:
        """There are no images, or they could not be saved."""
        ready = leaving.ready
        billed = not isinstance(error, _NEVER_SENT) and may_be_billed(error)
        if billed:
            self._waiting[ready.index] = leaving
        try:
            self._write(
                ready,
                "unknown" if billed else "failed",
                reply=leaving.reply if billed else None,
                error=(type(error).__name__, str(error)),
            )
        except OSError as broken:
            error.add_note(_not_noted(broken))
        return Item(index=ready.index, asked=ready.asked, error=error)

    def mark_delivered(self, item: Item) -> None:
        """The caller has done with it: images without a store were theirs to keep."""
        leaving = self._waiting.pop(item.index, None)
        if item.error is not None or leaving is None:
            return
        try:
            self._write(leaving.ready, "done", usd=leaving.usd)
        except OSError as error:
            # The reply stays in the spool, and the next run yields it once more: better than one
            # that says it may have been billed and is gone.
            _LOG.warning("item %d: %s", item.index, _not_noted(error))
            return
        if leaving.entry is not None:
            leaving.entry.discard()

    def close(self, left: Iterable[object], error: BaseException) -> None:
        """End a run whose loop was left, with outcomes nobody took.

        They wait in the spool or in the store. Those that neither could take are handed over
        with the error.

        Args:
            left: What the threads or tasks had brought; items among them count.
            error: What ended the run.

        Raises:
            NotTakenError: The loop was left, and no disk took some images.
        """
        items = [each for each in left if isinstance(each, Item) and _images_of(each) is not None]
        items = [each for each in items if not (each.result and each.result.stored)]
        lost = [each for each in items if not self._is_kept(each)]
        kept = sum(each.is_kept() for each in self._waiting.values())
        if kept and self.checkpoint is None:
            _LOG.warning(
                "%d items are paid, and the loop was left before it went on from them; their "
                "replies wait in the spool, and Store.recover or 'gptimage recover' saves them",
                kept,
            )
        if not lost:
            return
        told = NotTakenError(lost)
        if isinstance(error, GeneratorExit):
            raise told
        error.add_note(f"{told}: see the attribute items of this error")
        error.items = told.items  # type: ignore[attr-defined]  # any class of error may end a run

    def _is_kept(self, item: Item) -> bool:
        leaving = self._waiting.get(item.index)
        return leaving is None or leaving.is_kept()

    def _write(self, ready: PlannedItem, status: ItemStatus, **values: Any) -> None:
        if self.checkpoint is not None:
            entry = CheckpointLine(index=ready.index, key=ready.plan.key, status=status, **values)
            self.checkpoint.write(entry)

    def _check(self, before: CheckpointLine, plan: Plan) -> None:
        if before.key != plan.key:
            raise ConfigurationError(
                f"item {before.index} of the checkpoint was another request: it belongs to other "
                "requests, another model or another service; nothing was asked twice"
            )

    def _resumed(self, before: CheckpointLine, asked: RequestInput, plan: Plan) -> Item | None:
        """Pictures of an earlier run, which only a store can still show."""
        store = self.keeper.store
        if store is None or not before.stored:
            return None
        load = cache(lambda: _from_store(store, before.stored, plan))
        return Item(index=before.index, asked=asked, resumed=True, open=load)

    def _from_spool(self, reply: str, ready: PlannedItem) -> Item | None:
        """An answer of an earlier run that nobody took, saved if there is a store; or None."""
        from gptimage.store.recovery import PendingReplies, SpooledReply

        try:
            left = PendingReplies().find(reply)
            if left is None:
                return None
            body = left.read()
            result = self.keeper.core.parse(ready.plan, HttpReply(status=200, body=body), {})
        except (GptImageError, OSError) as error:
            _LOG.warning("item %d: its reply in the spool cannot be read: %s", ready.index, error)
            return None
        entry = SpooledReply(path=left.path)
        try:
            tags = self.keeper.check_tags(ready.tags)
            result = self.keeper.save(ParsedReply(result=result, entry=entry), tags)
        except Exception as error:  # noqa: BLE001  # the others go on, and the reply stays where it is
            return Item(index=ready.index, asked=ready.asked, error=error, resumed=True)
        leaving = CheckpointHook(self, ready, reply=reply, entry=entry)
        warnings = self._noted(leaving, result)
        # An earlier run paid for it; the line keeps what it cost.
        free = evolve(result, cached=True, cost=FREE).warn(*warnings)
        return Item(index=ready.index, asked=ready.asked, open=lambda: free, resumed=True)

    def _is_cached(self, key: str) -> bool:
        """Whether asking again costs nothing."""
        try:
            return self.cache is not None and self.cache.get(key) is not None
        except CacheError:
            return False


def _images_of(item: Item) -> Result | None:
    """The paid images of an item, wherever it has them."""
    error = item.error
    if error is not None:
        return error.result if isinstance(error, StoreError) else None
    return item.result


def _not_noted(error: OSError) -> str:
    return (
        f"the checkpoint could not be written ({error}): should this run end before it can be, "
        "the next one yields this item again, or says that it may have been billed"
    )


def _unknown(before: CheckpointLine, plan: Plan) -> OutcomeUnknownError:
    """The error an item ended with, or was left with, in an earlier run."""
    what = {
        "begun": "an earlier run ended while this was being asked",
        "answered": "an earlier run ended before you had taken these images, which are paid, and "
        "their reply waits no more in this machine's spool (did 'gptimage recover' save it?)",
    }.get(before.status) or ": ".join(before.error or ("an earlier run failed",))
    cost = "" if plan.ceiling is None else f" up to {format_usd(plan.ceiling)}"
    again = "" if before.status == "answered" else f"; it may have been billed{cost}"
    return OutcomeUnknownError(
        f"{what}{again}; retry_unknown=True asks again", possible_cost=plan.ceiling
    )


def _from_store(store: Store, ids: tuple[str, ...], plan: Plan) -> Result:
    """The result of an earlier run; reading it costs nothing."""
    records = tuple(map(store.get, ids))
    first = records[0]
    return Result(
        images=tuple(map(store.open, ids)),
        request=plan.request,
        model=first.model,
        usage=first.usage,
        cost=FREE,
        warnings=first.warnings,
        created=first.created_at_service,
        request_id=first.request_id,
        cached=True,
        sandbox=first.sandbox,
        stored=records,
    )
