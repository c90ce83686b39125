"""`ObjectBlobs`: S3, Google Cloud Storage, Azure or memory through obstore (extra ``s3``).

Puts are create-only and changes are compare-and-set by etag, so machines that share a
bucket need no lock. Keys are the same as in a folder and sort by time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from gptimage._internal.clock import utc_now
from gptimage.errors import ConfigurationError
from gptimage.store.blobs import Blob, BlobInfo, Blobs
from gptimage.store.names import check_key


_FRESH: Final = timedelta(minutes=30)
_PAGE: Final = 1000

T = TypeVar("T")


class ObjectStore(Protocol):
    """An obstore store: ``obstore.store.S3Store``, ``GCSStore``, ``AzureStore``, ``MemoryStore``.

    obstore's classes are taken as they are; this Protocol only keeps them out of the types.
    """

    def __repr__(self) -> str:
        """Return what it is."""
        ...


class ObjectBlobs:
    """An object store as `Blobs`.

    Args:
        store: A configured obstore store.
        name: Where it is, such as ``s3://bucket/pictures``. It names the index this machine
            keeps of it, so two places must not share a name.

    Raises:
        ConfigurationError: obstore is not installed.
    """

    def __init__(self, store: ObjectStore, *, name: str) -> None:
        self._obstore = _import()
        self._store: Any = store
        self._name = name

    @classmethod
    def from_url(cls, url: str, **config: Any) -> ObjectBlobs:
        """Open ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.

        Credentials come from the environment, as obstore reads them, or from ``config``
        (``region``, ``endpoint``, ``access_key_id``, ...), which is handed to obstore.

        Raises:
            ConfigurationError: obstore is not installed, or does not understand the URL.
        """
        _import()
        from obstore.store import from_url

        try:
            store = from_url(url, **config)
        except Exception as error:  # obstore's own classes, which must not escape
            raise ConfigurationError(f"{url} cannot be opened: {_first_line(error)}") from error
        return cls(store, name=url.rstrip("/"))

    def __repr__(self) -> str:
        """Return the class and the name, never the credentials."""
        return f"ObjectBlobs({self._name!r})"

    @property
    def name(self) -> str:
        """Where it is."""
        return self._name

    @property
    def folder(self) -> Path | None:
        """None: objects have no paths."""
        return None

    def create(self, key: str, data: bytes, *, fsync_dir: bool = True) -> str:
        """Put a new object and return its etag; see `Blobs.create`. A put is always settled."""
        del fsync_dir
        try:
            return self._put(key, data, "create")
        except FileExistsError:
            # Perhaps our own put, repeated by obstore because the response was lost.
            blob = self.read(key)
            if blob.data != data:
                raise
            return blob.etag

    def touch_or_create(self, key: str, data: bytes) -> None:
        """Make sure that an object named by its own hash is there, and fresh."""
        info = self.stat(key)
        if info is None or utc_now() - info.modified > _FRESH:
            self._put(key, data, "overwrite")

    def replace(self, key: str, data: bytes, *, etag: str) -> str | None:
        """Put a new content if the etag still holds; see `Blobs.replace`."""
        try:
            return self._put(key, data, {"e_tag": etag})
        except _ChangedError:
            if self.stat(key) is None:
                raise FileNotFoundError(f"{key} is not in {self._name}") from None
            return None

    def read(self, key: str) -> Blob:
        """Return the content; see `Blobs.read`."""
        check_key(key)
        found: Any = self._do(lambda: self._obstore.get(self._store, key))
        data = self._do(lambda: bytes(found.bytes()))
        return Blob(data, str(found.meta["e_tag"]))

    def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of an object, or None; see `Blobs.stat`."""
        check_key(key)
        try:
            return _info(self._do(lambda: self._obstore.head(self._store, key)))
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Remove an object; see `Blobs.delete`."""
        check_key(key)
        with suppress(FileNotFoundError):
            self._do(lambda: self._obstore.delete(self._store, key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Yield every object below a prefix in the order of the keys; see `Blobs.list`."""
        if prefix:
            check_key(prefix.rstrip("/"))
        pages: Any = self._do(
            lambda: self._obstore.list(
                self._store,
                prefix=prefix.rstrip("/") or None,
                offset=after or None,
                chunk_size=_PAGE,
            )
        )
        while page := self._do(lambda: next(pages, None)):
            yield from (_info(meta) for meta in page)

    def temp_files(self, older_than: timedelta, *, remove: bool = False) -> tuple[str, ...]:
        """None: an object appears whole or not at all."""
        del older_than, remove
        return ()

    def _put(self, key: str, data: bytes, mode: object) -> str:
        check_key(key)
        done: Any = self._do(lambda: self._obstore.put(self._store, key, data, mode=mode))
        return str(done["e_tag"])

    def _do(self, call: Callable[[], T]) -> T:
        """Run a call of obstore; its errors become those `Blobs` promises."""
        try:
            return call()
        except OSError:
            raise
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> OSError:
        known = self._obstore.exceptions
        text = f"{self._name}: {_first_line(error)}"
        if isinstance(error, known.AlreadyExistsError):
            return FileExistsError(text)
        if isinstance(error, known.PreconditionError):
            return _ChangedError(text)
        if isinstance(error, (known.PermissionDeniedError, known.UnauthenticatedError)):
            return PermissionError(text)
        return OSError(text)


class _ChangedError(OSError):
    """The object is not the one whose etag was given."""


_conforms: type[Blobs] = ObjectBlobs


def _import() -> Any:
    try:
        import obstore
    except ImportError as error:
        raise ConfigurationError(
            "object stores need the extra s3: pip install 'gptimage[s3]'"
        ) from error
    return obstore


def _info(meta: Any) -> BlobInfo:
    etag = str(meta["e_tag"])
    if etag.startswith("0x"):
        # Azure's listing writes the etag without the quotes that its headers have. As another
        # text, every object would look changed, and be read again, at each listing.
        etag = f'"{etag}"'
    return BlobInfo(
        str(meta["path"]), size=int(meta["size"]), modified=meta["last_modified"], etag=etag
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
