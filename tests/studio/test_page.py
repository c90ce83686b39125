"""The studio in a real Chromium: make, edit, gallery, jobs and money, as a person uses them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import picture
from tests.studio.conftest import PATIENCE, Hold, Service, Site, Tab, opened, quoted, serving


if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = '<img src=x onerror="document.title=1"> & <b>bold</b> {{7*7}}'
"""What would be markup, if anything of a prompt could become it."""


def test_the_printed_address_opens_the_page(browser: Browser, home: Path, service: Service) -> None:
    """The token leaves the address at once, and a copied address opens nothing."""
    with serving(home, service) as site:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{site.url}/?token={site.token}")
        page.wait_for_selector("main[data-ready]")
        other = browser.new_context()
        late = other.new_page()
        late.goto(f"{site.url}/?token={site.token}")

        assert page.url.partition("#")[0] == f"{site.url}/"
        assert late.locator("h1").inner_text() == "This address was used already"
        context.close()
        other.close()


def test_a_double_click_and_a_reload_pay_once(tab: Tab, service: Service, hold: Hold) -> None:
    """One job for two clicks; a reload finds it; a cancel says what it costs; it is saved."""
    calls = len(service.calls)
    tab.find(".make textarea[name=prompt]").fill("A silver comb")
    tab.there(".make .estimate strong")
    tab.find(".make button.primary").dblclick()
    assert hold.arrived.wait(PATIENCE)
    tab.page.reload()
    tab.there("main[data-ready]")
    card = ".make .card:has(.words:text-is('A silver comb'))"
    tab.there(f"{card}[data-state=sending]")
    tab.find(f"{card} button:text-is('Cancel')").click()
    tab.there(".toast:has-text('It was sent already and goes on: it may cost up to $')")
    hold.go.set()
    tab.there(f"{card}[data-state=done] button.frame img")

    assert len(service.calls) - calls == 1
    assert tab.find(".make textarea[name=prompt]").input_value() == "A silver comb"


def test_nothing_of_a_prompt_is_markup(tab: Tab) -> None:
    """A hostile prompt is shown as it was written, everywhere, and runs nothing."""
    id = tab.make(HOSTILE)
    tab.site.client.patch(f"/api/images/{id}", json={"tag": "<script>x</script>"})
    tab.go("gallery")
    tab.there(f".tile[data-id={id}]").click()
    tab.there(f"dialog .long:text-is({quoted(HOSTILE)})")
    tab.there('dialog .chip:has-text("<script>x</script>")')
    tab.page.keyboard.press("Escape")
    tab.go("jobs")
    tab.there(f".job .words:text-is({quoted(HOSTILE)})")

    assert tab.find("img[onerror], main b:has-text('bold'), main script").count() == 0
    assert tab.page.title() == "Jobs · gptimage studio"


def test_many_prompts_are_a_list_of_their_own_images(tab: Tab) -> None:
    """A line each; every one has its card, and the estimate is for all."""
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill("A tin drum\n\nA glass harp")
    tab.page.get_by_label("One image for each line").check()
    tab.there(".make .estimate:has-text('for 2')")
    tab.find(".make button.primary:text-is('Make 2 images')").click()

    for prompt in ("A tin drum", "A glass harp"):
        tab.there(f".make .card[data-state=done]:has(.words:text-is({quoted(prompt)}))")
    tab.page.get_by_label("One image for each line").uncheck()


def test_only_what_the_model_takes_is_offered(tab: Tab) -> None:
    """Parameters follow the model and the format; a refusal stands at its field."""
    tab.go("make")
    tab.find(".make summary").click()
    tab.find(".make select[name=format]").select_option("jpeg")
    tab.there(".make input[name=compression]")
    tab.find(".make select[name=format]").select_option("")
    tab.there(".make input[name=compression]", 0)
    tab.find(".make textarea[name=prompt]").fill("A map")
    tab.find(".make input[name=size]").fill("enormous")
    tab.there(".make input[name=size][aria-invalid=true]")
    tab.there(".make .helpline.error:has-text('size')")
    tab.find(".make .chip:text-is('square')").click()
    tab.there(".make .estimate strong")


def test_the_gallery_is_used_by_keyboard(tab: Tab) -> None:
    """Arrows, Enter, P, Space and Delete, with undo; search finds by words."""
    ids = [tab.make(prompt) for prompt in ("A plum tree", "A plum stone", "A plum cake")]
    tab.go("gallery")
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("plum")
    tab.there(".tile", 3)
    tab.find(".grid").focus()
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("p")
    tab.there(f".tile[data-id={ids[1]}] .marks")
    tab.page.keyboard.press("Enter")
    tab.there("dialog h2:text-is('Image')")
    tab.page.keyboard.press("ArrowRight")
    tab.there("dialog .long:text-is('A plum tree')")
    tab.page.keyboard.press("Escape")
    tab.there("dialog", 0)
    tab.find(".grid").focus()
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("Delete")
    tab.there(f".tile[data-id={ids[2]}]", 0)
    tab.find(".toast button:text-is('Undo')").click()
    tab.there(f".tile[data-id={ids[2]}]")
    tab.find(".grid").focus()
    tab.page.keyboard.press("Space")
    tab.there(".tile[aria-selected=true]")
    tab.find(".picked button:has-text('Delete')").click()
    tab.there(".tile", 2)
    with tab.page.expect_response(lambda each: each.request.method == "DELETE"):
        tab.find(".toast button[aria-label='Close this message']").click()

    found = [each["id"] for each in tab.site.get("/api/images?text=plum")["images"]]
    assert found == [ids[1], ids[0]]


def test_an_edit_with_a_painted_mask_is_compared_and_gone_on_from(
    tab: Tab, service: Service
) -> None:
    """Drop, paint, undo, edit, compare by keyboard, go on: the turns are a tree."""
    tab.go("edit")
    tab.find(".edit input[type=file]").set_input_files(
        {"name": "<i>.png", "mimeType": "image/png", "buffer": picture(1024, 1024)}
    )
    tab.there(".stage canvas")
    box = tab.find(".canvas-area").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for key in ("b", "r"):
        tab.find(".canvas-area").press(key)
        tab.page.mouse.move(x - 60, y - 60)
        tab.page.mouse.down()
        tab.page.mouse.move(x + 60, y + 60, steps=3)
        tab.page.mouse.up()
    tab.find(".canvas-area").press("z")
    tab.there("text=Only what is painted may change.")
    tab.find(".edit textarea[name=prompt]").fill("Make it brighter")
    tab.find(".edit button.primary").click()
    tab.there(".compare input[type=range]").press("End")
    tab.there(".edit [role=status]:has-text('outside the mask')")
    tab.find("button:has-text('Go on from this')").click()
    tab.there(".edit .tree button[aria-current=true]:has-text('Make it brighter')")
    tab.find(".edit textarea[name=prompt]").fill("Add stars")
    tab.find(".edit button.primary").click()
    tab.there(".compare")
    tab.there(".edit .tree ul button:has-text('Add stars')")

    names = [part.name for part in service.calls[-2].files]
    assert names == ["image", "mask"]
    assert "outside" in [
        name for job in tab.site.get("/api/jobs")["jobs"] for name in job["request"]
    ]
    assert "mask" not in [part.name for part in service.calls[-1].files]


def test_two_tabs_follow_the_same_job(browser: Browser, tab: Tab, hold: Hold) -> None:
    """What one tab begins the other one shows, and both see its end."""
    other = opened(browser, tab.site)
    other.go("jobs")
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill("A shared lamp")
    tab.find(".make button.primary").click()
    assert hold.arrived.wait(PATIENCE)
    row = ".job:has(.words:text-is('A shared lamp'))"
    other.there(f"{row}[data-state=sending]")
    hold.go.set()
    other.there(f"{row}[data-state=done]")
    tab.there(".make .card:first-child[data-state=done]")
    wrong = list(other.wrong)
    other.page.context.close()

    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_fits_both_widths_and_themes(
    browser: Browser, site: Site, width: int, scheme: str
) -> None:
    """Nothing is cut off at the side, and the background is that of the theme."""
    found = opened(browser, site, viewport={"width": width, "height": 844}, color_scheme=scheme)
    wide: list[str] = []
    for name in ("make", "edit", "gallery", "jobs", "money"):
        found.go(name)
        found.there(f"section.{name} h1")
        if found.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    light = found.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    wrong = list(found.wrong)
    found.page.context.close()

    assert (wide, wrong) == ([], [])
    assert (light == "rgb(247, 245, 241)") == (scheme == "light")
