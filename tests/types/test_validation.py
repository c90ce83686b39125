"""Every documented rule of every model: refused with advice, or sent with a warning."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage import (
    Edit,
    FileRef,
    Generate,
    Image,
    InvalidRequestError,
    Mask,
    ModelRetiredError,
    Models,
)
from gptimage.types.parameters import WIRE_NAMES
from gptimage.types.validation import validate
from tests.factories import TODAY, cutout, edit, generate, image


MODELS = Models.load()
LIVE = [spec.id for spec in MODELS if spec.state(TODAY) != "shut_down"]
FLEXIBLE = [name for name in LIVE if not MODELS[name].sizes.values]
FIXED = [name for name in LIVE if MODELS[name].sizes.values]
V26 = ["gpt-image-2.6-sunburst", "gpt-image-2.6-flare"]
V25 = [name for name in LIVE if name.startswith("gpt-image-2.5-")]
V2 = ["gpt-image-2", "gpt-image-2-2026-04-21"]
V15 = ["gpt-image-1.5", "gpt-image-1.5-2025-12-16"]
MINI = "gpt-image-1-mini"
CHAT = "chatgpt-image-latest"
LONG = "x" * 32_001


def judged(request: Generate, today: date = TODAY) -> tuple[str, ...]:
    """The warnings about a request."""
    return validate(request, MODELS.get(request.model), today)


def refused(request: Generate, today: date = TODAY) -> InvalidRequestError:
    """The error about a request."""
    with pytest.raises(InvalidRequestError) as caught:
        judged(request, today)
    error = caught.value
    assert error.field in str(error) or isinstance(error, ModelRetiredError)
    assert error.allowed
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    return error


def test_every_live_model_is_in_a_group() -> None:
    """The tables below leave no model out."""
    assert {*V26, *V25, *V2, *V15, MINI, CHAT} == set(LIVE)
    assert {*V26, *V25, *V2} == set(FLEXIBLE)


# What holds for every model.

ANYWHERE: list[tuple[str, dict[str, Any]]] = [
    ("prompt", {"prompt": ""}),
    ("prompt", {"prompt": "  \n"}),
    ("prompt", {"prompt": None}),
    ("prompt", {"prompt": 7}),
    ("prompt", {"prompt": b"A fox"}),
    ("prompt", {"prompt": "half an emoji \ud83e"}),
    ("prompt", {"prompt": "A f\0x"}),
    ("safety_identifier", {"safety_identifier": "a\0"}),
    ("model", {"model": ""}),
    ("model", {"model": 7}),
    ("n", {"n": 0}),
    ("n", {"n": -1}),
    ("n", {"n": 1.0}),
    ("n", {"n": True}),
    ("n", {"n": "2"}),
    ("n", {"n": 10**5000}),
    ("compression", {"compression": 50.5, "format": "jpeg"}),
    ("compression", {"compression": False, "format": "jpeg"}),
    ("frame_count", {"frame_count": "9", "format": "gif"}),
    ("frame_duration_ms", {"frame_duration_ms": 10.0, "format": "gif"}),
    ("partial_images", {"partial_images": 1}),
    ("partial_images", {"partial_images": 0}),
    ("partial_images", {"partial_images": "1", "stream": True}),
    ("quality", {"quality": ""}),
    ("quality", {"quality": 5}),
    ("background", {"background": ["opaque"]}),
    ("format", {"format": object()}),
    ("moderation", {"moderation": True}),
    ("complexity", {"complexity": 1}),
    ("safety_identifier", {"safety_identifier": 7}),
    ("safety_identifier", {"safety_identifier": "\udcff"}),
    ("svg", {"svg": "gpt-5.6", "format": "svg"}),
    ("svg", {"svg": {"model": object()}, "format": "svg"}),
    ("extra_body", {"extra_body": "new=1"}),
    ("extra_body", {"extra_body": 5}),
    ("extra_body", {"extra_body": [("new", 1)]}),
    ("extra_body", {"extra_body": {1: 2}}),
    ("extra_body", {"extra_body": {"new": {1: 2, "a": 3}}}),
    ("extra_body", {"extra_body": {"new": float("nan")}}),
    ("extra_body", {"extra_body": {"new": float("inf")}}),
    ("extra_body", {"extra_body": {"new": b"bytes"}}),
    ("extra_body", {"extra_body": {"new": {1, 2}}}),
    ("extra_body", {"extra_body": {"new": "\ud800"}}),
    ("extra_body", {"extra_body": {"new": 10**5000}}),
]
"""Parameters no service can take, whatever the model."""


@pytest.mark.parametrize("model", ["gpt-image-2.6-flare", MINI, "some-other-model"])
@pytest.mark.parametrize(("field", "changes"), ANYWHERE, ids=range(len(ANYWHERE)))
def test_nonsense_is_refused_for_any_model(model: str, field: str, changes: dict[str, Any]) -> None:
    """Wrong types, half letters and endless numbers never reach the wire or crash on the way."""
    request = evolve(generate(model=model), **changes)

    assert field == refused(request).field


def test_a_circle_is_no_json() -> None:
    """A mapping that contains itself cannot be sent."""
    circle: dict[str, object] = {}
    circle["new"] = circle

    assert refused(generate(extra_body=circle)).field == "extra_body"


def test_a_bottomless_mapping_is_no_json() -> None:
    """Nesting no encoder can follow is refused, not a RecursionError."""
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]

    assert refused(generate(extra_body={"new": deep})).field == "extra_body"


@pytest.mark.parametrize("model", ["gpt-image-2", "some-other-model"])
@pytest.mark.parametrize(
    "name",
    [
        *WIRE_NAMES.values(),
        "model",
        "prompt",
        "size",
        "stream",
        "image",
        "images",
        "mask",
        "markup",
    ],
)
def test_known_fields_have_their_own_parameter(model: str, name: str) -> None:
    """Smuggled past the checks, they would make every warning and estimate a lie."""
    assert refused(generate(model=model, extra_body={name: 1})).value == name


class Quality(enum.StrEnum):
    """A caller's own list of words."""

    HIGH = "high"


