"""The blob protocol: where a store keeps the bytes of its files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from attrs import field, frozen


@frozen
class BlobInfo:
    """One file or object, without its content.

    Attributes:
        key: Its name, such as ``images/2026/11/20/img_….png``.
        size: Its length in bytes.
        modified: When it was last written (UTC).
        etag: Changes whenever the content does: an etag, or what the file system knows.
    """

    key: str
    size: int = field(kw_only=True)
    modified: datetime = field(kw_only=True)
    etag: str = field(kw_only=True)


@frozen
class Blob:
    """The content of one file or object, with the etag it had when it was read.

    Attributes:
        data: The bytes.
        etag: See `BlobInfo`.
    """

    data: bytes = field(repr=False)
    etag: str


@runtime_checkable
class Blobs(Protocol):
    """Bytes by name, where a store keeps its images: a local folder or an object store.

    Safe for many threads and processes at once. Nobody ever sees half a file. A key that
    could leave the root is a ValueError; everything that fails is an OSError, with
    FileNotFoundError, FileExistsError and PermissionError where they fit.
    """

    @property
    def name(self) -> str:
        """The name of the place, for messages; the same place always has the same name."""
        ...

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for an object store."""
        ...

    def create(self, key: str, data: bytes, *, fsync_dir: bool = True) -> str:
        """Write a new file and return its etag; never overwrites.

        Creating exactly the bytes that are there already succeeds, so that a repeated
        request (after a lost response, say) does no harm.

        Args:
            key: Its name.
            data: Its content.
            fsync_dir: The file's name must survive a power cut when this returns. False when
                another file is created in the same folder at once, whose settling does for both.

        Raises:
            FileExistsError: The key is taken by other bytes.
        """
        ...

    def touch_or_create(self, key: str, data: bytes) -> None:
        """Make sure that a file named by its own hash is there and counts as written just now.

        "Just now" may be half an hour ago: what is younger than an hour is not cleaned away.
        """
        ...

    def replace(self, key: str, data: bytes, *, etag: str) -> str | None:
        """Write a new content if the etag still holds; its new etag, or None if it changed.

        Raises:
            FileNotFoundError: The file is gone.
        """
        ...

    def read(self, key: str) -> Blob:
        """Return the content.

        Raises:
            FileNotFoundError: There is no such file.
        """
        ...

    def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of a file, or None when it is not there."""
        ...

    def delete(self, key: str) -> None:
        """Remove a file; one that is not there is fine."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Return every file below a prefix (empty, or ending in a slash), in the order of the keys.

        Args:
            prefix: Such as ``images/``.
            after: Only keys that sort after this one.
        """
        ...

    def temp_files(self, older_than: timedelta, *, remove: bool = False) -> tuple[str, ...]:
        """List the temporary files of writes that were killed, or remove them."""
        ...
