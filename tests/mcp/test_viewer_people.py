"""The viewer for people: their words for errors, a board under transparent images, one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mcp.browsers import Chromium, Viewer
from tests.mcp.factories import fake_result, picture_id
from tests.mcp.harness import ServerFixture, server_fixture


@pytest.fixture
def here(tmp_path: Path) -> ServerFixture:
    """A server over the sandbox."""
    return server_fixture(tmp_path)


@pytest.mark.parametrize("width", [640, 360])
def test_the_buttons_of_the_box_stay_in_one_row(
    chromium: Chromium, here: ServerFixture, width: int
) -> None:
    """What refining costs is told in several lines before a button goes to the next row."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result())
        await viewer.button("Refine…").click()
        rows = [await viewer.button(name).bounding_box() for name in ("Cancel", "Refine")]
        assert rows[0]["y"] == rows[1]["y"]
        assert rows[1]["x"] + rows[1]["width"] <= width

    chromium.tell(story, here.server, width=width)


@pytest.mark.parametrize(("background", "expected"), [("transparent", True), ("opaque", False)])
def test_a_board_lies_under_transparent_images_alone(
    chromium: Chromium, here: ServerFixture, background: str, expected: bool
) -> None:
    """A transparent image is told from a white one; the board ends where the image ends."""

    async def story(viewer: Viewer) -> None:
        await viewer.call("generate_image", prompt="A fox", background=background, size="1024x1536")
        await viewer.drawn(1)
        await viewer.holds("document.images[0].style.getPropertyValue('--ratio') !== ''")
        found: Any = await viewer.frame.evaluate(
            """() => {
              const image = document.images[0];
              const style = getComputedStyle(image);
              const free = (one, other) => parseFloat(style[one]) + parseFloat(style[other]);
              const width = image.clientWidth - free("paddingLeft", "paddingRight");
              const height = image.clientHeight - free("paddingTop", "paddingBottom");
              const hasBoard = style.backgroundImage.includes("conic");
              return [hasBoard, width / height, style.backgroundClip];
            }"""
        )
        assert found[0] is expected
        if expected:
            assert found[1] == pytest.approx(2 / 3, abs=0.01)
            assert found[2] == "content-box"
        assert viewer.wrong == []

    chromium.tell(story, here.server)


def test_the_head_names_the_model_after_a_refinement(
    chromium: Chromium, here: ServerFixture
) -> None:
    """Two images of two calls by one model have one model in the head, and no single cost."""

    async def story(viewer: Viewer) -> None:
        await viewer.call("generate_image", prompt="A lighthouse")
        await viewer.drawn(1)
        before = await viewer.frame.locator("#facts").inner_text()
        await viewer.button("Refine…").click()
        await viewer.frame.get_by_label("What should change?").fill("Make it night")
        await viewer.button("Refine").click()
        await viewer.drawn(2)
        facts = await viewer.frame.locator("#facts").inner_text()
        assert "gpt-image" in before
        assert facts == "2 images · gpt-image-2.5-flare · sandbox, nothing was billed"

    chromium.tell(story, here.server)


def test_the_head_has_the_prompt_of_the_images_on_show(
    chromium: Chromium, here: ServerFixture
) -> None:
    """A host that uses one frame for two calls does not show the words of the first for both."""

    async def story(viewer: Viewer) -> None:
        for prompt in ("A lighthouse", "A fox"):
            await viewer.call("generate_image", prompt=prompt)
            await viewer.sees("heading", prompt)

    chromium.tell(story, here.server)


UNKNOWN = (
    'OutcomeUnknownError: "the connection broke after \\"sending\\""\n'
    "Next: It may have been billed, at most about $0.0400. Do NOT simply call again: it may be "
    "paid already, and would be paid twice. Look at list_images whether the image is there; if "
    "it is not, ask the person before trying again.\n"
    'Details: {"possible_cost": "0.04"}'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            UNKNOWN,
            'the connection broke after "sending". It may have been billed, at most about $0.0400.',
        ),
        (
            f"Error executing tool refine_image: {UNKNOWN}",
            'the connection broke after "sending". It may have been billed, at most about $0.0400.',
        ),
        (
            'InvalidRequestError: "size: no."\nNext: Nothing was billed. Change.',
            "size: no. Nothing was billed.",
        ),
        (
            'StoreError: "the disk is full"\nNext: The images are drawn and paid. Make room.',
            "the disk is full. The images are drawn and paid.",
        ),
        (
            'ImageNotFoundError: "img_1 is not in the store: list_images lists what is"',
            "img_1 is not in the store.",
        ),
        ("The host refused", "The host refused"),
    ],
)
def test_errors_are_told_in_words_for_people(
    chromium: Chromium, here: ServerFixture, text: str, expected: str
) -> None:
    """What happened and what it may have cost; what the assistant should do is left out."""

    async def story(viewer: Viewer) -> None:
        await viewer.give({"isError": True, "content": [{"type": "text", "text": text}]})
        await viewer.status(expected[:20])
        assert await viewer.frame.locator("#status").inner_text() == expected

    chromium.tell(story, here.server)


def test_errors_of_the_server_are_told_in_words_for_people(
    chromium: Chromium, here: ServerFixture
) -> None:
    """The server's own words for the assistant are understood."""

    async def story(viewer: Viewer) -> None:
        result = await viewer.call("view_image", id=picture_id(0))
        assert result.is_error
        await viewer.status(picture_id(0))
        text = await viewer.frame.locator("#status").inner_text()
        assert "Next:" not in text
        assert "ImageNotFoundError" not in text

    chromium.tell(story, here.server)