def test_text_may_be_an_enum() -> None:
    """Words from a caller's own enum are words."""
    assert judged(generate(quality=Quality.HIGH)) == ()


# Models nobody listed.


def test_an_unknown_model_is_sent_with_a_warning() -> None:
    """The service knows better than a catalogue that may be old."""
    request = generate(
        model="gpt-image-9", size=(5000, 5000), quality="ultra", format="avif", prompt=LONG, n=50
    )
    (warning,) = judged(request)

    assert "gpt-image-9" in warning
    assert "unchecked" in warning


# Dates.


@pytest.mark.parametrize("model", [*V15, MINI, CHAT])
@pytest.mark.parametrize("today", [date(2026, 11, 20), date(2026, 11, 30)], ids=str)
def test_a_dying_model_warns(model: str, today: date) -> None:
    """Until its last day it is asked, and the caller told what to move to."""
    (warning,) = judged(generate(model=model), today)

    assert warning == (
        f"{model} shuts down on 2026-12-01; use gpt-image-2.6-sunburst or gpt-image-2.6-flare, "
        "or gpt-image-2.5-flare, whose cost can be estimated beforehand"
    )


@pytest.mark.parametrize("model", [*V15, MINI, CHAT])
@pytest.mark.parametrize("today", [date(2026, 12, 1), date(2026, 12, 2)], ids=str)
def test_a_dead_model_is_not_asked(model: str, today: date) -> None:
    """From its shutdown date on it is refused with its replacements."""
    error = refused(generate(model=model), today)

    assert isinstance(error, ModelRetiredError)
    assert ("model", model, date(2026, 12, 1)) == (error.field, error.value, error.shutdown_date)
    assert error.replacements == ("gpt-image-2.6-sunburst", "gpt-image-2.6-flare")
    assert str(error) == (
        f"{model} was shut down on 2026-12-01; use gpt-image-2.6-sunburst or gpt-image-2.6-flare, "
        "or gpt-image-2.5-flare, whose cost can be estimated beforehand"
    )


