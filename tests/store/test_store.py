"""What a store does for its users: save, list, search, open, tag, pin, relate, delete, export."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import (
    ConfigurationError,
    Generate,
    Image,
    ImageDecodeError,
    ImageNotFoundError,
    InvalidRequestError,
    Result,
    StoreError,
)
from gptimage.store import FileBlobs, Page, Retention, Store


NOW = timedelta(0)


def ids_of(page: Any) -> list[str]:
    """The ids of some records, in order."""
    return [record.id for record in page]


def test_a_saved_picture_is_there_byte_for_byte(store: Store, make: Any) -> None:
    """The bytes are those of the reply, in a dated folder, with a sidecar beside them."""
    image = make.image()
    record = store.save(make.result("A fox", image))[0]

    assert record.path is not None
    assert record.path.read_bytes() == image.data
    assert record.path.with_suffix(".json").is_file()
    assert record.path.parent == store.folder / "images/2026/11/20"  # type: ignore[operator]  # a folder store
    assert store.open(record.id) == image
    assert (record.sha256, record.size, record.bytes) == (image.sha256, (16, 12), image.nbytes)


def test_a_record_tells_the_whole_story(store: Store, make: Any) -> None:
    """Everything the result knew is in the record, and comes back from the index the same."""
    result = make.result("A fox", make.image(), make.image(), quality="low", template="product")
    first, second = store.save(
        result,
        tags=["b", " a ", "b"],
        parent=None,
        response_id="resp_1",
        call_id="ig_1",
    )

    assert (first.index, first.batch_count, second.index) == (1, 2, 2)
    assert (first.prompt, first.model, first.operation) == ("A fox", "gpt-image-2", "generate")
    assert (first.usage, first.cost, first.request_id) == (result.usage, result.cost, "req_1")
    assert (first.created_at_service, first.warnings) == (result.created, result.warnings)
    assert (first.tags, first.template) == (("a", "b"), "product")
    assert (first.response_id, first.call_id) == ("resp_1", "ig_1")
    assert first.created == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert first.cost_share == Decimal("0.00655")
    assert [second, first] == list(store.history())
    assert first == store.get(first.id)


def test_the_extension_follows_the_bytes(store: Store, make: Any) -> None:
    """A JPEG that came when a PNG was asked for is stored as a JPEG."""
    record = store.save(make.result("x", make.image("jpeg"), format="png"))[0]

    assert (record.format, record.key[-4:]) == ("jpeg", ".jpg")


def test_the_untouched_original_is_kept(store: Store, make: Any) -> None:
    """A cropped image keeps the bytes the service sent."""
    original = make.image("webp")
    record = store.save(make.result("x", make.image(original=original)))[0]

    assert record.original is not None
    assert store.open(record.id, original=True) == original
    assert store.open(record.id) != original
    assert record.original.sha256 == original.sha256
    assert store.stats().bytes == record.bytes + original.nbytes


def test_provenance_is_noted(store: Store, make: Any) -> None:
    """A file with a C2PA manifest says so in its record."""
    plain = make.image()
    # The chunk goes before the last one, IEND, which is 12 bytes long.
    chunk = b"\0\0\0\4caBXjumb" + (0x5B1C7C3B).to_bytes(4, "big")
    signed = Image.from_bytes(plain.data[:-12] + chunk + plain.data[-12:])

    records = store.save(make.result("x", plain, signed))

    assert [record.provenance for record in records] == [
        plain.has_provenance,
        signed.has_provenance,
    ]


def test_saving_twice_never_overwrites(store: Store, make: Any) -> None:
    """The same result saved again is another image with another id."""
    result = make.result()
    one, two = store.save(result)[0], store.save(result)[0]

    assert one.id != two.id
    assert store.find_identical(result.image.sha256) == (one, two)
    assert store.find_identical(result.image) == store.find_identical(one) == (one, two)


@pytest.mark.parametrize("given", ["fox.png", "img_20261129T141622575622_3a00db54", "", None, b"x"])
def test_what_names_no_bytes_is_refused(store: Store, given: Any) -> None:
    """A path, an id or nothing is not answered with "there is none", which has it drawn again."""
    with pytest.raises(InvalidRequestError, match="takes an Image, a record or the 64 hex digits"):
        store.find_identical(given)


def test_nothing_is_found_in_an_empty_store(store: Store) -> None:
    """An empty store answers everything."""
    assert list(store.history()) == []
    assert list(store.search("fox")) == []
    assert store.find_identical("0" * 64) == ()
    assert store.stats().images == 0
    assert store.stats().oldest is None
    assert store.verify().clean


def test_history_pages_through_everything(store: Store, make: Any) -> None:
    """Pages are complete and in order, also when images come and go in between."""
    saved = [store.save(make.result())[0].id for _ in range(25)]
    seen: list[str] = []
    cursor = None
    while True:
        page = store.history(10, cursor=cursor)
        seen += ids_of(page)
        if page.next is None:
            break
        store.delete(page.next)  # even the image the cursor names may go
        store.save(make.result())
        cursor = page.next

    assert seen == saved[::-1]


def test_a_page_is_a_sequence(store: Store, make: Any) -> None:
    """A page can be counted, sliced and walked."""
    for _ in range(3):
        store.save(make.result())
    page = store.history(2)

    assert isinstance(page, Page)
    assert (len(page), page[0], page[:1]) == (2, page.records[0], page.records[:1])
    assert page[1] in page
    assert store.history(3).next is None


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("prune", {"retention": Retention(max_count=1), "dry_run": None}),
        ("verify", {"repair": "no"}),
        ("verify", {"hashes": "no"}),
        ("verify", {"grace": 60}),
        ("reindex", {"hashes": "no"}),
        ("recover", {"every": "no"}),
        ("recover", {"older_than": 60}),
        ("recover", {"older_than": timedelta(-1)}),
        ("export", {"folder": 5}),
        ("export", {"folder": "exported", "sidecars": "no"}),
        ("open", {"id": "img_x", "original": "no"}),
    ],
    ids=str,
)
def test_an_argument_of_another_kind_is_refused(
    store: Store, method: str, options: dict[str, Any]
) -> None:
    """By its name: "no" is true, and would have repaired, and None would have deleted."""
    with pytest.raises(ConfigurationError, match=f"^{list(options)[-1]}="):
        getattr(store, method)(**options)


@pytest.mark.parametrize(
    "filters",
    [{"pinned": "false"}, {"pinned": 1}, {"model": 5}, {"tag": b"hero"}, {"since": "2026-11-20"}],
    ids=str,
)
def test_a_filter_of_another_kind_is_refused(store: Store, filters: Any) -> None:
    """By its name, in both: pinned="false" would have meant pinned, and a number no model."""
    for find in (store.history, partial(store.search, "fox")):
        with pytest.raises(InvalidRequestError) as caught:
            find(10, **filters)
        assert caught.value.field == next(iter(filters))


def test_history_filters(store: Store, clock: Any, make: Any) -> None:
    """Every filter alone, and together."""
    old = store.save(make.result("old", make.image("webp")))[0].id
    clock.pass_(days=1)
    middle = clock()
    store.tag(new := store.save(make.result("new"))[0].id, "hero")
    clock.pass_(days=1)
    edit = store.save(make.edit(make.image()))[0].id
    store.pin(edit)

    assert ids_of(store.history(since=middle)) == [edit, new]
    assert ids_of(store.history(until=middle)) == [old]
    assert ids_of(store.history(tag="hero")) == [new]
    assert ids_of(store.history(operation="edit")) == [edit]
    assert ids_of(store.history(format="webp")) == [old]
    assert ids_of(store.history(pinned=True)) == [edit]
    assert ids_of(store.history(pinned=False)) == [new, old]
    assert ids_of(store.history(model="gpt-image-2")) == [edit, new, old]
    assert ids_of(store.history(model="gpt-image-1", tag=None)) == []
    assert ids_of(store.history(tag="hero", since=middle, model="gpt-image-2")) == [new]
    assert ids_of(store.search("new", tag="hero", until=clock())) == [new]
    assert ids_of(store.search("new", until=middle)) == []
    assert ids_of(store.history(since=datetime.max, until=datetime.min)) == []  # naive on purpose


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "20"},
        {"cursor": "x"},
        {"cursor": "5; DROP TABLE pictures"},
        {"since": "yesterday"},
        {"colour": "red"},
        {"id": "1=1"},
    ],
    ids=str,
)
def test_history_refuses_what_makes_no_sense(store: Store, arguments: Any) -> None:
    """A wrong argument names itself."""
    with pytest.raises(InvalidRequestError) as caught:
        store.history(**arguments)

    assert [caught.value.field] == list(arguments)


def test_search_finds_words(store: Store, make: Any) -> None:
    """All words must be there, in any order, whatever their case and accents."""
    fox = store.save(make.result("A red fox in fresh snow"))[0].id
    cafe = store.save(make.result("Café at night, red lamps"), tags=["Hero shot"])[0].id

    assert ids_of(store.search("red")) == [cafe, fox]
    assert ids_of(store.search("snow RED")) == [fox]
    assert ids_of(store.search("cafe")) == [cafe]
    assert ids_of(store.search('"red fox"')) == [fox]
    assert ids_of(store.search('"fox red"')) == []
    assert ids_of(store.search("fre*")) == [fox]
    assert ids_of(store.search("hero")) == [cafe]
    assert ids_of(store.search("red dusk")) == []
    assert ids_of(store.search("night", 1, rank="relevance")) == [cafe]


def test_search_knows_scripts_without_spaces(store: Store, make: Any) -> None:
    """A part of a Chinese, Japanese, Korean or Thai prompt is found."""
    prompts = ["夕暮れの灯台", "一只红色的狐狸", "눈 속의 여우", "ประภาคารยามค่ำ"]
    saved = [store.save(make.result(prompt))[0].id for prompt in prompts]

    assert ids_of(store.search("灯台")) == [saved[0]]
    assert ids_of(store.search("狐狸")) == [saved[1]]
    assert ids_of(store.search("여우")) == [saved[2]]
    assert ids_of(store.search("台灯")) == []


def test_relevance_ranks_and_pages(store: Store, make: Any) -> None:
    """The image that is most about a word comes first, on whichever page."""
    best = store.save(make.result("fox fox fox"))[0].id
    others = [store.save(make.result("a fox and very many other words " * 3))[0].id]
    others += [store.save(make.result("one fox somewhere in a long sentence " * 5))[0].id]

    first = store.search("fox", 1, rank="relevance")
    rest = store.search("fox", 5, rank="relevance", cursor=first.next)

    assert ids_of(first) == [best]
    assert sorted(ids_of(rest)) == sorted(others)
    assert rest.next is None


def test_search_pages_newest_first(store: Store, make: Any) -> None:
    """The default order is that of history."""
    saved = [store.save(make.result(f"fox number {number}"))[0].id for number in range(5)]
    first = store.search("fox", 2)

    assert ids_of(first) == saved[:2:-1]
    assert ids_of(store.search("fox", 5, cursor=first.next)) == saved[2::-1]


@given(st.text() | st.text('"*-+^:(){}NEAR AND OR NOT fox'))
def test_no_text_is_a_syntax_error(quiet: Store, text: str) -> None:
    """Whatever people type, the search runs."""
    for rank in ("newest", "relevance"):
        assert isinstance(quiet.search(text, rank=rank), Page)


@pytest.fixture(scope="module")
def quiet(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store nobody changes."""
    with Store(tmp_path_factory.mktemp("quiet")) as opened:
        opened.save(make.result("the quick brown fox NEAR the lazy dog"))
        yield opened


