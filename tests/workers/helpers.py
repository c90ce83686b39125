"""A small world for jobs: a service that counts, and workers that die or sleep when told."""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from attrs import define, field
from PIL import Image as PilImage

from gptimage import ImageClient, Retry, TransportError
from gptimage.cache import CacheEntry, CacheStats
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.workers import JobRecord, JobResult, run_job
from gptimage.workers.job_store import JobStore


URL = "https://fake.invalid/v1"
_FREE = frozenset({400, 401, 429, 503})
LEASE = timedelta(seconds=30)
JOB = {"id": "order-17", "prompt": "A red fox", "size": "1024x1024", "quality": "low"}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 196,
    "total_tokens": 206,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
}


@functools.cache
def picture(color: str = "teal") -> bytes:
    """The bytes of a plain image."""
    file = io.BytesIO()
    PilImage.new("RGB", (1024, 1024), color).save(file, "png")
    return file.getvalue()


def answer(*pictures: bytes, created: int = 1_795_000_000) -> HttpReply:
    """A reply as the service sends it."""
    data = [{"b64_json": base64.b64encode(each).decode()} for each in pictures or (picture(),)]
    body = {"created": created, "data": data, "usage": USAGE}
    headers = {"content-type": "application/json", "x-request-id": "req_1"}
    return HttpReply(status=200, headers=headers, body=json.dumps(body).encode())


def refusal(status: int, **error: object) -> HttpReply:
    """An error as the service sends it."""
    body = {"error": {"message": "no", "type": None, "param": None, "code": None, **error}}
    return HttpReply(status=status, body=json.dumps(body).encode())


class Killed(BaseException):
    """What a SIGKILL is to a test that stays in one process: nothing more happens."""


@define
class Service:
    """Answers, and counts what it will put on the bill; a `Transport`.

    Attributes:
        says: What it answers next.
        asked: The requests.
        billed: How many it answered with an image, or failed at after it had begun.
    """

    says: Callable[[], HttpReply | Exception] = answer
    asked: list[HttpRequest] = field(factory=list)
    billed: int = 0

    def send(self, request: HttpRequest) -> HttpReply:
        found = self.says()
        self.asked.append(request)
        free = isinstance(found, TransportError) or getattr(found, "status", 0) in _FREE
        self.billed += not free
        if isinstance(found, Exception):
            raise found
        return found

    def stream(self, request: HttpRequest) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


@define
class Clock:
    """The time of a job store, which stands still until it is moved."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let some time pass."""
        self.now += seconds


@define(eq=False)
class Paper:
    """A job store in memory, for many short lives: a file waits for the disk at every change."""

    clock: Clock
    notes: dict[str, JobRecord] = field(factory=dict)

    def now(self) -> float:
        return self.clock()

    def read(self, id: str) -> JobRecord | None:
        return self.notes.get(id)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        if self.notes.get(after.id) != before:
            return False
        self.notes[after.id] = after
        return True

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        return (entry for entry in self.notes.values() if settled or not entry.settled)

    def close(self) -> None:
        pass


@define
class Shared:
    """What outlives a worker: the service, the job store, the image store, replies in a cache."""

    service: Service
    job_store: JobStore
    folder: Path
    replies: dict[str, CacheEntry] | None = field(factory=dict)


@define(eq=False)
class Process:
    """One worker process: it counts its steps, and at some of them something happens to it.

    Attributes:
        shared: What outlives it.
        plan: What happens at which step, from 0: ``None`` kills it; a function is called while
            it sleeps.
        retry: How often its client tries.
    """

    shared: Shared
    plan: Mapping[int, Callable[[], object] | None] = field(factory=dict)
    retry: Retry = field(factory=lambda: Retry(attempts=1))
    steps: list[str] = field(factory=list)
    dead: bool = False

    def step(self, name: str) -> None:
        """One step from which there is no way back."""
        if self.dead:
            raise Killed
        number = len(self.steps)
        self.steps.append(name)
        if number in self.plan:
            happens = self.plan[number]
            if happens is None:
                self.dead = True
                raise Killed
            happens()

    def run(self, spec: Mapping[str, Any] = JOB, **options: Any) -> JobResult | None:
        """Deliver a job to it; None when it died."""
        shared = self.shared
        client = ImageClient(
            transport=Wire(self, shared.service),
            base_url=URL,
            store=Shelf(self, shared.folder),
            cache=None if shared.replies is None else Memory(self, shared.replies),
            retry=self.retry,
        )
        try:
            return run_job(
                spec, client=client, job_store=Table(self, shared.job_store), lease=LEASE, **options
            )
        except Killed:
            return None


@define(eq=False)
class Wire:
    """The way to the service."""

    process: Process
    service: Service

    def send(self, request: HttpRequest) -> HttpReply:
        self.process.step("leaves")
        reply = self.service.send(request)
        self.process.step("arrived")
        return reply

    def stream(self, request: HttpRequest) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Shelf(Store):
    """A store whose worker may die just before and just after it saves."""

    def __init__(self, process: Process, folder: Path) -> None:
        super().__init__(folder, fsync=False)
        self._process = process

    def save(self, *arguments: Any, **options: Any) -> Any:
        self._process.step("saves")
        found = super().save(*arguments, **options)
        self._process.step("saved")
        return found


@define(eq=False)
class Table:
    """A job store whose worker may die just before and just after it writes."""

    process: Process
    job_store: JobStore

    def now(self) -> float:
        return self.job_store.now()

    def read(self, id: str) -> JobRecord | None:
        if self.process.dead:
            raise Killed
        return self.job_store.read(id)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        self.process.step(f"writes {after.state}")
        done = self.job_store.compare_and_swap(before, after)
        self.process.step(f"wrote {after.state}")
        return done

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        return self.job_store.records(settled=settled)

    def close(self) -> None:
        pass


class Ticket:
    """A lease nobody else sees: what happens between live workers is not tested here."""

    def release(self, outcome: str) -> None:
        pass


@define(eq=False)
class Memory:
    """A cache that outlives its worker; a `Cache`."""

    process: Process
    replies: dict[str, CacheEntry]

    def get(self, key: str) -> CacheEntry | None:
        return self.replies.get(key)

    def put(self, key: str, entry: CacheEntry) -> None:
        self.process.step("caches")
        self.replies[key] = entry
        self.process.step("cached")

    def delete(self, key: str) -> None:
        self.replies.pop(key, None)

    def record_use(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        pass

    def stats(self) -> CacheStats:
        return CacheStats(entries=len(self.replies))

    def clear(self, older_than: timedelta | None = None) -> int:
        raise NotImplementedError

    def lease(self, key: str, token: str) -> Ticket:
        del key, token
        return Ticket()

    def lease_outcome(self, token: str) -> None:
        del token

    def close(self) -> None:
        pass
