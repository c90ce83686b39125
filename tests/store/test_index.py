"""The index may be deleted, damaged or locked at any time: nothing is lost, and it heals."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import StoreError
from gptimage.store import Store, StoreWarning, database, search


NOW = timedelta(0)


@pytest.fixture
def filled(tmp_path: Path, make: Any) -> Iterator[Store]:
    """A store with three images, one tagged and one an edit."""
    with Store(tmp_path / "pictures") as store:
        store.save(make.result("A red fox"), tags=["hero"])
        store.save(make.edit(make.image()))
        store.save(make.result("A lighthouse"))
        yield store


def index(store: Store) -> Path:
    """The index's file."""
    assert store.folder is not None
    return store.folder / "index.sqlite"


def contents(store: Store) -> Any:
    """Everything the index answers."""
    return (
        list(store.history()),
        list(store.search("fox")),
        list(store.history(tag="hero")),
        store.stats(),
    )


def delete(path: Path) -> None:
    """The user throws it away."""
    path.unlink()


def delete_all(path: Path) -> None:
    """The user throws everything away that looks like an index."""
    for each in path.parent.glob("index.sqlite*"):
        each.unlink()


def overwrite(path: Path) -> None:
    """Something else was written over it."""
    delete_all(path)
    path.write_bytes(b"this is no database" * 1000)


def damage(path: Path) -> None:
    """Pages in the middle have gone bad."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(path.stat().st_size - 4096))


def drop_table(path: Path) -> None:
    """Somebody changed its tables."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE sidecars")
    connection.close()


def other_database(path: Path) -> None:
    """It is a database, but not this one."""
    delete_all(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE pictures (x)")
    connection.close()


HARM = [delete, delete_all, overwrite, damage, drop_table]


def test_a_database_of_others_is_left_alone(tmp_path: Path) -> None:
    """An index is never built in, or over, a database of another program."""
    other_database(tmp_path / "index.sqlite")
    before = (tmp_path / "index.sqlite").read_bytes()

    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path)

    assert (tmp_path / "index.sqlite").read_bytes() == before


def test_a_damaged_file_is_put_aside(filled: Store) -> None:
    """What took the index's name is not deleted: perhaps somebody needs it."""
    overwrite(index(filled))
    with pytest.warns(StoreWarning, match="damaged"):
        filled.history()

    aside = index(filled).with_name("index.sqlite.damaged")
    assert aside.read_bytes().startswith(b"this is no database")
    assert filled.verify(grace=NOW).problems == ()


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_index_heals_in_use(filled: Store, harm: Any) -> None:
    """An open store notices, warns once, and answers as before."""
    before = contents(filled)
    harm(index(filled))

    with pytest.warns(StoreWarning, match="rebuilt from 3 sidecars") as caught:
        after = contents(filled)

    assert after == before
    assert len(caught) == 1
    assert filled.verify(grace=NOW).clean


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_index_heals_when_opened(filled: Store, harm: Any) -> None:
    """A new process finds everything, too."""
    before = contents(filled)
    filled.close()
    harm(index(filled))

    with pytest.warns(StoreWarning, match="rebuilt"), Store(filled.location) as again:
        assert contents(again) == before


@pytest.mark.parametrize("harm", HARM)
def test_saving_does_not_need_a_healthy_index(filled: Store, harm: Any, make: Any) -> None:
    """An image is saved while the index is being harmed, and is found afterwards."""
    harm(index(filled))
    sentences: list[str] = []
    record = filled.save(make.result("A red fox"), warn=sentences.append)[0]

    with pytest.warns(StoreWarning, match="rebuilt"):
        assert filled.history()[0] == record
    assert len(filled.history()) == 4


def test_a_new_store_does_not_warn(tmp_path: Path) -> None:
    """There is nothing to rebuild in an empty folder, and warnings are errors here."""
    with Store(tmp_path) as store:
        assert list(store.history()) == []


