"""Which replies a cache keeps, against a model that is easy to believe."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gptimage._internal.locks import ForkSafeLock
from gptimage.cache import CacheEntry
from gptimage.cache.disk import DiskCache
from gptimage.cache.memory import MemoryCache


KEYS = st.integers(0, 5).map(lambda number: f"g1:{number:064x}")
TTL = 100.0
LIMIT = 50


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Lru(RuleBasedStateMachine):
    """Puts, uses, deletes and waits, and compares with a list in order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = self.make(ttl=timedelta(seconds=TTL), max_bytes=LIMIT, clock=self.clock)
        self.model: dict[str, tuple[bytes, float, float]] = {}  # in order of use, oldest first
        self.evictions = 0

    def make(self, **options: Any) -> MemoryCache | DiskCache:
        """The cache under test."""
        return MemoryCache(**options)

    def forget_expired(self) -> None:
        """What every look at the model starts with."""
        self.model = {key: kept for key, kept in self.model.items() if kept[1] > self.clock.now}

    @rule(key=KEYS, size=st.integers(0, 60), letter=st.sampled_from(b"abc"))
    def put(self, key: str, size: int, letter: int) -> None:
        """Keep a reply, which may be larger than the cache."""
        body = bytes([letter]) * size
        self.cache.put(key, CacheEntry(body=body))
        self.model.pop(key, None)
        if size > LIMIT:
            return
        self.model[key] = (body, self.clock.now + TTL, self.clock.now)
        if sum(len(kept[0]) for kept in self.model.values()) > LIMIT:
            self.forget_expired()
        while sum(len(kept[0]) for kept in self.model.values()) > LIMIT:
            del self.model[next(iter(self.model))]
            self.evictions += 1

    @rule(key=KEYS)
    def use(self, key: str) -> None:
        """Use a reply, which moves it to the end of the line."""
        self.cache.record_use(key, hits=1)
        if key in self.model:
            self.model[key] = self.model.pop(key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        """Forget a reply."""
        self.cache.delete(key)
        self.model.pop(key, None)

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        """Read a reply, which does not move it."""
        self.forget_expired()
        found = self.cache.get(key)
        expected = self.model.get(key)

        assert (found and found.body) == (expected and expected[0])

    @rule(seconds=st.sampled_from([1.0, 40.0, 99.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @rule(seconds=st.sampled_from([0.5, 41.0, 1000.0]))
    def clear(self, seconds: float) -> None:
        """Forget what was kept longer ago."""
        self.forget_expired()
        old = {key for key, kept in self.model.items() if kept[2] < self.clock.now - seconds}

        assert self.cache.clear(timedelta(seconds=seconds)) == len(old)
        for key in old:
            del self.model[key]

    @rule()
    def reopen(self) -> None:
        """Close it and go on."""
        self.cache.close()

    @invariant()
    def keeps_what_the_model_keeps(self) -> None:
        """Sums and evictions agree, once what has expired is left out."""
        found = self.cache.stats()
        self.forget_expired()

        assert found.entries == len(self.model)
        assert found.bytes == sum(len(kept[0]) for kept in self.model.values())
        assert found.evictions == self.evictions


class DiskLru(Lru):
    """The same on disk, where the index may vanish at any time."""

    def make(self, **options: Any) -> MemoryCache | DiskCache:
        """The cache under test."""
        self.folder = tempfile.TemporaryDirectory()
        return DiskCache(self.folder.name, **options)

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.cache.close()
        self.folder.cleanup()


TestMemory = Lru.TestCase
TestMemory.settings = settings(max_examples=100, stateful_step_count=30)
TestDisk = DiskLru.TestCase
TestDisk.settings = settings(max_examples=15, stateful_step_count=20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_memory_is_copied_by_a_fork() -> None:
    """The child has what the parent had, and what it adds stays its own."""
    cache = MemoryCache()
    cache.put("g1:parent", CacheEntry(body=b"parent"))
    cache.lease("g1:parent", "held by the parent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        good = cache.get("g1:parent") is not None
        good = good and hasattr(cache.lease("g1:parent", "held by the child"), "release")
        cache.put("g1:child", CacheEntry(body=b"child"))
        os._exit(0 if good else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("g1:child") is None


def test_a_folder_of_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tilde is the home folder, and no path is the user's cache folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    assert DiskCache("~/pictures").path == tmp_path / "pictures"
    assert DiskCache().path.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_waits_for_work_in_progress() -> None:
    """A lock held by another thread is not held for ever in the child."""
    lock, held = ForkSafeLock(), threading.Event()

    def work() -> None:
        with lock:
            held.set()
            time.sleep(0.2)

    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if lock._lock.acquire(timeout=60) else 1)
    thread.join()

    assert os.waitpid(child, 0)[1] == 0
