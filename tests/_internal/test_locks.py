"""Locks between processes: who holds one, and what a forked child keeps of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gptimage._internal.locks import FileLock, claim, disclaim, locked, take


can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@contextmanager
def child() -> Iterator[None]:
    """A forked copy of this process that lives while the block runs."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.write(writing, b"x")  # it runs, and so has let go of what it inherited
        signal.pause()
        os._exit(0)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    try:
        yield
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def free(path: Path) -> bool:
    """Whether the file can be locked now."""
    with path.open("a+b") as file:
        try:
            claim(file)
        except OSError:
            return False
    return True


def test_the_owner_s_token(tmp_path: Path) -> None:
    """Who cannot have it learns the token of the one that has, and it is free afterwards."""
    first = take(tmp_path / "some.lock", "first")
    assert isinstance(first, FileLock)

    assert take(tmp_path / "some.lock", "second") == "first"
    first.release()
    first.release()
    assert list(tmp_path.iterdir()) == []


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    """Only one thread at a time is inside the block."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with locked(tmp_path / "some.lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert most == 1


@can_fork
@pytest.mark.parametrize("kind", ["locked", "taken", "claimed"])
def test_a_child_that_lives_on_keeps_no_lock(tmp_path: Path, kind: str) -> None:
    """A child forked while a lock is held keeps it neither from the next holder nor for itself."""
    path = tmp_path / "some.lock"
    if kind == "locked":
        with locked(path):
            fork = child()
            fork.__enter__()
    elif kind == "claimed":
        with path.open("ab") as file:
            claim(file)
            fork = child()
            fork.__enter__()
            disclaim(file)
    else:
        lock = take(path, "mine")
        assert isinstance(lock, FileLock)
        fork = child()
        fork.__enter__()
        lock.release()
    try:
        assert free(path)
    finally:
        fork.__exit__(None, None, None)


@can_fork
def test_a_forked_child_writes_nothing_into_a_locked_file(tmp_path: Path) -> None:
    """What it still does with its copy of a run does not reach the parent's file."""
    with (tmp_path / "some.jsonl").open("ab", buffering=0) as file:
        claim(file)
        process = os.fork()
        if process == 0:
            file.write(b"of the child")
            os._exit(0)
        os.waitpid(process, 0)
        file.write(b"of the parent")
        disclaim(file)

    assert (tmp_path / "some.jsonl").read_bytes() == b"of the parent"


@can_fork
@pytest.mark.parametrize("locking", ["take(path, 'dead')", "claim(file)"])
def test_the_lock_of_a_killed_parent_is_free(tmp_path: Path, locking: str) -> None:
    """The child of a process that died with a lock does not hold it in its place."""
    path = tmp_path / "some.lock"
    # Each tells its own process id: the child once it runs, and so has let go of what it inherited.
    code = (
        "import os, signal, sys, pathlib; from gptimage._internal.locks import claim, take;"
        "path = pathlib.Path(sys.argv[1]); file = path.open('ab');"
        f"lock = {locking}; child = os.fork();"
        "os.write(1, b'parent\\n' if child else b'%d\\n' % os.getpid());"
        "signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as dead:
        assert dead.stdout is not None
        lines = [dead.stdout.readline().strip() for _ in range(2)]
        dead.kill()
        orphan = int(next(line for line in lines if line != "parent"))
        try:
            assert (dead.wait(), free(path)) == (-signal.SIGKILL, True)
        finally:
            os.kill(orphan, signal.SIGKILL)
