"""Verifying names each kind of problem, and repairs without losing anything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage.store import Problem, Record, Store
from gptimage.store.names import SIDECAR
from gptimage.store.sidecar import dump


NOW = timedelta(0)


@pytest.fixture
def record(store: Store, make: Any) -> Record:
    """An edit of a cropped image."""
    request = make.edit(make.image()).request
    return store.save(make.result("x", make.image(original=make.image()), request=request))[0]


def beside(record: Record) -> Path:
    """The sidecar's file."""
    assert record.path is not None
    return record.path.with_suffix(SIDECAR)


def root(store: Store) -> Path:
    """The store's folder."""
    assert store.folder is not None
    return store.folder


def missing(store: Store, record: Record) -> None:
    """Somebody deleted the image."""
    assert record.path is not None
    record.path.unlink()


def changed(store: Store, record: Record) -> None:
    """Somebody edited the image; its length stayed."""
    assert record.path is not None
    data = bytearray(record.path.read_bytes())
    data[-20] ^= 1
    record.path.write_bytes(data)


def longer(store: Store, record: Record) -> None:
    """Somebody appended to the original."""
    assert record.original is not None
    with (root(store) / record.original.key).open("ab") as file:
        file.write(b"x")


def unclaimed(store: Store, record: Record) -> None:
    """The process was killed before it wrote the sidecar."""
    beside(record).unlink()
    store._context.index.forget(record.key.replace(".png", SIDECAR))
    next(root(store).glob("inputs/*/*")).unlink()


def unreadable(store: Store, record: Record) -> None:
    """The sidecar was cut short."""
    beside(record).write_bytes(beside(record).read_bytes()[:50])
    next(root(store).glob("inputs/*/*")).unlink()


def double(store: Store, record: Record) -> None:
    """Somebody copied a day."""
    day = beside(record).parent
    copy = day.with_name("99")
    copy.mkdir()
    for path in day.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())


def unindexed(store: Store, record: Record) -> None:
    """The row was never written."""
    store._context.index.forget(record.key.replace(".png", SIDECAR))


def older(store: Store, record: Record) -> None:
    """Somebody changed a tag by hand."""
    values = json.loads(beside(record).read_bytes())
    beside(record).write_text(json.dumps({**values, "tags": ["by hand"]}))


def stale(store: Store, record: Record) -> None:
    """Somebody deleted everything but the row."""
    for path in [*beside(record).parent.iterdir(), *root(store).glob("inputs/*/*")]:
        path.unlink()


def lost_input(store: Store, record: Record) -> None:
    """Somebody deleted an input."""
    next(root(store).glob("inputs/*/*")).unlink()


def unused_input(store: Store, record: Record) -> None:
    """A save was killed after it had kept its input."""
    store._context.blobs.touch_or_create(f"inputs/00/00{'1' * 62}.png", b"x")


def changed_input(store: Store, record: Record) -> None:
    """An input is not what its name says."""
    next(root(store).glob("inputs/*/*")).write_bytes(b"x")


def temporary(store: Store, record: Record) -> None:
    """A write was killed."""
    (root(store) / ".tmp/abc").write_bytes(b"half")


def half_removed(store: Store, record: Record) -> None:
    """A removal was killed after it had marked the sidecar."""
    beside(record).write_bytes(dump(record, deleted=True))
    store._context.index.forget(record.key.replace(".png", SIDECAR))
    next(root(store).glob("inputs/*/*")).unlink()


def foreign(store: Store, record: Record) -> None:
    """Somebody keeps notes here."""
    (root(store) / "notes.md").touch()
    beside(record).with_suffix(".txt").touch()


CASES: list[tuple[Callable[[Store, Record], None], set[str], set[str]]] = [
    (missing, {"missing"}, {"missing"}),
    (changed, {"changed"}, {"changed"}),
    (longer, {"changed"}, {"changed"}),
    (unclaimed, {"unclaimed"}, set()),
    (unreadable, {"unreadable"}, {"unreadable"}),
    (double, {"double"}, {"double"}),
    (unindexed, {"unindexed"}, set()),
    (older, {"unindexed"}, set()),
    (stale, {"stale"}, set()),
    (lost_input, {"lost input"}, {"lost input"}),
    (unused_input, {"unused input"}, set()),
    (changed_input, {"changed"}, {"changed"}),
    (temporary, {"leftover"}, set()),
    (half_removed, {"leftover"}, set()),
    (foreign, {"foreign"}, {"foreign"}),
]


