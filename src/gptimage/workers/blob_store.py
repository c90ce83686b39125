"""`BlobJobStore`: the jobs beside the images, in the same bucket, without another server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime

from gptimage._internal.clock import utc_now
from gptimage._internal.keywords import clock as check_clock
from gptimage._internal.keywords import strict_class
from gptimage.errors import StoreError
from gptimage.store.blobs import Blob, Blobs
from gptimage.workers.job import JobRecord
from gptimage.workers.job_store import JobStoreError, read_record


@strict_class
class BlobJobStore:
    """A `JobStore` in an object store, one small object for each job.

    For functions and machines that share a bucket and nothing else. An object is created once and
    replaced only as it was read (by etag), so no two workers have one job. `records` reads every
    job: for tens of thousands `RedisJobStore` is quicker. Nothing is forgotten by itself; a
    lifecycle rule of the bucket may delete what is older than your longest retry.

    Args:
        blobs: Where the objects are, such as ``ObjectBlobs.from_url("s3://bucket/jobs")``.
        clock: Tells the time (UTC); leases compare the clocks of the machines.
    """

    def __init__(self, blobs: Blobs, *, clock: Callable[[], datetime] = utc_now) -> None:
        check_clock("clock", clock)
        self._blobs = blobs
        self._clock = clock

    def __repr__(self) -> str:
        """Return where it is, never the credentials."""
        return f"BlobJobStore({self._blobs.name!r})"

    def now(self) -> float:
        """Return this machine's time, in seconds."""
        return self._clock().timestamp()

    def read(self, id: str) -> JobRecord | None:
        """Return the record of a job, or None."""
        found = self._read(_key(id))
        return None if found is None else self._record(found)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        """Write a record unless another one was written meanwhile."""
        key, text = _key(after.id), after.to_text().encode()
        if before is None:
            with self._failures():
                try:
                    self._blobs.create(key, text)  # the very same bytes again are fine
                except FileExistsError:
                    return False
                return True
        found = self._read(key)
        if found is None or (known := self._record(found)) not in (before, after):
            return False
        if known == after:  # written by an earlier attempt whose response was lost
            return True
        with self._failures():
            try:
                return self._blobs.replace(key, text, etag=found.etag) is not None
            except FileNotFoundError:
                return False

    def records(self, *, settled: bool = False) -> Iterator[JobRecord]:
        """Return the records, those changed longest ago first; settled ones at the end."""
        with self._failures():
            keys = [info.key for info in self._blobs.list("")]
        found = [self._record(blob) for key in keys if (blob := self._read(key)) is not None]
        found.sort(key=lambda record: (record.settled, record.at, record.id))
        yield from (record for record in found if settled or not record.settled)

    def close(self) -> None:
        """Do nothing: the connections are those of the blobs."""

    def _read(self, key: str) -> Blob | None:
        with self._failures():
            try:
                return self._blobs.read(key)
            except FileNotFoundError:
                return None

    def _record(self, blob: Blob) -> JobRecord:
        return read_record(blob.data, repr(self))

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except (StoreError, OSError) as error:
            raise JobStoreError(f"{self!r} cannot be used: {error}") from error


def _key(id: str) -> str:
    # An id is any text; a name in a bucket is not.
    return f"{hashlib.sha256(id.encode()).hexdigest()}.json"