def test_a_locked_index_is_a_warning_on_save(
    filled: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is saved; the index catches up as soon as it can, by itself."""
    monkeypatch.setattr(filled._context.index.database._file, "busy_seconds", 0.05)
    filled.close()
    blocker = sqlite3.connect(index(filled), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    with pytest.warns(StoreWarning, match="saved, but not noted in the index"):
        record = filled.save(make.result("late"))[0]
    sentences: list[str] = []
    second = filled.save(make.result("later"), warn=sentences.append)[0]
    assert "locked" in sentences[0]
    assert record.path is not None
    assert record.path.exists()
    with pytest.raises(StoreError, match="locked"):
        filled.tag(record.id, "x")

    blocker.execute("ROLLBACK")
    blocker.close()
    assert list(filled.history(2)) == [second, record]
    assert not index(filled).with_name(".index.sqlite.behind").exists()
    assert filled.verify(grace=NOW).clean


def test_another_process_catches_up_as_well(
    filled: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image whose row was never written is found by whoever opens the store next."""
    monkeypatch.setattr(filled._context.index.database._file, "busy_seconds", 0.05)
    filled.close()
    blocker = sqlite3.connect(index(filled), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    record = filled.save(make.result("late"), warn=[].append)[0]
    filled.close()
    blocker.execute("ROLLBACK")
    blocker.close()

    with Store(filled.location) as again:
        assert again.history()[0] == record


def test_a_save_that_was_killed_before_its_row_is_found(filled: Store, make: Any) -> None:
    """The journal remembers what was begun, so no listing is needed to find it."""

    def killed(entries: Any) -> None:
        """The process ends before this does anything."""

    filled._context.index.add = killed  # type: ignore[method-assign]  # as if killed here
    record = filled.save(make.result("killed"))[0]
    filled.close()

    with Store(filled.location) as again:
        assert again.history()[0] == record
        assert again._context.index.journal() == []


@pytest.mark.parametrize("steps", range(4))
def test_a_removal_that_was_killed_is_finished(filled: Store, steps: int) -> None:
    """Whoever opens the store next removes what is left, wherever the crash came."""
    victim = filled.history()[1]
    blobs = filled._context.blobs
    delete, left = blobs.delete, [steps]

    def delete_until_killed(key: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        delete(key)

    blobs.delete = delete_until_killed  # type: ignore[method-assign]  # as if killed here
    with suppress(KeyboardInterrupt):
        filled.delete(victim.id)
    assert victim.id not in [record.id for record in filled.history()]
    filled.close()

    with Store(filled.location) as again:
        assert len(again.history()) == 2
        assert again._context.index.journal() == []
        assert {problem.kind for problem in again.verify(grace=NOW).problems} <= {"unused input"}


def test_reindex_brings_back_what_was_changed_by_hand(filled: Store) -> None:
    """Whatever was done to rows, the sidecars are the truth."""
    before = contents(filled)
    connection = sqlite3.connect(index(filled))
    connection.execute("UPDATE images SET format = 'x', pinned = 1, etag = etag || 'x'")
    connection.execute("DELETE FROM tags")
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
    connection.commit()
    connection.close()

    assert contents(filled) != before
    assert filled.reindex() == 3
    assert contents(filled) == before


def test_a_reindex_that_was_killed_is_done_again(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an index does not pass for a whole one."""
    before = contents(filled)
    rows = filled._context.index
    rows.database.write(lambda c: c.execute("DELETE FROM images"))

    def killed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rows, "rebuild_words", killed)
    with pytest.raises(KeyboardInterrupt):
        filled.reindex()
    filled.close()

    with pytest.warns(StoreWarning, match="rebuilt"), Store(filled.location) as again:
        assert contents(again) == before


def test_an_index_deleted_while_it_is_built_is_built_again(filled: Store) -> None:
    """Nobody is shown the half that was built before."""
    before = contents(filled)
    rows = filled._context.index
    real, left = rows.rebuild_words, [2]

    def delete_it_once() -> None:
        real()
        left[0] -= 1
        if left[0]:
            delete_all(index(filled))

    rows.rebuild_words = delete_it_once  # type: ignore[method-assign]  # at the worst moment
    assert filled.reindex() == 3
    assert left == [0]
    assert contents(filled) == before


@pytest.mark.parametrize("folder", ["favourites", "old.json"])
def test_files_moved_by_hand_are_found_again(filled: Store, folder: str) -> None:
    """An image and its sidecar may be moved together; a copy of them is a double."""
    record = filled.history()[0]
    assert record.path is not None
    assert filled.folder is not None
    place = filled.folder / "images" / folder
    place.mkdir()
    for path in (record.path, record.path.with_suffix(".json")):
        path.rename(place / path.name)
    filled.reindex()

    assert filled.open(record.id).sha256 == record.sha256
    assert filled.get(record.id).path == place / record.path.name
    copy = filled.folder / "images/zcopy"
    copy.mkdir()
    for path in place.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert filled.reindex() == 4
    assert len(filled.history()) == 3
    assert [problem.kind for problem in filled.verify(grace=NOW).problems] == ["double"]


def test_a_row_is_only_replaced_by_who_knows_it(filled: Store) -> None:
    """Of two processes that read different versions of a sidecar, the later one wins."""
    rows = filled._context.index
    record = filled.history()[0]
    key = record.key.replace(".png", ".json")
    found = filled._context.entry(key)
    assert found is not None
    entry, before = found[0], rows.etag(key)

    assert rows.replace([(entry, "an older one")]) == [key]
    assert rows.replace([(entry, None)]) == [key]
    assert not rows.forget_if(key, before="an older one")
    assert rows.replace([(entry, before)]) == []
    assert filled.get(record.id) == record


def test_two_threads_heal_once(filled: Store) -> None:
    """Eight threads that find the index gone build one new one between them."""
    delete_all(index(filled))

    with pytest.warns(StoreWarning) as caught, ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda _: len(filled.history()), range(8)))

    assert sizes == [3] * 8
    assert len(caught) == 1


def test_an_index_of_another_layout_is_built_anew(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is read from the sidecars once, and the old tables leave no room unused."""
    before = contents(filled)
    filled.close()
    monkeypatch.setattr(database, "LAYOUT", "later")
    connection = sqlite3.connect(index(filled), isolation_level=None)
    database.make_tables(connection)
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    connection.close()
    with pytest.warns(StoreWarning, match="of an older version; rebuilt from 3 sidecars"):
        after = contents(filled)

    assert (after, unused) == (before, 0)


def test_earlier_versions_see_an_index_they_may_build_anew(filled: Store) -> None:
    """They find their steps and not their tables: to them, that is damage, which heals."""
    names = filled._context.index.database.read(
        lambda c: {name for (name,) in c.execute("SELECT name FROM migrations")}
    )

    assert names == {*database.EARLIER, database.LAYOUT}


def test_tables_are_made_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be made leaves the index as it was."""
    Store(tmp_path).close()
    monkeypatch.setattr(database, "LAYOUT", "broken")
    monkeypatch.setattr(database, "TABLES", ("CREATE TABLE half (x)", "CREATE nothing"))
    connection = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="nothing"):
        database.make_tables(connection)

    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert ("half" in tables, "images" in tables) == (False, True)


def test_an_index_of_a_newer_version_works(tmp_path: Path, make: Any) -> None:
    """What a newer one adds to this layout is left alone."""
    with Store(tmp_path) as store:
        store._context.index.database.write(
            lambda c: c.execute("INSERT INTO migrations VALUES ('2030 aesthetics', 0)")
        )
        store.close()
        record = store.save(make.result())[0]

        assert list(store.history()) == [record]


def test_the_index_can_be_elsewhere(tmp_path: Path, make: Any) -> None:
    """A folder on a network gets its index on a local disk, and catches up when it is opened."""
    with Store(tmp_path / "net", index=tmp_path / "here/one.sqlite") as one:
        record = one.save(make.result())[0]
        assert not (tmp_path / "net/index.sqlite").exists()
        with Store(tmp_path / "net", index=tmp_path / "here/two.sqlite") as two:
            assert list(two.history()) == [record]


def test_queries_use_their_indexes(filled: Store) -> None:
    """No question of a user sorts or scans the whole table."""
    newest = filled.history()[0].id
    asked: list[str] = []
    database_ = filled._context.index.database

    def spy(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(asked.append)

    database_.read(spy)
    filled.history()
    filled.history(model="gpt-image-2")
    filled.history(tag="hero", operation="edit")
    filled.search("fox")
    filled.find_identical("0" * 64)
    filled.get(newest)
    filled.history(format="webp")
    filled.history(operation="edit")
    database_.read(lambda c: c.set_trace_callback(None))
    plans = [
        row[3]
        for statement in asked
        if statement.startswith("SELECT p.seq")
        for row in database_.read(
            lambda c, s=statement: c.execute(f"EXPLAIN QUERY PLAN {s}").fetchall()
        )
    ]

    assert len(plans) >= 12
    assert [plan for plan in plans if "TEMP B-TREE" in plan] == []
    assert [p for p in plans if p.startswith("SCAN") and "VIRTUAL TABLE" not in p] == ["SCAN p"]


def test_writing_a_row_scans_no_table(filled: Store) -> None:
    """A tag, and each of many rows of a reindex, costs the same in a large store."""
    asked: list[str] = []
    database_ = filled._context.index.database
    filled.reindex(hashes=True)
    newest = filled.history()[0].id

    database_.write(lambda c: c.set_trace_callback(asked.append))
    filled.tag(newest, "other")
    database_.write(lambda c: c.set_trace_callback(None))
    plans = [
        row[3]
        for statement in asked
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
        for row in database_.read(
            lambda c, s=statement: c.execute(f"EXPLAIN QUERY PLAN {s}").fetchall()
        )
    ]

    assert any("hashes" in statement for statement in asked if statement.startswith("UPDATE"))
    assert len(plans) >= 5
    assert [plan for plan in plans if plan.startswith("SCAN")] == []


def test_totals_cost_the_same_for_any_number(tmp_path: Path, make: Any) -> None:
    """`stats` reads a few rows, however many images there are."""
    counts: list[int] = []
    with Store(tmp_path / "store") as store:
        for images in (3, 60):
            store.save(make.result("A fox", *(make.image() for _ in range(images))))
            counts.append(0)

            def step() -> None:
                counts[-1] += 1

            def work(connection: sqlite3.Connection) -> Any:
                connection.set_progress_handler(step, 1)
                try:
                    return search.measure(connection)
                finally:
                    connection.set_progress_handler(None, 0)

            stats = store._context.index.database.read(work)

    assert (stats.images, stats.by_format) == (63, {"png": 63})
    assert counts[0] == counts[1]


def test_totals_that_are_wrong_are_damage(filled: Store) -> None:
    """Checking finds them, and the index is built anew from the sidecars."""
    before = filled.stats()
    database_ = filled._context.index.database
    database_.write(lambda connection: connection.execute("UPDATE totals SET count = count + 7"))
    assert filled.stats().images == before.images + 7

    with pytest.warns(match="was damaged; rebuilt"):
        filled.verify(grace=NOW)

    assert filled.stats() == before


def test_a_sidecar_is_packed_with_its_row(filled: Store) -> None:
    """Its row says most of it again; one whose row has changed since is read from its file."""
    records = filled.history().records
    bodies = [found.body for found in search.each(filled._context.index.database, {})]
    packed = filled._context.index.database.read(
        lambda c: c.execute("SELECT SUM(LENGTH(body)) FROM sidecars").fetchone()[0]
    )
    filled._context.index.database.write(lambda c: c.execute("UPDATE sidecars SET prompt = 'x'"))

    assert packed * 5 < sum(map(len, bodies))
    assert filled.history().records == records


def test_a_copy_noted_by_two_processes_is_one_image(filled: Store) -> None:
    """Both found the id free; the second one's row is refused, and nothing is damaged."""
    record = filled.history()[0]
    key = record.key.replace(".png", ".json")
    found = filled._context.entry(key)
    assert found is not None
    copy = evolve(found[0], record=evolve(record, key=f"images/copy/{record.id}.png"))

    assert filled._context.index.replace([(copy, None)]) == [copy.key]
    assert filled._context.index.key_of(record.id) == key


def test_a_full_disk_is_named(filled: Store) -> None:
    """Deleting the index would not help, so the message does not say so."""

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # it stays at what there is
        connection.execute("CREATE TABLE filler AS SELECT zeroblob(10000000)")

    with pytest.raises(StoreError, match=r"disk of the index .* is full: make room"):
        filled._context.index.database.write(fill)


@pytest.mark.filterwarnings("ignore::gptimage.store.StoreWarning")
def test_what_looks_like_damage_again_and_again_is_an_error(filled: Store) -> None:
    """It is rebuilt a few times and no more: the caller gets an answer, and the store stays."""
    with pytest.raises(StoreError, match="damaged each time"):
        filled._context.index.database.read(
            lambda c: c.execute("SELECT 1 FROM images LIMIT 'x'").fetchall()
        )

    assert len(list(filled.history())) == 3
