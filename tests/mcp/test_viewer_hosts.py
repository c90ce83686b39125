"""The image viewer inside hosts: what it says, what it must never do, and how it fits in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gptimage_mcp.assets import html
from tests.mcp.browsers import Chromium, Viewer, official_host
from tests.mcp.factories import HOSTILE, fake_result, picture_id
from tests.mcp.harness import ServerFixture, result_json, server_fixture


@pytest.fixture
def here(tmp_path: Path) -> ServerFixture:
    """A server over the sandbox."""
    return server_fixture(tmp_path)


# --- When there is nothing to show --------------------------------------------------------------


def test_a_call_that_goes_on_is_waited_for(chromium: Chromium, here: ServerFixture) -> None:
    """Given a handle, the viewer asks for the images by itself, and draws nothing anew."""

    async def story(viewer: Viewer) -> None:
        drawn = result_json(await viewer.client.call_tool("generate_image", {"prompt": "An owl"}))
        running = {"status": "running", "handle": drawn["handle"], "progress": "drawing"}
        await viewer.give({"content": [{"type": "text", "text": json.dumps(running)}]})
        await viewer.drawn(1)
        (call,) = await viewer.asked("tools/call")
        assert call == {"name": "view_image", "arguments": {"id": drawn["handle"]}}
        assert len(here.sandbox.requests) == 1

    chromium.tell(story, here.server)


def test_an_error_is_told(chromium: Chromium, here: ServerFixture) -> None:
    """What went wrong stands in the status line, which screen readers announce."""

    async def story(viewer: Viewer) -> None:
        result = await viewer.call("view_image", id=picture_id(0))
        assert result.is_error
        await viewer.status("is not in")

    chromium.tell(story, here.server)


def test_waiting_and_cancelling_are_told(chromium: Chromium, here: ServerFixture) -> None:
    """While a call runs its prompt is shown; when it is cancelled, what became of it is said."""

    async def story(viewer: Viewer) -> None:
        await viewer.resolve_inputs(
            "ui/notifications/tool-input", {"arguments": {"prompt": "An owl"}}
        )
        await viewer.status("Drawing…")
        await viewer.sees("heading", "An owl")
        await viewer.resolve_inputs("ui/notifications/tool-cancelled", {"reason": "user action"})
        await viewer.status("Cancelled: user action.")

    chromium.tell(story, here.server)


# --- Safety -------------------------------------------------------------------------------------


def test_hostile_text_stays_text(chromium: Chromium, here: ServerFixture) -> None:
    """Markup in any field of a result is shown as it is, and becomes no element."""
    result = fake_result(
        2, prompt=HOSTILE, model=HOSTILE, warnings=[HOSTILE], cost_usd=HOSTILE, sandbox=HOSTILE
    )
    summary = json.loads(result["content"][0]["text"])
    for entry in summary["images"]:
        entry |= {"prompt": HOSTILE, "path": HOSTILE, "format": HOSTILE, "tags": [HOSTILE]}
        entry |= {"model": HOSTILE, "parent": HOSTILE, "created": HOSTILE}
    summary["images"].append({"id": HOSTILE, "width": "1e9", "height": -1, "preview": None})
    result["content"][0]["text"] = json.dumps(summary)
    evil = "data:text/html,<script>parent.document.title=3</script>"
    result["content"] += [
        {"type": "resource_link", "uri": "javascript:alert(1)", "name": HOSTILE},
        {"type": "image", "mimeType": "text/html", "data": "PHNjcmlwdD4="},
        {"type": "image", "mimeType": "image/png", "data": f'" onerror="{evil}'},
        None,
        {"type": "text", "text": 7},
    ]

    async def story(viewer: Viewer) -> None:
        await viewer.give(result)
        await viewer.drawn(2)
        await viewer.press("Image 1 of 3: open")
        await viewer.press("Details")
        assert await viewer.frame.get_by_role("heading").inner_text() == HOSTILE
        assert HOSTILE in await viewer.frame.locator("#details").inner_text()
        assert HOSTILE in await viewer.frame.get_by_role("status").inner_text()
        sources = await viewer.frame.evaluate("[...document.images].map((i) => i.src.slice(0, 22))")
        assert set(sources) == {"data:image/png;base64,"}
        assert await viewer.frame.locator("script").count() == 1
        assert await viewer.frame.evaluate("document.title") == "Images"
        assert viewer.wrong == []

    chromium.tell(story, here.server)


def test_hostile_styles_of_a_host_are_not_taken(chromium: Chromium, here: ServerFixture) -> None:
    """Only variables of the protocol are set: nothing else of the page can be restyled."""
    variables = {
        "--color-text-primary": "rgb(1, 2, 3)",
        "background": "red",
        "--evil": "1",
        "--font-sans": 7,
    }

    async def story(viewer: Viewer) -> None:
        styled = await viewer.frame.evaluate("document.documentElement.style.cssText")
        assert styled == "--color-text-primary: rgb(1, 2, 3);"
        text = "getComputedStyle(document.body).color"
        assert await viewer.frame.evaluate(text) == "rgb(1, 2, 3)"

    chromium.tell(story, here.server, context={"styles": {"variables": variables}})


def test_the_pages_own_policy_lets_nothing_out(chromium: Chromium, here: ServerFixture) -> None:
    """Even in a host without any policy, the page can neither connect nor load from anywhere."""

    async def story(viewer: Viewer) -> None:
        leak = viewer.site.url("/leak")
        attempts = f"""async () => {{
            const failed = [];
            await fetch("{leak}").catch(() => failed.push("fetch"));
            for (const [tag, at] of [["img", "src"], ["script", "src"], ["iframe", "src"]]) {{
                const node = document.createElement(tag);
                await new Promise((done) => {{
                    node.onload = done;
                    node.onerror = () => {{ failed.push(tag); done(); }};
                    document.addEventListener("securitypolicyviolation", done, {{ once: true }});
                    node[at] = "{leak}";
                    document.body.append(node);
                }});
            }}
            const inline = document.createElement("script");
            inline.textContent = "document.title = 'run'";
            document.body.append(inline);
            return [failed.includes("fetch"), document.title];
        }}"""
        assert await viewer.frame.evaluate(attempts) == [True, "Images"]
        assert viewer.site.asked == ["/viewer"]

    chromium.tell(story, here.server, policy=None)


def test_messages_of_others_are_ignored(chromium: Chromium, here: ServerFixture) -> None:
    """Only the host may speak: what another frame posts is dropped."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(2))
        await viewer.drawn(2)
        forged = {
            "jsonrpc": "2.0",
            "method": "ui/notifications/tool-result",
            "params": fake_result(),
        }
        await viewer.frame.evaluate("(forged) => window.postMessage(forged, '*')", forged)
        await viewer.resolve_inputs("ui/notifications/host-context-changed", {"theme": "dark"})
        await viewer.holds("document.documentElement.dataset.theme === 'dark'")
        assert await viewer.frame.locator(".tile").count() == 2

    chromium.tell(story, here.server)


