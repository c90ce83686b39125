"""The image viewer in a real browser: images are drawn, compared and refined."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gptimage import Generate, Image, Result
from gptimage_mcp.assets import VIEWER_URI, html
from tests.mcp.browsers import CAN, Chromium, Viewer
from tests.mcp.factories import fake_result, picture_id
from tests.mcp.harness import ServerFixture, result_json, server_fixture


@pytest.fixture
def here(tmp_path: Path) -> ServerFixture:
    """A server over the sandbox."""
    return server_fixture(tmp_path)


async def _middle(what: Any) -> tuple[int, int]:
    """Where the middle of something is on the host's page."""
    box = await what.bounding_box()
    return round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)


# --- What the server offers ---------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
def test_tools_with_pixels_name_the_viewer(here: ServerFixture, protocol: str) -> None:
    """Every tool whose result has images says where the viewer is, and no other tool does."""
    tools = here.ask(lambda client: client.list_tools(), protocol).tools

    shown = {tool.name for tool in tools if tool.meta}
    assert shown == {
        "generate_image",
        "edit_image",
        "refine_image",
        "create_variations",
        "view_image",
    }
    assert all(t.meta["ui"]["resourceUri"] == VIEWER_URI for t in tools if t.meta)


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
def test_the_viewer_asks_for_nothing(here: ServerFixture, protocol: str) -> None:
    """The page is served with the type hosts want, and declares no address it needs."""
    (content,) = here.ask(lambda client: client.read_resource(VIEWER_URI), protocol).contents

    assert content.mime_type == "text/html;profile=mcp-app"
    assert content.meta == {"ui": {"csp": {}, "prefersBorder": True}}
    assert content.text == html()  # type: ignore[union-attr]


def test_the_page_is_small_and_whole() -> None:
    """It has no remote part, is under 60 kB, and lets run only the script it came with."""
    page = html()
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert len(page.encode()) < 60_000
    assert set(re.findall(r"[\w-]+://[\w./-]*", page)) == {
        "http://www.w3.org/2000/svg",  # a name, not an address
        "generated-images://",
    }
    assert f"script-src 'sha256-{digest}';" in page
    assert page.count("<script") == 1
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", page
    )


# --- Images -----------------------------------------------------------------------------------


def test_one_picture_of_a_real_call_is_drawn_large(chromium: Chromium, here: ServerFixture) -> None:
    """After generate_image the image is on show, with its prompt, size and what can be done."""

    async def story(viewer: Viewer) -> None:
        await viewer.call("generate_image", prompt="A red fox in the snow")
        await viewer.drawn(1)
        await viewer.sees("heading", "A red fox in the snow")
        await viewer.sees("img", "Image 1 of 1: A red fox in the snow")
        await viewer.sees("button", "Use as source")
        facts = await viewer.frame.locator("#facts").inner_text()
        assert "png" in facts
        assert "sandbox" in facts
        assert viewer.wrong == []

    chromium.tell(story, here.server)


def test_several_pictures_are_a_grid(chromium: Chromium, here: ServerFixture) -> None:
    """Each image of a call is a tile that opens it."""

    async def story(viewer: Viewer) -> None:
        await viewer.call("generate_image", prompt="A fox", n=3)
        await viewer.drawn(3)
        assert await viewer.frame.locator(".tile").count() == 3
        await viewer.press("Image 2 of 3: open")
        await viewer.drawn(1)
        await viewer.sees("img", "Image 2 of 3: A fox")
        await viewer.press("Next image")
        await viewer.sees("img", "Image 3 of 3: A fox")
        await viewer.press("Next image")
        await viewer.sees("img", "Image 1 of 3: A fox")
        assert viewer.wrong == []

    chromium.tell(story, here.server)


