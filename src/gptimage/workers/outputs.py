"""The images of a job: from the service, or wherever an earlier reply was saved.

A reply is saved in this order: on the worker's own disk (the spool) as soon as it arrived, in the
cache, as images in the store. A worker may be killed after any of these steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Final, NoReturn

from attrs import frozen

from gptimage.cache import Cache, CacheEntry
from gptimage.client import ImageClient
from gptimage.errors import CacheError, GptImageError, StoreError, TransportError
from gptimage.models.pricing import Cost, cost_of
from gptimage.store import PendingReplies, PendingReply, Store
from gptimage.types.record import Record
from gptimage.types.request import Prompt
from gptimage.types.result import Completed, PartialImage, Result
from gptimage.workers.job import Job, JobOutput, JobRecord


_MOST: Final = 1000


def call_service(client: ImageClient, job: Job, previews: Previews | None = None) -> JobOutput:
    """Send the request of a job, and save the images.

    Raises:
        GptImageError: As `ImageClient.generate` and `ImageClient.edit`.
    """
    result = _call(client, job, previews)
    return _output(result.stored, result.cost, result.warnings)


@frozen
class Previews:
    """Partial images of a job's request while it is drawn.

    Attributes:
        count: How many, 1 to 3; each costs about 100 output tokens.
        show: Called with each as it arrives, in the worker's thread.
    """

    count: int
    show: Callable[[PartialImage], None]


def _call(client: ImageClient, job: Job, previews: Previews | None = None) -> Result:
    options = dict(job.request)
    prompt = Prompt(options.pop("prompt"), template=options.pop("template", None))
    images = options.pop("images", None)
    tags = (*options.pop("tags", ()), job.tag)
    if previews is not None:
        options["partial_images"] = previews.count
        for event in client.stream(prompt, images, tags=tags, **options):
            if isinstance(event, Completed):
                return event.result
            # The image is being paid for: what only looks on cannot stop it.
            with suppress(Exception):
                previews.show(event)
        raise AssertionError("a stream ends with its images or an error")
    if images is None:
        return client.generate(prompt, tags=tags, **options)
    return client.edit(prompt, images, tags=tags, **options)


def find_existing_result(client: ImageClient, job: Job, record: JobRecord) -> JobOutput | None:
    """Find what an earlier worker received, wherever it is saved; nothing is sent.

    Args:
        client: The worker's client.
        job: The job.
        record: Its record.

    Raises:
        CacheError: The cache cannot be read, so that it is not known.
        StoreError: The store cannot be read, or not save the images that were found.
    """
    if record.attempt == 1 and record.key is None:
        return None
    output = _from_store(client.store, job) if client.store is not None else None
    return output or (_from_reply(client, job, record.key) if record.key else None)


def _from_store(store: Store, job: Job) -> JobOutput | None:
    """Return the images in the store, if they are all that one call returned."""
    store.refresh()
    calls: dict[object, dict[int, Record]] = {}
    for record in store.history(_MOST, tag=job.tag):
        calls.setdefault((record.created_at_service, record.request_id), {}).setdefault(
            record.index, record
        )
    for found in calls.values():  # the newest first
        records = [found[index] for index in sorted(found)]
        if len(records) == records[0].batch_count:
            return _output(records, records[0].cost, records[0].warnings)
    return None


def _from_reply(client: ImageClient, job: Job, key: str) -> JobOutput | None:
    """Save the images of a reply in the cache or in the spool of this machine."""
    entry = client.cache.get(key) if client.cache is not None else None
    output = _replay(client, job) if entry is not None else None
    return output or _from_spool(client, job, key)


def _from_spool(client: ImageClient, job: Job, key: str) -> JobOutput | None:
    for pending in _pending(client, key):
        twin = client.with_send_hook(RefuseToSend())
        twin.cache = Cache.memory(max_bytes=None)
        try:
            twin.cache.put(key, CacheEntry(body=pending.read()))
        except OSError:  # another process recovers it right now
            continue
        if output := _replay(twin, job):
            with suppress(OSError):
                pending.path.unlink()
            return output
    return None


def has_reply(client: ImageClient, key: str | None) -> bool:
    """Tell whether a reply to this request is in the cache or in the spool of this machine."""
    if key is None:
        return False
    with suppress(CacheError):  # one that cannot be read has nothing for the next worker
        if client.cache is not None and client.cache.get(key) is not None:
            return True
    return any(True for _ in _pending(client, key))


def _pending(client: ImageClient, key: str) -> Iterator[PendingReply]:
    """Return replies to this request in the spool, also those of live processes."""
    try:
        found = PendingReplies().abandoned(older_than=timedelta(0))
    except StoreError:  # a folder that cannot be read is no reason to wait for it
        return iter(())
    own = (None, client.store.location if client.store is not None else None)
    return (each for each in found if each.key == key and each.store in own)


def _replay(client: ImageClient, job: Job) -> JobOutput | None:
    """Return the images of a reply that is here already; None when it does not fit."""
    try:
        result = _call(client.with_send_hook(RefuseToSend()), job)
    except StoreError as error:
        if error.result is not None:
            raise
        return None
    except (GptImageError, OSError):
        return None  # an input image is gone, or the request is planned otherwise here
    spec = client.models().get(result.model)
    cost = cost_of(spec, result.usage, result.created.date())
    return _output(result.stored, cost, result.warnings)


def _output(records: Iterable[Record], cost: Cost | None, warnings: Iterable[str]) -> JobOutput:
    return JobOutput(
        images=tuple(record.id for record in records),
        cost=None if cost is None else cost.usd,
        warnings=tuple(warnings),
    )


class RefuseToSend:
    """A send hook that lets nothing be sent."""

    def before_send(self, key: str, max_cost: Decimal | None) -> NoReturn:
        """Refuse."""
        del key, max_cost
        # As a failure to reach the service: then the replies of the client's fallbacks are
        # looked up, too, each under its own key.
        raise TransportError("an earlier worker sent its request, and it is not sent again")

    def not_billed(self) -> None:
        """Do nothing: nothing was sent."""
