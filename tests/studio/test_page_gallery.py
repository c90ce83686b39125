"""The studio's Gallery in a real Chromium: find, change, take along and delete images."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage

from gptimage import ImageClient
from gptimage.sandbox import Sandbox
from tests.studio.conftest import SMALL, Tab


if TYPE_CHECKING:
    from gptimage.types.record import Record


def saved(tab: Tab, *prompts: str, **options: Any) -> list[Record]:
    """Images of this test alone, in the studio's store."""
    with ImageClient.sandbox(Sandbox(draw="plain"), store=tab.site.studio.store) as client:
        return [
            client.generate(f"{prompt} {tab.name}", **SMALL, **options).stored[0]
            for prompt in prompts
        ]


def found(tab: Tab, count: int) -> None:
    """Show the images of this test alone."""
    tab.go("gallery")
    tab.find(".filters input[name=text]").fill(tab.name)
    tab.there(".tile", count)


def shown(tab: Tab, record: Record) -> None:
    """Open an image."""
    tab.find(f".tile[data-id={record.id}]").click()
    tab.there("dialog h2:text-is('Image')")


def downloaded(tab: Tab, button: str) -> Path:
    """What a button downloads."""
    with tab.page.expect_download() as download:
        tab.find(button).click()
    return Path(download.value.path())


def test_the_gallery_is_used_by_keyboard(tab: Tab) -> None:
    """Arrows, Enter, P, Space and Delete, with undo; search finds by words."""
    ids = [each.id for each in saved(tab, "A tree", "A stone", "A cake")]
    tab.go("gallery")
    tab.page.keyboard.press("/")
    tab.page.keyboard.type(tab.name)
    tab.there(".tile", 3)
    tab.find(".grid").focus()
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("p")
    tab.there(f".tile[data-id={ids[1]}] .marks")
    tab.page.keyboard.press("Enter")
    tab.there("dialog h2:text-is('Image')")
    tab.page.keyboard.press("ArrowRight")
    tab.there(f"dialog .long:text-is('A tree {tab.name}')")
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

    found = [each["id"] for each in tab.site.get(f"/api/images?text={tab.name}")["images"]]
    assert found == [ids[1], ids[0]]


def test_filters_narrow_the_search(tab: Tab) -> None:
    """Words, a tag, how it was made, pins and the day; what matches nothing says how to search."""
    one, _ = saved(tab, "A plain", "A stone")
    tagged, *_ = saved(tab, "A tagged", tags=[tab.name])
    tab.site.client.patch(f"/api/images/{one.id}", json={"pinned": True})
    found(tab, 3)
    tab.find(".filters select[name=pinned]").select_option("true")
    tab.there(".tile", 1)
    tab.there(f".tile[data-id={one.id}]")
    tab.find(".filters select[name=pinned]").select_option("")
    tab.find(".filters input[name=tag]").fill(tab.name)
    tab.there(f".tile[data-id={tagged.id}]")
    tab.there(".tile", 1)
    tab.find(".filters input[name=tag]").fill("")
    tab.find(".filters select[name=operation]").select_option("edit")
    tab.there(".gallery .empty h2:text-is('Nothing matches')")
    tab.find(".gallery .empty button").click()
    tab.there(f".tile[data-id={one.id}]")


def test_tiles_stay_where_they_are(tab: Tab) -> None:
    """What is there already is not made anew when an image comes or goes: it would flash."""
    one, other = saved(tab, "A calm", "A gone")
    found(tab, 2)
    tile = tab.find(f".tile[data-id={one.id}]")
    tile.evaluate("node => { node.dataset.seen = 'yes'; }")
    tab.find(f".tile[data-id={other.id}]").click(modifiers=["Control"])
    tab.find(".picked button:text-is('Delete')").click()
    tab.there(".tile", 1)
    tab.find(".toast button:text-is('Undo')").click()
    tab.there(".tile", 2)
    (new,) = saved(tab, "A new")
    tab.find(".filters select[name=operation]").select_option("generate")
    tab.there(".tile", 3)
    places = tab.find(".tile").evaluate_all("all => all.map((each) => each.dataset.id)")

    assert tile.get_attribute("data-seen") == "yes"
    assert places == [new.id, other.id, one.id]


def test_similar_images_are_found(tab: Tab) -> None:
    """From an image to what looks like it, and back to everything."""
    one, again = (saved(tab, "A twin")[0] for _ in range(2))
    found(tab, 2)
    shown(tab, one)
    tab.find("dialog button:text-is('Similar')").click()
    tab.there(f".tile[data-id={again.id}]")
    tab.there(f".tile[data-id={one.id}]", 0)
    tab.find("button:has-text('show all again')").click()
    tab.there(f".tile[data-id={one.id}]")


def test_an_image_shows_where_it_comes_from_and_all_its_sidecar_knows(tab: Tab) -> None:
    """Its family is a tree to walk through; every field of the sidecar stands below."""
    (record,) = saved(tab, "A parent")
    id = tab.site.make(f"child-{tab.name}", f"A child {tab.name}", images=[record.id])["images"][0]
    found(tab, 2)
    shown(tab, record)
    tab.there(f"dialog .tree > li > ul button:has-text('A child {tab.name}')").click()
    prompt = tab.there(f"dialog .long:text-is('A child {tab.name}')")
    box = prompt.bounding_box()
    assert box is not None
    assert box["height"] > 20  # pixels: it is not squeezed out by what stands below it
    tab.find("dialog summary").click()
    names = tab.find("dialog details dt").all_inner_texts()

    assert set(names) == set(tab.site.studio.store.get(id).to_dict())


