"""What cache tests share: every kind of cache, a real Redis, and a service that counts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gptimage.cache import Cache, CachePort
from gptimage.cache.redis import RedisCache

from .flying import Maker, Together, tasks, threads


KINDS = ("memory", "disk", "tiered", "redis")


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
        say = pytest.fail if os.environ.get("GPTIMAGE_REQUIRE_REDIS") else pytest.skip
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


def makers(request: pytest.FixtureRequest, folder: Path) -> Iterator[Maker]:
    """Makes caches of the kind the fixture asks for, and closes them."""
    made: list[CachePort] = []
    place, prefix = folder / "cache", f"{request.node.name}:"

    def build(**limits: Any) -> CachePort:
        match request.param:
            case "memory":
                cache: CachePort = Cache.memory(**limits)
            case "disk":
                cache = Cache.disk(place, **limits)
            case "tiered":
                cache = Cache.tiered(Cache.memory(**limits), Cache.disk(place, **limits))
            case _:
                url = request.getfixturevalue("redis_url")
                patient = timedelta(seconds=10)  # the machine may be busy with other things
                cache = RedisCache(url, prefix=prefix, timeout=patient, **limits)
        made.append(cache)
        return cache

    yield build
    for cache in made:
        cache.close()


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    """Makes caches of each kind; those made in one test share what that kind can share."""
    yield from makers(request, tmp_path)


@pytest.fixture(params=["disk", "redis"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    """Makes caches of each kind that processes share; two of them are like two processes."""
    yield from makers(request, tmp_path)


@pytest.fixture
def cache(make: Maker) -> CachePort:
    """One cache of each kind."""
    return make()


@pytest.fixture(params=[threads, tasks])
def together(request: pytest.FixtureRequest) -> Together:
    """Ways to ask the same at the same time."""
    found: Together = request.param
    return found


class Service:
    """A service over HTTP that takes its time and counts what it is asked."""

    def __init__(self) -> None:
        service = self
        self.delay = 0.0
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                number = len(service.asked)
                time.sleep(service.delay)
                body = f"reply {number} to {self.path}".encode()
                with suppress(ConnectionError):
                    self.send_response(200)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    """A counting service."""
    service = Service()
    yield service
    service.server.shutdown()
    service.server.server_close()
