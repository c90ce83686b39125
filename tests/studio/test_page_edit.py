"""The studio's Edit page in a real Chromium: images in, the mask, and what comes of it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage
from PIL import ImageOps

from tests.factories import picture
from tests.studio.conftest import Service, Tab


if TYPE_CHECKING:
    from playwright.sync_api import Locator

DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "<b>photo</b>.png", { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(name === "drop"
    ? new DragEvent("drop", { ...options, dataTransfer: transfer })
    : new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
}"""
"""What dropping a file on the page does, or pasting it."""

PAINTED = """() => {
  const canvas = document.querySelector(".stage canvas");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 3; at < pixels.length; at += 4) count += pixels[at] > 127;
  return count / (canvas.width * canvas.height);
}"""
"""How much of the image may change, from 0 to 1."""

SCALE = "() => new DOMMatrix(getComputedStyle(document.querySelector('.paper')).transform).a"
"""How large a pixel of the image is in the window."""


def start(tab: Tab, *sizes: tuple[int, int]) -> None:
    """Begin with images of these sizes, and nothing that an earlier test left."""
    tab.page.evaluate("() => localStorage.clear()")
    tab.page.reload()
    tab.there("main[data-ready]")
    tab.go("edit")
    if sizes:
        files: list[Any] = [
            {"name": f"{place}.png", "mimeType": "image/png", "buffer": picture(*size)}
            for place, size in enumerate(sizes)
        ]
        tab.find(".edit input[type=file]").set_input_files(files)
        tab.there(".strip li", len(sizes))
        tab.there(f".stage canvas[width='{sizes[0][0]}']")


def middle(tab: Tab) -> tuple[float, float]:
    """The middle of the image, in the window."""
    area = tab.find(".canvas-area")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(tab: Tab, size: float = 60) -> None:
    """Draw over the middle with the mouse, from one corner to the other."""
    x, y = middle(tab)
    tab.page.mouse.move(x - size, y - size)
    tab.page.mouse.down()
    tab.page.mouse.move(x + size, y + size, steps=4)
    tab.page.mouse.up()


def scale(tab: Tab) -> float:
    """How large a pixel of the image is."""
    found: float = tab.page.evaluate(SCALE)
    return found


def finished(tab: Tab) -> Locator:
    """The slider over before and after."""
    return tab.there(".compare input[type=range]")


def test_images_are_dropped_pasted_and_picked_from_the_store(tab: Tab) -> None:
    """Each way leads to the Edit page; what is no image is refused in a sentence."""
    (id,) = tab.site.make(f"pick-{tab.name}", f"A picked {tab.name}")["images"]
    start(tab)
    tab.go("make")
    data = base64.b64encode(picture(64, 48)).decode()
    tab.page.evaluate(DROP, ["drop", data])
    tab.there(".edit .strip li")
    tab.page.evaluate(DROP, ["paste", data])
    tab.there(".edit .strip li", 2)
    tab.page.evaluate(DROP, ["paste", base64.b64encode(b"no image").decode()])
    tab.there(".toast:has-text('image')")
    tab.wrong.clear()  # the browser notes the refusal
    tab.find(".drop button:has-text('From the gallery')").click()
    tab.find("dialog input[type=search]").fill(tab.name)
    tab.there(f"dialog li button[aria-label='A picked {tab.name}']").click()
    tab.there(f".edit .strip img[src*='{id}']")

    assert tab.find(".edit .strip li").count() == 3


def test_up_to_16_images_in_an_order_that_can_be_changed(tab: Tab) -> None:
    """The seventeenth is refused in a sentence; the arrows move one, the cross takes it away."""
    start(tab, (64, 64), *[(64, 32 + place) for place in range(15)])
    tab.find(".edit input[type=file]").set_input_files(
        {"name": "17.png", "mimeType": "image/png", "buffer": picture(64, 20)}
    )
    tab.there(".toast:has-text('An edit starts from 16 images at most.')")
    before = tab.find(".strip img").evaluate_all("all => all.map((each) => each.src)")
    tab.find("button[aria-label='Move image 1 back']").click()
    tab.find("button[aria-label='Take image 16 away']").click()
    tab.there(".strip li", 15)
    after = tab.find(".strip img").evaluate_all("all => all.map((each) => each.src)")

    assert after == [before[1], before[0], *before[2:15]]


