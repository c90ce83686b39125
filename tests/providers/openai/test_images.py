"""The Images API: what goes on the wire, and what is read from it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gptimage import FileRef, Generate, Image, InvalidRequestError, Options, Usage
from gptimage._internal.json import canonical
from gptimage.providers.openai.images import (
    MAX_DATA_URL,
    WIRE_NAMES,
    read_event,
    read_usage,
    to_wire,
)
from gptimage.transport.http import ServerEvent
from tests.factories import USAGE, cutout, edit, event, generate, image, picture


def test_a_new_picture() -> None:
    """Only what was asked for is sent."""
    wire = to_wire(generate(), size=None)

    assert (wire.method, wire.path) == ("POST", "/images/generations")
    assert wire.body == {"model": "gpt-image-2.5-flare", "prompt": "A fox"}
    assert wire.files == ()
    assert not wire.stream


def test_every_option_has_a_wire_name() -> None:
    """A parameter without one would be accepted and dropped."""
    elsewhere = {"model", "size", "extra_body"}

    assert set(Options.__annotations__) | {"input_fidelity"} == set(WIRE_NAMES) | elsewhere


VALUES: dict[str, Any] = {
    "n": 3,
    "quality": "low",
    "background": "opaque",
    "format": "jpeg",
    "compression": 0,
    "moderation": "low",
    "complexity": "high",
    "safety_identifier": "user",
    "frame_count": 2,
    "frame_duration_ms": 100,
    "svg": {"model": "x"},
    "partial_images": 0,
}


@pytest.mark.parametrize("name", VALUES)
def test_every_option_reaches_the_wire(name: str) -> None:
    """Under its name there, zero included."""
    wire = to_wire(evolve(generate(), **{name: VALUES[name]}), size=None)

    assert VALUES[name] == wire.body[WIRE_NAMES[name]]


def test_unknown_fields_are_passed() -> None:
    """What this library does not know goes as it is."""
    wire = to_wire(generate(extra_body={"new": [1, None]}), size="auto")

    assert (wire.body["new"], wire.body["size"]) == ([1, None], "auto")


def test_a_stream_is_asked_for() -> None:
    """The wire says so, and so does the request."""
    wire = to_wire(generate(stream=True, partial_images=2), size=None)

    assert wire.stream
    assert (wire.body["stream"], wire.body["partial_images"]) == (True, 2)


def test_nothing_else_is_ever_sent() -> None:
    """Fields that make the service answer 400 are not among the wire's."""
    wire = to_wire(edit(), size=None)

    assert not {"response_format", "style", "user", "input_fidelity"} & wire.body.keys()


def test_an_edit_goes_as_a_form() -> None:
    """With true MIME types and fitting file names, whatever the file was called."""
    pictures = (image(), image(form="jpeg"), image(form="webp"))
    mask, markup = Image.from_bytes(cutout()), Image.from_bytes(cutout(color="red"))
    wire = to_wire(edit(images=pictures, markup=markup), size=None, mask=mask)

    assert wire.path == "/images/edits"
    assert not {"image", "images", "mask"} & wire.body.keys()
    assert [
        ("image[]", "image-1.png", "image/png", pictures[0].data),
        ("image[]", "image-2.jpg", "image/jpeg", pictures[1].data),
        ("image[]", "image-3.webp", "image/webp", pictures[2].data),
        ("mask", "mask.png", "image/png", mask.data),
        ("markup", "markup.png", "image/png", markup.data),
    ] == [(part.name, part.filename, part.content_type, part.data) for part in wire.files]


def test_one_picture_is_not_a_list() -> None:
    """As the official client does it."""
    (part,) = to_wire(edit(), size=None).files

    assert part.name == "image"


@pytest.mark.parametrize(
    ("changes", "mask"),
    [
        ({"moderation": "low"}, None),
        ({"images": (FileRef("file-abc12345"), image())}, None),
        ({"markup": FileRef("file-abc12345")}, None),
        ({}, FileRef("file-abc12345")),
    ],
    ids=["moderation", "image", "markup", "mask"],
)
def test_what_a_form_cannot_say_goes_as_json(changes: dict[str, Any], mask: FileRef | None) -> None:
    """File ids and moderation exist only there; the other images go along as data URLs."""
    request = edit(**changes)
    wire = to_wire(request, size=None, mask=mask)
    images: Any = wire.body["images"]

    assert wire.files == ()
    assert [_reference(each) for each in request.images] == images
    assert ({"file_id": "file-abc12345"} if mask else None) == wire.body.get("mask")
    assert json.loads(canonical(dict(wire.body))) == wire.body


def _reference(picture: Image | FileRef) -> dict[str, str]:
    if isinstance(picture, FileRef):
        return {"file_id": picture.file_id}
    return {"image_url": "data:image/png;base64," + base64.b64encode(picture.data).decode()}


