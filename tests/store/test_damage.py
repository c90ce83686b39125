"""One flipped bit anywhere: it is found, or it changes no answer; a wrong image is never served."""

from __future__ import annotations

import os
import random
import sqlite3
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome, CallRecord, to_nanos
from gptimage.budget.ledger import Ledger
from gptimage.cache import Cache
from gptimage.cache.base import CacheEntry
from gptimage.errors import ConfigurationError, GptImageError, ImageDecodeError
from gptimage.store import Store


NOW = timedelta(0)
BITS = int(os.environ.get("GPTIMAGE_TEST_BITS", "60"))
"""How many places of each kind of file are tried."""


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """An index that is rebuilt says so in a warning, which is right here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file over."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def bits(path: Path, count: int, seed: int) -> list[int]:
    """Random places of a file, the first hundred bytes among them."""
    size = path.stat().st_size * 8
    chosen = random.Random(seed)
    return [
        chosen.randrange(min(size, 800) if number % 4 == 0 else size) for number in range(count)
    ]


def whole(folder: Path, make: Any) -> Path:
    """A store of some images, closed, with everything in its one index file."""
    with Store(folder) as store:
        for number in range(4):
            store.save(make.result(f"A fox number {number}"), tags=["hero", f"n{number}"])
        store.save(make.edit(make.image()), tags=["edit"])
    fold(folder / "index.sqlite")
    return folder


def fold(path: Path) -> None:
    """Take what is in the write-ahead log into the file itself."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def answers(store: Store) -> object:
    """Everything a store says."""
    records = list(store.history(100))
    images = {record.id: store.open(record.id).data for record in records}
    found = [record.id for record in store.search("fox", 100)]
    tagged = {tag: [each.id for each in store.history(tag=tag)] for tag in ("hero", "n2", "edit")}
    stats = store.stats()
    inputs = [image.data for record in records for image in store.inputs(record.id)]
    return records, images, found, tagged, (stats.images, stats.bytes), inputs


def test_a_bit_of_an_index_never_changes_an_answer_unseen(tmp_path: Path, make: Any) -> None:
    """The index is rebuilt by itself, or verify names the row and repairs it."""
    folder = whole(tmp_path / "store", make)
    index = folder / "index.sqlite"
    sound = index.read_bytes()
    with Store(folder) as store:
        truth = answers(store)
    for bit in bits(index, BITS, seed=1):
        for path in folder.glob("*index.sqlite*"):
            path.unlink()
        index.write_bytes(sound)
        flip(index, bit)
        with Store(folder) as store:
            report = store.verify(grace=NOW, repair=True)
            assert report.clean, bit
            assert answers(store) == truth, (bit, report)


def test_a_bit_of_an_index_never_shows_a_wrong_image(tmp_path: Path, make: Any) -> None:
    """Without any verify: what is opened is what was saved under that id, or an error."""
    folder = whole(tmp_path / "store", make)
    index = folder / "index.sqlite"
    sound = index.read_bytes()
    with Store(folder) as store:
        truth = {record.id: store.open(record.id).data for record in store.history()}
    for bit in bits(index, BITS, seed=2):
        for path in folder.glob("*index.sqlite*"):
            path.unlink()
        index.write_bytes(sound)
        flip(index, bit)
        with Store(folder) as store:
            for id, data in truth.items():
                assert store.open(id).data == data, bit


