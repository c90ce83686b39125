"""Requests as values: built from what callers write, refused by name when they slip."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError

from gptimage import Edit, EditOptions, Generate, InvalidRequestError, Options, Prompt, Size
from gptimage.types.request import generate_request
from tests.factories import DEFAULT, edit, generate, image


OG = Prompt("A fox", size="1200x630", quality="high", background="opaque", format="png")


def test_only_the_prompt_and_a_model_are_needed() -> None:
    """Everything else is left to the service, and not sent."""
    request = generate()

    assert Generate(prompt="A fox", model=DEFAULT) == request
    assert (request.effective_n, request.inputs, request.operation) == (1, (), "generate")


def test_none_is_as_good_as_left_out() -> None:
    """Callers may pass their own optional arguments on."""
    assert generate() == generate(model=None, n=None, size=None, quality=None, svg=None)


def test_every_option_is_kept() -> None:
    """Nothing a caller says is dropped on the way into the value."""
    options: dict[str, Any] = {
        "model": "gpt-image-2.6-flare",
        "n": 2,
        "quality": "high",
        "background": "opaque",
        "format": "png",
        "compression": 5,
        "moderation": "low",
        "complexity": "low",
        "safety_identifier": "user",
        "frame_count": 3,
        "frame_duration_ms": 100,
        "svg": {"model": "x"},
        "partial_images": 1,
        "extra_body": {"new": 1},
    }
    request = generate(size="16:9", **options)

    assert set(Options.__annotations__) == {*options, "size"}
    assert options == {name: getattr(request, name) for name in options}
    assert Size(1536, 864) == request.size


def test_edit_options_are_options_and_pictures() -> None:
    """Edits take what new images take, and four parameters more."""
    more = set(EditOptions.__annotations__) - set(Options.__annotations__)

    assert {"mask", "markup", "input_fidelity", "outside"} == more


@pytest.mark.parametrize("size", ["1920x1080", (1920, 1080), Size(1920, 1080), "full_hd"])
def test_a_size_is_understood_in_every_form(size: str) -> None:
    """Requests built by hand and by the clients understand the same sizes."""
    by_hand = Generate(prompt="A fox", model=DEFAULT, size=size)

    assert Size(1920, 1080) == by_hand.size == generate(size=size).size


@pytest.mark.parametrize("size", ["huge", (0, 1), 5, ""])
def test_a_size_nobody_understands_is_refused(size: str) -> None:
    """The value is never built with it."""
    with pytest.raises(InvalidRequestError) as built:
        generate(size=size)
    with pytest.raises(InvalidRequestError) as by_hand:
        Generate(prompt="A fox", model=DEFAULT, size=size)

    assert built.value.field == by_hand.value.field == "size"


def test_a_template_recommends() -> None:
    """What a rendered prompt recommends applies where the caller says nothing."""
    request = generate_request(OG, {"quality": "low"}, default_model=DEFAULT)

    assert ("A fox", Size(1200, 630), "low", "opaque", "png") == (
        request.prompt,
        request.size,
        request.quality,
        request.background,
        request.format,
    )
    assert request.template is None


def test_the_template_is_remembered() -> None:
    """A request says which template its prompt came from."""
    request = generate_request(evolve(OG, template="og"), {}, default_model=DEFAULT)

    assert request.template == "og"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("output_format", "format"),
        ("output_compression", "compression"),
        ("response_format", "bytes"),
        ("style", "prompt"),
        ("user", "safety_identifier"),
        ("seed", "no seed"),
        ("negative_prompt", "prompt"),
        ("stream", r"stream\(\)"),
        ("use_cache", "refresh=True"),
        ("images", r"edit\(\)"),
        ("mask", r"edit\(\)"),
        ("input_fidelity", r"edit\(\)"),
        ("qualty", "quality"),
        ("template", "extra_body"),
        ("prompt", "extra_body"),
        ("zzz", "extra_body"),
    ],
)
def test_an_unknown_option_is_refused_with_advice(name: str, advice: str) -> None:
    """A slip, or a name of the wire, is answered with the name it has here."""
    with pytest.raises(InvalidRequestError, match=advice) as caught:
        generate_request("A fox", {name: None}, default_model=DEFAULT)

    assert caught.value.field == name
    assert name not in caught.value.allowed  # type: ignore[operator]  # a tuple of names


def test_an_edit_knows_its_pictures() -> None:
    """Mask and markup belong to the first image."""
    pictures = (image(), image(color="red"))
    request = edit(images=pictures, input_fidelity="high")

    assert isinstance(request, Edit)
    assert ("edit", pictures, "high") == (
        request.operation,
        request.inputs,
        request.input_fidelity,
    )


def test_requests_do_not_change() -> None:
    """A result can hold its request without a copy."""
    with pytest.raises(FrozenInstanceError):
        generate().n = 2  # type: ignore[misc]  # that is the point


def test_requests_can_be_pickled() -> None:
    """A queue worker receives the request that was sent to it."""
    request = edit(size="16:9", extra_body={"new": [1]}, svg=None)

    assert request == pickle.loads(pickle.dumps(request))


def test_users_stay_out_of_logs() -> None:
    """The id of an end user and the bytes of images are not shown."""
    request = edit(safety_identifier="user-7")

    assert "user-7" not in repr(request)
    assert len(repr(request)) < 1000
