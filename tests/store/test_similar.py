"""Similar images and duplicates: what is found, in which order, and in an index of old."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve
from PIL import Image as Pil

from gptimage import Image, ImageDecodeError, ImageNotFoundError, InvalidRequestError
from gptimage.store import FileBlobs, Record, Store, reader, sidecar
from gptimage.store.similar import pairs


def scene(seed: int, size: int = 96) -> Image:
    """An image of a few large squares of chance."""
    chance = random.Random(seed)
    squares = bytes(chance.randrange(256) for _ in range(36))
    return Image.from_pil(Pil.frombytes("L", (6, 6), squares).resize((size, size)).convert("RGB"))


@pytest.fixture
def save(store: Store, make: Any) -> Callable[..., Record]:
    """Save one image."""
    return lambda image, **options: store.save(make.result("A fox", image), **options)[0]


def test_copies_are_found_nearest_first(store: Store, save: Any) -> None:
    """A path, bytes, an image, a record and an id all name what is looked for."""
    first, small = save(scene(1)), save(scene(1).thumbnail(40).convert("jpeg", 50))
    save(scene(2))

    assert next((each.record, each.distance) for each in store.similar(scene(1))) == (first, 0)
    assert [each.record for each in store.similar(first)] == [small]
    assert [each.record for each in store.similar(small.id)] == [first]
    assert sorted(each.record.id for each in store.similar(scene(1).data)) == [first.id, small.id]
    assert store.similar(scene(3)) == ()


def test_the_distance_bounds_what_is_found(store: Store, save: Any) -> None:
    """Nearest first, at most so many, and nothing further away than that."""
    base = save(scene(1))
    hashes = {
        bits: f"{int(scene(1).perceptual_hash or '', 16) ^ (((1 << bits) - 1) << 64):032x}"
        for bits in (1, 5, 9)
    }
    for bits in (9, 1, 5):
        record = save(scene(10 + bits))
        rewrite(store, record, perceptual_hash=hashes[bits])
    store.reindex()

    assert [each.distance for each in store.similar(base)] == [1, 5, 9]
    assert [each.distance for each in store.similar(base, distance=5)] == [1, 5]
    assert [each.distance for each in store.similar(base, 1)] == [1]


def test_a_copy_with_cut_edges_is_found_and_finds_the_whole(store: Store, save: Any) -> None:
    """One is the other's middle; its distance is that of the nearer two."""
    whole = save(scene(1))
    part = save(Image.from_pil(scene(1).to_pil().crop((8, 8, 88, 88))))
    save(scene(2))

    assert [each.record for each in store.similar(whole)] == [part]
    assert [each.record for each in store.similar(part)] == [whole]
    assert list(store.duplicates()) == []


def rewrite(store: Store, record: Record, **changes: Any) -> None:
    """Write another sidecar, as another version of the library would."""
    assert record.path is not None
    record.path.with_suffix(".json").write_bytes(sidecar.dump(evolve(record, **changes)))


def test_duplicates_come_in_groups(store: Store, save: Any, make: Any) -> None:
    """The newest group first, each oldest first; files without a hash by their bytes."""
    svg = Image.from_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
    drawings = [save(svg), save(svg)]
    pair = [save(scene(1)), save(scene(1).convert("webp", 80))]
    save(scene(2)), save(make.image()), save(make.image())
    exact = [save(scene(5)), save(scene(5)), save(scene(5))]

    assert list(store.duplicates()) == [tuple(exact), tuple(pair), tuple(drawings)]
    assert [each.record for each in store.similar(drawings[0])] == [drawings[1]]


def test_every_pair_within_the_distance_is_found() -> None:
    """Comparing only what shares a part finds what comparing everything finds."""
    chance = random.Random(7)
    numbers = [chance.getrandbits(64) for _ in range(40)]
    numbers += [
        each ^ (1 << chance.randrange(64)) ^ (1 << chance.randrange(64)) for each in numbers
    ]
    numbers += [each ^ 0x8001_0000_0100_0010 for each in numbers[:20]]
    for distance in (0, 1, 2, 4, 7):
        plain = {
            frozenset(pair)
            for pair in combinations(set(numbers), 2)
            if 0 < (pair[0] ^ pair[1]).bit_count() <= distance
        }
        found = {frozenset(pair) for pair in pairs([*set(numbers)], distance)}

        assert found == plain


