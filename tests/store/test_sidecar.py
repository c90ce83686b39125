"""Sidecars and described requests: all is kept, and nothing in a file is trusted."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Edit, FileRef, Generate, Mask, Size, StoreError
from gptimage.store import Record, Store, sidecar
from gptimage.store.sidecar import (
    UnreadableSidecarError,
    inputs,
    request_from_json,
    request_to_json,
)


EVERY_OPTION = {
    "n": 2,
    "size": Size(1920, 1080),
    "quality": "high",
    "background": "opaque",
    "format": "gif",
    "compression": 80,
    "moderation": "low",
    "complexity": "medium",
    "safety_identifier": "user-1",
    "frame_count": 4,
    "frame_duration_ms": 100,
    "svg": {"model": "gpt-5", "reasoning": {"effort": "low"}},
    "partial_images": 2,
    "extra_body": {"seed": 7, "deep": [1, {"key": "inputs/aa/no.png"}]},
    "stream": True,
    "template": "product",
}


@pytest.fixture
def record(store: Store, make: Any) -> Record:
    """The record of an edit of a cropped image, with everything in it."""
    image = make.image("jpeg", original=make.image())
    request = make.edit(make.image(), mask=make.mask()).request
    saved = store.save(
        make.result("x", image, image, request=request), tags=["hero", "b"], response_id="resp_1"
    )
    return store.get(saved[0].id)


def beside(record: Record) -> Path:
    """The sidecar's file."""
    assert record.path is not None
    return record.path.with_suffix(".json")


def test_a_sidecar_says_everything(record: Record) -> None:
    """Every field of the record is in the file, readable by people and other programs."""
    values = json.loads(beside(record).read_bytes())
    derived = {"path", "key", "extra", "cost", "created_at_service", "batch_count"}
    derived |= {"message"}  # only of services that know no response ids

    assert {field.name for field in attrs.fields(Record)} - derived <= values.keys()
    assert datetime.fromisoformat(values["made"]) == record.created_at_service
    assert values["of"] == record.batch_count
    assert values["cost_usd"] == "0.0131"
    assert record.path is not None
    assert record.path.name == values["file"]
    assert values["request"]["operation"] == "edit"
    assert {"input_tokens": 10, "output_tokens": 200}.items() <= values["usage"].items()
    assert beside(record).read_text().startswith('{\n  "gptimage": 1,')


def test_a_sidecar_reads_back_the_same(record: Record, store: Store) -> None:
    """What is written is what is read."""
    key = record.key.removesuffix(".jpg") + ".json"
    found = sidecar.load(sidecar.dump(record), key=key, folder=store.folder)

    assert (record, False, record.path) == (found.record, found.deleted, found.record.path)


@given(
    prompt=st.text(st.characters(codec=None)),
    tags=st.sets(st.text()),
    warnings=st.lists(st.text(st.characters(codec=None))),
)
def test_any_text_survives(record_once: Record, prompt: str, tags: set[str], warnings: Any) -> None:
    """Half surrogate pairs, NUL and every script come back as they were."""
    odd = attrs.evolve(
        record_once,
        request={**record_once.request, "prompt": prompt},
        tags=tuple(sorted(tags)),
        warnings=tuple(warnings),
    )
    key = odd.key.removesuffix(".png") + ".json"

    assert odd == sidecar.load(sidecar.dump(odd), key=key, folder=None).record


