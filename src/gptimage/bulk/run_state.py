"""The state of a run of many: what is sent, written to the checkpoint, and delivered."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from gptimage.bulk.checkpoint import Checkpoint, CheckpointLine, ItemError
from gptimage.bulk.checkpoint_hook import CheckpointHook
from gptimage.bulk.items import Item, PlannedItem, RequestInput, planned
from gptimage.bulk.stop import Stop
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
from gptimage.transport.billing import Billing, may_be_billed
from gptimage.transport.http import HttpReply
from gptimage.types.request import EditOptions
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage.store import Store


_NEVER_SENT = (BudgetExceededError, FetchError, ImageDecodeError)
_MAY_BE_BILLED: Final = "it may have been billed"
_LOG: Final = logging.getLogger("gptimage.many")


class UndeliveredError(StoreError):
    """A run of many ended with images that were not delivered and that no disk could save.

    Attributes:
        items: The items; each has its images in ``result``, or in ``error.result``.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: tuple[Item, ...] = tuple(items)
        super().__init__(
            f"{len(self.items)} items arrived and are paid after the loop had ended, and their "
            f"replies could not be saved in the spool either: save the images of .items yourself",
            result=_images_of(self.items[0]),
        )


@frozen(kw_only=True)
class RunState:
    """The state of a run. Safe for many threads.

    Attributes:
        saver: Parses and saves replies, with the client's settings.
        checkpoint: The file of the run, or None.
        retry_unknown: Whether to send again what may have been billed by an earlier run.
        tags: Tags for every image.
        options: Parameters of every request that says nothing else.
        stop: The caller's way to end the run.
        over: Set when the run ends by itself: the loop was left, or something failed.
    """

    saver: ResultSaver
    checkpoint: Checkpoint | None
    retry_unknown: bool
    tags: tuple[str, ...]
    options: EditOptions
    stop: Stop
    over: Event = field(factory=Event)
    _undelivered: dict[int, CheckpointHook] = field(factory=dict[int, CheckpointHook], init=False)

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be sent."""
        return self.over.is_set() or self.stop.is_set()

    def prepare(self, index: int, request: RequestInput) -> PlannedItem | Item | None:
        """Plan a request and look up how an earlier run left it.

        Returns:
            The request to send, or an item that needs no sending, or None for one that an
            earlier run delivered.

        Raises:
            ConfigurationError: The checkpoint belongs to other requests.
            OSError: The checkpoint cannot be read.
        """
        try:
            plan, tags = planned(self.saver.core, request, self.options)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one, the others go on
            return Item(index=index, request=request, error=error)
        item = PlannedItem(index=index, request=request, plan=plan, tags=(*self.tags, *tags))
        before = self.checkpoint.last(index) if self.checkpoint else None
        if before is None or before.billing is Billing.NOT_BILLED:
            return item
        self._check(before, plan)
        if before.delivered:
            return self._resumed(before, request, plan)
        if before.reply is not None and (found := self._from_spool(before.reply, item)):
            return found
        # It may be billed: sent again only where that costs nothing, or the caller says so.
        if self.retry_unknown or self._is_cached(plan.key):
            return item
        return Item(index=index, request=request, error=_unknown(before, plan), resumed=True)

    def mark_sent(self, hook: CheckpointHook) -> None:
        """Write that it is about to be sent, and may be billed from now on.

        Raises:
            OSError: The checkpoint cannot be written; nothing may be sent.
        """
        self._write(hook.planned, Billing.SENT, reply=hook.reply)

    def not_billed(self, item: PlannedItem) -> None:
        """Write that what was sent was not billed, and waits to be sent again."""
        self._write(item, Billing.NOT_BILLED)

    def arrived(self, hook: CheckpointHook, result: Result) -> Item:
        """Return the item of images: in the store if there is one, else in the spool."""
        whole = result.with_warnings(*self._mark_arrived(hook, result))
        item = hook.planned
        return Item(index=item.index, request=item.request, open=lambda: whole)

    def _mark_arrived(self, hook: CheckpointHook, result: Result) -> list[str]:
        """Write that images arrived; return a sentence about what went wrong."""
        item, stored = hook.planned, tuple(record.id for record in result.stored)
        hook.usd = None if result.cost is None else str(result.cost.usd)
        if not stored:
            self._undelivered[item.index] = hook
        try:
            self._write(
                item,
                Billing.BILLED,
                delivered=bool(stored),
                stored=stored,
                usd=hook.usd,
                reply=None if stored else hook.reply,
            )
        except OSError as error:  # they are paid: no full disk may lose them
            return [_not_written(error)]
        return []

    def failed(self, hook: CheckpointHook, error: Exception) -> Item:
        """Return the item of an error: there are no images, or they could not be saved."""
        item = hook.planned
        billed = not isinstance(error, _NEVER_SENT) and may_be_billed(error)
        if billed:
            self._undelivered[item.index] = hook
        try:
            self._write(
                item,
                Billing.UNKNOWN if billed else Billing.NOT_BILLED,
                reply=hook.reply if billed else None,
                error=ItemError(type=type(error).__name__, message=str(error)),
            )
        except OSError as broken:
            error.add_note(_not_written(broken))
        return Item(index=item.index, request=item.request, error=error)

    def mark_delivered(self, item: Item) -> None:
        """Write that the caller's loop went on: without a store, saving was its own affair."""
        hook = self._undelivered.pop(item.index, None)
        if item.error is not None or hook is None:
            return
        try:
            self._write(hook.planned, Billing.BILLED, delivered=True, usd=hook.usd)
        except OSError as error:
            # The reply stays in the spool, and the next run yields it once more: better than one
            # that says it may have been billed and is gone.
            _LOG.warning("item %d: %s", item.index, _not_written(error))
            return
        if hook.entry is not None:
            hook.entry.discard()

    def close(self, left: Iterable[object], error: BaseException) -> None:
        """End a run whose loop was left, with outcomes that were not delivered.

        They are in the spool or in the store. Those that neither could save go with the error.

        Args:
            left: What the threads or tasks had queued; items among them count.
            error: What ended the run.

        Raises:
            UndeliveredError: The loop was left, and no disk took some images.
        """
        items = [each for each in left if isinstance(each, Item) and _images_of(each) is not None]
        items = [each for each in items if not (each.result and each.result.stored)]
        lost = [each for each in items if not self._is_saved(each)]
        saved = sum(each.is_saved() for each in self._undelivered.values())
        if saved and self.checkpoint is None:
            _LOG.warning(
                "%d items are paid, and the loop was left before it went on from them; their "
                "replies are in the spool, and Store.recover or 'gptimage recover' saves them",
                saved,
            )
        if not lost:
            return
        undelivered = UndeliveredError(lost)
        if isinstance(error, GeneratorExit):
            raise undelivered
        error.add_note(f"{undelivered}: see the attribute items of this error")
        error.items = undelivered.items  # type: ignore[attr-defined]  # any class of error may end a run

    def _is_saved(self, item: Item) -> bool:
        hook = self._undelivered.get(item.index)
        return hook is None or hook.is_saved()

    def _write(self, item: PlannedItem, billing: Billing, **values: Any) -> None:
        if self.checkpoint is not None:
            self.checkpoint.write(
                CheckpointLine(index=item.index, key=item.plan.key, billing=billing, **values)
            )

    def _check(self, before: CheckpointLine, plan: Plan) -> None:
        if before.key != plan.key:
            raise ConfigurationError(
                f"item {before.index} of the checkpoint was another request: it belongs to other "
                "requests, another model or another service; nothing was sent twice"
            )

    def _resumed(self, before: CheckpointLine, request: RequestInput, plan: Plan) -> Item | None:
        """Return the images of an earlier run, which only a store has."""
        store = self.saver.store
        if store is None or not before.stored:
            return None
        load = cache(lambda: _from_store(store, before.stored, plan))
        return Item(
            index=before.index, request=request, resumed=True, stored_ids=before.stored, open=load
        )

    def _from_spool(self, reply: str, item: PlannedItem) -> Item | None:
        """Return the item of a reply that no run delivered, saved if there is a store."""
        from gptimage.store.recovery import PendingReplies, SpooledReply

        try:
            left = PendingReplies().find(reply)
            if left is None:
                return None
            body = left.read()
            plan = self._drawn_by(left.note.get("model"), item.plan)
            result = self.saver.core.parse(plan, HttpReply(status=200, body=body), {})
        except (GptImageError, OSError) as error:
            _LOG.warning("item %d: its reply in the spool cannot be read: %s", item.index, error)
            return None
        entry = SpooledReply(path=left.path)
        try:
            tags = self.saver.check_saving(item.tags)
            result = self.saver.save(ParsedReply(result=result, entry=entry), tags)
        except Exception as error:  # noqa: BLE001  # the others go on, and the reply stays where it is
            return Item(index=item.index, request=item.request, error=error, resumed=True)
        hook = CheckpointHook(self, item, reply=reply, entry=entry)
        warnings = self._mark_arrived(hook, result)
        # An earlier run paid for it; the line keeps what it cost.
        free = evolve(result, cached=True, cost=FREE).with_warnings(*warnings)
        return Item(index=item.index, request=item.request, open=lambda: free, resumed=True)

    def _drawn_by(self, model: object, plan: Plan) -> Plan:
        """Return the plan for the model that drew a reply, which may be a fallback."""
        if not isinstance(model, str) or model == plan.request.model:
            return plan
        return self.saver.core.planned(evolve(plan.request, model=model), plan.on)

    def _is_cached(self, key: str) -> bool:
        """Tell whether sending it again costs nothing."""
        try:
            return self.saver.cache is not None and self.saver.cache.get(key) is not None
        except CacheError:
            return False


