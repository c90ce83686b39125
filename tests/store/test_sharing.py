"""Several machines on one bucket: each has its own index, and all see the same images."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage import ImageNotFoundError
from gptimage.store import Retention, Store, object_blobs
from gptimage.store.blobs import Blobs


NOW = timedelta(0)
Open = Callable[[], Store]


@pytest.fixture
def machine(opening: Callable[[], Blobs], tmp_path: Path, clock: Any) -> Any:
    """Opens the same store as another machine would."""
    opened: list[Store] = []

    def open_() -> Store:
        opened.append(Store(opening(), index=tmp_path / f"{len(opened)}.sqlite", clock=clock))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def test_a_store_on_any_backend(machine: Open, make: Any) -> None:
    """Everything works without a folder, too."""
    store = machine()
    image = make.image(original=make.image())
    first = store.save(make.result("A red fox", image), tags=["a"])[0]
    edit = store.save(make.edit(image, mask=make.mask()))[0]
    store.tag(first.id, "b")
    store.pin(first.id)

    assert [record.id for record in store.history()] == [edit.id, first.id]
    assert [record.id for record in store.search("fox", tag="b")] == [first.id]
    assert store.open(first.id) == image
    assert store.open(first.id, original=True) == image.original
    assert len(store.inputs(edit.id)) == 2
    assert store.request(edit.id).inputs == (image,)
    assert store.lineage(edit.id).ancestors == (store.get(first.id),)
    assert store.verify(grace=NOW).clean
    store.delete(edit.id)
    assert store.prune(Retention(max_count=0)).removed == ()
    store.unpin(first.id)
    assert store.prune(Retention(max_count=0)).removed == (first.id,)
    assert store.verify(grace=NOW).checked == 0


def test_a_machine_sees_what_others_saved(machine: Open, make: Any) -> None:
    """When it is opened, when it refreshes, and when it is asked for an id."""
    one = machine()
    first = one.save(make.result("first"))[0]
    other = machine()
    assert [record.id for record in other.history()] == [first.id]

    second = one.save(make.result("second"))[0]
    assert [record.id for record in other.history()] == [first.id]
    assert other.refresh() == 1
    assert other.refresh() == 0
    assert [record.id for record in other.history()] == [second.id, first.id]

    third = one.save(make.result("third"))[0]
    assert other.get(third.id).prompt == "third"
    assert len(other.history()) == 3


def test_tags_and_pins_are_seen_and_never_lost(machine: Open, make: Any) -> None:
    """Two machines that change one image both have their way."""
    one, other = machine(), machine()
    id = one.save(make.result())[0].id
    other.refresh()
    one.tag(id, "from one")
    assert other.tag(id, "from other").tags == ("from one", "from other")
    one.refresh()

    assert one.get(id).tags == ("from one", "from other")
    assert [record.id for record in one.history(tag="from other")] == [id]


def test_a_pin_set_elsewhere_protects(machine: Open, make: Any) -> None:
    """The sidecar decides, not the index of the machine that prunes."""
    one, other = machine(), machine()
    id = one.save(make.result())[0].id
    other.refresh()
    other._caught_up = True
    one.pin(id)
    report = other.prune(Retention(max_count=0))

    assert report.removed == ()
    assert one.open(id).format == "png"


def test_what_was_deleted_elsewhere_goes(machine: Open, make: Any) -> None:
    """A row without a sidecar disappears with the next refresh, or when it is touched."""
    one, other = machine(), machine()
    ids = [one.save(make.result())[0].id for _ in range(3)]
    other.refresh()
    one.delete(ids[0])
    with pytest.raises(ImageNotFoundError):
        other.tag(ids[0], "x")
    one.delete(ids[1])
    with pytest.raises(ImageNotFoundError):
        other.open(ids[1])
    other.refresh()

    assert [record.id for record in other.history()] == [ids[2]]


def test_late_and_badly_dated_pictures_are_found(machine: Open, clock: Any, make: Any) -> None:
    """A clock that is hours behind, and an upload that took its time, are within the overlap."""
    one, other = machine(), machine()
    one.save(make.result())
    other.refresh()
    clock.pass_(hours=-20)
    late = one.save(make.result("late"))[0]
    clock.pass_(hours=20)
    assert other.refresh() == 1

    clock.pass_(days=-40)
    very_late = one.save(make.result("very late"))[0]
    clock.pass_(days=40)
    assert other.refresh() == 0
    assert other.get(very_late.id).prompt == "very late"
    assert other.reindex() == 3
    assert [record.id for record in other.history()][1:] == [late.id, very_late.id]


def test_long_absence_misses_nothing(machine: Open, clock: Any, make: Any) -> None:
    """A machine lists from its last listing, not from its own last image."""
    one, other = machine(), machine()
    other.refresh()
    clock.pass_(days=10)
    one.save(make.result("while it was away"))
    clock.pass_(days=10)
    other.save(make.result("its own"))
    other.refresh()

    assert [record.prompt for record in other.history()] == ["its own", "while it was away"]


def test_inputs_of_other_machines_stay(machine: Open, clock: Any, make: Any) -> None:
    """Pruning looks at every sidecar before it removes an input."""
    one, other = machine(), machine()
    photo = make.image()
    mine = other.save(make.edit(photo))[0]
    clock.pass_(days=-40)
    theirs = one.save(make.edit(photo))[0]
    clock.pass_(days=40)
    other.delete(mine.id)

    assert one.inputs(theirs.id) == (photo,)


def test_old_inputs_of_other_machines_stay(tmp_path: Path, clock: Any, make: Any) -> None:
    """Age alone does not make an input superfluous: every sidecar is looked at first."""
    one = Store(tmp_path / "net", index=tmp_path / "one.sqlite", clock=clock)
    other = Store(tmp_path / "net", index=tmp_path / "other.sqlite", clock=clock)
    assert len(other.history()) == 0  # from now on it only lists what is new
    photo, mine_alone = make.image(), make.image()
    mine = other.save(make.edit(photo, mine_alone))[0]
    clock.pass_(days=-40)
    theirs = one.save(make.edit(photo))[0]
    clock.pass_(days=40)
    for path in (tmp_path / "net/inputs").rglob("*.png"):
        os.utime(path, (0, 0))
    other.delete(mine.id)

    assert one.inputs(theirs.id) == (photo,)
    assert [path.stem for path in (tmp_path / "net/inputs").rglob("*.png")] == [photo.sha256]
    for store in (one, other):
        store.close()


def test_an_old_input_in_a_bucket_is_written_again(
    bucket: Callable[[], Blobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object cannot be touched: one that might be cleaned away soon is put once more."""
    blobs, key = bucket(), "inputs/ab/abc.png"
    puts: list[str] = []
    real = blobs._put  # type: ignore[attr-defined]  # a probe
    monkeypatch.setattr(blobs, "_put", lambda *args: (puts.append(args[0]), real(*args))[1])
    blobs.touch_or_create(key, b"x")
    blobs.touch_or_create(key, b"x")
    assert puts == [key]

    monkeypatch.setattr(object_blobs, "_FRESH", NOW)
    blobs.touch_or_create(key, b"x")
    assert puts == [key, key]


def test_an_object_store_has_its_index_in_the_cache_folder(
    memory: Callable[[], Blobs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    """One index per place, where the system keeps what can be built again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    with Store(memory()) as store:
        record = store.save(make.result())[0]
        assert record.path is None
        assert store.folder is None
    names = [path.name for path in (tmp_path / "cache/gptimage").glob("index-*.sqlite")]

    assert len(names) == 1
