"""Ids, keys and naming templates: nothing anybody writes can lead out of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gptimage import ConfigurationError, ImageNotFoundError
from gptimage.store import Record, Store, names
from gptimage.store.names import EXPORT, Naming, is_key, is_sidecar, slug, stem


TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2254, 12, 31)).map(  # made UTC
    lambda moment: moment.replace(tzinfo=UTC)
)
ID = "img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture(scope="module")
def record(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Any record."""
    with Store(tmp_path_factory.mktemp("names")) as store:
        return store.save(make.result())[0]


@given(TIMES)
def test_an_id_tells_when_it_was_made(moment: datetime) -> None:
    """An id is valid, and gives back its time to the microsecond."""
    id = names.IdMaker(lambda: moment)()

    assert names.is_id(id)
    assert moment == names.time_of(id)
    assert (
        names.row_at(moment) <= names.row_of(id) < names.row_at(moment + timedelta(microseconds=1))
    )


@given(TIMES, TIMES)
def test_ids_sort_by_time(one: datetime, other: datetime) -> None:
    """Text order, row order and time order are the same."""
    first, second = (names.IdMaker(lambda m=moment: m)() for moment in (one, other))

    earlier, later = sorted([first, second])

    assert names.row_of(earlier) <= names.row_of(later)
    assert one == other or (one < other) == (first < second)


def test_ids_of_one_moment_sort_as_they_were_made() -> None:
    """A clock that stands still does not mix up the images of one call."""
    make_id = names.IdMaker(lambda: datetime(2026, 11, 20, tzinfo=UTC))
    made = [make_id() for _ in range(100)]

    assert made == sorted(made)
    assert len(set(made)) == 100


def test_a_clock_set_back_is_followed() -> None:
    """A wrong clock that is put right does not leave the ids in the future."""
    times = [datetime(2030, 1, 1, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)]
    make_id = names.IdMaker(lambda: times.pop(0))

    assert [names.time_of(make_id()).year for _ in range(2)] == [2030, 2026]


HOSTILE = [
    "",
    "../../etc/passwd",
    ID + "/../x",
    ID + "\n",
    ID.upper(),
    ID[:-1],
    ID + "0",
    ID.replace("2026", "２０２６"),
    ID.replace("1120T", "1340T"),
    ID.replace("2026", "0000"),
    ID.replace("2026", "9999"),
    "img_",
    None,
    7,
    b"img",
    "x" * 10**6,
]


@pytest.mark.parametrize("id", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_ids_are_no_pictures(store: Store, id: Any) -> None:
    """What is no id is refused by name in every method that takes one."""
    calls: list[Any] = [store.get, store.open, store.lineage, store.inputs, store.request]
    calls += [store.delete, store.pin, store.unpin, lambda i: store.tag(i, "x")]
    for call in calls:
        with pytest.raises(ImageNotFoundError) as caught:
            call(id)
        assert len(str(caught.value)) < 300

    assert not names.is_id(id)


@given(st.text())
def test_only_ids_are_ids(text: str) -> None:
    """Random text is never an id, and finding one in it never fails."""
    assert not names.is_id(text)
    assert names.find_id(text) is None
    assert names.find_id(f"fox-{ID}.png") == ID
    assert names.find_id(f"{ID}-{ID}.png") == ID
    assert names.find_id(f"{ID}-{ID.replace('_2026', '_2025')}.png") is None


SLUGS = "{date}/{prompt:slug}/{model:slug}/{template:slug}-{operation}-{id}"


@given(prompt=st.text(), model=st.text(), template=st.text())
def test_no_prompt_leaves_its_folder(
    record: Record, prompt: str, model: str, template: str
) -> None:
    """Whatever is in a record, its name is safe on every system."""
    hostile = evolve(record, request={"prompt": prompt}, model=model, template=template)
    key = "images/" + Naming(SLUGS).stem(hostile) + ".original.jpeg"

    assert is_key(key)
    assert key.startswith(f"images/{record.created:%Y/%m/%d}/")
    assert len(PurePosixPath(key).parts) == 7
    assert PurePosixPath(key).parts == PureWindowsPath(key).parts
    assert record.id == names.find_id(key.rpartition("/")[2])
    assert max(len(part.encode()) for part in key.split("/")) <= 240
    assert stem(key) + ".json" == key.replace(".original.jpeg", ".json")
    assert is_sidecar(stem(key) + ".json")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A lighthouse at dusk", "a-lighthouse-at-dusk"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\Windows\\CON", "c-windows-con"),
        ("con", "con"),
        ("🦊🦊", "untitled"),
        ("Löwe & Übermut", "löwe-übermut"),
        ("灯台の夕暮れ", "灯台の夕暮れ"),
        ("नमस्ते", "नमस्ते"),
        ("a\0b\u202ec\ud800d", "a-b-c-d"),
        ("e\u0301", "é"),
        ("", "untitled"),
    ],
)
def test_slugs(prompt: str, expected: str) -> None:
    """Letters of every script are kept, everything with a meaning to a system is not."""
    assert expected == slug(prompt, 60)


