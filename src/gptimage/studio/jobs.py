"""The jobs of a studio: begun once, followed by every tab, found again after a restart.

A job is a `gptimage.workers.Job`; its id comes from the page, so that a click that arrives twice
is one job. The job store has its request before anything is begun.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, evolve, field
from sse_starlette import ServerSentEvent

from gptimage.errors import GptImageError, InvalidRequestError
from gptimage.service import RunnerError, RunnerLostError
from gptimage.studio.batches import BatchCall
from gptimage.studio.work import AltTextCall, DrawCall, JobNews
from gptimage.wording import for_command_line
from gptimage.workers import Job, JobRecord, JobResult, discard, retry


if TYPE_CHECKING:
    from gptimage.studio.context import Studio

_SHOWN: Final = 200
"""Settled jobs that the page lists; the newest."""

_LOOK: Final = 1.0
"""Seconds between two looks at jobs that the process of an earlier studio still draws."""


@define(eq=False)
class _Live:
    """A job that runs in this studio's process.

    Attributes:
        run_id: Its id there; of each try another one.
        record: The job as it was when it was begun.
        news: How far it is.
        begun: When it was begun here, by the monotonic clock.
        task: What waits for its end.
    """

    run_id: str
    record: JobRecord
    news: JobNews = field(factory=JobNews)
    begun: float = field(factory=time.monotonic)
    task: asyncio.Task[None] | None = None


class Jobs:
    """Begins, lists and settles jobs. Use it in one event loop.

    Args:
        studio: What the jobs work with.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._store = studio.job_store
        self._runner = studio.runner()
        self._live: dict[str, _Live] = {}
        self._unsaved: dict[str, tuple[str, ...]] = {}
        self._problems: dict[str, str] = {}
        self._readers: set[_Reader] = set()
        self._watched: set[str] = set()
        self._watching: asyncio.Task[None] | None = None
        self._tries = 0
        self._calls = 0

    async def submit(self, job: Job, previews: int) -> dict[str, Any]:
        """Begin a job, or return the one of this id.

        Raises:
            InvalidRequestError: The id belongs to another request.
            JobStoreError: The job store cannot be used; nothing was sent.
        """
        record = await asyncio.to_thread(self._opened, job)
        if record.state == "open" and job.id not in self._live:
            self._begin(record, previews)
        return self.document(record)

    def _opened(self, job: Job) -> JobRecord:
        """Write a new job down before anything is begun, so that no restart forgets it."""
        now = self._store.now()
        new = JobRecord(id=job.id, request=job.text, state="open", attempt=0, at=now)
        if self._store.compare_and_swap(None, new):
            return new
        record = self._store.read(job.id)
        if record is None or record.request != job.text:
            raise InvalidRequestError(
                f"{job.id} is the id of another job already; reload the page and try again",
                field="id",
                value=job.id,
            )
        return record

    async def begin_again(self, id: str) -> dict[str, Any]:
        """Begin a job that waits, failed, or whose process is gone.

        What may have been billed is looked for in the store, the cache and the spool, and never
        sent again.
        """
        record = await self._read(id)
        if id not in self._live and record.state != "discarded":
            self._begin(record, 0)
        return self.document(record)

    async def retry(self, id: str) -> dict[str, Any]:
        """Let a job be sent again, even if that pays a second time: a person decided so."""
        record = await asyncio.to_thread(retry, self._store, id)
        if id not in self._live:
            self._begin(record, 0)
        return self.document(record)

    async def discard(self, id: str) -> dict[str, Any]:
        """Give a job up."""
        record = await asyncio.to_thread(discard, self._store, id)
        self._unsaved.pop(id, None)
        return self._emit(record)

    async def cancel(self, id: str) -> dict[str, Any]:
        """Do not send a job; one that was sent goes on, and the message says what it may cost."""
        record = await self._read(id)
        live = self._live.get(id)
        if record.state == "open":
            with suppress(InvalidRequestError):  # it was claimed this very moment
                record = await asyncio.to_thread(discard, self._store, id)
        if live is not None:
            self._runner.cancel(live.run_id)
        return self._emit(record)

    async def get(self, id: str) -> dict[str, Any]:
        """Return one job.

        Raises:
            InvalidRequestError: There is none of this id.
        """
        return self.document(await asyncio.to_thread(self._present, await self._read(id)))

    async def list_jobs(self) -> list[dict[str, Any]]:
        """Return the jobs that need something, and the newest settled ones; newest first."""
        records = await asyncio.to_thread(lambda: [*self._store.records(settled=True)])
        open = [record for record in records if not record.settled]
        settled = [record for record in records if record.settled][-_SHOWN:]
        self._watch(open)
        newest = sorted((*open, *settled), key=lambda record: record.at, reverse=True)
        shown = await asyncio.to_thread(lambda: [self._present(record) for record in newest])
        return [self.document(record) for record in shown]

    def _present(self, record: JobRecord) -> JobRecord:
        """Return a job without the images that were deleted since."""
        images = tuple(id for id in record.images if id in self._studio.store)
        return record if images == record.images else evolve(record, images=images)

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield every change of a job to one tab, which may be slow: it gets the newest only."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            yield ServerSentEvent(event="open", data="{}", sep="\n")
            while True:
                await reader.changed.wait()
                reader.changed.clear()
                while reader.waiting:
                    document = reader.waiting.pop(next(iter(reader.waiting)))
                    data = json.dumps(document, ensure_ascii=False)
                    yield ServerSentEvent(event="job", data=data, sep="\n")
        finally:
            self._readers.discard(reader)

    async def call(self, call: BatchCall | AltTextCall) -> dict[str, Any]:
        """Make a call that is no job, in the process that draws; return what came of it.

        Raises:
            RunnerError: Nothing was begun.
            GptImageError: As `gptimage.studio.batches.run_batch` and `ImageClient.alt_text`.
        """
        self._tries += 1
        self._calls += 1  # a page that counted as idle would be closed, and its client with it
        try:
            id = f"call#{self._tries}"
            found: dict[str, Any] = await self._runner.run(id, call, lambda _: None)
        finally:
            self._calls -= 1
        return found

    async def aclose(self, wait: float = 0) -> None:
        """Let go: what was sent is finished by its process, what was not stays in the job store.

        Args:
            wait: Seconds that what was sent has here, where this is the process that draws.
        """
        self._runner.close()
        tasks = [each.task for each in self._live.values() if each.task is not None]
        if tasks and wait:
            await asyncio.wait(tasks, timeout=wait)
        if self._watching is not None:
            tasks.append(self._watching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is drawn or asked, and no tab follows the jobs."""
        return not (self._live or self._calls or self._readers)

    def sent(self) -> int:
        """Return how many requests are on their way, which go on when the studio is closed."""
        return sum(live.news.state == "sending" for live in self._live.values())

    def _begin(self, record: JobRecord, previews: int) -> None:
        self._tries += 1
        self._problems.pop(record.id, None)
        live = self._live[record.id] = _Live(f"{record.id}#{self._tries}", record)
        live.task = asyncio.create_task(self._follow(live, previews))

    async def _follow(self, live: _Live, previews: int) -> None:
        def tell(news: JobNews) -> None:
            live.news = news
            self._emit(live.record)

        id = live.record.id
        job = Job(id, json.loads(live.record.request))
        problem: str | None = None
        try:
            call = DrawCall(job=job.to_dict(), previews=previews)
            result: JobResult | None = await self._runner.run(live.run_id, call, tell)
            if result is not None and result.unsaved:
                self._unsaved[id] = result.unsaved
        except RunnerLostError:
            problem = "The process that drew it was stopped."
        except RunnerError as error:
            problem = f"Nothing was sent: {error}."
        except Exception as error:  # noqa: BLE001  # whatever it is, a tab waits for an end
            problem = f"{type(error).__name__}: {error}"
        # Not when this is cancelled: then the studio is closed, and `sent` counts what goes on.
        self._live.pop(id, None)
        with suppress(GptImageError):  # then the page's next list says it
            record = await self._read(id)
            if problem is not None:
                self._problems[id] = problem
            self._emit(record)
            if record.images:
                await self._studio.changed(record.images)
            if not record.abandoned(self._store.now()):
                # Still owned, so its process was killed: look for its images when the lease is
                # over. One that is abandoned already was looked for in vain: a person decides.
                self._watch([record])

    def _emit(self, record: JobRecord) -> dict[str, Any]:
        document = self.document(record)
        self._tell(document)
        return document

    def _tell(self, document: dict[str, Any]) -> None:
        for reader in self._readers:
            reader.waiting[document["id"]] = document
            reader.changed.set()

    def _watch(self, records: list[JobRecord]) -> None:
        """Look after jobs of other processes: of a studio that was closed, or killed."""
        self._watched |= {each.id for each in records if each.owned and each.id not in self._live}
        if self._watched and (self._watching is None or self._watching.done()):
            self._watching = asyncio.create_task(self._look())

    async def _look(self) -> None:
        known: dict[str, JobRecord] = {}
        while self._watched:
            await asyncio.sleep(_LOOK)
            for id in [*self._watched]:
                record = await asyncio.to_thread(self._store.read, id)
                if record is None or not record.owned:
                    self._watched.discard(id)
                elif record.abandoned(self._store.now()):
                    self._watched.discard(id)
                    if record.state == "sending" and id not in self._live:
                        # Its process died: look for the reply. It is never sent again, so this
                        # pays for nothing.
                        self._begin(record, 0)
                if record is not None and record != known.get(id):
                    known[id] = record
                    self._emit(record)

    async def _read(self, id: str) -> JobRecord:
        record = await asyncio.to_thread(self._store.read, id)
        if record is None:
            raise InvalidRequestError(f"there is no job {id!r:.90}", field="id", value=id)
        return record

    def document(self, record: JobRecord) -> dict[str, Any]:
        """Return a job as the page shows it; a path is named by the upload it is."""
        live = None if record.settled else self._live.get(record.id)
        reason = record.reason if live else self._problems.get(record.id, record.reason)
        request: dict[str, Any] = json.loads(record.request)
        uploads = str(self._studio.uploads)
        state: str = record.state if live is None else live.news.state
        if live is None and record.abandoned(self._store.now()):
            state = "lost"
        most = record.possible_cost if live is None else live.news.most
        return {
            "id": record.id,
            "state": state,
            "live": live is not None,
            "at": record.at,
            "seconds": None if live is None else round(time.monotonic() - live.begun, 1),
            "message": _MESSAGES.get(state, "") if live is None else live.news.message,
            "preview": None if live is None else live.news.preview,
            "request": {name: _named(value, uploads) for name, value in request.items()},
            "images": list(record.images),
            "cost_usd": _text(record.cost),
            "possible_cost_usd": _text(most),
            "reason": reason and for_command_line(reason),
            "warnings": list(record.warnings),
            "unsaved": list(self._unsaved.get(record.id, ())),
        }


@define(eq=False)
class _Reader:
    """One tab that follows the jobs: of each, the newest document it has not read."""

    waiting: dict[str, dict[str, Any]] = field(factory=dict[str, "dict[str, Any]"])
    changed: asyncio.Event = field(factory=asyncio.Event)


_MESSAGES: Final = {
    "open": "It was not sent: the studio was closed before its turn.",
    "claimed": "Another studio prepares it.",
    "sending": "Its request was sent, and is finished by the process of an earlier studio.",
    "lost": "Its images are not in the store. Looking for them sends nothing again.",
    "needs_review": "It may have been billed, and there is no image.",
    "discarded": "It was given up.",
}
"""What a job's state means that no process of this studio works on."""


def _text(usd: Decimal | None) -> str | None:
    """Return an amount as text, which no program rounds."""
    return None if usd is None else str(usd)


def _named(value: Any, uploads: str) -> Any:
    if isinstance(value, list):
        return [_named(each, uploads) for each in cast("list[object]", value)]
    if isinstance(value, str) and value.startswith(uploads):
        return "upload:" + value.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    return value
