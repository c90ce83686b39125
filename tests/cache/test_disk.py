"""The cache on disk: its files, its index, and everything that can go wrong with either."""

from __future__ import annotations

import errno
import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage._internal import locks
from gptimage.cache import Cache, CacheEntry, CacheStats, entry_file
from gptimage.cache.base import FlightResult, LeaseHeld, NewReply
from gptimage.cache.disk import DiskCache
from gptimage.cache.single_flight import single_flight
from gptimage.errors import CacheError
from tests.processes import start_python


KEY = "g1:" + "a" * 64
OTHER = "g1:" + "b" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the cache is; not there yet."""
    return tmp_path / "some" / "cache"


@pytest.fixture
def cache(root: Path) -> DiskCache:
    """A cache on disk."""
    return Cache.disk(root)


def file_of(root: Path) -> Path:
    """The one file that holds a reply."""
    (path,) = root.glob("*/*.body")
    return path


def ask(cache: DiskCache, key: str = KEY, **options: bool) -> FlightResult:
    """A call through the cache."""
    return single_flight(
        cache, key, lambda: NewReply(body=b"fresh", usd=Decimal("0.04")), **options
    )


def test_touches_nothing_before_it_is_used(cache: DiskCache, root: Path) -> None:
    """Making a cache, looking into it and clearing it create no folder."""
    assert cache.get(KEY) is None
    assert cache.stats() == CacheStats()
    assert cache.clear() == 0
    cache.delete(KEY)

    assert not root.parent.exists()


def test_one_file_for_each_reply(cache: DiskCache, root: Path) -> None:
    """A reply lies in a folder named by the end of its key, head first, and nothing else does."""
    cache.put(KEY, CacheEntry(body=b"the body", usd=Decimal("0.5")))
    path = file_of(root)
    data = path.read_bytes()

    assert path.relative_to(root) == Path("aa", f"g1-{'a' * 64}.body")
    assert data.endswith(b"\nthe body")
    assert json.loads(data[len("gptimage-cache 1 ") : 512])["usd"] == "0.5"
    assert list((root / "tmp").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_only_the_owner_may_read(cache: DiskCache, root: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        ask(cache)
    finally:
        os.umask(before)
    paths = [root, *root.rglob("*")]
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}

    assert {rights[path] for path in paths if path.is_dir()} == {0o700}
    assert {rights[path] for path in paths if path.is_file()} == {0o600}


def test_another_object_finds_it(cache: DiskCache, root: Path) -> None:
    """What one process kept, the next one finds, with its counts."""
    cache.put(KEY, CacheEntry(body=b"x"))
    cache.record_use(KEY, hits=2)
    cache.close()
    found = Cache.disk(root).stats()

    assert (found.entries, found.bytes, found.hits) == (1, 1, 2)


DAMAGE = {
    "a changed body": lambda data: data[:-1] + b"?",
    "a body cut short": lambda data: data[:-1],
    "a body with more behind it": lambda data: data + b"!",
    "a changed head": lambda data: data.replace(b"sha256", b"sha255", 1),
    "a head cut short": lambda data: data[:100],
    "another key": lambda data: data.replace(b"a" * 64, b"b" * 64, 1),
    "nothing": lambda _: b"",
    "zeros after a power cut": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_a_miss(cache: DiskCache, root: Path, damage: str) -> None:
    """It is removed, asked for again, and never handed out."""
    cache.put(KEY, CacheEntry(body=b"the body"))
    path = file_of(root)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))

    assert cache.get(KEY) is None
    assert not path.exists()
    assert cache.stats().entries == 0
    shared = ask(cache)
    assert (shared.cached, shared.warnings) == (False, ())
    assert ask(cache).cached


@given(data=st.binary(max_size=600), prefix=st.booleans())
def test_no_file_makes_reading_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, prefix: bool
) -> None:
    """Any bytes are either a reply or damaged."""
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes((b"gptimage-cache 1 " if prefix else b"") + data)

    with pytest.raises(entry_file.DamagedError):
        entry_file.read(path, KEY)


@given(text=st.from_regex(r"\{.*\}", fullmatch=True) | st.just('{"key": 1, "bytes": 1e999}'))
def test_no_head_makes_reading_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """JSON of any shape in the head is damage, not a crash."""
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes((b"gptimage-cache 1 " + text.encode()).ljust(511)[:511] + b"\n")

    with pytest.raises(entry_file.DamagedError):
        entry_file.read(path, KEY)


@pytest.mark.parametrize("key", ["", "../../x", "a/b/c/d", "g1:A", "x" * 129, "g1:é", "..x", "a"])
def test_no_key_leaves_the_folder(cache: DiskCache, root: Path, key: str) -> None:
    """A key that could name a file elsewhere is refused, and a call goes on without the cache."""
    for use in (cache.get, cache.delete, lambda key: cache.lease(key, "t")):
        with pytest.raises(CacheError, match="a cache key is"):
            use(key)
    shared = ask(cache, key)

    assert (bytes(shared.body), shared.cached) == (b"fresh", False)
    assert "a cache key is" in shared.warnings[0]
    assert list(root.rglob("*.body")) == []


def test_keys_that_look_alike_as_files_are_told_apart(cache: DiskCache) -> None:
    """The head has the true key, so one file never answers for another key."""
    cache.put("g1:same", CacheEntry(body=b"first"))

    assert cache.get("g1-same") is None


@pytest.mark.parametrize("pattern", ["index.sqlite", "index.sqlite*"])
def test_the_index_can_be_deleted(cache: DiskCache, root: Path, pattern: str) -> None:
    """Entries are found again from the files, also by objects that have the old index open."""
    cache.put(KEY, CacheEntry(body=b"12345"))
    cache.put(OTHER, CacheEntry(body=b"1"))
    cache.record_use(KEY, hits=7)
    for path in root.glob(pattern):
        path.unlink()
    other = Cache.disk(root)

    assert (other.stats().entries, other.stats().bytes, other.stats().hits) == (2, 6, 0)
    assert ask(cache).cached
    assert ask(other).cached
    assert cache.stats() == other.stats()
    assert cache.stats().hits == 2


def test_a_found_again_cache_evicts_the_oldest_first(cache: DiskCache, root: Path) -> None:
    """Without an index the order of keeping stands for the order of use."""
    cache.put(OTHER, CacheEntry(body=b"x" * 10, created=2.0))
    cache.put(KEY, CacheEntry(body=b"x" * 10, created=1.0))
    cache.close()
    (root / "index.sqlite").unlink()
    small = Cache.disk(root, max_bytes=25)
    small.put("g1:" + "c" * 64, CacheEntry(body=b"x" * 10))

    assert small.get(KEY) is None
    assert small.get(OTHER) is not None


@pytest.mark.parametrize("junk", [b"this is no database at all " * 40, b"", b"\0" * 4096])
def test_a_damaged_index_is_made_anew(cache: DiskCache, root: Path, junk: bytes) -> None:
    """Nobody is told to repair anything."""
    cache.put(KEY, CacheEntry(body=b"12345"))
    cache.close()
    (root / "index.sqlite").write_bytes(junk)
    shared = ask(cache)

    assert (shared.cached, shared.warnings) == (True, ())
    assert (cache.stats().entries, cache.stats().bytes) == (1, 5)


def test_an_index_damaged_in_the_middle_is_made_anew(root: Path) -> None:
    """Damage that shows only when a page is read heals as well."""
    cache = Cache.disk(root)
    for number in range(300):
        cache.put(f"g1:{number:064x}", CacheEntry(body=b"x"))
    cache.close()
    path = root / "index.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    path.write_bytes(data)
    again = Cache.disk(root)
    key = f"g1:{7:064x}"

    assert ask(again, key).warnings == ()
    assert again.stats().entries == 300


def test_many_processes_may_open_a_new_cache_at_once(root: Path) -> None:
    """Making the index is not a race."""
    code = (
        "import sys; from gptimage.cache import *; cache = Cache.disk(sys.argv[1]);"
        "key = 'g1:' + sys.argv[2] * 8; sys.stdin.readline();"
        "cache.put(key, CacheEntry(body=b'x')); cache.record_use(key, hits=1)"
    )
    processes = [
        start_python(["-W", "error", "-c", code, root, str(number)], stdin=subprocess.PIPE)
        for number in range(6)
    ]
    time.sleep(1)
    for process in processes:
        process.communicate(b"go\n")

    assert [process.returncode for process in processes] == [0] * 6
    assert (Cache.disk(root).stats().entries, Cache.disk(root).stats().hits) == (6, 6)


def test_a_locked_index_is_a_warning(
    cache: DiskCache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that sits on the index costs others a moment, and no image."""
    monkeypatch.setattr(cache._index, "busy_seconds", 0.05)
    ask(cache)
    cache.close()
    with sqlite3.connect(root / "index.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        hit, miss = ask(cache), ask(cache, OTHER)
    other.close()

    assert (hit.cached, bytes(hit.body)) == (True, b"fresh")
    assert (miss.cached, bytes(miss.body)) == (False, b"fresh")
    for shared in (hit, miss):
        assert "locked" in shared.warnings[0]
        assert str(root) in shared.warnings[0]
        assert "went on without it" in shared.warnings[0]
    assert ask(cache, OTHER, refresh=True).warnings == ()


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_a_folder_without_rights_is_a_warning(tmp_path: Path) -> None:
    """A folder that belongs to somebody else costs a warning, even where root runs the tests."""
    code = """
import os, pathlib, sqlite3, sys
from gptimage.cache import *
from gptimage.errors import CacheError
from gptimage.cache.single_flight import *

pathlib.Path(sys.argv[1]).chmod(0o500)
user = os.geteuid()
if user == 0:
    os.seteuid(65534)
cache = Cache.disk(pathlib.Path(sys.argv[1], "cache"))
found = single_flight(cache, "g1:key", lambda: NewReply(body=b"fresh"))
assert found.body == b"fresh"
try:
    cache.clear()
except CacheError as error:
    sys.stdout.write(f"{error} ")
sys.stdout.write(found.warnings[0])
os.seteuid(user)  # `nox -s coverage` writes what it measured at the end
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    tmp_path.chmod(0o700)

    assert found.stderr == ""
    assert "Permission denied" in found.stdout


def test_a_file_in_the_way_is_a_warning(tmp_path: Path) -> None:
    """A path that cannot be a folder costs a warning, and direct use says what is wrong."""
    (tmp_path / "cache").write_text("not a folder")
    cache = Cache.disk(tmp_path / "cache")
    shared = ask(cache)

    assert (bytes(shared.body), shared.cached) == (b"fresh", False)
    assert len(shared.warnings) >= 1
    with pytest.raises(CacheError, match=r"the cache in .* cannot be"):
        cache.stats()


def test_a_full_disk_is_a_warning(
    cache: DiskCache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply reaches its caller; no half file is left, and the old reply still stands."""
    ask(cache)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) == len(b"a longer reply"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    shared = single_flight(cache, KEY, lambda: NewReply(body=b"a longer reply"), refresh=True)
    monkeypatch.undo()

    assert (bytes(shared.body), shared.cached) == (b"a longer reply", False)
    (warning,) = shared.warnings
    assert warning.startswith(f"the cache in {root} cannot be written: No space left on device;")
    assert list((root / "tmp").iterdir()) == []
    assert bytes(ask(cache).body) == b"fresh"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_file_system_that_ends_is_a_warning(root: Path) -> None:
    """A real limit of the system, met in the middle of a file, loses no image."""
    code = (
        "import resource, sys; from gptimage.cache import *;"
        "from gptimage.cache.single_flight import *;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "found = single_flight(Cache.disk(sys.argv[1]), 'g1:key',"
        "lambda: NewReply(body=b'x' * 400_000));"
        "sys.stdout.write(f'{len(found.body)} {found.warnings}')"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(root)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert found.startswith("400000 ('the cache in ")
    assert "File too large" in found
    assert [path for path in root.rglob("*") if path.suffix in {".body", ".tmp"}] == []


def test_a_process_killed_between_row_and_file_leaves_no_harm(cache: DiskCache, root: Path) -> None:
    """A row without a file is a miss, and goes when it is used or evicted."""
    cache.put(KEY, CacheEntry(body=b"x" * 10))
    file_of(root).unlink()

    assert cache.get(KEY) is None
    small = Cache.disk(root, max_bytes=15)
    small.put(OTHER, CacheEntry(body=b"x" * 10))
    assert (small.stats().entries, small.stats().bytes) == (1, 10)


def test_a_process_killed_while_keeping_leaves_no_uncounted_file(
    cache: DiskCache, root: Path
) -> None:
    """Even killed between the rename and the commit, the file is known and can be evicted."""
    code = """
import os, sys
from gptimage.cache import CacheEntry
from gptimage.cache.disk import DiskCache

def killed(self, connection, *, real=DiskCache._publish, **rest):
    real(self, connection, **rest)
    os._exit(9)

DiskCache._publish = killed
DiskCache(sys.argv[1]).put(sys.argv[2], CacheEntry(body=b"x" * 10))
"""
    killed = subprocess.run([sys.executable, "-c", code, str(root), KEY], check=False)
    assert (killed.returncode, file_of(root).is_file()) == (9, True)

    assert (cache.stats().entries, cache.stats().bytes) == (1, 10)
    Cache.disk(root, max_bytes=15).put(OTHER, CacheEntry(body=b"x" * 10))
    assert cache.get(KEY) is None


def test_clearing_sweeps_up_after_dead_processes(cache: DiskCache, root: Path) -> None:
    """Old temporary files and locks nobody holds go; young ones and foreign files stay."""
    lease = cache.lease(OTHER, "held")
    assert not isinstance(lease, LeaseHeld)
    ask(cache)
    old, young = root / "tmp" / "old.tmp", root / "tmp" / "young.tmp"
    lock, foreign = root / "leases" / "dead.lock", root / "aa" / "holiday.jpg"
    for path in (old, young, lock, foreign):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))

    assert cache.clear() == 1
    assert [path.exists() for path in (old, young, lock, foreign)] == [False, True, False, True]
    assert isinstance(cache.lease(OTHER, "another"), LeaseHeld)
    lease.release("over")


def test_a_lock_left_by_a_dead_process_is_free(cache: DiskCache, root: Path) -> None:
    """The kernel holds locks, not the file."""
    (root / "leases").mkdir(parents=True)
    (root / "leases" / f"g1-{'a' * 64}.lock").write_text("the dead one's token")

    assert not isinstance(cache.lease(KEY, "mine"), LeaseHeld)


def test_a_lock_released_while_we_take_it_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locking a file that was removed meanwhile wins nothing: somebody has the new one."""
    path = tmp_path / "some.lock"
    first = locks.take(path, "first")
    real = locks._lock
    taken: list[locks.FileLock | str] = []

    def slow(descriptor: int) -> bool:
        monkeypatch.setattr(locks, "_lock", real)
        assert isinstance(first, locks.FileLock)
        first.release()
        taken.append(locks.take(path, "second"))
        return real(descriptor)

    monkeypatch.setattr(locks, "_lock", slow)

    assert locks.take(path, "third") == "second"
    assert isinstance(taken[0], locks.FileLock)
    taken[0].release()


def test_leases_are_won_one_after_the_other(cache: DiskCache, root: Path) -> None:
    """Threads that take, hold and release the same lease in a hurry never hold it together."""
    held, most, turns = 0, 0, 0
    guard = threading.Lock()
    own = [cache, *(Cache.disk(root) for _ in range(3))]

    def work(each: DiskCache) -> None:
        nonlocal held, most, turns
        while turns < 100:
            lease = each.lease(KEY, f"{threading.get_ident()}")
            if isinstance(lease, LeaseHeld):
                continue
            with guard:
                held += 1
                most, turns = max(most, held), turns + 1
            with guard:
                held -= 1
            lease.release("over")

    threads = [threading.Thread(target=work, args=(each,)) for each in own]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
    assert list((root / "leases").iterdir()) == []


def test_outcomes_are_forgotten(cache: DiskCache, root: Path) -> None:
    """An outcome can be read for a minute, and is then swept up by the next."""
    for token in ("first", "second"):
        lease = cache.lease(KEY, token)
        assert not isinstance(lease, LeaseHeld)
        lease.release(f"{token} is over")
        with sqlite3.connect(root / "index.sqlite") as database:
            database.execute("UPDATE outcomes SET expires = expires - 61 WHERE token = 'first'")
        database.close()

    assert (cache.lease_outcome("first"), cache.lease_outcome("second")) == (None, "second is over")
    with sqlite3.connect(root / "index.sqlite") as database:
        assert database.execute("SELECT token FROM outcomes").fetchall() == [("second",)]
    database.close()


def test_time_to_live_and_bound_hold_for_what_others_kept(root: Path) -> None:
    """Several objects with different limits may share a folder."""
    long, short = Cache.disk(root, ttl=timedelta(hours=1)), Cache.disk(root, max_bytes=10)
    long.put(KEY, CacheEntry(body=b"x" * 20))
    short.put(OTHER, CacheEntry(body=b"x" * 5))

    assert long.get(KEY) is None
    assert long.stats().evictions == 1