def test_the_mask_has_brush_eraser_box_invert_and_undo(tab: Tab) -> None:
    """Each tool by its button changes what may change, and each step can be undone and redone."""
    start(tab, (256, 256))
    steps: list[float] = []

    def press(label: str) -> None:
        tab.page.get_by_label(label).click()
        steps.append(tab.page.evaluate(PAINTED))

    press("Mark a box (R)")
    drag(tab)
    press("Erase the mask (E)")
    drag(tab)
    press("Invert the mask (I)")
    press("Undo (Z)")
    press("Undo (Z)")
    press("Redo (Shift Z)")
    press("Paint what may change (B)")
    drag(tab, 100)
    tab.find(".tools button:text-is('Clear')").click()
    steps.append(tab.page.evaluate(PAINTED))

    none, box, inverted, erased, undone, redone, _, cleared = steps
    assert (none, cleared) == (0, 0)
    assert 0 < erased < box < 1
    assert abs(inverted + erased - 1) < 0.01
    assert (undone, redone) == (box, erased)
    assert tab.find("text=Without a mask, all of it may change.").count() == 1


def test_the_mask_is_zoomed_by_keys_wheel_and_buttons(tab: Tab) -> None:
    """In, out and back to all of it; the keyboard moves the image."""
    start(tab, (256, 256))
    whole = scale(tab)
    tab.find(".canvas-area").press("+")
    by_key = scale(tab)
    tab.page.get_by_label("Zoom in (+)").click()
    by_button = scale(tab)
    tab.page.mouse.move(*middle(tab))
    tab.page.mouse.wheel(0, -100)
    tab.page.wait_for_function(f"before => ({SCALE})() > before", arg=by_button)
    tab.find(".canvas-area").press("0")

    assert whole < by_key < by_button
    assert scale(tab) == whole


