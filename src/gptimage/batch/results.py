"""From the output of a batch to items, line by line: lines in, images saved, items out.

Lines may come in any order, twice, damaged, or for no request; an image in one of them is paid and
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

from gptimage.batch.driver import ResultLine
from gptimage.batch.events import BatchEvents, entry_of
from gptimage.batch.state import Part, State
from gptimage.batch.status import BatchStatus
from gptimage.batch.uploads import InputFiles, RequestLine
from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.engine.plan import Plan, cache_key
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
from gptimage.secrets import hide_prompt
from gptimage.transport.billing import may_be_billed
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.types.record import Record
from gptimage.types.result import Result


_WHY: Final = {
    "failed": "the service refused the whole batch: {}",
    "cancelled": "the batch was cancelled before this image was generated",
    "expired": "the batch expired before this image was generated",
}
_OK: Final = 200
_NO_IMAGE: Final = 1
"""The mark of a request with a response without images; 0 is one without a response."""


@frozen(kw_only=True)
class BatchItem:
    """The outcome of one request of a batch: it has either a result or an error.

    Attributes:
        index: Which request it was, from 0; None for a line that fits no request.
        custom_id: Its name in the batch.
        result: The images, or None.
        error: Why there are none, or None. A StoreError has images that are not saved, a
            MalformedReplyError the response as it arrived.
    """

    index: int | None
    custom_id: str
    result: Result | None = None
    error: GptImageError | None = None


class Collector:
    """A reader that turns the lines of one job into items, each request once.

    A request with two responses of different images gives two items: both are paid.

    Args:
        saver: Reads replies and saves results.
        state: The job.
        status: How its batches ended.
        events: The client's observers.
    """

    def __init__(
        self, saver: ResultSaver, state: State, status: BatchStatus, events: BatchEvents
    ) -> None:
        self._saver = saver
        self._state = state
        self._status = status
        self._events = events
        self._input_files = InputFiles(state.requests)
        self._marks = array("Q", bytes(8 * len(self._input_files)))
        self._more: set[tuple[int, int]] = set()
        self._strays: set[bytes] = set()
        self._file = state.requests.open("rb")
        self._sums = [_Sum() for _ in state.parts]

    def files(self) -> Iterator[str]:
        """Return the id of every file of output."""
        for part in self._status.parts:
            yield from filter(None, (part.output_file_id, part.error_file_id))

    def take(self, line: ResultLine) -> BatchItem | None:
        """Return the item of a line; None for one that says what is known already."""
        try:
            found = read_line(line.rest, line.images)
        except ValueError as error:
            message = f"a line of the batch's output cannot be read ({error}); see .reply"
            return self._recovered(line) or self._stray(line, message)
        number = self._input_files.number(found.custom_id)
        if number is None:
            message = "the batch's output has a response to a request that is not in it; see .reply"
            return self._stray(line, message, found.custom_id)
        if not self._is_new(number, _mark(found, line)):
            return None
        item = self._item(number, found, line)
        return self._report(number, item, replied=found.reply is not None)

    def missing(self) -> Iterator[BatchItem]:
        """Return an item for every request without a line."""
        for number in range(len(self._input_files)):
            if not self._marks[number]:
                sent = self._input_files.read(self._file, number)
                error = _unanswered(self._status.parts[sent.part])
                if isinstance(error, MalformedReplyError):
                    self._sums[sent.part].unknown()
                item = BatchItem(index=number, custom_id=sent.custom_id, error=error)
                yield self._report(number, item, replied=False)

    def endings(self) -> Iterator[tuple[Part, CallRecord, CallOutcome]]:
        """Return how each part ended, for the ledger, once everything has been read."""
        for number, (part, total) in enumerate(zip(self._state.parts, self._sums, strict=True)):
            refused = self._status.parts[number].status == "failed" and not total.images
            yield part, entry_of(self._state, number), total.ending(refused=refused)

    def close(self) -> None:
        """Close the file of requests."""
        self._file.close()

    def _is_new(self, number: int, mark: int) -> bool:
        """Tell whether a response says anything new; images are worth more than an error."""
        before = self._marks[number]
        if before <= _NO_IMAGE:
            self._marks[number] = mark
            return mark > before
        if mark in (_NO_IMAGE, before) or (number, mark) in self._more:
            return False
        self._more.add((number, mark))
        return True

    def _item(self, number: int, found: OutputLine, line: ResultLine) -> BatchItem:
        sent = self._input_files.read(self._file, number)
        if found.reply is None:
            return BatchItem(index=number, custom_id=sent.custom_id, error=found.error)
        return self._read(number, sent, found.reply, line)

    def _recovered(self, line: ResultLine) -> BatchItem | None:
        """Return the images of a line that is cut short, if it says for which request."""
        number = self._input_files.number(line.name or "")
        if number is None or not line.images or not self._is_new(number, _digest(line)):
            return None
        request_id = line.request_id
        headers = {"x-request-id": request_id} if request_id else {}
        reply = HttpReply(status=_OK, headers=headers, body=line.rest, images=line.images)
        sent = self._input_files.read(self._file, number)
        return self._report(number, self._read(number, sent, reply, line), replied=True)

    def _stray(self, line: ResultLine, message: str, custom_id: str = "") -> BatchItem | None:
        """Return the item of a line that fits no request; once, though a file may be read twice."""
        digest = hashlib.sha256(line.raw).digest()
        if digest in self._strays:
            return None
        self._strays.add(digest)
        error = MalformedReplyError(message, reply=line.raw)
        return BatchItem(index=None, custom_id=custom_id, error=error)

    def _read(
        self, number: int, sent: RequestLine, reply: HttpReply, line: ResultLine
    ) -> BatchItem:
        error: GptImageError
        try:
            plan = plan_of(self._saver, self._state, sent)
            taken = self._saver.parse_and_spool(plan, reply)
        except InvalidRequestError as cause:
            message = f"{cause}; its response is in .reply"
            error = MalformedReplyError(message, reply=line.raw)
        except GptImageError as cause:
            error = cause
        else:
            return self._save(number, sent, taken, cache_key(plan.wire, self._state.endpoint))
        if may_be_billed(error):
            self._sums[sent.part].unknown()
        return BatchItem(index=number, custom_id=sent.custom_id, error=error)

    def _save(self, number: int, sent: RequestLine, taken: ParsedReply, key: str) -> BatchItem:
        """Save images, unless an earlier run did."""
        self._sums[sent.part].add(taken.result)
        store = self._saver.store
        try:
            # Two processes may read one batch into one store; neither may save what the other has.
            with store.exclusive() if store is not None else nullcontext():
                result = self._saved(number, sent, taken, key)
        except StoreError as error:
            error.result = error.result or taken.result
            return BatchItem(index=number, custom_id=sent.custom_id, error=error)
        return BatchItem(index=number, custom_id=sent.custom_id, result=result)

    def _saved(self, number: int, sent: RequestLine, taken: ParsedReply, key: str) -> Result:
        if before := self._before(taken.result):
            if taken.entry is not None:
                taken.entry.discard()
            return evolve(taken.result, stored=before)
        if not self._state.parts[sent.part].settled:
            self._events.finished(sent.part, number, taken.result)
        # Under the key of an ordinary call, which asks for the same image.
        result = self._saver.save(self._saver.cache_reply(key, taken), sent.tags)
        self._events.saved(sent.part, number, result.stored)
        return result

    def _before(self, result: Result) -> tuple[Record, ...]:
        """Return the records that an earlier run made of this very response."""
        store = self._saver.store
        if store is None:
            return ()
        found: list[Record] = []
        for image in result.images:
            same = [each for each in store.find_identical(image.sha256) if _is_of(each, result)]
            found += same[:1]
        return tuple(found) if len(found) == len(result.images) else ()

    def _report(self, number: int, item: BatchItem, *, replied: bool) -> BatchItem:
        """Emit the event of an item's error, without its prompt; return the item."""
        if item.error is not None:
            sent = self._input_files.read(self._file, number)
            hide_prompt(item.error, str(sent.body.get("prompt", "")))
            if not self._state.parts[sent.part].settled:
                self._events.failed(sent.part, number, item.error, replied=replied)
        return item


