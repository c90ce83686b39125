"""Plans and results: what is sent, what it is called in a cache, and what a reply becomes."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gptimage import (
    FileRef,
    Generate,
    Image,
    InvalidRequestError,
    Mask,
    ModelRetiredError,
)
from gptimage._internal.json import canonical
from tests.factories import ENDPOINT, cutout, edit, generate, image, picture, planned


# Canonical JSON.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_canonical_json_says_the_same(value: object) -> None:
    """It is JSON, and means what went in."""
    assert value == json.loads(canonical(value).decode("utf-8", "surrogatepass"))


@given(st.dictionaries(st.text(), JSON))
def test_canonical_json_knows_no_order(value: dict[str, object]) -> None:
    """However a mapping was built, it is the same bytes."""
    assert canonical(value) == canonical(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", object(), {(1,): 2}])
def test_canonical_json_refuses_the_rest(value: object) -> None:
    """What is no JSON has no canonical form."""
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


# Cache keys.

OPTIONS: dict[str, Any] = {
    "model": "gpt-image-2",
    "n": 2,
    "size": "1536x1024",
    "quality": "low",
    "background": "opaque",
    "format": "webp",
    "moderation": "low",
    "safety_identifier": "user",
    "extra_body": {"new": 1},
}


def test_the_key_is_stable() -> None:
    """Keys outlive releases: what is hashed may only change together with the version tag."""
    hashed = (
        b'{"body":{"model":"gpt-image-2.5-flare","prompt":"A red fox","quality":"low",'
        b'"size":"1024x1024"},"endpoint":"https://api.openai.com/v1","files":[],'
        b'"path":"/images/generations"}'
    )
    request = generate("A red fox", size="1024x1024", quality="low")

    assert "g1:" + hashlib.sha256(hashed).hexdigest() == planned(request).key


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_the_key(name: str) -> None:
    """Another question has another key."""
    assert planned().key != planned(**{name: OPTIONS[name]}).key


def test_keys_of_all_questions_differ() -> None:
    """No two of many similar requests share a key."""
    pictures = [image(), image(color="red"), image(form="jpeg"), FileRef("file-abc12345")]
    hole = Mask.open(cutout())
    requests: list[Generate] = [
        generate(),
        generate("A Fox"),
        generate("A fox "),
        *(generate(**{name: value}) for name, value in OPTIONS.items()),
        generate(format="jpeg", compression=1),
        generate(format="jpeg", compression=2),
        generate(extra_body={"new": "1"}),
        generate(extra_body={"new": True}),
        generate(extra_body={"new": 1.5}),
        generate(extra_body={"neu": 1}),
        *(edit(images=(each,)) for each in pictures),
        edit(images=(pictures[0], pictures[1])),
        edit(images=(pictures[1], pictures[0])),
        edit(images=(pictures[0],) * 2),
        edit(mask=hole),
        edit(mask=Mask.from_box((0, 0, 8, 8))),
        edit(mask=Mask.from_box((0, 0, 8, 9))),
        edit(markup=Image.from_bytes(cutout())),
        edit(moderation="low"),
        edit(images=(pictures[1],), moderation="low"),
    ]
    keys = [planned(request).key for request in requests]

    assert len(set(keys)) == len(keys)


@given(st.integers(0, len(picture(64, 64)) - 1), st.integers(1, 255))
def test_every_byte_of_an_input_changes_the_key(at: int, flip: int) -> None:
    """Two images that differ in one byte are two questions."""
    data = bytearray(picture(64, 64))
    data[at] ^= flip
    other = evolve(image(), data=bytes(data))

    assert planned(edit()).key != planned(edit(images=(other,))).key


@pytest.mark.parametrize("request_of", [generate, edit], ids=["generate", "edit"])
def test_streaming_does_not_change_the_key(request_of: Any) -> None:
    """How the answer is delivered makes it no other answer."""
    plain = planned(request_of())

    assert plain.key == planned(request_of(stream=True)).key
    assert plain.key == planned(request_of(stream=True, partial_images=3)).key


def test_the_endpoint_is_part_of_the_key() -> None:
    """Two services do not share answers; a slash at the end is no other service."""
    assert planned().key != planned(endpoint="http://localhost:8080/v1").key
    assert planned().key == planned(endpoint=ENDPOINT + "/").key


def test_a_crop_shares_the_key() -> None:
    """The same drawing, cut differently, is paid for once."""
    assert planned(size="1920x1080").key == planned(size="1920x1088").key


# Plans.


@pytest.mark.parametrize(
    ("options", "sent", "exact"),
    [
        ({}, None, None),
        ({"size": "auto"}, "auto", None),
        ({"size": "1920x1080"}, "1920x1088", (1920, 1080)),
        ({"size": "1200x400"}, "1440x480", (1200, 400)),
        ({"size": "1920x1080", "model": "gpt-image-9"}, "1920x1080", (1920, 1080)),
        ({"size": "1200x630", "model": "gpt-image-1.5"}, "1536x1024", (1200, 630)),
        ({"size": "1920x1080", "format": "svg"}, "1920x1088", (1920, 1080)),
    ],
    ids=str,
)
def test_sizes_are_planned(
    options: dict[str, Any], sent: str | None, exact: tuple[int, int] | None
) -> None:
    """A legal size goes on the wire; the pixels asked for are remembered."""
    found = planned(**options)

    assert (sent, exact) == (found.wire.body.get("size"), found.exact)


def test_the_max_cost_holds_the_estimate() -> None:
    """An estimate for the quality asked for, a maximum for what may come."""
    found = planned(size="1024x1024", quality="low")

    assert found.estimate is not None
    assert found.max_cost == found.estimate.usd + Decimal(3 * 5) / 1_000_000  # 5 bytes, 2 tokens
    assert planned(size="1024x1024").estimate is None
    assert planned(size="1024x1024").max_cost == planned(size="1024x1024", quality="max").max_cost


@pytest.mark.parametrize(
    "options",
    [
        {"model": "gpt-image-9", "size": "1024x1024"},
        {"model": "gpt-image-2.6-flare", "size": "1024x1024"},
        {"format": "gif", "size": "512x512"},
        {"format": "svg", "size": "1024x1024"},
    ],
    ids=str,
)
def test_what_cannot_be_estimated(options: dict[str, Any]) -> None:
    """No figure is invented, and the errors say that it is unknown."""
    found = planned(quality="low", **options)

    assert (found.estimate, found.max_cost) == (None, None)


def test_inputs_and_previews_are_estimated() -> None:
    """An edit costs its inputs, a stream its previews."""
    asked: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
    plain = planned(**asked).estimate
    costly = planned(edit(**asked, stream=True, partial_images=2)).estimate

    assert plain is not None
    assert costly is not None
    assert (plain.output_tokens, costly.output_tokens) == (196, 396)
    assert costly.input_tokens == plain.input_tokens + 1024


def test_the_day_decides() -> None:
    """Today a dying model is asked with a warning, from December on it is not."""
    assert "2026-12-01" in planned(model="gpt-image-1.5").warnings[0]
    with pytest.raises(ModelRetiredError):
        planned(model="gpt-image-1.5", today=date(2026, 12, 2))


def test_azure_has_days_of_its_own() -> None:
    """There mini lives until April."""
    endpoint = "https://mine.openai.azure.com/openai/v1/"
    found = planned(model="gpt-image-1-mini", today=date(2027, 1, 1), endpoint=endpoint)

    assert found.warnings[0] == "gpt-image-1-mini shuts down on 2027-04-07; use gpt-image-2"


def test_a_date_without_a_successor_is_only_a_date() -> None:
    """No sentence ends in the middle where nothing is known to move to."""
    endpoint = "https://mine.openai.azure.com/openai/v1/"
    found = planned(model="gpt-image-2", today=date(2027, 1, 1), endpoint=endpoint)

    assert found.warnings[0] == "gpt-image-2 shuts down on 2027-10-21"


def test_a_mask_is_made_legal() -> None:
    """It gets the size of the first image, and the caller is told."""
    found = planned(edit(images=(image(96, 48), image()), mask=Mask.open(cutout(64, 32))))
    part = next(part for part in found.wire.files if part.name == "mask")

    assert Image.from_bytes(part.data).size == (96, 48)
    assert any("scaled" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mask": Mask.from_box((0, 0, 65, 65))}, "mask"),
        ({"mask": Mask.open(picture(64, 64, color="black"))}, "mask"),
        ({"mask": Mask.from_box((0, 0, 8, 8)), "images": (FileRef("file-abc12345"),)}, "mask"),
        ({"markup": Image.from_bytes(picture(64, 64))}, "markup"),
        ({"markup": Image.from_bytes(cutout(32, 32))}, "markup"),
        ({"markup": image(form="jpeg")}, "markup"),
        ({"size": "5000x5000"}, "size"),
    ],
    ids=range(7),
)
def test_pictures_that_cannot_work_are_refused(changes: dict[str, Any], field: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        planned(edit(**changes))

    assert caught.value.field == field
