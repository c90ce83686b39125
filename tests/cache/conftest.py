"""What cache tests share: every kind of cache, and a service that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gptimage.cache import Cache
from gptimage.cache.redis import RedisCache
from tests.cache.single_flight_helpers import Maker, Together, tasks, threads


KINDS = ("memory", "disk", "tiered", "redis")


def makers(request: pytest.FixtureRequest, folder: Path) -> Iterator[Maker]:
    """Makes caches of the kind the fixture asks for, and closes them."""
    made: list[Cache] = []
    place, prefix = folder / "cache", f"{request.node.name}:"

    def build(**limits: Any) -> Cache:
        match request.param:
            case "memory":
                cache: Cache = Cache.memory(**limits)
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
def cache(make: Maker) -> Cache:
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
        self.go = threading.Event()
        self.go.set()
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                number = len(service.asked)
                assert service.go.wait(240)
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