def test_the_mask_is_painted_and_zoomed_by_touch(tab: Tab) -> None:
    """One finger paints, two fingers zoom and take the stroke back that the first one began."""
    start(tab, (256, 256))
    x, y = middle(tab)
    whole = scale(tab)
    session = tab.page.context.new_cdp_session(tab.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        found = [{"x": x + dx, "y": y + dy, "id": place} for place, (dx, dy) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": found})

    touch("touchStart", (-40, 0))
    touch("touchMove", (40, 0))
    touch("touchEnd")
    tab.there("text=Only what is painted may change.")
    painted = tab.page.evaluate(PAINTED)
    touch("touchStart", (-10, 0))
    touch("touchStart", (-10, 0), (10, 0))
    touch("touchMove", (-40, 0), (10, 0))
    touch("touchMove", (-40, 0), (40, 0))
    touch("touchEnd")
    tab.page.wait_for_function(f"before => ({SCALE})() > 2 * before", arg=whole)

    assert 0 < painted < 1
    assert tab.page.evaluate(PAINTED) == painted


def test_a_masked_edit_keeps_what_is_outside_and_shows_the_drift(
    tab: Tab, service: Service
) -> None:
    """The mask is sent; what the model changed outside it is put back, and said."""
    start(tab, (1024, 1024))
    tab.find(".canvas-area").press("r")
    drag(tab)
    tab.there("text=Only what is painted may change.")
    tab.find(".edit textarea[name=prompt]").fill(f"Brighten {tab.name}")
    tab.find(".edit button.primary").click()
    finished(tab)
    tab.there(".edit [role=status]:has-text('outside the mask')")

    assert [part.name for part in service.calls[-1].files] == ["image", "mask"]
    jobs = {job["request"]["prompt"]: job["request"] for job in tab.site.get("/api/jobs")["jobs"]}
    assert jobs[f"Brighten {tab.name}"]["outside"] == "keep"


def test_a_mask_lies_where_it_is_seen_on_a_photo_held_upright(tab: Tab) -> None:
    """A camera writes how it was held; the page shows it upright, and so is the mask."""
    start(tab)
    exif, file = PilImage.Exif(), io.BytesIO()
    exif[0x0112] = 6  # turned by 90 degrees
    PilImage.linear_gradient("L").resize((400, 304)).save(file, "JPEG", exif=exif)
    files: Any = [{"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}]
    tab.find(".edit input[type=file]").set_input_files(files)
    tab.there(".stage canvas[width='304'][height='400']")
    tab.find(".canvas-area").press("r")
    drag(tab, 30)
    tab.find(".edit textarea[name=prompt]").fill(f"Turn {tab.name}")
    tab.find(".edit button.primary").click()
    finished(tab)
    jobs = {job["request"]["prompt"]: job["images"] for job in tab.site.get("/api/jobs")["jobs"]}
    (id,) = jobs[f"Turn {tab.name}"]
    made = tab.site.studio.store.open(id).to_pil().convert("L")
    upright = ImageOps.exif_transpose(PilImage.open(file))

    assert made.size == upright.size == (304, 400)
    assert made.crop((0, 0, 304, 90)).tobytes() == upright.crop((0, 0, 304, 90)).tobytes()
    assert made.tobytes() != upright.tobytes()


def test_an_image_is_made_edited_and_found_by_keyboard(tab: Tab) -> None:
    """From Make to Edit to Gallery the focus is always where the work goes on."""
    keys = tab.page.keyboard

    def focused() -> str:
        found: str = tab.page.evaluate(
            "() => document.activeElement.ariaLabel ?? document.activeElement.name"
        )
        return found

    start(tab, (64, 64), (64, 48))
    tab.page.get_by_label("Move image 1 back").focus()
    keys.press("Enter")
    moved = focused()
    tab.page.get_by_label("Take image 2 away").focus()
    keys.press("Enter")
    taken = focused()
    tab.find(".edit textarea[name=prompt]").focus()
    keys.type(f"Type {tab.name}")
    keys.press("Control+Enter")
    finished(tab)
    tab.find("button:has-text('Go on from this')").focus()
    keys.press("Enter")
    tab.there(f".edit .tree button[aria-current=true]:has-text('Type {tab.name}')")
    gone_on = focused()
    tab.find("a[data-page=gallery]").focus()
    keys.press("Enter")
    tab.there(".tile.active")
    tab.find(".grid").focus()
    keys.press("Enter")
    tab.there(f"dialog .long:text-is('Type {tab.name}')")
    keys.press("Escape")
    tab.there("dialog", 0)

    assert (moved, taken) == ("Move image 2 forward", "Take image 1 away")
    assert (gone_on.partition(":")[0], focused()) == ("Mask", "Images")


def test_before_and_after_are_compared_with_a_slider(tab: Tab) -> None:
    """By mouse and by keyboard; the image after covers the one before as far as the slider says."""
    start(tab, (64, 64))
    tab.find(".edit textarea[name=prompt]").fill(f"Compare {tab.name}")
    tab.find(".edit button.primary").click()
    slider = finished(tab)
    after = tab.there(".compare img[alt=After]")
    shown = [after.evaluate("node => node.style.clipPath")]
    for key in ("End", "Home"):
        slider.press(key)
        shown.append(after.evaluate("node => node.style.clipPath"))
    box = slider.bounding_box()
    assert box is not None
    tab.page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)

    assert [each.rpartition(" ")[2] for each in shown] == ["50%)", "100%)", "0%)"]
    assert 70 <= int(slider.input_value()) <= 80


def test_turns_are_a_tree_with_branches(tab: Tab) -> None:
    """Going on twice from the same image makes two branches under it."""
    (id,) = tab.site.make(f"root-{tab.name}", f"Root {tab.name}")["images"]
    start(tab)
    tab.find(".drop button:has-text('From the gallery')").click()
    tab.find("dialog input[type=search]").fill(tab.name)
    tab.there(f"dialog li button[aria-label='Root {tab.name}']").click()
    for number, turn in enumerate(("Sun", "Moon")):
        tab.there(f".edit .tree button[aria-current=true]:has-text('Root {tab.name}')")
        tab.find(".edit textarea[name=prompt]").fill(f"{turn} {tab.name}")
        tab.find(".edit button.primary").click()
        finished(tab)
        tab.there(f".edit .tree > li > ul > li button:has-text('{turn} {tab.name}')")
        tab.there(".edit .tree > li > ul > li", number + 1)
        tab.find(f".edit .tree button:has-text('Root {tab.name}')").click()
    tab.find(f".edit .tree button:has-text('Moon {tab.name}')").click()
    tab.find(".edit textarea[name=prompt]").fill(f"Stars {tab.name}")
    tab.find(".edit button.primary").click()
    finished(tab)
    tab.there(f".edit .tree ul ul button:has-text('Stars {tab.name}')")
    tab.find("button:has-text('Go on from this')").click()
    tab.there(f".edit .tree button[aria-current=true]:has-text('Stars {tab.name}')")

    assert tab.site.get(f"/api/images/{id}")["family"][0]["id"] == id