def test_a_data_url_has_a_limit() -> None:
    """An image too large for the JSON form is refused before anything is sent."""
    most = (MAX_DATA_URL - len("data:image/png;base64,")) // 4 * 3
    fits = Image(data=bytes(most), format="png", width=8, height=8)
    wire = to_wire(edit(images=(fits,), moderation="low"), size=None)
    large = evolve(fits, data=bytes(most + 3))

    assert wire.body["images"]
    with pytest.raises(InvalidRequestError, match="shrink") as caught:
        to_wire(edit(images=(large,), moderation="low"), size=None)
    assert caught.value.field == "images"


def test_bytes_and_prompts_stay_out_of_reprs() -> None:
    """Logs of requests stay short and private."""
    wire = to_wire(edit("A secret fox"), size=None)

    assert "secret" not in repr(wire)
    assert len(repr(wire)) < 500


# Usage.


def usage(**changes: object) -> Usage | None:
    """The usage of a reply with changes."""
    return read_usage({"usage": {**USAGE, **changes}}, has_inputs=True)


def test_usage_is_read() -> None:
    """Sums and parts, as the service counted them."""
    assert usage() == Usage(
        input_tokens=10, output_tokens=196, total_tokens=206, text_tokens=10, image_tokens=0
    )


def test_more_of_usage_is_read() -> None:
    """Written text and the author of an svg are counted apart."""
    found = read_usage(
        {
            "usage": {**USAGE, "output_tokens_details": {"text_tokens": 6, "image_tokens": 190}},
            "svg_usage": {"total_tokens": 500},
        },
        has_inputs=False,
    )

    assert found is not None
    assert (found.output_text_tokens, found.svg_tokens) == (6, 500)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"usage": None},
        {"usage": []},
        {"usage": {}},
        {"usage": {"total_tokens": 5}},
        {"usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}},
        {"usage": {**USAGE, "input_tokens": -1}},
        {"usage": {**USAGE, "output_tokens": "196"}},
        {"usage": {**USAGE, "output_tokens": 1.5}},
        {"usage": {**USAGE, "output_tokens": True}},
    ],
    ids=range(12),
)
def test_no_usage_is_none(value: object) -> None:
    """Missing, zero or broken counts are not reported as counts."""
    assert read_usage(value, has_inputs=False) is None


def test_a_missing_sum_is_made_of_its_parts() -> None:
    """Some servers leave out the total."""
    found = usage(total_tokens=None)

    assert found is not None
    assert found.total_tokens == 206


def test_without_inputs_all_that_went_in_is_text() -> None:
    """The parts may be missing where there can be only one."""
    found = read_usage({"usage": {**USAGE, "input_tokens_details": None}}, has_inputs=False)

    assert found is not None
    assert (found.text_tokens, found.image_tokens) == (10, 0)


def test_with_inputs_the_parts_stay_unknown() -> None:
    """How many tokens were images is not guessed."""
    found = usage(input_tokens_details={})

    assert found is not None
    assert (found.text_tokens, found.image_tokens) == (None, None)


# Events.


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (event("image_generation.partial_image", picture()), "partial"),
        (event("image_edit.partial_image", picture()), "partial"),
        (event("image_generation.completed", picture()), "completed"),
        (event("image_edit.completed", picture()), "completed"),
        (event("image_generation.completed"), "completed"),
        (event("image_generation.completed", error={"message": "x"}), "error"),
        (event("image_generation.completed", picture(), error={"message": "x"}), "completed"),
        (event("error", error={"message": "x"}), "error"),
        (event("error", code="x", message="x"), "error"),
        (event("ping"), "other"),
        (event("response.created", error=None), "other"),
        (ServerEvent(name="image_generation.completed", data=b'{"b64_json":"QUJD"}'), "completed"),
        (ServerEvent(name="error", data=b'{"message":"x"}'), "error"),
        (ServerEvent(data=b'{"error":{"message":"x"}}'), "error"),
        (ServerEvent(name="image_generation.completed", data=b"[]"), "other"),
        (ServerEvent(name="image_generation.completed", data=b"null"), "other"),
        (ServerEvent(name="image_generation.partial_image", data=b'"x"'), "other"),
        (ServerEvent(data=b'{"type":5}'), "other"),
    ],
    ids=range(18),
)
def test_events_have_one_kind(sent: ServerEvent, kind: str) -> None:
    """The event's own type decides, its name where it has none; a preview is never final."""
    assert kind == read_event(sent).kind


@pytest.mark.parametrize(("given", "index"), [(2, 2), (None, 0), ("1", 0), ([], 0)])
def test_previews_are_numbered(given: object, index: int) -> None:
    """A number that is none is zero."""
    sent = event("image_generation.partial_image", picture(), partial_image_index=given)

    assert index == read_event(sent).index


@given(st.binary(max_size=200), st.text(max_size=10))
def test_any_event_is_read_or_a_value_error(data: bytes, name: str) -> None:
    """Events made of garbage never crash."""
    try:
        parsed = read_event(ServerEvent(name=name, data=data))
    except ValueError:
        return

    assert parsed.kind in {"partial", "completed", "error", "other"}


def test_the_request_is_not_changed() -> None:
    """Translating twice gives the same."""
    request: Generate = edit(extra_body={"new": 1})

    assert to_wire(request, size=None) == to_wire(request, size=None)