def test_a_search_has_bounds(quiet: Store) -> None:
    """A text made to be slow, or a rank that does not exist, is refused."""
    for arguments in ({"text": "x " * 1001}, {"text": "x", "rank": "best"}, {"text": None}):
        with pytest.raises(InvalidRequestError):
            quiet.search(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_tags_come_and_go(store: Store, make: Any) -> None:
    """Tags are in the record, the sidecar, the history and the search at once."""
    record = store.save(make.result(), tags=["sea"])[0]
    store.tag(record.id, "hero", "sea", "Ü b")
    after = store.untag(record.id, "sea", "never there")

    assert after.tags == ("hero", "Ü b")
    assert store.get(record.id) == after
    assert record.path is not None
    assert json.loads(record.path.with_suffix(".json").read_bytes())["tags"] == ["hero", "Ü b"]
    assert ids_of(store.history(tag="hero")) == [record.id]
    assert ids_of(store.history(tag="sea")) == []
    assert ids_of(store.search("sea")) == []


def test_a_tag_that_is_there_changes_nothing(store: Store, make: Any) -> None:
    """The sidecar is not written again for nothing."""
    record = store.save(make.result(), tags=["sea"])[0]
    assert record.path is not None
    sidecar = record.path.with_suffix(".json")
    before = sidecar.stat().st_mtime_ns
    store.tag(record.id, "sea")
    assert sidecar.stat().st_mtime_ns == before
    store.untag(record.id, "never there")
    assert sidecar.stat().st_mtime_ns == before


def test_pages_of_one_moment(
    tmp_path: Path, clock: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of five processes in the same microsecond are all listed, once."""
    numbers = iter(range(1000))
    monkeypatch.setattr(os, "urandom", lambda size: next(numbers).to_bytes(size))
    for _ in range(5):
        with Store(tmp_path, clock=clock) as one:
            one.save(make.result())
    with Store(tmp_path) as store:
        seen: list[str] = []
        page = store.history(1)
        while page.next:
            seen += ids_of(page)
            page = store.history(1, cursor=page.next)
        seen += ids_of(page)

    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize("tag", ["", "  ", "x" * 101, "a\nb", "a\0b", "\ud800", 7], ids=repr)
def test_a_bad_tag_is_refused(store: Store, make: Any, tag: Any) -> None:
    """A tag that cannot be shown on one line is refused before anything changes."""
    record = store.save(make.result())[0]
    for call in (lambda: store.tag(record.id, tag), lambda: store.save(make.result(), tags=[tag])):
        with pytest.raises(InvalidRequestError) as caught:
            call()
        assert caught.value.field == "tags"

    assert ids_of(store.history()) == [record.id]


@given(tag=st.text(min_size=1))
def test_hostile_tags_are_data(quiet: Store, tag: str) -> None:
    """A tag that looks like SQL, a path or a query is only a tag."""
    record = quiet.history(1)[0]
    try:
        tagged = quiet.tag(record.id, tag)
    except InvalidRequestError:
        return

    assert tag.strip() in tagged.tags
    assert ids_of(quiet.history(tag=tag.strip())) == [record.id]
    quiet.untag(record.id, tag.strip())


def test_too_many_tags_are_refused(store: Store, make: Any) -> None:
    """An image has a bounded number of tags."""
    record = store.save(make.result(), tags=[f"t{number}" for number in range(64)])[0]

    with pytest.raises(InvalidRequestError, match="65 tags"):
        store.tag(record.id, "one more")


def test_pins_protect(store: Store, make: Any) -> None:
    """A pinned image is neither deleted nor pruned until it is unpinned."""
    record = store.save(make.result())[0]
    assert store.pin(record.id).pinned

    with pytest.raises(StoreError, match="unpin it first"):
        store.delete(record.id)
    assert store.prune(Retention(max_count=0)).removed == ()

    assert not store.unpin(record.id).pinned
    store.delete(record.id)
    assert ids_of(store.history()) == []


def test_a_deleted_picture_is_gone(store: Store, make: Any) -> None:
    """Its files, its row, its words and its empty folders go."""
    record = store.save(make.result("A fox", make.image(original=make.image())))[0]
    store.delete(record.id)

    for call in (store.get, store.open, store.delete, store.pin, store.lineage):
        with pytest.raises(ImageNotFoundError, match=record.id):
            call(record.id)
    assert ids_of(store.search("fox")) == []
    assert store.folder is not None
    assert not (store.folder / "images").exists()
    assert store.verify(grace=NOW).clean


def test_inputs_are_kept_once_and_go_with_the_last_edit(store: Store, make: Any) -> None:
    """Two edits of one photograph share it, and it goes with the second of them."""
    photo = make.image("jpeg")
    one = store.save(make.edit(photo))[0]
    two = store.save(make.edit(photo))[0]
    files = list(store.folder.glob("inputs/*/*"))  # type: ignore[union-attr]  # a folder store

    assert [path.name for path in files] == [f"{photo.sha256}.jpg"]
    assert store.stats().inputs == 1
    assert store.inputs(one.id) == (photo,)
    store.delete(one.id)
    assert store.inputs(two.id) == (photo,)
    store.delete(two.id)
    assert not files[0].exists()


def test_an_edit_can_be_asked_again(store: Store, make: Any) -> None:
    """The request comes back with its images, mask and markup, and runs on a client."""
    result = make.edit(make.image(), make.image("webp"), mask=make.mask(), size=None, n=2)
    record = store.save(result)[0]
    client = Client()

    assert store.request(record.id) == result.request
    assert store.repeat(record.id, client) is client.result
    assert client.seen == [result.request]


def test_a_rerun_does_not_stream(store: Store, make: Any) -> None:
    """A streamed request is asked again as a plain one; the record keeps how it was."""
    request = Generate(prompt="x", model="gpt-image-2", stream=True, partial_images=2)
    record = store.save(make.result(request=request))[0]
    client = Client()
    store.repeat(record.id, client)

    assert store.request(record.id) == request
    assert client.seen == [Generate(prompt="x", model="gpt-image-2")]


class Client:
    """Remembers what it was asked to run."""

    def __init__(self) -> None:
        self.seen: list[Generate] = []
        self.result: Any = object()

    def run(self, request: Generate, /) -> Result:
        """Note the request."""
        self.seen.append(request)
        return self.result


def test_an_edit_without_its_input_says_so(store: Store, make: Any) -> None:
    """A lost input is an error that names it, not a different request."""
    record = store.save(make.edit(make.image()))[0]
    next(store.folder.glob("inputs/*/*")).unlink()  # type: ignore[union-attr]  # a folder store

    with pytest.raises(StoreError, match="is gone"):
        store.request(record.id)


def test_lineage_goes_both_ways(store: Store, make: Any) -> None:
    """An edit points to the images it was made from, a refinement to its parent."""
    fox = make.image()
    first = store.save(make.result("fox", fox))[0]
    unrelated = store.save(make.result("fox"))[0]
    night = make.image()
    edited = store.save(make.result("night", night, request=make.edit(fox).request))[0]
    refined = store.save(make.result("more stars"), parent=edited.id)[0]
    again = store.save(make.edit(night, fox))[0]

    assert store.lineage(refined.id).ancestors == (first, edited)
    assert store.lineage(again.id).ancestors == (first, edited)
    assert store.lineage(first.id).descendants == (edited, refined, again)
    assert store.lineage(unrelated.id) == type(store.lineage(unrelated.id))()
    store.delete(edited.id)
    assert store.lineage(refined.id).ancestors == ()


def test_a_picture_that_equals_its_input_has_no_circle(store: Store, make: Any) -> None:
    """An edit that changed nothing is not its own ancestor."""
    image = make.image()
    one = store.save(make.result("x", image, request=make.edit(image).request))[0]
    two = store.save(make.result("x", image, request=make.edit(image).request))[0]

    assert store.lineage(two.id).ancestors == (one,)
    assert store.lineage(one.id).ancestors == ()


def test_a_parent_must_be_an_id(store: Store, make: Any) -> None:
    """Text that is no id cannot be a parent."""
    with pytest.raises(InvalidRequestError, match="parent"):
        store.save(make.result(), parent="the last one")


def test_stats_add_up(store: Store, clock: Any, make: Any) -> None:
    """Counts, bytes and money, each call's cost once however many images it made."""
    a, b, c = make.image(), make.image(), make.image("webp")
    store.save(make.result("x", a, b, c, usd="0.01"))
    clock.pass_(hours=1)
    edit = store.save(make.edit(photo := make.image(), prompt="y"))[0]
    store.save(make.result("z", usd=None))
    store.pin(edit.id)
    stats = store.stats()

    assert (stats.images, stats.pinned, stats.unknown_cost) == (5, 1, 1)
    assert abs(stats.cost.usd - Decimal("0.0231")) < Decimal("0.00000001")
    assert (stats.inputs, stats.input_bytes) == (1, photo.nbytes)
    assert stats.by_operation == {"generate": 4, "edit": 1}
    assert stats.by_format == {"png": 4, "webp": 1}
    assert stats.by_model == {"gpt-image-2": 5}
    assert stats.newest - stats.oldest >= timedelta(hours=1)  # type: ignore[operator]  # not empty
    assert stats.bytes == sum(record.bytes for record in store.history())


def test_export_writes_names_for_people(store: Store, make: Any, tmp_path: Path) -> None:
    """Copies with sidecars, chosen by filters; doing it again changes nothing."""
    store.save(make.result("A red fox", make.image(original=make.image())), tags=["keep"])
    store.save(make.result("Something else"))
    report = store.export(tmp_path / "out", tag="keep")
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".")
    id = store.history(tag="keep")[0].id
    base = f"2026-11-20-a-red-fox-{id}"

    assert names == [f"{base}.json", f"{base}.original.png", f"{base}.png"]
    assert report.paths == (tmp_path / "out" / f"{base}.png",)
    store.tag(id, "later")
    assert store.export(tmp_path / "out", tag="keep") == report
    assert json.loads((tmp_path / "out" / f"{base}.json").read_bytes())["tags"] == [
        "keep",
        "later",
    ]


def test_an_export_names_what_is_missing(store: Store, make: Any, tmp_path: Path) -> None:
    """An image whose file is gone does not stop the others."""
    one, two = (store.save(make.result())[0] for _ in range(2))
    one.path.unlink()  # type: ignore[union-attr]  # a folder store
    report = store.export(tmp_path / "out", sidecars=False, naming="flat/{index}-{id}")

    assert report.missing == (one.id,)
    assert [path.name for path in report.paths] == [f"1-{two.id}.png"]


def test_an_exported_name_needs_the_id(store: Store, tmp_path: Path) -> None:
    """Two images can never want the same name."""
    with pytest.raises(ConfigurationError):
        store.export(tmp_path, naming="{prompt:slug}")


def test_a_picture_whose_file_is_gone_says_so(store: Store, make: Any) -> None:
    """The record is still there, and the error says what to do."""
    record = store.save(make.result())[0]
    record.path.unlink()  # type: ignore[union-attr]  # a folder store

    with pytest.raises(ImageNotFoundError, match="verify"):
        store.open(record.id)


def test_a_damaged_picture_is_a_decode_error(store: Store, make: Any) -> None:
    """Bytes that are no image any more do not pass for one."""
    record = store.save(make.result())[0]
    record.path.write_bytes(b"not a picture")  # type: ignore[union-attr]  # a folder store

    with pytest.raises(ImageDecodeError):
        store.open(record.id)


def test_a_store_opens_again(tmp_path: Path, make: Any) -> None:
    """What one process saved, the next one finds; a closed store may still be used."""
    first = Store(tmp_path)
    record = first.save(make.result())[0]
    first.close()
    first.close()

    with Store(str(tmp_path)) as again:
        assert list(again.history()) == [record]
    assert list(first.history()) == [record]
    first.close()
    assert repr(first) == f"Store({str(tmp_path)!r})"


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    """A URL is not a folder, and fsync belongs to the one who writes."""
    with pytest.raises(ConfigurationError, match="ObjectBlobs"):
        Store("s3://bucket/pictures")
    with pytest.raises(ConfigurationError, match="fsync"):
        Store(FileBlobs(tmp_path), fsync=False)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file")


def test_threads_share_one_store(store: Store, make: Any) -> None:
    """Sixteen threads save, tag, search and delete at once."""
    results = [make.result(f"thread {number}") for number in range(64)]
    failures: list[Exception] = []

    def work(mine: list[Result]) -> None:
        try:
            for result in mine:
                record = store.save(result)[0]
                store.tag(record.id, "one")
                assert ids_of(store.search(f'"{record.prompt}"')) == [record.id]
                store.history(5, tag="one")
                if record.prompt.endswith("0"):
                    store.delete(record.id)
        except Exception as error:  # noqa: BLE001  # shown below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(results[n::16],)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(store.history(100)) == 64 - 7
    assert store.verify(grace=NOW).clean


def test_threads_tag_one_picture(store: Store, make: Any) -> None:
    """No tag is lost when eight threads add theirs to the same image."""
    id = store.save(make.result())[0].id
    threads = [
        threading.Thread(target=lambda n=n: [store.tag(id, f"{n}-{i}") for i in range(5)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store.get(id).tags) == 40
    assert store.verify(grace=NOW).clean


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_may_use_the_store(tmp_path: Path) -> None:
    """A child does not touch its parent's connections, and both go on saving."""
    code = """
import os, sys
from datetime import UTC, datetime
from gptimage import Generate, Image, Result
from gptimage.store import Store
svg = lambda n: Image.from_bytes(f'<svg xmlns="http://www.w3.org/2000/svg" width="{n}"/>'.encode())
def save(n):
    request = Generate(prompt=f"image {n}", model="m")
    now = datetime.now(UTC)
    return store.save(Result(images=(svg(n),), request=request, model="m", created=now))
store = Store(sys.argv[1])
save(1)
children = []
for n in (2, 3, 4):
    pid = os.fork()
    if pid == 0:
        save(n)
        os._exit(0 if len(store.search("image")) >= 2 else 1)
    children.append(pid)
save(5)
codes = [os.waitpid(pid, 0)[1] for pid in children]
print(codes, len(store.history()), store.verify().problems)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "[0, 0, 0] 5 ()", done.stderr


def test_digests_are_those_of_the_files(store: Store, make: Any) -> None:
    """The sidecar's SHA-256 is what sha256sum prints."""
    record = store.save(make.result())[0]

    assert record.path is not None
    assert hashlib.sha256(record.path.read_bytes()).hexdigest() == record.sha256


def test_prompts_stay_out_of_reprs(store: Store, make: Any) -> None:
    """A record can be logged: it does not show what was asked."""
    record = store.save(make.result("a secret plan"))[0]

    assert "secret" not in repr(record)
    assert re.match(r"<Record img_\w+ 16x12 png, ", repr(record))


def test_the_text_alternative_of_an_image(store: Store, make: Any) -> None:
    """It is one line, goes with the image, survives the index, and can be taken away."""
    record = store.save(make.result())[0]
    written = store.set_alt(record, "  A fox\nin the snow \ud83e ")
    with pytest.raises(InvalidRequestError, match="1,000 characters"):
        store.set_alt(record, "x" * 1001)
    store.reindex()

    assert (record.alt, written.alt) == (None, "A fox in the snow ?")
    assert store.get(record.id).alt == store.open(record.id).alt == written.alt
    assert store.set_alt(record, "").alt == ""
    assert store.set_alt(record, None).alt is None
