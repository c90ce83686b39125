"""What a turn puts on the wire: every parameter, or a refusal that names it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from gptimage import InvalidRequestError, Mask
from gptimage.conversation import TurnOptions
from gptimage.models.pricing import CHAT_PRICES, DEFAULT_CHAT_MODEL, ChatUsage, chat_cost
from tests.conversation.helpers import Talks, call, picture, reply, response


DRAWN = reply(response(call(picture(64, 64))))

ON_THE_WIRE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "size": ({"size": "1920x1080"}, {"size": "1920x1088"}),
    "quality": ({"quality": "high"}, {"quality": "high"}),
    "background": ({"background": "opaque"}, {"background": "opaque"}),
    "format": ({"format": "webp"}, {"output_format": "webp"}),
    "compression": (
        {"format": "jpeg", "compression": 60},
        {"output_format": "jpeg", "output_compression": 60},
    ),
    "moderation": ({"moderation": "low"}, {"moderation": "low"}),
    "complexity": ({"complexity": "low"}, {"complexity": "low"}),
    "frame_count": (
        {"format": "gif", "frame_count": 4},
        {"output_format": "gif", "frame_count": 4},
    ),
    "frame_duration_ms": (
        {"format": "gif", "frame_duration_ms": 100},
        {"output_format": "gif", "frame_duration_ms": 100},
    ),
    "svg": (
        {"format": "svg", "svg": {"model": "gpt-5.6-sol"}},
        {"output_format": "svg", "svg": {"model": "gpt-5.6-sol"}},
    ),
}
"""What is written, and what the tool gets."""

ELSEWHERE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "safety_identifier": ({"safety_identifier": "u1"}, {"safety_identifier": "u1"}),
    "max_images": ({"max_images": 3}, {"max_tool_calls": 3}),
    "extra_body": (
        {"extra_body": {"reasoning": {"effort": "low"}}},
        {"reasoning": {"effort": "low"}},
    ),
}
"""What is written, and what the response request gets."""


@pytest.mark.parametrize("name", ON_THE_WIRE)
def test_parameters_reach_the_tool(talks: Talks, name: str) -> None:
    """A parameter of the image is one of the tool, under its wire name."""
    written, expected = ON_THE_WIRE[name]
    talk, service = talks.fake(DRAWN, image_model="gpt-image-2.6-flare")
    talk.send("A cabin", **written)

    (tool,) = service.requests[0].body["tools"]
    plain = {"type": "image_generation", "action": "auto", "model": "gpt-image-2.6-flare"}
    assert tool == {**plain, **expected}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_parameters_reach_the_request(talks: Talks, name: str) -> None:
    """What is about the response and not about the image stands beside the tool."""
    written, expected = ELSEWHERE[name]
    talk, service = talks.fake(DRAWN)
    talk.send("A cabin", **written)

    body = service.requests[0].body
    assert expected.items() <= body.items()
    assert body["tools"][0].keys() == {"type", "action", "model"}


def test_previews_and_fidelity_reach_the_tool(talks: Talks) -> None:
    """The parameters that need a stream, or an image, do so, too."""
    talk, service = talks.fake(DRAWN, image_model="gpt-image-1.5")
    talk.send("A hat", images=[picture()], input_fidelity="high")
    talk.stream("A hat", partial_images=2)

    assert service.requests[0].body["tools"][0]["input_fidelity"] == "high"
    assert service.requests[1].body["tools"][0]["partial_images"] == 2
    assert service.requests[1].body["stream"] is True


def test_every_parameter_is_covered() -> None:
    """A parameter added to `TurnOptions` needs a line above."""
    elsewhere = {"partial_images", "input_fidelity", "outside"}

    assert {*ON_THE_WIRE, *ELSEWHERE, *elsewhere} == set(TurnOptions.__annotations__)


def test_the_whole_request_is_what_the_api_documents(talks: Talks) -> None:
    """Nothing else is sent, and nothing is left to a default that may change."""
    talk, service = talks.fake(DRAWN, resume="resp_0")
    talk.send("A cabin")

    assert service.requests[0].path == "/responses"
    assert service.requests[0].body == {
        "model": DEFAULT_CHAT_MODEL,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "A cabin"}]}],
        "tools": [{"type": "image_generation", "action": "auto", "model": "gpt-image-2.5-flare"}],
        "tool_choice": {"type": "image_generation"},
        "max_tool_calls": 1,
        "store": True,
        "previous_response_id": "resp_0",
    }


def test_uploaded_files_are_named_by_id(talks: Talks) -> None:
    """Images and masks the service has already are not sent again."""
    talk, service = talks.fake(DRAWN)
    talk.send("A hat", images=["file-abcdefgh1"], mask="file-abcdefgh2")

    body = service.requests[0].body
    assert body["input"][0]["content"][1:] == [
        {"type": "input_image", "detail": "auto", "file_id": "file-abcdefgh1"}
    ]
    assert body["tools"][0]["input_image_mask"] == {"file_id": "file-abcdefgh2"}


def test_both_models_are_settable(talks: Talks) -> None:
    """The chat model reads the words, the image model draws."""
    talk, service = talks.fake(DRAWN, chat_model="gpt-6.1-sol", image_model="gpt-image-2")
    turn = talk.send("A cabin")

    assert service.requests[0].body["model"] == "gpt-6.1-sol"
    assert service.requests[0].body["tools"][0]["model"] == "gpt-image-2"
    assert (turn.chat_model, turn.result.model) == ("gpt-6.1-sol", "gpt-image-2")
    assert turn.chat_cost is None


def test_azure_learns_the_deployment(talks: Talks) -> None:
    """Its tool needs the image deployment in a header; nobody else gets it."""
    azure, there = talks.fake(DRAWN, base_url="https://me.openai.azure.com/openai/v1/")
    azure.send("A cabin")
    talk, here = talks.fake(DRAWN)
    talk.send("A cabin")

    name = "x-ms-oai-image-generation-deployment"
    assert there.requests[0].headers == {name: "gpt-image-2.5-flare"}
    assert here.requests[0].headers == {}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"n": 2}, "n"),
        ({"markup": "x.png"}, "markup"),
        ({"model": "gpt-image-2"}, "model"),
        ({"seed": 1}, "seed"),
        ({"action": "paint"}, "action"),
        ({"action": "edit"}, "action"),
        ({"max_images": 0}, "max_images"),
        ({"max_images": 11}, "max_images"),
        ({"max_images": True}, "max_images"),
        ({"input_fidelity": "high"}, "input_fidelity"),
        ({"partial_images": 2}, "partial_images"),
        ({"quality": "best"}, "quality"),
        ({"size": "5000x10"}, "size"),
        ({"mask": Mask.from_box((0, 0, 9, 9))}, "mask"),
        ({"extra_body": {"tools": []}}, "extra_body"),
        ({"extra_body": {"previous_response_id": "x"}}, "extra_body"),
        ({"extra_body": {"model": "x"}}, "extra_body"),
    ],
    ids=str,
)
def test_what_has_no_place_is_refused_by_name(
    talks: Talks, options: dict[str, Any], field: str
) -> None:
    """Nothing is ignored, and nothing is sent."""
    talk, service = talks.fake(DRAWN)

    with pytest.raises(InvalidRequestError) as caught:
        talk.send("A cabin", **options)

    assert caught.value.field == field
    assert field in str(caught.value)
    assert service.requests == []


def test_a_new_picture_takes_no_mask(talks: Talks) -> None:
    """The contradiction is refused, whichever was meant."""
    talk, service = talks.fake(DRAWN)

    with pytest.raises(InvalidRequestError, match="mask"):
        talk.send("x", [picture()], mask=Mask.from_box((0, 0, 9, 9)), action="generate")
    assert service.requests == []


def test_chat_tokens_have_their_own_prices() -> None:
    """Read, cached, written to the cache and said: each at its price."""
    usage = ChatUsage(
        input_tokens=1_000,
        output_tokens=100,
        total_tokens=1_100,
        cached_tokens=400,
        cache_write_tokens=200,
    )
    found = chat_cost("gpt-6-luna", usage, date(2026, 11, 20))

    assert found == Decimal("0.000119")  # 400 x 0.10 + 400 x 0.01 + 200 x 0.125 + 100 x 0.50


@pytest.mark.parametrize(
    ("model", "entered", "on", "tier"),
    [
        ("gpt-6.1-sol", 10, date(2026, 11, 20), None),
        ("gpt-6-luna", 300_000, date(2026, 11, 20), None),
        ("gpt-6-luna", 10, date(2026, 9, 1), None),
        ("gpt-6-luna", 10, date(2026, 11, 20), "priority"),
    ],
)
def test_unknown_chat_prices_are_none(model: str, entered: int, on: date, tier: str | None) -> None:
    """No row, a long prompt, another day, another tier: no guess."""
    usage = ChatUsage(input_tokens=entered, output_tokens=1, total_tokens=entered + 1)

    assert chat_cost(model, usage, on, tier=tier) is None
    assert chat_cost(model, None, on) is None


def test_chat_prices_are_dated_and_sourced() -> None:
    """Rows only follow each other, and each says where it comes from."""
    for rows in CHAT_PRICES.values():
        assert [row.start for row in rows] == sorted({row.start for row in rows})
        assert all(row.source and row.checked >= row.start for row in rows)
