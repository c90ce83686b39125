"""What every test has: no key, no settings of this machine, asyncio, and patient Hypothesis.

Those who ask for it have a real Redis: `redis_url` is shared, `own_redis` may be killed.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import io
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from hypothesis import settings

from tests.ports import hold_port


# A shell that starts the tests in the background has them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines differ in speed; a slow example is not a wrong one. The same examples in every run: what
# is green here is green on the next machine. `nox -s explore` looks for new ones.
settings.register_profile("gptimage", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("brief", deadline=None, derandomize=True, max_examples=20)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("gptimage")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, and never again among them.

    Half a million objects live until the end. Each full collection would go through them all, and
    each fork copy the pages in which it marks them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def few_authorities(folder: Path) -> Path:
    """A file with one authority: reading all that a machine trusts takes 24 ms for each client."""
    import certifi

    bundle = Path(certifi.where()).read_text(encoding="utf-8")
    path = folder / "authority.pem"
    path.write_text(
        bundle.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )
    return path


@pytest.fixture(autouse=True, scope="session")
def trust_little(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test talks TLS to the world; those that do it on this machine bring an authority along."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(few_authorities(tmp_path_factory.mktemp("tls"))))
        yield


class Unsynced(sqlite3.Connection):
    """A database whose writes are not forced to the disk."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement."""
        is_how_safe = sql.startswith("PRAGMA synchronous = ")
        return super().execute("PRAGMA synchronous = OFF" if is_how_safe else sql, *arguments)


@pytest.fixture(autouse=True, scope="session")
def force_nothing_to_the_disk() -> Iterator[None]:
    """No power is cut here: thirty waits for the disk in each test of a store prove nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Unsynced))
        yield


@pytest.fixture(scope="session")
def servers_end_at_once() -> Iterator[None]:
    """Look a hundred times a second whether a server shall end: uvicorn's ten times take 0.2 s."""
    from uvicorn import server

    def sleep(seconds: float) -> Any:
        return asyncio.sleep(seconds / 10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
        yield


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a millisecond before the first retry where a client names no time, not half a second."""
    from gptimage import Retry

    monkeypatch.setitem(inspect.unwrap(Retry.__init__).__kwdefaults__, "first_delay", 0.001)


@pytest.fixture
def anyio_backend() -> str:
    """Run tests marked ``anyio`` on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away keys and settings, so that no test can reach the real service with them."""
    for name in os.environ:
        if name.startswith(("OPENAI_", "AZURE_OPENAI_", "GPTIMAGE_")) and "REQUIRE" not in name:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def plain_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sandboxes draw plain images, in a tenth of the time; where the look matters, it is named."""
    if "gptimage.sandbox" in sys.modules:
        sandbox: Any = sys.modules["gptimage.sandbox"].Sandbox
        monkeypatch.setitem(inspect.unwrap(sandbox.__init__).__kwdefaults__, "draw", "plain")


class RedisServer:
    """Debian's redis-server on a free port, without any file."""

    def __init__(self, folder: Path) -> None:
        self.port = hold_port()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # The shell ends the server when its standard input closes: also when pytest is killed.
        command = ["sh", "-c", '"$@" & read -r _; kill -9 $!; wait', "sh", "redis-server"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # where the shell says "Killed"
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16) == b"+PONG\r\n":
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def stop(self) -> None:
        """Kill it: it has nothing worth keeping."""
        if self.process is not None:
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="session")
def redis_program() -> None:
    """Redis is tested on a real server or not at all; `.ci/run` makes its absence a failure."""
    if shutil.which("redis-server") is None:
        say = pytest.fail if os.environ.get("TESTS_REQUIRE_REDIS") else pytest.skip
        say("Redis was NOT tested, redis-server is missing: apt-get install -y redis-server")


@pytest.fixture(scope="session")
def redis_url(redis_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that all tests share, each under its own prefix."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def own_redis(redis_program: None, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be killed and started as it likes."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


class Faults:
    """Counts what is done to the files of some folders, and lets one of it fail.

    Args:
        folders: Where; other files are left alone.
        at: Which operation fails, from 0.
        for_good: Whether all later ones fail, too.
    """

    def __init__(self, *folders: Path, at: int, for_good: bool) -> None:
        self.folders = tuple(map(str, folders))
        self.at = at
        self.for_good = for_good
        self.count = 0
        self.on = True
        self._lock = threading.Lock()

    @property
    def happened(self) -> bool:
        """Whether something failed."""
        return self.count > self.at

    def step(self, path: object) -> None:
        """One operation, which may fail."""
        if not self.on or not str(path).startswith(self.folders):
            return
        with self._lock:
            now, self.count = self.count, self.count + 1
        if now == self.at or (self.for_good and now > self.at):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def report(self, what: str, points: int, **losses: list[Any]) -> None:
        """Print the figures of a sweep; ``pytest -rP`` or ``-s`` shows them."""
        told = ", ".join(f"{name} {len(found)}" for name, found in losses.items())
        print(f"{what}: {points} points, {told}")  # noqa: T201  # figures

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let it fail from now on."""
        io_open, connect = io.open, sqlite3.connect
        faults = self

        def opened(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
            writes = set(mode) & set("wax+")
            if writes and isinstance(file, (str, os.PathLike)):
                self.step(file)
                return Writing(io_open(file, mode, *more, **options), str(file), self)
            return io_open(file, mode, *more, **options)

        def guarded(name: str) -> None:
            real = getattr(os, name)

            def call(first: Any, *more: Any, **options: Any) -> Any:
                self.step(_path_of(first))
                if name == "fsync":
                    return None  # no power is cut here, and a busy disk takes its time
                return real(first, *more, **options)

            monkeypatch.setattr(os, name, call)

        class Connection(sqlite3.Connection):
            """Fails as SQLite does when its disk is full."""

            path = ""

            def execute(self, *arguments: Any) -> Any:
                try:
                    faults.step(self.path)
                except OSError as error:
                    raise sqlite3.OperationalError("database or disk is full") from error
                return super().execute(*arguments)

        def connected(database: Any, *more: Any, **options: Any) -> Any:
            connection = connect(database, *more, factory=Connection, **options)
            connection.path = str(database)
            return connection

        monkeypatch.setattr(io, "open", opened)
        monkeypatch.setattr(sqlite3, "connect", connected)
        for name in ("open", "write", "fsync", "rename", "replace", "link", "mkdir"):
            guarded(name)


class Writing:
    """A file whose writes count."""

    def __init__(self, file: Any, path: str, faults: Faults) -> None:
        self._file, self._path, self._faults = file, path, faults

    def write(self, data: Any) -> int:
        """Write, or fail."""
        self._faults.step(self._path)
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _path_of(first: Any) -> str:
    if isinstance(first, int):
        try:
            return str(Path(f"/proc/self/fd/{first}").readlink())
        except OSError:
            return ""
    return os.fspath(first) if isinstance(first, (str, os.PathLike)) else ""


@pytest.fixture
def faults() -> type[Faults]:
    """What makes a disk fail."""
    return Faults
