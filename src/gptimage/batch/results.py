"""From the output of a batch to items, line by line: lines in, pictures saved, items out.

Lines may come in any order, twice, damaged, or for nobody; a picture in one of them is paid and
reaches the caller all the same.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from gptimage.batch.driver import Line
from gptimage.batch.events import BatchEvents, entry_of
from gptimage.batch.state import Part, State
from gptimage.batch.status import BatchStatus
from gptimage.batch.uploads import InputFiles, RequestLine
from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.engine.plan import Plan
from gptimage.engine.save import ParsedReply, ResultSaver
from gptimage.errors import (
    ApiError,
    GptImageError,
    InvalidRequestError,
    MalformedReplyError,
    StoreError,
)
from gptimage.models.pricing import Usage
from gptimage.providers.openai.batches import BatchPart, OutputLine, read_line, request_of
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.types.record import Record
from gptimage.types.result import Result


_WHY: Final = {
    "failed": "the service refused the whole batch: {}",
    "cancelled": "the batch was cancelled before this request was drawn",
    "expired": "the batch expired before this request was drawn",
}
_OK: Final = 200
_NO_PICTURE: Final = 1
"""The mark of a request that was answered without pictures; 0 is one that was not answered."""


@frozen(kw_only=True)
class BatchItem:
    """What became of one request of a batch: it has either a result or an error.

    Attributes:
        index: Which request it was, from 0; None for a line nobody can assign.
        custom_id: Its name in the batch.
        result: The pictures, or None.
        error: Why there are none, or None. A StoreError carries pictures that are not saved, a
            MalformedReplyError the answer as it arrived.
    """

    index: int | None
    custom_id: str
    result: Result | None = None
    error: GptImageError | None = None


class Collector:
    """Turns the lines of one job into items, each request once.

    A request that was answered twice, with different pictures, gives two items: both are paid.

    Args:
        keeper: Reads replies and saves results.
        state: The job.
        status: How its batches ended.
        news: Who is told.
    """

    def __init__(
        self, keeper: ResultSaver, state: State, status: BatchStatus, news: BatchEvents
    ) -> None:
        self._keeper = keeper
        self._state = state
        self._status = status
        self._news = news
        self._places = InputFiles(state.requests)
        self._marks = array("Q", bytes(8 * len(self._places)))
        self._more: set[tuple[int, int]] = set()
        self._strays: set[bytes] = set()
        self._file = state.requests.open("rb")
        self._sums = [_Sum() for _ in state.parts]

    def files(self) -> Iterator[str]:
        """The id of every file of output."""
        for part in self._status.parts:
            yield from filter(None, (part.output_file_id, part.error_file_id))

    def take(self, line: Line) -> BatchItem | None:
        """The item of a line; None for one that says what is known already."""
        try:
            found = read_line(line.rest, line.pictures)
        except ValueError as error:
            told = f"a line of the batch's output cannot be read ({error}); see .reply"
            return self._rescued(line) or self._stray(line, told)
        number = self._places.number(found.custom_id)
        if number is None:
            told = "the batch's output answers a request that is not in it; see .reply"
            return self._stray(line, told, found.custom_id)
        if not self._is_new(number, _mark(found, line)):
            return None
        return self._told(number, self._item(number, found, line))

    def missing(self) -> Iterator[BatchItem]:
        """An item for every request the output says nothing of."""
        for number in range(len(self._places)):
            if not self._marks[number]:
                kept = self._places.read(self._file, number)
                error = _unanswered(self._status.parts[kept.part])
                if isinstance(error, MalformedReplyError):
                    self._sums[kept.part].unknown()
                item = BatchItem(index=number, custom_id=kept.custom_id, error=error)
                yield self._told(number, item)

    def endings(self) -> Iterator[tuple[Part, CallRecord, CallOutcome]]:
        """What the ledger is told of each part, once everything has been read."""
        for number, (part, total) in enumerate(zip(self._state.parts, self._sums, strict=True)):
            refused = self._status.parts[number].status == "failed" and not total.images
            yield part, entry_of(self._state, number), total.ending(refused=refused)

    def close(self) -> None:
        """Close the file of requests."""
        self._file.close()

    def _is_new(self, number: int, mark: int) -> bool:
        """Whether an answer says anything new; pictures are worth more than an error."""
        before = self._marks[number]
        if before <= _NO_PICTURE:
            self._marks[number] = mark
            return mark > before
        if mark in (_NO_PICTURE, before) or (number, mark) in self._more:
            return False
        self._more.add((number, mark))
        return True

    def _item(self, number: int, found: OutputLine, line: Line) -> BatchItem:
        kept = self._places.read(self._file, number)
        if found.reply is None:
            return BatchItem(index=number, custom_id=kept.custom_id, error=found.error)
        return self._read(number, kept, found.reply, line)

    def _rescued(self, line: Line) -> BatchItem | None:
        """The pictures of a line that is cut short, if it is known whose they are."""
        number = self._places.number(line.name or "")
        if number is None or not line.pictures or not self._is_new(number, _digest(line)):
            return None
        request_id = line.request_id
        headers = {"x-request-id": request_id} if request_id else {}
        reply = HttpReply(status=_OK, headers=headers, body=line.rest, pictures=line.pictures)
        kept = self._places.read(self._file, number)
        return self._told(number, self._read(number, kept, reply, line))

    def _stray(self, line: Line, told: str, custom_id: str = "") -> BatchItem | None:
        """A line that belongs to no request; given once, though a file may be read twice."""
        digest = hashlib.sha256(line.raw).digest()
        if digest in self._strays:
            return None
        self._strays.add(digest)
        error = MalformedReplyError(told, reply=line.raw)
        return BatchItem(index=None, custom_id=custom_id, error=error)

    def _read(self, number: int, kept: RequestLine, reply: HttpReply, line: Line) -> BatchItem:
        error: GptImageError
        try:
            plan = plan_of(self._keeper, self._state, kept)
            taken = self._keeper.parse_and_spool(plan, reply)
        except InvalidRequestError as cause:
            told = f"{cause}; its answer is in .reply"
            error = MalformedReplyError(told, reply=line.raw)
        except GptImageError as cause:
            error = cause
        else:
            return self._kept(number, kept, taken)
        if not isinstance(error, ApiError):
            self._sums[kept.part].unknown()
        return BatchItem(index=number, custom_id=kept.custom_id, error=error)

    def _kept(self, number: int, kept: RequestLine, taken: ParsedReply) -> BatchItem:
        """The item of pictures that were read: save them, unless an earlier run did."""
        self._sums[kept.part].add(taken.result)
        store = self._keeper.store
        try:
            # Another process may read the same batch: whoever is second must see what is saved.
            with store.exclusive() if store is not None else nullcontext():
                result = self._saved(number, kept, taken)
        except StoreError as error:
            error.result = error.result or taken.result
            return BatchItem(index=number, custom_id=kept.custom_id, error=error)
        return BatchItem(index=number, custom_id=kept.custom_id, result=result)

    def _saved(self, number: int, kept: RequestLine, taken: ParsedReply) -> Result:
        if before := self._before(taken.result):
            if taken.entry is not None:
                taken.entry.discard()
            return evolve(taken.result, stored=before)
        if not self._state.parts[kept.part].settled:
            self._news.finished(kept.part, number, taken.result)
        result = self._keeper.save(taken, kept.tags)
        self._news.saved(kept.part, number, result.stored)
        return result

    def _before(self, result: Result) -> tuple[Record, ...]:
        """The records an earlier run made of this very answer."""
        store = self._keeper.store
        if store is None:
            return ()
        found: list[Record] = []
        for image in result.images:
            same = [each for each in store.find(image.sha256) if _is_of(each, result)]
            found += same[:1]
        return tuple(found) if len(found) == len(result.images) else ()

    def _told(self, number: int, item: BatchItem) -> BatchItem:
        """The item, once observers know of its error."""
        if item.error is not None:
            part = self._places.read(self._file, number).part
            if not self._state.parts[part].settled:
                self._news.failed(part, number, item.error)
        return item


class _Sum:
    """What the answers of a part cost together."""

    def __init__(self) -> None:
        self.usd: Decimal | None = Decimal(0)
        self.usage: Usage | None = None
        self.images = 0

    def add(self, result: Result) -> None:
        self.images += len(result.images)
        if result.usage is not None:
            self.usage = result.usage if self.usage is None else self.usage + result.usage
        if result.cost is None or self.usd is None:
            self.usd = None
        else:
            self.usd += result.cost.usd

    def unknown(self) -> None:
        """An answer that cannot be read may have been billed."""
        self.usd = None

    def ending(self, *, refused: bool) -> CallOutcome:
        if refused:
            return CallOutcome(billing=Billing.NOT_BILLED, error="ApiError")
        return CallOutcome(
            billing=Billing.BILLED, cost=self.usd, usage=self.usage, images=self.images
        )


def plan_of(keeper: ResultSaver, state: State, kept: RequestLine) -> Plan:
    """The plan of a request that was sent in a batch: nothing is checked, it is paid already.

    Raises:
        InvalidRequestError: It asks for no pictures.
    """
    path = state.parts[kept.part].path
    request = evolve(request_of(path, kept.body, kept.size), template=kept.template)
    name = f"{state.name}:{kept.custom_id}"
    pixels = request.size.pixels if request.size and request.format != "svg" else None
    return Plan(
        request=request,
        spec=keeper.core.models.get(request.model),
        wire=HttpRequest(method="POST", path=path, body=kept.body),
        key="b1:" + hashlib.sha256(name.encode()).hexdigest(),
        exact=pixels,
        estimate=None,
        ceiling=None,
        warnings=(),
        on=state.on.date(),
        batch=True,
    )


def _mark(found: OutputLine, line: Line) -> int:
    is_good = found.reply is not None and found.reply.status == _OK
    return _digest(line) if is_good else _NO_PICTURE


def _digest(line: Line) -> int:
    """A number above `_NO_PICTURE` that tells answers with other pictures apart."""
    digest = hashlib.sha256(b"" if line.pictures else line.rest)
    for picture in line.pictures:
        digest.update(picture)
    return int.from_bytes(digest.digest()[:8], "big") | 2


def _is_of(record: Record, result: Result) -> bool:
    """Whether a record is of this answer; two answers may hold the same picture."""
    return result.request_id is None or record.request_id == result.request_id


def _unanswered(part: BatchPart) -> GptImageError:
    told = _WHY.get(part.status)
    if told is None:
        return MalformedReplyError("the batch's output holds no answer to this request")
    reasons = "; ".join(part.problems[:3]) or "it gives no reason"
    return ApiError(told.format(reasons), status=_OK, code=f"batch_{part.status}")