def _images_of(item: Item) -> Result | None:
    """Return the paid images of an item, wherever it has them."""
    error = item.error
    if error is None:
        return item.result
    result = error.result if isinstance(error, StoreError) else None
    return result if isinstance(result, Result) else None


def _not_written(error: OSError) -> str:
    return (
        f"the checkpoint could not be written ({error}): should this run end before it can be, "
        "the next one yields this item again, or says that it may have been billed"
    )


def _unknown(before: CheckpointLine, plan: Plan) -> OutcomeUnknownError:
    """Return the error of an item that an earlier run left without images."""
    error = before.error
    what = {
        Billing.SENT: "an earlier run ended after this was sent and before its response came",
        Billing.BILLED: "an earlier run ended before it delivered these images, which are paid, "
        "and their reply is no longer in this machine's spool (did 'gptimage recover' save it?)",
    }.get(before.billing) or (
        f"{error.type}: {error.message}" if error else "an earlier run failed"
    )
    cost = "" if plan.max_cost is None else f" up to {format_usd(plan.max_cost)}"
    is_said = before.billing is Billing.BILLED or _MAY_BE_BILLED in what
    again = "" if is_said else f"; {_MAY_BE_BILLED}{cost}"
    return OutcomeUnknownError(
        f"{what}{again}; retry_unknown=True sends it again", possible_cost=plan.max_cost
    )


def _from_store(store: Store, ids: tuple[str, ...], plan: Plan) -> Result:
    """Return the result of an earlier run; reading it costs nothing."""
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
