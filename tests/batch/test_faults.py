"""Whatever fails on the disk of a batch: no batch is made twice, and no paid image is lost."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage.batch import Batch
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.batch.helpers import Clock, fox, line, made


pytestmark = pytest.mark.filterwarnings("ignore:the index")  # it is rebuilt after a fault

REQUESTS = [fox(number) for number in range(2)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches for a lost batch take no time."""
    monkeypatch.setattr("gptimage.batch.submit._SEARCH_DELAYS", (0.0, 0.0))


def run(sandbox: Sandbox, folder: Path, clock: Clock) -> set[str]:
    """Submit, or go on, and read the results; return the digests of the images."""
    with Store(folder / "images") as store:
        client = line(sandbox, store=store, clock=clock)
        batch = Batch.submit(client, REQUESTS, state=folder / "state" / "b.json")
        batch.wait(poll=0.0)
        results = [item.result or getattr(item.error, "result", None) for item in batch.results()]
    return {image.sha256 for result in results if result for image in result.images}


@pytest.mark.slow  # a run for every write, fsync, rename and open
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
@pytest.mark.parametrize(
    "broken", [("state",), ("images",), ("state", "images")], ids=["state", "store", "both"]
)
def test_no_fault_makes_a_batch_twice(
    tmp_path: Path, faults: Any, broken: tuple[str, ...], for_good: bool
) -> None:
    """The n-th step on the disk fails; the next run has the one batch and all its images."""
    check(tmp_path, faults, broken, for_good=for_good, every=1)


def test_a_fault_makes_no_batch_twice(tmp_path: Path, faults: Any) -> None:
    """A few of the same, in every run of the tests."""
    check(tmp_path, faults, ("state",), for_good=True, every=5)


def check(
    tmp_path: Path, faults: Any, broken: tuple[str, ...], *, for_good: bool, every: int
) -> None:
    """Fail at one step after the other, and look at what is left each time."""
    step, twice, lost = 0, list[int](), list[int]()
    while True:
        folder, sandbox, clock = tmp_path / f"{step}", Sandbox(), Clock()
        folder.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("XDG_STATE_HOME", str(folder / "home"))
            disk = faults(*(folder / name for name in broken), at=step, for_good=for_good)
            with pytest.MonkeyPatch.context() as inner:
                disk.install(inner)
                with suppress(Exception):
                    run(sandbox, folder, clock)
            clock.now += timedelta(hours=1)  # until then a batch that was not made is in doubt
            found = run(sandbox, folder, clock)
            twice += [step] * (len(made(sandbox)) != 1)
            with Store(folder / "images") as store:
                saved = [record.sha256 for record in store.history(100)]
            lost += [step] * (len(found) != 2 or sorted(saved) != sorted(found))
        if not disk.happened:
            break
        step += every
        assert step < 500

    disk.report("batch " + "+".join(broken), -(-step // every), lost=lost, twice=twice)
    assert (twice, lost) == ([], [])
    assert step > every