def test_a_saved_picture_is_shown_again(chromium: Chromium, here: ServerFixture) -> None:
    """view_image shows an image of the store with its own prompt and its tags."""

    async def story(viewer: Viewer) -> None:
        drawn = await viewer.client.call_tool(
            "generate_image", {"prompt": "An owl", "tags": ["night"]}
        )
        await viewer.call("view_image", id=result_json(drawn)["images"][0]["id"])
        await viewer.drawn(1)
        await viewer.sees("heading", "An owl")
        await viewer.press("Details")
        details = await viewer.frame.locator("#details").inner_text()
        assert result_json(drawn)["images"][0]["id"] in details
        assert result_json(drawn)["images"][0]["path"] in details

    chromium.tell(story, here.server)


@pytest.mark.parametrize("where", ["content", "structuredContent", "_meta"])
def test_facts_are_found_wherever_a_host_leaves_them(
    chromium: Chromium, here: ServerFixture, where: str
) -> None:
    """Hosts drop one part or another: the content's JSON is read first, then the other two."""
    result = fake_result(2, model="the-right-model")
    first, *images = result["content"]
    facts = json.loads(first["text"])
    wrong = {**facts, "model": "another-model"}
    places: dict[str, dict[str, Any]] = {
        "content": {**result, "structuredContent": wrong, "_meta": {"gptimage": wrong}},
        "structuredContent": {
            "content": [{"type": "text", "text": "Two images."}, *images],
            "structuredContent": facts,
            "_meta": {"gptimage": wrong},
        },
        "_meta": {"content": images, "_meta": {"gptimage": facts}},
    }

    async def story(viewer: Viewer) -> None:
        await viewer.give(places[where])
        await viewer.drawn(2)
        assert "the-right-model" in await viewer.frame.locator("#facts").inner_text()

    chromium.tell(story, here.server)


@pytest.mark.parametrize("missing", ["serverResources", "serverTools"])
def test_pictures_a_host_left_out_are_fetched(
    chromium: Chromium, here: ServerFixture, missing: str
) -> None:
    """Of a result without pixels, the viewer reads them from the server in whichever way it may."""

    async def story(viewer: Viewer) -> None:
        drawn = await viewer.client.call_tool("generate_image", {"prompt": "An owl", "n": 2})
        text, *_ = drawn.content
        await viewer.give({"content": [text.model_dump()]})
        await viewer.drawn(2)

    able = {name: value for name, value in CAN.items() if name != missing}
    chromium.tell(story, here.server, capabilities=able)


def test_an_svg_is_shown_as_a_picture_that_can_do_nothing(
    chromium: Chromium, here: ServerFixture, tmp_path: Path
) -> None:
    """A script or an address inside an svg is neither run nor asked for."""

    async def story(viewer: Viewer) -> None:
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">'
            f'<image href="{viewer.site.url("/leak")}" width="9" height="9"/>'
            '<script>parent.document.title = "run"</script><rect width="64" height="48"/></svg>'
        )
        result = Result(
            images=(Image.from_bytes(svg.encode()),),
            request=Generate(prompt="A box", model="gpt-image-2", format="svg"),
            model="gpt-image-2",
            usage=None,
            cost=None,
            created=datetime.now(UTC),
        )
        (record,) = here.store.save(result)
        await viewer.call("view_image", id=record.id)
        await viewer.drawn(1)
        assert viewer.site.asked == ["/viewer"]
        assert await viewer.page.title() == "A host of MCP Apps"

    chromium.tell(story, here.server)


# --- Looking closer -----------------------------------------------------------------------------