def test_a_reserved_name_is_changed(record: Record) -> None:
    """A prompt that is a device name on Windows makes no folder of that name."""
    device = evolve(record, request={"prompt": "CON"})

    assert "/con_/" in Naming("{date}/{prompt:slug}/{id}").stem(device)


def test_every_field_of_a_template(record: Record) -> None:
    """All fields the documentation names can be used at once."""
    template = "{date}/{time}-{index}-{width}x{height}-{operation}-{model:slug}-{id}"
    rendered = Naming(template).stem(record)

    assert f"-1-16x12-generate-gpt-image-2-{record.id}" in rendered
    assert f"{record.created:%Y-%m-%d}-a-lighthouse-at-dusk-{record.id}" == Naming(
        EXPORT, dated=False
    ).stem(record)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{id}",
        "{date}/x",
        "{date}/{prompt}-{id}",
        "{date}/{prompt:>9999999}-{id}",
        "{date}/{id!r}",
        "{date}/{id.__class__}",
        "{date}/{secret}-{id}",
        "{date}/../{id}",
        "{date}//{id}",
        "{date}/{id}.png",
        "{date}/a:{id}",
        "{date}/{id",
        "{date}/{}{id}",
        "/{date}/{id}",
        "{date}/nul/{id}",
        "{date}/{id}" + "x" * 300,
        "{date}/.{id}",
    ],
)
def test_a_template_that_cannot_work_is_refused(tmp_path: Any, template: str) -> None:
    """A bad template is found when the store is opened, and nothing is made."""
    with pytest.raises(ConfigurationError, match="naming"):
        Naming(template)


def test_naming_shapes_the_files(tmp_path: Any, make: Any) -> None:
    """The issue's own template gives a folder people can read."""
    with Store(tmp_path, naming="{date}/{prompt:slug}-{id}") as store:
        record = store.save(make.result('../A fox: in "snow"?'))[0]

        assert record.path is not None
        assert f"a-fox-in-snow-{record.id}.png" == record.path.name
        assert (
            f"{record.created:%Y/%m/%d}"
            == record.path.parent.relative_to(store.folder / "images").as_posix()
        )
        assert [record] == list(store.history())
        assert store.verify(grace=timedelta(0)).clean


@pytest.mark.parametrize("naming", ["{date}/{id}/{index}", "{date}/{id}-{id}"])
def test_an_id_is_found_wherever_the_naming_puts_it(tmp_path: Any, make: Any, naming: str) -> None:
    """An image whose id is in a folder's name, or there twice, is in the index and stays there."""
    with Store(tmp_path, naming=naming) as store:
        warnings: list[str] = []
        record = store.save(make.result(), warn=warnings.append)[0]

        assert not warnings
        assert store.reindex() == 1
        assert [record] == list(store.history())
        assert record == store.get(record.id)
        assert store.verify(grace=timedelta(0)).clean
