"""Every parameter of every operation reaches the wire, or is refused by name."""

from __future__ import annotations

import base64
import functools
import io
import json
from typing import Any

import pytest
from PIL import Image as PilImage

import gptimage
from gptimage.transport.http import HttpRequest
from tests.client.harness import Harness, answer, picture


@functools.cache
def transparent(width: int = 64, height: int = 64) -> gptimage.Image:
    image = PilImage.new("RGBA", (width, height), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (8, 8, 32, 32))
    file = io.BytesIO()
    image.save(file, "png")
    return gptimage.Image.from_bytes(file.getvalue())


NEWEST = "gpt-image-2.6-flare"

SAMPLES: dict[str, tuple[Any, dict[str, Any], str, Any]] = {
    # parameter: value, what it needs beside it, wire name, wire value
    "model": ("gpt-image-2", {}, "model", "gpt-image-2"),
    "n": (2, {}, "n", 2),
    "size": ("1536x1024", {}, "size", "1536x1024"),
    "quality": ("max", {}, "quality", "max"),
    "background": ("opaque", {}, "background", "opaque"),
    "format": ("webp", {}, "output_format", "webp"),
    "compression": (55, {"format": "jpeg"}, "output_compression", 55),
    "moderation": ("low", {}, "moderation", "low"),
    "complexity": ("low", {"model": NEWEST}, "complexity", "low"),
    "safety_identifier": ("user-7", {}, "safety_identifier", "user-7"),
    "frame_count": (4, {"format": "gif", "model": NEWEST}, "frame_count", 4),
    "frame_duration_ms": (120, {"format": "gif", "model": NEWEST}, "frame_duration_ms", 120),
    "svg": ({"model": "gpt-5.6"}, {"format": "svg", "model": NEWEST}, "svg", {"model": "gpt-5.6"}),
    "partial_images": (2, {}, "partial_images", 2),
    "extra_body": ({"new_field": [1]}, {}, "new_field", [1]),
    "mask": (transparent(), {}, "mask", "file"),
    "markup": (transparent(), {}, "markup", "file"),
    "input_fidelity": ("high", {"model": "gpt-image-1.5"}, "input_fidelity", "high"),
}

REFUSED: dict[str, set[str]] = {
    "generate": {"partial_images", "mask", "markup", "input_fidelity"},
    "edit": {"partial_images"},
    "stream": {"frame_count", "frame_duration_ms", "svg", "mask", "markup", "input_fidelity"},
    "stream an edit": {"frame_count", "frame_duration_ms", "svg"},
}
"""What an operation does not take; everything else must arrive."""


def call(client: Any, operation: str, options: dict[str, Any]) -> None:
    images = transparent()
    if operation == "generate":
        client.generate("A fox", **options)
    elif operation == "edit":
        client.edit("A fox", images=images, **options)
    else:
        list(client.stream("A fox", images if "edit" in operation else None, **options))


def on_the_wire(request: HttpRequest, name: str) -> Any:
    files = {part.name for part in request.files}
    return "file" if name in files else request.body.get(name)


def test_every_parameter_has_a_sample() -> None:
    """A new parameter cannot be added without being walked."""
    # `outside` is never sent: tests/engine/test_outside.py has it.
    assert set(gptimage.EditOptions.__annotations__) == {*SAMPLES, "outside"}


@pytest.mark.parametrize("operation", REFUSED)
@pytest.mark.parametrize("name", SAMPLES)
def test_it_arrives_or_is_refused(harness: Harness, operation: str, name: str) -> None:
    """A parameter that is accepted is on the wire under its name there, with its value."""
    value, beside, wire_name, wire_value = SAMPLES[name]
    client, service = harness.fake(answer(picture()))
    options = {**beside, name: value}
    if name in REFUSED[operation]:
        with pytest.raises(gptimage.InvalidRequestError) as caught:
            call(client, operation, options)
        assert caught.value.field in {name, "format"}
        assert service.requests == []
    else:
        call(client, operation, options)
        assert on_the_wire(service.requests[0], wire_name) == wire_value


@pytest.mark.parametrize("name", SAMPLES)
def test_none_is_not_sent(harness: Harness, name: str) -> None:
    """None means the parameter was left out."""
    client, service = harness.fake(answer(picture()))
    client.edit("A fox", images=transparent(), **{name: None})
    wire_name = SAMPLES[name][2]
    expected = "gpt-image-2.5-flare" if name == "model" else None
    assert on_the_wire(service.requests[0], wire_name) == expected


@pytest.mark.parametrize("name", ["style", "response_format", "user", "seed", "qualty"])
def test_an_unknown_parameter_is_refused_by_name(harness: Harness, name: str) -> None:
    """What we do not know is refused with advice, never swallowed."""
    client, service = harness.fake(answer(picture()))
    with pytest.raises(gptimage.InvalidRequestError, match=name) as caught:
        client.generate("A fox", **{name: "x"})
    assert caught.value.field == name
    assert service.requests == []


@pytest.mark.parametrize("name", ["model", "quality", "stream", "image", "output_format"])
def test_extra_body_cannot_smuggle_known_fields(harness: Harness, name: str) -> None:
    """Known fields go through their own parameter, so that checks and costs stay true."""
    client, service = harness.fake(answer(picture()))
    with pytest.raises(gptimage.InvalidRequestError, match="extra_body"):
        client.generate("A fox", extra_body={name: "x"})
    assert service.requests == []


def test_moderation_of_an_edit_goes_as_json(harness: Harness) -> None:
    """The multipart form has no such field, so the edit is sent as JSON with data URLs."""
    client, service = harness.fake(answer(picture()))
    image = transparent()
    client.edit("A fox", images=[image, image], mask=image, moderation="low")
    (request,) = service.requests
    url = "data:image/png;base64," + base64.b64encode(image.data).decode()
    assert request.files == ()
    assert request.body["images"] == [{"image_url": url}, {"image_url": url}]
    assert json.loads(json.dumps(request.body)) == request.body


def test_file_ids_go_as_json(harness: Harness) -> None:
    """An image uploaded earlier is named by its id."""
    client, service = harness.fake(answer(picture()))
    client.edit("A fox", images=[gptimage.FileRef("file-abc12345"), transparent()])
    images: Any = service.requests[0].body["images"]
    assert images[0] == {"file_id": "file-abc12345"}
    assert images[1]["image_url"].startswith("data:image/png;base64,")


def test_one_picture_and_several_use_the_names_of_the_official_client(harness: Harness) -> None:
    """One image is ``image``, several are ``image[]``, each with its true MIME type."""
    client, service = harness.fake(answer(picture()))
    jpeg = gptimage.Image.from_bytes(picture(64, 64, "jpeg"))
    client.edit("A fox", images=jpeg)
    client.edit("A fox", images=[jpeg, transparent()])
    found = [[(p.name, p.content_type) for p in r.files] for r in service.requests]
    assert found[0] == [("image", "image/jpeg")]
    assert found[1] == [("image[]", "image/jpeg"), ("image[]", "image/png")]