@pytest.mark.parametrize(("harm", "found", "left"), CASES, ids=[case[0].__name__ for case in CASES])
def test_each_kind_of_problem(
    store: Store,
    record: Record,
    harm: Callable[[Store, Record], None],
    found: set[str],
    left: set[str],
) -> None:
    """It is named, repaired where that loses nothing, and a second look agrees."""
    assert store.verify(grace=NOW).clean
    harm(store, record)

    report = store.verify(grace=NOW)
    assert {problem.kind for problem in report.problems} == found
    assert report.clean == (found == {"foreign"})
    repaired = store.verify(grace=NOW, repair=True)
    assert {problem.kind for problem in repaired.problems} == left
    assert {problem.kind for problem in repaired.repaired} == found - left
    again = store.verify(grace=NOW)
    assert {problem.kind for problem in again.problems} == left


@pytest.mark.parametrize(
    "harm", [unclaimed, unindexed, unused_input, temporary, half_removed, foreign]
)
def test_young_files_are_not_judged(
    store: Store, record: Record, harm: Callable[[Store, Record], None]
) -> None:
    """What somebody may be writing right now is neither a problem nor repaired."""
    harm(store, record)
    before = {path: path.read_bytes() for path in root(store).rglob("*.png")}
    report = store.verify(repair=True)

    assert report.clean
    assert {path: path.read_bytes() for path in root(store).rglob("*.png")} == before


def test_an_adopted_picture_is_whole(store: Store, record: Record) -> None:
    """An image without a sidecar comes back with its original, under its own id."""
    image, original = store.open(record.id), store.open(record.id, original=True)
    unclaimed(store, record)
    store.verify(grace=NOW, repair=True)
    adopted = store.get(record.id)

    assert (adopted.operation, adopted.prompt, adopted.cost) == ("recovered", "", None)
    assert store.open(record.id) == image
    assert store.open(record.id, original=True) == original
    assert adopted.created == record.created
    assert list(store.history(operation="recovered")) == [adopted]


def test_a_sidecar_comes_back_from_the_index(store: Store, record: Record) -> None:
    """Somebody deleted the sidecar: what it said is still known, and nothing is lost."""
    beside(record).unlink()
    report = store.verify(grace=NOW, repair=True)

    assert {problem.kind for problem in report.repaired} == {"unclaimed", "stale"}
    assert store.get(record.id) == record
    assert beside(record).exists()
    assert store.verify(grace=NOW).problems == ()


def test_a_picture_on_record_elsewhere_is_not_adopted(store: Store, make: Any) -> None:
    """After a recovery saved the same bytes again, the orphan goes."""
    image = make.image()
    orphan, again = (store.save(make.result("x", image))[0] for _ in range(2))
    unclaimed_only(store, orphan)
    report = store.verify(grace=NOW, repair=True)

    assert [problem.kind for problem in report.repaired] == ["unclaimed"]
    assert orphan.path is not None
    assert not orphan.path.exists()
    assert store.open(again.id) == image


def test_the_only_copy_is_never_removed(store: Store, make: Any) -> None:
    """A record whose own file is gone does not make an orphan superfluous."""
    image = make.image()
    orphan, other = (store.save(make.result("x", image))[0] for _ in range(2))
    unclaimed_only(store, orphan)
    missing(store, other)
    report = store.verify(grace=NOW, repair=True)

    assert [problem.kind for problem in report.problems] == ["missing"]
    assert store.open(orphan.id) == image


def unclaimed_only(store: Store, record: Record) -> None:
    """The process was killed before it wrote the sidecar."""
    beside(record).unlink()
    store._context.index.forget(record.key.replace(".png", SIDECAR))


def test_an_orphan_that_is_no_picture_is_left(store: Store, record: Record) -> None:
    """A repair never guesses."""
    unclaimed(store, record)
    assert record.path is not None
    record.path.write_bytes(b"no picture")
    report = store.verify(grace=NOW, repair=True)

    assert [problem.key for problem in report.problems] == [record.key]
    assert record.path.exists()


def test_without_hashes_only_lengths_are_compared(store: Store, record: Record) -> None:
    """The quick look misses a change of the same length, and says nothing wrong."""
    changed(store, record)

    assert store.verify(hashes=False, grace=NOW).clean
    assert not store.verify(grace=NOW).clean


def test_a_report_can_be_asked(store: Store, record: Record) -> None:
    """Problems of one kind, with what is known of them."""
    missing(store, record)
    temporary(store, record)
    os.utime(root(store) / ".tmp/abc", (0, 0))
    report = store.verify()

    assert report.of("missing") == (Problem("missing", record.key),)
    assert [problem.key for problem in report.of("leftover")] == [".tmp/abc"]
    assert report.of("foreign") == ()
    assert report.checked == 1