# --- Inside the host ----------------------------------------------------------------------------


def test_the_frame_is_as_high_as_the_page(chromium: Chromium, here: ServerFixture) -> None:
    """The host is told of each new height, so that nothing is cut off and nothing scrolls."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(4))
        await viewer.drawn(4)
        for name in ("Image 2 of 4: open", "Details", "Refine 2…"):
            await viewer.press(name)
            await viewer.holds("document.documentElement.scrollHeight === window.innerHeight")
        heights = {each["height"] for each in await viewer.asked("ui/notifications/size-changed")}
        assert len(heights) > 2

    chromium.tell(story, here.server)


def test_the_theme_follows_the_host(chromium: Chromium, here: ServerFixture) -> None:
    """Light and dark are the host's choice, also when it changes its mind."""
    colour = "getComputedStyle(document.documentElement).backgroundColor"

    async def story(viewer: Viewer) -> None:
        assert await viewer.frame.evaluate(colour) == "rgb(29, 29, 27)"
        await viewer.resolve_inputs("ui/notifications/host-context-changed", {"theme": "light"})
        await viewer.holds(f"{colour} === 'rgb(255, 255, 255)'")

    chromium.tell(story, here.server, context={"theme": "dark"})


def test_full_screen_is_asked_of_the_host(chromium: Chromium, here: ServerFixture) -> None:
    """The button is there only where the host has the mode, and asks for it."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result())
        await viewer.press("Full screen")
        assert await viewer.waited("ui/request-display-mode") == {"mode": "fullscreen"}
        await viewer.press("Leave full screen")

    context = {"availableDisplayModes": ["inline", "fullscreen"], "displayMode": "inline"}
    chromium.tell(story, here.server, context=context)


def test_everything_has_a_name_and_a_place_in_the_order(
    chromium: Chromium, here: ServerFixture
) -> None:
    """Screen readers find a name on every control and image, and Tab reaches all of them."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(2))
        await viewer.drawn(2)
        for mode in ("Grid", "One image", "Compare two"):
            await viewer.press(mode)
            if mode == "One image":
                await viewer.press("Details")
                await viewer.press("Refine 1…")
            snapshot = await viewer.frame.locator("main").aria_snapshot()
            assert not re.search(
                r"(?m)^\s*- (button|img|slider|combobox|textbox)\s*(:|$)", snapshot
            )
            controls = "button, select, input, textarea, [tabindex]"
            visible = await viewer.frame.locator(f":is({controls}):visible:enabled").count()
            await viewer.frame.locator("body").evaluate("(b) => { b.tabIndex = -1; b.focus(); }")
            reached = set()
            for _ in range(visible):
                await viewer.page.keyboard.press("Tab")
                reached.add(
                    await viewer.frame.evaluate(
                        f"[...document.querySelectorAll('{controls}')].indexOf(document.activeElement)"
                    )
                )
            assert len(reached - {-1}) == visible

    chromium.tell(story, here.server)


