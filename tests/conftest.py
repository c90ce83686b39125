"""What every test has: no key, no settings of this machine, asyncio, and patient Hypothesis.

Those who ask for it have a real Redis: `redis_url` is shared, `own_redis` may be killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings


# A shell that starts the tests in the background has them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines differ in speed; a slow example is not a wrong one.
settings.register_profile("gptimage", deadline=None)
settings.register_profile("brief", deadline=None, max_examples=20)
settings.load_profile("gptimage")


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


class RedisServer:
    """Debian's redis-server on a free port, without any file."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
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
        for _ in range(500):
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
