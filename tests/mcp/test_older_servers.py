"""What users of the four older servers are used to: sizes, addresses, arguments, inputs, tools."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from gptimage import Size
from tests.mcp.harness import picture, result_json, server_fixture, text
from tests.mcp.store_helpers import PROTOCOLS, resource_fixture


CHEAP = {"size": "1024x1024", "quality": "low"}


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("square", (1024, 1024)),
        ("landscape", (1536, 1024)),
        ("portrait", (1024, 1536)),
        ("square_2k", (2048, 2048)),
        ("landscape_2k", (2048, 1152)),
        ("portrait_2k", (1152, 2048)),
    ],
)
def test_named_sizes_are_theirs(name: str, pixels: tuple[int, int]) -> None:
    """The aspect ratios of @napolab/gpt-image-mcp give the pixels they gave there."""
    assert Size.parse(name).pixels == pixels


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("lines", [False, True])
def test_base64_needs_no_data_url(tmp_path: Path, form: str, lines: bool) -> None:
    """An image is recognised by its bytes, in one line or in many."""
    here = server_fixture(tmp_path)
    data = picture(form=form)
    written = base64.encodebytes(data).decode() if lines else base64.b64encode(data).decode()

    result_json(here.call("edit_image", prompt="Blue", images=[written], **CHEAP))

    (part,) = [each for each in here.sandbox.requests[-1].files if each.name.startswith("image")]
    assert part.data == data


def test_base64_of_something_else_is_refused(tmp_path: Path) -> None:
    """What only begins like an image never reaches the service."""
    here = server_fixture(tmp_path)
    written = base64.b64encode(picture()[:80]).decode()

    result = here.call("edit_image", prompt="Blue", images=[written], **CHEAP)

    assert result.is_error
    assert "images[0]" in text(result)
    assert here.sandbox.requests == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_addresses_of_their_resources_are_known(tmp_path: Path, protocol: str) -> None:
    """``image-history://recent/{limit}/{days}`` and ``models://list`` answer."""
    here = resource_fixture(tmp_path)
    for _ in range(3):
        here.save()

    usual = here.text("image-history://recent?limit=2&days=7", protocol)
    assert here.text("image-history://recent/2/7", protocol) == usual
    assert len(here.text("image-history://recent/2", protocol)["records"]) == 2
    models = here.text("models://list", protocol)["models"]
    assert here.text(f"model-info://{models[0]['id']}", protocol) == models[0]


@pytest.mark.parametrize(
    "uri",
    ["image-history://recent/two", "image-history://recent/2/7/9", "models://all"],
)
def test_addresses_nobody_had_are_refused(tmp_path: Path, uri: str) -> None:
    """What makes no sense is refused as before."""
    here = resource_fixture(tmp_path)

    here.refusal(lambda client: client.read_resource(uri))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "hero_banner",
            {
                "website_type": "saas",
                "main_theme": "calm days",
                "hero_elements": "a sailing boat",
                "atmosphere": "misty",
            },
            ["calm days, shown with a sailing boat", "a misty atmosphere"],
        ),
        (
            "email_header",
            {
                "newsletter_type": "educational",
                "main_topic": "sowing tomatoes",
                "visual_style": "woodcut",
                "header_elements": "seed trays",
            },
            ["sowing tomatoes", "shown with seed trays", "in a woodcut style"],
        ),
        (
            "infographic",
            {"data_type": "process", "topic": "Tea", "chart_types": "flow charts"},
            ["with flow charts"],
        ),
        (
            "thumbnail",
            {"content_type": "tutorial", "topic": "Tea", "focal_element": "a cup"},
            ["with a cup as the focal point"],
        ),
        (
            "social_media",
            {"platform": "Instagram", "content_type": "promotional", "layout": "a grid"},
            ["arranged as a grid"],
        ),
    ],
)
def test_prompts_take_their_arguments(
    tmp_path: Path, name: str, arguments: dict[str, str], expected: list[str]
) -> None:
    """Arguments of lansespirit/image-gen-mcp that our templates have not reach the prompt."""
    here = resource_fixture(tmp_path)

    result = here.ask(lambda client: client.get_prompt(name, arguments))

    written: Any = result.messages[0].content
    assert [each for each in expected if each not in written.text] == []


def test_arguments_nobody_had_are_refused(tmp_path: Path) -> None:
    """An argument neither side knows is refused by name."""
    here = resource_fixture(tmp_path)

    error = here.refusal(
        lambda client: client.get_prompt("hero_banner", {"website_type": "saas", "mood": "calm"})
    )

    assert "mood" in error.message
