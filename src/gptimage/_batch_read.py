"""From the output of a batch to items, line by line: bytes in, pictures saved, items out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from gptimage._accounts import Ending, Entry
from gptimage._batch_state import Kept, Part, State, Status, read_kept
from gptimage._http import HttpReply, HttpRequest
from gptimage._keep import Keeper, Taken
from gptimage._plan import Plan
from gptimage.errors import (
    ApiError,
    GptImageError,
    InvalidRequestError,
    MalformedReplyError,
    StoreError,
)
from gptimage.money import Usage
from gptimage.providers.openai_batch import BatchPart, read_line, request_of
from gptimage.results import Result


_WHY: Final = {
    "failed": "the service refused the whole batch: {}",
    "cancelled": "the batch was cancelled before this request was drawn",
    "expired": "the batch expired before this request was drawn",
}


@frozen(kw_only=True)
class BatchItem:
    """What became of one request of a batch: it has either a result or an error.

    Attributes:
        index: Which request it was, from 0; None for a line nobody can assign.
        custom_id: Its name in the batch.
        result: The pictures, or None.
        error: Why there are none, or None. A StoreError carries pictures that are not saved.
    """

    index: int | None
    custom_id: str
    result: Result | None = None
    error: GptImageError | None = None


class Lines:
    """Cuts pieces of a file into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that are whole now."""
        searched = len(self._rest)
        self._rest += piece
        start = 0
        while (end := self._rest.find(b"\n", max(start, searched))) >= 0:
            yield bytes(self._rest[start:end])
            start = end + 1
        del self._rest[:start]

    def close(self) -> Iterator[bytes]:
        """A last line that has no newline."""
        if self._rest:
            yield bytes(self._rest)
        self._rest = bytearray()


class Collector:
    """Turns the lines of one job into items, each request once.

    Args:
        keeper: Reads replies and saves results.
        state: The job.
        status: How its batches ended.
    """

    def __init__(self, keeper: Keeper, state: State, status: Status) -> None:
        self._keeper = keeper
        self._state = state
        self._status = status
        self._index = state.index()
        self._seen = bytearray(len(self._index))
        self._file = state.requests.open("rb")
        self._sums = [_Sum() for _ in state.parts]

    def files(self) -> Iterator[tuple[BatchPart, str]]:
        """Every file of output, one after the other."""
        for part in self._status.parts:
            for file_id in (part.output_file_id, part.error_file_id):
                if file_id is not None:
                    yield part, file_id

    def take(self, text: bytes) -> BatchItem | None:
        """The item of a line; None for an empty line, and for one that was seen before."""
        if not text.strip():
            return None
        try:
            line = read_line(text)
        except ValueError as error:
            told = f"a line of the batch's output cannot be read ({error})"
            return BatchItem(index=None, custom_id="", error=MalformedReplyError(told, reply=text))
        if line.custom_id not in self._index:
            told = "the batch's output answers a request that is not in it; see .reply"
            lost = MalformedReplyError(told, reply=text)
            return BatchItem(index=None, custom_id=line.custom_id, error=lost)
        number, kept = self._kept(line.custom_id)
        if self._seen[number]:
            return None
        self._seen[number] = 1
        if line.reply is None:
            return BatchItem(index=number, custom_id=line.custom_id, error=line.error)
        return self._read(number, kept, line.reply)

    def missing(self) -> Iterator[BatchItem]:
        """An item for every request the output says nothing of."""
        for custom_id, (number, _) in self._index.items():
            if not self._seen[number]:
                part = self._status.parts[self._kept(custom_id)[1].part]
                yield BatchItem(index=number, custom_id=custom_id, error=_unanswered(part))

    def endings(self) -> Iterator[tuple[Part, Entry, Ending]]:
        """What the ledger is told of each part, once everything has been read."""
        for number, (part, total) in enumerate(zip(self._state.parts, self._sums, strict=True)):
            ending = Ending(outcome="ok", cost=total.usd, usage=total.usage, images=total.images)
            yield part, entry_of(self._state, number), ending

    def close(self) -> None:
        """Close the file of requests."""
        self._file.close()

    def _kept(self, custom_id: str) -> tuple[int, Kept]:
        number, place = self._index[custom_id]
        self._file.seek(place)
        return number, read_kept(self._file.readline())

    def _read(self, number: int, kept: Kept, reply: HttpReply) -> BatchItem:
        custom_id = kept.custom_id
        try:
            plan = plan_of(self._keeper, self._state, kept)
            taken = self._keeper.take(plan, reply)
        except GptImageError as error:
            if not isinstance(error, ApiError):
                self._sums[kept.part].unknown()
            return BatchItem(index=number, custom_id=custom_id, error=error)
        self._sums[kept.part].add(taken.result)
        try:
            result = self._save(taken, kept.tags)
        except StoreError as error:
            return BatchItem(index=number, custom_id=custom_id, error=error)
        return BatchItem(index=number, custom_id=custom_id, result=result)

    def _save(self, taken: Taken, tags: tuple[str, ...]) -> Result:
        """Save the pictures, unless an earlier run did: the same bytes are the same pictures."""
        store = self._keeper.store
        found = [store.find(image.sha256)[:1] for image in taken.result.images] if store else []
        if found and all(found):
            if taken.entry is not None:
                taken.entry.done()
            return evolve(taken.result, stored=tuple(records[0] for records in found))
        return self._keeper.save(taken, tags)


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


def plan_of(keeper: Keeper, state: State, kept: Kept) -> Plan:
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


def entry_of(state: State, number: int) -> Entry:
    """A part as it is entered in a ledger; the same row in every process."""
    from datetime import timedelta

    part = state.parts[number]
    return Entry(
        call_id=hashlib.sha256(f"{state.name}-{number}".encode()).hexdigest()[:32],
        at=state.on,
        operation="batch",
        model=part.model,
        estimate=None,
        reserved=Decimal(part.reserved or 0),
        until=state.on + timedelta(days=2),
    )


def not_ended(status: Status) -> InvalidRequestError:
    """Results were asked for too early."""
    return InvalidRequestError(
        f"the batch has not ended ({status}): call wait() first",
        field="batch",
        value=status.state,
        allowed="completed, failed, expired or cancelled",
    )


def _unanswered(part: BatchPart) -> GptImageError:
    told = _WHY.get(part.status)
    if told is None:
        return MalformedReplyError("the batch's output holds no answer to this request")
    reasons = "; ".join(part.problems[:3]) or "it gives no reason"
    return ApiError(told.format(reasons), status=200, code=f"batch_{part.status}")