@pytest.fixture(scope="module")
def record_once(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Any record."""
    with Store(tmp_path_factory.mktemp("sidecar")) as store:
        return store.save(make.result())[0]


def test_fields_of_a_newer_version_survive(store: Store, record: Record) -> None:
    """A field this version does not know is kept when tags and pins change."""
    values = {**json.loads(beside(record).read_bytes()), "aesthetic": {"score": 7}}
    beside(record).write_text(json.dumps(values))

    store.tag(record.id, "later")
    store.pin(record.id)

    after = json.loads(beside(record).read_bytes())
    assert after["aesthetic"] == {"score": 7}
    assert (after["tags"], after["pinned"]) == (["b", "hero", "later"], True)
    assert store.get(record.id).extra == {"aesthetic": {"score": 7}}


CHANGES: list[dict[str, Any]] = [
    {"gptimage": None},
    {"gptimage": "1"},
    {"id": "img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad015"},
    {"id": 7},
    {"file": "../../../../etc/passwd"},
    {"file": "/etc/passwd"},
    {"file": "other.png"},
    {"file": None},
    {"original": {"file": "../x.png"}},
    {"original": 7},
    {"bytes": "many"},
    {"bytes": True},
    {"width": 1.5},
    {"tags": "hero"},
    {"tags": [1]},
    {"request": []},
    {"request": 7},
    {"made": "yesterday"},
    {"made": "2026-11-20T12:00:00"},
    {"cost_usd": "NaN"},
    {"cost_usd": "1e999999999"},
    {"cost_usd": "-1"},
    {"cost_usd": 0.01},
    {"usage": {"input_tokens": "a"}},
    {"pinned": "yes"},
    {"sources": None},
    {"parent": 7},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_changed_sidecar_is_refused(record: Record, change: dict[str, Any]) -> None:
    """A field of the wrong kind, or one that points elsewhere, makes the file unreadable."""
    values = {**json.loads(beside(record).read_bytes()), **change}
    key = record.key.removesuffix(".jpg") + ".json"

    with pytest.raises(UnreadableSidecarError):
        sidecar.load(json.dumps(values).encode(), key=key, folder=None)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_unreadable_and_nothing_worse(data: bytes) -> None:
    """Random bytes and random JSON never raise anything else."""
    with pytest.raises(UnreadableSidecarError):
        sidecar.load(data, key="images/a.json", folder=None)


@given(name=st.sampled_from([each.name for each in attrs.fields(Record)]), value=JSON)
def test_no_field_can_crash_the_reader(record_once: Record, name: str, value: Any) -> None:
    """Any JSON in any field is either taken or refused."""
    values = {**record_once.to_sidecar(), name: value}
    key = record_once.key.removesuffix(".png") + ".json"

    try:
        found = sidecar.load(json.dumps(values).encode(), key=key, folder=None)
    except UnreadableSidecarError:
        return

    assert record_once.id == found.record.id
    assert found.record.key.startswith(record_once.key.rpartition("/")[0])


def test_deep_nesting_is_unreadable() -> None:
    """A file made to exhaust the parser is only an unreadable one."""
    with pytest.raises(UnreadableSidecarError):
        sidecar.load(b"[" * 10**6, key="images/a.json", folder=None)


def test_every_parameter_of_generate_survives() -> None:
    """The walk over every field proves that none is forgotten."""
    request = Generate(prompt="A fox", model="gpt-image-2", **EVERY_OPTION)
    unset = [each.name for each in attrs.fields(Generate) if getattr(request, each.name) is None]
    described = request_to_json(request)

    assert unset == []
    assert request == request_from_json(json.loads(json.dumps(described)), no_inputs)
    assert inputs(described) == {}


@pytest.mark.parametrize("kind", ["pictures", "files", "boxes"])
def test_every_parameter_of_edit_survives(make: Any, kind: str) -> None:
    """Images, uploaded files and boxes come back as what they were."""
    pictures = [make.image() for _ in range(4)]
    given_as: dict[str, Any] = {
        "pictures": {"mask": Mask(image=pictures[2]), "markup": pictures[3]},
        "files": {"mask": FileRef("file-mask"), "markup": FileRef("file-markup")},
        "boxes": {"mask": Mask.from_boxes([(0, 0, 5, 5), (7, 7, 9, 9)]), "markup": pictures[3]},
    }[kind]
    request = Edit(
        prompt="Make it night",
        model="gpt-image-2",
        images=(pictures[0], FileRef("file-1"), pictures[1]),
        input_fidelity="high",
        **given_as,
        **EVERY_OPTION,
    )
    kept = {
        key: each
        for each in pictures
        for key in inputs(request_to_json(Edit(prompt="", model="", images=(each,))))
    }
    described = json.loads(json.dumps(request_to_json(request)))

    assert request == request_from_json(described, kept.__getitem__)
    assert inputs(described).keys() <= kept.keys()
    assert {each.nbytes for each in pictures} >= set(inputs(described).values())


def no_inputs(key: str) -> Any:
    """There is none."""
    raise AssertionError(key)


@given(st.dictionaries(st.sampled_from(["operation", "images", "mask", "size", "n", "odd"]), JSON))
def test_a_damaged_request_is_a_store_error(asked: dict[str, Any]) -> None:
    """Nothing in a sidecar's request can crash a rerun."""
    asked = {"operation": "edit", "prompt": "x", "model": "m", **asked}
    inputs(asked)
    try:
        request_from_json(asked, no_inputs)
    except StoreError:
        return

    assert "odd" not in asked


def test_a_request_of_a_newer_version_says_so() -> None:
    """A parameter this version does not know is not dropped silently."""
    with pytest.raises(StoreError, match="upgrade"):
        request_from_json(
            {"operation": "generate", "prompt": "x", "model": "m", "lens": 50}, no_inputs
        )


def test_a_rerun_reads_only_inputs(store: Store, record: Record) -> None:
    """A sidecar cannot make a rerun send another file of the store, or of the machine."""
    values = json.loads(beside(record).read_bytes())
    values["request"]["images"] = [{"key": record.key, "bytes": 1}]
    beside(record).write_text(json.dumps(values))
    store.reindex()

    with pytest.raises(StoreError, match="no input image"):
        store.request(record.id)


def test_verify_sees_a_damaged_sidecar(store: Store, record: Record) -> None:
    """A half sidecar is named, and nothing of it is removed by a repair."""
    beside(record).write_bytes(beside(record).read_bytes()[:100])
    report = store.verify(repair=True, grace=timedelta(0))

    assert [problem.kind for problem in report.problems] == ["unreadable"]
    assert record == store.get(record.id)
    assert record.path is not None
    assert record.path.exists()
