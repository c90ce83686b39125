"""What happens to each item of a run of many, apart from sending it; both runners share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import define, field, frozen

from gptimage._billing import may_be_billed
from gptimage._core import Core
from gptimage._plan import Plan
from gptimage.bulk.checkpoint import Checkpoint, Entry
from gptimage.errors import (
    BudgetExceededError,
    CacheError,
    ConfigurationError,
    FetchError,
    ImageDecodeError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from gptimage.money import FREE, format_usd
from gptimage.ports import CachePort
from gptimage.prompt import Prompt
from gptimage.requests import Edit, Generate
from gptimage.results import Result


if TYPE_CHECKING:
    from gptimage.store import Store


Asked: TypeAlias = str | Prompt | Mapping[str, Any] | Generate
"""One request: a prompt, the arguments of `generate` or `edit` by name (``images`` makes it an
edit, ``tags`` are for the store), or a request that is already a value."""

_NEVER_SENT = (BudgetExceededError, FetchError, ImageDecodeError)


@frozen(kw_only=True)
class Item:
    """What became of one request: it has either a result or an error.

    Attributes:
        index: Which request it was, from 0.
        asked: The request as you gave it.
        error: Why there are no pictures, or None.
        resumed: Whether an earlier run had settled it, and nothing was sent now.
    """

    index: int
    asked: Asked = field(repr=False)
    error: Exception | None = None
    resumed: bool = False
    _open: Callable[[], Result] | None = field(default=None, alias="open", repr=False, eq=False)

    @property
    def result(self) -> Result | None:
        """The pictures; None when there is an error. Those of an earlier run are read now.

        Raises:
            StoreError: Pictures of an earlier run cannot be read, or are gone.
        """
        return None if self._open is None else self._open()


@frozen(kw_only=True)
class Ready:
    """A request that is to be sent.

    Attributes:
        index: Which it is.
        asked: The request as the caller gave it.
        plan: What will be sent.
        tags: Tags for the store.
    """

    index: int
    asked: Asked = field(repr=False)
    plan: Plan = field(repr=False)
    tags: tuple[str, ...] = ()


@frozen(kw_only=True)
class Book:
    """Settles what is sent and what is written down. Safe for many threads.

    Attributes:
        core: The client's settings.
        cache: The client's cache, or None.
        checkpoint: The file of the run, or None.
        retry_unknown: Whether to ask again what may have been billed by an earlier run.
        tags: Tags for every picture.
    """

    core: Core
    cache: CachePort | None
    checkpoint: Checkpoint | None
    retry_unknown: bool
    tags: tuple[str, ...]

    def prepare(self, index: int, asked: Asked) -> Ready | Item | None:
        """Plan a request and look up whether an earlier run settled it.

        Returns:
            What is to be sent, or an item that needs no sending, or None for one an earlier
            run handed over.

        Raises:
            ConfigurationError: The checkpoint belongs to other requests.
        """
        try:
            plan, tags = planned(self.core, asked)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one, the others go on
            return Item(index=index, asked=asked, error=error)
        before = self.checkpoint.look(index) if self.checkpoint else None
        if before is not None and before.status != "failed":
            self._check(before, plan)
            if before.status == "done":
                return self._resumed(before, asked, plan)
            if not self.retry_unknown and not self._is_cached(plan.key):
                return Item(index=index, asked=asked, error=_unknown(before, plan), resumed=True)
        return Ready(index=index, asked=asked, plan=plan, tags=(*self.tags, *tags))

    def begun(self, ready: Ready) -> None:
        """It leaves, and may be billed from now on.

        Raises:
            OSError: The checkpoint cannot be written; nothing may be sent.
        """
        self._write(Entry(index=ready.index, key=ready.plan.key, status="begun"))

    def unsent(self, ready: Ready) -> None:
        """What left was not billed, and waits to be sent again."""
        self._write(Entry(index=ready.index, key=ready.plan.key, status="failed"))

    def answered(self, ready: Ready, result: Result) -> Item:
        """The pictures are here, and if there is a store, they are in it."""
        stored = tuple(record.id for record in result.stored)
        self._write(
            Entry(
                index=ready.index,
                key=ready.plan.key,
                status="done" if stored else "answered",
                stored=stored,
                usd=None if result.cost is None else str(result.cost.usd),
            )
        )
        return Item(index=ready.index, asked=ready.asked, open=lambda: result)

    def failed(self, ready: Ready, error: Exception) -> Item:
        """There are no pictures, or they could not be saved."""
        billed = not isinstance(error, _NEVER_SENT) and may_be_billed(error)
        self._write(
            Entry(
                index=ready.index,
                key=ready.plan.key,
                status="unknown" if billed else "failed",
                error=(type(error).__name__, str(error)),
            )
        )
        return Item(index=ready.index, asked=ready.asked, error=error)

    def handed_over(self, item: Item) -> None:
        """The caller has done with it: pictures without a store were theirs to keep."""
        if self.checkpoint is None or item.error is not None:
            return
        before = self.checkpoint.look(item.index)
        if before is not None and before.status == "answered":
            entry = Entry(index=before.index, key=before.key, status="done", usd=before.usd)
            self._write(entry)

    def _write(self, entry: Entry) -> None:
        if self.checkpoint is not None:
            self.checkpoint.write(entry)

    def _check(self, before: Entry, plan: Plan) -> None:
        if before.key != plan.key:
            raise ConfigurationError(
                f"item {before.index} of the checkpoint was another request: it belongs to other "
                "requests, another model or another service; nothing was asked twice"
            )

    def _resumed(self, before: Entry, asked: Asked, plan: Plan) -> Item | None:
        """Pictures of an earlier run, which only a store can still show."""
        store = self.core.store
        if store is None or not before.stored:
            return None
        load = cache(lambda: _from_store(store, before.stored, plan))
        return Item(index=before.index, asked=asked, resumed=True, open=load)

    def _is_cached(self, key: str) -> bool:
        """Whether asking again costs nothing."""
        try:
            return self.cache is not None and self.cache.get(key) is not None
        except CacheError:
            return False


@define(eq=False)
class Leaving:
    """The `Gate` of an item's request: that it leaves is in the checkpoint first.

    Attributes:
        book: Who writes it down.
        ready: The request.
        failure: Why that could not be written, which ends the run.
    """

    book: Book
    ready: Ready
    failure: OSError | None = None

    def sending(self, key: str, ceiling: Decimal | None) -> None:
        """See `Gate.sending`."""
        del key, ceiling
        try:
            self.book.begun(self.ready)
        except OSError as error:
            self.failure = error
            raise

    def unsent(self) -> None:
        """See `Gate.unsent`; if it cannot be written, the item counts as may have been billed."""
        with suppress(OSError):
            self.book.unsent(self.ready)


def planned(core: Core, asked: Asked) -> tuple[Plan, tuple[str, ...]]:
    """The plan of one request, and its tags.

    Raises:
        GptImageError: As the client's ``generate`` and ``edit``.
    """
    if isinstance(asked, Generate):
        return core.plan(asked), ()
    if isinstance(asked, (str, Prompt)):
        return core.plan_generate(asked, {}), ()
    if isinstance(asked, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        options = dict(asked)
        tags: str | Iterable[str] = options.pop("tags", None) or ()
        prompt, images = options.pop("prompt", None), options.pop("images", None)
        if isinstance(prompt, (str, Prompt)):
            words = (tags,) if isinstance(tags, str) else tuple(tags)
            return core.plan_any(prompt, images, options), words
    raise InvalidRequestError(
        "each request is a prompt, a dict with a prompt, or a Generate or Edit",
        field="requests",
        value=cast("object", asked),
        allowed='such as {"prompt": "A red fox", "size": "1024x1024"}',
    )


def reads_pictures(asked: Asked) -> bool:
    """Whether planning this request may read files, download, or hash megabytes."""
    return isinstance(asked, Edit) or (isinstance(asked, Mapping) and "images" in asked)


def _unknown(before: Entry, plan: Plan) -> OutcomeUnknownError:
    """The error an item ended with, or was left with, in an earlier run."""
    what = {
        "begun": "an earlier run ended while this was being asked",
        "answered": "an earlier run ended before you had taken these pictures, which are paid",
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
        created=first.made,
        request_id=first.request_id,
        cached=True,
        stored=records,
    )
