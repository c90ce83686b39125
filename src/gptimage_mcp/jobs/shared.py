"""Jobs that servers of one group know of each other: small files in a folder, or keys in Redis.

Replicas behind one address share it, so that any of them finds a job by its handle. Both kinds
raise `OSError` where they cannot be reached.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import gptimage
from gptimage.secrets import guard_logs, remember_url, scrub_error


KEPT: Final = 30 * 86_400
"""Seconds after which nothing is read any more."""

_MARK: Final = ".open"
_LEASE: Final = 30.0
_TIMEOUT: Final = 2.0


class SharedState(Protocol):
    """Values by key, marks that can be listed, and which servers are alive.

    Keys are made by the server itself, of letters, digits, dots, hyphens and underscores.
    """

    def enter(self, server: str) -> None:
        """Let others see that a server lives, until it leaves or dies."""
        ...

    def leave(self, server: str) -> None:
        """Let others see that a server is over."""
        ...

    def is_alive(self, server: str) -> bool:
        """Return whether a server lives."""
        ...

    def write(self, key: str, data: bytes, *, seconds: int = KEPT) -> None:
        """Write a value, whole or not at all, for at least so many seconds."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return a value, or None."""
        ...

    def delete(self, key: str) -> None:
        """Delete a value; harmless where there is none."""
        ...

    def mark(self, key: str) -> None:
        """Set a mark; harmless when done twice."""
        ...

    def unmark(self, key: str) -> None:
        """Take a mark away; harmless where there is none."""
        ...

    def marks(self, prefix: str = "") -> list[str]:
        """Return the marks that begin like this."""
        ...


class SharedFolder:
    """A folder of small files, on one machine or on a file system that several have mounted.

    A server that is killed cannot say so. It holds a lock while it lives, and the kernel (or the
    file server) frees that.

    Args:
        folder: Where; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self._locks: dict[str, int] = {}

    def enter(self, server: str) -> None:
        """See `SharedState`; also deletes what is too old."""
        if server in self._locks:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._lock(server), os.O_RDWR | os.O_CREAT, 0o600)
        _try_lock(lock)
        self._locks[server] = lock
        # By the lock just made, not by this machine: a file server has a clock of its own.
        oldest = os.fstat(lock).st_mtime - KEPT
        for each in self.folder.iterdir():
            with suppress(OSError):
                if each.stat().st_mtime < oldest and not _is_locked(each):
                    each.unlink()

    def leave(self, server: str) -> None:
        """See `SharedState`."""
        if (lock := self._locks.pop(server, None)) is None:
            return
        os.close(lock)
        with suppress(OSError):
            self._lock(server).unlink()

    def is_alive(self, server: str) -> bool:
        """See `SharedState`."""
        return server in self._locks or _is_locked(self._lock(server))

    def write(self, key: str, data: bytes, *, seconds: int = KEPT) -> None:
        """See `SharedState`; what is not deleted stays for as long as anything does."""
        del seconds
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / key
        temporary = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def read(self, key: str) -> bytes | None:
        """See `SharedState`."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """See `SharedState`."""
        (self.folder / key).unlink(missing_ok=True)

    def mark(self, key: str) -> None:
        """See `SharedState`."""
        (self.folder / f"{key}{_MARK}").touch(mode=0o600)

    def unmark(self, key: str) -> None:
        """See `SharedState`."""
        (self.folder / f"{key}{_MARK}").unlink(missing_ok=True)

    def marks(self, prefix: str = "") -> list[str]:
        """See `SharedState`."""
        return [each.name.removesuffix(_MARK) for each in self.folder.glob(f"{prefix}*{_MARK}")]

    def _lock(self, server: str) -> Path:
        return self.folder / f"{server}.lock"


class SharedRedis:
    """Keys in a Redis server, for replicas without a common file system.

    A server that lives says so every ten seconds; one that was silent for half a minute is over.

    Args:
        url: Such as ``redis://localhost:6379/0``.
        prefix: Put before every key; groups of servers with different ones know nothing of each
            other.
        lease: Seconds of silence after which a server is taken for dead.

    Raises:
        ConfigurationError: The package ``redis`` is missing, or the URL is none.
    """

    def __init__(self, url: str, *, prefix: str = "gptimage:jobs:", lease: float = _LEASE) -> None:
        try:
            from redis import Redis
            from redis.exceptions import RedisError
        except ImportError as error:
            raise gptimage.ConfigurationError(
                "jobs in Redis need the package redis: pip install 'gptimage[redis]'"
            ) from error
        remember_url(url)
        guard_logs()
        try:
            client: Any = Redis  # its signatures are partly open
            self._redis: Any = client.from_url(
                url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
            )
        except ValueError as error:
            scrub_error(error)
            raise gptimage.ConfigurationError(f"not a Redis URL: {error}") from error
        self._error = RedisError
        self._prefix = prefix
        self._lease = lease
        self._leaving: dict[str, threading.Event] = {}

    def enter(self, server: str) -> None:
        """See `SharedState`."""
        if server in self._leaving:
            return
        self._say_alive(server)
        self._leaving[server] = threading.Event()
        # A thread, because the event loop may be busy for longer than a lease.
        threading.Thread(target=self._stay_alive, args=(server,), daemon=True).start()

    def leave(self, server: str) -> None:
        """See `SharedState`."""
        if (leaving := self._leaving.pop(server, None)) is not None:
            leaving.set()
            with suppress(OSError), self._reached():
                self._redis.delete(self._key("server", server))

    def is_alive(self, server: str) -> bool:
        """See `SharedState`."""
        with self._reached():
            return bool(self._redis.exists(self._key("server", server)))

    def write(self, key: str, data: bytes, *, seconds: int = KEPT) -> None:
        """See `SharedState`."""
        with self._reached():
            self._redis.set(self._key("value", key), data, ex=seconds)

    def read(self, key: str) -> bytes | None:
        """See `SharedState`."""
        with self._reached():
            found: bytes | None = self._redis.get(self._key("value", key))
            return found

    def delete(self, key: str) -> None:
        """See `SharedState`."""
        with self._reached():
            self._redis.delete(self._key("value", key))

    def mark(self, key: str) -> None:
        """See `SharedState`."""
        with self._reached():
            self._redis.sadd(self._key("marks"), key)

    def unmark(self, key: str) -> None:
        """See `SharedState`."""
        with self._reached():
            self._redis.srem(self._key("marks"), key)

    def marks(self, prefix: str = "") -> list[str]:
        """See `SharedState`; as many as there are calls of unknown outcome."""
        with self._reached():
            found: set[bytes] = self._redis.smembers(self._key("marks"))
        return [key for each in found if (key := each.decode()).startswith(prefix)]

    def _stay_alive(self, server: str) -> None:
        leaving = self._leaving[server]
        while not leaving.wait(self._lease / 3):
            with suppress(OSError):  # the next try may reach it, before the lease is over
                self._say_alive(server)

    def _say_alive(self, server: str) -> None:
        with self._reached():
            self._redis.set(self._key("server", server), b"", px=int(self._lease * 1000))

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    @contextmanager
    def _reached(self) -> Generator[None]:
        """Raise `OSError` where Redis fails, as a folder does."""
        try:
            yield
        except self._error as error:
            scrub_error(error)
            raise OSError(f"Redis: {type(error).__name__}: {error}") from error


def _is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on this file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Lock an open file; the kernel frees it when its process ends, however it ends."""
    from filelock import lock_descriptor  # late: it takes 30 ms to import

    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:
        return False