def test_an_svg_edit_may_be_refused() -> None:
    """The sources disagree whether an edit draws svg: it is sent, and the caller told."""
    found = judged(edit(model="gpt-image-2.6-flare", format="svg"))

    assert found == (
        "the service is reported to draw svg only for generate(); an edit may be refused",
    )
    assert judged(generate(model="gpt-image-2.6-flare", format="svg")) == ()


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-image-1", date(2026, 10, 23)),
        ("dall-e-2", date(2026, 5, 12)),
        ("dall-e-3", date(2026, 5, 12)),
    ],
)
def test_what_is_gone_today(model: str, day: date) -> None:
    """The models everybody's old code names fail with the day and what to use."""
    error = refused(generate(model=model))

    assert isinstance(error, ModelRetiredError)
    assert day == error.shutdown_date
    assert "gpt-image-2.5-flare" in error.replacements


def test_the_date_counts_before_any_other_rule() -> None:
    """Nobody repairs a request for a model that is gone."""
    assert isinstance(refused(generate(model="dall-e-3", quality="hd")), ModelRetiredError)


@pytest.mark.parametrize("model", [*V26, *V25, *V2])
def test_a_living_model_has_no_warning(model: str) -> None:
    """A plain request is silent."""
    assert judged(generate(model=model)) == ()


# Rules per model: (models, options, field at fault or None, part of a warning or of `allowed`).

Rule = tuple[list[str], dict[str, Any], str | None, str]

RULES: list[Rule] = [
    (LIVE, {"prompt": "x" * 32_000}, None, ""),
    (LIVE, {"prompt": LONG}, "prompt", "32,000"),
    (LIVE, {"n": 1}, None, ""),
    (LIVE, {"n": 10}, None, ""),
    (LIVE, {"n": 11}, "n", "1 to 10"),
    # Qualities.
    *[(LIVE, {"quality": each}, None, "") for each in ("low", "medium", "high", "auto")],
    *[([*V26, *V25], {"quality": each}, None, "") for each in ("xhigh", "max")],
    *[([*V2, *V15, MINI, CHAT], {"quality": each}, "quality", "high") for each in ("xhigh", "max")],
    *[(LIVE, {"quality": each}, "quality", "high") for each in ("hd", "standard", "HIGHEST")],
    # Sizes.
    (LIVE, {"size": "auto"}, None, ""),
    (LIVE, {"size": "1024x1024"}, None, ""),
    (LIVE, {"size": "1536x1024"}, None, ""),
    (LIVE, {"size": "1200x400"}, None, ""),
    (FLEXIBLE, {"size": "1920x1080"}, None, ""),
    (FLEXIBLE, {"size": "2560x1440"}, None, ""),
    (FLEXIBLE, {"size": "3840x2160"}, None, "experimental"),
    (FLEXIBLE, {"size": "4096x2160"}, "size", "3840"),
    (FLEXIBLE, {"size": "3840x3840"}, "size", "2880x2880"),
    (FIXED, {"size": "1920x1080"}, "size", "1536x1024"),
    (FIXED, {"size": "1536x1536"}, "size", "1024x1536"),
    # Backgrounds.
    *[(LIVE, {"background": each}, None, "") for each in ("opaque", "auto")],
    (LIVE, {"background": "blue"}, "background", "transparent"),
    ([*V25, *V15], {"background": "transparent"}, None, ""),
    ([*V25, *V15], {"background": "transparent", "format": "webp"}, None, ""),
    (V2, {"background": "transparent"}, None, "preview"),
    ([MINI, CHAT], {"background": "transparent"}, None, "no source"),
    *[(V26, {"background": "transparent", "format": e}, None, "") for e in ("png", "webp", "svg")],
    (V26, {"background": "transparent", "format": "gif"}, None, "edges are hard"),
    (LIVE, {"background": "transparent", "format": "jpeg"}, "background", "webp"),
    ([*V25, *V2, *V15], {"background": "transparent", "format": "gif"}, "background", "webp"),
    ([*V25, *V2, *V15], {"background": "transparent", "format": "svg"}, "background", "webp"),
    # Formats and compression.
    *[(LIVE, {"format": each}, None, "") for each in ("png", "jpeg", "webp")],
    *[(V26, {"format": each}, None, "") for each in ("gif", "svg")],
    *[([*V25, *V2, *V15, MINI, CHAT], {"format": e}, None, "no source") for e in ("gif", "svg")],
    *[(LIVE, {"format": each}, "format", "webp") for each in ("avif", "bmp", "PNGS")],
    *[(LIVE, {"compression": c, "format": "jpeg"}, None, "") for c in (0, 50, 100)],
    (LIVE, {"compression": 50, "format": "webp"}, None, ""),
    *[(LIVE, {"compression": c, "format": "jpeg"}, "compression", "0 to 100") for c in (-1, 101)],
    (LIVE, {"compression": 50}, "compression", "jpeg"),
    (LIVE, {"compression": 50, "format": "png"}, "compression", "jpeg"),
    (V26, {"compression": 50, "format": "gif"}, "compression", "jpeg"),
    (V26, {"compression": 50, "format": "svg"}, "compression", "jpeg"),
    # Moderation and complexity.
    *[(LIVE, {"moderation": each}, None, "") for each in ("auto", "low")],
    (LIVE, {"moderation": "off"}, "moderation", "low"),
    *[(V26, {"complexity": each}, None, "") for each in ("low", "medium", "high")],
    ([*V25, *V2, *V15, MINI, CHAT], {"complexity": "low"}, None, "no source"),
    (LIVE, {"complexity": "max"}, "complexity", "high"),
    # Animations.
    (V26, {"format": "gif", "frame_count": 2}, None, ""),
    (V26, {"format": "gif", "frame_count": 16, "frame_duration_ms": 655_350}, None, ""),
    (V26, {"format": "gif", "frame_duration_ms": 205}, None, "rounds"),
    *[(V26, {"format": "gif", "frame_count": c}, "frame_count", "2 to 16") for c in (1, 17, -9)],
    *[
        (V26, {"format": "gif", "frame_duration_ms": ms}, "frame_duration_ms", "655350")
        for ms in (0, -10, 655_351)
    ],
    (LIVE, {"frame_count": 4}, "frame_count", "gif"),
    (LIVE, {"frame_duration_ms": 100, "format": "webp"}, "frame_duration_ms", "gif"),
    # Drawings.
    (V26, {"format": "svg", "n": 1}, None, ""),
    (V26, {"format": "svg", "n": 2}, "n", "1"),
    (V26, {"format": "svg", "svg": {"model": "gpt-5.6-sol"}}, None, ""),
    (V26, {"format": "svg", "svg": {"reasoning": {"effort": "low"}}}, "svg", "model"),
    (V26, {"format": "svg", "svg": {}}, "svg", "model"),
    (LIVE, {"svg": {"model": "gpt-5.6-sol"}}, "svg", "svg"),
    # Streams.
    *[(LIVE, {"stream": True, "partial_images": p}, None, "") for p in (0, 1, 3)],
    *[(LIVE, {"stream": True, "partial_images": p}, "partial_images", "0 to 3") for p in (-1, 4)],
    (LIVE, {"stream": True, "n": 2}, None, "no source"),
    (V26, {"stream": True, "format": "gif"}, "format", "png"),
    (V26, {"stream": True, "format": "svg"}, "format", "png"),
]