def test_zoom_and_move_by_keyboard(chromium: Chromium, here: ServerFixture) -> None:
    """Plus and minus zoom, arrows move within the image or to the next, 0 fits, Escape leaves."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(2))
        await viewer.drawn(2)
        await viewer.frame.locator(".tile").first.focus()
        await viewer.page.keyboard.press("Enter")
        await viewer.drawn(1)
        image = viewer.frame.locator(".stage > img")
        fit = viewer.button("Fit the frame")

        for key, text in (("+", "150 %"), ("+", "225 %"), ("-", "150 %")):
            await viewer.page.keyboard.press(key)
            assert await fit.inner_text() == text
        before = await image.bounding_box()
        await viewer.page.keyboard.press("ArrowRight")
        after = await image.bounding_box()
        assert before
        assert after
        assert after["x"] == before["x"] - 60
        await viewer.page.keyboard.press("0")
        assert await fit.inner_text() == "Fit"
        await viewer.page.keyboard.press("ArrowRight")
        await viewer.sees("img", "Image 2 of 2")
        await viewer.page.keyboard.press("Escape")
        assert await viewer.frame.evaluate("document.activeElement.className") == "tile"

    chromium.tell(story, here.server)


def test_zoom_by_mouse_keeps_the_point_under_it(chromium: Chromium, here: ServerFixture) -> None:
    """Ctrl and the wheel zoom where the mouse is; a plain wheel is left to the conversation."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result())
        await viewer.drawn(1)
        stage, image = viewer.frame.locator(".stage"), viewer.frame.locator(".stage > img")
        x, y = await _middle(stage)
        await viewer.page.mouse.move(x, y)
        await viewer.page.mouse.wheel(0, -300)
        assert await viewer.button("Fit the frame").inner_text() == "Fit"
        await viewer.page.keyboard.down("Control")
        await viewer.page.mouse.wheel(0, -300)
        await viewer.page.keyboard.up("Control")
        await viewer.holds("document.querySelector('.tools').innerText.includes('448 %')")
        assert await _middle(image) == (x, y)
        await viewer.page.mouse.down()
        await viewer.page.mouse.move(x - 50, y - 20)
        await viewer.page.mouse.up()
        assert await _middle(image) == (x - 50, y - 20)

    chromium.tell(story, here.server)


def test_zooming_in_fetches_the_original(chromium: Chromium, here: ServerFixture) -> None:
    """What was a small preview becomes the whole image, by reading a resource, which is free."""

    async def story(viewer: Viewer) -> None:
        drawn = await viewer.client.call_tool("generate_image", {"prompt": "An owl"})
        id = result_json(drawn)["images"][0]["id"]
        await viewer.call("view_image", id=id, max_px=64)
        await viewer.drawn(1)
        await viewer.press("Larger")
        await viewer.holds("document.querySelector('.stage > img').naturalWidth > 1000")
        assert await viewer.asked("tools/call") == []

    chromium.tell(story, here.server)


def test_two_pictures_are_compared(chromium: Chromium, here: ServerFixture) -> None:
    """A slider divides two images that can be chosen, or they stand side by side."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(3))
        await viewer.drawn(3)
        await viewer.press("Compare two")
        await viewer.drawn(2)
        slider = viewer.frame.get_by_role("slider")
        over = viewer.frame.locator(".stage > img").nth(1)
        assert "50%" in await over.evaluate("(i) => i.style.clipPath")
        await slider.focus()
        for _ in range(10):
            await viewer.page.keyboard.press("ArrowRight")
        assert "40%" in await over.evaluate("(i) => i.style.clipPath")
        await viewer.frame.get_by_label("Right").select_option("2")
        assert await viewer.frame.get_by_role("img", name="Image 3 of 3").count() == 1
        await viewer.sees("button", "Use 3 as source")
        await viewer.press("Side by side")
        await viewer.drawn(2)
        assert await viewer.frame.locator("figure").count() == 2

    chromium.tell(story, here.server)


# --- Working with an image ---------------------------------------------------------------------


def test_refining_draws_and_compares(chromium: Chromium, here: ServerFixture) -> None:
    """Words in the box become a new image beside the old, and the assistant is told of both."""

    async def story(viewer: Viewer) -> None:
        drawn = await viewer.call("generate_image", prompt="A lighthouse")
        old = result_json(drawn)["images"][0]["id"]
        await viewer.drawn(1)
        await viewer.press("Refine…")
        assert await viewer.frame.evaluate("document.activeElement.id") == "words"
        await viewer.page.keyboard.type("Make it night")
        await viewer.page.keyboard.press("Control+Enter")
        told = await viewer.waited("ui/update-model-context")
        await viewer.drawn(2)

        (call,) = await viewer.asked("tools/call")
        assert call == {
            "name": "refine_image",
            "arguments": {"image": old, "prompt": "Make it night"},
        }
        new = here.store.history(1)[0]
        assert new.parent == old
        (block,) = told["content"]
        assert block["text"] == (
            f"In the viewer, the user refined {old} into {new.id}: Make it night"
        )
        assert await viewer.button("Compare two").get_attribute("aria-pressed") == "true"
        await viewer.sees("button", "Use 2 as source")

    chromium.tell(story, here.server)


def test_the_box_is_about_the_picture_on_show(chromium: Chromium, here: ServerFixture) -> None:
    """Whoever goes to the next image with the box open refines that one, and is told so."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(2))
        await viewer.press("Image 1 of 2: open")
        await viewer.press("Refine 1…")
        await viewer.press("Next image")
        await viewer.frame.get_by_label("What should change in image 2?").fill("Make it night")
        await viewer.press("Refine")
        sent = await viewer.waited("ui/message")
        assert picture_id(1) in sent["content"][0]["text"]

    chromium.tell(story, here.server, capabilities={"message": {}})