class _Sum:
    """The cost of all responses of a part."""

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
        """Count a response that cannot be read, and may have been billed."""
        self.usd = None

    def ending(self, *, refused: bool) -> CallOutcome:
        if refused:
            return CallOutcome(billing=Billing.NOT_BILLED, error="ApiError")
        return CallOutcome(
            billing=Billing.BILLED, cost=self.usd, usage=self.usage, images=self.images
        )


def plan_of(saver: ResultSaver, state: State, sent: RequestLine) -> Plan:
    """Plan a request that was sent in a batch: nothing is checked, it is paid already.

    Raises:
        InvalidRequestError: It asks for no images.
    """
    path = state.parts[sent.part].path
    request = evolve(request_of(path, sent.body, sent.size), template=sent.template)
    name = f"{state.name}:{sent.custom_id}"
    pixels = request.size.dimensions if request.size and request.format != "svg" else None
    provider, model, named = saver.core.services.resolve(request.model)
    return Plan(
        request=evolve(request, model=named),
        spec=saver.core.models.for_provider(provider.rows).get(model),
        provider=provider,
        endpoint=state.endpoint,
        wire=HttpRequest(method="POST", path=path, body=sent.body),
        key="b1:" + hashlib.sha256(name.encode()).hexdigest(),
        exact=pixels,
        estimate=None,
        max_cost=None,
        warnings=(),
        on=state.created.date(),
        batch=True,
    )


def _mark(found: OutputLine, line: ResultLine) -> int:
    is_good = found.reply is not None and found.reply.status == _OK
    return _digest(line) if is_good else _NO_IMAGE


def _digest(line: ResultLine) -> int:
    """Return a number above `_NO_IMAGE` that differs between responses with other images."""
    digest = hashlib.sha256(b"" if line.images else line.rest)
    for image in line.images:
        digest.update(image)
    return int.from_bytes(digest.digest()[:8], "big") | 2


def _is_of(record: Record, result: Result) -> bool:
    """Tell whether a record is of this response; two responses may have the same image."""
    return result.request_id is None or record.request_id == result.request_id


def _unanswered(part: BatchPart) -> GptImageError:
    message = _WHY.get(part.status)
    if message is None:
        return MalformedReplyError("the batch's output has no response to this request")
    reasons = "; ".join(part.problems[:3]) or "it gives no reason"
    return ApiError(message.format(reasons), status=_OK, code=f"batch_{part.status}")