def test_a_host_may_put_a_script_of_its_own_first(chromium: Chromium, here: ServerFixture) -> None:
    """VS Code puts one at the start of the head: it runs, and the viewer works as ever."""
    shim = "<head><script>window.shim = 1</script>"

    async def story(viewer: Viewer) -> None:
        assert await viewer.frame.evaluate("window.shim") == 1
        await viewer.give(fake_result())
        await viewer.drawn(1)
        assert viewer.wrong == []

    chromium.tell(story, here.server, app=html().replace("<head>", shim))


def test_the_focus_stays_where_it_was(chromium: Chromium, here: ServerFixture) -> None:
    """A control that is drawn anew when it is used keeps the keyboard."""

    async def story(viewer: Viewer) -> None:
        await viewer.give(fake_result(2))
        await viewer.drawn(2)
        focus = "document.activeElement.getAttribute('aria-label') ?? ''"
        for name in ("One image", "Details", "Next image", "Compare two"):
            await viewer.button(name).focus()
            await viewer.page.keyboard.press("Enter")
            assert await viewer.frame.evaluate(focus) == name
        context = {"availableDisplayModes": ["inline", "fullscreen"]}
        await viewer.resolve_inputs("ui/notifications/host-context-changed", context)
        await viewer.sees("button", "Full screen")
        assert await viewer.frame.evaluate(focus) == "Compare two"

    chromium.tell(story, here.server)


def test_the_host_may_ask_whether_it_lives(chromium: Chromium, here: ServerFixture) -> None:
    """Pings and the end are answered, and what it does not know is refused by the protocol."""

    async def story(viewer: Viewer) -> None:
        for id, method in enumerate(("ping", "ui/resource-teardown", "tools/list"), 900):
            await viewer.page.evaluate(
                "([id, method]) => post({ id, method, params: {} })", [id, method]
            )
        await viewer.page.wait_for_function("asked.some((each) => each.id === 902)")
        sent = await viewer.page.evaluate("asked")
        answers = {each["id"]: each for each in sent if each.get("id", 0) >= 900}
        assert answers[900]["result"] == answers[901]["result"] == {}
        assert answers[902]["error"]["code"] == -32601

    chromium.tell(story, here.server)


def test_the_protocols_own_host_understands_it(
    chromium: Chromium, here: ServerFixture, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In AppBridge, which checks each message, an image is drawn, chosen, refined, downloaded."""
    host = official_host(tmp_path_factory.mktemp("host"))

    async def story(viewer: Viewer) -> None:
        drawn = await viewer.call("generate_image", prompt="A lighthouse")
        old = result_json(drawn)["images"][0]["id"]
        await viewer.drawn(1)
        await viewer.resolve_inputs("ui/notifications/host-context-changed", {"theme": "dark"})
        await viewer.holds("document.documentElement.dataset.theme === 'dark'")
        await viewer.press("Use as source")
        await viewer.status("Chosen.")
        await viewer.press("Download")
        await viewer.status("Downloaded.")
        await viewer.press("Refine…")
        await viewer.frame.get_by_label("What should change?").fill("Make it night")
        await viewer.press("Refine")
        await viewer.sees("button", "Compare two")
        await viewer.drawn(2)
        assert here.store.history(1)[0].parent == old
        heights = await viewer.asked("ui/notifications/size-changed")
        frame = await viewer.page.locator("iframe").bounding_box()
        assert frame
        assert frame["height"] == heights[-1]["height"]
        assert viewer.wrong == []

    chromium.tell(story, here.server, host=host)