def walk(request: Generate, field: str | None, words: str) -> None:
    """Check what the table says about one request."""
    if field is not None:
        error = refused(request)
        assert field == error.field
        assert words in str(error.allowed)
        return
    said = ("shuts down", "svg only for generate()")  # each has a test of its own
    others = [text for text in judged(request) if not any(each in text for each in said)]
    if words:
        assert any(words in text for text in others)
    else:
        assert others == []


def walk_all(model: str, make: Callable[..., Generate], rules: list[Rule]) -> None:
    """Check all that the table says about one model."""
    about = [rule for rule in rules if model in rule[0]]
    assert about
    for rule in about:
        _, options, field, words = rule
        try:
            walk(make(**options | {"model": model}), field, words)
        except BaseException as error:
            error.add_note(f"rule {rules.index(rule)}: {options}, {field}, {words!r}")
            raise


@pytest.mark.parametrize("model", LIVE)
def test_the_rules_of_new_pictures(model: str) -> None:
    """Each rule holds for each model it is documented for."""
    walk_all(model, generate, RULES)


@pytest.mark.parametrize("model", LIVE)
def test_the_rules_of_new_pictures_hold_for_edits(model: str) -> None:
    """An edit takes what a new image takes."""
    walk_all(model, edit, [rule for rule in RULES if "stream" not in rule[1]])