@pytest.mark.parametrize("kind", ["*.png", "*.json", "inputs/*/*"])
def test_a_bit_of_a_file_is_found(tmp_path: Path, make: Any, kind: str) -> None:
    """Verify names it, and a changed image or input is an error, never an answer."""
    folder = whole(tmp_path / "store", make)
    path = min(folder.rglob(kind))
    sound = path.read_bytes()
    for bit in bits(path, BITS // 2, seed=3):
        flip(path, bit)
        with Store(folder) as store:
            problems = store.verify(grace=NOW).problems
            assert {problem.kind for problem in problems} & {"changed", "unreadable", "unindexed"}
            for record in store.history():
                try:
                    image = store.open(record.id)
                    inputs = store.inputs(record.id)
                except GptImageError:
                    continue
                assert image.sha256 == record.sha256
                assert [each.sha256 for each in inputs] == list(record.sources)
        path.write_bytes(sound)


def test_a_changed_image_is_no_answer(store: Store, make: Any) -> None:
    """Another image under its name is still a readable image, and still not the one."""
    record = store.save(make.result())[0]
    assert record.path is not None
    record.path.write_bytes(make.image().data)

    with pytest.raises(ImageDecodeError, match="not the ones that were saved"):
        store.open(record.id)


def test_a_bit_of_a_cached_reply_is_a_miss(tmp_path: Path) -> None:
    """The body, what it cost, how long it lasts: nothing of it is served changed."""
    body = b'{"data": [{"b64_json": "QUJD"}]}' * 20
    entry = CacheEntry(body=body, usd=Decimal("0.0131"), expires=4e9, created=1.5e9)
    for number, bit in enumerate(bits_of(tmp_path, entry, BITS)):
        cache = Cache.disk(tmp_path / f"cache{number % 7}")
        cache.put("g1:abcdef", entry)
        (path,) = (tmp_path / f"cache{number % 7}").glob("??/*.body")
        flip(path, bit)
        found = cache.get("g1:abcdef")
        cache.close()

        assert found is None or (bytes(found.body), found.usd, found.expires) == (
            body,
            entry.usd,
            entry.expires,
        ), bit


def bits_of(tmp_path: Path, entry: CacheEntry, count: int) -> list[int]:
    """Random places of a cached reply's file."""
    cache = Cache.disk(tmp_path / "measured")
    cache.put("g1:abcdef", entry)
    cache.close()
    (path,) = (tmp_path / "measured").glob("??/*.body")
    return bits(path, count, seed=4)


def test_a_bit_of_a_cache_index_loses_no_reply(tmp_path: Path) -> None:
    """The files know all that matters: the index is built from them again."""
    folder = tmp_path / "cache"
    cache = Cache.disk(folder)
    for number in range(20):
        cache.put(f"g1:abcdef{number:02}", CacheEntry(body=b"%d" % number * 100))
    cache.close()
    fold(folder / "index.sqlite")
    sound = (folder / "index.sqlite").read_bytes()
    for bit in bits(folder / "index.sqlite", BITS, seed=5):
        for path in folder.glob("index.sqlite*"):
            path.unlink()
        (folder / "index.sqlite").write_bytes(sound)
        flip(folder / "index.sqlite", bit)
        cache = Cache.disk(folder)
        cache.put("g1:newone", CacheEntry(body=b"new"))
        cache.record_use("g1:newone", hits=1)
        cache.stats()
        for number in range(20):
            found = cache.get(f"g1:abcdef{number:02}")
            assert found is not None, bit
            assert bytes(found.body) == b"%d" % number * 100
        cache.delete("g1:newone")
        cache.close()


def test_a_bit_of_a_ledger_is_told_and_empties_nothing(tmp_path: Path) -> None:
    """A ledger is found nowhere else: damaged, it is refused by name and left as it is."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    for number in range(20):
        at = datetime(2026, 11, 20, number, tzinfo=UTC)
        entry = CallRecord(call_id=f"c{number}", at=at, operation="generate", model="my-model")
        ledger.begin(entry)
        ledger.end(entry, CallOutcome(billing=Billing.BILLED, cost=Decimal("0.01"), images=1))
    truth = ledger.rows(), ledger.summary()
    ledger.close()
    fold(path)
    sound = path.read_bytes()
    # Letters and amounts, which SQLite itself takes for as good as any other.
    known = (b"generate", b"my-model", to_nanos(Decimal("0.01")).to_bytes(4, "big"))
    places = [place for each in known for place in (sound.index(each), sound.rindex(each))]
    for bit in (*(place * 8 for place in places), *bits(path, BITS, seed=6)):
        for each in tmp_path.glob("ledger.sqlite*"):
            each.unlink()
        path.write_bytes(sound)
        flip(path, bit)
        ledger = Ledger(path)
        with suppress(ConfigurationError):
            assert (ledger.rows(), ledger.summary()) == truth, bit
            assert bit // 8 not in places
        ledger.close()
        assert path.stat().st_size >= len(sound), bit


def test_a_ledger_whose_sums_disagree_is_told(tmp_path: Path) -> None:
    """A number changed where SQLite cannot see it is seen in the sums kept beside it."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    entry = CallRecord(call_id="c", at=datetime(2026, 11, 20, tzinfo=UTC), operation="x", model="m")
    ledger.begin(entry)
    ledger.end(entry, CallOutcome(billing=Billing.BILLED, cost=Decimal("0.01"), images=1))
    ledger.close()
    fold(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE hours SET nanos = nanos + 4096")
    connection.commit()
    connection.close()

    with pytest.raises(ConfigurationError, match="damaged"):
        Ledger(path).summary()