def test_refining_without_tools_asks_the_conversation(
    chromium: Chromium, here: ServerFixture
) -> None:
    """Where the host lets no app call tools, the words go to the assistant with the id."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result())
        await viewer.drawn(1)
        await viewer.press("Refine…")
        assert await viewer.frame.locator("#price").inner_text() == "Is sent to the conversation."
        await viewer.frame.get_by_label("What should change?").fill("Make it night")
        await viewer.press("Refine")
        assert await viewer.waited("ui/message") == {
            "role": "user",
            "content": [
                {
                    "type": "text",
                    "text": f"Refine the image {picture_id(0)} with refine_image: Make it night",
                }
            ],
        }

    able = {name: value for name, value in CAN.items() if name != "serverTools"}
    chromium.tell(story, here.server, capabilities=able)


def test_a_refinement_that_fails_can_be_tried_again(
    chromium: Chromium, here: ServerFixture
) -> None:
    """The error is told, and the words are still there."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result())  # the store has no such image
        await viewer.drawn(1)
        await viewer.press("Refine…")
        await viewer.frame.get_by_label("What should change?").fill("Make it night")
        await viewer.press("Refine")
        await viewer.status(picture_id(0))
        box = viewer.frame.get_by_label("What should change?")
        assert await box.input_value() == "Make it night"
        assert await box.is_visible()

    chromium.tell(story, here.server)


@pytest.mark.parametrize("missing", ["nothing", "updateModelContext"])
def test_a_picture_becomes_the_source(
    chromium: Chromium, here: ServerFixture, missing: str
) -> None:
    """The assistant learns the id: in its context where the host can, else by a message."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(2))
        await viewer.press("Image 2 of 2: open")
        await viewer.press("Use 2 as source")
        method = "ui/message" if missing == "updateModelContext" else "ui/update-model-context"
        told = await viewer.waited(method)
        assert picture_id(1) in told["content"][0]["text"]
        await viewer.status("Chosen.")
        await viewer.sees("button", "Is the source")

    able = {name: value for name, value in CAN.items() if name != missing}
    chromium.tell(story, here.server, capabilities=able)


def test_a_picture_is_downloaded_by_the_host(chromium: Chromium, here: ServerFixture) -> None:
    """An app cannot save files, so the host is handed the image's address."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result())
        await viewer.press("Download")
        (link,) = (await viewer.waited("ui/download-file"))["contents"]
        assert link["uri"] == f"generated-images://{picture_id(0)}"

    chromium.tell(story, here.server)
