"""Many processes on one store, some of them killed at the worst moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest

from gptimage import Image, ImageNotFoundError
from gptimage.store import Store
from gptimage.store.names import find_id
from tests.processes import start_python


WORKER = Path(__file__).parent / "workers" / "busy.py"
NOW = timedelta(0)
KILLS = int(os.environ.get("GPTIMAGE_TEST_KILLS", "24"))
"""How many processes are killed; a release is tried with 500."""

KEPT = 30
"""So many images besides the pinned ones survive a pruning."""


def start(folder: Path, promises: Path, rounds: int, prune_to: int) -> subprocess.Popen[bytes]:
    """Start a process that saves, pins and prunes."""
    arguments = [folder, promises, str(rounds), str(prune_to)]
    return start_python(["-W", "error", WORKER, *arguments], stderr=subprocess.PIPE)


class Forker:
    """A process that forks others like itself: starting 500 anew would take the most of the time.

    Args:
        complaints: Where it and the others write what they complain about.
    """

    def __init__(self, complaints: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )

    def start(self, folder: Path, promises: Path) -> int:
        """Fork one that saves, tags and prunes; its number."""
        return self._ask(f"{folder} {promises} 10000 {KEPT}")

    def kill(self, worker: int) -> None:
        """Kill one, and wait until it is gone."""
        os.kill(worker, signal.SIGKILL)
        self._ask(str(worker))

    def close(self) -> None:
        """End."""
        self._process.communicate()

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def promised(promises: Path) -> Iterator[list[str]]:
    """The lines of a process; the last one may have been cut."""
    for line in promises.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield line.split()


def test_eight_processes_write_at_once(tmp_path: Path) -> None:
    """Every image of every process is there once, and found by every question."""
    folder = tmp_path / "pictures"
    notes = [tmp_path / f"{number}.txt" for number in range(8)]
    workers = [start(folder, note, 12, 0) for note in notes]
    for worker in workers:
        _, trouble = worker.communicate(timeout=240)
        assert worker.returncode == 0, trouble.decode()
    saved = {line[1] for note in notes for line in promised(note) if line[0] == "saved"}

    with Store(folder) as store:
        assert {record.id for record in store.history(200)} == saved
        assert len(saved) == 96
        assert len(store.history(200, pinned=True)) == 8 * 3
        assert len(store.search("picture", 200)) == 96
        assert store.verify(grace=NOW).problems == ()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.slow
def test_kill_9_loses_no_promise(tmp_path: Path) -> None:
    """Four processes save, tag, pin and prune, and are killed at random moments.

    Afterwards every acknowledged image that was not pruned is whole, nothing half is
    visible, and the store is clean once what was cut short has been finished.
    """
    folder = tmp_path / "pictures"
    chance = random.Random(KILLS)
    notes: list[Path] = []
    with (tmp_path / "complaints").open("w+b") as complaints:
        forker = Forker(complaints)
        for round_ in range(KILLS // 4):
            mine = [tmp_path / f"{round_}-{number}.txt" for number in range(4)]
            workers = [forker.start(folder, note) for note in mine]
            try:
                wait_for(mine)
                time.sleep(chance.uniform(0, 0.3))
            finally:
                for worker in workers:
                    time.sleep(chance.uniform(0, 0.15))
                    forker.kill(worker)
            notes += mine
        forker.close()
        complaints.seek(0)
        assert complaints.read() == b""

    lines = [line for note in notes for line in promised(note)]
    saved = {line[1]: line[2] for line in lines if line[0] == "saved"}
    pinned = {line[1] for line in lines if line[0] == "pinned"}
    gone = {line[1] for line in lines if line[0] == "may-go"}
    tagged = {line[1] for line in lines if line[0] == "tagged"}
    print(f"{len(notes)} killed: {len(saved)} saved, {len(pinned)} pinned")  # noqa: T201  # figures
    with Store(folder) as store:
        check_promises(store, saved, pinned, gone)
        there = {record.id: record for record in store.history(1000)}
        assert all("seen" in there[id].tags for id in tagged & there.keys())
        check_files(folder)
        report = store.verify(grace=NOW, repair=True)
        assert report.problems == (), report
        assert store.verify(grace=NOW).problems == ()
        check_promises(store, saved, pinned, gone)
        assert store.reindex() == store.verify(grace=NOW).checked


def wait_for(notes: list[Path]) -> None:
    """Until every process is at work."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if all(note.exists() and note.stat().st_size > 500 for note in notes):
            return
        time.sleep(0.01)
    raise AssertionError("the processes did not start")


def check_promises(store: Store, saved: dict[str, str], pinned: set[str], gone: set[str]) -> None:
    """Every acknowledged image is readable, and every acknowledged pin holds."""
    assert len(saved) > 20
    for id, sha256 in saved.items():
        if id in gone and id not in pinned:
            continue
        try:
            assert store.open(id).sha256 == sha256
        except ImageNotFoundError:
            # Pruned by a process that was killed before it could say so: never a pinned one.
            assert id not in pinned
            assert len([other for other in saved if other > id]) > KEPT // 2
        else:
            assert store.get(id).pinned or id not in pinned


def check_files(folder: Path) -> None:
    """Whatever has a name of the store is a whole image or a whole sidecar."""
    for path in folder.glob("images/*/*/*/*"):
        assert find_id(path.name)
        if path.suffix == ".svg":
            data = path.read_bytes()
            assert data.endswith(b"--></svg>")
            assert Image.from_bytes(data).size == (8, 8)
        else:
            assert path.read_bytes().endswith(b"}\n")