def test_an_image_is_downloaded_and_copied(tab: Tab) -> None:
    """Byte for byte as it was saved, and its pixels and its prompt into the clipboard."""
    (record,) = saved(tab, "A copied")
    found(tab, 1)
    shown(tab, record)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    file = downloaded(tab, "dialog a:text-is('Download')")
    tab.page.get_by_label("Copy the image").click()
    tab.there("dialog .toast:has-text('The image is in the clipboard.')")
    kinds = tab.page.evaluate("async () => (await navigator.clipboard.read())[0].types")
    tab.find("dialog button:text-is('Copy prompt')").click()
    tab.there("dialog .toast:has-text('The prompt is in the clipboard.')")
    text = tab.page.evaluate("() => navigator.clipboard.readText()")

    assert file.read_bytes() == tab.site.studio.store.open(record).data
    assert (kinds, text) == (["image/png"], f"A copied {tab.name}")


def test_images_are_exported_for_the_web_and_as_a_contact_sheet(tab: Tab) -> None:
    """Chosen by keyboard: widths with srcset, the originals with sidecars, and one sheet."""
    records = saved(tab, "A first", "A second")
    found(tab, 2)
    tab.find(".grid").focus()
    for key in ("Home", "Space", "ArrowRight", "Space"):
        tab.page.keyboard.press(key)
    tab.there(".picked strong:text-is('2 chosen')")
    web = downloaded(tab, ".picked button:text-is('For the web')")
    with zipfile.ZipFile(web) as archive:
        html = archive.read("index.html").decode()
    originals = downloaded(tab, ".picked button:text-is('Download')")
    with zipfile.ZipFile(originals) as archive:
        names = set(archive.namelist())
    sheet = downloaded(tab, ".picked button:text-is('Contact sheet')")
    with PilImage.open(sheet) as image:
        width = image.width

    assert [html.count(each) for each in ("<picture>", "480w", "960w")] == [2, 4, 4]
    assert names == {f"{each.id}.{kind}" for each in records for kind in ("png", "json")}
    assert width > 0


def test_an_alt_text_is_written_for_an_image_and_edited(tab: Tab) -> None:
    """By the chat model, with what it cost; then by hand; the HTML to copy has it, escaped."""
    (record,) = saved(tab, "A described")
    found(tab, 1)
    shown(tab, record)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.find("dialog button:text-is('Write it for me')").click()
    tab.there("dialog .toast:has-text('Written for $')")
    written = tab.page.get_by_label("Alt text").input_value()
    tab.page.get_by_label("Alt text").fill('A "hill" <b>')
    tab.find("dialog button:text-is('Save')").click()
    tab.there("dialog .toast:has-text('The alt text is saved')")
    tab.find("dialog button:text-is('Copy HTML')").click()
    tab.there("dialog .toast:has-text('The HTML is in the clipboard.')")
    copied = tab.page.evaluate("() => navigator.clipboard.readText()")
    tab.page.keyboard.press("Escape")

    assert (bool(written), tab.site.studio.store.get(record.id).alt) == (True, 'A "hill" <b>')
    assert 'alt="A &quot;hill&quot;' in copied


def test_tags_and_pins_are_changed_for_many_at_once(tab: Tab) -> None:
    """A tag and a pin for all that are chosen; what is pinned is not deleted."""
    records = saved(tab, "A left", "A right")
    found(tab, 2)
    for record in records:
        tab.find(f".tile[data-id={record.id}]").click(modifiers=["Control"])
    tab.find(".picked button:text-is('Tag')").click()
    tab.page.get_by_label("Tag for the chosen images").fill(f"set-{tab.name}")
    tab.page.keyboard.press("Enter")
    tab.find(".filters input[name=tag]").fill(f"set-{tab.name}")
    tab.there(".tile", 2)
    tab.find(".picked button:text-is('Pin')").click()
    tab.there(".tile .marks", 2)
    tab.find(".picked button:text-is('Delete')").click()
    tab.there(".toast:has-text('Pinned images stay: unpin them first.')")
    tab.find(".filters input[name=tag]").fill("")

    kept = [tab.site.studio.store.get(each.id) for each in records]
    assert [(each.pinned, each.tags) for each in kept] == [(True, (f"set-{tab.name}",))] * 2


def test_a_screen_reader_hears_every_image(tab: Tab) -> None:
    """The grid is a list of options with names, and says which one is active and chosen."""
    (record,) = saved(tab, "A named fox")
    found(tab, 1)
    tab.find(".grid").focus()
    tab.page.keyboard.press("Space")
    tab.there(".tile[aria-selected=true]")
    snapshot = tab.find(".grid").aria_snapshot()
    active = tab.find(".grid").get_attribute("aria-activedescendant")

    assert 'listbox "Images"' in snapshot
    assert f'option "A named fox {tab.name}, 1024 by 1024' in snapshot
    assert "[selected]" in snapshot
    assert active == f"tile-{record.id}"
