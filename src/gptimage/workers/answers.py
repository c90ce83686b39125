"""Where the pictures of a job come from: the service, or wherever an earlier reply was kept.

A reply is kept in this order: on the worker's own disk (the spool) as soon as it arrived, in
the cache, as pictures in the store. A worker may be killed after any of these steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Final, NoReturn

from gptimage.cache import Cache, CacheEntry
from gptimage.client import ImageClient
from gptimage.errors import CacheError, ConfigurationError, GptImageError, StoreError
from gptimage.models.pricing import Cost, cost_of
from gptimage.prompt import Prompt
from gptimage.store import Leftover, Spool, Store
from gptimage.types.record import Record
from gptimage.types.result import Result
from gptimage.workers.entry import Answer, Entry
from gptimage.workers.job import Job


_MOST: Final = 1000


def ask(client: ImageClient, job: Job) -> Answer:
    """Ask for the pictures of a job, and save them.

    Raises:
        GptImageError: As `ImageClient.generate` and `ImageClient.edit`.
    """
    result = _result(client, job)
    return _answer(result.stored, result.cost, result.warnings)


def _result(client: ImageClient, job: Job) -> Result:
    options = dict(job.request)
    prompt = Prompt(options.pop("prompt"), template=options.pop("template", None))
    images = options.pop("images", None)
    tags = (*options.pop("tags", ()), job.tag)
    if images is None:
        return client.generate(prompt, tags=tags, **options)
    return client.edit(prompt, images, tags=tags, **options)


def earlier(client: ImageClient, job: Job, entry: Entry) -> Answer | None:
    """What an earlier worker brought home, wherever it is; nothing is asked for it.

    Args:
        client: The worker's client.
        job: The job.
        entry: What the desk knows of it.

    Raises:
        CacheError: The cache cannot be read, so that nobody can tell.
        StoreError: The store cannot be read, or not take the pictures that were found.
    """
    if entry.attempt == 1 and entry.key is None:
        return None
    answer = _stored(client.store, job) if client.store is not None else None
    return answer or (_kept(client, job, entry.key) if entry.key else None)


def _stored(store: Store, job: Job) -> Answer | None:
    """What is in the store, if it is everything one call returned."""
    store.refresh()
    calls: dict[object, dict[int, Record]] = {}
    for record in store.history(_MOST, tag=job.tag):
        calls.setdefault((record.made, record.request_id), {}).setdefault(record.index, record)
    for found in calls.values():  # the newest first
        records = [found[index] for index in sorted(found)]
        if len(records) == records[0].of:
            return _answer(records, records[0].cost, records[0].warnings)
    return None


def _kept(client: ImageClient, job: Job, key: str) -> Answer | None:
    """What is in the cache or in the spool of this machine, saved in the store."""
    entry = client.cache.get(key) if client.cache is not None else None
    answer = _replayed(client, job) if entry is not None else None
    return answer or _spooled(client, job, key)


def _spooled(client: ImageClient, job: Job, key: str) -> Answer | None:
    """A reply that arrived on this machine and could not be saved by whoever asked."""
    for left in _leftovers(client, key):
        twin = client.gated(_Closed())
        twin.cache = Cache.memory(max_bytes=None)
        try:
            twin.cache.put(key, CacheEntry(body=left.read()))
        except OSError:  # somebody else rescues it right now
            continue
        if answer := _replayed(twin, job):
            with suppress(OSError):
                left.path.unlink()
            return answer
    return None


def waits(client: ImageClient, key: str | None) -> bool:
    """Whether a reply to this request waits in the cache or in the spool of this machine."""
    if key is None:
        return False
    with suppress(CacheError):  # one that cannot be read keeps nothing for the next worker
        if client.cache is not None and client.cache.get(key) is not None:
            return True
    return any(True for _ in _leftovers(client, key))


def _leftovers(client: ImageClient, key: str) -> Iterator[Leftover]:
    """Replies to this request that wait for a rescue. Their processes may live: saving failed."""
    try:
        found = Spool().leftovers(older_than=timedelta(0))
    except StoreError:  # a folder nobody can read is no reason to wait for it
        return iter(())
    own = (None, client.store.name if client.store is not None else None)
    return (left for left in found if left.key == key and left.store in own)


def _replayed(client: ImageClient, job: Job) -> Answer | None:
    """The answer without sending anything; None when that does not work."""
    try:
        result = _result(client.gated(_Closed()), job)
    except StoreError as error:
        if error.result is not None:
            raise
        return None
    except (GptImageError, OSError):
        return None  # a source is gone, or the request is planned otherwise here
    spec = client.models().get(result.model)
    cost = cost_of(spec, result.usage, result.created.date())
    return _answer(result.stored, cost, result.warnings)


def _answer(records: Iterable[Record], cost: Cost | None, warnings: Iterable[str]) -> Answer:
    return Answer(
        images=tuple(record.id for record in records),
        cost=None if cost is None else cost.usd,
        warnings=tuple(warnings),
    )


class _Closed:
    """A gate that nothing passes."""

    def sending(self, key: str, ceiling: Decimal | None) -> NoReturn:
        del key, ceiling
        raise ConfigurationError("this request is not to be sent again")

    def unsent(self) -> None:
        pass
