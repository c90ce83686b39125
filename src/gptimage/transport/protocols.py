"""What the core asks of the outside world: small Protocols with their contracts.

Implementations need not inherit from them. One contract suite per Protocol in
``tests/contracts`` runs over every implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from attrs import field, frozen

from gptimage.cached import CacheEntry, CacheStats, Held
from gptimage.observers.events import Event
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


class EventStream(Protocol):
    """An answer that arrives as server-sent events; iterate it once, then close it.

    ``reply`` has the status and headers. When the answer is not an event stream (an
    error, or a plain JSON answer), ``reply.body`` is whole and iterating yields nothing.
    """

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is no event stream."""
        ...

    def __iter__(self) -> Iterator[ServerEvent]:
        """Events as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


class AsyncEventStream(Protocol):
    """`EventStream`, awaited."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is no event stream."""
        ...

    def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Events as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


@runtime_checkable
class Transport(Protocol):
    """Sends one request once, from any thread. It never retries.

    Every HTTP status is a reply, not an exception. TransportError means nothing
    reached the service; OutcomeUnknownError means something may have.
    """

    def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        ...

    def stream(self, request: HttpRequest) -> EventStream:
        """Send and return as soon as the answer's head is there."""
        ...

    def close(self) -> None:
        """Release connections; harmless when done twice."""
        ...


@runtime_checkable
class AsyncTransport(Protocol):
    """`Transport`, awaited."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send and read the whole answer."""
        ...

    async def stream(self, request: HttpRequest) -> AsyncEventStream:
        """Send and return as soon as the answer's head is there."""
        ...

    async def aclose(self) -> None:
        """Release connections; harmless when done twice."""
        ...


@frozen
class BlobInfo:
    """One file or object, without its content.

    Attributes:
        key: Its name, such as ``images/2026/11/20/img_….png``.
        size: Its length in bytes.
        modified: When it was last written (UTC).
        stamp: Changes whenever the content does: an etag, or what the file system knows.
    """

    key: str
    size: int = field(kw_only=True)
    modified: datetime = field(kw_only=True)
    stamp: str = field(kw_only=True)


@frozen
class Blob:
    """The content of one file or object, with the stamp it had when it was read.

    Attributes:
        data: The bytes.
        stamp: See `BlobInfo`.
    """

    data: bytes = field(repr=False)
    stamp: str


@runtime_checkable
class Blobs(Protocol):
    """Bytes by name, where a store keeps its pictures: a local folder or an object store.

    Safe for many threads and processes at once. Nobody ever sees half a file. A key that
    could leave the root is a ValueError; everything that fails is an OSError, with
    FileNotFoundError, FileExistsError and PermissionError where they fit.
    """

    @property
    def name(self) -> str:
        """Where this is, for messages; the same place always has the same name."""
        ...

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for an object store."""
        ...

    def create(self, key: str, data: bytes, *, settle: bool = True) -> str:
        """Write a new file and return its stamp; never overwrites.

        Creating exactly the bytes that are there already succeeds, so that a repeated
        request (after a lost answer, say) does no harm.

        Args:
            key: Its name.
            data: Its content.
            settle: The file's name must survive a power cut when this returns. False when
                another file is created in the same folder at once, whose settling does for both.

        Raises:
            FileExistsError: The key is taken by other bytes.
        """
        ...

    def keep(self, key: str, data: bytes) -> None:
        """Make sure that a file named by its own hash is there and counts as written just now.

        "Just now" may be half an hour ago: what is younger than an hour is not cleaned away.
        """
        ...

    def replace(self, key: str, data: bytes, *, stamp: str) -> str | None:
        """Write a new content if the stamp still holds; its new stamp, or None if it changed.

        Raises:
            FileNotFoundError: The file is gone.
        """
        ...

    def read(self, key: str) -> Blob:
        """The content.

        Raises:
            FileNotFoundError: There is no such file.
        """
        ...

    def stat(self, key: str) -> BlobInfo | None:
        """What is known of a file, or None when it is not there."""
        ...

    def delete(self, key: str) -> None:
        """Remove a file; one that is not there is fine."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Every file below a prefix (empty, or ending in a slash), in the order of the keys.

        Args:
            prefix: Such as ``images/``.
            after: Only keys that sort after this one.
        """
        ...

    def leftovers(self, older_than: timedelta, *, remove: bool = False) -> tuple[str, ...]:
        """Temporary files of writes that were killed, and their removal if asked for."""
        ...


class Lease(Protocol):
    """The right to be the one who asks, while everybody else waits.

    It stays valid however long the call takes, and frees itself when its process dies.
    """

    def release(self, outcome: str) -> None:
        """Let go, leaving behind for about a minute how it ended; harmless when done twice."""
        ...


@runtime_checkable
class CachePort(Protocol):
    """Keeps replies by key, for as many threads and processes as it reaches.

    Every method may raise CacheError, and nothing else; calls then go on without the
    cache. No method blocks for more than a few seconds. Entries are checked: one that
    is damaged or has expired is removed and counts as absent. An object may be used
    after a fork, in both processes.
    """

    def get(self, key: str) -> CacheEntry | None:
        """The reply under this key. Reading counts nothing: `count` does."""
        ...

    def put(self, key: str, entry: CacheEntry) -> None:
        """Keep a reply, replacing an older one, and evict what was used least recently.

        It expires when the entry says or after the cache's own time to live, whichever
        is first. A reply larger than the whole cache is not kept.
        """
        ...

    def delete(self, key: str) -> None:
        """Forget a reply; harmless when there is none."""
        ...

    def count(self, key: str, *, hits: int = 0, misses: int = 0) -> None:
        """Note that a key was used just now, and add to the statistics."""
        ...

    def stats(self) -> CacheStats:
        """What it holds now, and the counts so far."""
        ...

    def clear(self, older_than: timedelta | None = None) -> int:
        """Forget all replies, or those kept longer ago; gives how many. Counts stay."""
        ...

    def lease(self, key: str, token: str) -> Lease | Held:
        """Try once, without waiting, to become the one who asks.

        Args:
            key: What is asked.
            token: A name for this flight that nobody else uses.
        """
        ...

    def outcome(self, token: str) -> str | None:
        """How a flight ended; None when it did not, when it crashed, or after a minute."""
        ...

    def close(self) -> None:
        """Release files and connections; harmless when done twice."""
        ...


@runtime_checkable
class Observer(Protocol):
    """Is told what happens during every call of a client.

    It is called in the middle of the call, from whatever thread the call is in, so it
    should be quick, and safe to use from several threads. What it raises is logged once
    and does not reach the call. It may be told of events that do not exist yet: unknown
    ones are to be ignored.
    """

    def notify(self, event: Event) -> None:
        """Take note of an event; see `gptimage.events`."""
        ...


class Download(Protocol):
    """A body that arrives in pieces; iterate it once, then close it."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is an error."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Pieces as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    def close(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


class AsyncDownload(Protocol):
    """`Download`, awaited."""

    @property
    def reply(self) -> HttpReply:
        """Status and headers, and the whole body of an answer that is an error."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive; OutcomeUnknownError when the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Release the connection; harmless when done twice."""
        ...


@runtime_checkable
class Downloads(Protocol):
    """A `Transport` that can also hand over a body while it arrives; batches need one."""

    def download(self, request: HttpRequest) -> Download:
        """Send and return as soon as the answer's head is there."""
        ...


@runtime_checkable
class AsyncDownloads(Protocol):
    """`Downloads`, awaited."""

    async def download(self, request: HttpRequest) -> AsyncDownload:
        """Send and return as soon as the answer's head is there."""
        ...
