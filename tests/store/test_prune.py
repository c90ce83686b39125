"""Pruning: what a retention keeps, and what it must never touch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import InvalidRequestError
from gptimage.store import Retention, Store
from gptimage.store.names import IdMaker
from gptimage.store.prune import Row, choose


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Images newest first, of all ages and sizes."""
    seconds = sorted(draw(st.lists(st.integers(0, 10**6))))
    return [
        Row(
            key=IdMaker(lambda age=age: NOW - timedelta(seconds=age))(),  # type: ignore[misc]  # bound now
            bytes=draw(st.integers(0, 1000)),
            inputs=draw(st.integers(0, 1000)),
            pinned=draw(st.booleans()),
        )
        for age in seconds
    ]


@given(rows(), st.integers(0, 50), st.integers(0, 20000), st.integers(0, 10**6))
def test_what_is_kept_is_within_the_limits(
    rows: list[Row], count: int, size: int, seconds: int
) -> None:
    """Unless pins alone cross a limit, what stays fits; pins always stay; the newest go last."""
    age = timedelta(seconds=seconds)
    choice = choose(rows, Retention(max_age=age, max_bytes=size, max_count=count), NOW)
    gone = {row.id for row in choice.remove}
    kept = [row for row in rows if row.id not in gone]
    unpinned = [row for row in rows if not row.pinned]

    assert len(kept) == choice.kept
    assert not any(row.pinned for row in choice.remove)
    assert [row for row in unpinned if row.id in gone] == unpinned[len(unpinned) - len(gone) :]
    if any(not row.pinned for row in kept):
        assert len(kept) <= count
        assert sum(row.bytes + row.inputs for row in kept) <= size


@given(rows())
def test_generous_limits_remove_nothing(rows: list[Row]) -> None:
    """A retention everything fits into keeps everything."""
    assert choose(rows, Retention(max_count=len(rows)), NOW).remove == ()
    assert choose(rows, Retention(max_age=timedelta(days=365)), NOW).remove == ()
    assert choose(rows, Retention(max_bytes=10**9), NOW).remove == ()


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_count": -1},
        {"max_bytes": 1.5},
        {"max_count": True},
        {"max_age": 30},
        {"max_age": timedelta(-1)},
    ],
    ids=str,
)
def test_a_retention_that_cannot_be_meant(limits: Any) -> None:
    """No limit at all, and limits of the wrong kind, are refused before anything goes."""
    with pytest.raises(InvalidRequestError):
        Retention(**limits)


@pytest.fixture
def aged(store: Store, clock: Any, make: Any) -> list[str]:
    """Ten images, one a day, newest first."""
    ids: list[str] = []
    for _ in range(10):
        ids.insert(0, store.save(make.result())[0].id)
        clock.pass_(days=1)
    return ids


def test_by_count_age_and_size(store: Store, aged: list[str]) -> None:
    """Each limit removes the oldest; a dry run says exactly what will go."""
    size = sum(store.get(id).bytes for id in aged[:4])
    for retention, left in [
        (Retention(max_count=8), 8),
        (Retention(max_age=timedelta(days=6)), 6),
        (Retention(max_bytes=size), 4),
        (Retention(max_count=0), 0),
    ]:
        forecast = store.prune(retention, dry_run=True)
        before = list(store.history())
        report = store.prune(retention)

        assert (forecast.dry_run, report.dry_run) == (True, False)
        assert (forecast.removed, forecast.bytes) == (report.removed, report.bytes)
        assert (forecast.kept, report.kept) == (left, left)
        assert [record.id for record in before][left:] == list(report.removed)
        assert [record.id for record in store.history()] == aged[:left]
        assert store.verify(grace=timedelta(0)).clean


def test_a_dry_run_changes_nothing(store: Store, aged: list[str]) -> None:
    """Not a file, not a row."""
    store.prune(Retention(max_count=0), dry_run=True)

    assert [record.id for record in store.history()] == aged
    assert store.verify(grace=timedelta(0)).clean


def test_pins_count_but_stay(store: Store, aged: list[str]) -> None:
    """The oldest image is pinned: it takes one of the places."""
    store.pin(aged[-1])
    store.prune(Retention(max_count=3))

    assert [record.id for record in store.history()] == [aged[0], aged[1], aged[-1]]


def test_originals_and_inputs_count(store: Store, make: Any) -> None:
    """The bound is on what the folder takes, and what is freed is said exactly."""
    photo, original = make.image(), make.image()
    store.save(make.edit(photo))
    record = store.save(
        make.result(
            "x",
            image := make.image(original=original),
            request=make.edit(photo).request,
        )
    )[0]
    everything = store.stats().bytes + store.stats().input_bytes
    newest = image.nbytes + original.nbytes + photo.nbytes

    assert store.prune(Retention(max_bytes=everything)).removed == ()
    assert store.prune(Retention(max_bytes=everything - 1)).inputs == 0
    assert store.prune(Retention(max_bytes=newest)).removed == ()
    assert [each.id for each in store.history()] == [record.id]
    report = store.prune(Retention(max_bytes=newest - 1))
    assert (report.removed, report.bytes, report.inputs) == ((record.id,), newest, 1)


def test_shared_inputs_stay_with_what_stays(store: Store, make: Any) -> None:
    """An input of a pinned edit survives the edits beside it; the forecast knows."""
    photo = make.image()
    pinned = store.save(make.edit(photo))[0]
    store.pin(pinned.id)
    store.save(make.edit(photo))

    assert store.prune(Retention(max_count=0), dry_run=True).inputs == 0
    assert store.prune(Retention(max_count=0)).inputs == 0
    assert store.inputs(pinned.id) == (photo,)


def test_files_of_others_are_never_touched(store: Store, make: Any) -> None:
    """Notes, holiday images and look-alikes in the same folders stay."""
    record = store.save(make.result())[0]
    assert record.path is not None
    assert store.folder is not None
    mine = [
        record.path.with_suffix(".txt"),
        record.path.parent / "holiday.png",
        record.path.parent / "holiday.json",
        store.folder / "notes.md",
        store.folder / "inputs/ab/abc.png",
        record.path.parent / record.path.name.replace("img_2026", "img_2025"),
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"gptimage": 1}')
    report = store.prune(Retention(max_count=0))

    assert report.removed == (record.id,)
    assert not record.path.exists()
    assert [path for path in mine if not path.exists()] == []


def test_a_damaged_sidecar_protects_its_picture(store: Store, make: Any) -> None:
    """Without the proof that it is ours, nothing is removed, and the report says why."""
    record = store.save(make.result())[0]
    assert record.path is not None
    record.path.with_suffix(".json").write_bytes(b"{}")
    report = store.prune(Retention(max_count=0))

    assert report.removed == ()
    assert [id for id, _ in report.skipped] == [record.id]
    assert report.kept == 1
    assert record.path.exists()


def test_inputs_of_a_save_in_progress_stay(store: Store, make: Any) -> None:
    """Another process has kept an input and not yet written its sidecar."""
    from gptimage.store.sidecar import key_of

    image = make.image()
    key = key_of(image)
    store._context.index.begin(["images/2026/11/20/being-saved.json"], NOW)
    store._context.blobs.touch_or_create(key, image.data)
    store.save(make.result())
    store.prune(Retention(max_count=0))
    assert store._context.blobs.stat(key) is not None

    store._context.index.clear_journal(["images/2026/11/20/being-saved.json"])
    assert store.prune(Retention(max_count=0)).inputs == 1
    assert store._context.blobs.stat(key) is None