def hole() -> Image:
    """An image with a hole."""
    return Image.from_bytes(cutout())


EDITS: list[Rule] = [
    (LIVE, {"images": (image(),) * 16}, None, ""),
    (LIVE, {"images": (image(),) * 17}, "images", "16"),
    *[(LIVE, {"images": (image(form=form),)}, None, "") for form in ("png", "jpeg", "webp")],
    *[(LIVE, {"images": (image(form=form),)}, "images", "png") for form in ("gif", "bmp", "tiff")],
    (LIVE, {"images": (FileRef("file-abc12345"), image())}, None, ""),
    (LIVE, {"mask": Mask.from_box((0, 0, 8, 8))}, None, ""),
    (V26, {"mask": Mask.from_box((0, 0, 8, 8)), "format": "gif"}, "mask", "png"),
    # Fidelity: 1.5 takes both, mini only low, 2 none; of the rest no source speaks.
    *[(V15, {"input_fidelity": each}, None, "") for each in ("low", "high")],
    ([MINI], {"input_fidelity": "low"}, None, ""),
    ([MINI], {"input_fidelity": "high"}, "input_fidelity", "low"),
    *[([*V2, *V25, *V26], {"input_fidelity": e}, "input_fidelity", "out") for e in ("low", "high")],
    ([CHAT], {"input_fidelity": "high"}, None, "no source"),
    (LIVE, {"input_fidelity": "medium"}, "input_fidelity", ""),
    # Markup: from 2.5 on, never with a mask.
    ([*V26, *V25], {"markup": hole()}, None, ""),
    ([*V2, *V15, MINI, CHAT], {"markup": hole()}, "markup", "another model"),
    (LIVE, {"markup": hole(), "mask": Mask.from_box((0, 0, 8, 8))}, "markup", "one of both"),
]


@pytest.mark.parametrize("model", LIVE)
def test_the_rules_of_edits(model: str) -> None:
    """Each rule about images holds for each model it is documented for."""
    walk_all(model, edit, EDITS)


def test_the_largest_input() -> None:
    """Files of 50 MB and more are refused before anything is uploaded."""
    data = cutout() + bytes(50_000_000)
    large = Image(data=data, format="png", width=64, height=64)

    assert refused(edit(images=(large,))).allowed == "less than 50 MB"
    assert judged(edit(images=(evolve(large, data=data[:49_999_999]),))) == ()


@pytest.mark.parametrize("model", ["gpt-image-2", "some-other-model"])
@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("images", {"images": ()}),
        ("images", {"images": None}),
        ("images", {"images": [hole()]}),
        ("images", {"images": ("fox.png",)}),
        ("images", {"images": (cutout(),)}),
        ("mask", {"mask": "mask.png"}),
        ("mask", {"mask": hole()}),
        ("markup", {"markup": "marks.png"}),
        ("input_fidelity", {"input_fidelity": 1}),
    ],
    ids=range(9),
)
def test_an_edit_made_by_hand_holds_pictures(
    model: str, field: str, changes: dict[str, Any]
) -> None:
    """What `edit` would have read must not be left out of the upload in silence."""
    request: Edit = evolve(edit(model=model), **changes)

    assert field == refused(request).field


# Nothing crashes.

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=9)
)
WHATEVER = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=5,
)
FREE = [
    "prompt", "model", "n", "quality", "background", "format", "compression", "moderation",
    "complexity", "safety_identifier", "frame_count", "frame_duration_ms", "svg",
    "partial_images", "extra_body", "input_fidelity",
]  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(FREE), WHATEVER, max_size=3),
    st.sampled_from([*LIVE, "some-other-model"]),
    st.booleans(),
)
@example({"model": None}, LIVE[0], False)
def test_whatever_is_passed_is_judged(changes: dict[str, Any], model: str, stream: bool) -> None:
    """Any value in any parameter is sent or refused by name; nothing else is raised."""
    request = evolve(edit(model=model, stream=stream), **changes)
    try:
        fields, said = FREE, judged(request)
    except InvalidRequestError as error:
        fields, said = [error.field], (str(error),)

    assert set(fields) <= set(FREE)
    assert all(sentence.encode() for sentence in said)