def test_hashes_are_made_when_they_are_needed(
    store: Store, save: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving makes none; a call makes so many, the newest first, and nobody makes them again."""
    monkeypatch.setattr(reader, "HASHED_AT_ONCE", 2)
    records = [save(scene(seed)) for seed in (1, 2, 2, 1)]
    svg = save(Image.from_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    unhashed = [store.stats().unhashed]
    first = [each.record for each in store.similar(scene(1))]
    unhashed.append(store.stats().unhashed)
    tagged = store.tag(records[3].id, "red")
    groups = list(store.duplicates())
    unhashed.append(store.stats().unhashed)
    found = [each.record for each in store.similar(svg)]
    unhashed.append(store.stats().unhashed)

    assert (unhashed, first, found) == ([5, 3, 1, 0], [records[3]], [])
    assert groups == [(records[1], records[2])]  # the last one's twin is not hashed yet
    assert list(store.duplicates()) == [(records[0], tagged), (records[1], records[2])]
    assert store.verify().clean
    monkeypatch.setattr(store, "open", None)  # nothing is read once more
    assert len(list(store.duplicates())) == 2


def test_hashes_go_into_sidecars_on_request(store: Store, save: Any) -> None:
    """Those of an index are gone with it; one command writes all of them for good."""
    old, svg = save(scene(1)), save(Image.from_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    list(store.duplicates())
    count = store.reindex(hashes=True)

    hashes = [store.get(each.id).perceptual_hash for each in (old, svg)]
    assert (count, store.stats().unhashed, hashes) == (2, 0, [scene(1).perceptual_hash, ""])


def test_a_file_that_is_gone_is_looked_for_once(store: Store, save: Any) -> None:
    """Others are compared all the same, and `verify` names it."""
    gone, kept = save(scene(1)), save(scene(1))
    gone.path.unlink()

    assert [each.record for each in store.similar(scene(1))] == [kept]
    assert [each.record for each in store.similar(gone)] == [kept]  # has the same bytes
    assert store.stats().unhashed == 0


@pytest.mark.parametrize("hash", ["zz", "ABCDEF0123456789" * 2, "0" * 16])
def test_a_hash_nobody_wrote_is_ignored(store: Store, save: Any, hash: str) -> None:
    """A sidecar may have been changed by anybody; the image is not lost over it."""
    record = save(scene(1))
    rewrite(store, record, perceptual_hash=hash)
    store.reindex()

    assert (store.get(record.id).perceptual_hash, store.stats().unhashed) == (None, 1)


def test_an_image_that_cannot_be_hashed_is_saved(store: Store, save: Any) -> None:
    """Half a file was paid for, too: it has no hash, and is read no second time."""
    whole = scene(1)
    record = save(Image.from_bytes(whole.data[: whole.nbytes // 2]))

    assert ([each.record for each in store.similar(record)], store.stats().unhashed) == ([], 0)


def test_wrong_arguments_are_named(store: Store, save: Any) -> None:
    """Nothing is looked for."""
    save(scene(1))
    with pytest.raises(InvalidRequestError, match="0 to 32"):
        store.similar(scene(1), distance=33)
    for distance in (True, 11, -1):
        with pytest.raises(InvalidRequestError, match="0 to 10 bits of 64: further apart"):
            list(store.duplicates(distance=distance))
    with pytest.raises(InvalidRequestError, match="limit 0"):
        store.similar(scene(1), 0)
    with pytest.raises(ImageNotFoundError):
        store.similar("img_20260101T000000000000_" + "0" * 32)
    with pytest.raises(ImageDecodeError):
        store.similar(b"no image")


def test_hashes_follow_their_images(tmp_path: Path, make: Any) -> None:
    """A tag leaves the hash alone, and what is deleted is found no more."""
    store = Store(FileBlobs(tmp_path))
    one, two = store.save(make.result("A fox", scene(1), scene(1)))
    tagged = store.tag(two.id, "red")
    before = [each.record for each in store.similar(one)]
    store.delete(two.id)

    assert (before, store.similar(one), list(store.duplicates())) == ([tagged], (), [])


class Whole:
    """A whole number of another library."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def test_numbers_of_other_libraries_are_numbers(store: Store, save: Any) -> None:
    """SQLite would refuse them, which looked like a damaged index: it was rebuilt without end."""
    first, again = save(scene(1)), save(scene(1))
    one, none = cast("Any", Whole(1)), cast("Any", Whole(0))

    assert [each.record for each in store.similar(first, one, distance=none)] == [again]
    assert list(store.duplicates(distance=none)) == [(first, again)]
